"""Emo-DB: labels from names, with and without wav/, and the real list."""

from collections import Counter

import pytest

from tfser.corpora import emodb
from tfser.corpora.loader import describe_corpus, load_corpus
from tfser.corpora.utterance import Utterance


@pytest.mark.parametrize("folder", ["wav", ".", "copy/wav"])
def test_names(tmp_path, folder):
    files = tmp_path / folder
    files.mkdir(parents=True, exist_ok=True)
    names = "16b10Td 03a01Fa 08a02Wb 03b02La 10a04Ea 11a05Aa 09a07Na 99a01Fa notes 03a01Xa".split()
    for name in names:
        (files / f"{name}.wav").touch()
    (files / "._03a01Fa.wav").touch()
    (files / "03a01Fa.lab").touch()
    assert emodb.read(tmp_path) == [
        Utterance(files / f"{name}.wav", name, name[:2], emotion, gender=gender, text=name[2:5])
        for name, emotion, gender in [
            ("03a01Fa", "happiness", "male"),
            ("03b02La", "boredom", "male"),
            ("08a02Wb", "anger", "female"),
            ("09a07Na", "neutral", "female"),
            ("10a04Ea", "disgust", "male"),
            ("11a05Aa", "fear", "male"),
            ("16b10Td", "sadness", "female"),
        ]
    ]


def test_wav_is_the_corpus_where_there_is_one(tmp_path):
    for folder in ("wav", "wav_8k"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "03a01Fa.wav").touch()
    (utterance,) = load_corpus("emodb", tmp_path)
    assert utterance.path == tmp_path / "wav" / "03a01Fa.wav"


def test_the_real_corpus(shared_data):
    utterances = load_corpus("emodb", shared_data / "emodb")
    assert load_corpus("emodb", shared_data / "emodb" / "wav") == utterances
    assert describe_corpus("emodb", utterances) == (
        "emodb: all 535 utterances, 10 speakers, 7 emotions: anger 127, boredom 81, disgust 46, "
        "fear 69, happiness 71, neutral 79, sadness 62"
    )
    speakers = {utterance.speaker: utterance.gender for utterance in utterances}
    assert "".join(sorted(speakers)) == "03080910111213141516"
    assert Counter(speakers.values()) == {"male": 5, "female": 5}
    assert len({utterance.text for utterance in utterances}) == 10


def test_names_in_capitals_or_small_letters(tmp_path):
    for name in ("03A01FA", "08a02wb"):
        (tmp_path / f"{name}.wav").touch()
    labels = [(u.name, u.speaker, u.emotion, u.text) for u in emodb.read(tmp_path)]
    assert labels == [("03A01FA", "03", "happiness", "a01"), ("08a02wb", "08", "anger", "a02")]
