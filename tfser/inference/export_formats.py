"""The forms of an export: a SavedModel, Keras' networks, TensorFlow Lite, ONNX."""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfser.errors import TfserError, UsageError
from tfser.features import stft
from tfser.inference import served_model
from tfser.storage import atomic_files

OPSET = 18  # of ONNX


def check_format(name, run) -> None:
    """Raises UsageError where a form is not to be had of a run, or here."""
    if name == "onnx" and not all(importlib.util.find_spec(x) for x in ("tf2onnx", "onnxruntime")):
        raise UsageError("--format onnx needs tf2onnx and onnxruntime: pip install 'tfser[onnx]'")
    if run.model == "svm" and name in ("keras", "tflite"):
        why = {"keras": "it has no network", "tflite": "its features need 64 bits"}[name]
        raise UsageError(f"--format {name} is not for svm: {why}; take savedmodel or onnx")


def save_savedmodel(run, served, folder: Path) -> None:
    """With its signatures, and the classes as an asset."""
    classes = folder / "classes.txt"
    classes.write_text("".join(f"{name}\n" for name in run.classes), encoding="utf-8")
    module = tf.Module()
    module.parts = served.parts
    module.classes_file = tf.saved_model.Asset(str(classes))
    names = tf.constant(run.classes)

    def named(found):
        return {**found, "classes": names}

    if served.smile:
        spec = tf.TensorSpec([None, *served.smile.shape], tf.float32, "features")
        module.of_features = tf.function(
            lambda features: named(served.function(features)), input_signature=[spec]
        )
        signatures = {"serving_default": module.of_features}
    else:
        signatures = waveform_signatures(module, served, named)
    tf.saved_model.save(module, folder, signatures=signatures)
    classes.unlink()  # its copy is the asset


def waveform_signatures(module, served, named) -> dict:
    """The signatures of a system that hears waveforms."""

    def checked(waveform, lengths):
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
            return named(served.function(tf.identity(waveform), lengths))

    def waveforms(waveform):
        with tf.control_dependencies(
            [tf.debugging.assert_rank_in(waveform, (1, 2), message="[samples] or [batch, samples]")]
        ):
            n = tf.shape(waveform)[-1]
        waveform = tf.reshape(waveform, [-1, n])
        return checked(waveform, tf.fill(tf.shape(waveform)[:1], n))

    def wav(content):
        samples, rate = tf.audio.decode_wav(content)
        right = tf.equal(rate, served.sample_rate_hz)
        with tf.control_dependencies(
            [tf.debugging.Assert(right, [f"not {served.sample_rate_hz} Hz but", rate])]
        ):
            return waveforms(tf.reduce_mean(samples, axis=1))

    several = tf.TensorSpec([None, None], tf.float32, "waveform")
    any_shape = tf.TensorSpec(None, tf.float32, "waveform")
    module.waveforms = tf.function(waveforms, input_signature=[any_shape])
    module.lengths = tf.function(
        checked, input_signature=[several, tf.TensorSpec([None], tf.int32, "lengths")]
    )
    module.wav = tf.function(wav, input_signature=[tf.TensorSpec([], tf.string, "content")])
    return {"serving_default": module.waveforms, "lengths": module.lengths, "wav": module.wav}


def save_keras(_, served, folder: Path) -> None:
    """A file for each network."""
    import keras

    for name, network in keras_networks(served).items():
        network.save(folder / f"{name}.keras")
        again = keras.saving.load_model(folder / f"{name}.keras", compile=False)
        for one, other in zip(network.get_weights(), again.get_weights(), strict=True):
            if not np.array_equal(one, other):
                raise TfserError(f"{name}.keras has other weights than the run: a defect of tfser")


def keras_networks(served) -> dict:
    """Of what a run uses, the networks of Keras."""
    import keras

    return {name: part for name, part in served.parts.items() if isinstance(part, keras.Model)}


def save_tflite(_, served, folder: Path) -> None:
    """model.tflite, with the signature of `constant`; no operators but TensorFlow Lite's own."""
    function, given, told = freeze_function(served)
    module = tf.Module()
    module.function = tf.function(
        lambda x: dict(zip(told, function(x), strict=True)), input_signature=[given]
    )
    with tempfile.TemporaryDirectory() as saved:
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(module, saved, signatures=module.function, options=options)
        converted = tf.lite.TFLiteConverter.from_saved_model(saved).convert()
    (folder / "model.tflite").write_bytes(converted)


def save_onnx(_, served, folder: Path) -> None:
    """model.onnx, with the signature of `constant`."""
    import tf2onnx

    function, given, told = freeze_function(served)
    [x] = function.inputs
    names = {y.name: name for y, name in zip(function.outputs, told, strict=True)}
    tf2onnx.convert.from_graph_def(
        function.graph.as_graph_def(),
        input_names=[x.name],
        output_names=list(names),
        tensors_to_rename=names | {x.name: given.name},
        opset=OPSET,
        output_path=str(folder / "model.onnx"),
    )


def freeze_function(served) -> tuple:
    """The function with its weights as constants; what it is given, its outputs' names.

    Of one waveform [1, samples], or of features.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    def of_waveform(waveform):
        return served.function(waveform, tf.shape(waveform)[1:])

    if served.smile:
        given = tf.TensorSpec([None, *served.smile.shape], tf.float32, "features")
    else:
        given = tf.TensorSpec([1, None], tf.float32, "waveform")
    function = tf.function(served.function if served.smile else of_waveform)
    with stft.matrix_product_spectra():
        function = function.get_concrete_function(given)
    told = sorted(function.structured_outputs)  # as they are flattened
    function = convert_variables_to_constants_v2(function, lower_control_flow=False)
    return function, given, told


def run_export(folder: Path, inputs) -> list[np.ndarray]:
    """What the export in a folder says of each of `inputs`: probabilities, or ratings.

    In a process of its own that has not tfser.
    """
    asked, told = folder / "asked.npz", folder / "answers.npz"
    atomic_files.write_arrays(asked, **{str(i): x for i, x in enumerate(inputs)})
    script = Path(__file__).with_name("export_check.py")
    done = subprocess.run(
        [sys.executable, "-P", script, folder, asked, told], capture_output=True, text=True
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise TfserError(f"the export cannot be used: {reason}; take another --format")
    found = atomic_files.read_arrays(told)
    asked.unlink()
    told.unlink()
    return [found[str(i)] for i in range(len(inputs))]
