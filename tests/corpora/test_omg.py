"""OMG-Emotion: small trees in the format of the lists and of the audio packs, odd rows included."""

import csv
import logging

import numpy as np
import pytest

from tfser.corpora import omg
from tfser.corpora.loader import describe_corpus, load_corpus
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError

HEADER = "link,start,end,video,utterance,arousal,valence,EmotionMaxVote\n"
LINK = "https://www.youtube.com/watch?v=-a_b"
TRAIN = HEADER + (
    f"{LINK},0.0,4.27,5b44393ed,utterance_10.mp4,0.17,-0.25,4\n"
    f"{LINK},4.5,9.0,5b44393ed,utterance_2.mp4,0.75,0.5,3\n"
    f"{LINK},9.0,10.0,7a9dd8d41_1,utterance_1.mp4,1,-1,0\n"
)
DEV = HEADER + f"{LINK},10.0,12.0,7a9dd8d41_2,utterance_7.mp4,0,1,6\n"
TEST = HEADER + (
    f"{LINK},0,1,ff0000000_1,utterance_2.mp4,0.5,0.0,1\n"
    f"{LINK},1,2,ff0000000_1,utterance_1.mp4,0.5,0.0,2\n"
    f"{LINK},2,3,aa0000000_1,utterance_1.mp4,0.5,0.0,5\n"
)
UNLABELLED = "link,start,end,video,utterance\n" + (
    f"{LINK},0,1,ff0000000_1,utterance_2.mp4\n{LINK},1,2,ff0000000_1,utterance_1.mp4\n"
)
LISTS = {
    "omg_TrainVideos.csv": TRAIN,
    "omg_ValidationVideos.csv": DEV,
    "omg_TestVideos_WithLabels.csv": TEST,
}
ALL = ("5b44393ed/utterance_10", "5b44393ed/utterance_2", "7a9dd8d41_1/utterance_1",
       "7a9dd8d41_2/utterance_7", "ff0000000_1/utterance_2", "ff0000000_1/utterance_1",
       "aa0000000_1/utterance_1")  # fmt: skip


def tree(root, lists=LISTS, audio=(), layout="{}.mp4.wav"):
    root.mkdir(parents=True, exist_ok=True)
    for name, text in lists.items():
        (root / name).write_text(text, encoding="utf-8")
    for name in audio:
        video, utterance = name.split("/")
        path = root / layout.format(name, video=video, utterance=utterance)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def messages(caplog):
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("top", ["", "OMG_Emotion_audio"])
@pytest.mark.parametrize(
    "layout",
    [
        "{}.mp4.wav",
        "{}.wav",
        "{}.flac",
        "data/{}.mp4.wav",
        "train_data/{}.mp4.wav",
        "{video}/audio/{utterance}.mp4/0.wav",
        "{video}/audio/{utterance}/{utterance}.wav",
        "{video}/audio/{utterance}.mp4.wav",
        "audio/test/{video}/audio/{utterance}.mp4/any name.wav",
        "audio/{}.wav",
    ],
)
def test_the_lists_and_the_packs_in_the_wild(tmp_path, top, layout, caplog):
    root = tree(tmp_path / top, audio=ALL, layout=layout)
    utterances = load_corpus("omg", tmp_path)
    facts = [(u.name, u.speaker, u.emotion, u.activation, u.valence, u.split) for u in utterances]
    assert facts == [
        ("5b44393ed-utterance_10", "5b44393ed", "neutral", 0.17, -0.25, "train"),
        ("5b44393ed-utterance_2", "5b44393ed", "happiness", 0.75, 0.5, "train"),
        ("7a9dd8d41_1-utterance_1", "7a9dd8d41", "anger", 1.0, -1.0, "train"),
        ("7a9dd8d41_2-utterance_7", "7a9dd8d41", "surprise", 0.0, 1.0, "dev"),
        ("aa0000000_1-utterance_1", "aa0000000", "sadness", 0.5, 0.0, "test"),
        ("ff0000000_1-utterance_1", "ff0000000", "fear", 0.5, 0.0, "test"),
        ("ff0000000_1-utterance_2", "ff0000000", "disgust", 0.5, 0.0, "test"),
    ]  # fmt: skip
    path = root / layout.format(ALL[0], video="5b44393ed", utterance="utterance_10")
    assert utterances[0] == Utterance(
        path, "5b44393ed-utterance_10", "5b44393ed", "neutral", activation=0.17, valence=-0.25,
        split="train",
    )  # fmt: skip
    assert not caplog.records
    assert describe_corpus("omg", utterances) == (
        "omg: 7 utterances, 4 speakers, 7 emotions: anger 1, disgust 1, fear 1, happiness 1, "
        "neutral 1, sadness 1, surprise 1"
    )


def test_lists_of_spreadsheets(tmp_path):
    text = (
        "\ufeffLink;Start;End;Video;Utterance;Arousal;Valence;EmotionMaxVote\r\n"
        '"a;b";0;1;"5b44393ed"; utterance_1 ;0.25;"-0.5";4.0\r\n'
        ";;;;;;;\r\n"
    )
    tree(tmp_path / "CSVs", {"omg_TrainVideos.csv": text})
    tree(tmp_path, {}, ["5b44393ed/utterance_1"])
    [utterance] = load_corpus("omg", tmp_path)
    assert utterance.name == "5b44393ed-utterance_1" and utterance.emotion == "neutral"
    assert (utterance.activation, utterance.valence) == (0.25, -0.5)


def test_lists_of_the_root_win_and_missing_ones_are_said(tmp_path, caplog):
    tree(tmp_path / "a", {"omg_TrainVideos.csv": HEADER + "a,b\n"})
    tree(tmp_path, {"omg_TrainVideos.csv": TRAIN}, ALL[:3])
    with caplog.at_level(logging.WARNING):
        assert len(load_corpus("omg", tmp_path)) == 3
    dev, test = messages(caplog)
    assert f"no omg_ValidationVideos.csv in {tmp_path} or a folder in it: no dev part" in dev
    assert "no omg_TestVideos_WithLabels.csv in" in test and test.endswith("no test part")


def test_the_test_list_without_labels(tmp_path, caplog):
    lists = LISTS | {"omg_TestVideos_WithoutLabels.csv": UNLABELLED}
    tree(tmp_path, lists, ALL)
    assert all(u.emotion for u in load_corpus("omg", tmp_path))
    assert not caplog.records

    (tmp_path / "omg_TestVideos_WithLabels.csv").unlink()
    (tmp_path / "aa0000000_1/utterance_1.mp4.wav").unlink()
    with caplog.at_level(logging.WARNING):
        utterances = load_corpus("omg", tmp_path)
    [message] = messages(caplog)
    assert message.endswith("_WithoutLabels.csv has no labels; get omg_TestVideos_WithLabels.csv")
    test = [u for u in utterances if u.split == "test"]
    assert [(u.name, u.emotion, u.activation, u.valence) for u in test] == [
        ("ff0000000_1-utterance_1", None, None, None),
        ("ff0000000_1-utterance_2", None, None, None),
    ]


def test_what_youtube_no_longer_has_is_left_out_with_a_count(tmp_path, caplog):
    tree(tmp_path, audio=ALL[:1] + ALL[2:4])
    with caplog.at_level(logging.WARNING):
        assert len(load_corpus("omg", tmp_path)) == 3
    assert messages(caplog) == [
        "omg: 4 of 7 utterances have no audio and are left out (2 of 5 videos have none at all); "
        "the first is 5b44393ed-utterance_2"
    ]


@pytest.mark.parametrize(
    ("lists", "audio", "message"),
    [
        (LISTS, (), "no .wav under .*; expected omg_TrainVideos.csv, .*/audio/utterance_<n>.mp4/"),
        (LISTS, ["x/utterance_1"], r"none of the 1 audio files .*first is x/utterance_1.mp4.wav\)"),
        ({}, ["5b44393ed/utterance_2"], "none of the 1 audio files .*; expected omg_TrainVideos"),
    ],
)
def test_nothing_at_all(tmp_path, lists, audio, message):
    with pytest.raises(DataError, match=message) as error:
        load_corpus("omg", tree(tmp_path, lists, audio))
    assert error.value.exit_code == 3 and "\n" not in str(error.value)


def test_of_two_files_of_an_utterance_the_nearest_is_read(tmp_path, caplog):
    tree(tmp_path, audio=ALL)
    tree(tmp_path, {}, ALL[2:4], "0/{}.mp4.wav")
    tree(tmp_path, {}, ALL[2:3], "0/{}.wav")
    with caplog.at_level(logging.WARNING):
        utterances = load_corpus("omg", tmp_path)
    assert utterances[2].path == tmp_path / "7a9dd8d41_1/utterance_1.mp4.wav"
    copied, unused = messages(caplog)
    near, far = (f"{tmp_path}/{top}7a9dd8d41_1/utterance_1.mp4.wav" for top in ("", "0/"))
    assert copied.endswith(f"nearest to the root is read: 2; of the first it is {near}, not {far}")
    assert "3 of the 10 audio files" in unused


def test_odd_rows_are_said_by_list_and_line(tmp_path, caplog):
    rows = (
        f"{LINK},0,1,5b44393ed,utterance_3.mp4,,0.5,3\n"
        f"{LINK},0,1,5b44393ed,utterance_4.mp4,0.5,0.5,nan\n"
        f"{LINK},0,1,5b44393ed,utterance_5.mp4,-0.125,0.5,3\n"
        f"{LINK},0,1,5b44393ed,utterance_6.mp4,0.5,1.5,3\n"
        f"{LINK},4.5,9,5b44393ed,utterance_2.mp4,0.75,0.50,3\n"
    )
    audio = [*ALL, *(f"5b44393ed/utterance_{n}" for n in (3, 4, 5, 6))]
    tree(tmp_path, LISTS | {"omg_TrainVideos.csv": TRAIN + rows}, audio)
    with caplog.at_level(logging.WARNING):
        utterances = load_corpus("omg", tmp_path)
    empty, odd, again, unused = messages(caplog)
    where = f"omg: {tmp_path / 'omg_TrainVideos.csv'}: rows"
    assert empty == f"{where} with an empty cell, left out: 2, the first is line 5"
    assert odd == (
        f"{where} with arousal outside 0 to 1 or valence outside -1 to 1, kept as they are: 2, "
        "the first is line 7"
    )
    assert again == f"{where} that repeat another one, left out: 1, the first is line 9"
    assert "2 of the 11 audio files" in unused
    values = {u.name: (u.activation, u.valence) for u in utterances}
    assert len(values) == 9
    assert values["5b44393ed-utterance_5"] == (-0.125, 0.5)
    assert values["5b44393ed-utterance_6"] == (0.5, 1.5)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("v,utterance_1.mp4,high,0,3", "line 5: arousal is 'high', not a number"),
        ("v,utterance_1.mp4,0,inf,3", "line 5: valence is 'inf', not a number"),
        ("v,utterance_1.mp4,0,0,happy", "line 5: EmotionMaxVote is 'happy', not a number"),
        ("v,utterance_1.mp4,0,0,7", "line 5: EmotionMaxVote is '7', not 0 to 6; copy the file"),
        ("v,utterance_1.mp4,0,0,-1", "line 5: EmotionMaxVote is '-1', not 0 to 6"),
        ("v,utterance_1.mp4,0,0,3.5", "line 5: EmotionMaxVote is '3.5', not 0 to 6"),
        ("v,utterance_1.mp4,0,0", "line 5: 7 cells, but the header has 8"),
        ("v,first.mp4,0,0,3", "line 5: video 'v' and utterance 'first.mp4' are not like"),
        ("../v,utterance_1.mp4,0,0,3", "line 5: video '../v' and .* not like '7a9dd8d41_1' and"),
        ("5b44393ed,utterance_2,0.75,0.5,4",
         "line 5: 5b44393ed-utterance_2 has other labels in line 3; remove one"),
    ],
)  # fmt: skip
def test_a_row_that_is_none(tmp_path, rows, message):
    tree(tmp_path, LISTS | {"omg_TrainVideos.csv": f"{TRAIN}{LINK},0,1,{rows}\n"}, ALL)
    with pytest.raises(DataError, match=f"omg_TrainVideos.csv, {message}") as error:
        load_corpus("omg", tmp_path)
    assert error.value.exit_code == 3 and "\n" not in str(error.value)


@pytest.mark.parametrize("column", ["video", "utterance", "arousal", "valence", "EmotionMaxVote"])
def test_a_missing_column(tmp_path, column):
    tree(tmp_path, LISTS | {"omg_ValidationVideos.csv": DEV.replace(column, f"{column}s")}, ALL)
    with pytest.raises(
        DataError, match=f"ValidationVideos.csv, line 1: no column '{column}' .did you mean .*copy"
    ):
        load_corpus("omg", tmp_path)


def test_a_video_in_two_parts(tmp_path):
    text = DEV.replace("7a9dd8d41_2", "7a9dd8d41_1")
    tree(tmp_path, LISTS | {"omg_ValidationVideos.csv": text}, ALL)
    with pytest.raises(
        DataError, match="video 7a9dd8d41_1 is in .*omg_TrainVideos.csv and .*omg_ValidationVideos"
    ):
        load_corpus("omg", tmp_path)


@pytest.mark.parametrize("text", [TEST, UNLABELLED + f"{LINK},2,3,aa0000000_1,utterance_1\n"])
def test_a_submission_has_the_rows_of_the_list_in_its_order(tmp_path, text, caplog):
    name = "omg_TestVideos_WithLabels.csv" if text == TEST else "omg_TestVideos_WithoutLabels.csv"
    official = omg.find_test_list(tree(tmp_path, {name: text}, ALL[4:5] + ALL[6:]))
    assert official == tmp_path / name
    predictions = {
        u.name: (np.float32(0.25), np.float64(number))
        for number, u in enumerate(load_corpus("omg", tmp_path))
    }
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        omg.write_submission(tmp_path / "out.csv", official, predictions, fill=(0.5, -0.5))
    [message] = messages(caplog)
    assert message.startswith("omg: 1 of the 3 rows of ")
    assert message.endswith("out.csv have no prediction and get 0.5, -0.5")
    spelt = "utterance_1.mp4" if text == TEST else "utterance_1"
    assert (tmp_path / "out.csv").read_text() == (
        "video,utterance,arousal,valence\n"
        "ff0000000_1,utterance_2.mp4,0.25,1.0\n"
        "ff0000000_1,utterance_1.mp4,0.5,-0.5\n"
        f"aa0000000_1,{spelt},0.25,0.0\n"
    )


def test_a_submission_lies_beside_the_list_row_by_row(tmp_path):
    # A row is there even where read() leaves it out: the challenge's scripts pair rows by position.
    text = TEST + f"{LINK},3,4,aa0000000_1,utterance_2.mp4,,,\n" + TEST.splitlines()[1] + "\n"
    tree(tmp_path, {"omg_TestVideos_WithLabels.csv": text}, ALL[4:])
    official = omg.find_test_list(tmp_path)
    predictions = {u.name: (u.activation, u.valence) for u in load_corpus("omg", tmp_path)}
    omg.write_submission(tmp_path / "out.csv", official, predictions, fill=(0, 0))
    with open(official, newline="") as listed, open(tmp_path / "out.csv", newline="") as written:
        listed, written = list(csv.DictReader(listed)), list(csv.DictReader(written))
    assert len(written) == len(listed) == 5
    for row, ours in zip(listed, written, strict=True):
        assert (row["video"], row["utterance"]) == (ours["video"], ours["utterance"])
        for label in ("arousal", "valence"):
            assert float(row[label] or 0) == float(ours[label])


def test_a_submission_of_other_utterances_or_of_no_numbers(tmp_path):
    tree(tmp_path, {"omg_TestVideos_WithLabels.csv": TEST})
    out, official = tmp_path / "out.csv", omg.find_test_list(tmp_path)
    with pytest.raises(DataError, match="not in .*Labels.csv: 1, the first is 5b44393ed-u.*give"):
        omg.write_submission(out, official, {"5b44393ed-utterance_2": (0, 0)}, fill=(0, 0))
    with pytest.raises(DataError, match="the prediction of ff0000000_1-utterance_1 is 0.0, nan"):
        omg.write_submission(
            out, official, {"ff0000000_1-utterance_1": (0, float("nan"))}, fill=(0, 0)
        )
    assert not out.exists()


def test_no_list_of_the_test_part(tmp_path):
    with pytest.raises(DataError, match="no omg_TestVideos_WithLabels.csv or omg_.*Without.* in "):
        omg.find_test_list(tmp_path)
    folder = tree(tmp_path / "CSVs", {"omg_TestVideos_WithoutLabels.csv": UNLABELLED})
    assert omg.find_test_list(tmp_path) == folder / "omg_TestVideos_WithoutLabels.csv"
