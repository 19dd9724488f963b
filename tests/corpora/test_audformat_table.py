"""Databases of audformat: what is read of them."""

import pickle
import sys
from pathlib import Path

import audformat
import pandas as pd
import pytest

from tfser.corpora.loader import load_corpus
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError, UsageError

FILES = ["wav/a.wav", "wav/b.wav"]


@pytest.fixture(params=["parquet", "csv"])
def root(request, tmp_path):
    """A database with parts of two recordings, speakers in the table of files."""
    (tmp_path / "wav").mkdir()
    for file in FILES:
        (tmp_path / file).touch()
    db = audformat.Database("db")
    db.schemes["emotion"] = audformat.Scheme(labels=["anger", "happy"])
    db.schemes["speaker"] = audformat.Scheme(
        labels={3: {"gender": "male"}, 8: {"gender": "female"}}
    )
    db.splits["train"] = audformat.Split(type="train")
    db["files"] = audformat.Table(audformat.filewise_index(FILES))
    db["files"]["speaker"] = audformat.Column(scheme_id="speaker")
    db["files"]["speaker"].set([3, 8])
    times = [pd.Timedelta(0), pd.Timedelta(seconds=1.5), pd.Timedelta(0)]
    ends = [pd.Timedelta(seconds=1.5), pd.NaT, pd.NaT]
    for name in ("emotion", "emotion.train"):
        index = audformat.segmented_index([FILES[0], *FILES], times, ends)
        db[name] = audformat.Table(index, split_id="train" if "." in name else None)
        db[name]["emotion"] = audformat.Column(scheme_id="emotion")
        db[name]["emotion"].set(["anger", "happy", None])
    db["loudness"] = audformat.Table(audformat.filewise_index(FILES))
    db["loudness"]["loudness"] = audformat.Column()
    db.save(tmp_path, storage_format=request.param)
    return tmp_path


def expected(root, split=None):
    a, b = root / FILES[0], root / FILES[1]
    return [
        Utterance(a, "a_0.000-1.500", "3", "anger", 0.0, 1.5, gender="male", split=split),
        Utterance(a, "a_1.500", "3", "happiness", 1.5, None, gender="male", split=split),
        Utterance(b, "b", "8", None, gender="female", split=split),
    ]


def test_a_header(root):
    assert load_corpus(root / "db.yaml") == expected(root)


def test_a_table(root):
    path = root / "db.emotion.train.parquet"
    if not path.exists():  # a table of CSV is read as text, without the header
        path = root / "db.emotion.csv"
        names = [(u.name, u.speaker, u.emotion) for u in expected(root)]
        assert [(u.name, u.speaker, u.emotion) for u in load_corpus(path)] == names
    else:
        assert load_corpus(path) == expected(root, "train")


class Program:
    """A pickle that writes a file."""

    def __reduce__(self):
        return Path.touch, (Path("written"),)


def test_programs_are_not_run(root, monkeypatch):
    """audformat itself prefers a pickle beside a table, and runs the programs of a header."""
    monkeypatch.chdir(root)
    (root / "db.emotion.pkl").write_bytes(pickle.dumps(Program()))
    assert load_corpus(root / "db.yaml") == expected(root)
    (root / "db.yaml").write_text("name: !!python/object/apply:os.mkdir [written]\n")
    with pytest.raises(DataError, match="db.yaml: no header of audformat .ConstructorError"):
        load_corpus(root / "db.yaml")
    assert not (root / "written").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.yaml", "there is no table"),
        ("db.emotoin.parquet", "no table 'emotoin' .did you mean 'emotion'.*; it has .*loudness"),
        ("other.emotion.parquet", "no header other.yaml beside it"),
        ("empty.yaml", "no header of audformat"),
    ],
)
def test_mistakes(root, name, message):
    if not name.startswith("none"):
        (root / name).touch()
    with pytest.raises(DataError, match=message) as error:
        load_corpus(root / name)
    assert "\n" not in str(error.value)


def test_two_tables_with_emotions(root):
    header = root / "db.yaml"
    header.write_text(
        header.read_text().replace("  emotion:\n    type: seg", "  x:\n    type: seg")
    )
    with pytest.raises(DataError, match=r"2 tables have a column emotion.* db.emotion.train\.\w+$"):
        load_corpus(header)


def test_a_damaged_table(root):
    for file in root.glob("db.emotion.*"):
        file.write_bytes(b"PAR1")
    with pytest.raises(DataError, match="db.yaml: the table cannot be read"):
        load_corpus(root / "db.yaml")


def test_without_audformat(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "audformat", None)
    with pytest.raises(UsageError, match=r"pip install 'tfser\[audformat\]'; or save .* as CSV"):
        load_corpus(root / "db.yaml")
