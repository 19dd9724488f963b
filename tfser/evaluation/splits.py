"""Cross-validation: which utterances train, choose the epoch, and test.

Every function answers with positions into the corpus' list of utterances. Nothing here depends on
anything but its arguments: the same corpus and seed give the same folds on every machine.
"""

from typing import NamedTuple

import numpy as np

from tfser.errors import DataError, UsageError

NO_DEV = "--evaluate dev: the folds of this system have no dev part; leave it out"


class Split(NamedTuple):
    """One fold: sorted int64 arrays of utterance numbers that share no utterance."""

    train: np.ndarray
    dev: np.ndarray
    test: np.ndarray


def select_evaluated_part(part: str, splits: list[Split]) -> list[Split]:
    """The folds as they are ("test"), or with their dev part in place of the test part ("dev").

    The second is for comparing settings: the test part is then in none of the three. An utterance
    in the dev parts of several folds is scored in the last of them.

    Raises UsageError for a fold without a dev part.
    """
    if part == "test":
        return splits
    if not all(len(split.dev) for split in splits):
        raise UsageError(NO_DEV)
    return [Split(train=split.train, dev=split.dev, test=split.dev) for split in splits]


def stratified_k_fold(labels, *, n_folds: int, dev_fraction: float, seed: int) -> list[Split]:
    """Random k-fold over utterances, each class spread evenly: speaker-dependent.

    `dev_fraction` of every class in a fold's training part (at least one utterance, and never all)
    is the dev set; 0 leaves it empty. `labels` [n] are emotions, as names or numbers.

    Raises UsageError for fewer than two folds or a fraction outside [0, 1), DataError for a class
    too small to be in every part of every fold.
    """
    labels = np.asarray(labels)
    if n_folds < 2:
        raise UsageError(f"--folds {n_folds}: cross-validation needs at least 2 folds")
    if not 0 <= dev_fraction < 1:
        raise UsageError(f"dev_fraction {dev_fraction}: expected a share of 0 or more, below 1")
    _check_classes(labels, n_folds, n_parts=3 if dev_fraction else 2)

    # Classes lie one after the other, shuffled inside, and are dealt like cards without starting
    # afresh at a class: classes *and* folds differ by one utterance at most.
    order = _class_order(labels, np.random.default_rng(seed))
    splits = []
    for fold in range(n_folds):
        test = order[fold::n_folds]
        rest = np.setdiff1d(np.arange(len(labels)), test)
        # An own generator for each fold: its dev set does not depend on how many were cut before.
        dev = _sample_classes(rest, labels, dev_fraction, np.random.default_rng([seed, fold]))
        splits.append(Split(train=np.setdiff1d(rest, dev), dev=dev, test=np.sort(test)))
    return splits


def leave_speakers_out(speakers, *, n_folds: int | None = None) -> list[Split]:
    """Leave one speaker out, or one of `n_folds` groups of speakers: speaker-independent.

    Fold i tests on the i-th speaker (in sorted order; or group) and takes the next one, cyclically,
    as its dev set: train holds no speaker of those that choose the epoch or give the scores.

    Raises DataError for fewer than three speakers, UsageError for fewer than three folds or more
    folds than speakers: test, dev and train need one each.
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
            f"--folds {n_folds}: leaving speakers out needs at least 3 folds (test, dev, train)"
        )
    if n_folds is not None and n_folds > n_speakers:
        raise UsageError(
            f"--folds {n_folds}: corpus has {n_speakers} speakers; use --folds {n_speakers}"
        )
    groups = _speaker_groups(speakers, n_folds or n_speakers)
    splits = []
    for i, test in enumerate(groups):
        dev = groups[(i + 1) % len(groups)]
        train = np.setdiff1d(np.arange(len(speakers)), np.concatenate([test, dev]))
        splits.append(Split(train=train, dev=dev, test=test))
    return splits


def leave_speakers_of_sessions_out(speakers, sessions) -> list[Split]:
    """A speaker is tested, the others of the session are dev, the other sessions train.

    In dyadic corpora the two of a session "mutually validate and test the models" (AAE section
    5.1). Fold i tests on the i-th speaker, by session and name.

    Raises DataError for one session, a session with one speaker (dev would be empty) and a speaker
    of several sessions, who would be tested and heard in training.
    """
    speakers, sessions = np.asarray(speakers), np.asarray(sessions)
    for speaker in np.unique(speakers):
        of_speaker = np.unique(sessions[speakers == speaker])
        if len(of_speaker) > 1:
            raise DataError(
                f"speaker {str(speaker)!r} is in sessions {' '.join(of_speaker)}, and would be "
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
    """Leave one group (a session, or speakers) out; dev is a random part of those that train.

    Fold i tests on the i-th group; of each class of the others `dev_fraction` is dev, so that dev
    has the speakers of the training part, as where a paper holds out sessions and names no dev
    speakers (ACNN section 4.1).

    Raises DataError for fewer than two groups, or where dev would be empty.
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
        splits.append(
            Split(train=np.setdiff1d(rest, dev), dev=dev, test=np.flatnonzero(groups == name))
        )
    return splits


def assign_speaker_groups(speakers, *, n_folds: int) -> np.ndarray:
    """The group [n] of each utterance, of `n_folds` groups of speakers of about equal size.

    Raises UsageError for more groups than speakers.
    """
    n_speakers = len(set(speakers))
    if n_folds > n_speakers:
        raise UsageError(
            f"--folds {n_folds}: corpus has {n_speakers} speakers; use --folds {n_speakers}"
        )
    of_utterance = np.empty(len(speakers), np.int64)
    for group, members in enumerate(_speaker_groups(np.asarray(speakers), n_folds)):
        of_utterance[members] = group
    return of_utterance


def cross_corpus_split(labels, n_trained: int, *, dev_fraction: float, seed: int) -> list[Split]:
    """One fold: the first `n_trained` of `labels` train, but for a random dev part, the rest test.

    For one corpus after the other: trained on the first, tested on the second.
    """
    labels = np.asarray(labels)
    known = np.arange(n_trained)
    dev = _sample_classes(known, labels, dev_fraction, np.random.default_rng([seed, 0]))
    if dev_fraction and not len(dev):
        raise DataError("each class has one utterance to train on, and dev would be empty")
    test = np.arange(n_trained, len(labels))
    return [Split(train=np.setdiff1d(known, dev), dev=dev, test=test)]


def per_speaker_split(
    speakers, labels, *, train_fraction: float, dev_fraction: float, seed: int
) -> list[Split]:
    """A fold for each speaker: of each class a share trains, the rest tests (speaker-dependent).

    `dev_fraction` of the training share is dev. Fold i is of the i-th speaker, by name.

    Raises DataError for a class of which a speaker has one utterance.
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
        rng = np.random.default_rng([seed, fold])
        known = _sample_classes(own, labels, train_fraction, rng)
        dev = _sample_classes(known, labels, dev_fraction, rng)
        splits.append(Split(np.setdiff1d(known, dev), dev, np.setdiff1d(own, known)))
    return splits


def predefined_split(parts, labels, dev_fraction: float, seed: int) -> Split:
    """The corpus's own parts "train", "dev" and "test"; without dev, a random part of train.

    Raises DataError where train or test is missing.
    """
    parts, labels = np.asarray(parts, object), np.asarray(labels)
    train, dev, test = (np.flatnonzero(parts == part) for part in ("train", "dev", "test"))
    if not (len(train) and len(test)):
        raise DataError(
            f"of the corpus's own parts train has {len(train)} utterances and test {len(test)}; "
            "use --protocol loso"
        )
    if not len(dev):
        dev = _sample_classes(train, labels, dev_fraction, np.random.default_rng([seed, 0]))
    return Split(np.setdiff1d(train, dev), dev, test)


def is_speaker_independent(speakers, splits) -> bool:
    """Whether no speaker is in both the training and the test part of a fold."""
    speakers = np.asarray(speakers)
    return not any(set(speakers[s.train]) & set(speakers[s.test]) for s in splits)


def speaker_group_k_fold(speakers, *, n_folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Plain k-fold over groups of speakers, (train, test) pairs: the folds inside a training part.

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
    everything = np.arange(len(speakers))
    groups = _speaker_groups(speakers, n_folds)
    return [(np.setdiff1d(everything, test), test) for test in groups]


def _check_classes(labels, n_folds, n_parts):
    """Stops where a class cannot be in every fold's test set, or not in all of its `n_parts`."""
    classes, counts = np.unique(labels, return_counts=True)
    if not len(classes):
        raise DataError("no utterances to make folds of; check the corpus and [labels]")
    smallest = int(np.argmin(counts))
    name, count = classes[smallest], counts[smallest]
    needed = max(n_folds, n_parts)
    if count >= needed:
        return
    has = f"class '{name}' has {count} utterance{'s' if count != 1 else ''}"
    if count >= n_parts:
        raise DataError(f"{has}, fewer than the {n_folds} folds; use --folds {count}")
    raise DataError(f"{has}, folds need at least {n_parts}; leave it out in [labels] or add speech")


def _class_order(labels, rng):
    """All positions, class after class (classes sorted), in random order inside a class."""
    shuffled = rng.permutation(len(labels))
    return shuffled[np.argsort(labels[shuffled], kind="stable")]


def _sample_classes(positions, labels, fraction, rng):
    """Sorted random sample of `fraction` of each class in positions, never a whole class."""
    taken = [np.empty(0, np.int64)]
    if fraction:
        for name in np.unique(labels[positions]):
            members = positions[labels[positions] == name]
            n_taken = min(max(1, round(fraction * len(members))), len(members) - 1)
            taken.append(rng.permutation(members)[:n_taken])
    return np.sort(np.concatenate(taken))


def _speaker_groups(speakers, n_groups):
    """Sorted utterance positions of each of n_groups groups of speakers, of about equal size.

    The speaker with most utterances left goes to the group with fewest; ties go by name and number.
    """
    names, of_utterance, counts = np.unique(speakers, return_inverse=True, return_counts=True)
    if n_groups == len(names):
        group_of = np.arange(len(names))  # leave one out: fold i is the i-th speaker
    else:
        group_of, sizes = np.zeros(len(names), np.int64), np.zeros(n_groups, np.int64)
        for speaker in np.argsort(-counts, kind="stable"):
            group_of[speaker] = np.argmin(sizes)
            sizes[group_of[speaker]] += counts[speaker]
    return [np.flatnonzero(group_of[of_utterance] == group) for group in range(n_groups)]
