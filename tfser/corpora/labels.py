"""Selection of utterances and classes by [labels] of the hparams."""

import logging
import math
from dataclasses import replace

from tfser.errors import DataError, UsageError, did_you_mean

ATTRIBUTES = ("activation", "valence", "dominance")
SCALE = (1, 5)  # of the ratings of IEMOCAP and MSP-IMPROV
PREDICTION_COLUMNS = ("file", "start", "end", "predicted", "confidence", "error")
OTHER_SCALES = ((0, 1), (-1, 1), (0, 4), (0, 5), (1, 7), (1, 9), (0, 10), (0, 100))

log = logging.getLogger("tfser")


def select_by_labels(
    utterances,
    *,
    keep,
    group,
    merge,
    target,
    rounding="between",
    scale=SCALE,
    unlabelled=False,
) -> list:
    """Return the utterances selected by [labels], with the class as their `emotion`.

    Args:
        keep: emotions, after merging; empty: all. For target "emotion" only.
        group: a part of the corpus; "": all parts.
        merge: "excitement=happiness" renames the first emotion to the second.
        target: "emotion", "speaker", "gender", or an attribute ("activation", "valence",
            "dominance") in three classes.
        rounding, scale: of an attribute, see `to_three_classes` and `scale_ratings`.
        unlabelled: select utterances without a label, and those of emotions that `keep` leaves out,
            too; their `emotion` is None.

    Raises UsageError for a name the corpus lacks, and DataError for fewer than two classes.
    """
    selected = select_group(utterances, group)
    if target != "emotion":
        is_attribute = target not in ("speaker", "gender")
        if is_attribute:
            ratings = scale_ratings(selected, target, scale)
            labels = [to_three_classes(rating, rounding) for rating in ratings]
        else:
            labels = [getattr(u, target) for u in selected]
        selected = [replace(u, emotion=label) for u, label in zip(selected, labels, strict=True)]
        if all(label is None for label in labels):
            raise DataError(
                f"no utterance has a {'rating of ' * is_attribute}{target}; "
                "use --set labels.target=emotion"
            )
        keep = merge = ()
    for pair in merge:
        name, _, into = pair.partition("=")
        if not into:
            raise UsageError(f"labels.merge: {pair!r} is not of the form excitement=happiness")
        _check_known("labels.merge", name, selected)
        selected = [replace(u, emotion=into) if u.emotion == name else u for u in selected]
    for name in keep:
        _check_known("labels.keep", name, selected)
    if keep:
        selected = [u if u.emotion in keep else replace(u, emotion=None) for u in selected]
    if not unlabelled:
        selected = [u for u in selected if u.emotion]
    if len(selected) < len(utterances):
        log.info("%d of %d utterances used, by [labels]", len(selected), len(utterances))
    return check_classes(selected)


def select_group(utterances, group: str, setting="labels.group", corpus="this corpus") -> list:
    """Return the utterances of a part of the corpus, "" for all; raise UsageError without it.

    setting, corpus: the name of the setting and of the corpus in the message.
    """
    groups = sorted({u.group for u in utterances if u.group})
    if group and group not in groups:
        advice = f": take one of them, or --set {setting}= for all" if groups else ""
        raise UsageError(
            f"{setting}: no {group!r} in {corpus}{did_you_mean(group, groups)}; "
            f"it has {' '.join(groups) or 'no groups'}{advice}"
        )
    return [u for u in utterances if group in ("", u.group)]


def select_rated(utterances, group: str) -> list:
    """Return the utterances with ratings of arousal (our activation) and valence.

    Raises DataError if no utterance has ratings.
    """
    rated = [u for u in select_group(utterances, group) if None not in (u.activation, u.valence)]
    if not rated:
        raise DataError(
            "no utterance has ratings of arousal and valence; use --set labels.target=emotion"
        )
    if len(rated) < len(utterances):
        log.info("%d of %d utterances used: those with ratings", len(rated), len(utterances))
    return rated


def check_classes(utterances) -> list:
    """Return the utterances unchanged.

    Raises DataError for fewer than two classes, and for a class with the name of a column of
    predictions.
    """
    labelled = [u.emotion for u in utterances if u.emotion is not None]
    if taken := sorted(set(labelled) & set(PREDICTION_COLUMNS)):
        raise DataError(
            f"a class is called {taken[0]!r}, as a column of predictions is; give it another name, "
            f"such as --set 'labels.merge=[\"{taken[0]}={taken[0]}s\"]'"
        )
    if len(set(labelled)) < 2:
        raise DataError(
            f"{len(labelled)} utterances with fewer than two classes: nothing to classify; "
            "see the corpus's folder and [labels] in the hyperparameters"
        )
    return utterances


def number_classes(utterances) -> tuple[list[str], list[int]]:
    """Return the sorted names of the classes, and the number of each utterance's class."""
    names = sorted({u.emotion for u in utterances})
    numbers = {name: number for number, name in enumerate(names)}
    return names, [numbers[u.emotion] for u in utterances]


def list_strata(utterances) -> list[str]:
    """List the gender and class of each utterance, in which groups of speakers shall be even."""
    return [f"{u.gender} {u.emotion}" for u in utterances]


def select_common_classes(utterances, tested) -> tuple[list, list]:
    """Return the utterances of two corpora with emotions in both; raise DataError for under two."""
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


def scale_ratings(utterances, attribute: str, scale=SCALE) -> list[float | None]:
    """Return the ratings of an attribute, mapped linearly from `scale` to 1 to 5.

    scale: lowest and highest rating that raters could give.

    Raises UsageError for a damaged scale, DataError for a rating outside the scale.
    """
    numbers = [x for x in scale if isinstance(x, int | float) and math.isfinite(x)]
    if len(scale) != 2 or len(numbers) != 2 or scale[0] >= scale[1]:
        raise UsageError(f"labels.scale: {scale} is not of the form [1, 5], lowest and highest")
    low, high = scale
    ratings = [getattr(u, attribute) for u in utterances]
    rated = [rating for rating in ratings if rating is not None]
    for utterance, rating in zip(utterances, ratings, strict=True):
        if rating is not None and not low <= rating <= high:
            limits = min(rated), max(rated)
            other = next(
                (s for s in OTHER_SCALES if s[0] <= limits[0] and limits[1] <= s[1]), limits
            )
            raise DataError(
                f"{utterance.name}: {attribute} is {rating:g}, outside {low:g} to {high:g}; give "
                f"the scale of the ratings, such as --set labels.scale=[{other[0]:g},{other[1]:g}]"
            )
    if (low, high) == SCALE:
        return ratings
    return [None if r is None else 1 + 4 * (r - low) / (high - low) for r in ratings]


def to_three_classes(rating: float | None, rounding: str) -> str | None:
    """Return "low" for 1 and 2, "neutral" for 3, "high" for 4 and 5 (AAE section 3.1), or None.

    A rating is a mean of raters, and the AAE paper does not round it. rounding decides:

    - "between": neutral is (2, 4), as in Metallinou et al. and the ACNN paper;
    - "ties-to-neutral": the nearest whole number, of 2.5 and 3.5 it is 3: neutral is [2.5, 3.5];
    - "half-up": the nearest whole number, ties to the upper one: neutral is [2.5, 3.5);
    - "half-even": the nearest whole number, ties to the even one: neutral is (2.5, 3.5).
    """
    if rating is None:
        return None
    is_low, is_high = {
        "between": (rating <= 2, rating >= 4),
        "ties-to-neutral": (rating < 2.5, rating > 3.5),
        "half-up": (rating < 2.5, rating >= 3.5),
        "half-even": (rating <= 2.5, rating >= 3.5),
    }[rounding]
    return "low" if is_low else "high" if is_high else "neutral"


def describe_labels(*, target, rounding="between", scale=SCALE, **_) -> dict[str, str]:
    """Return the flags of [labels] in a result: {} for emotions, else target, rounding, scale."""
    if target in ("speaker", "gender", "ratings"):
        return {"target": target}
    if target == "emotion":
        return {}
    other = {} if tuple(scale) == SCALE else {"scale": f"{scale[0]:g}to{scale[1]:g}"}
    return {"target": target, "rounding": rounding, **other}


def _check_known(key, name, utterances) -> None:
    emotions = sorted({u.emotion for u in utterances if u.emotion})
    if name not in emotions:
        raise UsageError(
            f"{key}: no {name!r} in this corpus{did_you_mean(name, emotions)}; "
            f"it has {' '.join(emotions) or 'no emotion labels'}"
        )


def warn_of_untrained_classes(utterances, splits) -> None:
    """Warn of folds whose test set has a class that no training speaker has."""
    for fold, split in enumerate(splits):
        trained, tested = (
            {utterances[i].emotion for i in part} for part in (split.train, split.test)
        )
        if tested - trained:
            names = " ".join(sorted(tested - trained))
            log.warning("fold-%02d: no training speaker has %s, which is tested", fold, names)
