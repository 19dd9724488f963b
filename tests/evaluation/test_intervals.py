"""Bootstrap intervals against enumeration and simulation."""

import itertools

import numpy as np
import pytest

from tfser.evaluation import intervals, metrics


def test_confusions_add_up_over_groups_and_seeds():
    y = np.array([0, 0, 1, 1, 0])
    p = np.array([[0, 1, 1, 1, 0], [0, 0, 1, 0, 1]])
    groups = ["b", "a", "a", "b", "b"]
    found = intervals.group_confusions(y, p, groups, 2)
    # a: utterances 1 and 2, b: 0, 3 and 4.
    assert found.tolist() == [[[1, 1], [0, 2]], [[3, 1], [1, 1]]]
    assert (
        found.sum(axis=0).tolist()
        == sum(metrics.confusion_matrix(y, of_seed, 2) for of_seed in p).tolist()
    )


def test_uar_of_confusions_equals_metrics():
    rng = np.random.default_rng(0)
    for _ in range(20):
        y, p = rng.integers(0, 4, (2, 30))
        y[y == 2] = 1  # a class that nobody has is not in the mean
        confusion = metrics.confusion_matrix(y, p, 4)
        assert intervals.uar_of_confusions(confusion) == pytest.approx(metrics.uar(y, p))


def test_weights_are_draws_with_replacement():
    weights = intervals.draw_weights(3, n_draws=20_000)
    assert (weights.sum(axis=1) == 3).all()
    # 27 ordered draws: 3 have one group three times, 6 have each group once.
    assert np.mean(weights.max(axis=1) == 3) == pytest.approx(3 / 27, abs=0.01)
    assert np.mean(weights.max(axis=1) == 1) == pytest.approx(6 / 27, abs=0.01)


def test_interval_by_enumeration():
    """Three speakers have 27 equally likely draws: the percentiles of these are known."""
    y = np.array([0, 1, 0, 1, 0, 1])
    p = np.array([0, 1, 0, 0, 1, 1])
    groups = np.array(["a", "a", "b", "b", "c", "c"])
    values = [
        metrics.uar(np.concatenate([y[groups == g] for g in draw]),
                    np.concatenate([p[groups == g] for g in draw]))
        for draw in itertools.product("abc", repeat=3)
    ]  # fmt: skip
    found = intervals.uar_interval(y, p, groups, 2)
    assert found == pytest.approx(np.percentile(values * 1000, [2.5, 97.5]), abs=1e-9)


def test_difference_is_paired():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 200)
    groups = np.repeat(np.arange(10), 20)
    a = np.where(rng.random(200) < 0.6, y, 1 - y)
    difference, interval = intervals.uar_difference_interval(y, a, a, groups, 2)
    assert difference == 0 and interval == (0, 0)
    difference, interval = intervals.uar_difference_interval(y, y, a, groups, 2)
    assert difference == pytest.approx(1 - metrics.uar(y, a))
    assert interval.low < difference < interval.high


def test_coverage_of_the_interval():
    """Speakers differ: over speakers the interval covers, over utterances it is too narrow."""
    rng = np.random.default_rng(0)
    covered = {"speakers": 0, "utterances": 0}
    n_trials, n_speakers, n_each = 200, 24, 20
    for _ in range(n_trials):
        ability = np.clip(rng.normal(0.6, 0.15, n_speakers), 0, 1)
        speaker = np.repeat(np.arange(n_speakers), n_each)
        y = np.tile([0, 1], n_speakers * n_each // 2)
        p = np.where(rng.random(len(y)) < ability[speaker], y, 1 - y)
        for name, groups in (("speakers", speaker), ("utterances", np.arange(len(y)))):
            low, high = intervals.uar_interval(y, p, groups, 2, n_draws=500)
            covered[name] += low <= 0.6 <= high
    assert 0.90 <= covered["speakers"] / n_trials <= 0.98
    assert covered["utterances"] / n_trials < 0.85
