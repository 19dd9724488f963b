"""Intervals of CCC, Pearson's r and RMSE against SciPy, by hand and by draws of utterances."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tfser.corpora.utterance import Utterance
from tfser.evaluation import intervals, metrics, rating_statistics

rng = np.random.default_rng(0)
SPEAKERS = np.repeat(["a", "b", "c", "d"], 5)
Y = rng.uniform(1, 5, 20)
P = np.stack([Y + rng.normal(0, 1, 20), 0.5 * Y + rng.normal(1, 1, 20)])  # two seeds
SPOKEN = [Utterance(Path(f"{i}.wav"), str(i), s) for i, s in enumerate(SPEAKERS)]


def test_scores_of_sums():
    found = rating_statistics.group_sums(Y, P[0], np.zeros(20, int), 1)
    assert rating_statistics.ccc_of_sums(found) == pytest.approx(metrics.ccc(Y, P[0]))
    assert rating_statistics.pearson_of_sums(found) == pytest.approx(stats.pearsonr(Y, P[0])[0])
    rmse = np.sqrt(np.mean((Y - P[0]) ** 2))
    assert rating_statistics.rmse_of_sums(found) == pytest.approx(rmse)


def test_constant_ratings_correlate_with_nothing():
    found = rating_statistics.group_sums(np.full(4, 2.3), np.full(4, 2.3), np.zeros(4, int), 1)
    assert rating_statistics.ccc_of_sums(found) == rating_statistics.pearson_of_sums(found) == 0
    assert rating_statistics.rmse_of_sums(found) == 0


def test_draws_of_speakers():
    found = rating_statistics.describe_ratings([(Y, p, SPOKEN) for p in P])
    assert (found["interval_over"], found["n_speakers"]) == ("speakers", 4)
    assert found["ccc"]["mean"] == pytest.approx(np.mean([metrics.ccc(Y, p) for p in P]))
    # The same draws, each scored on its utterances.
    weights = intervals.draw_weights(4)[:300]
    drawn = []
    for counts in weights:
        chosen = np.concatenate([np.flatnonzero(SPEAKERS == s).repeat(k)
                                 for s, k in zip("abcd", counts, strict=True)])  # fmt: skip
        drawn.append(np.mean([metrics.ccc(Y[chosen], p[chosen]) for p in P]))
    sums = np.stack([rating_statistics.group_sums(Y, p, np.arange(20) // 5, 4) for p in P], axis=1)
    of_sums = intervals.draw_scores(rating_statistics.ccc_of_sums, sums, weights).mean(axis=1)
    assert of_sums == pytest.approx(drawn)
    low, high = found["ccc"]["interval"]
    assert low < found["ccc"]["mean"] < high


def test_one_speaker_has_draws_of_utterances():
    spoken = [Utterance(Path(f"{i}.wav"), str(i), "a") for i in range(20)]
    found = rating_statistics.describe_ratings([(Y, P[0], spoken)])
    assert (found["interval_over"], found["n_speakers"]) == ("utterances", 1)
    low, high = found["rmse"]["interval"]
    assert 0 < low < found["rmse"]["mean"] < high
