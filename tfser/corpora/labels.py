"""Which utterances of a corpus a paper uses, and as which classes: [labels] of its hparams."""

import logging
from dataclasses import replace

from tfser.errors import DataError, UsageError, did_you_mean

log = logging.getLogger("tfser")


def select_by_labels(
    utterances,
    *,
    keep,
    group,
    merge,
    target,
    rounding="between",
    unlabelled=False,
) -> list:
    """The utterances of [labels], with the class to be learned as their `emotion`.

    Args:
        keep: emotions, after merging; empty for all. Of no account for another target.
        group: a part of the corpus, "" for all.
        merge: "excitement=happiness" makes the first the second.
        target: "emotion", "speaker", "gender", or an attribute ("activation", "valence",
            "dominance") in three classes.
        rounding: of an attribute, see `three_classes`.
        unlabelled: keep those without a label too, whose `emotion` is None.

    Raises UsageError for a name the corpus lacks, DataError where fewer than two classes are left.
    """
    chosen = select_group(utterances, group)
    if target != "emotion":
        rated = target not in ("speaker", "gender")
        found = [getattr(u, target) for u in chosen]
        if rated:
            found = [to_three_classes(rating, rounding) for rating in found]
        chosen = [replace(u, emotion=name) for u, name in zip(chosen, found, strict=True)]
        if all(name is None for name in found):
            raise DataError(
                f"no utterance has a {'rating of ' * rated}{target}; "
                "use --set labels.target=emotion"
            )
        keep = merge = ()
    for pair in merge:
        name, _, into = pair.partition("=")
        if not into:
            raise UsageError(f"labels.merge: {pair!r} is not of the form excitement=happiness")
        _check_known("labels.merge", name, chosen)
        chosen = [replace(u, emotion=into) if u.emotion == name else u for u in chosen]
    for name in keep:
        _check_known("labels.keep", name, chosen)
    chosen = [
        u
        for u in chosen
        if (unlabelled and u.emotion is None) or (u.emotion and (not keep or u.emotion in keep))
    ]
    if len(chosen) < len(utterances):
        log.info("%d of %d utterances used, as [labels] says", len(chosen), len(utterances))
    return check_classes(chosen)


def select_group(utterances, group: str) -> list:
    """The utterances of a part of the corpus, "" for all; UsageError where it has no such part."""
    groups = sorted({u.group for u in utterances if u.group})
    if group and group not in groups:
        raise UsageError(
            f"labels.group: no {group!r} in this corpus{did_you_mean(group, groups)}; "
            f"it has {' '.join(groups) or 'no groups'}"
        )
    return [u for u in utterances if group in ("", u.group)]


def select_rated(utterances, group: str) -> list:
    """The utterances with ratings of arousal (our activation) and valence; DataError for none."""
    chosen = [u for u in select_group(utterances, group) if None not in (u.activation, u.valence)]
    if not chosen:
        raise DataError(
            "no utterance has ratings of arousal and valence; use --set labels.target=emotion"
        )
    if len(chosen) < len(utterances):
        log.info("%d of %d utterances used: those with ratings", len(chosen), len(utterances))
    return chosen


def check_classes(utterances) -> list:
    """The utterances as they are; DataError where they have fewer than two classes."""
    labelled = [u.emotion for u in utterances if u.emotion is not None]
    if len(set(labelled)) < 2:
        raise DataError(
            f"{len(labelled)} utterances with fewer than two classes: nothing to classify; "
            "see the corpus's folder and [labels] in the hyperparameters"
        )
    return utterances


def select_common_classes(utterances, tested) -> tuple[list, list]:
    """The utterances of two corpora whose emotions are in both."""
    names = {u.emotion for u in utterances} & {u.emotion for u in tested}
    if len(names) < 2:
        of_both = " and ".join(
            " ".join(sorted({u.emotion for u in side})) for side in (utterances, tested)
        )
        raise DataError(
            f"the two corpora share {len(names)} emotions, and two are needed: they have "
            f"{of_both}; see labels.keep and labels.merge"
        )
    return tuple([u for u in side if u.emotion in names] for side in (utterances, tested))


def to_three_classes(rating: float | None, rounding: str) -> str | None:
    """Low is {1, 2}, neutral {3}, high {4, 5} of a 5-point scale (AAE section 3.1); None stays.

    Ratings are means, and the paper does not say where 2.5 goes: with "between" all of (2, 4) is
    neutral, as in Metallinou et al. and the ACNN paper; with "nearest" [2.5, 3.5] is.
    """
    if rating is None:
        return None
    if rounding == "nearest":
        return "low" if rating < 2.5 else "high" if rating > 3.5 else "neutral"
    return "low" if rating <= 2 else "high" if rating >= 4 else "neutral"


def describe_labels(*, target, rounding="between", **_) -> dict[str, str]:
    """What a result must say of [labels]: nothing for emotions, else which attribute and how."""
    if target in ("speaker", "gender", "ratings"):
        return {"target": target}
    return {} if target == "emotion" else {"target": target, "rounding": rounding}


def _check_known(key, name, utterances) -> None:
    emotions = sorted({u.emotion for u in utterances if u.emotion})
    if name not in emotions:
        raise UsageError(
            f"{key}: no {name!r} in this corpus{did_you_mean(name, emotions)}; "
            f"it has {' '.join(emotions) or 'no emotion labels'}"
        )


def warn_of_untrained_classes(utterances, splits) -> None:
    """Warns of folds that test a class which none of their training speakers has."""
    for fold, split in enumerate(splits):
        heard, tested = (
            {utterances[i].emotion for i in part} for part in (split.train, split.test)
        )
        if tested - heard:
            unheard = " ".join(sorted(tested - heard))
            log.warning("fold-%02d: no training speaker has %s, which is tested", fold, unheard)
