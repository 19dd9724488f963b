"""Scores against values worked out by hand, and against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from tfser.evaluation import metrics

# Three of four 0s, one of two 1s and the only 2 are right; one 0 is called 2, one 1 is called 0.
Y = [0, 0, 0, 0, 1, 1, 2]
P = [0, 0, 0, 2, 1, 0, 2]


def test_uar_is_the_mean_recall():
    assert metrics.uar(Y, P) == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)


def test_uar_counts_only_classes_that_are_true_somewhere():
    # Class 2 is predicted once but never true: it has no recall that could be averaged.
    assert metrics.uar([0, 0, 1, 1], [0, 2, 1, 1]) == pytest.approx((1 / 2 + 1) / 2)


def test_wa_is_the_share_of_right_utterances():
    assert metrics.wa(Y, P) == pytest.approx(5 / 7)


def test_wa_and_uar_differ_on_unbalanced_classes():
    y = [0] * 9 + [1]
    assert metrics.wa(y, [0] * 10) == pytest.approx(0.9)
    assert metrics.uar(y, [0] * 10) == pytest.approx(0.5)


def test_macro_f1_by_hand():
    # Class 0: TP 3, FP 1, FN 1; class 1: TP 1, FP 0, FN 1; class 2: TP 1, FP 1, FN 0.
    assert metrics.macro_f1(Y, P) == pytest.approx((6 / 8 + 2 / 3 + 2 / 3) / 3)


def test_macro_f1_has_the_classes_of_y_and_of_p():
    # Class 0: TP 1, FN 1; class 1: TP 2; class 2 is predicted once and never true: F1 = 0.
    assert metrics.macro_f1([0, 0, 1, 1], [0, 2, 1, 1]) == pytest.approx((2 / 3 + 1 + 0) / 3)
    # Class 2 is true once and never predicted.
    assert metrics.macro_f1([0, 2, 1, 1], [0, 0, 1, 1]) == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_ccc_by_hand():
    # Means 2 and 3, variances 2/3 and 2/3, covariance 2/3: 2 * 2/3 / (2/3 + 2/3 + 1) = 4/7.
    assert metrics.ccc([1, 2, 3], [2, 3, 4]) == pytest.approx(4 / 7)


def test_ccc_of_perfect_and_reversed_predictions():
    assert metrics.ccc([1, 2, 3], [1, 2, 3]) == pytest.approx(1)
    assert metrics.ccc([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)


def test_ccc_of_constants():
    assert metrics.ccc([1, 2, 3], [2, 2, 2]) == 0
    assert metrics.ccc([2, 2], [2, 2]) == metrics.ccc([2, 2], [1, 3]) == 0


def test_ccc_of_all_utterances_is_not_the_mean_over_batches():
    y, p = np.array([0, 1, 10, 11]), np.array([1, 0, 11, 10])
    of_batches = [metrics.ccc(y[:2], p[:2]), metrics.ccc(y[2:], p[2:])]
    assert metrics.ccc(y, p) > 0.9 and np.mean(of_batches) == pytest.approx(-1)


def test_confusion_matrix_has_true_rows_and_predicted_columns():
    expected = [[3, 0, 1, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert metrics.confusion_matrix(Y, P, n_classes=4).tolist() == expected


def test_confusion_matrix_of_all_classes_and_of_one():
    matrix = metrics.confusion_matrix([2, 0], [0, 2], n_classes=3)
    assert matrix.dtype == np.int64 and matrix.tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    assert metrics.confusion_matrix([0, 0], [0, 0], n_classes=1).tolist() == [[2]]


@pytest.mark.parametrize("wrong, numbers", [(-1, "-1 to 1"), (3, "0 to 3")])
def test_confusion_matrix_refuses_numbers_without_a_class(wrong, numbers):
    for y, p in (([0, 1, 2], [0, 1, wrong]), ([0, 1, wrong], [0, 1, 2])):
        with pytest.raises(ValueError) as error:
            metrics.confusion_matrix(y, p, n_classes=3)
        assert str(error.value) == f"class numbers {numbers}, but 3 classes"


@pytest.mark.parametrize("seed", range(5))
def test_parity_with_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    y = rng.choice(7, size=200, p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.05, 0.05])
    p = np.where(rng.random(200) < 0.5, y, rng.integers(7, size=200))
    assert metrics.uar(y, p) == pytest.approx(sklearn_metrics.balanced_accuracy_score(y, p))
    assert metrics.wa(y, p) == pytest.approx(sklearn_metrics.accuracy_score(y, p))
    assert metrics.macro_f1(y, p) == pytest.approx(sklearn_metrics.f1_score(y, p, average="macro"))
    expected = sklearn_metrics.confusion_matrix(y, p, labels=range(7))
    np.testing.assert_array_equal(metrics.confusion_matrix(y, p, n_classes=7), expected)


@pytest.mark.parametrize("score", [metrics.uar, metrics.wa, metrics.macro_f1, metrics.ccc])
@pytest.mark.parametrize("y, p", [([], []), ([0, 1], [0]), ([[0, 1]], [[0, 1]])])
def test_empty_or_unequal_arrays_are_errors(score, y, p):
    with pytest.raises(ValueError) as error:
        score(y, p)
    shapes = f"{np.shape(y)} and {np.shape(p)}"
    assert str(error.value) == f"two equally long lists are needed, got shapes {shapes}"


def test_the_headline_scores_of_classes_and_of_ratings():
    assert metrics.headline_scores({"uar": 0.5, "wa": 0.5}) == ("uar", "wa")
    ratings = {"ccc_arousal": 0.5, "ccc_valence": 0.5}
    assert metrics.headline_scores(ratings) == ("ccc_arousal", "ccc_valence")


def test_names_of_classes_serve_as_well_as_numbers():
    assert metrics.uar(["anger", "joy"], ["anger", "anger"]) == pytest.approx(0.5)


def test_the_summary_of_seeds():
    summary = metrics.summarize([0.5, 0.7, 0.9])
    assert summary.pop("values") == [0.5, 0.7, 0.9]
    assert summary == pytest.approx({"mean": 0.7, "sd": 0.2, "min": 0.5, "max": 0.9})
    pair = {"mean": 0.5, "sd": 0.5, "min": 0.0, "max": 1.0, "values": [0.0, 0.5, 1.0]}
    assert metrics.summarize((0.0, 0.5, 1.0)) == pair  # 0.5 = sqrt((1/4 + 0 + 1/4) / 2)
    assert metrics.summarize([1.0, 1.0])["sd"] == 0.0
    alone = {"mean": 0.5, "sd": None, "min": 0.5, "max": 0.5, "values": [0.5]}
    assert metrics.summarize([0.5]) == alone
