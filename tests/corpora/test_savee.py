"""SAVEE: the tree of the release and the flat copies."""

import pytest

from tfser.corpora import savee
from tfser.corpora.loader import describe_corpus, load_corpus
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError

CODES = {"a01": "anger", "d02": "disgust", "f03": "fear", "h04": "happiness", "n30": "neutral",
         "sa06": "sadness", "su07": "surprise"}  # fmt: skip


@pytest.mark.parametrize(
    "layout",
    ["AudioData/{}/{}.wav", "{}/{}.wav", "{}_{}.wav", "{}{}.wav", "ALL/{}_{}.wav", "{}/{}.WAV"],
)
def test_layouts(tmp_path, layout):
    expected = []
    for speaker in ("DC", "JE", "JK", "KL"):
        for code, emotion in CODES.items():
            path = tmp_path / layout.format(speaker, code)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            expected.append(
                Utterance(
                    path, f"{speaker}_{code}", speaker, emotion, gender="male", text=code
                )  # fmt: skip
            )
    for clutter in ("Info.txt", "s01.wav", "XX_a01.wav"):
        (tmp_path / clutter).touch()
    assert savee.read(tmp_path) == expected


def test_one_speaker_s_folder(tmp_path):
    (tmp_path / "DC").mkdir()
    (tmp_path / "DC" / "sa01.wav").touch()
    utterances = load_corpus("savee", tmp_path / "DC")
    assert [u.name for u in utterances] == ["DC_sa01"]
    assert describe_corpus("savee", utterances) == (
        "savee: 1 of the paper's 480 utterances, 1 speaker, 1 emotion: sadness 1"
    )


def test_no_speaker_to_be_found(tmp_path):
    (tmp_path / "a01.wav").touch()
    with pytest.raises(DataError, match=r"none of the 1 .*AudioData/<DC\|JE\|JK\|KL>") as error:
        load_corpus("savee", tmp_path)
    assert error.value.exit_code == 3
