"""A corpus as the Aux-VAE and its probes see it: pieces, what is to be found of them, and folds."""

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
    select_evaluated_part,
    speaker_group_k_fold,
    stratified_k_fold,
)
from tfser.features.mel_pieces import make_mel_pieces
from tfser.models.auxvae import pretraining
from tfser.training.pretraining import drop_empty, select_training_part

log = logging.getLogger("tfser")


class Dataset(NamedTuple):
    """A corpus in pieces of n_frames frames."""

    utterances: list
    classes: list[str]  # none of ratings
    y: np.ndarray  # the class of each utterance [n], or its arousal and valence [n, 2]
    pieces: np.ndarray  # [n_pieces, n_frames, n_bands]
    utterance: np.ndarray  # [n_pieces], whose each piece is
    key: str  # digest of the features


def select_utterances(utterances, hp) -> list:
    """The utterances that have what is to be found, as their `emotion` where it is a class."""
    target = hp["labels"]["target"]
    if target == "ratings":
        return select_rated(utterances, hp["labels"]["group"])
    return select_by_labels(utterances, **hp["labels"])


def make_splits(utterances, hp, run, seed) -> list[Split]:
    """The folds; no epoch is chosen, so that there is a dev part with `--evaluate dev` alone.

    Section 6: a random part of all speakers' utterances is tested, or the corpus's own test part
    of emotions and ratings. `--protocol loso`: speakers are left out, one or a group at a time.
    """
    return select_evaluated_part(run.evaluate, _plan(utterances, hp, run, seed))


def _plan(utterances, hp, run, seed) -> list[Split]:
    on_dev = run.evaluate == "dev"
    target = hp["labels"]["target"]
    speakers = [u.speaker for u in utterances]
    everyone = len(set(speakers))
    if run.protocol == "loso":
        if target == "speaker":
            raise UsageError(
                "--protocol loso leaves out speakers, and --target speaker is to find them; "
                "use --protocol paper"
            )
        if run.n_folds and run.n_folds > everyone:
            raise UsageError(
                f"--folds {run.n_folds}: the corpus has {everyone} speakers; use --folds {everyone}"
            )
        if on_dev:
            return leave_speakers_out(speakers, n_folds=run.n_folds)
        if everyone < 2:
            raise DataError("leave one speaker out needs two speakers, the corpus has one")
        pairs = speaker_group_k_fold(speakers, n_folds=run.n_folds or everyone)
        return [Split(train, np.empty(0, np.int64), test) for train, test in pairs]
    parts = np.array([u.split for u in utterances], object)
    if target in ("emotion", "ratings") and not run.n_folds and any(parts):
        train, dev, test = (np.flatnonzero(parts == part) for part in ("train", "dev", "test"))
        if not (len(train) and len(test)):
            raise DataError(
                f"of the corpus's own parts train has {len(train)} utterances that can be used "
                f"and test {len(test)}; complete them, or use --folds 5 or --protocol loso"
            )
        return [Split(train, dev, test)]
    classes = ["rated" if target == "ratings" else u.emotion for u in utterances]
    n_folds = run.n_folds or hp["protocol"]["n_folds"]
    if target == "speaker":
        names, counts = np.unique(speakers, return_counts=True)
        if counts.min() < 2:
            raise DataError(
                f"{np.sum(counts < 2)} of {len(names)} speakers have one utterance, the first is "
                f"{names[np.argmin(counts)]}: to train and test on a speaker takes two or more; "
                "use another corpus, or --target gender"
            )
        if not run.n_folds:  # the rarest speaker has an utterance in each part of some folds
            n_folds = min(n_folds, counts.min())
    fraction = hp["protocol"]["dev_fraction"] if on_dev else 0
    return stratified_k_fold(classes, n_folds=n_folds, dev_fraction=fraction, seed=seed)


def load_dataset(utterances, hp, run) -> Dataset:
    """The pieces of a corpus; utterances that have none (`input.drop_short`) are left out."""
    layer = make_mel_pieces(hp)
    features = feature_cache.load_features(utterances, layer, **run.cache_options)
    pieces = features.frames.reshape(-1, layer.n_frames, layer.n_features)
    counts = np.diff(features.offsets) // layer.n_frames
    kept = [u for u, n in zip(features.utterances, counts, strict=True) if n]
    if len(kept) < len(counts):
        log.warning(
            "input.drop_short: %d of %d utterances are shorter than %g s and left out",
            *(len(counts) - len(kept), len(counts), hp["input"]["seconds"]),
        )
    if not kept:
        raise DataError("no utterance is long enough; use --set input.drop_short=false")
    if hp["labels"]["target"] == "ratings":
        classes, y = [], np.stack(list(regression_report.true_ratings(kept).values()), axis=1)
    else:
        check_classes(kept)
        names, y = np.unique([u.emotion for u in kept], return_inverse=True)
        classes = [str(name) for name in names]
    utterance = np.repeat(np.arange(len(kept)), counts[counts > 0])
    return Dataset(kept, classes, y, pieces, utterance, features.key)


def extract_features(corpus, utterances, hp, make) -> None:
    """Calls make(utterances, feature) for all that `train` loads; see `tfser.extract`.

    The corpus that `vae.corpus` names is what the autoencoder trains on.
    """
    layer, settings = make_mel_pieces(hp), hp["vae"]
    pretraining.check_hparams(hp, layer)
    if settings["corpus"] == corpus:
        make(select_training_part(settings, utterances), layer)
    try:
        probed = select_utterances(utterances, hp)
    except DataError:
        if settings["corpus"] == corpus:  # it has no such labels: for pre-training alone
            return
        raise
    heard = make(probed, layer)
    if settings["corpus"] == "tested" or settings["continued_epochs"]:
        make(drop_empty(heard), layer)
