"""A corpus as BEGAN's heads see it: slices, what is to be found of them, and folds."""

import logging
from typing import NamedTuple

import numpy as np

from tfser.cache import feature_cache
from tfser.corpora.labels import check_classes, select_by_labels, select_rated
from tfser.errors import DataError, UsageError
from tfser.evaluation import regression_report
from tfser.evaluation.splits import (
    Split,
    leave_speakers_out,
    per_speaker_split,
    predefined_split,
    select_evaluated_part,
)
from tfser.features.magnitude_slices import make_magnitude_slices
from tfser.models.began import pretraining
from tfser.training.pretraining import drop_empty, select_training_part

log = logging.getLogger("tfser")


class Dataset(NamedTuple):
    """A corpus in slices of n_frames frames."""

    utterances: list
    classes: list[str]  # none of ratings
    y: np.ndarray  # what is to be found of each utterance [n, K]: one-hot, or arousal and valence
    slices: np.ndarray  # magnitudes [n_slices, n_frames, bins]
    utterance: np.ndarray  # [n_slices], whose each slice is
    key: str  # digest of the features


def select_utterances(utterances, hp) -> list:
    """The utterances that have what is to be found."""
    if hp["labels"]["target"] == "ratings":
        return select_rated(utterances, hp["labels"]["group"])
    return select_by_labels(utterances, **hp["labels"])


def make_splits(utterances, hp, run, seed) -> list[Split]:
    """Section 3.3: a network for each speaker, leave one speaker out, or the corpus's own parts."""
    return select_evaluated_part(run.evaluate, _plan(utterances, hp, run, seed))


def _plan(utterances, hp, run, seed) -> list[Split]:
    kind = "loso" if run.protocol == "loso" else hp["protocol"]["kind"]
    ratings_too = hp["labels"]["target"] == "ratings"
    classes = [0 if ratings_too else u.emotion for u in utterances]
    speakers, fraction = [u.speaker for u in utterances], hp["train"]["dev_fraction"]
    if kind == "loso":
        return leave_speakers_out(speakers, n_folds=run.n_folds)
    if run.n_folds:
        raise UsageError(f"--folds {run.n_folds}: protocol.kind={kind} has folds of its own")
    if kind == "official":
        return [predefined_split([u.split for u in utterances], classes, fraction, seed)]
    share = hp["protocol"]["train_fraction"]
    return per_speaker_split(
        speakers, classes, train_fraction=share, dev_fraction=fraction, seed=seed
    )


def load_dataset(utterances, hp, run) -> Dataset:
    """The slices of a corpus; utterances that have none (`features.drop_short`) are left out."""
    layer = make_magnitude_slices(hp)
    features = feature_cache.load_features(utterances, layer, **run.cache_options)
    slices = features.frames.reshape(-1, layer.n_frames, layer.n_features)
    counts = np.diff(features.offsets) // layer.n_frames
    kept = [u for u, n in zip(features.utterances, counts, strict=True) if n]
    if len(kept) < len(counts):
        log.warning(
            "features.drop_short: %d of %d utterances have no slice and are left out",
            *(len(counts) - len(kept), len(counts)),
        )
    if hp["labels"]["target"] == "ratings":
        if not kept:
            raise DataError("no utterance has a slice; use --set features.drop_short=false")
        classes, y = [], np.stack(list(regression_report.true_ratings(kept).values()), axis=1)
    else:
        check_classes(kept)
        names, numbers = np.unique([u.emotion for u in kept], return_inverse=True)
        classes = [str(name) for name in names]
        y = np.eye(len(classes), dtype="float32")[numbers]
    utterance = np.repeat(np.arange(len(kept)), counts[counts > 0])
    return Dataset(kept, classes, y, slices, utterance, features.key)


def merge_slices(speech, numbers, values, chosen_utterances) -> np.ndarray:
    """What a head says of utterances, from what it says of their slices: [m, K].

    The mean of softmax, the median of ratings. numbers [slices]: whose they are.
    """
    merge = np.mean if speech.classes else np.median
    order = np.argsort(numbers, kind="stable")
    starts = np.searchsorted(numbers[order], chosen_utterances)
    parts = np.split(values[order], starts[1:])
    return np.stack([merge(part, axis=0) for part in parts])


def extract_features(corpus, utterances, hp, make) -> None:
    """Calls make(utterances, feature) for all that `train` loads; see `tfser.extract`.

    The corpus that `began.corpus` names is what BEGAN trains on.
    """
    layer, settings = make_magnitude_slices(hp), hp["began"]
    pretraining.check_hparams(hp, layer)
    pretrained = hp["head"]["encoder"] == "pretrained"
    if pretrained and settings["corpus"] == corpus:
        make(select_training_part(settings, utterances), layer)
        if not any(u.emotion for u in utterances):
            return
    heard = make(select_utterances(utterances, hp), layer)
    if pretrained and settings["corpus"] == "tested":
        make(drop_empty(heard), layer)
