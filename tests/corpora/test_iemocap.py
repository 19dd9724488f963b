"""IEMOCAP: a small tree in the format of the release, odd lines included."""

import logging
import wave

import pytest

from tfser.corpora import iemocap
from tfser.corpora.loader import describe_corpus, load_corpus
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError

HEAD = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
IMPRO = """[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.0000, 3.3333]
C-E2:\tNeutral;\t()
C-E3:\tNeutral; Frustration;\t()
C-F1:\tNeutral;\t(curious)
A-E3:\tval 3; act 2; dom  3;\t()
A-E4:\tval 2; act 2; dom  ;\t(a word; another)
A-F1:\tval 3; act 2; dom  1;\t()

[10.0100 - 11.3925]\tSes01F_impro01_M001\texc\t[4.0000, 4.5000, 3.0000]
C-E2:\tExcited;\t()

[12.0000 - 13.0000]\tSes01F_impro01_M002\txxx\t[3.0000, 5.5000, 0.5000]
"""
SCRIPT = "[1 - 2.5]\tSes05M_script01_1b_F017\tang\t[1.6667, 4.0000, 4]  \n"


def tree(root, **files):
    for dialog, text in files.items():
        labels = root / f"Session{dialog[4]}" / "dialog" / "EmoEvaluation" / f"{dialog}.txt"
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_text(HEAD + text)
    return root


def wav(root, session, dialog, turn, seconds):
    path = root / session / "sentences" / "wav" / dialog / f"{turn}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", None))
        file.writeframes(b"\1\0" * round(16000 * seconds))
    return path


@pytest.mark.parametrize("top", ["", "IEMOCAP_full_release"])
def test_the_tree_of_the_release(tmp_path, top):
    root = tree(tmp_path / top, Ses01F_impro01=IMPRO, Ses05M_script01_1b=SCRIPT)
    # What else lies there: macOS' leftovers, and files of other formats in folders of their own.
    evaluation = root / "Session1" / "dialog" / "EmoEvaluation"
    (evaluation / "._Ses01F_impro01.txt").write_bytes(b"\0\5\x16\7[")
    (evaluation / "Categorical").mkdir()
    (evaluation / "Categorical" / "Ses01F_impro01_e2_cat.txt").write_text("[odd")

    def path(session, dialog, turn):
        return root / session / "sentences" / "wav" / dialog / f"{turn}.wav"

    first = ("Session1", "Ses01F_impro01")
    common = {"session": "Session1", "group": "improvised"}
    assert iemocap.read(tmp_path) == [
        Utterance(
            path(*first, "Ses01F_impro01_F000"), "Ses01F_impro01_F000", "Ses01F", "neutral",
            gender="female", valence=2.5, activation=2.0, dominance=3.3333, **common,
        ),
        Utterance(
            path(*first, "Ses01F_impro01_M001"), "Ses01F_impro01_M001", "Ses01M", "excitement",
            gender="male", valence=4.0, activation=4.5, dominance=3.0, **common,
        ),
        Utterance(
            path(*first, "Ses01F_impro01_M002"), "Ses01F_impro01_M002", "Ses01M", None,
            gender="male", valence=3.0, activation=5.5, dominance=0.5, **common,
        ),
        Utterance(
            path("Session5", "Ses05M_script01_1b", "Ses05M_script01_1b_F017"),
            "Ses05M_script01_1b_F017", "Ses05F", "anger", session="Session5", gender="female",
            valence=1.6667, activation=4.0, dominance=4.0, group="scripted",
        ),
    ]  # fmt: skip


def test_the_raters(tmp_path):
    tree(tmp_path, Ses01F_impro01=IMPRO)
    [path] = tmp_path.rglob("*.txt")
    first, second, third = iemocap.load_turns(path)
    assert first.seconds == pytest.approx(1.9456)
    assert first.categories == {
        "E2": ["neutral"],
        "E3": ["neutral", "frustration"],
        "F1": ["neutral"],
    }
    assert first.attributes == {"E3": (3, 2, 3), "E4": (2, 2, None), "F1": (3, 2, 1)}
    assert second.categories == {"E2": ["excited"]} and second.attributes == {}
    assert third.categories == third.attributes == {}


def test_what_is_odd_is_said(tmp_path, caplog):
    root = tree(tmp_path, Ses01F_impro01=IMPRO)
    wav(root, "Session1", "Ses01F_impro01", "Ses01F_impro01_F000", seconds=1.938)
    wav(root, "Session1", "Ses01F_impro01", "Ses01F_impro01_M001", seconds=1.2)
    with caplog.at_level(logging.WARNING):
        utterances = load_corpus("iemocap", root)
    sessions, odd, short = (record.getMessage() for record in caplog.records)
    assert "no Session2, Session3, Session4, Session5 under" in sessions
    assert "an attribute outside 1 to 5, kept as it is: 1, the first is" in odd
    assert odd.endswith("Ses01F_impro01_M002")
    assert "a wav shorter than the time stamps" in short
    assert short.endswith(": 1, the first is Ses01F_impro01_M001")
    assert describe_corpus("iemocap", utterances) == (
        "iemocap: 3 of the paper's 10,039 utterances, 2 speakers, 2 emotions: "
        "excitement 1, neutral 1, unlabelled 1"
    )


@pytest.mark.parametrize(
    "line",
    [
        "[1.0 - 2.0]\tSes01F_impro01_F000\tjoy\t[2.5, 2.5, 2.5]",
        "[1.0 - 2.0]\tSes01F_impro01_F000\tneu\t[2.5, 2.5]",
        "[1.0 - 2.0]\tSes01F_impro01_F000\tneu\t[2.5, nan, 2.5]",
        "[1.0 - 2.0]\tSes01F_impro01_X000\tneu\t[2.5, 2.5, 2.5]",
        "[1.0 - 2.0]\tSes01F_impro01_F000_b\tneu\t[2.5, 2.5, 2.5]",
        "[1.0 - ",
    ],
)
def test_a_line_that_is_no_turn(tmp_path, line):
    tree(tmp_path, Ses01F_impro01=line + "\n")
    with pytest.raises(DataError, match=r"Ses01F_impro01.txt, line 3: .*\[V, A, D\]") as error:
        load_corpus("iemocap", tmp_path)
    assert error.value.exit_code == 3


def test_the_wrong_folder(tmp_path):
    (tmp_path / "Ses01F_impro01_F000.wav").touch()
    with pytest.raises(DataError, match="none of the 1 audio files .*Session<n>/dialog"):
        load_corpus("iemocap", tmp_path)
