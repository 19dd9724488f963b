"""Significance tests of the difference between two systems."""

import itertools
import math

import numpy as np


def t_test(a, b) -> tuple[float, float]:
    """Run Welch's one-tailed t-test that system a scores higher than b: (t, probability).

    `a` [n] and `b` [m] hold the scores of runs with different random seeds, so pairs mean nothing.
    (nan, nan) where neither varies. Raises ValueError for fewer than two scores of either.
    """
    from scipy import stats  # slow to import, and most runs need no test

    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if min(len(a), len(b)) < 2:
        raise ValueError("a t-test needs at least two scores of each system")
    if not (np.ptp(a) or np.ptp(b)):
        return float("nan"), float("nan")  # SciPy says infinite, or nan with a warning
    result = stats.ttest_ind(a, b, equal_var=False, alternative="greater")
    return float(result.statistic), float(result.pvalue)


def paired_t_test(a, b) -> tuple[float, float]:
    """Run the paired one-tailed t-test that system a scores higher than b: (t, probability).

    `a` and `b` [n] hold the scores of the same parts of the corpus, such as folds. (nan, nan) where
    the differences do not vary. Raises ValueError for fewer than two pairs.
    """
    from scipy import stats  # see `t_test`

    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or len(a) < 2:
        raise ValueError(f"a paired t-test needs two pairs or more, got {a.shape} and {b.shape}")
    if not np.ptp(a - b):
        return float("nan"), float("nan")
    result = stats.ttest_rel(a, b, alternative="greater")
    return float(result.statistic), float(result.pvalue)


def mcnemar(right_a, right_b) -> float:
    """Run McNemar's exact two-sided test that two systems are right equally often.

    right_a, right_b: whether each system is right, for the same utterances [n]. Utterances where
    both are right or both are wrong say nothing; 1 where there are no others.
    """
    from scipy import stats  # see `t_test`

    right_a, right_b = np.asarray(right_a, bool), np.asarray(right_b, bool)
    only_a, only_b = int(np.sum(right_a & ~right_b)), int(np.sum(~right_a & right_b))
    if not only_a + only_b:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b).pvalue)


def holm(probabilities) -> list[float]:
    """Adjust the probabilities of several tests (Holm 1979), in their order.

    Tests with an adjusted probability under 0.05 keep the chance of any false one under 5 %.
    """
    order = np.argsort(probabilities, kind="stable")
    adjusted, largest = [0.0] * len(order), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * float(probabilities[i])))
        adjusted[i] = largest
    return adjusted


def permutation_test(score, labels, *, n_draws: int = 10_000, seed: int = 0) -> float:
    """Return the two-sided probability of a score as far from 0 when labels are dealt at random.

    Args:
        score: function of labels [n] -> number, with its sign turned where the labels are.
        labels: [n] of two values, such as the gender of each speaker.

    All arrangements of the labels are tried where there are at most `n_draws`, else random ones.
    """
    labels = np.asarray(labels)
    first = labels == labels[0]
    n, k = len(labels), int(first.sum())
    second = labels[~first][0] if k < n else labels[0]

    def deal(chosen):
        dealt = np.full(n, second, labels.dtype)
        dealt[list(chosen)] = labels[0]
        return abs(score(dealt))

    observed = abs(score(labels)) * (1 - 1e-12)
    if math.comb(n, k) <= n_draws:
        values = [deal(chosen) for chosen in itertools.combinations(range(n), k)]
        return float(np.mean(np.array(values) >= observed))
    rng = np.random.default_rng(seed)
    values = [deal(rng.permutation(n)[:k]) for _ in range(n_draws)]
    return float((1 + np.sum(np.array(values) >= observed)) / (1 + n_draws))
