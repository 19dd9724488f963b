"""Weights of utterances, so that classes and genders count alike."""

import numpy as np

from tfser.errors import DataError, UsageError

PROPERTIES = ("class", "gender")


def balance_weights(utterances, balance: list[str]) -> np.ndarray | None:
    """Return the weight of each utterance [n], with mean 1; None for an empty `balance`.

    Each group of the properties named (each class, each gender, or each pair of both) has the same
    sum of weights: n / (groups * size of the group), as scikit-learn's "balanced" for classes.

    Args:
        balance: of "class" and "gender".

    Raises UsageError for another property, DataError for an utterance without a gender.
    """
    if not balance:
        return None
    if unknown := [name for name in balance if name not in PROPERTIES]:
        raise UsageError(f"svm.balance: {unknown[0]!r} is not one of {', '.join(PROPERTIES)}")
    if "gender" in balance and (nameless := [u.name for u in utterances if not u.gender]):
        raise DataError(f"svm.balance: {nameless[0]} has no gender; leave gender out")
    values = {"class": [u.emotion for u in utterances], "gender": [u.gender for u in utterances]}
    keys = list(zip(*(values[name] for name in balance), strict=True))
    groups, numbers, sizes = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    return len(utterances) / (len(groups) * sizes[numbers.ravel()])
