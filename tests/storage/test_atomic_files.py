"""Files that are whole or not there."""

import csv
import errno
import os

import numpy as np
import pytest

from tfser.errors import ConflictError, DataError
from tfser.storage import atomic_files


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_csv(tmp_path):
    rows = [{"name": "a", "p": 0.1}, {"name": 'say "ä", b', "p": 1e-9}]
    atomic_files.write_csv(tmp_path / "new" / "t.csv", rows)
    text = (tmp_path / "new" / "t.csv").read_bytes().decode()
    assert text == 'name,p\na,0.1\n"say ""ä"", b",1e-09\n'
    with open(tmp_path / "new" / "t.csv", newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["a", 'say "ä", b']


def test_json(tmp_path):
    content = {"uar": 0.1 + 0.2, "name": "ä", "none": None}
    atomic_files.write_json(tmp_path / "s.json", content)
    assert atomic_files.read_json(tmp_path / "s.json") == content
    assert (tmp_path / "s.json").read_bytes().endswith(b"}\n")


def test_arrays(tmp_path):
    arrays = {"a": np.arange(3, dtype="int32"), "b": np.full((2, 2), np.float32(1) / 3)}
    atomic_files.write_arrays(tmp_path / "a.npz", **arrays)
    back = atomic_files.read_arrays(tmp_path / "a.npz")
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_no_pickle_is_loaded(tmp_path):
    np.savez(tmp_path / "evil.npz", a=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="pickle.*copy the run whole"):
        atomic_files.read_arrays(tmp_path / "evil.npz")


@pytest.mark.parametrize("write", [
    lambda path: atomic_files.write_bytes(path, b"new"),
    lambda path: atomic_files.write_json(path, {"new": 1}),
    lambda path: atomic_files.write_csv(path, [{"new": 1}]),
    lambda path: atomic_files.write_arrays(path, new=np.zeros(9)),
])  # fmt: skip
def test_a_failing_write_leaves_the_old_file_alone(tmp_path, monkeypatch, write):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(descriptor):
        assert path.read_bytes() == b"old"  # also while the new one is written
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(path)
    assert names(tmp_path) == ["file"] and path.read_bytes() == b"old"
    monkeypatch.undo()
    write(path)
    assert names(tmp_path) == ["file"] and path.read_bytes() != b"old"


def test_a_write_reaches_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_size))
    atomic_files.write_bytes(tmp_path / "file", b"12345")
    assert synced == [5]


def test_content_that_cannot_be_written_leaves_the_old_file(tmp_path):
    path = tmp_path / "scores.json"
    atomic_files.write_json(path, {"uar": 0.5})
    with pytest.raises(TypeError):
        atomic_files.write_json(path, {"uar": object()})
    with pytest.raises(ValueError):
        atomic_files.write_csv(path, [{"a": 1}, {"b": 2}])
    assert atomic_files.read_json(path) == {"uar": 0.5} and names(tmp_path) == ["scores.json"]


def test_replacing_keeps_the_ending(tmp_path):
    (tmp_path / "model.keras").write_text("old")
    with atomic_files.replace_file(tmp_path / "model.keras") as temporary:
        assert temporary.suffix == ".keras" and temporary.parent == tmp_path
        temporary.write_text("new")
        assert (tmp_path / "model.keras").read_text() == "old"
    assert names(tmp_path) == ["model.keras"]
    assert (tmp_path / "model.keras").read_text() == "new"


def test_replacing_after_an_interrupt(tmp_path):
    (tmp_path / "model.keras").write_text("old")
    with (
        pytest.raises(KeyboardInterrupt),
        atomic_files.replace_file(tmp_path / "model.keras") as temporary,
    ):
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert names(tmp_path) == ["model.keras"]
    assert (tmp_path / "model.keras").read_text() == "old"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a file", b"no archive"])
def test_damaged_arrays_are_as_good_as_none(tmp_path, content):
    path = tmp_path / "a.npz"
    assert atomic_files.read_arrays_if_complete(path) is None
    atomic_files.write_arrays(path, x=np.arange(3))
    assert atomic_files.read_arrays_if_complete(path)["x"].tolist() == [0, 1, 2]
    path.write_bytes(content)
    assert atomic_files.read_arrays_if_complete(path) is None


@pytest.mark.parametrize(
    "name", ["a" * 251 + ".npz", "ü" * 123 + ".keras", "a" * 255, "." + "b" * 254]
)
def test_long_names_have_temporary_names(tmp_path, name):
    path = tmp_path / name
    with atomic_files.replace_file(path) as temporary:
        assert not path.suffix or temporary.suffix == path.suffix  # Keras needs it
        assert atomic_files.TEMPORARY.fullmatch(temporary.name)
        temporary.write_bytes(b"whole")
    assert path.read_bytes() == b"whole" and names(tmp_path) == [name]


def test_names_fit():
    assert atomic_files.fit_name("a.png") == "a.png"
    long = [atomic_files.fit_name("ü" * 200 + f"{k}.png") for k in range(2)]
    assert len(set(long)) == 2
    for name in long:
        assert len(name.encode()) <= 255 and name.startswith("ü" * 100) and name.endswith(".png")


@pytest.mark.parametrize("content, reason", [
    (b"", "no column seed"), (b"seed\n1,2\n", "row 1 has not 1 fields"),
    (b"seed,b\n1\n", "row 1 has not 2 fields"), (b'seed\n"1\n2\n', "unexpected end of data"),
    (b"seed\n\xff\n", "utf-8"),
])  # fmt: skip
def test_damaged_tables_of_a_run(tmp_path, content, reason):
    (tmp_path / "splits.csv").write_bytes(content)
    with pytest.raises(DataError, match=f"splits.csv is damaged: .*{reason}.*; copy the run whole"):
        atomic_files.read_csv(tmp_path / "splits.csv", ["seed"])


def test_a_folder_is_complete_or_missing(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(KeyError), atomic_files.replace_folder(out) as folder:
        (folder / "half").touch()
        raise KeyError
    assert not names(tmp_path)
    killed = tmp_path / ".1-0a1b2c3d.out"  # its process is no more
    own = [".1-0a1b2c3d.other", ".1.out", ".2024-01-31.out"]
    for folder in (killed, *(tmp_path / name for name in own)):
        folder.mkdir()
        (folder / "half").touch()
    with atomic_files.replace_folder(out) as first:
        (first / "whole").touch()
        with atomic_files.replace_folder(out.with_name("out2")), pytest.raises(OSError):
            with atomic_files.replace_folder(out) as second:  # another process, at the same time
                assert first.exists() and not killed.exists()
                (second / "half").touch()
                first.rename(out)
        out.rename(first)
    assert names(tmp_path) == sorted([*own, "out", "out2"]) and names(out) == ["whole"]


def test_errors_of_a_write_name_the_file(tmp_path, monkeypatch):
    def fail(number):
        def fsync(_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fsync)

    fail(errno.ENOSPC)
    with pytest.raises(OSError) as caught:
        atomic_files.write_json(tmp_path / "s.json", {})
    assert caught.value.filename == str(tmp_path / "s.json")
    fail(errno.EROFS)
    with pytest.raises(ConflictError, match="s.json .Read-only file system.; make its folder"):
        atomic_files.write_json(tmp_path / "s.json", {})
    assert not names(tmp_path)
