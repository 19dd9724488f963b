"""Several workers: they equal one process, know each other, and end together."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from forked import Process, end
from running import called

from tfser.cli import search, train
from tfser.corpora import toy
from tfser.distributed import rendezvous
from tfser.errors import DataError, TfserError, UsageError

TESTS = Path(__file__).resolve().parents[1]
PATH = os.pathsep.join(map(str, [TESTS / "models", TESTS, TESTS.parent]))
LINE_SECONDS = 240  # for a process under load; what is measured is far below


def addresses(n):
    """Ports that are free: of n sockets that are open at once."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("", 0))) for _ in range(n)]
        return [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]


def tf_config(places, index, kind="worker"):
    return json.dumps({"cluster": {"worker": places}, "task": {"type": kind, "index": index}})


@contextlib.contextmanager
def started(commands, tmp_path, n=2):
    """Processes, each with its TF_CONFIG; killed at the end, whatever happens."""
    places, processes = addresses(n), []
    (tmp_path / "tmp").mkdir(exist_ok=True)
    path = os.pathsep.join([PATH, os.environ.get("PYTHONPATH", "")])
    try:
        for index, command in enumerate(commands):
            environment = os.environ | {
                "TF_CONFIG": tf_config(places, index), "PYTHONPATH": path,
                "CUDA_VISIBLE_DEVICES": "-1", "TMPDIR": str(tmp_path / "tmp"),
            }  # fmt: skip
            processes.append(Process(command, env=environment, cwd=tmp_path))
        yield processes, places
    finally:
        for process in processes:
            process.kill()


# What TF_CONFIG says.


def test_who_the_workers_are():
    places = ["a:1", "b:2", "c:3"]
    assert rendezvous.parse_tf_config(tf_config(places, 2)) == (places, 2)
    of_chief = {"chief": ["x.y.svc:1"], "worker": ["[::1]:2"]}
    for kind, rank in (("chief", 0), ("worker", 1)):
        text = json.dumps({"cluster": of_chief, "task": {"type": kind, "index": "0"}})
        assert rendezvous.parse_tf_config(text) == (["x.y.svc:1", "[::1]:2"], rank)


TWO = ["a:1", "b:2"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "TF_CONFIG, which is not set; on the first host: TF_CONFIG='{\"cluster\""),
        ("{", "is not of the form"),
        ("[]", "is not of the form"),
        ('{"cluster": {"worker": ["a:1", "b:2"]}}', "is not of the form"),
        (tf_config(["a:1", "b"], 0), "is not of the form"),
        (tf_config([1, 2], 0), "is not of the form"),
        (tf_config(TWO, "first"), "is not of the form"),
        (tf_config(["a:1", ":2"], 0), "are not all host:port"),
        (tf_config(["a:1", "b:70000"], 0), "are not all host:port"),
        (tf_config(["a:1"], 0), "two workers or more"),
        (tf_config(["a:1", "a:1"], 0), "an address of its own"),
        (tf_config(TWO, 2), "task index 2, but there are 2 of type worker"),
        (tf_config(TWO, -1), "task index -1"),
        (tf_config(TWO, 0, "chief"), "task index 0, but there are 0 of type chief"),
        (tf_config(TWO, 0, "evaluator"), "names evaluator; it takes worker, and chief"),
        ('{"cluster": {"worker": ["a:1"], "ps": ["b:2"]}, "task": {"type": "ps", "index": 0}}',
         "names ps"),
    ],
)  # fmt: skip
def test_a_tf_config_that_makes_no_sense(text, says):
    with pytest.raises(UsageError) as error:
        rendezvous.parse_tf_config(text)
    assert says in str(error.value)


TOY = ("--corpus", "toy", "--strategy", "multiworker")


@pytest.mark.parametrize(
    ("main", "arguments", "says"),
    [
        (train.main, ("--model", "epr", *TOY), "TF_CONFIG, which is not set"),
        (train.main, ("--model", "svm", *TOY), "an SVM is no network"),
        (train.main, ("--model", "epr", *TOY, "--spark", "local[2]"), "leave one of them out"),
        (search.main, ("--model", "epr", *TOY, "--evals", "2"), "is for one training"),
    ],
)
def test_commands_that_cannot_be(main, arguments, says, tmp_path, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    answer = called(main, *arguments, "--cache", tmp_path / "cache")
    assert answer.code == 2 and says in answer.err.splitlines()[-1]
    assert not (tmp_path / "runs").exists() and not answer.out


@pytest.mark.parametrize("index", [0, 1])
def test_a_port_that_is_taken(index, tmp_path, monkeypatch):
    places = addresses(2)
    monkeypatch.setenv("TF_CONFIG", tf_config(places, index))
    with socket.create_server(("", int(places[index].partition(":")[2]))):
        answer = called(train.main, "--model", "epr", *TOY, "--cache", tmp_path,
                        "--workdir", tmp_path / "run")  # fmt: skip
    assert answer.code == 2
    assert f"worker {index} ({places[index]}) cannot have port" in answer.err
    assert not (tmp_path / "run").exists()


# Meeting.


def met(*abouts, ranks=None, n=None):
    """What `meet` answers to workers in threads: connections, or an error."""
    n = n or len(abouts)
    places, answers = addresses(n), [None] * len(abouts)

    def attend(i, rank):
        try:
            answers[i] = rendezvous.rendezvous(rendezvous.Cluster(places, rank), abouts[i])
        except TfserError as error:
            answers[i] = error

    threads = [
        threading.Thread(target=attend, args=pair, daemon=True)
        for pair in enumerate(ranks or range(n))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers, places


def test_workers_meet():
    about = {"hparams": {"a": [1, 2.5]}, "code": "x"}
    (chief, first, second), _ = met(about, about, about)
    assert sorted(chief) == [1, 2] and list(first) == list(second) == [0]
    content = os.urandom(3_000_000)
    threading.Thread(target=rendezvous.send, args=(chief[2], rendezvous.VALUE, content)).start()
    assert rendezvous.receive(second[0]) == (rendezvous.VALUE, content)
    chief[1].close()
    with pytest.raises(OSError):
        rendezvous.receive(first[0])


def test_workers_that_differ():
    about = {"hparams": {"train": {"rate": 0.1}}, "code": "x"}
    other = {"hparams": {"train": {"rate": 0.2}}, "code": "x"}
    answers, places = met(about, about, other)
    for answer in answers:
        assert isinstance(answer, UsageError)
        assert f"worker 2 ({places[2]}) is about to do something else" in str(answer)
        assert "hparams.train.rate: 0.1 -> 0.2)" in str(answer)


def test_two_that_say_they_are_one(monkeypatch):
    monkeypatch.setattr(rendezvous, "_listen", lambda members, listen=rendezvous._listen: (
        contextlib.nullcontext() if members.rank else listen(members)
    ))  # fmt: skip  # one host: two of them have one port
    answers, places = met({}, {}, {}, ranks=[0, 1, 1], n=3)
    for answer in answers:
        assert f"two workers say that they are worker 1 ({places[1]})" in str(answer)


def test_whoever_does_not_come(monkeypatch):
    monkeypatch.setattr(rendezvous, "JOIN_SECONDS", 1.0)
    for rank, missing in ((0, "worker 1"), (1, "worker 0")):
        started_at = time.monotonic()
        [error], _ = met({}, ranks=[rank], n=2)
        assert time.monotonic() - started_at < 20
        assert error.exit_code == 1 and f"no word from {missing}" in str(error)


def test_strangers_at_the_door_are_sent_away(monkeypatch):
    monkeypatch.setattr(rendezvous, "HELLO_SECONDS", 0.5)
    listen = rendezvous._listen

    def listening(members):
        server = listen(members)
        if not members.rank:
            for said in (b"GET / HTTP/1.1\r\nHost: worker-0\r\n\r\n", b""):
                stranger = socket.create_connection(("127.0.0.1", server.getsockname()[1]))
                stranger.sendall(said)
                strangers.append(stranger)
        return server

    strangers = []
    monkeypatch.setattr(rendezvous, "_listen", listening)
    (chief, other), _ = met({}, {})
    assert list(chief) == [1] and list(other) == [0]


# Working together, without TensorFlow.

TOGETHER = """
import json, os, signal, sys, time
from pathlib import Path
import numpy as np
from tfser import errors, tensorflow_startup
from tfser.distributed import multi_worker
from tfser.cli import base
from tfser.storage import atomic_files

multi_worker.END_SECONDS = 2.0
rank = json.loads(os.environ["TF_CONFIG"])["task"]["index"]

def work(args):
    with multi_worker.join_cluster({"a": 1}, Path("run")) as folder:
        folder.mkdir(exist_ok=True)
        do(folder)

%s

class args:
    debug = False
code = base.run_command(work, args)
assert not multi_worker._worker
sys.exit(code)
"""


def together(body, tmp_path, n=2):
    with started([["-c", TOGETHER % body]] * n, tmp_path, n) as (processes, places):
        return [end(process) for process in processes], places


def test_the_chief_s_word_counts(tmp_path):
    answers, _ = together("""
def do(folder):
    (folder / "net.keras").write_text(f"of {rank}")
    if rank == 0:
        atomic_files.write_arrays(folder / "a.npz", x=np.arange(3) / 7, y=np.eye(2))
    found = multi_worker.read_arrays_from_chief(folder / "a.npz")
    multi_worker.copy_from_chief(folder, "*.keras")
    print(json.dumps([
        multi_worker.broadcast_from_chief({"loss": 0.1 + rank, "learnt": rank == 0}),
        found["x"].tolist(), multi_worker.read_arrays_from_chief(folder / "none.npz"),
        (folder / "net.keras").read_text(), multi_worker.is_chief(), folder == Path("run"),
    ]))
""", tmp_path, n=3)  # fmt: skip
    for rank, answer in enumerate(answers):
        assert answer.code == 0, answer.err
        chief = rank == 0
        assert json.loads(answer.out) == [
            {"loss": 0.1, "learnt": True}, [0, 1 / 7, 2 / 7], None, "of 0", chief, chief
        ]  # fmt: skip
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "tmp"]
    assert not list((tmp_path / "tmp").iterdir())  # the others' folders are gone


GONE = "is gone; start the same command on all workers again, it continues"


@pytest.mark.parametrize(
    ("victim", "others_do"),
    [
        (0, "multi_worker.broadcast_from_chief(1)"),
        (1, "multi_worker.broadcast_from_chief(1)"),
        (1, "time.sleep(100)"),
    ],
)
def test_a_worker_that_dies_ends_the_others(tmp_path, victim, others_do):
    """Also one that is in C++ and does not come back: time.sleep stands for it."""
    started_at = time.monotonic()
    answers, places = together(f"""
def do(folder):
    multi_worker.broadcast_from_chief(0)
    if rank == {victim}:
        os.kill(os.getpid(), signal.SIGKILL)
    while True:
        {others_do}
""", tmp_path, n=3)  # fmt: skip
    assert time.monotonic() - started_at < 60
    for rank, answer in enumerate(answers):
        if rank == victim:
            assert answer.code == -signal.SIGKILL
            continue
        assert answer.code == 1
        [line] = answer.err.splitlines()[rank == 0 :]  # the chief has said who they are
        assert line == f"error: worker {victim} ({places[victim]}) {GONE}"


def test_what_has_ended_it_is_the_last_line_also_under_a_bar(tmp_path):
    """Which is drawn again after each line of the log that is written meanwhile."""
    (chief, _), places = together("""
from tfser.evaluation import cross_validation
from tfser.storage import run_directory

def do(folder):
    with run_directory.open_run(folder, {}, (0,)), cross_validation.progress_bar(1, 2) as bar:
        bar.at("BL")
        bar.refresh()
        if rank:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(100)
""", tmp_path)  # fmt: skip
    assert chief.code == 1
    said = f"error: worker 1 ({places[1]}) {GONE}"
    assert chief.err.splitlines()[-1] == said and "BL: " in chief.err
    assert (tmp_path / "run" / "log.txt").read_text().endswith(f" ERROR {said}\n")


@pytest.mark.parametrize("stderr", ["quiet", "closed"])
def test_whatever_stderr_is_a_worker_ends_with_the_other(tmp_path, stderr):
    """TensorFlow meets the other workers in `quiet`; of a pipe the other end may be closed."""
    (_, other), places = together(f"""
import contextlib

def do(folder):
    if rank == 0:
        raise errors.ConflictError("run holds another run")
    if {stderr == "closed"}:
        read, write = os.pipe()
        os.close(read)
        os.dup2(write, 2)
    with tensorflow_startup.quiet() if {stderr == "quiet"} else contextlib.nullcontext():
        time.sleep(100)
""", tmp_path)  # fmt: skip
    assert other.code == 4
    if stderr == "quiet":
        assert other.err == f"error: worker 0 ({places[0]}): run holds another run\n"


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_of_one_is_that_of_all(tmp_path, failing):
    answers, places = together(f"""
def do(folder):
    if rank == {failing}:
        raise errors.DataError("no .wav under /data")
    multi_worker.broadcast_from_chief(1)
    multi_worker.broadcast_from_chief(1)
""", tmp_path)  # fmt: skip
    for rank, answer in enumerate(answers):
        said = "" if rank == failing else f"worker {failing} ({places[failing]}): "
        assert answer.code == 3
        assert answer.err.splitlines()[-1] == f"error: {said}no .wav under /data"


def test_an_interrupt_of_one_ends_all(tmp_path):
    answers, places = together("""
def do(folder):
    multi_worker.broadcast_from_chief(1)
    if rank == 1:
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(100)
""", tmp_path)  # fmt: skip
    assert [answer.code for answer in answers] == [1, 130]
    assert f"error: worker 1 ({places[1]}): interrupted; start the same" in answers[0].err


def test_other_audio_than_the_chief_s_is_refused(monkeypatch):
    from tfser.cache import feature_cache

    feature_cache._check_same_on_workers(["key", [[3, None]]])
    monkeypatch.setattr(
        feature_cache.multi_worker, "broadcast_from_chief", lambda found: ["key", [[3, 4]]]
    )
    with pytest.raises(DataError, match="not those that the chief has"):
        feature_cache._check_same_on_workers(["key", [[3, None]]])


@pytest.mark.parametrize(("n", "batch_size"), [(9, 3), (1, 2)])
def test_batches_that_cannot_be_shared(monkeypatch, n, batch_size):
    import tensorflow as tf

    from tfser.training import epoch
    from tfser.training.epoch import train_epoch

    monkeypatch.setattr(epoch, "is_multi_worker", lambda model: True)
    strategy = SimpleNamespace(num_replicas_in_sync=2)
    model = SimpleNamespace(distribute_strategy=strategy, _flatten_layers=list)
    batches = tf.data.Dataset.range(n).batch(batch_size, drop_remainder=True)
    with pytest.raises(UsageError, match="2 replicas cannot share"):
        train_epoch(model, batches)


# Networks: as on two devices (tests/models), to 1e-6.

NETWORKS = """
import functools, json, sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tfser.training import epoch, loop
from tfser.distributed import multi_worker

def lines(folder):
    rows = [row.split(",") for row in (folder / "history.csv").read_text().splitlines()[1:]]
    return [[float(value) for value in row if value not in ("True", "False")] for row in rows]

curves = {}
with multi_worker.join_cluster({}, Path("run")) as folder:
    assert loop.select_strategy("multiworker").num_replicas_in_sync == 2
    for name, code in json.loads(sys.argv[1]).items():
        names = dict(globals())
        exec(code, names)
        here, multi_worker._worker = multi_worker._worker, None
        if not here.cluster.rank:  # for comparison, and without the other worker
            alone = names["curve"]("none", folder / name / "none")
        multi_worker._worker = here
        across = names["curve"]("multiworker", folder / name / "multiworker")
        if multi_worker.is_chief():
            curves[name] = [alone, across]
if curves:
    print(json.dumps(curves))
"""

AAE = """
import test_aae
from tfser.models.aae import experiment
from tfser.training import nadam

test_aae.subnetworks._FILTERS = test_aae.NARROW
# Nadam divides a gradient by its size: of one that is 0 but for rounding it follows the rounding.
nadam.Nadam = functools.partial(nadam.Nadam, epsilon=1e-2)

def curve(strategy, folder):
    hp = test_aae.hyperparameters(
        "model.system=SYSTEM", "model.dropout=0.3", "optimized.discriminator_dropout=0.3",
        "train.max_epochs=3",
        "train.learning_rate=1e-3", "train.labelled_fraction=0.5",
    )
    speech = test_aae.speech_of(test_aae.voices())
    lab = test_aae.experiment(folder, hp, speech, strategy=strategy)
    run = test_aae.run_in(folder, "loso")
    split = experiment.make_splits(speech.utterances, test_aae.hyperparameters(), run, 0)[0]
    found = experiment.train_network(lab, split, folder / "seed-0" / "fold-00", [0, 0])
    return lines(folder / "seed-0" / "fold-00"), found["probabilities"].tolist()
"""

ACNN = """
import test_acnn
from tfser.models.acnn import experiment

def curve(strategy, folder):
    hp = test_acnn.hyperparameters("model.dropout=0.3")
    speech = test_acnn.speech_of(test_acnn.voices("abc"))
    lab = test_acnn.experiment(folder, hp, speech, strategy=strategy)
    split = experiment.make_splits(speech.utterances, hp, test_acnn.run_in(folder, "loso"), 0)[0]
    found = experiment.train_network(lab, split, folder / "seed-0" / "fold-00", [0, 0])
    return lines(folder / "seed-0" / "fold-00"), found["probabilities"].tolist()
"""

AUTOENCODER = """
import test_acnn
from tfser.models.acnn import pretraining

def curve(strategy, folder):
    hp = test_acnn.hyperparameters(
        "autoencoder.units=4", "autoencoder.n_bands=6", "autoencoder.dropout=0.2",
        "autoencoder.max_epochs=3", "autoencoder.batch_size=8",
    )
    layer, stored = test_acnn.sounds(folder / "cache", hp)
    (folder / "ae").mkdir()
    pretraining.train_autoencoder(stored, layer, hp["autoencoder"], folder / "ae", strategy)
    return lines(folder / "ae"), []
"""

AUXVAE = """
import test_auxvae
from tfser.models.auxvae import network

def curve(strategy, folder):
    x = np.random.default_rng(0).uniform(0, 1, (8, 26, 5)).astype("float32")
    batches = tf.data.Dataset.from_tensors(x).repeat(6)
    keras.utils.set_random_seed(0)
    with loop.select_strategy(strategy).scope():
        model = network.AuxVAE(**test_auxvae.SMALL | {"dropout": 0.2})
        model.compile(keras.optimizers.Adam(1e-3), clip_norm=0.5)
    rows = [list(epoch.train_epoch(model, batches).values()) for _ in range(3)]
    return rows, epoch.predict_batches(model, x).tolist()
"""

BEGAN = """
import test_began
from tfser.models.began import network

def curve(strategy, folder):
    batches = tf.data.Dataset.from_tensors(test_began.some_data(8)).repeat(6)
    keras.utils.set_random_seed(0)
    with loop.select_strategy(strategy).scope():
        model = network.BEGAN(**test_began.SMALL)
        model.compile(keras.optimizers.Adam(1e-3))
    rows = [list(epoch.train_epoch(model, batches).values()) for _ in range(3)]
    return rows, np.array(model(test_began.some_data(8)[0])).tolist()
"""

EPR = """
import test_epr
from tfser.models.epr import experiment

def curve(strategy, folder):
    hp = test_epr.hyperparameters(
        "model.width_multiplier=0.0625", "model.dropout=0.2", "train.max_epochs=3"
    )
    speech = test_epr.speech_of(test_epr.voices())
    lab = test_epr.experiment(folder, hp, speech, strategy=strategy)
    profiles = experiment.train_network(
        lab, np.arange(18), np.arange(18, 23), speech.one_hot, folder, [0]
    )
    return lines(folder), profiles.tolist()
"""


PAPERS = {
    "aae": AAE.replace("SYSTEM", "optimized"),
    "aae baseline": AAE.replace("SYSTEM", "baseline"),
    "acnn": ACNN,
    "acnn autoencoder": AUTOENCODER,
    "auxvae": AUXVAE,
    "began": BEGAN,
    "epr": EPR,
}


@pytest.mark.parametrize(
    "papers",
    [
        ("acnn", "began"),  # BEGAN has a step and two optimizers of its own, as the AAE has
        pytest.param(
            ("aae", "aae baseline", "acnn autoencoder", "auxvae", "epr"), marks=pytest.mark.slow
        ),
    ],
)
def test_two_workers_equal_one_process(tmp_path, papers):
    cases = json.dumps({paper: PAPERS[paper] for paper in papers})
    with started([["-c", NETWORKS, cases]] * 2, tmp_path) as (processes, _):
        chief, other = map(end, processes)
    assert (chief.code, other.code) == (0, 0), (chief.err[-3000:], other.err[-3000:])
    curves = json.loads(chief.out)
    assert tuple(curves) == papers
    for paper, (alone, across) in curves.items():
        for one, two in zip(alone, across, strict=True):
            np.testing.assert_allclose(
                np.array(two), np.array(one), rtol=2e-6, atol=1e-6, err_msg=paper
            )
        first, *_, last = alone[0]
        assert len(alone[0]) == 3
        assert not np.allclose(first, last, rtol=1e-3), paper  # it has learned


# The command.


def acnn_on(tmp_path, *arguments):
    """tfser-train on 2 emotions x 3 speakers x 2 takes of toy."""
    toy.make(tmp_path / "cache" / "toy")
    wavs = tmp_path / "cache" / "toy" / toy.VERSION
    names = [f"{s}-{e}-0{i}" for s in ("f1", "f2", "m1") for e in ("anger", "sadness")
             for i in (1, 2)]  # fmt: skip
    rows = [f"{wavs}/{name}.wav,{name[:2]},{name.split('-')[1]}" for name in names]
    table = tmp_path / "few.csv"
    table.write_text("\n".join(["file,speaker,emotion", *rows]) + "\n")
    sets = ["model.n_filters=8", "model.dropout=0.0", "input.seconds=1.0", "model.pool_steps=5",
            "train.max_epochs=10", "train.batch_size=2"]  # fmt: skip
    command = ["--model", "acnn", "--corpus", table, "--protocol", "loso", *arguments]
    command += ["--cache", tmp_path / "cache"]
    for override in sets:
        command += ["--set", override]
    return list(map(str, command))


def numbers(path):
    rows = [row.split(",") for row in path.read_text().splitlines()[1:]]
    return np.array([[float(value) for value in row] for row in rows])


def test_a_run_that_lost_a_worker_goes_on_where_it_was(tmp_path):
    """And ends as that of one process; the other worker leaves nothing and says nothing."""
    run = tmp_path / "run"
    command = ["-m", "tfser.cli.train", *acnn_on(tmp_path, "--strategy", "multiworker")]
    command += ["--workdir", run]
    fold = run / "seed-0" / "fold-00"
    with started([command] * 2, tmp_path) as (processes, places):
        deadline = time.monotonic() + LINE_SECONDS
        while not (fold / "state.npz").exists():
            assert processes[0].poll() is None, end(processes[0]).err
            assert time.monotonic() < deadline
            time.sleep(0.02)
        processes[1].kill()
        killed_at = time.monotonic()
        chief = end(processes[0])
        assert time.monotonic() - killed_at < 45  # END_SECONDS, and slow machines
    assert chief.code == 1 and not chief.out
    assert chief.err.splitlines()[-1] == f"error: worker 1 ({places[1]}) {GONE}"
    assert (fold / "state.npz").exists() and not (fold / "test.npz").exists()

    with started([command] * 2, tmp_path) as (processes, _):
        chief, other = map(end, processes)
    assert (chief.code, other.code) == (0, 0), (chief.err[-3000:], other.err[-3000:])
    assert chief.out.splitlines()[-1].startswith("RESULT model=acnn corpus=few protocol=loso ")
    assert not other.out and not other.err

    alone = called(train.main, *acnn_on(tmp_path, "--workdir", tmp_path / "alone"))
    assert alone.code == 0, alone.err
    assert alone.out.splitlines()[-1] == chief.out.splitlines()[-1]
    histories = sorted((tmp_path / "alone").rglob("history.csv"))
    assert len(histories) == 3
    for path in histories:
        found = numbers(run / path.relative_to(tmp_path / "alone"))
        assert len(found) == 10
        np.testing.assert_allclose(found, numbers(path), rtol=2e-6, atol=1e-6)


def test_the_readme_s_job_and_service_are_of_one_piece():
    page = (TESTS.parent / "README.md").read_text()
    [manifest] = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    service, job = yaml.safe_load_all(manifest)
    spec, [container] = job["spec"], job["spec"]["template"]["spec"]["containers"]
    assert spec["completionMode"] == "Indexed"
    assert spec["template"]["spec"]["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    [port] = [p["port"] for p in service["spec"]["ports"]]
    assert container["ports"] == [{"containerPort": port}]

    [script] = container["args"]
    exported, command = script.split("; ")
    for index in range(spec["completions"]):  # as a shell of pod `index` has it
        said = subprocess.run(
            ["sh", "-c", f'{exported}; echo "$TF_CONFIG"'],
            env={"JOB_COMPLETION_INDEX": str(index)}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        config = json.loads(said.stdout)
        pods = [f"{job['metadata']['name']}-{i}" for i in range(spec["parallelism"])]
        assert config["cluster"]["worker"] == [f"{pod}.tfser:{port}" for pod in pods]
        assert config["task"] == {"type": "worker", "index": index}
    assert command.startswith("exec tfser-train --strategy multiworker ")
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {v["name"] for v in spec["template"]["spec"]["volumes"]}
