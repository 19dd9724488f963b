"""The data of the Aux-VAE's probes: utterances, splits, pieces of spectrograms, targets."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfser.cache import feature_cache
from tfser.corpora.labels import (
    check_classes,
    list_strata,
    number_classes,
    select_by_labels,
    select_rated,
)
from tfser.errors import DataError, UsageError
from tfser.evaluation import regression_report
from tfser.evaluation.splits import (
    Split,
    leave_speakers_out,
    predefined_split,
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
    classes: list[str]  # empty for ratings
    y: np.ndarray  # the class of each utterance [n], or its arousal and valence [n, 2]
    pieces: np.ndarray  # [n_pieces, n_frames, n_bands]
    utterance: np.ndarray  # [n_pieces], the utterance of each piece
    key: str  # digest of the features


def select_utterances(utterances, hp) -> list:
    """Select the utterances that have the target; a class becomes their `emotion`."""
    target = hp["labels"]["target"]
    if target == "ratings":
        return select_rated(utterances, hp["labels"]["group"])
    return select_by_labels(utterances, **hp["labels"])


def list_files(hp) -> list[Path]:
    """Return the two files of `protocol.lists`, training and test; [] without lists."""
    text = hp["protocol"]["lists"]
    files = [Path(part.strip()).expanduser() for part in text.split(",")] if text else []
    if len(files) not in (0, 2):
        raise UsageError(f"protocol.lists={text!r}: expected two files, such as TRAIN.txt,TEST.txt")
    return files


def read_lists(hp) -> dict[str, str]:
    """Read `protocol.lists`: {name of an utterance: "train" or "test"}.

    A list has the name of an utterance on each line. Raises UsageError for a file that cannot be
    read, DataError for an empty list and for an utterance in both lists.
    """
    parts = {}
    for file, part in zip(list_files(hp), ("train", "test"), strict=False):
        try:
            names = file.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise UsageError(f"protocol.lists: cannot read {file} ({reason})") from None
        if not names:
            raise DataError(f"protocol.lists: {file} names no utterance")
        if both := [name for name in names if parts.get(name, part) != part]:
            raise DataError(
                f"protocol.lists: {len(both)} utterances are in both lists, the first is "
                f"{both[0]}; take each out of one of them"
            )
        parts |= dict.fromkeys(names, part)
    return parts


def check_lists(utterances, hp) -> None:
    """Check `protocol.lists` before any work; raise DataError for names that the corpus lacks.

    utterances: of the complete corpus, before the selection by [labels].
    """
    if not (parts := read_lists(hp)):
        return
    known = {u.name for u in utterances}
    if missing := [name for name in parts if name not in known]:
        raise DataError(
            f"protocol.lists: {len(missing)} of {len(parts)} utterances are not in the corpus, the "
            f"first is {missing[0]}; complete the corpus, or take them out of the lists"
        )
    if unlisted := sorted(known - parts.keys()):
        log.info(
            "protocol.lists: %d of %d utterances are in neither list, the first is %s",
            *(len(unlisted), len(known), unlisted[0]),
        )


def make_splits(utterances, hp, run, seed) -> list[Split]:
    """Make the splits of section 6: random parts, or the corpus's parts for emotions and ratings.

    `protocol.lists`: the split of two lists. `--protocol loso`: leave out a speaker or a group of
    speakers. Probes have no epoch to choose: a dev set exists with `--evaluate dev` alone.
    """
    return select_evaluated_part(run.evaluate, _make_splits(utterances, hp, run, seed))


def _make_splits(utterances, hp, run, seed) -> list[Split]:
    on_dev = run.evaluate == "dev"
    target = hp["labels"]["target"]
    speakers = [u.speaker for u in utterances]
    n_speakers, strata = len(set(speakers)), list_strata(utterances)
    fraction = hp["protocol"]["dev_fraction"] if on_dev else 0
    classes = ["rated" if target == "ratings" else u.emotion for u in utterances]
    if listed := read_lists(hp):
        if run.protocol == "loso" or run.n_folds:
            raise UsageError(
                "protocol.lists is one split; leave out --folds and --protocol loso, or the lists"
            )
        parts = [listed.get(u.name) for u in utterances]
        if not {"train", "test"} <= {*parts}:
            raise DataError(
                "protocol.lists: a list has none of the utterances that [labels] select; see "
                "labels.group and labels.target"
            )
        return [predefined_split(parts, classes, fraction, seed)]
    if run.protocol == "loso":
        if target == "speaker":
            raise UsageError(
                "--protocol loso leaves out speakers, and --target speaker is to find them; "
                "use --protocol paper"
            )
        if run.n_folds and run.n_folds > n_speakers:
            raise UsageError(
                f"--folds {run.n_folds}: the corpus has {n_speakers} speakers; "
                f"use --folds {n_speakers}"
            )
        if on_dev:
            return leave_speakers_out(speakers, n_folds=run.n_folds, strata=strata)
        if n_speakers < 2:
            raise DataError("leave one speaker out needs two speakers, the corpus has one")
        n_folds = run.n_folds or n_speakers
        pairs = speaker_group_k_fold(speakers, n_folds=n_folds, strata=strata)
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
    n_folds = run.n_folds or hp["protocol"]["n_folds"]
    if target == "speaker":
        names, counts = np.unique(speakers, return_counts=True)
        if counts.min() < 2:
            raise DataError(
                f"{np.sum(counts < 2)} of {len(names)} speakers have one utterance, the first is "
                f"{names[np.argmin(counts)]}: to train and test on a speaker takes two or more; "
                "use another corpus, or --target gender"
            )
        if not run.n_folds and counts.min() < n_folds:
            # The rarest speaker has an utterance in the test set of each fold.
            if seed == run.seeds[0]:
                warn_of_rare_speakers(names, counts, n_folds)
            n_folds = counts.min()
    return stratified_k_fold(classes, n_folds=n_folds, dev_fraction=fraction, seed=seed)


def warn_of_rare_speakers(names, counts, n_folds) -> None:
    """Warn that speakers with fewer utterances than folds reduce the folds and the training set."""
    log.warning(
        "%d of %d speakers have fewer than %d utterances, the first is %s, the fewest are %d: %d "
        "folds in place of %d, each trained on %.0f %% of the utterances in place of %.0f %%",
        *(np.sum(counts < n_folds), len(names), n_folds, names[counts < n_folds][0]),
        *(counts.min(), counts.min(), n_folds),
        *(100 - 100 / counts.min(), 100 - 100 / n_folds),
    )


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
