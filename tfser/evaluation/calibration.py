"""Calibration: how far the probabilities of a classifier are right."""

from typing import NamedTuple

import numpy as np


class Bin(NamedTuple):
    """The predictions whose confidence lies between two limits."""

    n: int
    confidence: float  # mean
    accuracy: float


def reliability_bins(y, probabilities, n_bins: int = 10) -> list[Bin]:
    """Group predictions by their confidence, the largest probability; leave out empty bins.

    Args:
        y: true classes [n].
        probabilities: [n, K], rows that add up to 1.
    """
    y, probabilities = np.asarray(y), np.asarray(probabilities, np.float64)
    confidence, hit = probabilities.max(axis=1), probabilities.argmax(axis=1) == y
    number = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    return [
        Bin(int(own.sum()), float(confidence[own].mean()), float(hit[own].mean()))
        for own in (number == i for i in range(n_bins))
        if own.any()
    ]


def expected_calibration_error(y, probabilities, n_bins: int = 10) -> float:
    """Compute the ECE (Guo et al. 2017): the mean over utterances of |accuracy - confidence|.

    The difference is that of the utterance's bin, see `reliability_bins`.
    """
    bins = reliability_bins(y, probabilities, n_bins)
    total = sum(b.n for b in bins)
    return sum(b.n * abs(b.accuracy - b.confidence) for b in bins) / total


def brier_score(y, probabilities) -> float:
    """Compute the mean over utterances of the squared distance to the one-hot label (Brier 1950).

    0 is perfect, 2 is certain and wrong.
    """
    probabilities = np.asarray(probabilities, np.float64)
    one_hot = np.eye(probabilities.shape[1])[np.asarray(y)]
    return float(np.mean(np.sum((probabilities - one_hot) ** 2, axis=1)))
