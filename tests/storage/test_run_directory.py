"""The run directory: one process at a time, one set of settings."""

import concurrent.futures
import dataclasses
import errno
import fcntl
import hashlib
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tfser.config.hparams import load_hparams
from tfser.corpora.utterance import Utterance
from tfser.errors import ConflictError, DataError
from tfser.storage import atomic_files, environment, fold_files, run_directory

SETTINGS = {"model": "epr", "folds": None, "hparams": {"train": {"epochs": 5, "names": ("a",)}}}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs" / "run"


def open_and_close(folder, settings=SETTINGS, seeds=(0,)):
    with run_directory.open_run(folder, settings, seeds):
        pass


def conflict(folder, settings=SETTINGS) -> str:
    with pytest.raises(ConflictError) as caught:
        open_and_close(folder, settings)
    assert caught.value.exit_code == 4
    return str(caught.value)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_same_settings_open_again(folder):
    open_and_close(folder)
    (folder / "result").write_text("kept")
    open_and_close(folder)
    assert (folder / "result").read_text() == "kept"
    written = atomic_files.read_json(folder / "hparams.json")
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
    assert len(atomic_files.read_json(folder / "environment.json")["processes"]) == 1


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


@pytest.mark.parametrize("model", ["auxvae", "began"])
def test_a_run_that_recorded_the_rounding_of_labels_resumes(folder, model):
    hparams = load_hparams(model, "emodb")
    assert "rounding" not in hparams["labels"]
    recorded = hparams | {"labels": hparams["labels"] | {"rounding": "between"}}
    open_and_close(folder, {"hparams": recorded})
    (folder / "seed-0").mkdir()
    open_and_close(folder, {"hparams": hparams})
    assert run_directory.flatten_settings({"hparams": hparams}) == run_directory.flatten_settings(
        {"hparams": recorded}
    )


@pytest.mark.parametrize(
    "model, section", [("acnn", "autoencoder"), ("auxvae", "vae"), ("began", "began")]
)
@pytest.mark.parametrize("corpus", ["tested", "librispeech"])
def test_a_run_without_a_group_trained_on_all_of_librispeech(folder, model, section, corpus):
    hparams = load_hparams(model, "emodb", overrides=[f"{section}.corpus={corpus}"])
    assert hparams[section]["group"] == "train-clean-100"
    older = hparams | {section: {k: v for k, v in hparams[section].items() if k != "group"}}
    open_and_close(folder, {"hparams": older})
    (folder / "seed-0").mkdir()
    everything = hparams | {section: hparams[section] | {"group": ""}}
    open_and_close(folder, {"hparams": everything})
    if corpus == "tested":  # has no such group
        open_and_close(folder, {"hparams": hparams})
    else:
        text = f"(hparams.{section}.group:  -> train-clean-100)"
        assert text in conflict(folder, {"hparams": hparams})


def test_an_older_run_of_acnn_had_other_defaults(folder):
    hparams = load_hparams("acnn", "emodb")
    older = json.loads(json.dumps(hparams))
    for section, key in (("features", "normalize"), ("protocol", "dev"),
                         ("model", "standardizes_representation")):  # fmt: skip
        del older[section][key]
    del older["plots"]
    open_and_close(folder, {"hparams": older})
    (folder / "seed-0").mkdir()
    assert conflict(folder, {"hparams": hparams}).count(" -> ") == 2
    hparams["protocol"]["dev"] = "utterances"
    hparams["model"]["standardizes_representation"] = False
    open_and_close(folder, {"hparams": hparams})


def earlier_aae(**sections) -> dict:
    """The settings of a run of the AAE from before each change of section 5.2 had a setting."""
    new = load_hparams("aae", "emodb")
    hp = {name: new[name] for name in new if name not in ("baseline", "vanilla", "optimized")}
    del hp["optimizer"]
    hp = json.loads(json.dumps(hp))
    del hp["frames"]["masked"], hp["train"]["unlabelled_corpus"], hp["train"]["unlabelled_group"]
    hp["train"]["discriminator_ratio"], hp["labels"]["rounding"] = 0.1, "between"
    for section, values in sections.items():
        hp[section] |= values
    return {"model": "aae", "hparams": hp}


def current_aae(*overrides) -> dict:
    overrides = ["optimizer.schedule_decay=1", "frames.masked=false", *overrides]
    return {"model": "aae", "hparams": load_hparams("aae", "emodb", overrides=overrides)}


@pytest.mark.parametrize(
    "before, now",
    [
        ({}, []),
        ({"model": {"system": "vanilla"}}, ["model.system=vanilla"]),
        # The discriminators of the vanilla AAE had the generator's rate, whatever the ratio.
        (
            {"model": {"system": "vanilla"}, "train": {"discriminator_ratio": 0.5}},
            ["model.system=vanilla", "vanilla.discriminator_ratio=1"],
        ),
        ({"train": {"discriminator_ratio": 0.5}}, ["optimized.discriminator_ratio=0.5"]),
        (
            {"model": {"dropout": 0.25}},
            ["model.dropout=0.25", "optimized.discriminator_dropout=0.25"],
        ),
        ({"model": {"system": "baseline", "level": "frame"}},
         ["model.system=baseline", "model.level=frame", "frames.masked=true"]),
        ({"labels": {"target": "valence"}},
         ["labels.target=valence", "labels.rounding=between"]),
        ({"labels": {"target": "valence", "rounding": "nearest"}},
         ["labels.target=valence", "labels.rounding=ties-to-neutral"]),
    ],
)  # fmt: skip
def test_an_earlier_run_of_the_aae_resumes(folder, before, now):
    open_and_close(folder, earlier_aae(**before))
    (folder / "seed-0").mkdir()
    open_and_close(folder, current_aae(*now))


@pytest.mark.parametrize(
    "before, now, changed",
    [
        ({}, ["optimizer.schedule_decay=0.004"], "optimizer.schedule_decay: 1.0 -> 0.004"),
        ({}, ["optimized.batch_norm=false"], "optimized.batch_norm: True -> False"),
        ({"model": {"system": "vanilla"}},
         ["model.system=vanilla", "vanilla.discriminator_ratio=0.1"],
         "vanilla.discriminator_ratio: 1.0 -> 0.1"),
        ({"model": {"level": "frame"}}, ["model.level=frame", "frames.masked=true"],
         "frames.masked: False -> True"),
        ({"labels": {"target": "valence"}}, ["labels.target=valence"],
         "labels.rounding: between -> ties-to-neutral"),
        ({"train": {"labelled_fraction": 0.5}}, ["train.labelled_fraction=0.5"],
         "batches of phase 3: those of phases 1 and 2, some without a label -> None"),
    ],
)  # fmt: skip
def test_another_run_of_the_aae_does_not(folder, before, now, changed):
    open_and_close(folder, earlier_aae(**before))
    (folder / "seed-0").mkdir()
    assert changed in conflict(folder, current_aae(*now))


def test_a_search_of_the_aae_has_all_its_settings(folder):
    search = {"algorithm": "tpe", "search": {"model.system": ["choice", "vanilla", "optimized"]}}
    open_and_close(folder, current_aae() | search)
    (folder / "trial-000").mkdir()
    other = current_aae("vanilla.discriminator_ratio=0.5") | search
    assert "vanilla.discriminator_ratio: 1.0 -> 0.5" in conflict(folder, other)


def test_settings_may_change_until_training_has_begun(folder):
    open_and_close(folder, {"a": 1})
    open_and_close(folder, {"a": 2})
    assert atomic_files.read_json(folder / "hparams.json") == {"a": 2}


def test_an_error_is_in_the_log(folder):
    with pytest.raises(DataError), run_directory.open_run(folder, SETTINGS, (0,)):
        raise DataError("no wavs")
    assert (folder / "log.txt").read_text().endswith("ERROR DataError: no wavs\n")


def test_what_a_killed_process_left_is_swept(folder):
    open_and_close(folder)
    atomic_files.write_bytes(folder / "seed" / ".123-0a1b2c3d.state.npz", b"half")
    with (
        pytest.raises(KeyboardInterrupt),
        atomic_files.replace_file(folder / "seed" / "it") as path,
    ):
        path.with_name(path.name + "2").write_bytes(b"half")  # as a library beside its file
        raise KeyboardInterrupt
    own = [".1password.txt", ".2024.plan.md", ".2024-01-31.txt", ".123-0a1b2c3.npz", "state.npz"]
    for name in own:
        atomic_files.write_bytes(folder / "seed" / name, b"whole")
    (folder / "seed" / ".123-0a1b2c3d.folder").mkdir()
    (folder / "seed" / ".123-0a1b2c3d.link").symlink_to(folder / "seed" / "state.npz")
    open_and_close(folder)
    kept = [*own, ".123-0a1b2c3d.folder", ".123-0a1b2c3d.link"]
    assert names(folder / "seed") == sorted(kept)


@pytest.mark.parametrize("results", ["seed-0", "trial-000", "scores.json", "predictions.csv"])
def test_results_without_settings_are_nobodys(folder, results):
    open_and_close(folder)
    (folder / results).mkdir()
    (folder / "hparams.json").unlink()
    assert conflict(folder) == (
        f"{folder} has results without hparams.json, which says what they are of; copy the file "
        "back, or use another --workdir"
    )
    assert not (folder / "hparams.json").exists()


@pytest.mark.parametrize("check, name", [
    (lambda folder: run_directory.check_data(folder, [], "key"), "data.json"),
    (lambda folder: run_directory.check_splits(folder, []), "splits.csv"),
])  # fmt: skip
def test_results_need_their_data_and_their_splits(folder, check, name):
    folder.mkdir(parents=True)
    check(folder)
    (folder / name).unlink(missing_ok=True)
    (folder / "seed-0").mkdir()
    with pytest.raises(ConflictError, match=f"has results without {name}"):
        check(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b"9" * 5_000, b"3"])
def test_damaged_files_are_named(folder, content):
    open_and_close(folder)
    (folder / "seed-0").mkdir()
    calls = {
        "hparams.json": lambda: open_and_close(folder),
        "environment.json": lambda: open_and_close(folder),
        "data.json": lambda: run_directory.check_data(folder, [], "key"),
        "splits.csv": lambda: run_directory.check_splits(folder, []),
    }
    for name, call in calls.items():
        before = (folder / name).read_bytes() if (folder / name).exists() else None
        (folder / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name} is damaged: .*; copy the "):
            call()
        assert (folder / name).read_bytes() == content
        if before:
            (folder / name).write_bytes(before)


def test_lost_commands_are_said(folder, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("tfser"), "propagate", True)
    open_and_close(folder)
    (folder / "seed-0").mkdir()
    (folder / "environment.json").unlink()
    open_and_close(folder)
    assert "has no environment.json: its earlier commands are not known" in caplog.text


@pytest.mark.parametrize("name", [".lock", "log.txt"])
def test_the_target_of_a_link_is_not_written(folder, tmp_path, name):
    open_and_close(folder)
    (tmp_path / "thesis").write_text("years of work")
    (folder / name).unlink()
    (folder / name).symlink_to(tmp_path / "thesis")
    assert conflict(folder) == f"{folder / name} is a symbolic link; delete it"
    if name == ".lock":
        with pytest.raises(ConflictError, match="is a symbolic link"):
            run_directory.wait_until_free(folder)
    assert (tmp_path / "thesis").read_text() == "years of work"


def test_a_copy_without_the_lock_is_a_run(folder):
    open_and_close(folder)
    (folder / ".lock").unlink()  # `cp run/* copy` leaves it behind
    open_and_close(folder)


def test_the_fold_of_another_run_is_refused(folder):
    open_and_close(folder)
    fold, other = folder / "seed-0" / "fold-00", folder.with_name("other")
    fold_files.mark_fold(folder, fold)
    fold_files.mark_fold(folder, fold)
    open_and_close(other, SETTINGS | {"model": "svm"})
    shutil.copytree(folder / "seed-0", other / "seed-0")
    shutil.copytree(fold, fold.with_name("fold-01"))
    for run, number in ((other, 0), (folder, 1)):
        copied = run / "seed-0" / f"fold-0{number}"
        with pytest.raises(ConflictError, match="is of another run or fold, or"):
            fold_files.mark_fold(run, copied)
    (folder / "seed-0" / "fold-02").mkdir()  # of an earlier version
    fold_files.mark_fold(folder, folder / "seed-0" / "fold-02")
    assert not list((folder / "seed-0" / "fold-02").iterdir())
    shutil.copytree(folder, folder.with_name("moved"))
    fold_files.check_fold(folder.with_name("moved"), folder.with_name("moved") / "seed-0/fold-00")


def test_settings_that_change_begin_the_environment_anew(folder):
    for settings, n_processes in (({"a": 1}, 1), ({"a": 1}, 2), ({"a": 2}, 1)):
        open_and_close(folder, settings)
        written = atomic_files.read_json(folder / "environment.json")
        assert len(written["processes"]) == n_processes


def test_the_data_of_a_run_are_noted(folder, tmp_path):
    corpus = [Utterance(tmp_path / n, name=n, speaker="s", emotion="anger") for n in "ab"]
    folder.mkdir(parents=True)
    run_directory.check_data(folder, corpus, "key", words="digest")
    expected = {
        "features": "key", "utterances": run_directory.fingerprint(corpus), "words": "digest"
    }  # fmt: skip
    assert atomic_files.read_json(folder / "data.json") == expected
    (folder / "trial-0").mkdir()
    before = (folder / "data.json").stat()
    run_directory.check_data(folder, corpus, "key", words="digest")
    assert (folder / "data.json").stat() == before  # by several processes at once
    with pytest.raises(ConflictError) as caught:
        run_directory.check_data(folder, corpus, "other", words="digest")
    assert str(caught.value) == (
        f"the audio has changed since the run in {folder} was started, or other files are "
        "left out by --max-bad; use another --workdir, or delete it"
    )
    assert atomic_files.read_json(folder / "data.json") == expected
    with pytest.raises(ConflictError, match="^the words has changed since the run in "):
        run_directory.check_data(folder, corpus, "other", words="changed")
    with pytest.raises(ConflictError, match="^the words and pictures has changed since "):
        run_directory.check_data(folder, corpus, "key", words="changed", pictures="new")


@pytest.mark.parametrize("name, begun", [("seed-0", True), ("trial-1", True), ("seed", False)])
def test_a_run_has_results_from_its_first_seed_or_trial(tmp_path, name, begun):
    assert not run_directory.has_results(tmp_path)
    (tmp_path / name).mkdir()
    assert run_directory.has_results(tmp_path) is begun


@pytest.mark.parametrize(
    "before, now, difference",
    [
        ({"a": 1}, {"a": 1}, ""),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": 2}}, "a.b: 1 -> 3"),
        ({"b": 1}, {"a": {"x": {"y": 2}}}, "a.x.y: None -> 2, b: 1 -> None"),
        (dict.fromkeys("abcde", 1), dict.fromkeys("abcde", 2),
         "a: 1 -> 2, b: 1 -> 2, c: 1 -> 2, d: 1 -> 2, e: 1 -> 2"),
        (dict.fromkeys("abcdef", 1), dict.fromkeys("abcdef", 2),
         "a: 1 -> 2, b: 1 -> 2, c: 1 -> 2, d: 1 -> 2, e: 1 -> 2 and 1 more"),
        (dict.fromkeys("gabcdef", 1), dict.fromkeys("gabcdef", 2),
         "a: 1 -> 2, b: 1 -> 2, c: 1 -> 2, d: 1 -> 2, e: 1 -> 2 and 2 more"),
        # Settings that came after the first runs.
        ({}, {"hparams": {"train": {"precision": "float32"}}}, ""),
        ({}, {"hparams": {"train": {"precision": "mixed"}}},
         "hparams.train.precision: float32 -> mixed"),
        ({"hparams": {"audio": {"decoder": "tensorflow-io"}}}, {},
         "hparams.audio.decoder: tensorflow-io -> soundfile"),
    ],
)  # fmt: skip
def test_settings_that_differ(before, now, difference):
    assert run_directory.describe_differences(before, now) == difference


def test_a_resumed_run_has_the_same_audio(folder, tmp_path):
    corpus = [Utterance(tmp_path / n, name=n, speaker="s", emotion="anger") for n in "ab"]
    run_directory.check_data(folder, corpus, "key")
    run_directory.check_data(folder, corpus[:1], "other key")  # nothing was trained yet
    (folder / "seed-0").mkdir()
    run_directory.check_data(folder, corpus[:1], "other key")
    for utterances, key in ((corpus, "other key"), (corpus[:1], "key")):
        with pytest.raises(ConflictError, match="audio has changed .*--max-bad; use another"):
            run_directory.check_data(folder, utterances, key)


def test_a_resumed_run_has_the_folds_of_its_splits(folder):
    """Rules for folds change between versions: half of a run's folds must not be of each rule."""

    def rows(**parts):
        return [
            {"seed": seed, "fold": 0, "utterance": name, "part": part}
            for seed in (0, 1)
            for name, part in parts.items()
        ]

    folder.mkdir(parents=True)
    before = rows(a="train", b="dev", c="test", d=None)
    run_directory.check_splits(folder, before)  # there is no file
    atomic_files.write_csv(folder / "splits.csv", before)
    other = rows(a="dev", b="train", c="test", d=None)
    run_directory.check_splits(folder, other)  # nothing was trained yet
    (folder / "seed-0").mkdir()
    run_directory.check_splits(folder, before)
    run_directory.check_splits(folder, [row | {"seed": 2} for row in other])  # seeds of its own
    run_directory.check_splits(folder, before[:4] + [r | {"seed": 7} for r in other])
    for changed in (other, before[:-1], before[:4] + other[4:]):
        with pytest.raises(ConflictError) as caught:
            run_directory.check_splits(folder, changed)
        seed = 0 if changed is other else 1
        assert str(caught.value) == (
            f"{folder / 'splits.csv'} has other folds for seed {seed} than this version of tfser "
            "makes, or other files are left out by --max-bad; use another --workdir, or delete it"
        )


def test_a_resumed_run_has_its_forests_folds(folder):
    """Files of earlier versions do not have the column."""
    (folder / "seed-0").mkdir(parents=True)
    row = {"seed": 0, "fold": 0, "utterance": "a", "part": "train"}
    atomic_files.write_csv(folder / "splits.csv", [row])
    run_directory.check_splits(folder, [row | {"forest_part": "test"}])
    atomic_files.write_csv(folder / "splits.csv", [row | {"forest_part": "train"}])
    run_directory.check_splits(folder, [row | {"forest_part": "train"}])
    with pytest.raises(ConflictError, match="has other folds for seed 0"):
        run_directory.check_splits(folder, [row | {"forest_part": "test"}])


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
    for path, reason in (("file/run", "Not a directory"), ("file", "File exists")):
        assert conflict(tmp_path / path) == (
            f"cannot write to {tmp_path / path} ({reason}); use --workdir"
        )


def test_a_folder_on_a_full_disk(folder, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(OSError, match="No space left on device"):
        open_and_close(folder)


def lock(folder):
    held = open(folder / ".lock", "w")
    fcntl.flock(held, fcntl.LOCK_EX)
    return held


def wait(folder):
    run_directory.wait_until_free(folder)


def open_and_wait(folder):
    with run_directory.open_run(folder, {"a": 1}, (0,), waits=True):
        pass


@pytest.mark.parametrize("start", [wait, open_and_wait])
def test_a_folder_in_use_is_waited_for(folder, caplog, start):
    folder.mkdir(parents=True)
    with (
        caplog.at_level(logging.INFO, "tfser"),
        concurrent.futures.ThreadPoolExecutor() as pool,
        lock(folder) as held,
    ):
        waiting = pool.submit(start, folder)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.1)
        fcntl.flock(held, fcntl.LOCK_UN)
        waiting.result(timeout=30)
    [record] = caplog.records
    assert record.getMessage() == f"{folder} is in use by another process: waiting for it"


def test_a_free_folder_is_not_waited_for(folder, caplog):
    folder.mkdir(parents=True)
    with caplog.at_level(logging.INFO, "tfser"):
        run_directory.wait_until_free(folder)
        assert not names(folder)
        lock(folder).close()
        run_directory.wait_until_free(folder)
    assert not caplog.records


def test_one_process_at_a_time(folder):
    program = """
import sys
from pathlib import Path
from tfser.storage import run_directory
with run_directory.open_run(Path(sys.argv[1]), {"a": 1}, (0,)):
    print("open", flush=True)
    sys.stdin.readline()
"""
    other = subprocess.Popen(
        [sys.executable, "-c", program, folder],
        cwd=Path(__file__).resolve().parents[2],
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
        with pytest.raises(error), run_directory.open_run(folder, SETTINGS, (0,)):
            raise error
    open_and_close(folder)


def test_each_process_adds_to_the_environment(folder, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/tfser-train", "--model", "epr"])
    open_and_close(folder, seeds=(0, 1))
    with pytest.raises(RuntimeError), run_directory.open_run(folder, SETTINGS, (2,)):
        raise RuntimeError
    first, second = atomic_files.read_json(folder / "environment.json")["processes"]
    assert (first["seeds"], second["seeds"]) == ([0, 1], [2])
    for process in (first, second):
        assert process["command"] == "tfser-train --model epr"
        assert process["python"].startswith("3.")
        assert process["versions"]["numpy"] == np.__version__ and "keras" in process["versions"]
        assert 0 <= process["wall_seconds"] < 60 and process["peak_memory_mib"] > 10
        assert process["device"]


def test_the_default_cache_is_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run_directory.default_cache() == tmp_path / ".cache" / "tfser"


def test_a_full_disk_at_the_end_does_not_hide_the_result(folder, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ZeroDivisionError), run_directory.open_run(folder, SETTINGS, (0,)):
        monkeypatch.setattr(atomic_files, "write_bytes", full)
        raise ZeroDivisionError
    [process] = atomic_files.read_json(folder / "environment.json")["processes"]
    assert "finished" not in process


def test_a_process_is_noted_from_its_start_with_the_code_of_then(folder, monkeypatch):
    """What is killed has trained, too; and a commit may be made while it does."""
    monkeypatch.setattr(environment, "_git_commit", lambda: "first")
    with run_directory.open_run(folder, SETTINGS, (0,)):
        [process] = atomic_files.read_json(folder / "environment.json")["processes"]
        assert process["seeds"] == [0] and process["started"] and "device" not in process
        monkeypatch.setattr(environment, "_git_commit", lambda: "second")
    [ended] = atomic_files.read_json(folder / "environment.json")["processes"]
    assert ended["git_commit"] == "first" and ended | process == ended
    assert ended["finished"] >= ended["started"]


def test_log(folder):
    log = logging.getLogger("tfser")
    handlers = list(log.handlers)
    level = log.level
    log.setLevel(logging.INFO)
    try:
        with run_directory.open_run(folder, SETTINGS, (0,)):
            log.info("first")
        log.info("outside")
        with run_directory.open_run(folder, SETTINGS, (0,)):
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
    before = run_directory.fingerprint(corpus)
    assert run_directory.fingerprint(list(corpus)) == before
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (moved / "a").write_bytes(b"1234")
    (moved / "b").write_bytes(b"56")
    # Where a corpus lies does not matter; whom it holds, their labels and their order do.
    assert (
        run_directory.fingerprint(
            [Utterance(moved / n, name=n, speaker="s", emotion="anger") for n in "ab"]
        )
        == before
    )
    changes = [
        corpus[:1],
        corpus[::-1],
        [corpus[0], Utterance(tmp_path / "b", name="b", speaker="s", emotion="fear")],
        [corpus[0], Utterance(tmp_path / "b", name="b", speaker="t", emotion="anger")],
    ]
    assert len({before, *map(run_directory.fingerprint, changes)}) == 5


def test_a_fingerprint_is_that_of_earlier_runs(tmp_path):
    utterance = Utterance(tmp_path, name="a", speaker="s", emotion="anger", start_seconds=0.5)
    fields = (
        '{"activation": null, "dominance": null, "emotion": "anger", "end_seconds": null, '
        '"gender": null, "group": null, "name": "NAME", "session": null, "speaker": "s", '
        '"split": null, "start_seconds": 0.5, "text": null, "valence": null}'
    )
    both = fields.replace("NAME", "a") + fields.replace("NAME", "b")
    expected = hashlib.sha256(both.encode()).hexdigest()[:16]
    corpus = [utterance, dataclasses.replace(utterance, name="b")]
    assert run_directory.fingerprint(corpus) == expected


def test_arrays_of_a_fold_have_their_place(tmp_path):
    file = tmp_path / "seed-9" / "seed-0" / "fold-01" / "round-2" / "profiles.npz"
    arrays = {"x": np.arange(3)} | fold_files.stamp_place(file)
    assert str(arrays["place"]) == "seed-0/fold-01/round-2/profiles.npz"
    elsewhere = tmp_path / "moved" / "seed-0" / "fold-01" / "round-2" / "profiles.npz"
    assert list(fold_files.take_place(elsewhere, arrays)) == ["x"]
    assert fold_files.take_place(file, {"x": 1}) == {"x": 1}  # of an older run
    for other in ("fold-02/round-2", "fold-01/round-1"):
        copy = tmp_path / "seed-0" / other / "profiles.npz"
        with pytest.raises(ConflictError, match="is of another fold, seed-0/fold-01/round-2"):
            fold_files.take_place(copy, arrays)
