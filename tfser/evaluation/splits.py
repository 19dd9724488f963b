"""Splits for cross-validation: training, dev and test utterances of each fold.

Every function returns positions in the corpus's list of utterances, and depends on its arguments
alone: one corpus and seed give the same folds on every machine.
"""

from typing import NamedTuple

import numpy as np

from tfser.errors import DataError, UsageError
from tfser.evaluation.speaker_groups import divide_speakers

NO_DEV = "--evaluate dev: the folds of this system have no dev part; leave it out"


class Split(NamedTuple):
    """Fold of a cross-validation: sorted int64 arrays of positions that share no utterance."""

    train: np.ndarray
    dev: np.ndarray
    test: np.ndarray


def select_evaluated_part(part: str, splits: list[Split]) -> list[Split]:
    """Return the folds as they are ("test"), or with dev in place of test ("dev").

    "dev" serves to compare settings. An utterance in the dev sets of several folds is scored in the
    last of these folds. Raises UsageError for a fold without a dev set.
    """
    if part == "test":
        return splits
    if not all(len(split.dev) for split in splits):
        raise UsageError(NO_DEV)
    return [Split(train=split.train, dev=split.dev, test=split.dev) for split in splits]


def stratified_k_fold(labels, *, n_folds: int, dev_fraction: float, seed: int) -> list[Split]:
    """Make random k-fold splits of utterances, with each class spread evenly: speaker-dependent.

    `dev_fraction` of every class in a fold's training part (at least one utterance, and never all)
    is the dev set; 0 leaves the dev set empty. `labels` [n] are emotions, as names or numbers.

    Raises UsageError for fewer than two folds or a fraction outside [0, 1), DataError for a class
    too small to be in every set of every fold.
    """
    labels = np.asarray(labels)
    if n_folds < 2:
        raise UsageError(f"--folds {n_folds}: cross-validation needs at least 2 folds")
    if not 0 <= dev_fraction < 1:
        raise UsageError(f"dev_fraction {dev_fraction}: expected a share of 0 or more, below 1")
    _check_classes(labels, n_folds, n_parts=3 if dev_fraction else 2)

    # Classes lie one after the other, shuffled inside, and are dealt like cards without a new
    # start at each class: classes *and* folds differ by one utterance at most.
    order = _class_order(labels, np.random.default_rng(seed))
    splits = []
    for fold in range(n_folds):
        test = order[fold::n_folds]
        rest = np.setdiff1d(np.arange(len(labels)), test)
        # Each fold has its own generator: its dev set does not depend on the folds before it.
        dev = _sample_classes(rest, labels, dev_fraction, np.random.default_rng([seed, fold]))
        splits.append(Split(train=np.setdiff1d(rest, dev), dev=dev, test=np.sort(test)))
    return splits


def leave_speakers_out(speakers, *, n_folds: int | None = None, strata=None) -> list[Split]:
    """Leave out one speaker, or one of `n_folds` groups of speakers: speaker-independent.

    Fold i tests on the i-th speaker (in sorted order; or group) and takes the next speaker,
    cyclically, as its dev set: the training set holds no dev speaker and no test speaker. Groups
    are even in `strata` [n], see `speaker_groups.divide_speakers`.

    Raises DataError for fewer than three speakers, UsageError for fewer than three folds or more
    folds than speakers: test, dev and training set need a speaker each.
    """
    speakers = np.asarray(speakers)
    n_speakers = len(np.unique(speakers))
    if n_speakers < 3:
        raise DataError(
            "leave one speaker out needs at least 3 speakers (test, dev, train), "
            f"corpus has {n_speakers}; add speakers, or take a system with random folds "
            "(--protocol paper of epr and svm)"
        )
    if n_folds is not None and n_folds < 3:
        raise UsageError(
            f"--folds {n_folds}: leaving speakers out needs at least 3 folds (test, dev, train); "
            "use --folds 3"
        )
    if n_folds is not None and n_folds > n_speakers:
        raise UsageError(
            f"--folds {n_folds}: corpus has {n_speakers} speakers; use --folds {n_speakers}"
        )
    groups = divide_speakers(speakers, n_folds or n_speakers, strata)
    splits = []
    for i, test in enumerate(groups):
        dev = groups[(i + 1) % len(groups)]
        train = np.setdiff1d(np.arange(len(speakers)), np.concatenate([test, dev]))
        splits.append(Split(train=train, dev=dev, test=test))
    return splits


def leave_speakers_of_sessions_out(speakers, sessions) -> list[Split]:
    """Test on a speaker, with the session's other speakers as dev and other sessions for training.

    In dyadic corpora the two speakers of a session "mutually validate and test the models" (AAE
    section 5.1). Fold i tests on the i-th speaker, by session and name. Raises DataError for a
    single session, a session with one speaker (dev would be empty) and a speaker of several
    sessions, who would be in training and test set.
    """
    speakers, sessions = np.asarray(speakers), np.asarray(sessions)
    for speaker in np.unique(speakers):
        own = np.unique(sessions[speakers == speaker])
        if len(own) > 1:
            raise DataError(
                f"speaker {str(speaker)!r} is in sessions {' '.join(own)}, and would be "
                "tested and heard in training; use --protocol loso"
            )
    splits = []
    for session in np.unique(sessions):
        held_out = sessions == session
        if held_out.all() or len(np.unique(speakers[held_out])) < 2:
            raise DataError(
                f"session {str(session)!r} is the only one or has one speaker, and sessions of two "
                "are what the paper's folds are made of; use --protocol loso"
            )
        for speaker in np.unique(speakers[held_out]):
            test = held_out & (speakers == speaker)
            splits.append(Split(*map(np.flatnonzero, (~held_out, held_out & ~test, test))))
    return splits


def leave_groups_out(groups, labels, *, dev_fraction: float, seed: int) -> list[Split]:
    """Leave one group (a session, or speakers) out; dev is a random part of the training groups.

    Fold i tests on the i-th group. dev is `dev_fraction` of each class of the other groups and has
    the speakers of the training set, as where a paper holds out sessions and names no dev speakers
    (ACNN section 4.1). Raises DataError for fewer than two groups, or where dev would be empty.
    """
    groups, labels = np.asarray(groups), np.asarray(labels)
    names = np.unique(groups)
    if len(names) < 2:
        raise DataError(
            f"leaving sessions out needs two or more, the corpus has {len(names)}; add speech"
        )
    splits = []
    for fold, name in enumerate(names):
        rest = np.flatnonzero(groups != name)
        dev = _sample_classes(rest, labels, dev_fraction, np.random.default_rng([seed, fold]))
        if not len(dev):
            raise DataError(
                f"without group {name} each class has one utterance, and dev would be empty; "
                "add speech"
            )
        test = np.flatnonzero(groups == name)
        splits.append(Split(train=np.setdiff1d(rest, dev), dev=dev, test=test))
    return splits


def assign_speaker_groups(speakers, *, n_folds: int, strata=None) -> np.ndarray:
    """Return the group [n] of each utterance: the `n_folds` groups of `leave_speakers_out`.

    Raises DataError for a single speaker, UsageError for more groups than speakers.
    """
    n_speakers = len(set(speakers))
    if n_folds > n_speakers == 1:
        raise DataError(f"--folds {n_folds}: the folds are of speakers, the corpus has 1; add some")
    if n_folds > n_speakers:
        raise UsageError(
            f"--folds {n_folds}: corpus has {n_speakers} speakers; use --folds {n_speakers}"
        )
    groups = np.empty(len(speakers), np.int64)
    for group, members in enumerate(divide_speakers(speakers, n_folds, strata)):
        groups[members] = group
    return groups


def cross_corpus_split(labels, n_trained: int, *, dev_fraction: float, seed: int) -> list[Split]:
    """Make the split that trains on one corpus and tests on another corpus.

    The first `n_trained` of `labels` are the training corpus, less a random dev set; the rest is
    the test set.
    """
    labels = np.asarray(labels)
    positions = np.arange(n_trained)
    dev = _sample_classes(positions, labels, dev_fraction, np.random.default_rng([seed, 0]))
    if dev_fraction and not len(dev):
        raise DataError("each class has one utterance to train on, and dev would be empty")
    test = np.arange(n_trained, len(labels))
    return [Split(train=np.setdiff1d(positions, dev), dev=dev, test=test)]


def per_speaker_split(
    speakers, labels, *, train_fraction: float, dev_fraction: float, seed: int
) -> list[Split]:
    """Make a speaker-dependent fold for each speaker: a share of each class trains, the rest tests.

    The division depends on the speaker's name and utterances alone: all seeds test the same
    utterances, which no search has trained on or scored. The seed draws dev, `dev_fraction` of the
    training share. Fold i belongs to the i-th speaker, by name. Raises DataError for a class of
    which a speaker has one utterance.
    """
    speakers, labels = np.asarray(speakers), np.asarray(labels)
    splits = []
    for fold, speaker in enumerate(np.unique(speakers)):
        own = np.flatnonzero(speakers == speaker)
        names, counts = np.unique(labels[own], return_counts=True)
        if counts.min() < 2:
            raise DataError(
                f"speaker {str(speaker)!r} has one utterance of class '{names[counts.argmin()]}', "
                "which cannot train and test; leave it out in [labels], or use --protocol loso"
            )
        of_speaker = np.random.default_rng([*str(speaker).encode()])
        fitting = _sample_classes(own, labels, train_fraction, of_speaker)
        of_seed = np.random.default_rng([seed, fold])
        dev = _sample_classes(fitting, labels, dev_fraction, of_seed)
        splits.append(Split(np.setdiff1d(fitting, dev), dev, np.setdiff1d(own, fitting)))
    return splits


def predefined_split(parts, labels, dev_fraction: float, seed: int) -> Split:
    """Make the split of the corpus's own parts "train", "dev" and "test".

    Without dev, a random part of train is dev; dev_fraction 0 leaves dev empty. Raises DataError
    where train or test is missing, or where dev would be empty.
    """
    parts, labels = np.asarray(parts, object), np.asarray(labels)
    train, dev, test = (np.flatnonzero(parts == part) for part in ("train", "dev", "test"))
    if not (len(train) and len(test)):
        raise DataError(
            f"of the corpus's own parts train has {len(train)} utterances and test {len(test)}; "
            "use --protocol loso"
        )
    if not len(dev):
        dev = sample_dev(parts, labels, dev_fraction, seed)
    return Split(np.setdiff1d(train, dev), dev, test)


def sample_dev(parts, labels, dev_fraction: float, seed: int) -> np.ndarray:
    """Draw a share of each class of the part "train" as dev set: numbers, ascending.

    Raises DataError where the set would be empty and the fraction is not 0.
    """
    train = np.flatnonzero(np.asarray(parts, object) == "train")
    rng = np.random.default_rng([seed, 0])
    dev = _sample_classes(train, np.asarray(labels), dev_fraction, rng)
    if dev_fraction and not len(dev):
        raise DataError("each class has one utterance to train on, and dev would be empty")
    return dev


def is_speaker_independent(speakers, splits) -> bool:
    """Return whether no test speaker of a fold is in its training set, or in another dev set."""
    speakers = np.asarray(speakers)
    for split in splits:
        # With --evaluate dev, the dev set is the test set.
        dev = [] if np.array_equal(split.dev, split.test) else split.dev
        if set(speakers[split.test]) & {*speakers[split.train], *speakers[dev]}:
            return False
    return True


def speaker_group_k_fold(
    speakers, *, n_folds: int, strata=None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Make a k-fold over the groups of `leave_speakers_out`: (train, test) pairs, without dev.

    Raises UsageError for fewer than two folds or more folds than speakers.
    """
    speakers = np.asarray(speakers)
    if n_folds < 2:
        raise UsageError(f"{n_folds} inner folds: cross-validation needs at least 2")
    n_speakers = len(np.unique(speakers))
    if n_folds > n_speakers:
        raise UsageError(
            f"{n_folds} inner folds need as many training speakers, there are {n_speakers}"
        )
    positions, groups = np.arange(len(speakers)), divide_speakers(speakers, n_folds, strata)
    return [(np.setdiff1d(positions, test), test) for test in groups]


def _check_classes(labels, n_folds, n_parts):
    """Raise DataError for a class too small for every fold's test set, or for `n_parts` sets."""
    classes, counts = np.unique(labels, return_counts=True)
    if not len(classes):
        raise DataError("no utterances to make folds of; check the corpus and [labels]")
    name, count = classes[np.argmin(counts)], counts.min()
    if count >= max(n_folds, n_parts):
        return
    has = f"class '{name}' has {count} utterance{'s' if count != 1 else ''}"
    if count >= n_parts:
        raise DataError(f"{has}, fewer than the {n_folds} folds; use --folds {count}")
    raise DataError(f"{has}, folds need at least {n_parts}; leave it out in [labels] or add speech")


def _class_order(labels, rng):
    """Return all positions, class after class (classes sorted), in random order inside a class."""
    shuffled = rng.permutation(len(labels))
    return shuffled[np.argsort(labels[shuffled], kind="stable")]


def _sample_classes(positions, labels, fraction, rng):
    """Return a sorted random sample of `fraction` of each class, never a complete class."""
    samples = [np.empty(0, np.int64)]
    if fraction:
        for name in np.unique(labels[positions]):
            members = positions[labels[positions] == name]
            n_samples = min(max(1, round(fraction * len(members))), len(members) - 1)
            samples.append(rng.permutation(members)[:n_samples])
    return np.sort(np.concatenate(samples))
