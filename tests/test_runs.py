"""The run directory: whole files, one process at a time, one set of settings."""

import csv
import errno
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tfser import runs
from tfser.corpora import Utterance
from tfser.errors import ConflictError, DataError

SETTINGS = {"model": "epr", "folds": None, "hparams": {"train": {"epochs": 5, "names": ("a",)}}}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs" / "run"


def open_and_close(folder, settings=SETTINGS, seeds=(0,)):
    with runs.opened(folder, settings, seeds):
        pass


def conflict(folder, settings=SETTINGS) -> str:
    with pytest.raises(ConflictError) as caught:
        open_and_close(folder, settings)
    assert caught.value.exit_code == 4
    return str(caught.value)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_csv(tmp_path):
    rows = [{"name": "a", "p": 0.1}, {"name": 'say "ä", b', "p": 1e-9}]
    runs.write_csv(tmp_path / "new" / "t.csv", rows)
    text = (tmp_path / "new" / "t.csv").read_bytes().decode()
    assert text == 'name,p\na,0.1\n"say ""ä"", b",1e-09\n'
    with open(tmp_path / "new" / "t.csv", newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["a", 'say "ä", b']


def test_json(tmp_path):
    content = {"uar": 0.1 + 0.2, "name": "ä", "none": None}
    runs.write_json(tmp_path / "s.json", content)
    assert runs.read_json(tmp_path / "s.json") == content
    assert (tmp_path / "s.json").read_bytes().endswith(b"}\n")


def test_arrays(tmp_path):
    arrays = {"a": np.arange(3, dtype="int32"), "b": np.full((2, 2), np.float32(1) / 3)}
    runs.write_arrays(tmp_path / "a.npz", **arrays)
    back = runs.read_arrays(tmp_path / "a.npz")
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_no_pickle_is_loaded(tmp_path):
    np.savez(tmp_path / "evil.npz", a=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="pickle"):
        runs.read_arrays(tmp_path / "evil.npz")


@pytest.mark.parametrize("write", [
    lambda path: runs.write_bytes(path, b"new"),
    lambda path: runs.write_json(path, {"new": 1}),
    lambda path: runs.write_csv(path, [{"new": 1}]),
    lambda path: runs.write_arrays(path, new=np.zeros(9)),
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
    runs.write_bytes(tmp_path / "file", b"12345")
    assert synced == [5]


def test_content_that_cannot_be_written_leaves_the_old_file(tmp_path):
    path = tmp_path / "scores.json"
    runs.write_json(path, {"uar": 0.5})
    with pytest.raises(TypeError):
        runs.write_json(path, {"uar": object()})
    with pytest.raises(ValueError):
        runs.write_csv(path, [{"a": 1}, {"b": 2}])
    assert runs.read_json(path) == {"uar": 0.5} and names(tmp_path) == ["scores.json"]


def test_replacing_keeps_the_ending(tmp_path):
    (tmp_path / "model.keras").write_text("old")
    with runs.replacing(tmp_path / "model.keras") as temporary:
        assert temporary.suffix == ".keras" and temporary.parent == tmp_path
        temporary.write_text("new")
        assert (tmp_path / "model.keras").read_text() == "old"
    assert names(tmp_path) == ["model.keras"]
    assert (tmp_path / "model.keras").read_text() == "new"


def test_replacing_after_an_interrupt(tmp_path):
    (tmp_path / "model.keras").write_text("old")
    with pytest.raises(KeyboardInterrupt), runs.replacing(tmp_path / "model.keras") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert names(tmp_path) == ["model.keras"]
    assert (tmp_path / "model.keras").read_text() == "old"


def test_the_same_settings_open_again(folder):
    open_and_close(folder)
    (folder / "result").write_text("kept")
    open_and_close(folder)
    assert (folder / "result").read_text() == "kept"
    written = runs.read_json(folder / "hparams.json")
    assert written == json.loads(json.dumps(SETTINGS))


def test_other_settings_are_named(folder):
    open_and_close(folder)
    (folder / "seed-0").mkdir()
    before = (folder / "hparams.json").read_bytes()
    other = {"model": "epr", "folds": 4, "hparams": {"train": {"epochs": 6, "names": ("a",)}}}
    assert conflict(folder, other) == (
        f"{folder} holds a run of other settings (folds: None -> 4, hparams.train.epochs: 5 -> 6); "
        "use another --workdir, or delete it"
    )
    assert (folder / "hparams.json").read_bytes() == before
    # What was refused has run nothing.
    assert len(runs.read_json(folder / "environment.json")["processes"]) == 1


def test_many_other_settings_are_counted(folder):
    open_and_close(folder, {f"k{i}": i for i in range(8)})
    (folder / "seed-0").mkdir()
    message = conflict(folder, {f"k{i}": -i for i in range(8)})
    assert "k1: 1 -> -1, " in message and "k5: 5 -> -5 and 2 more)" in message
    assert "k6" not in message


def test_a_setting_that_is_new(folder):
    open_and_close(folder, {"a": 1})
    (folder / "seed-0").mkdir()
    assert "(b: None -> 2)" in conflict(folder, {"a": 1, "b": 2})


def test_settings_may_change_until_training_has_begun(folder):
    open_and_close(folder, {"a": 1})
    open_and_close(folder, {"a": 2})
    assert runs.read_json(folder / "hparams.json") == {"a": 2}


def test_an_error_is_in_the_log(folder):
    with pytest.raises(DataError), runs.opened(folder, SETTINGS, (0,)):
        raise DataError("no wavs")
    assert (folder / "log.txt").read_text().endswith("ERROR DataError: no wavs\n")


def test_what_a_killed_process_left_is_swept(folder):
    open_and_close(folder)
    leftover = folder / "seed-0" / ".123.state.npz"
    runs.write_bytes(leftover, b"half")
    runs.write_bytes(folder / "seed-0" / "state.npz", b"whole")
    open_and_close(folder)
    assert names(folder / "seed-0") == ["state.npz"]


def test_a_resumed_run_has_the_same_audio(folder, tmp_path):
    corpus = [Utterance(tmp_path / n, name=n, speaker="s", emotion="anger") for n in "ab"]
    runs.check_data(folder, corpus, "key")
    runs.check_data(folder, corpus[:1], "other key")  # nothing was trained yet
    (folder / "seed-0").mkdir()
    runs.check_data(folder, corpus[:1], "other key")
    for utterances, key in ((corpus, "other key"), (corpus[:1], "key")):
        with pytest.raises(ConflictError, match="audio has changed .*--max-bad; use another"):
            runs.check_data(folder, utterances, key)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a file", b"no archive"])
def test_damaged_arrays_are_as_good_as_none(tmp_path, content):
    path = tmp_path / "a.npz"
    assert runs.read_arrays_if_whole(path) is None
    runs.write_arrays(path, x=np.arange(3))
    assert runs.read_arrays_if_whole(path)["x"].tolist() == [0, 1, 2]
    path.write_bytes(content)
    assert runs.read_arrays_if_whole(path) is None


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert conflict(tmp_path) == (
        f"{tmp_path} holds other files; give --workdir an empty or new folder"
    )
    assert names(tmp_path) == ["thesis.tex"]


def test_an_empty_folder_is_taken(tmp_path):
    open_and_close(tmp_path)
    assert (tmp_path / "hparams.json").exists()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    assert f"cannot write to {tmp_path / 'file' / 'run'}" in conflict(tmp_path / "file" / "run")
    assert f"cannot write to {tmp_path / 'file'}" in conflict(tmp_path / "file")


def test_one_process_at_a_time(folder):
    program = """
import sys
from pathlib import Path
from tfser import runs
with runs.opened(Path(sys.argv[1]), {"a": 1}, (0,)):
    print("open", flush=True)
    sys.stdin.readline()
"""
    other = subprocess.Popen(
        [sys.executable, "-c", program, folder],
        cwd=Path(__file__).resolve().parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout.readline() == "open\n"
        log = (folder / "log.txt").stat()
        message = conflict(folder, {"a": 1})
        assert message == f"{folder} is in use by another process; wait for it, or use --workdir"
        assert (folder / "log.txt").stat() == log
    finally:
        other.kill()  # the lock goes with the process
        other.communicate()
    open_and_close(folder, {"a": 1})


def test_the_lock_is_released(folder):
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error), runs.opened(folder, SETTINGS, (0,)):
            raise error
    open_and_close(folder)


def test_each_process_adds_to_the_environment(folder, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/tfser-train", "--model", "epr"])
    open_and_close(folder, seeds=(0, 1))
    with pytest.raises(RuntimeError), runs.opened(folder, SETTINGS, (2,)):
        raise RuntimeError
    first, second = runs.read_json(folder / "environment.json")["processes"]
    assert (first["seeds"], second["seeds"]) == ([0, 1], [2])
    for process in (first, second):
        assert process["command"] == "tfser-train --model epr"
        assert process["python"].startswith("3.")
        assert process["versions"]["numpy"] == np.__version__ and "keras" in process["versions"]
        assert 0 <= process["wall_seconds"] < 60 and process["peak_memory_mib"] > 10
        assert process["device"]


def test_a_full_disk_at_the_end_does_not_hide_the_result(folder, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ZeroDivisionError), runs.opened(folder, SETTINGS, (0,)):
        monkeypatch.setattr(runs, "write_bytes", full)
        raise ZeroDivisionError
    assert not (folder / "environment.json").exists()


def test_log(folder):
    log = logging.getLogger("tfser")
    handlers = list(log.handlers)
    level = log.level
    log.setLevel(logging.INFO)
    try:
        with runs.opened(folder, SETTINGS, (0,)):
            log.info("first")
        log.info("outside")
        with runs.opened(folder, SETTINGS, (0,)):
            log.warning("second")
    finally:
        log.setLevel(level)
    lines = (folder / "log.txt").read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["INFO first", "WARNING second"]
    assert log.handlers == handlers


def test_fingerprint(tmp_path):
    for name, content in (("a", b"1234"), ("b", b"56")):
        (tmp_path / name).write_bytes(content)
    corpus = [Utterance(tmp_path / n, name=n, speaker="s", emotion="anger") for n in "ab"]
    before = runs.fingerprint(corpus)
    assert runs.fingerprint(list(corpus)) == before
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (moved / "a").write_bytes(b"1234")
    (moved / "b").write_bytes(b"56")
    # Where a corpus lies does not matter; whom it holds, their labels and their order do.
    assert (
        runs.fingerprint([Utterance(moved / n, name=n, speaker="s", emotion="anger") for n in "ab"])
        == before
    )
    changes = [
        corpus[:1],
        corpus[::-1],
        [corpus[0], Utterance(tmp_path / "b", name="b", speaker="s", emotion="fear")],
        [corpus[0], Utterance(tmp_path / "b", name="b", speaker="t", emotion="anger")],
    ]
    assert len({before, *map(runs.fingerprint, changes)}) == 5
