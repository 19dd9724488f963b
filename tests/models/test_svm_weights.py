"""Weights of utterances by hand and against scikit-learn's "balanced"."""

from pathlib import Path

import numpy as np
import pytest
from running import called
from sklearn.utils.class_weight import compute_sample_weight

from tfser.cli.train import main
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError, UsageError
from tfser.models.svm.weights import balance_weights

SPOKEN = [
    Utterance(Path(f"{i}.wav"), str(i), gender[0], emotion=emotion, gender=gender)
    for i, (emotion, gender) in enumerate(
        [("x", "female"), ("x", "female"), ("x", "male"), ("y", "female"), ("y", "male")]
    )
]


def test_groups_count_alike():
    assert balance_weights(SPOKEN, []) is None
    assert balance_weights(SPOKEN, ["class"]) == pytest.approx([5 / 6, 5 / 6, 5 / 6, 5 / 4, 5 / 4])
    assert balance_weights(SPOKEN, ["gender"]) == pytest.approx([5 / 6, 5 / 6, 5 / 4, 5 / 6, 5 / 4])
    both = balance_weights(SPOKEN, ["class", "gender"])
    assert both == pytest.approx([5 / 8, 5 / 8, 5 / 4, 5 / 4, 5 / 4]) and both.mean() == 1.0
    expected = compute_sample_weight("balanced", [u.emotion for u in SPOKEN])
    np.testing.assert_allclose(balance_weights(SPOKEN, ["class"]), expected)


def test_bad_input():
    with pytest.raises(UsageError, match="svm.balance: 'age' is not one of class, gender"):
        balance_weights(SPOKEN, ["age"])
    nameless = [*SPOKEN, Utterance(Path("a.wav"), "a", "s", emotion="x")]
    with pytest.raises(DataError, match="svm.balance: a has no gender; leave gender out"):
        balance_weights(nameless, ["gender"])


def test_a_run_with_balance(before, tmp_path):
    """Its name says so, and it is not the run without."""
    words = ["--model", "svm", "--corpus", before / "corpus" / "corpus.csv", "--cache", tmp_path]
    words += ["--protocol", "loso", "--set", 'svm.balance=["class"]', "--workdir", tmp_path / "run"]
    answer = called(main, *words)
    assert answer.code == 0, answer.err
    assert answer.out.startswith("SVM, balanced by class ")
    changed = [*words[:-4], "--set", "svm.balance=[]", *words[-2:]]
    answer = called(main, *changed)
    assert answer.code == 4 and "svm.balance" in answer.err
