"""The splits of AAE (section 5.1)."""

import logging
from dataclasses import replace

import numpy as np

from tfser.corpora.labels import list_strata, select_by_labels
from tfser.errors import DataError, UsageError
from tfser.evaluation.protocols import (
    DEV_FRACTION,
    ONE_FOLD,
    make_predefined_split,
    read_parts,
)
from tfser.evaluation.splits import (
    Split,
    leave_speakers_of_sessions_out,
    leave_speakers_out,
    select_evaluated_part,
)

log = logging.getLogger("tfser")


def select_utterances(utterances, hp) -> list:
    """Select the utterances of [labels], and those without a label where they train."""
    # The baseline has no loss for an utterance without a label.
    unlabelled = hp["train"]["unlabelled"] and hp["model"]["system"] != "baseline"
    return select_by_labels(utterances, **hp["labels"], unlabelled=unlabelled)


def make_splits(utterances, hp, run, seed, others=()) -> list[Split]:
    """Make the splits of section 5.1: the speakers of a session are dev and test in turn.

    Without sessions, and under `--protocol loso`: leave one speaker out, the next speaker is dev.
    `--protocol split`: the corpus's own split; `all`: everybody trains. Their random dev part
    depends on `seed`. Utterances without a label train, unless their speaker is dev or test, or the
    split has them there.

    others: which of the utterances are of another corpus, without labels.
    """
    labelled = np.flatnonzero([u.emotion is not None for u in utterances])
    speakers, sessions = (
        np.array([getattr(u, name) for u in utterances], object) for name in ("speaker", "session")
    )
    by_speaker, by_session = speakers[labelled].astype(str), sessions[labelled]
    parts = [None] * len(utterances)
    if run.protocol == "all":
        parts = ["train"] * len(utterances)
    elif run.protocol == "split":
        own = set(utterances).difference(others)
        parts = read_parts([u if u in own else replace(u, split="train") for u in utterances])
    if run.protocol in ONE_FOLD:
        known = [utterances[i] for i in labelled]
        emotions = [u.emotion for u in known]
        splits = make_predefined_split(known, emotions, DEV_FRACTION, seed, run.protocol)
    elif run.protocol == "paper" and all(by_session):
        if run.n_folds:
            raise UsageError(
                f"--folds {run.n_folds}: the folds of --protocol paper are the corpus's sessions; "
                "leave it out or use --protocol loso"
            )
        splits = leave_speakers_of_sessions_out(by_speaker, by_session.astype(str))
    else:
        if run.protocol == "paper" and any(by_session):
            log.warning("some utterances have no session: one speaker is left out instead")
        strata = list_strata(utterances[i] for i in labelled)
        splits = leave_speakers_out(by_speaker, n_folds=run.n_folds, strata=strata)
    splits = [add_unlabelled(split, labelled, speakers, parts) for split in splits]
    for fold, split in enumerate(splits):
        if len(split.train) < 2 and not hp["train"]["unlabelled_corpus"]:
            raise DataError(
                f"fold-{fold:02} would train on {len(split.train)} utterance, and batch "
                "normalization needs two; add speech"
            )
    return select_evaluated_part(run.evaluate, splits)


def add_unlabelled(split, labelled, speakers, parts) -> Split:
    """Add the utterances without a label to the training set of a split of `labelled`.

    Utterances of a dev or test speaker, and those whose part of the split is dev or test, are left
    out.
    """
    train, dev, test = (labelled[part] for part in split)
    held_out = np.isin(speakers, speakers[np.concatenate([dev, test])])
    held_out |= np.isin(np.array(parts, object), np.array(["dev", "test"], object))
    held_out[labelled] = True
    return Split(np.sort(np.concatenate([train, np.flatnonzero(~held_out)])), dev, test)
