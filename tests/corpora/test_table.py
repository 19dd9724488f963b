"""Tables: what is read, and what is said of each mistake."""

from pathlib import Path

import pytest

from tfser.corpora.loader import describe_corpus, load_corpus
from tfser.corpora.table import read_recordings
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError


@pytest.fixture
def write(tmp_path):
    """Writes a table beside a.wav, b.wav, sub/a.wav and "sub/c d.wav"."""
    (tmp_path / "sub").mkdir()
    for name in ("a.wav", "b.wav", "sub/a.wav", "sub/c d.wav"):
        (tmp_path / name).touch()

    def write(text, name="table.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return str(path)

    return write


def test_all_columns(write, tmp_path):
    table = write(
        "file,speaker,emotion,start,end,session,gender,text,split,group,activation,valence,dominance,x\n"
        'b.wav,007,Angry,0.5,1.25,2,F,"Well, no",train,impro,4,1.5,-3e-1,?\n'
        "\n"
        "a.wav,Ann,joy,,,,,,,,,NaN,,\n"
    )
    assert load_corpus(table) == [
        Utterance(
            tmp_path / "b.wav", "b_0.500-1.250", "007", "anger", 0.5, 1.25, "2", "female",
            "Well, no", 4.0, 1.5, -0.3, "train", "impro",
        ),
        Utterance(tmp_path / "a.wav", "a", "Ann", "joy"),
    ]  # fmt: skip
    assert describe_corpus("table.csv", load_corpus(table)) == (
        "table.csv: 2 utterances, 2 speakers, 2 emotions: anger 1, joy 1"
    )


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_dialects(write, separator, encoding, newline):
    rows = [["File", " speaker ", "emotion"], ["a.wav", "Jürgen", "sad"], ["b.wav", "02", "calm"]]
    table = write(newline.join(separator.join(row) for row in rows), encoding=encoding)
    assert [(u.name, u.speaker, u.emotion) for u in load_corpus(table)] == [
        ("a", "Jürgen", "sadness"), ("b", "02", "calm")]  # fmt: skip


def test_names_of_other_systems(write, tmp_path, monkeypatch):
    """Of Windows, of macOS, below the home folder and as an address."""
    (tmp_path / "u\u0308ben.wav").touch()
    (tmp_path / "back\\slash.wav").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    table = write(
        "file,speaker,emotion\nsub\\a.wav,1,sad\n.\\b.wav,1,sad\nüben.wav,1,sad\n"
        f"back\\slash.wav,1,sad\n~/a.wav,1,sad\nfile://{tmp_path}/sub/c%20d.wav ,1,sad\n"
    )
    names = ["sub/a.wav", "b.wav", "u\u0308ben.wav", "back\\slash.wav", "a.wav", "sub/c d.wav"]
    assert [u.path for u in load_corpus(table)] == [tmp_path / name for name in names]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
@pytest.mark.parametrize("newline", ["\n", "\r"])
def test_marks_and_line_ends(write, encoding, newline):
    rows = [
        "# May",
        "",
        "sep=|",
        '"File"| SPEAKER |Emotion|',
        "a.wav|Jürgen|sad|",
        "b.wav|02|calm|",
    ]
    table = write(newline.join(rows), encoding=encoding)
    assert [(u.name, u.speaker, u.emotion) for u in load_corpus(table)] == [
        ("a", "Jürgen", "sadness"), ("b", "02", "calm")]  # fmt: skip


def test_a_header_in_a_comment_and_quoted_cells(write):
    table = write('# file, speaker, text, emotion\na.wav, "A, B", "Well\n""no""", sad,,\n')
    (utterance,) = load_corpus(table)
    assert (utterance.speaker, utterance.text, utterance.emotion) == (
        "A, B", 'Well\n"no"', "sadness")  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [("0 days", None), ("0", None), ("NaT", None), ("N/A", None), ("0,5", 0.5), ("1e-1", 0.1),
     ("1 days 00:00:01", 86401.0), ("0 days 00:00:00.1", 0.1), ("00:01:02.5", 62.5), (".5", 0.5),
     ("1 day", 86400.0), ("+3", 3.0)],
)  # fmt: skip
def test_times(write, cell, seconds):
    (utterance,) = load_corpus(write(f"file;speaker;emotion;start\na.wav;1;sad;{cell}\n"))
    assert utterance.start_seconds == seconds


def test_decimal_commas(write):
    (utterance,) = load_corpus(
        write("file\tspeaker\tstart\tend\tarousal\na.wav\t1\t0,25\t1,5\t-0,5\n")
    )
    assert (utterance.start_seconds, utterance.end_seconds, utterance.activation) == (
        0.25, 1.5, -0.5)  # fmt: skip


def test_many_rows(write, tmp_path):
    rows = [f"f{i}.wav,s{i % 7},{'sad' if i % 3 else 'calm'}" for i in range(5000)]
    for i in range(5000):
        (tmp_path / f"f{i}.wav").touch()
    utterances = load_corpus(write("file,speaker,emotion\n" + "\n".join(rows)))
    assert [u.name for u in utterances] == [f"f{i}" for i in range(5000)]
    assert describe_corpus("t", utterances) == (
        "t: 5,000 utterances, 7 speakers, 2 emotions: calm 1,667, sadness 3,333"
    )


def test_recordings_of_a_table(write, tmp_path, caplog):
    table = write("FILE;Start;onset\nsub\\a.wav;0,5;1\nb.wav;;1\nz.wav;;1\nb.wav;;1\n")
    assert read_recordings(Path(table)) == [
        (tmp_path / "sub/a.wav", 0.5, None), (tmp_path / "b.wav", None, None),
        (tmp_path / "z.wav", None, None), (tmp_path / "b.wav", None, None)]  # fmt: skip
    assert "line 4: there is no file" in caplog.text
    assert "onset" not in caplog.text  # start is there


def test_audformat(write, tmp_path):
    times = (
        "file,start,end,emotion\n"
        "a.wav,0 days 00:00:01.500000,0 days 00:01:02,happiness\n"
        "a.wav,0 days 00:00:00,NaT,\n"
        "b.wav,0 days 00:00:00.250000,NaT,neutral\n"
    )
    table = write(times, name="db.emotion.csv")
    with pytest.raises(DataError, match="no column 'speaker'.*; there are file, start, end"):
        load_corpus(table)
    write(
        "file,duration,speaker\na.wav,0 days 00:01:10,3\nb.wav,0 days 00:00:09,08\n", "db.files.csv"
    )
    assert load_corpus(table) == [
        Utterance(tmp_path / "a.wav", "a_1.500-62.000", "3", "happiness", 1.5, 62.0),
        Utterance(tmp_path / "a.wav", "a", "3", None),
        Utterance(tmp_path / "b.wav", "b_0.250", "08", "neutral", 0.25, None),
    ]


def test_attributes_without_emotion(write):
    (utterance,) = load_corpus(write("file,speaker,arousal\na.wav,1,0.25\n"))
    assert (utterance.activation, utterance.emotion) == (0.25, None)


def test_names_are_unique_and_safe(write):
    table = write(
        "file,speaker,emotion,start,end\n"
        "a.wav,1,sad,,\nsub/a.wav,1,sad,,\nsub/c d.wav,1,sad,,\n"
        "b.wav,1,sad,0,1\nb.wav,1,sad,0,1.0001\nb.wav,1,sad,1,2\n"
    )
    assert [u.name for u in load_corpus(table)] == [
        "a", "sub-a", "c-d", "b_0.000-1.000_row4", "b_0.000-1.000_row5",
        "b_1.000-2.000"]  # fmt: skip


def test_files_relative_to_the_data_root(write, tmp_path):
    table = write("file,speaker,emotion\nc d.wav,1,sad\n")
    with pytest.raises(DataError, match="line 2: there is no file .*give --data-root"):
        load_corpus(table)
    assert load_corpus(table, tmp_path / "sub")[0].path == tmp_path / "sub" / "c d.wav"
    absolute = write(f"file,speaker,emotion\n{tmp_path / 'a.wav'},1,sad\n", "other.csv")
    assert load_corpus(absolute, tmp_path / "sub")[0].path == tmp_path / "a.wav"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,speaker,emotoin\na.wav,1,sad\n",
         r"table.csv: no column 'emotion' \(did you mean 'emotoin'"),
        ("path,speaker,emotion\na.wav,1,sad\n", "no column 'file' .did you mean 'path'"),
        ("file,emotion\na.wav,sad\n", "no column 'speaker'"),
        ("file,speaker,emotion\na.wav,1,sad\nz.wav,1,sad\ny.wav,1,sad\n",
         "line 3: there is no file .*z.wav and 1 more are missing"),
        ("file,speaker,emotion\n,1,sad\n", "line 2: the file is empty"),
        ("file,speaker,emotion\na.wav,1,sad\n\nb.wav, ,sad\n", "line 4: the speaker is empty"),
        ("file,speaker,emotion,start,end\na.wav,1,sad,2,2\n",
         "line 2: the end, 2 s, is not after the start, 2 s"),
        ("file,speaker,emotion,start,end\na.wav,1,sad,,0\n", "line 2: the end, 0 s, is not after"),
        ("file,speaker,emotion,start\na.wav,1,sad,-1\n", "line 2: start is -1 s, before the file"),
        ("file,speaker,emotion,start\na.wav,1,sad,soon\n", "line 2: start is 'soon', not a number"),
        ("file,speaker,emotion,valence\na.wav,1,sad,inf\n", "line 2: valence is 'inf', not a"),
        ('file,speaker,emotion,start\na.wav,1,sad,"1,5"\n',
         "'1,5', not a number; write .* a point"),
        ("file;speaker;emotion;start\na.wav;1;sad;1,5\nb.wav;1;sad;0.5\n",
         "line 2: start is '1,5', and other rows have a decimal point"),
        ("file,speaker,emotion\na.wav,1,sad\nb.wav,1,sad\na.wav,2,calm\n",
         "line 4: the same file and times as in line 2; remove one"),
        ("file,speaker,emotion\na.wav,1\n", "line 2: 2 cells, but the header has 3"),
        ("file,speaker,emotion,emotion\na.wav,1,sad,sad\n", "two columns are called 'emotion'"),
        ("", "the table has no rows"),
        ("file,speaker,emotion\n", "the table has no rows"),
    ],
)  # fmt: skip
def test_mistakes(write, text, message):
    with pytest.raises(DataError, match=message) as error:
        load_corpus(write(text))
    assert error.value.exit_code == 3
    assert "\n" not in str(error.value)


def test_other_encodings(write):
    table = write("file,speaker,emotion\na.wav,1,sad\nb.wav,Jürgen,sad\n", encoding="latin-1")
    with pytest.raises(DataError, match="line 3: not UTF-8; save the table as UTF-8"):
        load_corpus(table)


def test_no_table(tmp_path):
    with pytest.raises(DataError, match="there is no table .*missing.csv") as error:
        load_corpus(tmp_path / "missing.csv")
    assert error.value.exit_code == 3
    (tmp_path / "table.csv").write_text("file,speaker,emotion\na.wav,1,sad\n")
    with pytest.raises(DataError, match="the data folder .*nowhere does not exist"):
        load_corpus(tmp_path / "table.csv", tmp_path / "nowhere")


def test_a_slip_in_an_optional_column_is_told(write, caplog):
    load_corpus(write("file,speaker,emotion,sesion,duration\na.wav,1,sad,2,3\n"))
    assert "'sesion' (did you mean 'session'?), 'duration' (write the times" in caplog.text
