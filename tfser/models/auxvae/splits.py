"""The splits of the Aux-VAE's probes (section 6)."""

import logging
from pathlib import Path

import numpy as np

from tfser.corpora.labels import list_strata, select_by_labels, select_rated
from tfser.errors import DataError, UsageError
from tfser.evaluation.protocols import ONE_FOLD, make_predefined_split, read_parts
from tfser.evaluation.splits import (
    Split,
    leave_speakers_out,
    predefined_split,
    select_evaluated_part,
    speaker_group_k_fold,
    stratified_k_fold,
)

log = logging.getLogger("tfser")


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
    speakers; `split`: the corpus's own split, whatever the target. Probes have no epoch to choose:
    they do not use a dev set, unless `--evaluate dev` scores it.
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
        if run.protocol != "paper" or run.n_folds:
            raise UsageError(
                "protocol.lists is one split; leave out --folds and --protocol loso or split, or "
                "the lists"
            )
        parts = [listed.get(u.name) for u in utterances]
        if not {"train", "test"} <= {*parts}:
            raise DataError(
                "protocol.lists: a list has none of the utterances that [labels] select; see "
                "labels.group and labels.target"
            )
        return [predefined_split(parts, classes, fraction, seed)]
    if run.protocol in ONE_FOLD:
        return make_predefined_split(utterances, classes, fraction, seed, run.protocol)
    if run.protocol == "loso":
        if target == "speaker":
            raise UsageError(
                "--protocol loso leaves out speakers, and --target speaker is to find them; "
                "use --protocol paper"
            )
        if n_speakers < 2:
            raise DataError("leave one speaker out needs two speakers, the corpus has one")
        if run.n_folds and run.n_folds > n_speakers:
            raise UsageError(
                f"--folds {run.n_folds}: the corpus has {n_speakers} speakers; "
                f"use --folds {n_speakers}"
            )
        if on_dev:
            return leave_speakers_out(speakers, n_folds=run.n_folds, strata=strata)
        n_folds = run.n_folds or n_speakers
        pairs = speaker_group_k_fold(speakers, n_folds=n_folds, strata=strata)
        return [Split(train, np.empty(0, np.int64), test) for train, test in pairs]
    if target in ("emotion", "ratings") and not run.n_folds and any(u.split for u in utterances):
        parts = np.array(read_parts(utterances), object)
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
