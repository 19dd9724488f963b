"""The splits of ACNN (section 4.1)."""

import logging

import numpy as np

from tfser.corpora.labels import list_strata, scale_ratings, select_by_labels
from tfser.errors import DataError
from tfser.evaluation.protocols import ONE_FOLD, make_predefined_split
from tfser.evaluation.splits import (
    Split,
    assign_speaker_groups,
    cross_corpus_split,
    leave_groups_out,
    leave_speakers_out,
    select_evaluated_part,
)

log = logging.getLogger("tfser")


def select_utterances(utterances, hp) -> list:
    """Select the utterances by [labels]; raise DataError for a rating outside labels.scale."""
    selected = select_by_labels(utterances, **hp["labels"])
    for attribute in ("activation", "valence"):  # of the views; see dataset.make_views
        scale_ratings(selected, attribute, hp["labels"]["scale"])
    return selected


def make_splits(utterances, hp, run, seed, n_trained=None) -> list[Split]:
    """Make the splits of section 4.1: leave one session out, or test on a second corpus.

    The second corpus begins after `n_trained` utterances. Corpora without sessions are divided into
    groups of speakers. `--protocol loso`: leave one speaker out, the next speaker is dev; `split`:
    the corpus's own split.
    protocol.dev: the dev set is a session of its own (the next session, across corpora the session
    with the number `seed`, cyclically), or a random part of the training sessions' utterances.
    """
    if n_trained is None and run.protocol == "loso":
        speakers = [u.speaker for u in utterances]
        splits = leave_speakers_out(speakers, n_folds=run.n_folds, strata=list_strata(utterances))
    elif n_trained is None and run.protocol in ONE_FOLD:
        emotions, fraction = [u.emotion for u in utterances], hp["train"]["dev_fraction"]
        splits = make_predefined_split(utterances, emotions, fraction, seed, run.protocol)
    elif hp["protocol"]["dev"] == "speakers":
        groups = sessions_or_groups(utterances[:n_trained], hp, run)
        splits = hold_out_groups(groups, len(utterances), seed)
    else:
        emotions = [u.emotion for u in utterances]
        dev = {"dev_fraction": hp["train"]["dev_fraction"], "seed": seed}
        if n_trained is None:
            splits = leave_groups_out(sessions_or_groups(utterances, hp, run), emotions, **dev)
        else:
            splits = cross_corpus_split(emotions, n_trained, **dev)
    return select_evaluated_part(run.evaluate, splits)


def hold_out_groups(groups, n: int, seed: int) -> list[Split]:
    """Make splits of `n` utterances whose dev set is a group (a session, or speakers) of its own.

    groups: of the first utterances. Where these are all utterances, fold i tests on the i-th group
    and the next group is dev. Otherwise the utterances after them are the test set, and the group
    with the number `seed`, cyclically, is dev. Raises DataError for too few groups.
    """
    groups, tested = np.asarray(groups), np.arange(len(groups), n)
    names = np.unique(groups)
    if len(names) < (2 if len(tested) else 3):
        advice = "use --set protocol.dev=utterances"
        raise DataError(
            f"{'' if len(tested) else 'test, '}dev and training set need a session or a group of "
            f"speakers each, there are {len(names)}; "
            + (advice if len(tested) or len(names) > 1 else "add speakers")
        )
    if not len(tested):
        return leave_speakers_out(groups)
    dev = groups == names[seed % len(names)]
    return [Split(train=np.flatnonzero(~dev), dev=np.flatnonzero(dev), test=tested)]


def sessions_or_groups(utterances, hp, run) -> list[str] | np.ndarray:
    """Return the session of each utterance, or its group of speakers without usable sessions."""
    speakers, sessions = ([getattr(u, name) for u in utterances] for name in ("speaker", "session"))
    n_speakers = len(set(speakers))
    # A speaker of two sessions would be in a training set and in its test set.
    apart = len(set(zip(speakers, sessions, strict=True))) == n_speakers
    if not run.n_folds and all(sessions) and len(set(sessions)) > 1 and apart:
        return sessions
    if any(sessions):
        log.warning("the folds are groups of speakers, not the corpus's sessions")
    n_folds = run.n_folds or min(hp["protocol"]["n_folds"], n_speakers)
    return assign_speaker_groups(speakers, n_folds=n_folds, strata=list_strata(utterances))
