"""MSP-IMPROV: a small tree in the format of the release, odd lines included."""

import logging

import pytest

from tfser.corpora import improv
from tfser.corpora.loader import describe_corpus, load_corpus
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError

# Raters' comments hold anything, and so do their names; some raters are there twice.
EVALUATION = """UTD-IMPROV-S01A-F01-P-FM01.avi; A; A:2.333333; V:3.166667; D:2.500000 ; N:3.200000;
ANON-p1; Angry; Frustrated,Other(na\xefve; A: loud); A:2.000000; V:3.000000; D:2.000000; N:NaN;
ANON-p1; Angry; Frustrated,Other(na\xefve; A: loud); A:2.000000; V:3.000000; D:2.000000; N:NaN;

UTD-IMPROV-S01A-F01-P-MF02.avi; X; A:4.000000; V:1.000000; D:NaN ; N:NaN;
ANON-p2; Neutral; ; A:4.000000; V:1.000000; D:NaN; N:NaN;

UTD-IMPROV-S20N-M06-R-MM01.avi; N; A:3.000000; V:3.000000; D:3.000000 ; N:4.000000;

UTD-IMPROV-S07H-M06-T-FM13.avi; H; A:1.500000; V:4.500000; D:3.000000 ; N:4.000000;
UTD-IMPROV-S07S-F06-S-MF01.avi; S; A:5.000000; V:1.250000; D:1.000000 ; N:4.000000;
UTD-IMPROV-S07S-F06-S-MF02.avi; O; A:1.000000; V:5.500000; D:1.000000 ; N:4.000000;

UTD-IMPROV-S07H-M06-T-FM13.avi; H; A:1.500000; V:4.500000; D:3.000000 ; N:4.000000;
"""


def tree(root, text=EVALUATION, name="Evaluation.txt"):
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(text.encode("latin-1"))
    return root


def wav(root, turn):
    _, _, sentence, speaker, condition, _ = turn.split("-")
    path = root / f"session{speaker[2]}" / sentence / condition / f"{turn}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.mark.parametrize("name", ["Evaluation.txt", "Evalution.txt"])
@pytest.mark.parametrize("top", ["", "MSP-IMPROV"])
@pytest.mark.parametrize("audio", ["", "Audio"])
def test_the_tree_of_the_release(tmp_path, name, top, audio):
    root = tree(tmp_path / top, name=name)
    first = wav(root / audio, "MSP-IMPROV-S01A-F01-P-FM01")
    missing = root / "session6/S07S/S/MSP-IMPROV-S07S-F06-S-MF01.wav"
    utterances = improv.read(tmp_path)
    assert [u.name[11:] for u in utterances] == [
        "S01A-F01-P-FM01", "S01A-F01-P-MF02", "S07H-M06-T-FM13", "S07S-F06-S-MF01",
        "S07S-F06-S-MF02", "S20N-M06-R-MM01",
    ]  # fmt: skip
    assert utterances[0] == Utterance(
        first, "MSP-IMPROV-S01A-F01-P-FM01", "F01", "anger", session="session1", gender="female",
        activation=pytest.approx(6 - 2.333333), valence=3.166667, dominance=2.5, group="natural",
    )  # fmt: skip
    assert utterances[3] == Utterance(
        missing, "MSP-IMPROV-S07S-F06-S-MF01", "F06", "sadness", session="session6",
        gender="female", activation=1.0, valence=1.25, dominance=1.0, group="other-improvised",
    )  # fmt: skip


def test_labels_conditions_and_people(tmp_path):
    utterances = improv.read(tree(tmp_path))
    assert [(u.emotion, u.group, u.speaker, u.gender, u.session) for u in utterances] == [
        ("anger", "natural", "F01", "female", "session1"),
        (None, "natural", "F01", "female", "session1"),
        ("happiness", "target-improvised", "M06", "male", "session6"),
        ("sadness", "other-improvised", "F06", "female", "session6"),
        ("other", "other-improvised", "F06", "female", "session6"),
        ("neutral", "target-read", "M06", "male", "session6"),
    ]


def test_activation_is_turned_round_valence_and_dominance_are_not(tmp_path):
    text = "UTD-IMPROV-S01A-F01-P-FM01.avi; A; A:1.25; V:1.75; D:2.5 ; N:NaN;"
    [utterance] = improv.read(tree(tmp_path, text))
    assert utterance.activation == 4.75
    assert (utterance.valence, utterance.dominance) == (1.75, 2.5)


def test_nan_is_none(tmp_path):
    text = "UTD-IMPROV-S01A-F01-P-FM01.avi; A; A:NaN; V:NaN; D:NaN ; N:NaN;"
    [utterance] = improv.read(tree(tmp_path, text))
    assert utterance.activation is utterance.valence is utterance.dominance is None


def test_a_mark_before_the_first_line_and_windows_line_ends(tmp_path):
    (tmp_path / "Evaluation.txt").write_bytes(
        b"\xef\xbb\xbf" + EVALUATION.encode().replace(b"\n", b"\r\n")
    )
    assert len(improv.read(tmp_path)) == 6


def test_what_is_odd_is_said(tmp_path, caplog):
    tree(tmp_path)
    wav(tmp_path, "MSP-IMPROV-S01A-F01-P-FM01")
    wav(tmp_path, "MSP-IMPROV-S01A-F01-P-FM09")
    with caplog.at_level(logging.WARNING):
        utterances = load_corpus("improv", tmp_path)
    sessions, odd, unused = (record.getMessage() for record in caplog.records)
    assert "no session2, session3, session4, session5 in" in sessions
    assert odd.endswith("outside 1 to 5, kept as it is: 1, the first is MSP-IMPROV-S07S-F06-S-MF02")
    assert "1 of the 2 audio files" in unused and unused.endswith("MSP-IMPROV-S01A-F01-P-FM09.wav")
    assert describe_corpus("improv", utterances) == (
        "improv: 6 of the paper's 8,438 utterances, 3 speakers, 5 emotions: "
        "anger 1, happiness 1, neutral 1, other 1, sadness 1, unlabelled 1"
    )


def test_of_two_copies_of_a_wav_the_nearest_is_read(tmp_path):
    tree(tmp_path)
    wav(tmp_path / "Audio", "MSP-IMPROV-S01A-F01-P-FM01")
    near = wav(tmp_path, "MSP-IMPROV-S01A-F01-P-FM01")
    assert improv.read(tmp_path)[0].path == near


@pytest.mark.parametrize(
    "line",
    [
        "UTD-IMPROV-S01A-F01-P-FM01.avi; J; A:2.0; V:3.0; D:2.5 ; N:3.2;",
        "UTD-IMPROV-S01A-F01-P-FM01.avi; A; A:2.0; V:3.0; N:3.2;",
        "UTD-IMPROV-S01A-F01-P-FM01.avi; A; A:2.0; V:three; D:2.5 ; N:3.2;",
        "UTD-IMPROV-S01A-F01-P-FM01.avi; A; A:-2.0; V:3.0; D:2.5 ; N:3.2;",
        "UTD-IMPROV-S01A-F07-P-FM01.avi; A; A:2.0; V:3.0; D:2.5 ; N:3.2;",
        "UTD-IMPROV-S01A-F01-Q-FM01.avi; A; A:2.0; V:3.0; D:2.5 ; N:3.2;",
        "MSP-IMPROV-S01A-F01-P-FM01.wav; A; A:2.0; V:3.0; D:2.5 ; N:3.2;",
        "UTD-IMPROV-S01A-F01-P-FM01.avi; A; A:2.0; V:3.",
    ],
)
def test_a_line_that_is_no_turn(tmp_path, line):
    tree(tmp_path, f"\n{line}\n")
    with pytest.raises(DataError, match=r"Evaluation.txt, line 2: .* copy the file again") as error:
        load_corpus("improv", tmp_path)
    assert error.value.exit_code == 3 and "\n" not in str(error.value)


def test_a_turn_with_two_different_labels(tmp_path):
    tree(tmp_path, EVALUATION + EVALUATION.splitlines()[0].replace("; A;", "; H;"))
    with pytest.raises(DataError, match="line 15: S01A-F01-P-FM01 has other labels in line 1"):
        load_corpus("improv", tmp_path)


def test_no_evaluation_file(tmp_path):
    wav(tmp_path, "MSP-IMPROV-S01A-F01-P-FM01")
    with pytest.raises(DataError, match="none of the 1 audio files .*expected Evaluation.txt and"):
        load_corpus("improv", tmp_path)
