"""What a run writes at its end, whatever becomes of its pictures."""

import csv
import errno
import logging
from types import SimpleNamespace

import numpy as np
import pytest

from tfser.corpora.utterance import Utterance
from tfser.evaluation import classification_report
from tfser.evaluation.splits import Split
from tfser.plots import figures
from tfser.storage import atomic_files

CLASSES = ["Ärger", "喜び"]


@pytest.fixture
def finish(tmp_path):
    """Returns a function that scores and finishes a run of four utterances and two seeds."""
    run = SimpleNamespace(
        folder=tmp_path,
        corpus="ünlü",
        protocol="loso",
        seeds=(0, 1),
        evaluate="test",
        chosen_on="",
    )
    corpus = [
        Utterance(tmp_path, name=f"ü{i}", speaker="ab"[i % 2], emotion=CLASSES[i // 2])
        for i in range(4)
    ]
    fold_of = np.arange(4) % 2
    splits = [Split(np.flatnonzero(fold_of != k), np.flatnonzero(fold_of != k),
                    np.flatnonzero(fold_of == k)) for k in range(2)]  # fmt: skip
    system = {"predicted": np.array([0, 1, 1, 1]), "probabilities": None}

    def call():
        results = [
            classification_report.score_seed(
                run, seed, corpus, CLASSES, {"SVM": system}, fold_of, splits
            )
            for seed in run.seeds
        ]
        return classification_report.finish_run(
            run, "svm", CLASSES, results, utterances=corpus, splits={0: splits, 1: splits},
            facts=[], flags={},
        )  # fmt: skip

    return call


def test_predictions_are_those_of_all_seeds(finish, tmp_path):
    scores = finish()
    assert scores["uar"] == 0.75 and scores["speaker_independent"]
    text = (tmp_path / "predictions.csv").read_bytes().decode("utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["seed"] for row in rows] == [*"00001111"]
    assert rows[0]["utterance"] == "ü0" and rows[0]["predicted"] == "Ärger"
    assert (tmp_path / "confusion.png").exists()


def test_no_picture_ends_a_run(finish, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("tfser"), "propagate", True)

    def fail(_):
        raise ValueError("Image size of 90000x90000 pixels is too large\nmore")

    monkeypatch.setattr(figures, "encode_png", fail)
    scores = finish()
    assert atomic_files.read_json(tmp_path / "scores.json")["uar"] == scores["uar"] == 0.75
    assert not (tmp_path / "confusion.png").exists()
    text = "confusion.png is not drawn: Image size of 90000x90000 pixels is too large"
    assert {message for message in caplog.messages if "not drawn" in message} == {text}


def test_a_full_disk_ends_it(finish, tmp_path, monkeypatch):
    def fail(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(figures, "encode_png", fail)
    with pytest.raises(OSError):
        finish()
    assert not (tmp_path / "scores.json").exists()  # the same command continues
