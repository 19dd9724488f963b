"""A corpus as EPR sees it: which utterances, in which folds, cut into which segments."""

import itertools
import logging
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfser.cache import feature_cache, pipelines
from tfser.corpora import labels
from tfser.corpora.labels import select
from tfser.errors import UsageError
from tfser.evaluation import splits as folds
from tfser.features.log_mel import LogMel

log = logging.getLogger("tfser")


class Speech(NamedTuple):
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


def plan(utterances, hp, run, seed) -> list[folds.Split]:
    """The folds of the networks: random ten-fold (section 4.1), or leave speakers out."""
    if run.protocol == "loso":
        splits = folds.leave_speakers_out([u.speaker for u in utterances], n_folds=run.n_folds)
        labels.warn_of_unheard(utterances, splits)
    else:
        splits = folds.stratified(
            [u.emotion for u in utterances],
            n_folds=run.n_folds or hp["protocol"]["n_folds"],
            dev_fraction=hp["train"]["dev_fraction"],
            seed=seed,
        )
    return folds.evaluated_on(run.evaluate, splits)


def forest_plan(speech, network_plan, seed) -> list[folds.Split]:
    """A second random k-fold, other than the networks'."""
    emotions = [speech.classes[k] for k in speech.y]
    return folds.stratified(
        emotions, n_folds=len(network_plan), dev_fraction=0.0, seed=seed + 1_000_003
    )


def tested_part(speech, profiles, network_plan) -> tuple[Speech, np.ndarray, np.ndarray]:
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


def layer_of(hp) -> LogMel:
    """The layer of [features]; utterances under one segment (335 ms) get silence up to one."""
    return LogMel(**hp["features"], min_frames=hp["segments"]["n_frames"])


def segmented(utterances, hp, run) -> Speech:
    """Log-mel frames of the corpus (section 2.1.1) cut into segments (section 4.1)."""
    hop_frames = hp["segments"]["hop_seconds"] / hp["features"]["hop_seconds"]
    if abs(hop_frames - round(hop_frames)) > 1e-6:
        raise UsageError(
            f"segments.hop_seconds={hp['segments']['hop_seconds']} is no multiple of "
            f"features.hop_seconds={hp['features']['hop_seconds']}"
        )
    n_frames = hp["segments"]["n_frames"]
    features = feature_cache.load(utterances, layer_of(hp), **run.reading)
    starts, owner = pipelines.segment_index(
        features.offsets, n_frames=n_frames, hop_frames=round(hop_frames)
    )
    classes, y = np.unique([u.emotion for u in features.utterances], return_inverse=True)
    log.info("%d utterances, %d segments of %d frames", len(y), len(starts), n_frames)
    return Speech(
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


def fill(corpus, utterances, hp, make) -> None:
    """Calls make(utterances, feature) for all that `train` loads; see `tfser.extract`."""
    make(select(utterances, **hp["labels"]), layer_of(hp))
