"""Comparison of runs against values worked out by hand."""

import numpy as np
import pytest

from tfser.errors import DataError
from tfser.evaluation import comparison, metrics
from tfser.evaluation.run_predictions import Predictions


def predictions(
    p, *, run="a", system="A", classes=("x", "y"), names="abcdefgh", y=None, folds=None
):
    p = np.atleast_2d(p)
    y = np.array([0, 1] * 4) if y is None else np.array(y)
    scores = {"classes": list(classes), "protocol": "loso"}
    folds = np.arange(len(y)) // 2 if folds is None else np.array(folds)
    speakers = np.repeat(["s", "t", "u", "v"], 2)[: len(y)]
    return Predictions(run, scores, system, np.array(list(names)), speakers, y, p, None, folds)


RIGHT = [0, 1] * 4
WRONG = [1, 1, 1, 1, 0, 1, 0, 1]  # two of the class 0 are wrong


def test_scores_and_difference_by_hand():
    found = comparison.compare([predictions(RIGHT), predictions(WRONG, system="B")])
    assert (found.n, found.n_speakers, found.over) == (8, 4, "speakers")
    first, second = found.scores
    assert (first.name, first.uar, first.wa, tuple(first.interval)) == ("A", 1.0, 1.0, (1, 1))
    assert (second.name, second.uar, second.wa) == ("B", 0.75, 0.75)
    [difference] = found.differences
    assert (difference.first, difference.second, difference.uar) == ("A", "B", 0.25)
    assert 0 <= difference.interval.low < 0.25 < difference.interval.high <= 0.5
    # Right alone: twice A, never B; two heads or two tails of two tosses.
    assert difference.mcnemar == difference.holm == 0.5
    assert found.warnings == [
        "4 speakers: little can be concluded about new speakers, the intervals are too narrow"
    ]


def test_seeds_are_averaged_and_pairs_adjusted():
    runs = [predictions([RIGHT, WRONG]), predictions(WRONG, run="b"), predictions(RIGHT, run="c")]
    found = comparison.compare(runs)
    assert [score.name for score in found.scores] == ["A (a)", "A (b)", "A (c)"]
    assert [score.seeds for score in found.scores] == [2, 1, 1]
    assert found.scores[0].uar == pytest.approx((1 + 0.75) / 2)
    # McNemar of first seeds: 0.5 for a-b and b-c, 1 for a-c; Holm: 3 and 2 times 0.5, at most 1.
    assert [d.mcnemar for d in found.differences] == [0.5, 1.0, 0.5]
    assert [d.holm for d in found.differences] == [1.0, 1.0, 1.0]


def test_common_utterances_in_another_order():
    shuffled = predictions(WRONG[::-1], system="B", names="hgfedcba", y=RIGHT[::-1])
    assert comparison.compare([predictions(RIGHT), shuffled]).scores[1].uar == 0.75
    fewer = predictions(WRONG[:6], system="B", names="abcdef", y=RIGHT[:6])
    found = comparison.compare([predictions(RIGHT), fewer])
    assert found.n == 6 and found.scores[1].uar == pytest.approx(metrics.uar(RIGHT[:6], WRONG[:6]))
    assert "A predicts 8 utterances, 6 are in all runs" in found.warnings


@pytest.mark.parametrize(
    "other, says",
    [
        (predictions(RIGHT, system="B", classes=("x", "z")), "B has the classes x, z, A has x, y"),
        (predictions(RIGHT, system="B", names="ijklmnop"), "no utterance in common"),
        (predictions(RIGHT, system="B", y=[1, 1] + RIGHT[2:]), "other labels of a: x and y"),
    ],
)
def test_runs_that_cannot_be_compared(other, says):
    with pytest.raises(DataError, match=says):
        comparison.compare([predictions(RIGHT), other])


def test_other_folds_are_warned_of():
    same, renumbered, other = (
        predictions(RIGHT, folds=folds * 2) for folds in ([0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 1, 0])
    )
    assert comparison.find_different_splits([same, renumbered], "AB") == []
    assert comparison.find_different_splits([same, other], "AB") == [
        "B has other folds than A: other training sets"
    ]


def test_one_speaker():
    runs = [predictions(RIGHT), predictions(WRONG, system="B")]
    runs = [run._replace(speakers=np.array(["s"] * 8)) for run in runs]
    found = comparison.compare(runs)
    assert (found.over, found.n_speakers) == ("utterances", 1)
    assert "intervals are over utterances" in found.warnings[0]


def test_settings_that_were_chosen_on_the_corpus_are_warned_of():
    """A search on another corpus is none of this one's business."""
    runs = [predictions(RIGHT), predictions(WRONG, system="B"), predictions(RIGHT, system="C")]
    for run, chosen_on in zip(runs, ("", "emodb/loso", "savee/loso"), strict=True):
        run.scores.update(corpus="emodb", flags={"chosen_on": chosen_on} if chosen_on else {})
    [found] = [w for w in comparison.compare(runs).warnings if "search" in w]
    assert found.startswith("B: a search on emodb/loso chose its settings by dev sets")
