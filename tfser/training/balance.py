"""Weights of training utterances, so that classes and genders count alike in a loss."""

import numpy as np

from tfser.errors import DataError, UsageError

PROPERTIES = ("class", "gender")
# The section of the hyperparameters with `balance`, of each model that has it. The networks of
# auxvae and began train on speech without labels.
SECTIONS = {"aae": "train", "acnn": "train", "encoder": "svm", "epr": "train", "svm": "svm"}


def balance_weights(utterances, balance: list[str]) -> np.ndarray | None:
    """Return the weight of each utterance [n], with mean 1; None for an empty `balance`.

    Each group of the properties named (each class, each gender, or each pair of both) has the same
    sum of weights: n / (groups * size of the group), as scikit-learn's "balanced" for classes.

    Args:
        utterances: a training set; an utterance may be in it several times.
        balance: of "class" and "gender".

    Raises UsageError for another property, DataError for an utterance without a gender.
    """
    if not balance:
        return None
    if unknown := [name for name in balance if name not in PROPERTIES]:
        raise UsageError(f"balance: {unknown[0]!r} is not one of {', '.join(PROPERTIES)}")
    if "gender" in balance and (nameless := [u.name for u in utterances if not u.gender]):
        raise DataError(f"balance: {nameless[0]} has no gender; leave gender out")
    values = {"class": [u.emotion for u in utterances], "gender": [u.gender for u in utterances]}
    keys = list(zip(*(values[name] for name in balance), strict=True))
    groups, numbers, sizes = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    return len(utterances) / (len(groups) * sizes[numbers.ravel()])


def name_balance(balance: list[str]) -> list[str]:
    """Return the fact of a balanced training for a result, [] without one."""
    return [f"balanced by {' and '.join(balance)}"] if balance else []


def check_balance(model: str, hp, utterances, splits) -> None:
    """Raise an error of `balance_weights` for the training set of any split, before any audio."""
    balance = hp[SECTIONS[model]]["balance"] if model in SECTIONS else []
    for split in splits if balance else []:
        known = [utterances[i] for i in split.train]
        balance_weights([u for u in known if u.emotion is not None], balance)


def separate_weights(batches):
    """Turn batches (x, [labels, weight]) into (x, labels, weight [batch]); see `append_weights`."""
    from tfser.audio.tf_data import unconverted  # it imports TensorFlow, which an SVM needs not

    return batches.map(unconverted(lambda x, joined: (x, joined[:, :-1], joined[:, -1])))


def append_weights(labels, weights) -> np.ndarray:
    """Append the weights [n] to the labels [n, K] as a column, for `separate_weights`."""
    return np.concatenate([labels, weights[:, None]], axis=1, dtype=labels.dtype)
