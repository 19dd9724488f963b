"""kill -9 at random moments: the same command again ends in the bytes of an uninterrupted one."""

import contextlib
import functools
import json
import random
import re
import shutil
import subprocess
import time
import zipfile

import pytest
from forked import Process, end

SETTINGS = {  # networks that train in seconds
    "epr": "model.width_multiplier=0.02 refinery.rounds=2 train.max_epochs=2 "
    "forest.n_estimators=3 segments.hop_seconds=0.05",
    "acnn": "input.seconds=1.0 model.pool_steps=5 model.n_filters=4 train.max_epochs=2 "
    "autoencoder.corpus=tested autoencoder.units=4 autoencoder.n_layers=1 autoencoder.max_epochs=1",
    "svm": "",
}
KILLS = {  # 200 in all
    ("extract", "epr"): 30, ("extract", "acnn"): 20, ("extract", "svm"): 20,
    ("train", "epr"): 30, ("train", "acnn"): 25, ("train", "svm"): 25,
    ("search", "epr"): 10, ("search", "acnn"): 5, ("search", "svm"): 15,
    ("export", "epr"): 10, ("export", "acnn"): 5, ("export", "svm"): 5,
}  # fmt: skip
TIMED = {"log.txt", "environment.json", "fingerprint.pb"}  # they hold times, or random numbers


def flags(command, model, before):
    """Return the command's arguments, whose files are in the folder it runs in."""
    if command == "export":
        return ["--run", "run", "--out", "out", "--data-root", before / "corpus" / "corpus.csv"]
    sets = [word for setting in SETTINGS[model].split() for word in ("--set", setting)]
    words = ["--model", model, "--corpus", before / "corpus" / "corpus.csv", "--cache", "cache"]
    if command != "extract":
        words += ["--protocol", "loso", "--workdir", "run" if command == "train" else "search"]
    if command == "search":
        words += ["--evals", "2"]
    return [*words, *sets]


def start(command, model, before, folder):
    return Process(["-m", f"tfser.cli.{command}", *flags(command, model, before)], cwd=folder)


def contents(folder):
    """Return {name: what must be equal} of all files but event files, logs and times."""
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if not path.is_file() or path.name in TIMED or "/events/" in f"/{name}":
            continue
        if path.suffix == ".keras":  # a zip file, whose entries hold times
            with zipfile.ZipFile(path) as archive:
                found[name] = {  # without the addresses in memory of shared layers
                    n: re.sub(rb'"shared_object_id": \d+', b"", archive.read(n))
                    for n in archive.namelist()
                    if n != "metadata.json"
                }
        elif path.name == "data.json":  # its "encoder" is the hash of such a zip file
            found[name] = {**json.loads(path.read_text()), "encoder": None}
        elif path.name == "fold.json":  # a hash of data.json
            found[name] = None
        elif path.name == "trials.jsonl":
            trials = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = [{k: v for k, v in trial.items() if k != "seconds"} for trial in trials]
        else:
            found[name] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def prepared(before, tmp_path_factory):
    """Return a function (command, model) -> the folder a command starts in."""

    @functools.cache
    def prepare(command, model):
        folder = tmp_path_factory.mktemp(f"{command}-{model}")
        earlier = {"extract": [], "train": ["extract"], "search": ["extract"],
                   "export": ["extract", "train"]}[command]  # fmt: skip
        for name in earlier:
            answer = end(start(name, model, before, folder))
            assert answer.code == 0, answer.err
        return folder

    return prepare


@pytest.mark.slow
@pytest.mark.parametrize(("command", "model"), KILLS)
def test_killed_at_random(command, model, before, prepared, tmp_path):
    """Many chains: a command is killed and started again until it ends by itself."""
    draw = random.Random(f"{command} {model}")
    expected, started = tmp_path / "expected", time.monotonic()
    shutil.copytree(prepared(command, model), expected)
    answer = end(start(command, model, before, expected))
    seconds = time.monotonic() - started
    assert answer.code == 0, answer.err
    kills, chain = 0, 0
    while kills < KILLS[command, model]:
        chain += 1
        folder = tmp_path / f"chain-{chain}"
        shutil.copytree(prepared(command, model), folder)
        moments = []
        while kills < KILLS[command, model]:
            process, moment = start(command, model, before, folder), draw.uniform(0, seconds)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(moment)
                break
            process.kill()
            process.wait()
            moments.append(round(moment, 2))
            kills += 1
        answer = end(start(command, model, before, folder))
        done = command == "export" and "exists" in answer.err
        assert answer.code == 0 or done, (moments, answer.err)
        found, wanted = contents(folder), contents(expected)
        assert found.keys() == wanted.keys(), moments
        assert not [name for name in wanted if found[name] != wanted[name]], moments
        shutil.rmtree(folder)
    print(f"{kills} kills, {chain} chains of {seconds:.1f} s")
