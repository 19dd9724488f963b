"""Significance tests of the difference between two systems."""

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
