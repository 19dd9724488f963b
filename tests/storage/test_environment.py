"""environment.json: the command, versions, commit and machine of each process of a run."""

import contextlib
import platform
import re
import resource
import shutil
import subprocess
import sys
import time
from datetime import datetime
from importlib import metadata
from types import SimpleNamespace

import pytest

from tfser.storage import atomic_files, environment


@pytest.mark.parametrize(
    "arguments, command",
    [
        (["/usr/bin/tfser-train", "--model", "epr"], "tfser-train --model epr"),
        (["/src/tfser/cli/search.py", "--workdir", "a b"], "tfser-search --workdir 'a b'"),
    ],
)
def test_a_process_by_its_command_and_versions(tmp_path, monkeypatch, arguments, command):
    monkeypatch.setattr(sys, "argv", arguments)
    environment.record_process(tmp_path, (0,))()
    [process] = atomic_files.read_json(tmp_path / "environment.json")["processes"]
    assert process["command"] == command and process["python"] == platform.python_version()
    packages = (
        "tfser tensorflow tensorflow-cpu keras numpy scikit-learn librosa opensmile hyperopt "
        "soundfile soxr"
    )
    versions = {}
    for name in packages.split():
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    assert process["versions"] == versions
    for moment in (process["started"], process["finished"]):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", moment)
        seconds = datetime.strptime(moment, "%Y-%m-%dT%H:%M:%S%z").timestamp()
        assert abs(time.time() - seconds) < 60


def test_the_seconds_and_memory_of_a_process(tmp_path, monkeypatch):
    clock = iter([100.0, 112.34, 160.0, 161.0])
    usage = {resource.RUSAGE_SELF: SimpleNamespace(ru_maxrss=2048 * 1024 + 1023)}
    monkeypatch.setattr(environment.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(environment.resource, "getrusage", usage.get)
    monkeypatch.setattr(environment, "_device", lambda: "a device")
    monkeypatch.setattr(environment, "_git_commit", lambda: "1234567")
    for seeds in ((0, 1), (2,)):
        environment.record_process(tmp_path, seeds)()
    first, second = atomic_files.read_json(tmp_path / "environment.json")["processes"]
    assert (first["seeds"], second["seeds"]) == ([0, 1], [2])
    assert (first["wall_seconds"], second["wall_seconds"]) == (12.3, 1.0)
    for process in (first, second):
        assert process["peak_memory_mib"] == 2048
        assert (process["device"], process["git_commit"]) == ("a device", "1234567")


@pytest.mark.parametrize("n_cores, cores", [(1, "1 core"), (2, "2 cores")])
def test_a_device_without_a_gpu(monkeypatch, n_cores, cores):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0: range(n_cores)}[pid])
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    assert environment._device() == f"CPU x86_64, {cores}"
    config = SimpleNamespace(list_physical_devices=lambda kind: [])
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(config=config))
    assert environment._device() == f"CPU x86_64, {cores}"


def test_the_names_of_gpus(monkeypatch):
    details = {"gpu 0": {"device_name": "H200"}, "gpu 1": {}}
    config = SimpleNamespace(
        list_physical_devices=lambda kind: {"GPU": list(details)}[kind],
        experimental=SimpleNamespace(get_device_details=lambda gpu: details[gpu]),
    )
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(config=config))
    assert environment._device() == "H200, GPU"


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_the_commit_of_the_code(tmp_path, monkeypatch):
    source = tmp_path / "tfser" / "storage" / "environment.py"
    monkeypatch.setattr(environment, "__file__", str(source))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment._git_commit() is None  # installed
    (tmp_path / ".git").mkdir()
    assert environment._git_commit() is None  # no repository

    def git(*arguments):
        command = ["git", "-c", "user.name=n", "-c", "user.email=e", "-C", tmp_path, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    git("init")
    (tmp_path / "code.py").write_text("first")
    git("add", "code.py")
    git("commit", "-m", "first")
    (tmp_path / "notes").write_text("in no commit")
    commit = git("rev-parse", "HEAD").strip()
    short = environment._git_commit()
    assert 4 <= len(short) < len(commit) and commit.startswith(short)
    (tmp_path / "code.py").write_text("second")
    assert environment._git_commit() == f"{short}+changes"
    monkeypatch.setenv("PATH", "")
    assert environment._git_commit() is None  # git is not installed
