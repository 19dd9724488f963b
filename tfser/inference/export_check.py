"""Asks an exported model, without tfser: FOLDER ASKED.npz ANSWERS.npz.

Run by its path (`tfser-export` does), in a process of its own, which has TensorFlow, or of ONNX
its runtime alone.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.modules["tfser"] = None  # an import of it would fail


def main():
    """Answers with what is said of an utterance: probabilities, or ratings."""
    import numpy as np

    folder, asked, answers = sys.argv[1:]
    ask = asking(folder, set(os.listdir(folder)))
    said = {}
    with np.load(asked, allow_pickle=False) as inputs:
        for key, x in inputs.items():
            found = ask(x[None])
            said[key] = found["probabilities" if "probabilities" in found else "ratings"][0]
    np.savez(answers, **said)


def asking(folder, files):
    """A function of a batch of one -> {name of an output: array}."""
    if "model.onnx" in files:
        import onnxruntime

        model = onnxruntime.InferenceSession(f"{folder}/model.onnx")
        [given] = model.get_inputs()
        names = [output.name for output in model.get_outputs()]
        return lambda x: dict(zip(names, model.run(None, {given.name: x}), strict=True))
    import tensorflow as tf

    if "model.tflite" in files:
        model = tf.lite.Interpreter(f"{folder}/model.tflite").get_signature_runner()
        [given] = model.get_input_details()
        return lambda x: model(**{given: x})
    serve = tf.saved_model.load(folder).signatures["serving_default"]
    [given] = serve.structured_input_signature[1]
    return lambda x: {name: y.numpy() for name, y in serve(**{given: tf.constant(x)}).items()}


if __name__ == "__main__":
    main()
