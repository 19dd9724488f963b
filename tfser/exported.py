"""Asks an exported model, with TensorFlow and without tfser: FOLDER ASKED.npz ANSWERS.npz.

Run by its path (`tfser-export` does), in a process of its own.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.modules["tfser"] = None  # an import of it would fail


def main():
    """Answers with what is said of an utterance: probabilities, or ratings."""
    import numpy as np
    import tensorflow as tf

    folder, asked, answers = sys.argv[1:]
    serve = tf.saved_model.load(folder).signatures["serving_default"]
    [name] = serve.structured_input_signature[1]
    with np.load(asked, allow_pickle=False) as inputs:
        found = {key: serve(**{name: tf.constant(x[None])}) for key, x in inputs.items()}
    said = {
        key: outputs["probabilities" if "probabilities" in outputs else "ratings"][0].numpy()
        for key, outputs in found.items()
    }
    np.savez(answers, **said)


if __name__ == "__main__":
    main()
