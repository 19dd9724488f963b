"""Check of an exported model in a process without tfser: FOLDER INPUTS.npz OUTPUTS.npz.

`tfser-export` runs this file by its path, in a process that has TensorFlow, or for ONNX its
runtime alone.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.modules["tfser"] = None  # makes every import of tfser fail


def main():
    """Write the model's probabilities, or ratings, for each utterance of the input file."""
    import numpy as np

    folder, input_file, output_file = sys.argv[1:]
    infer = load_export(folder, set(os.listdir(folder)))
    answers = {}
    with np.load(input_file, allow_pickle=False) as inputs:
        for key, x in inputs.items():
            outputs = infer(x[None])
            answers[key] = outputs["probabilities" if "probabilities" in outputs else "ratings"][0]
    np.savez(output_file, **answers)


def load_export(folder, files):
    """Load an export as a function of a batch of one -> {name of an output: array}."""
    if "model.onnx" in files:
        import onnxruntime  # the only runtime that is needed here

        model = onnxruntime.InferenceSession(f"{folder}/model.onnx")
        [x_info] = model.get_inputs()
        names = [output.name for output in model.get_outputs()]
        return lambda x: dict(zip(names, model.run(None, {x_info.name: x}), strict=True))
    import tensorflow as tf  # not for ONNX

    if "model.tflite" in files:
        model = tf.lite.Interpreter(f"{folder}/model.tflite").get_signature_runner()
        [name] = model.get_input_details()
        return lambda x: model(**{name: x})
    serve = tf.saved_model.load(folder).signatures["serving_default"]
    [name] = serve.structured_input_signature[1]
    return lambda x: {key: y.numpy() for key, y in serve(**{name: tf.constant(x)}).items()}


if __name__ == "__main__":
    main()
