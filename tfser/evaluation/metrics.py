"""Scores of the papers: one formula each, over all test utterances at once.

`y` is the truth and `p` the prediction: [n] arrays of class numbers, for `ccc` of values. All
scores lie in [0, 1] (`ccc` in [-1, 1]); empty or unequal arrays raise ValueError.
"""

import numpy as np


def uar(y, p) -> float:
    """Compute unweighted average recall (unweighted accuracy, UA), over the classes in y.

    Example:
        >>> import tfser
        >>> tfser.evaluation.uar([0, 0, 0, 1], [0, 0, 1, 1])
        0.8333333333333333
    """
    y, p = _check_pair(y, p)
    return float(np.mean([np.mean(p[y == c] == c) for c in np.unique(y)]))


def wa(y, p) -> float:
    """Compute weighted accuracy (plain accuracy, WA): the share of correct predictions.

    Example:
        >>> import tfser
        >>> tfser.evaluation.wa([0, 0, 0, 1], [0, 0, 1, 1])
        0.75
    """
    y, p = _check_pair(y, p)
    return float(np.mean(y == p))


def macro_f1(y, p) -> float:
    """Compute the mean of F1 = 2 TP / (2 TP + FP + FN) over the classes that occur in y or p.

    Example:
        >>> import tfser
        >>> round(tfser.evaluation.macro_f1([0, 0, 0, 1], [0, 0, 1, 1]), 4)
        0.7333
    """
    y, p = _check_pair(y, p)
    # TP + FN are the c in y and TP + FP the c in p, so their sum is the denominator.
    f1 = [
        2 * np.sum((y == c) & (p == c)) / (np.sum(y == c) + np.sum(p == c))
        for c in np.union1d(y, p)
    ]
    return float(np.mean(f1))


def ccc(y, p) -> float:
    """Compute the concordance correlation coefficient (Lin 1989), with population moments.

    2 cov(y, p) / (var(y) + var(p) + (mean(y) - mean(p))^2), moments divided by n, is one number
    over all utterances: a mean of the CCCs of batches is a different score. 0 where y or p is
    constant, even where both are equal.

    Example:
        >>> import tfser
        >>> tfser.evaluation.ccc([1, 2, 3, 4], [2, 1, 4, 3])
        0.6
    """
    y, p = (a.astype(np.float64) for a in _check_pair(y, p))
    covariance = np.mean((y - y.mean()) * (p - p.mean()))
    spread = y.var() + p.var() + (y.mean() - p.mean()) ** 2
    return float(2 * covariance / spread) if spread > 0 else 0.0


def headline_scores(scores: dict) -> tuple[str, str]:
    """Return the names of a run's main scores: UAR and WA, or both CCCs."""
    return ("uar", "wa") if "uar" in scores else ("ccc_arousal", "ccc_valence")


def confusion_matrix(y, p, n_classes: int) -> np.ndarray:
    """Count [n_classes, n_classes], int64: rows are true classes, columns predicted classes.

    Example:
        >>> import tfser
        >>> tfser.evaluation.confusion_matrix([0, 0, 0, 1], [0, 0, 1, 1], 2).tolist()
        [[2, 1], [0, 1]]
    """
    y, p = _check_pair(y, p)
    for numbers in (y, p):
        # A number out of range would be counted, silently, in the cell of another class.
        if numbers.min() < 0 or numbers.max() >= n_classes:
            raise ValueError(
                f"class numbers {numbers.min()} to {numbers.max()}, but {n_classes} classes"
            )
    cells = np.bincount(y * n_classes + p, minlength=n_classes * n_classes)
    return cells.reshape(n_classes, n_classes)


def summarize(values) -> dict:
    """Return mean, sd (of a sample; None of a single value), min, max and the values themselves."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {
        "mean": float(np.mean(values)),
        "sd": sd,
        "min": min(values),
        "max": max(values),
        "values": list(values),
    }


def _check_pair(y, p) -> tuple[np.ndarray, np.ndarray]:
    y, p = np.asarray(y), np.asarray(p)
    if y.ndim != 1 or y.shape != p.shape or not y.size:
        raise ValueError(f"two equally long lists are needed, got shapes {y.shape} and {p.shape}")
    return y, p
