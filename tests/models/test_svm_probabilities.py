"""Probabilities of the SVM against scikit-learn's, and that they do not move its predictions."""

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import GroupKFold
from sklearn.svm import SVC

from tfser.evaluation import calibration
from tfser.models.svm.probabilities import estimate_probabilities

rng = np.random.default_rng(0)
N = 240
Y = np.arange(N) % 3
SPEAKERS = np.repeat([*"abcdefgh"], N // 8)
X = rng.normal(0, 1, (N, 20)) + 1.5 * np.eye(3, 20)[Y]


def test_parity_with_a_linear_kernel():
    known, tested = SPEAKERS != "h", SPEAKERS == "h"
    found = estimate_probabilities(X[known], Y[known], SPEAKERS[known], X[tested], 0.01)
    folds = list(GroupKFold(3).split(X[known], Y[known], SPEAKERS[known]))
    expected = CalibratedClassifierCV(
        SVC(kernel="linear", C=0.01), method="sigmoid", cv=folds, ensemble=False
    ).fit(X[known], Y[known])
    np.testing.assert_allclose(found, expected.predict_proba(X[tested]), atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_they_are_calibrated_for_speakers_who_did_not_train():
    probabilities = np.zeros((N, 3))
    for speaker in "abcdefgh":
        known, tested = SPEAKERS != speaker, SPEAKERS == speaker
        probabilities[tested] = estimate_probabilities(
            X[known], Y[known], SPEAKERS[known], X[tested], 0.01
        )
    assert calibration.expected_calibration_error(Y, probabilities) < 0.1
    assert (probabilities.argmax(axis=1) == Y).mean() > 0.5


@pytest.mark.parametrize(
    "y, speakers, is_possible",
    [
        ([0, 1] * 6, ["a"] * 12, True),  # one speaker: random folds
        ([0, 1, 0, 1], ["a"] * 4, False),
        ([0, 0, 0, 1], [*"aabb"], False),  # a class of one speaker alone
    ],
)
def test_small_training_sets(y, speakers, is_possible):
    x = rng.normal(0, 1, (len(y), 4))
    assert (estimate_probabilities(x, y, speakers, x[:2], 1.0) is not None) == is_possible
