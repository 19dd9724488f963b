"""Formats of an export: SavedModel, Keras' networks, TensorFlow Lite, ONNX."""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfser.errors import TfserError, UsageError
from tfser.features import stft
from tfser.inference import export_graph, served_model
from tfser.storage import atomic_files

OPSET = 18  # of ONNX


def check_format(name, run) -> None:
    """Raise UsageError where a format is impossible for a run, or not installed."""
    if name == "onnx" and not all(importlib.util.find_spec(x) for x in ("tf2onnx", "onnxruntime")):
        raise UsageError("--format onnx needs tf2onnx and onnxruntime: pip install 'tfser[onnx]'")
    if "svm" in run.hp and name in ("keras", "tflite"):
        why = {"keras": "no network is trained", "tflite": "the SVM needs 64 bits"}[name]
        raise UsageError(f"--format {name} is not for {run.model}: {why}; take savedmodel or onnx")
    if path := run.hp.get("encoder", {}).get("path"):
        raise UsageError(
            f"{run.folder}: its encoder {path} is an ONNX file, which TensorFlow cannot hold; "
            "predict by the run itself: tfser-predict --run"
        )


def save_savedmodel(run, inference, folder: Path) -> None:
    """Save a SavedModel with its signatures, and the classes as an asset."""
    classes = folder / "classes.txt"
    classes.write_text("".join(f"{name}\n" for name in run.classes), encoding="utf-8")
    module = tf.Module()
    module.parts = inference.parts
    module.classes_file = tf.saved_model.Asset(str(classes))
    names = tf.constant(run.classes)

    def add_names(outputs):
        return {**outputs, "classes": names}

    if inference.opensmile_input:
        spec = tf.TensorSpec([None, *inference.opensmile_input.shape], tf.float32, "features")
        module.of_features = tf.function(
            lambda features: add_names(inference.function(features)), input_signature=[spec]
        )
        signatures = {"serving_default": module.of_features}
    else:
        signatures = waveform_signatures(module, inference, add_names)
    tf.saved_model.save(module, folder, signatures=signatures)
    classes.unlink()  # the asset is a copy of it
    export_graph.check_graph(folder)


def waveform_signatures(module, inference, add_names) -> dict:
    """Return the signatures of a model whose input is a waveform."""

    def infer(waveform, lengths):
        batch, n = tf.unstack(tf.shape(waveform))
        waveform = served_model.mask_padding(waveform, lengths)
        finite = tf.reduce_all(tf.math.is_finite(waveform))
        with tf.control_dependencies(
            [
                tf.debugging.Assert(finite, ["the waveform has NaN or infinite samples"]),
                tf.debugging.assert_positive(lengths, "a waveform has no samples"),
                tf.debugging.assert_less_equal(lengths, n, "a length is above the samples"),
                tf.debugging.assert_equal(tf.size(lengths), batch, "a length for each waveform"),
            ]
        ):
            return add_names(inference.function(tf.identity(waveform), lengths))

    # Each calls the one before: the network is in the SavedModel once.
    def infer_waveforms(waveform):
        with tf.control_dependencies(
            [tf.debugging.assert_rank_in(waveform, (1, 2), message="[samples] or [batch, samples]")]
        ):
            n = tf.shape(waveform)[-1]
        waveform = tf.reshape(waveform, [-1, n])
        return module.lengths(waveform, tf.fill(tf.shape(waveform)[:1], n))

    def infer_wav(content):
        samples, rate = tf.audio.decode_wav(content)
        right = tf.equal(rate, inference.sample_rate_hz)
        with tf.control_dependencies(
            [tf.debugging.Assert(right, [f"not {inference.sample_rate_hz} Hz but", rate])]
        ):
            return module.waveforms(tf.reduce_mean(samples, axis=1))

    several = tf.TensorSpec([None, None], tf.float32, "waveform")
    any_shape = tf.TensorSpec(None, tf.float32, "waveform")
    module.lengths = tf.function(
        infer, input_signature=[several, tf.TensorSpec([None], tf.int32, "lengths")]
    )
    module.waveforms = tf.function(infer_waveforms, input_signature=[any_shape])
    module.wav = tf.function(infer_wav, input_signature=[tf.TensorSpec([], tf.string, "content")])
    return {"serving_default": module.waveforms, "lengths": module.lengths, "wav": module.wav}


def save_keras(_, inference, folder: Path) -> None:
    """Save a file for each network."""
    for name, network in keras_networks(inference).items():
        network.save(folder / f"{name}.keras")
        copy = keras.saving.load_model(folder / f"{name}.keras", compile=False)
        for weight, copied_weight in zip(network.get_weights(), copy.get_weights(), strict=True):
            if not np.array_equal(weight, copied_weight):
                raise TfserError(f"{name}.keras has other weights than the run: a defect of tfser")


def keras_networks(inference) -> dict:
    """Return the Keras networks among the parts of an inference function."""
    return {name: part for name, part in inference.parts.items() if isinstance(part, keras.Model)}


def save_tflite(_, inference, folder: Path) -> None:
    """Save model.tflite, see `freeze_function`; with no operators but TensorFlow Lite's own."""
    function, spec, names = freeze_function(inference)
    module = tf.Module()
    module.function = tf.function(
        lambda x: dict(zip(names, function(x), strict=True)), input_signature=[spec]
    )
    with tempfile.TemporaryDirectory() as temporary:
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(module, temporary, signatures=module.function, options=options)
        content = tf.lite.TFLiteConverter.from_saved_model(temporary).convert()
    (folder / "model.tflite").write_bytes(content)


def save_onnx(_, inference, folder: Path) -> None:
    """Save model.onnx, see `freeze_function`."""
    import tf2onnx  # optional

    function, spec, names = freeze_function(inference)
    [x] = function.inputs
    output_names = {y.name: name for y, name in zip(function.outputs, names, strict=True)}
    tf2onnx.convert.from_graph_def(
        function.graph.as_graph_def(),
        input_names=[x.name],
        output_names=list(output_names),
        tensors_to_rename=output_names | {x.name: spec.name},
        opset=OPSET,
        output_path=str(folder / "model.onnx"),
    )


def freeze_function(inference) -> tuple:
    """Return the function with its weights as constants, its input, and its outputs' names.

    The input is one waveform [1, samples], or features.
    """
    # A private module of TensorFlow, for these two formats alone.
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    def infer_waveform(waveform):
        # TensorFlow Lite resizes the input to any batch, and has no assertions: with more rows
        # than one the samples do not fit this shape.
        waveform = tf.reshape(waveform, [1, tf.shape(waveform)[1]])
        return inference.function(waveform, tf.shape(waveform)[1:])

    if inference.opensmile_input:
        spec = tf.TensorSpec([None, *inference.opensmile_input.shape], tf.float32, "features")
    else:
        spec = tf.TensorSpec([1, None], tf.float32, "waveform")
    function = tf.function(inference.function if inference.opensmile_input else infer_waveform)
    with stft.matrix_product_spectra():
        function = function.get_concrete_function(spec)
    names = sorted(function.structured_outputs)  # the order of its flat outputs
    function = convert_variables_to_constants_v2(function, lower_control_flow=False)
    return function, spec, names


def run_export(folder: Path, inputs) -> list[np.ndarray]:
    """Return the probabilities, or ratings, that the export in a folder predicts for each input.

    It runs in a process of its own, without tfser.
    """
    input_file, output_file = folder / "inputs.npz", folder / "outputs.npz"
    atomic_files.write_arrays(input_file, **{str(i): x for i, x in enumerate(inputs)})
    script = Path(__file__).with_name("export_check.py")
    command = [sys.executable, "-P", script, folder, input_file, output_file]
    process = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="backslashreplace"
    )
    if process.returncode:
        reason = (process.stderr.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        raise TfserError(f"the export cannot be used: {reason}; take another --format")
    outputs = atomic_files.read_arrays(output_file)
    input_file.unlink()
    output_file.unlink()
    return [outputs[str(i)] for i in range(len(inputs))]
