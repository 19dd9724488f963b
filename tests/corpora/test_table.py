"""Tables: what is read, and what is said of each mistake."""

import pytest

from tfser.corpora.loader import describe_corpus, load_corpus
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
         r"line 1: no column 'emotion' \(did you mean 'emotoin'"),
        ("path,speaker,emotion\na.wav,1,sad\n", "line 1: no column 'file'; there are path"),
        ("file,emotion\na.wav,sad\n", "line 1: no column 'speaker'"),
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
        ("file;speaker;emotion;start\na.wav;1;sad;1,5\n", "'1,5', not a number; write .* a point"),
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
    assert "'sesion' is not read; did you mean 'session'?" in caplog.text
    assert "duration" not in caplog.text
