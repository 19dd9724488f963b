"""Speakers that a network knows before the run: names are compared within one corpus."""

from pathlib import Path

import numpy as np
import pytest

from tfser.corpora.utterance import Utterance
from tfser.evaluation.earlier_training import EarlierTraining, warn_of_seen_speakers
from tfser.evaluation.splits import Split


def make_folds(speakers):
    """Return utterances and splits that test each of these speakers in a fold."""
    utterances = [Utterance(Path(f"{s}.wav"), s, s, "joy") for s in speakers]
    everyone = np.arange(len(utterances))
    folds = [Split(np.delete(everyone, i), everyone[:0], everyone[i : i + 1]) for i in everyone]
    return utterances, {0: folds}


@pytest.mark.parametrize(
    ("known", "corpus", "speakers", "seen"),
    [
        ({"emodb": None}, "emodb", ["03", "08"], ["03", "08"]),  # a preset: all speakers
        ({"emodb": ["03"]}, "emodb", ["03", "08"], ["03"]),
        ({"emodb": ["09"]}, "emodb", ["03", "08"], []),
        ({"ravdess": None}, "emodb", ["03", "08"], []),
        ({"emodb": ["03"], "ravdess": ["08"]}, "ravdess", ["03", "08"], ["08"]),
        ({"emodb": ["03"]}, "ravdess-to-emodb", ["emodb-03", "emodb-08"], ["emodb-03"]),
        ({"emodb": None}, "ravdess-to-emodb", ["emodb-03", "emodb-08"], ["emodb-03", "emodb-08"]),
        ({"ravdess": None}, "ravdess-to-emodb", ["emodb-03"], []),
    ],
)
def test_names_are_compared_within_one_corpus(known, corpus, speakers, seen):
    earlier = EarlierTraining("train.init", "before", known)
    assert earlier.list_seen(corpus, *make_folds(speakers)) == seen


def test_speakers_that_train_alone_are_not_seen():
    utterances, splits = make_folds(["a", "b", "c"])
    earlier = EarlierTraining("train.init", "before", {"mine": ["a", "b"]})
    assert earlier.list_seen("mine", utterances, {0: splits[0][2:]}) == []


def test_the_flag_and_the_warning(caplog):
    earlier = EarlierTraining("features.from", "my run", {"mine": ["a"]})
    assert earlier.flags([]) == {"from": "my_run"} and earlier.facts([]) == ["features.from my run"]
    assert earlier.flags(["a"]) == {"from": "seen_speakers"}
    assert earlier.facts(["a"]) == [
        "features.from my run, trained on 1 speakers of the test sets"
    ]  # fmt: skip
    warn_of_seen_speakers(None, "mine", *make_folds("ab"))
    warn_of_seen_speakers(earlier, "another", *make_folds("ab"))
    assert caplog.text == ""
    warn_of_seen_speakers(earlier, "mine", *make_folds("ab"))
    assert "features.from=my run was trained on 1 speakers of the test sets (a)" in caplog.text
    assert "(from=seen_speakers, speaker_independent=no)" in caplog.text
