"""TED-LIUM 2: a small tree in the format of the release, odd lines included."""

import logging

import numpy as np
import pytest
import soundfile

from tfser.audio import decode
from tfser.corpora import tedlium
from tfser.corpora.loader import describe_corpus, load_corpus
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError, UsageError

RATE = 16000
TRAIN = """;; CATEGORY "0" "" ""
;; LABEL "male" "Male" "Male Talkers"
AaronHuey_2010X 1 AaronHuey_2010X 0.50 1.25 <o,f0,male> i 'm here today to show my photographs
AaronHuey_2010X 1 AaronHuey_2010X 1.20 2.00 <NA> of the lakota(2) <sil> {BREATH}
"""
DEV = """AlGore_2009 1 inter_segment_gap 0 0.25 <o,,unknown> ignore_time_segment_in_scoring

AlGore_2009 1 Al_Gore 0.25 0.50 <F0_M> but this understates
AlGore_2009 1 A_Woman 0.5 1 <F0_F> why\u2028not
AlGore_2009 1 Al_Gore 1 1.5 <o,f0,female> IGNORE_TIME_SEGMENT_IN_SCORING
AlGore_2009 1 Al_Gore 1.5 10.25 <o,f0,unknown> it
"""
SECONDS = 2


def tree(root, **talks):
    """Writes part_talk="lines of its stm", and a sph of noise for each."""
    for key, text in talks.items():
        part, _, talk = key.partition("_")
        for kind in ("stm", "sph"):
            (root / part / kind).mkdir(parents=True, exist_ok=True)
        (root / part / "stm" / f"{talk}.stm").write_text(text, encoding="utf-8")
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, SECONDS * RATE)
        sph = root / part / "sph" / f"{talk}.sph"
        soundfile.write(sph, noise, RATE, "PCM_16", format="NIST")
    return root


@pytest.mark.parametrize("top", ["", "TEDLIUM_release2"])
def test_the_tree_of_the_release(tmp_path, top, caplog):
    root = tree(tmp_path / top, train_AaronHuey_2010X=TRAIN, dev_AlGore_2009=DEV)
    (root / "dev" / "stm" / "._AlGore_2009.stm").write_bytes(b"\0\5\x16\7")
    (root / "LM").mkdir()
    huey = {
        "path": root / "train/sph/AaronHuey_2010X.sph", "speaker": "AaronHuey_2010X",
        "session": "AaronHuey_2010X", "split": "train", "group": "train",
    }  # fmt: skip
    gore = {
        "path": root / "dev/sph/AlGore_2009.sph", "session": "AlGore_2009", "split": "dev",
        "group": "dev",
    }  # fmt: skip
    assert load_corpus("tedlium", tmp_path) == [
        Utterance(
            name="AaronHuey_2010X-0000050-0000125", start_seconds=0.5, end_seconds=1.25,
            gender="male", **huey,
        ),
        Utterance(
            name="AaronHuey_2010X-0000120-0000200", start_seconds=1.2, end_seconds=2.0, **huey
        ),
        Utterance(
            name="AlGore_2009-0000025-0000050", start_seconds=0.25, end_seconds=0.5,
            speaker="Al_Gore", gender="male", **gore,
        ),
        Utterance(
            name="AlGore_2009-0000050-0000100", start_seconds=0.5, end_seconds=1.0,
            speaker="A_Woman", gender="female", **gore,
        ),
        Utterance(
            name="AlGore_2009-0000150-0001025", start_seconds=1.5, end_seconds=10.25,
            speaker="Al_Gore", **gore,
        ),
    ]  # fmt: skip
    assert not caplog.records


def test_the_paper_counts_segments_of_the_training_part(tmp_path):
    tree(tmp_path, train_AaronHuey_2010X=TRAIN, dev_AlGore_2009=DEV)
    assert describe_corpus("tedlium", load_corpus("tedlium", tmp_path)) == (
        "tedlium: 2 of the paper's 92,973 utterances and 3 others, 3 speakers, no emotion labels"
    )


def test_segments_are_heard_where_the_stm_says(tmp_path):
    utterances = load_corpus("tedlium", tree(tmp_path, train_AaronHuey_2010X=TRAIN))
    talk = decode.load_audio(utterances[0].path)
    for utterance, start, end in zip(utterances, (8000, 19200), (20000, 32000), strict=True):
        part = decode.load_audio(
            utterance.path,
            start_seconds=utterance.start_seconds,
            end_seconds=utterance.end_seconds,
        )
        np.testing.assert_array_equal(part, talk[start:end])


def test_a_segment_after_the_end_of_its_talk_is_refused_by_name(tmp_path):
    segment = load_corpus("tedlium", tree(tmp_path, dev_AlGore_2009=DEV))[-1]
    with pytest.raises(DataError, match="AlGore_2009.sph: .*1.5 to 10.25 s passes the end at 2"):
        decode.load_audio(
            segment.path, start_seconds=segment.start_seconds, end_seconds=segment.end_seconds
        )


@pytest.mark.parametrize(
    "line, reason",
    [
        ("T 1 T 2.0 1.0 <o,f0,male> word", "ends at 1.0 s, not after its start at 2.0 s"),
        ("T 1 T 1.0 1.0 <o,f0,male> word", "ends at 1.0 s, not after its start"),
        ("T 1 T 1.0 <o,f0,male> two words", "is not 'talk channel speaker start end"),
        ("T 1 T one 2.0 <o,f0,male> word", "is not"),
        ("T 1 T -1.0 2.0 <o,f0,male> word", "is not"),
        ("T 1 T nan 2.0 <o,f0,male> word", "is not"),
        ("T 1 T 1.0 2.0 word", "is not"),
        ("T 1 T 1.0 2.0 <o,f0,male>", "is not"),
        ("../T 1 T 1.0 2.0 <o,f0,male> word", "is not"),
        ("T 1 T", "is not"),
    ],
)
def test_a_line_that_is_no_segment(tmp_path, line, reason):
    tree(tmp_path, train_T="T 1 T 0.0 1.0 <o,f0,male> word\n" + line + "\n")
    with pytest.raises(DataError, match=f"T.stm, line 2: .*{reason}.*copy the file") as error:
        load_corpus("tedlium", tmp_path)
    assert error.value.exit_code == 3 and "\n" not in str(error.value)


def test_the_same_segment_twice(tmp_path):
    tree(tmp_path, train_AaronHuey_2010X=TRAIN + TRAIN)
    with pytest.raises(DataError, match="two files are utterance AaronHuey_2010X-0000050-0000125"):
        load_corpus("tedlium", tmp_path)


def test_a_talk_without_its_sound_is_listed_and_then_named(tmp_path):
    tree(tmp_path, train_AaronHuey_2010X=TRAIN)
    (tmp_path / "train/sph/AaronHuey_2010X.sph").unlink()
    utterances = load_corpus("tedlium", tmp_path)
    assert len(utterances) == 2
    with pytest.raises(DataError, match="AaronHuey_2010X.sph: No such file"):
        decode.load_audio(utterances[0].path, start_seconds=0.5, end_seconds=1.25)


def test_sound_without_a_transcript_is_said(tmp_path, caplog):
    tree(tmp_path, train_AaronHuey_2010X=TRAIN, train_T="T 1 T 0 1 <o,f0,male> word")
    (tmp_path / "train/stm/T.stm").unlink()
    with caplog.at_level(logging.WARNING):
        assert len(load_corpus("tedlium", tmp_path)) == 2
    [record] = caplog.records
    assert "1 of the 2 audio files" in record.getMessage()
    assert "unlisted" in record.getMessage() and record.getMessage().endswith("train/sph/T.sph")


def test_no_transcripts_at_all(tmp_path):
    with pytest.raises(DataError, match="no .sph under .*; expected <train, dev or test>/stm"):
        load_corpus("tedlium", tmp_path)
    tree(tmp_path, train_T="")
    with pytest.raises(DataError, match=r"none of the 1 audio files .*\(the first is train/sph"):
        load_corpus("tedlium", tmp_path)


def test_the_first_talks_are_those_of_the_training_part(tmp_path):
    line = "{0} 1 X 0 1 <o,f0,male> a\n{0} 1 X 1 2 <o,f0,male> b\n"
    talks = {f"train_{talk}": line.format(talk) for talk in ("C", "A", "B")}
    utterances = load_corpus("tedlium", tree(tmp_path, dev_AA=line.format("AA"), **talks))
    assert len(utterances) == 8
    names = [u.name for u in tedlium.select_first_talks(utterances, 2)]
    assert names == [f"{talk}-{times}" for talk in "AB"
                     for times in ("0000000-0000100", "0000100-0000200")]  # fmt: skip
    assert len(tedlium.select_first_talks(utterances, 3)) == 6
    for n_talks in (0, -1, 4):
        with pytest.raises(UsageError, match="training part here has 3"):
            tedlium.select_first_talks(utterances, n_talks)
