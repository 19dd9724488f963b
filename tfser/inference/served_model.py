"""Inference function of a finished run: tfser-export saves it, tfser-predict calls it.

Each model has `models/<name>/inference.py` with `make_inference_function(run)`.
"""

import importlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfser.errors import DataError, UsageError
from tfser.features.opensmile import OpenSmile
from tfser.inference.finished_run import FinishedRun, check_exists
from tfser.storage import atomic_files, preset

FORMAT = 1  # of exports: raise it when older exports cannot be read


class OpenSmileInput(NamedTuple):
    """Features of openSMILE as a model's input, which `OpenSmile` computes outside the graph."""

    feature_set: str
    level: str  # "functionals" or "lld"
    shape: tuple  # of an utterance: (features,), or (frames, features) with NaN after its end

    def make_extractor(self, sample_rate_hz) -> OpenSmile:
        """Return the extractor of these features from waveforms."""
        return OpenSmile(
            sample_rate_hz=sample_rate_hz, feature_set=self.feature_set, level=self.level
        )


class Embedding(NamedTuple):
    """A layer whose outputs tfser-embed writes.

    description: what the numbers are, for `--layer help`.
    step_seconds: seconds from one vector to the next one; None: one vector for a window.
    length_seconds: seconds that a vector describes; None: step_seconds.
    counts: the output [batch] that has the number of vectors; None: as many as are in the window.
    """

    description: str
    step_seconds: float | None = None
    length_seconds: float | None = None
    counts: str | None = None


class InferenceFunction(NamedTuple):
    """Inference function of a run, with its inputs and outputs.

    function: (waveform [batch, samples], lengths [batch] in samples) -> {name: tensor}, with
        "probabilities" [batch, K]; samples after a length are ignored. With `opensmile_input`:
        (features [batch, *shape]) -> {name: tensor}.
    parts: the layers and networks of the function, by name.
    outputs: {name: description with the shape}.
    opensmile_input: openSMILE's features where they are the input, else None.
    input_seconds: the seconds of an utterance, from its start, that the model uses; None: all.
    embeddings: {layer: Embedding}, outputs of `embed`: [batch, n], or [batch, steps, n].
    embed: function as `function`, whose outputs are the layers; None: `function` itself.
    notices: files {name: text} that an export must carry, of the weights of somebody else.
    """

    function: object
    parts: dict
    outputs: dict
    sample_rate_hz: int
    opensmile_input: OpenSmileInput | None = None
    input_seconds: float | None = None
    embeddings: dict = {}
    embed: object = None
    notices: dict | None = None


def load_inference_function(run: FinishedRun) -> InferenceFunction:
    """Load the inference function of a run.

    Raises DataError where a file is missing or damaged.
    """
    if (run.folder / preset.FILE).is_file():
        with preset.unpack(preset.read_preset(run.folder)) as folder:
            return load_inference_function(run._replace(folder=folder))
    serving = importlib.import_module(f"tfser.models.{run.model}.inference")
    try:
        return serving.make_inference_function(run)
    except (KeyError, TypeError) as error:  # a later version's settings
        raise DataError(
            f"{run.folder} is of another version of tfser ({type(error).__name__}: {error}); train "
            "again, into another --workdir"
        ) from error


def load_network(path: Path):
    """Load a network of a run, in float32; raise DataError where the file is missing or damaged."""
    from tfser.training import mixed_precision  # Keras, which svm does without

    check_exists(path)
    try:
        return mixed_precision.load_in_float32(path)
    except Exception as error:  # a damaged archive makes zipfile, h5py and Keras raise any kind
        reason = (str(error) or type(error).__name__).partition(". ")[0]
        raise atomic_files.damaged_error(path, reason) from None


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Load the arrays of a run's .npz; raise DataError where the file is missing or damaged."""
    check_exists(path)
    return atomic_files.read_arrays(path)


def main_output(outputs):
    """Return the output for each utterance: probabilities, or ratings [batch, 2]."""
    return outputs["probabilities" if "probabilities" in outputs else "ratings"].numpy()


def run_inference(inference: InferenceFunction, x) -> np.ndarray:
    """Return the output for one waveform [samples], or for openSMILE's features of an utterance."""
    inputs = [tf.constant(x[None])] + ([] if inference.opensmile_input else [tf.constant([len(x)])])
    return main_output(inference.function(*inputs))[0]


def refuse_speaker_normalization(run: FinishedRun) -> None:
    """Raise UsageError for features that are normalized by speaker."""
    # Older runs of acnn do not have the setting.
    if run.hp["features"].get("normalize") == "speaker":
        raise UsageError(
            f"{run.folder}: features.normalize=speaker takes all utterances of a speaker at once, "
            "which nobody who asks for a prediction has; export a run without it"
        )


def pad_features(features, shape) -> np.ndarray:
    """Pad openSMILE's features [rows, features] to the network's input, see `OpenSmileInput`."""
    if len(shape) == 1:
        return features[0]
    padded = np.full(shape, np.nan, "float32")
    padded[: len(features)] = features[: len(padded)]
    return padded


def mask_padding(waveform, lengths):
    """Return the waveforms [batch, samples] with zeros after their lengths [batch]."""
    inside = tf.range(tf.shape(waveform)[1])[None] < lengths[:, None]
    return tf.where(inside, waveform, 0.0)


def ceil_divide(n, size):
    """Return n / size rounded up; n must not be negative, which ONNX rounds differently."""
    return (n + size - 1) // size


def scatter_parts(values, inside):
    """Place values [n, ...] of the parts that are `inside` [batch, parts], in that order.

    Returns [batch, parts, ...], zeros in all other parts.
    """
    shape = tf.concat([tf.shape(inside), tf.shape(values)[1:]], axis=0)
    return tf.scatter_nd(tf.cast(tf.where(inside), "int32"), values, shape)


def count_frames(layer, lengths):
    """Return the number of LogMel frames of waveforms of these lengths [batch], in samples."""
    return 1 + (tf.maximum(lengths, layer.shortest) - layer.window) // layer.hop
