"""The data of EPR: splits, and log-mel frames that are cut into segments."""

import itertools
import logging
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfser.cache import feature_cache, pipelines
from tfser.corpora.labels import list_strata, number_classes, select_by_labels
from tfser.errors import UsageError
from tfser.evaluation.splits import (
    Split,
    leave_speakers_out,
    select_evaluated_part,
    speaker_group_k_fold,
    stratified_k_fold,
)
from tfser.features.log_mel import LogMel

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


def make_splits(utterances, hp, run, seed) -> list[Split]:
    """Make the splits of the networks: random ten-fold (section 4.1), or leave speakers out."""
    if run.protocol == "loso":
        speakers, strata = [u.speaker for u in utterances], list_strata(utterances)
        splits = leave_speakers_out(speakers, n_folds=run.n_folds, strata=strata)
    else:
        splits = stratified_k_fold(
            [u.emotion for u in utterances],
            n_folds=run.n_folds or hp["protocol"]["n_folds"],
            dev_fraction=hp["train"]["dev_fraction"],
            seed=seed,
        )
    return select_evaluated_part(run.evaluate, splits)


def make_inner_splits(utterances, n_folds: int) -> list[tuple]:
    """Make the folds inside a training set, for forest.profiles=inner: (train, test) pairs."""
    speakers, strata = [u.speaker for u in utterances], list_strata(utterances)
    return speaker_group_k_fold(speakers, n_folds=n_folds, strata=strata)


def make_forest_splits(dataset, network_splits, seed) -> list[Split]:
    """Make a second random k-fold of the tested utterances, with other folds than the networks'."""
    tested = list_tested(network_splits)
    splits = stratified_k_fold(
        [dataset.classes[k] for k in dataset.y[tested]],
        n_folds=len(network_splits),
        dev_fraction=0.0,
        seed=seed + 1_000_003,
    )
    return [Split(*(tested[part] for part in split)) for split in splits]


def list_tested(splits) -> np.ndarray:
    """List the utterances in the test set of any fold: with `--evaluate dev` not all of them."""
    return np.unique(np.concatenate([split.test for split in splits]))


def select_tested(dataset, profiles, splits) -> tuple[Dataset, np.ndarray]:
    """Select the utterances in the test set of any fold, with their profiles.

    profiles: [networks, segments, K]. For scores and figures alone: frames, offsets and band sums
    stay those of the corpus.
    """
    numbers = list_tested(splits)
    if len(numbers) == len(dataset.y):
        return dataset, profiles
    segments = np.isin(dataset.owner, numbers)
    tested = dataset._replace(
        utterances=[dataset.utterances[i] for i in numbers],
        y=dataset.y[numbers],
        starts=dataset.starts[segments],
        owner=np.searchsorted(numbers, dataset.owner[segments]),
        one_hot=dataset.one_hot[segments],
    )
    return tested, profiles[:, segments]


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
    make(select_by_labels(utterances, **hp["labels"]), make_log_mel(hp))
