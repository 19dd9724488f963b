"""The data of BEGAN's heads: utterances, slices of magnitudes and their targets."""

import logging
from typing import NamedTuple

import numpy as np

from tfser.cache import feature_cache
from tfser.corpora.labels import check_classes, number_classes
from tfser.errors import DataError
from tfser.evaluation import regression_report
from tfser.features.magnitude_slices import make_magnitude_slices
from tfser.models.began import pretraining
from tfser.models.began.splits import select_utterances
from tfser.training.pretraining import drop_empty, select_training_part

log = logging.getLogger("tfser")


class Dataset(NamedTuple):
    """A corpus in slices of n_frames frames."""

    utterances: list
    classes: list[str]  # empty for ratings
    y: np.ndarray  # the target of each utterance [n, K]: one-hot, or arousal and valence
    slices: np.ndarray  # magnitudes [n_slices, n_frames, bins]
    utterance: np.ndarray  # [n_slices], the utterance of each slice
    key: str  # digest of the features


def load_dataset(utterances, hp, run) -> Dataset:
    """Load the slices of a corpus; leave out utterances without a slice (`features.drop_short`)."""
    corpus = feature_cache.load_pieces(utterances, make_magnitude_slices(hp), **run.cache_options)
    if corpus.n_left_out:
        log.warning(
            "features.drop_short: %d of %d utterances have no slice and are left out",
            *(corpus.n_left_out, len(corpus.utterances) + corpus.n_left_out),
        )
    if hp["labels"]["target"] == "ratings":
        if not corpus.utterances:
            raise DataError("no utterance has a slice; use --set features.drop_short=false")
        ratings = regression_report.true_ratings(corpus.utterances)
        classes, y = [], np.stack(list(ratings.values()), axis=1)
    else:
        classes, numbers = number_classes(check_classes(corpus.utterances))
        y = np.eye(len(classes), dtype="float32")[numbers]
    return Dataset(corpus.utterances, classes, y, corpus.pieces, corpus.utterance, corpus.key)


def merge_slices(dataset, numbers, values, utterances) -> np.ndarray:
    """Merge a head's outputs for slices to outputs for utterances [m, K].

    The mean of probabilities, the median of ratings. numbers [slices]: the utterance of each slice.
    """
    merge = np.mean if dataset.classes else np.median
    order = np.argsort(numbers, kind="stable")
    starts = np.searchsorted(numbers[order], utterances)
    parts = np.split(values[order], starts[1:])
    return np.stack([merge(part, axis=0) for part in parts])


def extract_features(corpus, utterances, hp, make) -> None:
    """Call make(utterances, feature) for each feature that `train` loads; see `cli.extract`.

    BEGAN trains on the corpus that `began.corpus` names.
    """
    layer, settings = make_magnitude_slices(hp), hp["began"]
    pretraining.check_hparams(hp, layer)
    pretrained = hp["head"]["encoder"] == "pretrained"
    if pretrained and settings["corpus"] == corpus:
        make(select_training_part("began", settings, utterances), layer)
        if not any(u.emotion for u in utterances):
            return
    stored = make(select_utterances(utterances, hp), layer)
    if pretrained and settings["corpus"] == "tested":
        make(drop_empty(stored), layer)
