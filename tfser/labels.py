"""Which utterances of a corpus a paper uses, and as which classes: [labels] of its hparams."""

import logging

from tfser.errors import DataError, UsageError, did_you_mean

log = logging.getLogger("tfser")


def select(utterances, *, keep, group) -> list:
    """The utterances of [labels]: labelled, of `group`, with an emotion in `keep`.

    Raises UsageError for a name the corpus lacks, DataError where fewer than two classes are left.
    """
    emotions = sorted({u.emotion for u in utterances if u.emotion})
    missing = sorted(set(keep) - set(emotions))
    if missing:
        raise UsageError(
            f"labels.keep: no {missing[0]!r} in this corpus{did_you_mean(missing[0], emotions)}; "
            f"it has {' '.join(emotions)}"
        )
    groups = sorted({u.group for u in utterances if u.group})
    if group and group not in groups:
        raise UsageError(
            f"labels.group: no {group!r} in this corpus{did_you_mean(group, groups)}; "
            f"it has {' '.join(groups) or 'no groups'}"
        )
    chosen = [
        u
        for u in utterances
        if u.emotion and (not keep or u.emotion in keep) and group in ("", u.group)
    ]
    if len({u.emotion for u in chosen}) < 2:
        raise DataError(
            f"{len(chosen)} utterances with fewer than two emotions: nothing to classify; "
            "see the corpus's folder and [labels] in the hyperparameters"
        )
    if len(chosen) < len(utterances):
        log.info("%d of %d utterances used, as [labels] says", len(chosen), len(utterances))
    return chosen


def warn_of_unheard(utterances, splits) -> None:
    """Warns of folds that test a class which none of their training speakers has."""
    for fold, split in enumerate(splits):
        heard, tested = (
            {utterances[i].emotion for i in part} for part in (split.train, split.test)
        )
        if tested - heard:
            unheard = " ".join(sorted(tested - heard))
            log.warning("fold-%02d: no training speaker has %s, which is tested", fold, unheard)
