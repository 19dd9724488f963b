"""t-tests against values worked out by hand."""

import warnings

import numpy as np
import pytest

from tfser.evaluation.significance import holm, mcnemar, paired_t_test, permutation_test, t_test


def tail(t, n_degrees):
    """P(T > t) of Student's t distribution, in closed form for two or three degrees of freedom."""
    if n_degrees == 2:
        return 0.5 - t / (2 * np.sqrt(2 + t**2))
    u = t / np.sqrt(3)
    return 0.5 - (np.arctan(u) + u / (1 + u**2)) / np.pi


def test_t_test_by_hand():
    # Variances 2 + sqrt(3) and 1 of three scores each: by Welch and Satterthwaite
    # 2 (3 + sqrt(3))^2 / ((2 + sqrt(3))^2 + 1) = 3 degrees of freedom; pooled they would be 4.
    spread = np.sqrt(2 + np.sqrt(3))
    t, probability = t_test([4 - spread, 4, 4 + spread], [1, 2, 3])
    assert type(t) is type(probability) is float
    assert t == pytest.approx(2 / np.sqrt((3 + np.sqrt(3)) / 3))
    assert probability == pytest.approx(tail(t, 3))


@pytest.mark.filterwarnings("ignore:Precision loss:RuntimeWarning")  # SciPy, of the constant
def test_t_test_where_one_system_does_not_vary():
    # Variances 4 of three and 0: t = 3 / sqrt(4 / 3), two degrees of freedom.
    t, probability = t_test([2, 4, 6], [1, 1, 1, 1])
    assert t == pytest.approx(3 / np.sqrt(4 / 3)) and probability == pytest.approx(tail(t, 2))
    assert t_test([1, 1, 1, 1], [2, 4, 6]) == pytest.approx((-t, 1 - probability))


def test_t_test_of_equal_scores_says_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(t_test([0.5, 0.5], [0.5, 0.5])).all()
        assert np.isnan(t_test([0.5, 0.5], [0.25, 0.25])).all()
        assert t_test([0.5, 0.6], [0.5, 0.6]) == pytest.approx((0, 0.5))


@pytest.mark.parametrize("a, b", [([0.5, 0.6], [0.5]), ([0.5], [0.5, 0.6]), ([], [0.5, 0.6])])
def test_t_test_of_one_score(a, b):
    with pytest.raises(ValueError) as error:
        t_test(a, b)
    assert str(error.value) == "a t-test needs at least two scores of each system"


def test_paired_t_test_by_hand():
    # Differences 1, 1, 3, 3: mean 2, sd 2 / sqrt(3), t = 2 sqrt(3); three degrees of freedom.
    t, probability = paired_t_test([2, 3, 5, 6], [1, 2, 2, 3])
    assert type(t) is type(probability) is float
    assert t == pytest.approx(2 * np.sqrt(3)) and probability == pytest.approx(tail(t, 3))
    assert paired_t_test([1, 2, 2, 3], [2, 3, 5, 6]) == pytest.approx((-t, 1 - probability))


def test_paired_t_test_of_two_pairs():
    # Differences 1 and 3: mean 2, sd sqrt(2), t = 2; one degree of freedom, a Cauchy distribution.
    t, probability = paired_t_test([2, 5], [1, 2])
    assert t == pytest.approx(2) and probability == pytest.approx(0.5 - np.arctan(2) / np.pi)


def test_paired_t_test_of_equal_differences_says_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(paired_t_test([2, 3], [1, 2])).all()


@pytest.mark.parametrize("a, b", [([1], [2]), ([1, 2, 3], [1, 2]), ([], [])])
def test_paired_t_test_of_no_two_pairs(a, b):
    with pytest.raises(ValueError) as error:
        paired_t_test(a, b)
    assert str(error.value) == (
        f"a paired t-test needs two pairs or more, got ({len(a)},) and ({len(b)},)"
    )


@pytest.mark.parametrize("test", [t_test, paired_t_test])
def test_scores_of_another_precision_are_taken_as_float64(test):
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (2, 5)).astype(np.float32)
    assert test(a, b) == test(a.astype(np.float64), b.astype(np.float64))
    assert test(a, list(map(float, b))) == test(list(map(float, a)), b)


def test_mcnemar_by_hand():
    # Right alone: a 5 times, b once. P(at most 1 or at least 5 heads of 6) = 14 / 64.
    a = [True] * 5 + [False] + [True] * 3 + [False] * 2
    b = [False] * 5 + [True] + [True] * 3 + [False] * 2
    assert mcnemar(a, b) == pytest.approx(14 / 64) == mcnemar(b, a)
    assert mcnemar(a, a) == 1


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.04, times 4, 3, 2, 1 and never falling.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_permutation_test_by_enumeration():
    values = np.array([5.0, 6.0, 7.0, 1.0, 2.0, 3.0])

    def gap(labels):
        return values[labels == "f"].mean() - values[labels == "m"].mean()

    # Of 20 arrangements two are as extreme: this one and its mirror image.
    assert permutation_test(gap, list("fffmmm")) == pytest.approx(2 / 20)
    many = permutation_test(gap, list("fffmmm"), n_draws=19)  # drawn: (1 + k) / 20
    assert 1 / 20 <= many <= 10 / 20


def test_tests_have_their_size():
    """Without a difference 5 % of the tests say there is one, or fewer."""
    rng = np.random.default_rng(0)
    rejected = [mcnemar(*(rng.random((2, 60)) < 0.6)) < 0.05 for _ in range(1000)]
    assert 0.015 <= np.mean(rejected) <= 0.06
    several = [min(holm(rng.random(10))) < 0.05 for _ in range(2000)]
    assert np.mean(several) == pytest.approx(0.05, abs=0.015)
