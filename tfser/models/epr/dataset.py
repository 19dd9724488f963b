"""The data of EPR: log-mel frames that are cut into segments."""

import itertools
import logging
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfser.cache import feature_cache, pipelines
from tfser.corpora.labels import number_classes
from tfser.errors import UsageError
from tfser.features.log_mel import LogMel
from tfser.models.epr.splits import select_utterances

log = logging.getLogger("tfser")


class Dataset(NamedTuple):
    """A corpus in segments."""

    key: str  # of the cache entry; it depends on the content of the files
    utterances: list
    classes: list[str]
    y: np.ndarray  # [n], the class of each utterance
    frames: tf.Tensor  # [total_frames, n_bands]
    offsets: np.ndarray  # [n + 1], the first frame of each utterance
    band_sums: np.ndarray  # [2, n, n_bands], sums of frames and of squares per utterance
    starts: np.ndarray  # [segments], the first frame of each segment
    owner: np.ndarray  # [segments], the utterance of each segment
    one_hot: np.ndarray  # [segments, K], labels inherited from the utterances


def make_log_mel(hp) -> LogMel:
    """Return the layer of [features]; it pads utterances below a segment (335 ms) with silence."""
    return LogMel(**hp["features"], min_frames=hp["segments"]["n_frames"])


def load_dataset(utterances, hp, run) -> Dataset:
    """Load the log-mel frames of the corpus (section 2.1.1) in segments (section 4.1)."""
    hop_frames = hp["segments"]["hop_seconds"] / hp["features"]["hop_seconds"]
    if abs(hop_frames - round(hop_frames)) > 1e-6:
        raise UsageError(
            f"segments.hop_seconds={hp['segments']['hop_seconds']} is no multiple of "
            f"features.hop_seconds={hp['features']['hop_seconds']}"
        )
    n_frames = hp["segments"]["n_frames"]
    features = feature_cache.load_features(utterances, make_log_mel(hp), **run.cache_options)
    starts, owner = pipelines.index_segments(
        features.offsets, n_frames=n_frames, hop_frames=round(hop_frames)
    )
    classes, numbers = number_classes(features.utterances)
    y = np.array(numbers)
    log.info("%d utterances, %d segments of %d frames", len(y), len(starts), n_frames)
    return Dataset(
        key=features.key,
        utterances=list(features.utterances),
        classes=classes,
        y=y,
        frames=pipelines.as_tensor(features.frames),
        band_sums=band_sums(features),
        offsets=features.offsets,
        starts=starts,
        owner=owner,
        one_hot=np.eye(len(classes), dtype=np.float32)[y[owner]],
    )


def band_sums(features) -> np.ndarray:
    """Return the sums of each band and of its square over each utterance [2, n, n_bands]."""
    sums = np.empty((2, len(features.utterances), features.frames.shape[1]))
    for i, (start, end) in enumerate(itertools.pairwise(features.offsets)):
        frames = features.frames[start:end].astype(np.float64)
        sums[:, i] = frames.sum(axis=0), (frames**2).sum(axis=0)
    return sums


def band_statistics(dataset, utterances) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of each band [n_bands] over the frames of the given utterances."""
    n_frames = np.diff(dataset.offsets)[utterances].sum()
    mean, mean_square = dataset.band_sums[:, utterances].sum(axis=1) / n_frames
    # A band at the floor of the logarithm has a variance of 0, which rounding may put below 0.
    return mean, np.maximum(mean_square - mean**2, 0)


def extract_features(corpus, utterances, hp, make) -> None:
    """Call make(utterances, feature) for each feature that `train` loads; see `cli.extract`."""
    make(select_utterances(utterances, hp), make_log_mel(hp))
