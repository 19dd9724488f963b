"""The data of the Aux-VAE's probes: utterances, pieces of spectrograms, targets."""

import logging
from typing import NamedTuple

import numpy as np

from tfser.cache import feature_cache
from tfser.corpora.labels import check_classes, number_classes
from tfser.errors import DataError
from tfser.evaluation import regression_report
from tfser.features.mel_pieces import make_mel_pieces
from tfser.models.auxvae import pretraining
from tfser.models.auxvae.splits import select_utterances
from tfser.training.pretraining import drop_empty, select_training_part

log = logging.getLogger("tfser")


class Dataset(NamedTuple):
    """A corpus in pieces of n_frames frames."""

    utterances: list
    classes: list[str]  # empty for ratings
    y: np.ndarray  # the class of each utterance [n], or its arousal and valence [n, 2]
    pieces: np.ndarray  # [n_pieces, n_frames, n_bands]
    utterance: np.ndarray  # [n_pieces], the utterance of each piece
    key: str  # digest of the features


def load_dataset(utterances, hp, run) -> Dataset:
    """Load the pieces of a corpus; leave out utterances without a piece (`input.drop_short`)."""
    corpus = feature_cache.load_pieces(utterances, make_mel_pieces(hp), **run.cache_options)
    if corpus.n_left_out:
        log.warning(
            "input.drop_short: %d of %d utterances are shorter than %g s and left out",
            *(corpus.n_left_out, len(corpus.utterances) + corpus.n_left_out),
            hp["input"]["seconds"],
        )
    if not corpus.utterances:
        raise DataError("no utterance is long enough; use --set input.drop_short=false")
    if hp["labels"]["target"] == "ratings":
        ratings = regression_report.true_ratings(corpus.utterances)
        classes, y = [], np.stack(list(ratings.values()), axis=1)
    else:
        classes, numbers = number_classes(check_classes(corpus.utterances))
        y = np.array(numbers)
    return Dataset(corpus.utterances, classes, y, corpus.pieces, corpus.utterance, corpus.key)


def extract_features(corpus, utterances, hp, make) -> None:
    """Call make(utterances, feature) for each feature that `train` loads; see `cli.extract`.

    The autoencoder trains on the corpus that `vae.corpus` names.
    """
    layer, settings = make_mel_pieces(hp), hp["vae"]
    pretraining.check_hparams(hp, layer)
    if settings["corpus"] == corpus:
        make(select_training_part("vae", settings, utterances), layer)
    try:
        labelled = select_utterances(utterances, hp)
    except DataError:
        if settings["corpus"] == corpus:  # without such labels it is for pre-training alone
            return
        raise
    stored = make(labelled, layer)
    if settings["corpus"] == "tested" or settings["continued_epochs"]:
        make(drop_empty(stored), layer)
