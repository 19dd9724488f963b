"""--spark, with Spark on this machine: the results of a run without it, whatever is killed."""

import contextlib
import json
import operator
import os
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from forked import Process, end
from running import REPOSITORY, called, ended, needs_java, run_training_here, started
from spark_daemon import light_java

from tfser import errors
from tfser.cli import base, one_search, search, spark_jobs, train
from tfser.cli.options import Options, format_flags
from tfser.distributed import spark_session, subprocesses
from tfser.search import trials as search_trials
from tfser.search.sampler import Sampler
from tfser.storage import atomic_files

SMALL = ["--model", "aae", "--corpus", "toy", "--protocol", "loso", "--folds", "3",
         "--set", "model.system=baseline", "--set", "model.units=16",
         "--set", "train.max_epochs=30"]  # fmt: skip


def wait_for(condition, process=None, seconds=300):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def processes():
    """All that run: (number, parent's number, words of the command)."""
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            yield int(path.name), parent, words


def at_work(folder) -> dict[str, tuple[int, int]]:
    """The trainings in folders of this one: {name: (process, its parent)}."""
    return {
        Path(words[-2]).name: (number, parent)
        for number, parent, words in processes()
        if "tfser.cli.train" in words and Path(words[-2]).parent == folder
    }


def java_of(process) -> int:
    """Spark's own process."""
    [number] = [
        n for n, parent, words in processes() if parent == process.pid and "java" in words[0]
    ]
    return number


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """One cache of features for all runs."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFSER_CACHE", str(folder))
        with light_java():
            yield folder


# What is refused at once.


@pytest.mark.parametrize("main", [train.main, search.main])
@pytest.mark.parametrize(
    "master, message",
    [
        ("loacl[2]", "--spark loacl[2] is no master (did you mean 'local[2]'?)"),
        ("local[0]", "--spark local[0] is no master"),
        ("local[-1]", "--spark local[-1] is no master"),
        ("local[two]", "--spark local[two] is no master"),
        ("", "--spark  is no master"),
        ("host:7077", "--spark host:7077 is no master"),
        ("spark://host", "--spark spark://host is no master"),
    ],
)
def test_what_is_no_master(main, master, message, tmp_path):
    answer = called(main, *SMALL, "--workdir", tmp_path / "x", "--spark", master)
    assert answer.code == 2 and not (tmp_path / "x").exists()
    [line] = answer.err.splitlines()
    assert line.startswith(f"error: {message}") and "such as local[2]" in line


@needs_java
@pytest.mark.parametrize(
    "master",
    [
        "local",
        "local[12]",
        "local[*]",
        "local[2,4]",
        "spark://host:7077",
        "yarn",
        "k8s://https://x",
    ],
)
def test_what_is_a_master(master, monkeypatch):
    asked = []
    answering = SimpleNamespace(close=lambda: None)
    monkeypatch.setattr(
        spark_session.socket, "create_connection", lambda place, _: asked.append(place) or answering
    )
    spark_session.check_master(master)
    assert asked == ([("host", "7077")] if master.startswith("spark:") else [])


@needs_java
def test_a_master_that_does_not_answer(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as answering:
        place = f"127.0.0.1:{answering.getsockname()[1]}"
        spark_session.check_master(f"spark://nohost.invalid:7077,{place}")  # the second is there
    for master in (f"spark://{place}", f"spark://nohost.invalid:7077,{place}"):
        begun = time.monotonic()
        answer = called(train.main, *SMALL, "--workdir", tmp_path / "x", "--spark", master)
        assert answer.code == 1 and not (tmp_path / "x").exists()
        assert answer.err.splitlines() == [
            f"error: --spark {master}: no master answers there (Connection refused); start it, or "
            "correct the address"
        ]
        assert time.monotonic() - begun < 30


ABORTED = (
    "An error occurred while calling z:org.apache.spark.api.python.PythonRDD.collectAndServe.\n"
    ": org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 0.0 "
    "failed 4 times, most recent failure: Lost task 0.3 in stage 0.0 (TID 3) (host executor 1): "
)
IN_JAVA = "\n\tat org.apache.spark.scheduler.Task.run(Task.scala:141)\n"


@pytest.mark.parametrize(
    "said",
    [
        "org.apache.spark.SparkException: Python worker exited unexpectedly (crashed)",
        "ExecutorLostFailure (executor 1 exited caused by one of the running tasks) Reason: "
        "Command exited with code 137",
        "java.net.SocketException: Connection reset",
        "java.lang.OutOfMemoryError: Java heap space",
    ],
)
def test_a_worker_that_is_lost(said):
    error = Exception(ABORTED + said + IN_JAVA)
    assert spark_session.is_worker_loss(error)
    assert (
        spark_session.failure_reason(error)
        == "the worker was lost 4 times, as where memory is used up"
    )


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            f'{ABORTED}java.io.IOException: Cannot run program "python3": error=2{IN_JAVA}',
            'java.io.IOException: Cannot run program "python3": error=2',
        ),
        (
            f"{ABORTED}org.apache.spark.api.python.PythonException: Traceback (most recent call "
            'last):\n  File "worker.py", line 1, in main\n    process()\n'
            f"OSError: Connection reset\n{IN_JAVA}",
            "OSError: Connection reset",
        ),
        ("Answer from Java side is empty", "Answer from Java side is empty"),
        ("", ""),
    ],
)
def test_a_job_that_fails_otherwise(said, reason):
    assert not spark_session.is_worker_loss(Exception(said))
    assert spark_session.failure_reason(Exception(said)) == reason


@pytest.mark.parametrize("main", [train.main, search.main])
def test_without_pyspark_or_java(main, tmp_path, monkeypatch):
    command = [*SMALL, "--workdir", tmp_path / "x", "--spark", "local[2]"]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pyspark", None)
        answer = called(main, *command)
    assert answer.code == 2
    assert answer.err == "error: --spark needs PySpark: pip install 'tfser[spark]'\n"
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    answer = called(main, *command)
    assert answer.code == 2 and "apt install openjdk-17-jre-headless" in answer.err
    assert len(answer.err.splitlines()) == 1
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    answer = called(main, *command)
    assert answer.code == 2 and "(there is none in JAVA_HOME=/nowhere)" in answer.err
    assert not (tmp_path / "x").exists()


def test_spark_is_no_setting_of_a_run_or_a_trial():
    args = base.parse(search.parser(), [*SMALL, "--spark", "local[2]"], Options)
    plain = base.parse(search.parser(), SMALL, Options)
    assert args.spark == "local[2]" and plain.spark is None
    assert format_flags(args, {}) == format_flags(plain, {})
    assert train.prepare_task(args).settings == train.prepare_task(plain).settings


# Who knew what.


SPACE = {"svm.c": ["loguniform", 1e-4, 1e4], "svm.kind": ["choice", "a", "b"]}


def rows_of(afters, algorithm="tpe"):
    """The trials of a search whose proposals followed on `afters`, all but the last ended."""
    proposals, rows = Sampler(SPACE, algorithm, 0), []
    for n, after in enumerate(afters):
        scores = {k: rows[k]["score"] for k in after}
        parameters = proposals.propose(scores)
        row = {"trial": n, "parameters": parameters}
        row |= {"after": list(after)} if len(after) < n else {}
        rows.append(row | {"status": "ok", "score": ((n * 7) % 10) / 10, "measure": "UAR",
                           "seconds": 1.0, "reason": ""})  # fmt: skip
    rows[-1] = {k: rows[-1][k] for k in ("trial", "parameters", "after", "status") if k in rows[-1]}
    return [*rows[:-1], rows[-1] | {"status": "begun"}]


@pytest.fixture
def resumed(tmp_path, monkeypatch):
    """Continues a search with trials that are there; returns what `run_trials` does."""
    monkeypatch.setattr(one_search, "write_best", lambda *_: None)
    monkeypatch.setattr(one_search, "write_event", lambda *_: None)

    def run_trial(flags, trials, n, parameters, folder, *, stop_hopeless):
        return {"status": "ok", "score": ((n * 7) % 10) / 10, "measure": "UAR", "seconds": 1.0,
                "reason": ""}  # fmt: skip

    monkeypatch.setattr(one_search, "run_trial", run_trial)

    def run(rows, n_evals):
        search_trials.write_trials(tmp_path / "trials.jsonl", rows)
        options = Options(model="aae", corpus="toy", evals=n_evals)
        return one_search.run_trials(options, SPACE, tmp_path)

    return run


# As two at a time would come in; the first five of TPE are at random.
AFTERS = [[], [], [0], [0, 1], [0, 1, 3], [0, 1, 2, 3], [0, 1, 2, 3, 4], range(7), range(7)]


def test_a_parallel_search_is_continued_serially_as_it_was_proposed(resumed):
    rows = rows_of(AFTERS)
    assert rows[6]["parameters"] != rows_of(map(range, range(9)))[6]["parameters"]
    found = resumed(rows, 11)
    assert [row["parameters"] for row in found[:9]] == [row["parameters"] for row in rows]
    assert found[:8] == rows[:8] and found[8]["after"] == list(range(7))
    assert found[8]["status"] == "ok" and [t["trial"] for t in found] == list(range(11))
    expected = rows_of([*AFTERS, range(9), range(10), range(11)])
    assert found[9:] == expected[9:11] and "after" not in found[9]


def test_what_was_known_is_part_of_what_was_proposed(resumed):
    rows = rows_of(AFTERS)
    rows[6]["after"] = [0, 1, 2, 3, 5]
    with pytest.raises(errors.ConflictError, match="trial 6 .* is not what Hyperopt proposes"):
        resumed(rows, 9)


def test_trials_that_are_begun_are_not_counted(resumed):
    rows = rows_of(AFTERS[:4])
    assert [row["status"] for row in rows] == ["ok", "ok", "ok", "begun"]
    assert [trial["trial"] for trial in resumed(rows, 3)] == [0, 1, 2]


# Trials.


@pytest.fixture(scope="module")
def overlay(tmp_path_factory):
    path = tmp_path_factory.mktemp("space") / "space.toml"
    path.write_text('[search]\n"train.learning_rate" = ["loguniform", 1e-4, 1e-2]\n')
    return path


def searching(folder, overlay, *arguments):
    command = [*SMALL, "--hparams", overlay, "--algorithm", "random", "--evals", 3]
    return started("search", *command, "--workdir", folder, *arguments)


def trials_of(folder):
    lines = (folder / "trials.jsonl").read_text().splitlines()
    hidden = ("seconds", "after")
    return [{k: v for k, v in json.loads(x).items() if k not in hidden} for x in lines]


def results_of(answer):
    """What a command prints, but for its folder."""
    assert answer.code == 0, answer.err
    return [line for line in answer.out.splitlines() if "pictures" not in line]


@pytest.fixture(scope="module")
def serial_search(tmp_path_factory, overlay):
    folder = tmp_path_factory.mktemp("serial") / "search"
    return folder, ended(searching(folder, overlay))


def assert_same_search(folder, answer, serial_search):
    reference, serial = serial_search
    assert results_of(answer) == results_of(serial)
    assert trials_of(folder) == trials_of(reference)
    for path in reference.glob("trial-*/**/history.csv"):
        assert (folder / path.relative_to(reference)).read_bytes() == path.read_bytes()
    assert (folder / "best.toml").read_bytes() == (reference / "best.toml").read_bytes()


@needs_java
@pytest.mark.slow
def test_a_worker_is_killed_and_its_trial_goes_on(tmp_path, overlay, serial_search):
    folder = tmp_path / "search"
    process = searching(folder, overlay, "--spark", "local[2]")
    wait_for((folder / "trial-000/seed-0/fold-00/state.npz").exists, process)
    child, worker = at_work(folder)["trial-000"]
    os.kill(child, signal.SIGSTOP)  # else it may be through before it is told
    os.kill(worker, signal.SIGKILL)
    os.kill(child, signal.SIGCONT)
    answer = ended(process)
    assert_same_search(folder, answer, serial_search)
    lines = answer.err.splitlines()
    assert all(line.startswith(("trial ", "the best setting is trained")) for line in lines), lines
    rows = search_trials.read_trials(folder / "trials.jsonl")
    assert "after" not in rows[0] and rows[1]["after"] == []
    assert rows[2].get("after", [0, 1]) in ([0], [1], [0, 1])
    assert len(atomic_files.read_json(folder / "trial-000" / "environment.json")["processes"]) == 2
    files = sorted((folder / "trial-000/events/seed-0/fold-00").iterdir(), key=os.path.getmtime)
    first, second = map(epochs_in, files)
    assert first == list(range(1, len(first) + 1)) and len(first) < 30
    # From its last state, which is written before the epoch is told.
    assert 1 < second[0] <= len(first) + 2 and second == list(range(second[0], 31))


def epochs_in(file) -> list[int]:
    """The epochs that a process has told TensorBoard of."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(file), {"tensors": 0}).Reload()
    known = "dev_uar" in events.Tags()["tensors"]
    return [event.step for event in events.Tensors("dev_uar")] if known else []


@needs_java
@pytest.mark.slow
def test_a_search_is_interrupted_and_killed_and_continued(tmp_path, overlay, serial_search):
    """By SIGINT, by kill -9, and then without Spark."""
    folder = tmp_path / "search"
    process = searching(folder, overlay, "--spark", "local[4]")
    wait_for(lambda: len(at_work(folder)) == 3, process)
    java = java_of(process)
    process.send_signal(signal.SIGINT)
    answer = ended(process)
    assert answer.code == 130 and not answer.out
    lines = answer.err.splitlines()
    assert "--spark local[4]: 3 at a time instead of 4 (trials: 3)" in lines
    assert lines[-1] == "error: interrupted; what is finished is kept, the same command continues"
    assert "Traceback" not in answer.err
    wait_for(lambda: not at_work(folder), seconds=20)
    wait_for(lambda: java not in [n for n, _, _ in processes()], seconds=20)
    begun = search_trials.read_trials(folder / "trials.jsonl")
    assert [row["status"] for row in begun] == ["begun"] * 3

    process = searching(folder, overlay, "--spark", "local[2]")
    wait_for(lambda: set(at_work(folder)) == {"trial-000", "trial-001"}, process)
    process.kill()
    assert ended(process).code == -signal.SIGKILL
    wait_for(lambda: not at_work(folder), seconds=60)
    assert_same_search(folder, ended(searching(folder, overlay)), serial_search)
    assert [row["parameters"] for row in begun] == [t["parameters"] for t in trials_of(folder)]


# Folds.


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A table of three speakers, 12 recordings in all."""
    folder, rows = tmp_path_factory.mktemp("corpus"), ["file,speaker,emotion"]
    rng = np.random.default_rng(0)
    for speaker in "abc":
        for emotion in ("anger", "sadness"):
            for take in range(2):
                name = f"{speaker}-{emotion}-{take}.wav"
                soundfile.write(folder / name, rng.normal(0, 0.1, 4000), 16000)
                rows.append(f"{name},{speaker},{emotion}")
    (folder / "noise.csv").write_text("\n".join(rows) + "\n")
    return folder / "noise.csv"


def command_of(model, corpus):
    """One network or SVM for each speaker."""
    command = ["--model", model, "--corpus", corpus, "--protocol", "loso"]
    if model == "aae":
        command += [*SMALL[6:10], "--set", "train.max_epochs=30"]
    return command


def assert_same_run(folder, answer, serial_run):
    reference, serial = serial_run
    assert results_of(answer) == results_of(serial)
    for name in ("scores.json", "predictions.csv", "splits.csv", "data.json"):
        assert (folder / name).read_bytes() == (reference / name).read_bytes(), name
    for path in reference.rglob("history.csv"):
        assert (folder / path.relative_to(reference)).read_bytes() == path.read_bytes()


class InThisProcess:
    """run_training for what all folds share; the tasks of Spark start a process, as always."""

    def __call__(self, words, folder):
        return run_training_here(words, folder)

    def __reduce__(self):
        return operator.attrgetter("run_training"), (subprocesses,)


SHARED_STEPS_HERE = f"""
import sys
sys.path += {[str(REPOSITORY / "tests"), str(Path(__file__).parent)]}
from test_spark_jobs import InThisProcess, spark_jobs, train
spark_jobs.run_training = InThisProcess()
sys.exit(train.main(sys.argv[1:]))
"""


@needs_java
@pytest.mark.parametrize("model", ["svm", pytest.param("aae", marks=pytest.mark.slow)])
def test_folds_are_trained_by_spark(model, corpus, tmp_path, monkeypatch):
    """A fold that fails; then killed in the middle; the scores are those of a run without Spark."""
    reference, folder = tmp_path / "reference", tmp_path / "run"
    flags = command_of(model, corpus)
    serial = called(train.main, *flags, "--workdir", reference)
    folder.mkdir()
    for name in ("hparams.json", "data.json", "splits.csv"):
        shutil.copy(reference / name, folder)
    done, of_last = (folder / "tasks" / f"seed-0-fold-0{fold}" / "done" for fold in (0, 2))
    assert called(train.main, *flags, "--part", "0/0", "--workdir", done.parent).code == 0
    of_last.parent.mkdir()
    for path in (done, of_last, folder / ".lock"):  # fold 0 by a command before
        path.touch()

    command = [*flags, "--workdir", folder, "--spark", "local[4]"]
    place = folder / "seed-0" / "fold-01"
    place.touch()
    monkeypatch.setattr(spark_jobs, "run_training", InThisProcess())
    answer = called(train.main, *command)
    assert answer.code == 1 and "Traceback" not in answer.err
    assert answer.err.splitlines()[-1].startswith("error: ") and "fold-01" in answer.err
    assert "--spark local[4]: 1 at a time instead of 4 (folds: 1)" in answer.err
    place.unlink()
    of_last.unlink()

    process = Process(["-c", SHARED_STEPS_HERE, *command])
    wait_for(lambda: at_work(folder / "tasks").keys() & {"seed-0-fold-01"}, process)
    if model == "aae":
        wait_for(lambda: list(place.glob("state.npz")), process)
    process.kill()
    assert end(process).code == -signal.SIGKILL
    wait_for(lambda: not at_work(folder / "tasks"), seconds=60)
    assert not (folder / "scores.json").exists()

    answer = called(train.main, *command)
    assert_same_run(folder, answer, (reference, serial))
    own = {path.parent.name for path in folder.glob("tasks/seed-*/done")}
    assert own == {f"seed-0-fold-0{fold}" for fold in range(3)}
    [last] = atomic_files.read_json(folder / "tasks/seed-0-fold-02/environment.json")["processes"][
        -1:
    ]
    assert "--part 0/2" in last["command"]


def test_what_is_wrong_with_a_corpus_is_said_as_without_spark(corpus, tmp_path):
    command = [*map(str, command_of("svm", corpus)), "--set", 'labels.keep=["anger"]', "--workdir"]
    plain = called(train.main, *command, tmp_path / "plain")
    args = train.parser().parse_args([*command, str(tmp_path / "run"), "--spark", "local[2]"])
    (tmp_path / "run").mkdir()
    with pytest.raises(errors.DataError) as caught:
        spark_jobs.train_folds(args, tmp_path / "run")
    assert plain.code == caught.value.exit_code == 3
    assert plain.err.splitlines()[-1] == f"error: {caught.value}"


@pytest.mark.parametrize("model", ["svm", "aae"])
def test_the_parts_of_a_run_are_trained_alone(model, corpus, tmp_path):
    folder = tmp_path / "run"
    command = command_of(model, corpus)
    command += ["--set", "train.max_epochs=1"] if model != "svm" else []
    for part in ("none", "0/1"):
        place = folder / "tasks" / part.replace("/", "-")
        answer = called(train.main, *command, "--part", part, "--workdir", place)
        assert answer.code == 0 and not answer.out, answer.err
        trained = [] if part == "none" else ["fold-01"]
        assert [path.name for path in folder.glob("seed-0/*")] == trained
    files = {path.name for path in folder.iterdir()} - {"seed-0", "tasks", "events"}
    assert files == {"splits.csv", "data.json"}


def test_workers_of_a_cluster_are_waited_for(monkeypatch):
    cores, now = iter([2, 2, 8, 8, 16, *[16] * 99]), [0.0]
    monkeypatch.setattr(spark_session.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(spark_session.time, "sleep", lambda s: now.__setitem__(0, now[0] + 4))

    class Context:
        @property
        def defaultParallelism(self):
            return next(cores)

    assert spark_session._count_slots(Context(), wait=True) == 16
    assert spark_session._count_slots(SimpleNamespace(defaultParallelism=2), wait=False) == 2
