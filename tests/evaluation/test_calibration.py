"""Calibration against values worked out by hand."""

import pytest

from tfser.evaluation import calibration

Y = [0, 1, 1, 0]
P = [[0.9, 0.1], [0.8, 0.2], [0.35, 0.65], [0.62, 0.38]]


def test_bins_by_hand():
    assert calibration.reliability_bins(Y, P) == [
        (2, pytest.approx(0.635), 1.0),  # 0.65 and 0.62 are right
        (1, pytest.approx(0.8), 0.0),
        (1, pytest.approx(0.9), 1.0),
    ]


def test_expected_calibration_error_by_hand():
    expected = (2 * (1 - 0.635) + 0.8 + 0.1) / 4
    assert calibration.expected_calibration_error(Y, P) == pytest.approx(expected)
    assert calibration.expected_calibration_error([0, 1], [[1, 0], [0, 1]]) == 0


def test_brier_score_by_hand():
    squares = [2 * 0.01, 2 * 0.64, 2 * 0.35**2, 2 * 0.38**2]
    assert calibration.brier_score(Y, P) == pytest.approx(sum(squares) / 4)
    assert calibration.brier_score([0], [[0, 1]]) == 2
