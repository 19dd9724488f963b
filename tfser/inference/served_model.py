"""A finished run as one function of waveforms: what tfser-export saves and tfser-predict calls.

Each system has a `models/<name>/serving.py` with `serve(run) -> Served`.
"""

import importlib
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfser.errors import ConflictError, DataError, UsageError
from tfser.features.opensmile import OpenSmile
from tfser.storage import atomic_files

FORMAT = 1  # of exports: raise it when older ones cannot be read
LOST = "copy the run whole, or train into another --workdir"


class FinishedRun(NamedTuple):
    """A run of tfser-train, and the fold whose network serves."""

    folder: Path
    model: str
    corpus: str
    tested: str  # the corpus of its test part
    hp: dict
    scores: dict
    classes: list[str]
    seed: int
    fold: int

    @property
    def network(self) -> Path:
        """Where the fold's networks are."""
        return self.folder / f"seed-{self.seed}" / f"fold-{self.fold:02}"


class OpenSmileInput(NamedTuple):
    """openSMILE's features, which no graph computes: those of `opensmile.OpenSmile`."""

    feature_set: str
    level: str  # "functionals" or "lld"
    shape: tuple  # of an utterance: (features,), or (frames, features) with NaN after its end

    def extractor(self, sample_rate_hz) -> OpenSmile:
        """What makes them of waveforms."""
        return OpenSmile(
            sample_rate_hz=sample_rate_hz, feature_set=self.feature_set, level=self.level
        )


class InferenceFunction(NamedTuple):
    """What a run gives out.

    function: (waveform [batch, samples], lengths [batch] in samples) -> {name: tensor}, with
        "probabilities" [batch, K]; what lies after a length is of no account. Where a system hears
        openSMILE's features: (features [batch, *shape]) -> {name: tensor}.
    parts: the layers and networks that it uses, by name.
    outputs: {name: what it is, with its shape}.
    smile: of openSMILE's features, what makes them of a waveform.
    heard_seconds: what is heard of an utterance, from its beginning; None: all of it.
    """

    function: object
    parts: dict
    outputs: dict
    sample_rate_hz: int
    smile: OpenSmileInput | None = None
    heard_seconds: float | None = None


def load_run(folder: Path, *, seed: int | None = None, fold: int = 0) -> FinishedRun:
    """The run in a folder; without a seed its first.

    Raises:
        UsageError: no run directory, or of a seed or fold that it has not.
        ConflictError: it is not finished.
    """
    try:
        settings = atomic_files.read_json(folder / "hparams.json")
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{folder} is no run directory of tfser-train") from None
    if not (folder / "scores.json").exists():
        raise ConflictError(f"{folder} is not finished; the same tfser-train command continues it")
    scores = atomic_files.read_json(folder / "scores.json")
    seeds = scores["seed_numbers"]
    seed = seeds[0] if seed is None else seed
    if seed not in seeds:
        raise UsageError(f"--seed {seed}: the seeds of {folder} are {' '.join(map(str, seeds))}")
    if not 0 <= fold < scores["folds"]:
        raise UsageError(f"--fold {fold}: {folder} has folds 0 to {scores['folds'] - 1}")
    return FinishedRun(
        folder=folder,
        model=settings["model"],
        corpus=settings["corpus"],
        tested=settings.get("tested", settings)["corpus"],
        hp=settings["hparams"],
        scores=scores,
        classes=scores.get("classes", []),
        seed=seed,
        fold=fold,
    )


def load_inference_function(run: FinishedRun) -> InferenceFunction:
    """The function of a run.

    Raises DataError where a file of it is missing or damaged.
    """
    serving = importlib.import_module(f"tfser.models.{run.model}.inference")
    try:
        return serving.make_inference_function(run)
    except (KeyError, TypeError) as error:  # settings that later versions have besides
        raise DataError(
            f"{run.folder} is of another version of tfser ({type(error).__name__}: {error}); train "
            "again, into another --workdir"
        ) from error


def load_network(path: Path):
    """A network of a run, in float32; DataError where the file is missing or damaged."""
    from tfser.training import mixed_precision

    check_exists(path)
    try:
        return mixed_precision.load_in_float32(path)
    except (ValueError, OSError, KeyError, TypeError) as error:
        reason = str(error).partition(". ")[0].partition("\n")[0]
        raise DataError(f"{path} is damaged: {reason}; {LOST}") from None


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz of a run; DataError where the file is missing or damaged."""
    check_exists(path)
    try:
        return atomic_files.read_arrays(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is damaged: {error}; {LOST}") from None


def check_exists(path: Path) -> None:
    """Raises DataError where a file of a run is missing."""
    if not path.exists():
        raise DataError(f"{path} is missing; {LOST}")


def main_output(outputs):
    """What is said of each utterance: probabilities, or ratings [batch, 2]."""
    return outputs["probabilities" if "probabilities" in outputs else "ratings"].numpy()


def run_inference(served: InferenceFunction, x) -> np.ndarray:
    """What a run says of one waveform [samples], or of openSMILE's features of an utterance."""
    inputs = [tf.constant(x[None])] + ([] if served.smile else [tf.constant([len(x)])])
    return main_output(served.function(*inputs))[0]


def refuse_speaker_normalization(run: FinishedRun) -> None:
    """Raises UsageError for features that are normalized by speaker."""
    if run.hp["features"]["normalize"] == "speaker":
        raise UsageError(
            f"{run.folder}: features.normalize=speaker takes all utterances of a speaker at once, "
            "which nobody who asks for a prediction has; export a run without it"
        )


def pad_features(features, shape) -> np.ndarray:
    """Features of openSMILE [rows, features] as the network takes them, see `Smile`."""
    if len(shape) == 1:
        return features[0]
    padded = np.full(shape, np.nan, "float32")
    padded[: len(features)] = features[: len(padded)]
    return padded


def mask_padding(waveform, lengths):
    """The waveforms [batch, samples] with zeros after their lengths [batch]."""
    inside = tf.range(tf.shape(waveform)[1])[None] < lengths[:, None]
    return tf.where(inside, waveform, 0.0)


def ceil_divide(n, size):
    """Of n / size, the next whole number; no negative dividend, which ONNX rounds otherwise."""
    return (n + size - 1) // size


def scatter_parts(found, inside):
    """What is found of the parts that are `inside` [batch, parts], in that order: [n, ...].

    Returns [batch, parts, ...], zeros where there is none.
    """
    shape = tf.concat([tf.shape(inside), tf.shape(found)[1:]], axis=0)
    return tf.scatter_nd(tf.cast(tf.where(inside), "int32"), found, shape)


def count_frames(layer, lengths):
    """How many frames a LogMel makes of waveforms of these lengths [batch], in samples."""
    return 1 + (tf.maximum(lengths, layer.shortest) - layer.window) // layer.hop
