"""Confidence intervals of scores: percentile bootstrap over speakers (Efron 1979).

Utterances of a speaker resemble each other, so speakers are drawn with replacement, each with all
of its utterances. Confusion matrices add up: a draw is a weighted sum of the speakers' matrices.
"""

from typing import NamedTuple

import numpy as np

from tfser.evaluation import metrics

N_DRAWS = 10_000
LEVEL = 0.95
MOST_CELLS = 2**22  # of confusion matrices at once: 32 MiB


class Interval(NamedTuple):
    """The ends of a confidence interval."""

    low: float
    high: float


def group_confusions(y, p, groups, n_classes: int) -> np.ndarray:
    """Count [groups, n_classes, n_classes]: a confusion matrix for each group, in sorted order.

    Args:
        y: true classes [n].
        p: predicted classes [n], or [seeds, n], whose matrices add up.
        groups: speaker of each utterance [n].
    """
    names, numbers = np.unique(groups, return_inverse=True)
    cells = n_classes * n_classes
    counts = np.zeros(len(names) * cells, np.int64)
    for of_seed in np.atleast_2d(p):
        metrics.confusion_matrix(y, of_seed, n_classes)  # checks the shapes and numbers
        cell = numbers * cells + np.asarray(y) * n_classes + of_seed
        counts += np.bincount(cell, minlength=len(counts))
    return counts.reshape(-1, n_classes, n_classes)


def draw_weights(n_groups: int, *, n_draws: int = N_DRAWS, seed: int = 0) -> np.ndarray:
    """Return how often each group is in each draw with replacement: [n_draws, n_groups]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n_draws)


def wa_of_confusions(confusions) -> np.ndarray:
    """Return the WA of confusion matrices [..., K, K]."""
    return np.trace(confusions, axis1=-2, axis2=-1) / confusions.sum(axis=(-2, -1))


def uar_of_confusions(confusions) -> np.ndarray:
    """Return the UAR of confusion matrices [..., K, K], over the classes that have utterances."""
    confusions = np.asarray(confusions, np.float64)
    totals = confusions.sum(axis=-1)
    hits = np.diagonal(confusions, axis1=-2, axis2=-1)
    recalls = np.divide(hits, totals, out=np.zeros_like(totals), where=totals > 0)
    return recalls.sum(axis=-1) / np.maximum((totals > 0).sum(axis=-1), 1)


def uar_interval(y, p, groups, n_classes: int, *, n_draws=N_DRAWS, seed=0) -> Interval:
    """Compute the 95 % interval of the UAR over draws of groups, as `group_confusions` takes them.

    With several seeds it is the interval of their pooled UAR for new speakers; that of new seeds
    is not in it.
    """
    confusions = group_confusions(y, p, groups, n_classes)
    weights = draw_weights(len(confusions), n_draws=n_draws, seed=seed)
    return percentile_interval(draw_scores(uar_of_confusions, confusions, weights))


def uar_difference_interval(y, a, b, groups, n_classes: int, *, n_draws=N_DRAWS, seed=0):
    """Compute the difference UAR(a) - UAR(b) and its 95 % interval: (difference, Interval).

    The bootstrap is paired: a draw has the same speakers for both. y, a, b, groups: see
    `group_confusions`; the numbers of seeds of a and b may differ.
    """
    pair = np.stack([group_confusions(y, p, groups, n_classes) for p in (a, b)], axis=1)
    weights = draw_weights(len(pair), n_draws=n_draws, seed=seed)
    uars = draw_scores(uar_of_confusions, pair, weights)  # [n_draws, 2]
    both = uar_of_confusions(pair.sum(axis=0))
    return float(both[0] - both[1]), percentile_interval(uars[:, 0] - uars[:, 1])


def draw_scores(score, confusions, weights) -> np.ndarray:
    """Return the scores [n_draws, ...] of draws: score(confusion matrices [draws, ..., K, K]).

    Args:
        confusions: of each group [groups, ..., K, K].
        weights: see `draw_weights`.
    """
    size = max(1, MOST_CELLS // confusions[0].size)
    parts = [weights[i : i + size] for i in range(0, len(weights), size)]
    return np.concatenate([score(np.tensordot(part, confusions, 1)) for part in parts])


def percentile_interval(values, level: float = LEVEL) -> Interval:
    """Return the central percentiles that hold `level` of the bootstrap's values."""
    tail = 50 * (1 - level)
    low, high = np.percentile(values, [tail, 100 - tail])
    return Interval(float(low), float(high))
