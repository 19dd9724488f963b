"""Tests of a card's rows: each against the SVM and against its predecessor in the paper."""

from typing import NamedTuple

import numpy as np

from tfser.evaluation import card_rows, intervals, metrics, significance
from tfser.evaluation.comparison import group_by_speaker, select_common

FEWEST_FOLDS = 3  # of a paired t-test


class PairTest(NamedTuple):
    """The difference of two rows; None where what a test needs was not kept or is not there.

    All probabilities are two-sided, adjusted by Holm for the tests of the same kind on the card.

    Attributes:
        difference: of the main score, first row - second row.
        interval: of the difference, by a paired bootstrap over speakers.
        mcnemar: exact test on the utterances of the first seeds.
        of_seeds: Welch's t-test over seeds, which says nothing of other speakers.
        of_folds: paired t-test over folds, which share most of their training part.
    """

    first: card_rows.Row
    second: card_rows.Row
    difference: float
    interval: intervals.Interval | None
    mcnemar: float | None
    of_seeds: float | None
    of_folds: float | None


def compare_rows(rows: list, baselines: list) -> list[PairTest]:
    """Test each row against its baseline and its predecessor.

    baselines: rows of the SVM's card, for the same corpus.
    """
    pairs = []
    for row in rows:
        others = (
            card_rows.find_predecessor(row, rows), card_rows.find_baseline(row, baselines)
        )  # fmt: skip
        pairs += [compare_pair(row, other) for other in others if other is not None]
    for kind in ("mcnemar", "of_seeds", "of_folds"):
        numbers = [i for i, pair in enumerate(pairs) if getattr(pair, kind) is not None]
        adjusted = significance.holm([getattr(pairs[i], kind) for i in numbers])
        for i, p in zip(numbers, adjusted, strict=True):
            pairs[i] = pairs[i]._replace(**{kind: p})
    return pairs


def compare_pair(first, second) -> PairTest:
    """Test two rows of the same task; probabilities are not adjusted."""
    main = metrics.headline_scores(first.scores)[0]
    interval = mcnemar = None
    kept = [row.predictions for row in (first, second)]
    if None not in kept:
        (a, b), _ = select_common(kept, [first.name, second.name])
        _, groups = group_by_speaker(a.speakers, a.utterances)
        _, interval = intervals.uar_difference_interval(a.y, a.p, b.p, groups, len(a.classes))
        mcnemar = significance.mcnemar(a.right, b.right)
    of_seeds, of_folds = map(two_sided, one_tailed(first, second))
    difference = first.values[main]["mean"] - second.values[main]["mean"]
    return PairTest(first, second, difference, interval, mcnemar, of_seeds, of_folds)


def one_tailed(row, other) -> tuple[float | None, float | None]:
    """Return the probabilities that a row is not above another one: over seeds, over folds.

    None where there is one seed, there are fewer than three folds, or a run kept no values.
    """
    main = metrics.headline_scores(row.scores)[0]
    # The first records have no values of seeds and folds.
    values = [r.values[main].get("values", ()) for r in (row, other)]
    of_seeds = of_folds = None
    if min(*map(len, values), *(r.scores["seeds"] for r in (row, other))) > 1:
        of_seeds = significance.t_test(*values)[1]
    n_folds = row.scores["folds"]
    if main == "uar" and n_folds >= FEWEST_FOLDS:
        # The values are in the order of seeds, then folds.
        values = [
            np.reshape(r.values["fold_uar"].get("values", ()), (-1, n_folds)) for r in (row, other)
        ]
        if min(map(len, values)):
            of_folds = significance.paired_t_test(*(v.mean(axis=0) for v in values))[1]
    return of_seeds, of_folds


def two_sided(p: float | None) -> float | None:
    """Return the two-sided probability of a one-tailed test; 1 for two rows that are the same."""
    if p is None:
        return None
    return 1.0 if np.isnan(p) else 2 * min(p, 1 - p)
