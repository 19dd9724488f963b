"""The data of ACNN: log-mel frames, representations, labels of all views, batches."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfser.audio.tf_data import unconverted
from tfser.cache import feature_cache, pipelines
from tfser.corpora.labels import number_classes, scale_ratings, to_three_classes
from tfser.errors import UsageError
from tfser.features.log_mel import LogMel
from tfser.features.opensmile import normalize_by_speaker
from tfser.models.acnn import pretraining
from tfser.models.acnn.network import VIEWS
from tfser.models.acnn.splits import select_utterances
from tfser.storage import run_directory
from tfser.training.pretraining import (
    copy_network,
    file_digest,
    load_unlabelled,
    select_training_part,
    share_recordings,
)

log = logging.getLogger("tfser")

ATTRIBUTES = {"arousal": "activation", "valence": "valence"}  # the paper's name, ours
LEVELS = ("low", "neutral", "high")
LEAST_SD = 1e-6  # of numbers in [-1, 1] in float32, whose rounding is 6e-8


class Dataset(NamedTuple):
    """A corpus with its frames and labels."""

    utterances: list
    classes: list[str]
    y: np.ndarray  # [n], the class of each utterance
    frames: tf.Tensor  # [total_frames, n_bands]
    offsets: np.ndarray  # [n + 1], the first frame of each utterance
    n_frames: int  # of the network's input
    views: dict[str, np.ndarray]  # one-hot labels of each view [n, K], zeros without a label
    representations: np.ndarray | None  # [n, n_representation]
    transductive: bool  # whether the autoencoder was trained on tested utterances


def make_input_layer(hp) -> tuple[LogMel, int]:
    """Return the log-mel layer and the number of frames that the network takes.

    Raise UsageError where the frames do not fill one step of the pooling.
    """
    settings = {k: value for k, value in hp["features"].items() if k != "normalize"}
    layer = LogMel(**settings, min_frames=1)
    n_samples = round(hp["input"]["seconds"] * layer.sample_rate_hz)
    n_frames = 1 + (n_samples - layer.window) // layer.hop
    model = hp["model"]
    needed = (model["pool_steps"] - 1) * model["stride_frames"] + model["kernel_frames"]
    if n_frames < needed:
        least = (layer.window + (needed - 1) * layer.hop) / layer.sample_rate_hz
        raise UsageError(
            f"input.seconds={hp['input']['seconds']} makes {n_frames} frames, and a step of the "
            f"pooling takes {needed}; take {least:g} or more"
        )
    return layer, n_frames


def load_dataset(utterances, tested, hp, run, digests=None) -> Dataset:
    """Load log-mel frames (section 2), labels of all views, and the autoencoder's representations.

    tested: the utterances of a second corpus, empty within one corpus.
    digests: of further input of the run, see `run_directory.check_data`.
    """
    layer, n_frames = make_input_layer(hp)
    settings = hp["autoencoder"]
    # A missing corpus fails here, before any work.
    unlabelled = load_unlabelled("autoencoder", settings, tested or utterances, run)
    features = feature_cache.load_features(utterances, layer, **run.cache_options)
    utterances = list(features.utterances)
    representations, digests, path = None, dict(digests or {}), None
    if settings["corpus"] or settings["weights"]:
        spectrogram = pretraining.make_spectrogram(hp)
        path = Path(settings["weights"]).expanduser()
        if settings["corpus"]:
            path = pretraining.pretrained_network(unlabelled, spectrogram, hp, run)
        log.info("encoder: %s", path)
        encoder = pretraining.load_encoder(path, spectrogram)
        representations = pretraining.load_representations(utterances, encoder, spectrogram, run)
        digests["encoder"] = file_digest(path)
    run_directory.check_data(run.folder, utterances, features.key, **digests)
    frames = features.frames
    if hp["features"]["normalize"] == "speaker":
        speakers = np.repeat([u.speaker for u in utterances], np.diff(features.offsets))
        frames = normalize_by_speaker(frames, speakers)
    if path:
        copy_network(path, run.folder / "encoder.keras", run.local_cache)
    classes, numbers = number_classes(utterances)
    y = np.array(numbers)
    return Dataset(
        utterances=utterances,
        classes=classes,
        y=y,
        frames=pipelines.as_tensor(frames),
        offsets=features.offsets,
        n_frames=n_frames,
        views=make_views(utterances, y, len(classes), hp["labels"], tested),
        representations=representations,
        transductive=bool(settings["corpus"])
        and share_recordings(unlabelled, tested or utterances),
    )


def make_views(utterances, y, n_classes, labels, tested=()) -> dict[str, np.ndarray]:
    """Return one-hot labels of the emotion and of each view that the corpus has ratings for.

    labels: the section [labels], for the rounding and scale of the ratings.
    tested: utterances of a second corpus. No network trains on them: their ratings make no view.
    """
    tested = set(tested)
    trains = np.array([u not in tested for u in utterances])
    rated = [replace(u, activation=None, valence=None) if u in tested else u for u in utterances]
    views = {"emotion": np.eye(n_classes, dtype="float32")[y]}
    for name in VIEWS[1:]:
        ratings = scale_ratings(rated, ATTRIBUTES[name], labels["scale"])
        levels = [to_three_classes(rating, labels["rounding"]) for rating in ratings]
        one_hot = np.array([[level == name for name in LEVELS] for level in levels], "float32")
        if one_hot[trains].any():
            views[name] = one_hot
    return views


def representation_statistics(dataset, utterances) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation [n] of the representations of the given utterances.

    A number whose deviation is that of rounding, as of a saturated tanh, has a deviation of 1.
    """
    vectors = dataset.representations[utterances].astype("float64")
    sd = vectors.std(axis=0)
    return vectors.mean(axis=0), np.where(sd > LEAST_SD, sd, 1.0)


def feature_statistics(dataset, utterances) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation [n_bands] over the frames of the given utterances."""
    rows = np.repeat(np.isin(np.arange(len(dataset.y)), utterances), np.diff(dataset.offsets))
    frames = dataset.frames.numpy()[rows]
    sd = frames.std(axis=0, dtype="float64")
    return frames.mean(axis=0, dtype="float64"), np.where(sd > 0, sd, 1.0)


def make_batches(dataset, numbers, batch_size, weights=None, **options):
    """Return batches of (inputs, labels of each view), in order unless given a seed.

    With weights [numbers], a batch is (inputs, labels of each view, weights).
    """
    parts = {name: labels[numbers] for name, labels in dataset.views.items()}
    if dataset.representations is not None:
        parts["representation"] = dataset.representations[numbers]
    if weights is not None:
        parts["weight"] = weights[:, None].astype("float32")
    sizes = [part.shape[1] for part in parts.values()]
    batches = pipelines.utterance_batches(
        dataset.frames,
        dataset.offsets,
        numbers,
        np.concatenate(list(parts.values()), axis=1),
        n_frames=dataset.n_frames,
        batch_size=batch_size,
        **options,
    )

    @unconverted
    def separate(x, joined):
        labels = dict(zip(parts, tf.split(joined, sizes, axis=1), strict=True))
        inputs = {"log_mel": x}
        if "representation" in labels:
            inputs["representation"] = labels.pop("representation")
        if "weight" in labels:
            return inputs, labels, labels.pop("weight")[:, 0]
        return inputs, labels

    return batches.map(separate)


def extract_features(corpus, utterances, hp, make) -> None:
    """Call make(utterances, feature) for each feature that `train` loads; see `cli.extract`.

    The autoencoder trains on the corpus that `autoencoder.corpus` names.
    """
    layer, _ = make_input_layer(hp)
    pretraining.check_hparams(hp)
    settings, spectrogram = hp["autoencoder"], pretraining.make_spectrogram(hp)
    if settings["corpus"] == corpus:
        make(select_training_part("autoencoder", settings, utterances), spectrogram)
        if not any(u.emotion for u in utterances):
            return
    utterances = select_utterances(utterances, hp)
    framed = make(utterances, layer).utterances
    if settings["corpus"] == "tested":
        make(utterances, spectrogram)
    if settings["corpus"] or settings["weights"]:  # representations need log-mel frames beside them
        make(framed, spectrogram)
