"""Protocols: the folds of the paper, of speakers, of the corpus's own split, or all utterances."""

import logging
from collections import Counter, defaultdict

import numpy as np

from tfser.errors import DataError, UsageError, did_you_mean
from tfser.evaluation.splits import Split, is_speaker_independent, predefined_split, sample_dev

PROTOCOLS = ("paper", "loso", "split", "all")
ONE_FOLD = ("split", "all")  # protocols of `make_predefined_split`
PARTS = {"train": "train", "test": "test"} | dict.fromkeys(
    ("dev", "devel", "development", "val", "valid", "validation"), "dev"
)
MISSING = ("", "-", "<na>", "n/a", "na", "nan", "nat", "none", "null")  # no part
DEV_FRACTION = 0.1  # of train, where a split has no dev part and a paper no share of its own
FEWEST_SPEAKERS = 3  # of leave one speaker out: test, dev, train
MANY_FOLDS = 30
CONFOUNDED = 0.15  # accuracy of the speaker's commonest class above the share of the commonest

log = logging.getLogger("tfser")


def choose_protocol(utterances, *, model: str, target: str, folds, is_set: bool) -> str:
    """Choose the protocol of a table for which none is given, and log the choice.

    The table's own split; without one leave one speaker out; with fewer than three speakers, or
    where speakers are the target, the folds of the paper.

    Args:
        utterances: all rows of the table.
        folds: of --folds, or None.
        is_set: whether the user sets a hyperparameter of [protocol], which the paper's folds read.

    Raises UsageError for --folds beside a split.
    """
    has_split = any(_part_word(u) for u in utterances)
    n_speakers = len({u.speaker for u in utterances})
    if target == "speaker" or is_set:
        reason = "--target speaker" if target == "speaker" else "[protocol] of the hyperparameters"
        if has_split:
            log.warning(
                "--protocol paper, because of %s; --protocol split takes the table's split", reason
            )
        return "paper"
    if has_split:
        if folds:
            raise UsageError(
                f"--folds {folds}: the table has a column split, and its parts are one fold; leave "
                "--folds out, or give --protocol loso or paper"
            )
        log.info("--protocol split, as the table has a column split")
        return "split"
    if n_speakers < FEWEST_SPEAKERS:
        log.info(
            "--protocol paper, as the table has %d speaker%s, and leave one speaker out needs %d",
            *(n_speakers, "s" * (n_speakers != 1), FEWEST_SPEAKERS),
        )
        return "paper"
    log.info("--protocol loso, the default of a table: test speakers do not train")
    if not folds and n_speakers > MANY_FOLDS:
        log.warning(
            "%d speakers are as many folds, each a training of %s; --folds 10 leaves groups of "
            "speakers out",
            *(n_speakers, model),
        )
    return "loso"


def check_split(utterances, folds) -> None:
    """Log the parts of the corpus's own split, for --protocol split; warn of what it lacks.

    utterances: those that [labels] select. Raises UsageError for --folds, or without a split.
    """
    if folds:
        raise UsageError(f"--folds {folds}: --protocol split is one fold; leave one of them out")
    if not any(_part_word(u) for u in utterances):
        raise UsageError(
            "--protocol split: no utterance has a split; add a column split with train, dev and "
            "test to the table, or use --protocol loso"
        )
    parts = read_parts(utterances)
    counts = Counter(parts)
    shown = [f"{part} {counts[part]:,}" for part in ("train", "dev", "test")]
    log.info("split: %s utterances", ", ".join(shown))
    if counts[None]:
        first = next(u.name for u, part in zip(utterances, parts, strict=True) if part is None)
        log.warning(
            "split: %d of %d utterances are in no part and left out, the first is %s",
            *(counts[None], len(parts), first),
        )
    if not counts["dev"]:
        log.warning(
            "split: no dev part; where the system chooses an epoch, a random share of each class "
            "of train is dev"
        )
    classes = {u.emotion for u in utterances} - {None}
    tested = {u.emotion for u, part in zip(utterances, parts, strict=True) if part == "test"}
    if tested and (untested := sorted(classes - tested)):
        log.warning("split: no test utterance of %s: the score leaves it out", " ".join(untested))
    parts_of = defaultdict(set)
    for u, part in zip(utterances, parts, strict=True):
        if part:
            parts_of[u.speaker].add(part)
    shared = sorted(s for s, own in parts_of.items() if "test" in own and len(own) > 1)
    if shared:
        log.warning(
            "split: %d of the %d test speakers are in train or dev, too, the first is %r: the "
            "score is of known speakers (speaker_independent=no)",
            *(len(shared), sum("test" in own for own in parts_of.values()), shared[0]),
        )


def read_parts(utterances) -> list[str | None]:
    """Return the part of each utterance by its `split`: "train", "dev", "test", or None.

    Letters of either case; val, valid, validation, devel and development are dev. Raises DataError
    for another word.
    """
    parts = []
    for u in utterances:
        word = _part_word(u)
        if word and word not in PARTS:
            raise DataError(
                f"split: {u.split!r} of utterance {u.name} is not train, dev (or val, valid, "
                f"validation, devel) or test{did_you_mean(word, PARTS)}; correct the column, or "
                "use --protocol loso"
            )
        parts.append(PARTS.get(word))
    return parts


def _part_word(utterance) -> str:
    """Return the split of an utterance in lower case, "" for none."""
    word = (utterance.split or "").strip().casefold()
    return "" if word in MISSING else word


def make_predefined_split(
    utterances, labels, dev_fraction: float, seed: int, protocol: str = "split"
) -> list[Split]:
    """Make the one fold of the corpus's own split, see `predefined_split`, or of all utterances.

    Protocol "all" is for a network to use, not for a result: it trains on everybody. The test set
    is a random share of each class, that of the dev set; where `dev_fraction` is 0, it trains, too.

    labels: the class of each utterance. Raises DataError where train has one class of several.
    """
    if protocol == "all":
        everyone = ["train"] * len(utterances)
        held_out = sample_dev(everyone, labels, dev_fraction or DEV_FRACTION, seed)
        known = np.arange(len(utterances))
        if dev_fraction:
            return [Split(np.setdiff1d(known, held_out), held_out, held_out)]
        return [Split(known, held_out[:0], held_out)]
    split = predefined_split(read_parts(utterances), labels, dev_fraction, seed)
    trained = {labels[i] for i in split.train}
    if len(trained) < min(2, len(set(labels))):
        raise DataError(
            f"of the corpus's own parts train has one class, {trained.pop()!r}; see [labels], or "
            "use --protocol loso"
        )
    return [split]


def warn_of_known_speakers(utterances, splits, protocol: str, target: str) -> None:
    """Warn where the paper's folds of a table train on the speakers whom they test."""
    speakers = [u.speaker for u in utterances]
    if protocol != "paper" or target == "speaker" or is_speaker_independent(speakers, splits):
        return
    advice = "--protocol loso leaves them out" if len(set(speakers)) > 2 else "add speakers"
    log.warning(
        "--protocol paper: test speakers train, too, and the score is of known speakers alone "
        "(speaker_independent=no); %s",
        advice,
    )


def warn_if_confounded(utterances) -> None:
    """Warn where the speaker alone tells the label: the commonest class of the speaker's others.

    The accuracy is that of each utterance's class predicted by the other utterances of its speaker,
    so that speakers with few utterances do not raise it.
    """
    labelled = [u for u in utterances if u.emotion is not None]
    of_speaker = defaultdict(Counter)
    for u in labelled:
        of_speaker[u.speaker][u.emotion] += 1
    counts = Counter(u.emotion for u in labelled)
    majority = max(counts.values()) / len(labelled)
    right = 0.0
    for own in of_speaker.values():
        for name, n in own.items():
            others = own - Counter([name])
            most = max(others.values(), default=0)
            ties = sum(m == most for m in others.values())
            right += n / ties if most and others[name] == most else 0.0
    accuracy = right / len(labelled)
    noise = 2 * np.sqrt(majority * (1 - majority) / len(labelled))
    if accuracy - majority > max(CONFOUNDED, noise):
        log.warning(
            "speaker and label go together: the speaker alone predicts %.0f %% of the labels (the "
            "commonest class %.0f %%), so a network may learn voices in place of labels; where "
            "test speakers train, too, a high score shows nothing",
            *(100 * accuracy, 100 * majority),
        )
