"""The statistics of a run against values worked out by hand."""

from pathlib import Path

import numpy as np
import pytest

from tfser.corpora.utterance import Utterance
from tfser.evaluation.run_statistics import describe_genders, describe_predictions

SPEAKERS = np.repeat(["a", "b", "c", "d"], 4)
GENDERS = np.repeat(["male", "female", "male", "female"], 4)
Y = np.tile([0, 0, 1, 1], 4)
P = np.array([0, 1, 1, 1, 0, 0, 1, 1, 0, 1, 0, 1, 0, 0, 1, 0])  # UAR 75, 100, 50, 75


def utterances(speakers, genders):
    return [
        Utterance(Path(f"{i}.wav"), str(i), speaker, gender=gender)
        for i, (speaker, gender) in enumerate(zip(speakers, genders, strict=True))
    ]


def test_by_hand():
    found = describe_predictions(Y, P, None, utterances(SPEAKERS, GENDERS), ["x", "y"])
    assert found["interval_over"] == "speakers"
    assert found["recall"] == {"x": 6 / 8, "y": 6 / 8}
    assert found["precision"] == {"x": 6 / 8, "y": 6 / 8}
    assert list(found["uar_by_speaker"].items()) == [
        ("c", 0.5), ("a", 0.75), ("d", 0.75), ("b", 1.0),
    ]  # fmt: skip
    low, high = found["uar_interval"]
    assert 0.5 < low < 0.75 < high < 1.0
    assert found["wa_interval"] == found["uar_interval"]  # classes are balanced in each speaker
    assert found["uar_by_gender"] == {"female": 0.875, "male": 0.625}
    gap = found["gender_gap"]
    assert gap["uar"] == 0.25
    # Of women .75, .875, 1 with 1/4, 1/2, 1/4 and of men .5, .625, .75: a gap of 0 has 1/16.
    assert gap["interval"] == pytest.approx([0.0, 0.5])
    # Six ways to deal two genders to four speakers: +-.25, +-.0 (twice), +-.25.
    assert gap["permutation_p"] == pytest.approx(4 / 6)
    assert "calibration" not in found


def test_probabilities_and_a_class_without_predictions():
    probabilities = np.tile([0.75, 0.25], (4, 1))
    spoken = utterances(["a"] * 4, [None] * 4)
    found = describe_predictions([0, 0, 0, 1], [0] * 4, probabilities, spoken, ["x", "y"])
    assert found["interval_over"] == "utterances" and found["n_speakers"] == 1
    assert found["precision"] == {"x": 0.75, "y": None}
    assert found["calibration"]["ece"] == pytest.approx(0.0)
    assert found["calibration"]["brier"] == pytest.approx((3 * 2 * 0.25**2 + 2 * 0.75**2) / 4)
    assert "uar_by_gender" not in found


def test_genders_need_two_speakers_each():
    genders = np.array(["female"] * 4 + ["male"] * 12)
    assert describe_genders(Y, P, SPEAKERS, genders, 2) == {}
    assert describe_genders(Y, P, SPEAKERS, [None] * 4 + list(GENDERS[4:]), 2) == {}
