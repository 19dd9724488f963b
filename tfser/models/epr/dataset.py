"""A corpus as EPR sees it: which utterances, in which folds, cut into which segments."""

import itertools
import logging
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfser.cache import feature_cache, pipelines
from tfser.corpora.labels import select_by_labels, warn_of_untrained_classes
from tfser.errors import UsageError
from tfser.evaluation.splits import (
    Split,
    leave_speakers_out,
    select_evaluated_part,
    stratified_k_fold,
)
from tfser.features.log_mel import LogMel

log = logging.getLogger("tfser")


class Dataset(NamedTuple):
    """A corpus as segments."""

    key: str  # the store's, which depends on the content of the files
    utterances: list
    classes: list[str]
    y: np.ndarray  # [n], the class of each utterance
    frames: tf.Tensor  # [total_frames, n_bands]
    offsets: np.ndarray  # [n + 1], each utterance's first frame
    band_sums: np.ndarray  # [2, n, n_bands], each utterance's sums of frames and of their squares
    starts: np.ndarray  # [segments], each segment's first frame
    owner: np.ndarray  # [segments], each segment's utterance
    one_hot: np.ndarray  # [segments, K], labels inherited from the utterances


def make_splits(utterances, hp, run, seed) -> list[Split]:
    """The folds of the networks: random ten-fold (section 4.1), or leave speakers out."""
    if run.protocol == "loso":
        splits = leave_speakers_out([u.speaker for u in utterances], n_folds=run.n_folds)
        warn_of_untrained_classes(utterances, splits)
    else:
        splits = stratified_k_fold(
            [u.emotion for u in utterances],
            n_folds=run.n_folds or hp["protocol"]["n_folds"],
            dev_fraction=hp["train"]["dev_fraction"],
            seed=seed,
        )
    return select_evaluated_part(run.evaluate, splits)


def make_forest_splits(speech, network_plan, seed) -> list[Split]:
    """A second random k-fold, other than the networks'."""
    emotions = [speech.classes[k] for k in speech.y]
    return stratified_k_fold(
        emotions, n_folds=len(network_plan), dev_fraction=0.0, seed=seed + 1_000_003
    )


def select_tested(speech, profiles, network_plan) -> tuple[Dataset, np.ndarray, np.ndarray]:
    """What some fold of the networks tests: (its speech, profiles [rounds, segments, K], numbers).

    The whole corpus, but with `--evaluate dev`: there it is the utterances of some dev part. For
    forests and scores: frames, offsets and band sums stay those of the corpus.
    """
    numbers = np.unique(np.concatenate([split.test for split in network_plan]))
    if len(numbers) == len(speech.y):
        return speech, profiles, numbers
    segments = np.isin(speech.owner, numbers)
    of_numbers = speech._replace(
        utterances=[speech.utterances[i] for i in numbers],
        y=speech.y[numbers],
        starts=speech.starts[segments],
        owner=np.searchsorted(numbers, speech.owner[segments]),
        one_hot=speech.one_hot[segments],
    )
    return of_numbers, profiles[:, segments], numbers


def make_log_mel(hp) -> LogMel:
    """The layer of [features]; utterances under one segment (335 ms) get silence up to one."""
    return LogMel(**hp["features"], min_frames=hp["segments"]["n_frames"])


def load_dataset(utterances, hp, run) -> Dataset:
    """Log-mel frames of the corpus (section 2.1.1) cut into segments (section 4.1)."""
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
    classes, y = np.unique([u.emotion for u in features.utterances], return_inverse=True)
    log.info("%d utterances, %d segments of %d frames", len(y), len(starts), n_frames)
    return Dataset(
        key=features.key,
        utterances=list(features.utterances),
        classes=[str(name) for name in classes],
        y=y,
        frames=pipelines.as_tensor(features.frames),
        band_sums=band_sums(features),
        offsets=features.offsets,
        starts=starts,
        owner=owner,
        one_hot=np.eye(len(classes), dtype=np.float32)[y[owner]],
    )


def band_sums(features) -> np.ndarray:
    """Sums of each band and of its square over each utterance [2, utterances, n_bands]."""
    sums = np.empty((2, len(features.utterances), features.frames.shape[1]))
    for i, (start, end) in enumerate(itertools.pairwise(features.offsets)):
        frames = features.frames[start:end].astype(np.float64)
        sums[:, i] = frames.sum(axis=0), (frames**2).sum(axis=0)
    return sums


def band_statistics(speech, utterances) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each band [n_bands] over the frames of the given utterances."""
    n_frames = np.diff(speech.offsets)[utterances].sum()
    mean, mean_square = speech.band_sums[:, utterances].sum(axis=1) / n_frames
    # A band at the logarithm's floor throughout has a variance of 0, and rounds to one below.
    return mean, np.maximum(mean_square - mean**2, 0)


def extract_features(corpus, utterances, hp, make) -> None:
    """Calls make(utterances, feature) for all that `train` loads; see `tfser.extract`."""
    make(select_by_labels(utterances, **hp["labels"]), make_log_mel(hp))
