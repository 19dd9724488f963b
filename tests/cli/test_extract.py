"""tfser-extract: the shards that training makes, byte for byte, whatever is killed or broken."""

import errno
import os
import re
import signal
import subprocess
import sys
import time
import types
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import soundfile
from forked import Process, end, start_command
from running import REPOSITORY, called, needs_java
from spark_daemon import preloading_daemon

from tfser.audio import decode
from tfser.cache import content_hash, extraction, feature_cache, spark_extraction
from tfser.cli import extract, train
from tfser.corpora.utterance import Utterance
from tfser.distributed import spark_session
from tfser.errors import ConflictError, TfserError, UsageError

RATE = 8000
LINE = re.compile(
    r"EXTRACTED model=(\w+) corpus=(\w+) feature=(\w+) utterances=(\d+) left_out=(\d+) "
    r"hours=(\S+) frames=(\d+) shards=(\d+) bytes=(\d+) seconds=\d+\.\d folder=(.+)"
)
SMALL = {
    "encoder": [],
    "svm": ["svm.c=1.0"],
    "aae": ["model.level=frame", "model.system=baseline", "model.units=8", "frames.n_frames=256",
            "train.max_epochs=1"],
    "epr": ["model.width_multiplier=0.015625", "train.max_epochs=1", "refinery.rounds=1",
            "forest.n_estimators=3"],
    "acnn": ["labels.keep=[]", "input.seconds=1.0", "model.n_filters=4", "model.pool_steps=8",
             "train.max_epochs=1", "autoencoder.corpus=tested", "autoencoder.units=4",
             "autoencoder.max_epochs=1"],
    "auxvae": ["features.sample_rate_hz=8000", "features.n_fft=256", "features.hop_samples=128",
               "features.n_bands=12", "input.seconds=0.5", "input.n_frames=32",
               "input.drop_short=true", "model.n_latent=8", "model.chunk_frames=8",
               "vae.corpus=tested", "vae.max_epochs=1", "probe.epochs=1"],
    "began": ["features.sample_rate_hz=8000", "features.slice_seconds=0.5", "features.n_fft=128",
              "features.hop_samples=64", "features.drop_short=true", "features.input_mode=crop512",
              "model.n_filters=2", "model.hidden=4", "began.corpus=tested", "began.max_epochs=1",
              "protocol.kind=loso", "train.max_epochs=1"],
}  # fmt: skip
HEARD = {"encoder": 1, "svm": 1, "aae": 1, "epr": 1, "acnn": 3, "auxvae": 2, "began": 2}  # folders


@pytest.fixture(scope="module", autouse=True)
def no_settings_of_the_user():
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("TFSER_"):
                patch.delenv(name)
        patch.setattr(os, "cpu_count", lambda: 1)  # each thread starts an openSMILE
        yield


def write_tones(folder, names, suffix=".wav") -> None:
    """Harmonics and noise of 0.4 to 0.8 s."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(names):
        t = np.arange(round(RATE * (0.4 + 0.1 * (number % 5)))) / RATE
        sound = sum(np.sin(2 * np.pi * k * (120 + 7 * number) * t) / k for k in (1, 2, 3))
        path = folder / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.2 * sound + rng.normal(0, 0.01, len(t)), RATE)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """24 utterances of four speakers, the fourth of which is no sound."""
    folder = tmp_path_factory.mktemp("tones")
    names = [f"{s}-{e}-{n}" for n in range(3) for s in "abcd" for e in ("anger", "sadness")]
    write_tones(folder, names)
    (folder / f"{names[3]}.wav").write_text("version https://git-lfs.github.com/spec/v1\n")
    rows = [f"{name}.wav,{name[0]},{name.split('-')[1]}" for name in names]
    (folder / "tones.csv").write_text("\n".join(["file,speaker,emotion", *rows]) + "\n")
    return folder / "tones.csv"


def on(model, table, cache, *more):
    flags = ["--model", model, "--corpus", table, "--cache", cache, "--max-bad", 1]
    return [*flags, *(word for s in SMALL[model] for word in ("--set", s)), *more]


@pytest.fixture(scope="module")
def extracted(table, tmp_path_factory):
    """Returns a function (model) -> (answer of the command, cache); made once."""
    done = {}

    def extract_once(model):
        if model not in done:
            cache = tmp_path_factory.mktemp(model)
            answer = called(extract.main, *on(model, table, cache))
            assert answer.code == 0, answer.err
            done[model] = answer, cache
        return done[model]

    return extract_once


@pytest.fixture
def without_training(monkeypatch):
    """Ends a run where its first network would be trained; ACNN's autoencoder comes before."""

    def fit(model, *_, **__):
        if model.name != "autoencoder":
            raise KeyboardInterrupt
        return SimpleNamespace(history={"loss": [0.0]})

    monkeypatch.setattr(keras.Model, "fit", fit)


def trained(flags, folder):
    """A training of one fold: it loads the whole corpus."""
    place = folder / "tasks" / "one"
    more = ["--protocol", "loso", "--folds", 3, "--part", "0/0", "--workdir", place]
    return called(train.main, *flags, *more)


def shards_of(cache) -> dict[str, bytes]:
    """{folder/file: content} of all features in a cache."""
    return {
        str(path.relative_to(cache)): path.read_bytes()
        for path in sorted(cache.glob("*-*/*"))
        if path.name.startswith("shard-") or path.name == "index.json"
    }


def wait_for_shards(cache, n, process) -> dict:
    """{shard: (inode, time)} once there are n, but for that whose file is tried again."""
    deadline = time.monotonic() + 200
    while len(found := sorted(cache.glob("*/shard-*.tfrecord"))) < n:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return {
        path: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in found
        if path.name != "shard-00003.tfrecord"
    }


# The same shards as training.


@pytest.mark.parametrize("model", SMALL)
def test_the_shards_are_those_that_training_makes(
    model, extracted, table, tmp_path, without_training
):
    answer, cache = extracted(model)
    assert "left out: b-sadness-0: " in answer.err and "git-LFS pointer" in answer.err
    lines = [LINE.fullmatch(line) for line in answer.out.splitlines()]
    assert len({line[10] for line in lines}) == HEARD[model]
    shards = shards_of(cache)
    assert {Path(name).parts[0] for name in shards} == {Path(line[10]).name for line in lines}

    run = trained(on(model, table, tmp_path / "trained"), tmp_path / "run")
    assert run.code == (0 if model in ("encoder", "svm") else 130), run.err
    assert shards_of(tmp_path / "trained") == shards


def test_the_line(extracted, table):
    answer, cache = extracted("svm")
    line = LINE.fullmatch(answer.out.strip())
    assert line.groups()[:5] == ("svm", "tones", "OpenSmile", "23", "1")
    files = sorted(set(table.parent.glob("*.wav")) - {table.parent / "b-sadness-0.wav"})
    seconds = sum(soundfile.info(file).duration for file in files)
    assert float(line[6]) == pytest.approx(seconds / 3600, abs=5e-4)
    shards = list(Path(line[10]).glob("shard-*"))
    n_bytes = sum(path.stat().st_size for path in shards)
    assert line.groups()[6:9] == ("23", str(len(shards)), str(n_bytes))
    assert Path(line[10]).parent == cache


def test_after_it_nothing_is_extracted(extracted, table, tmp_path, monkeypatch):
    first, cache = extracted("svm")
    flags = on("svm", table, cache)
    monkeypatch.delattr(extraction, "compute_shard")
    again = called(extract.main, *flags)
    assert again.code == 0
    assert re.sub("seconds=.* ", "", again.out) == re.sub("seconds=.* ", "", first.out)
    run = trained(flags, tmp_path / "run")
    assert run.code == 0, run.err


def test_a_file_is_hashed_once_for_all_folders(table, tmp_path, monkeypatch):
    hashed, measured = [], []
    content_of, duration = content_hash.hash_content, decode.duration_seconds
    monkeypatch.setattr(
        content_hash, "hash_content", lambda path: hashed.append(path) or content_of(path)
    )
    extract.duration_seconds.cache_clear()
    monkeypatch.setattr(
        decode, "duration_seconds", lambda path: measured.append(path) or duration(path)
    )
    answer = called(extract.main, *on("acnn", table, tmp_path))
    assert answer.code == 0 and len(answer.out.splitlines()) == HEARD["acnn"]
    files = sorted(table.parent.glob("*.wav"))
    assert sorted(hashed) == files
    assert sorted(measured) == [path for path in files if path.name != "b-sadness-0.wav"]


def test_the_corpus_of_a_pre_training(table, tmp_path, monkeypatch, without_training):
    root = tmp_path / "LibriSpeech"
    write_tones(root / "train-clean-100/19/198", [f"19-198-000{n}" for n in range(6)], ".flac")
    flags = on("began", "librispeech", tmp_path / "extracted", "--data-root", root)
    answer = called(extract.main, *flags, "--set", "began.corpus=librispeech")
    assert answer.code == 0, answer.err
    [line] = answer.out.splitlines()
    assert LINE.fullmatch(line).groups()[1:4] == ("librispeech", "Slices", "6")

    monkeypatch.setenv("TFSER_LIBRISPEECH_ROOT", str(root))
    of_librispeech = "--set", "began.corpus=librispeech"
    flags = on("began", table, tmp_path / "trained", *of_librispeech)
    run = trained(flags, tmp_path / "run")
    assert run.code == 130, run.err
    assert shards_of(tmp_path / "extracted").items() < shards_of(tmp_path / "trained").items()


def test_settings_decide_where_it_goes(table, tmp_path):
    few = table.with_name("few.csv")
    few.write_text("".join(table.read_text().splitlines(keepends=True)[:4]))
    flags = on("svm", few, tmp_path)
    folders = {
        LINE.fullmatch(called(extract.main, *flags, *more).out.strip())[10]
        for more in ([], ["--set", "features.feature_set=ComParE_2016"], ["--set", "svm.c=2.0"])
    }
    assert len(folders) == 2


# What is killed, and what is broken.


class Slow:
    """A feature that takes its time and no processor's."""

    sample_rate_hz, n_features, batch_samples = RATE, 1, 0
    arguments: dict = {}
    seconds = 0.3

    def settings(self):
        return {"feature": "Slow"}

    def extract(self, waveforms):
        time.sleep(self.seconds)
        return [waveform[::80, None] for waveform in waveforms]


SLOWLY = """
import sys
from test_extract import Slow, extract
from tfser.models.svm import dataset
dataset.make_opensmile = lambda settings: Slow()
sys.exit(extract.main(sys.argv[1:]))
"""
PATH = os.pathsep.join(map(str, [Path(__file__).parent, REPOSITORY / "tests", REPOSITORY]))


def test_killed_and_interrupted_and_continued(table, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", PATH)
    flags = on("svm", table, tmp_path / "killed")
    process = Process(["-c", SLOWLY, *flags])
    wait_for_shards(tmp_path / "killed", 2, process)
    process.kill()
    end(process)
    process = Process(["-c", SLOWLY, *flags])
    kept = wait_for_shards(tmp_path / "killed", 8, process)
    process.send_signal(signal.SIGINT)
    answer = end(process)
    assert answer.code == 130 and not answer.out and "Traceback" not in answer.err
    last = "error: interrupted; what is finished is kept, the same command continues"
    assert answer.err.splitlines()[-1] == last
    assert 8 <= len(list(tmp_path.glob("killed/*/shard-*.tfrecord"))) < 24
    monkeypatch.setattr("tfser.models.svm.dataset.make_opensmile", lambda settings: Slow())
    monkeypatch.setattr(Slow, "seconds", 0.0)
    assert called(extract.main, *flags).code == 0
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in kept} == kept
    assert called(extract.main, *on("svm", table, tmp_path / "undisturbed")).code == 0
    assert shards_of(tmp_path / "killed") == shards_of(tmp_path / "undisturbed")


def test_a_broken_file_stops_nothing(table, tmp_path):
    flags = [*on("epr", table, tmp_path), "--max-bad", 0]
    answer = called(extract.main, *flags)
    assert answer.code == 3 and not answer.out
    message = answer.err.splitlines()[-1]
    assert message.startswith("error: 1 of 24 utterances cannot be used: ")
    assert "b-sadness-0.wav: a git-LFS pointer" in message and "--max-bad 1" in message
    shards = {path: path.stat().st_ino for path in tmp_path.glob("*/shard-*")}
    assert len(shards) == 24
    assert called(extract.main, *on("epr", table, tmp_path)).code == 0
    again = [path.name for path in shards if path.stat().st_ino != shards[path]]
    assert again == ["shard-00003.tfrecord"]  # that file's, which is tried again


class Odd:
    """A feature that fails on the longest waveforms."""

    sample_rate_hz, n_features, batch_samples = RATE, 1, 2**23

    def __init__(self, kills=False):
        self.arguments = {"kills": kills}

    def settings(self):
        return {"feature": "Odd"}

    def extract(self, waveforms):
        if any(len(waveform) >= 0.8 * RATE for waveform in waveforms):
            if self.arguments["kills"]:
                os._exit(1)
            raise IndexError("what nobody\nhas foreseen")
        return [waveform[::80, None] for waveform in waveforms]


def tones(folder):
    write_tones(folder, [f"tone-{n}" for n in range(10)])
    return [Utterance(folder / f"tone-{n}.wav", f"tone-{n}", "s") for n in range(10)]


def test_an_error_nobody_has_foreseen_is_of_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_cache, "MIN_SHARDS", 1)
    utterances = tones(tmp_path)
    found = feature_cache.store_features(utterances, Odd(), cache=tmp_path / "cache", max_bad=2)
    assert [u.name[-1] for u in found.utterances] == list("01235678") and len(found.paths) == 1
    [index] = (tmp_path / "cache").glob("*/index.json")
    assert '"IndexError: what nobody"' in index.read_text().replace(f"{tmp_path}/tone-4.wav: ", "")


# Spark.


@pytest.fixture(scope="module")
def spark():
    """The master: one Spark for this module, whose workers find this module's features.

    Each session starts a daemon that imports TensorFlow: the first one is kept. Commands in
    processes of their own stop theirs.
    """
    kept, stop_session = [], spark_session.stop_session
    with preloading_daemon(PATH), pytest.MonkeyPatch.context() as patch:
        patch.setattr(spark_session, "stop_session", kept.append)
        yield "local[2]"
        for session in kept[:1]:
            stop_session(session)


@needs_java
def test_spark_makes_the_same_shards(spark, extracted, table, tmp_path):
    """Of three folders, two features and a file that is no sound."""
    answer = called(extract.main, *on("acnn", table, tmp_path / "spark"), "--spark", spark)
    assert answer.code == 0, answer.err
    assert "left out: b-sadness-0: " in answer.err
    local, cache = extracted("acnn")
    spread, plain = shards_of(tmp_path / "spark"), shards_of(cache)
    assert spread == plain and len(plain) == 2 * (24 + 1) + 23 + 1
    hidden = r"seconds=.* folder=\S+/"
    assert re.sub(hidden, "", answer.out) == re.sub(hidden, "", local.out)
    assert not list(tmp_path.rglob("*.tmp")) and len(list(tmp_path.glob("spark/*.txt"))) == 1


@needs_java
def test_spark_interrupted_and_continued(spark, extracted, table, tmp_path):
    """openSMILE, whose processes are the workers' children."""
    flags = [*on("svm", table, tmp_path), "--spark", spark]
    process = start_command("extract", *flags)
    kept = wait_for_shards(tmp_path, 2, process)
    process.send_signal(signal.SIGINT)
    answer = end(process)
    assert answer.code == 130 and "Traceback" not in answer.err
    answer = called(extract.main, *flags)
    assert answer.code == 0, answer.err
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in kept} == kept
    assert shards_of(tmp_path) == shards_of(extracted("svm")[1])


def error_on_spark(spark, feature, folder) -> str:
    """The error with which an extraction of ten files ends."""
    make = partial(spark_extraction.extract_on_spark, spark)
    with pytest.raises(TfserError) as error:
        feature_cache.store_features(tones(folder), feature, cache=folder / "cache", make=make)
    return str(error.value)


@needs_java
def test_a_worker_that_dies_takes_one_shard_with_it(spark, tmp_path):
    message = error_on_spark(spark, Odd(kills=True), tmp_path)
    assert message.startswith("2 of 10 shards are not made, the others are kept: ")
    assert "shard-00004.tfrecord (tone-4 to tone-4), shard-00009" in message
    assert "were lost 4 times" in message
    [log] = tmp_path.glob("cache/spark-*.txt")  # no other command's
    assert f"see {log}; " in message
    assert len(list(tmp_path.glob("cache/*/shard-*"))) == 8


@needs_java
def test_workers_without_a_module(spark, tmp_path, monkeypatch):
    only_here = types.ModuleType("only_here")
    only_here.Odd = type("Odd", (Odd,), {"__module__": "only_here"})
    monkeypatch.setitem(sys.modules, "only_here", only_here)
    message = error_on_spark(spark, only_here.Odd(), tmp_path)
    missing = "ModuleNotFoundError: No module named 'only_here'; install it there"
    assert f"workers cannot run tfser: {missing}" in message
    assert not list(tmp_path.glob("cache/*/shard*"))


@pytest.fixture
def of_worker(tmp_path):
    """What a worker answers that sees other folders, files or versions than the command."""
    [utterance] = tones(tmp_path)[:1]
    seen = tmp_path / "seen"
    seen.touch()

    def ask(seen=seen, content=None, versions=None, place=None):
        feature = Odd()
        described = (
            Odd,
            feature.arguments,
            versions or spark_extraction._versions(feature),
            ("soundfile", 0),
        )
        contents = {utterance.path: content or content_hash.hash_content(utterance.path)}
        path = tmp_path / "shard"
        place = (place, {}) if place else spark_session.current_place()
        return spark_extraction._run_task(place, seen, described, [utterance], contents, path)

    return ask


def test_what_a_worker_must_share(of_worker, tmp_path):
    shard, error = of_worker()
    assert error is None and shard["n_frames"] == [40]
    versions = spark_extraction._versions(Odd())
    assert {"TensorFlow", "libsndfile", "soxr", "Odd's feature"} < versions.keys()
    tf = versions["TensorFlow"]
    for asked, message in (
        ({"seen": tmp_path / "none" / "seen"}, f"folder {tmp_path}/none of this machine"),
        ({"place": "/none/here"}, "folder /none/here of this machine"),
        ({"content": [9, "other"]}, "tone-0.wav of this machine (it has other content)"),
        ({"versions": versions | {"TensorFlow": "1"}}, f"TensorFlow {tf} instead of 1; install"),
        ({"versions": versions | {"Odd's version": 2}}, "has Odd's version None instead of 2; "),
        (
            {"versions": {"tfser's cache": 0}},
            f"cache {feature_cache.VERSION} instead of 0, TensorFlow ",
        ),
    ):
        shard, error = of_worker(**asked)
        assert shard is None and isinstance(error, UsageError) and message in str(error)
        assert f"Spark's worker on {os.uname().nodename} " in str(error)
    (tmp_path / "tone-0.wav").rename(tmp_path / "elsewhere.wav")
    _, error = of_worker(content=[1, "x"])
    assert "(No such file or directory)" in str(error)


# Bad input.


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--model", "svn"], 2, "unknown model 'svn' (did you mean 'svm'?)"),
        (["--corpus", "emodbb"], 2, "no corpus 'emodbb' (did you mean 'emodb'?)"),
        (["--corpus", "librispeech"], 2, "librispeech needs its folder: give --data-root"),
        (["--data-root", "/none"], 3, "the data folder /none does not exist"),
        (["--set", "features.sample_rate=8000"], 2, "did you mean 'features.sample_rate_hz'"),
        (["--hparams", "none.toml"], 2, "none.toml"),
        (["--max-bad", "-1"], 2, "--max-bad -1: must be 0 or more"),
        (["--cache", "/dev/null"], 4, "--cache /dev/null cannot be written: "),
        (["--cache", "/proc/none"], 4, "--cache /proc/none cannot be written: "),
        (["--spark", "loacl[2]"], 2, "--spark loacl[2] is no master (did you mean 'local[2]'?)"),
        (["--workdir", "x"], 2, "unknown argument --workdir"),
        (["--set", 'labels.keep=["joy"]'], 2, "labels.keep: no 'joy' in this corpus"),
    ],
)
def test_bad_input(more, code, message, table, tmp_path):
    answer = called(extract.main, *on("svm", table, tmp_path), *more)
    assert answer.code == code and not answer.out
    [line] = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert message in line and line == answer.err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_whether_the_cache_can_be_written(tmp_path):
    for cache in (tmp_path / "new", tmp_path / "new", tmp_path / "far" / "below"):
        extract.check_writable(cache)
        assert cache.is_dir() and not list(cache.iterdir())
    (tmp_path / "file").touch()
    for cache, reason in (
        (tmp_path / "file", "File exists"),
        (tmp_path / "file" / "below", "Not a directory"),
        (tmp_path / ("n" * 300), "File name too long"),
    ):
        with pytest.raises(ConflictError) as caught:
            extract.check_writable(cache)
        assert str(caught.value) == f"--cache {cache} cannot be written: {reason}; give another"


@pytest.mark.parametrize("number, kind", [(errno.EROFS, None), (errno.ENOSPC, TfserError)])
def test_a_cache_that_is_there_is_read(tmp_path, monkeypatch, number, kind):
    def fail(**_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(extract.tempfile, "TemporaryFile", fail)
    if kind is None:
        return extract.check_writable(tmp_path)
    with pytest.raises(kind, match=f"--cache {tmp_path} cannot be written: No space") as caught:
        extract.check_writable(tmp_path)
    assert caught.value.exit_code == 1


def test_a_corpus_that_the_system_cannot_use(tmp_path):
    root = tmp_path / "LibriSpeech"
    write_tones(root / "dev-clean/19/198", ["19-198-0000"], ".flac")
    flags = ["--model", "epr", "--corpus", "librispeech", "--data-root", root, "--cache", tmp_path]
    answer = called(extract.main, *flags)
    assert answer.code == 3 and "fewer than two classes" in answer.err.splitlines()[-1]


def test_without_pyspark_or_java(table, tmp_path, monkeypatch):
    flags = [*on("svm", table, tmp_path / "x"), "--spark", "local[2]"]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pyspark", None)
        answer = called(extract.main, *flags)
    assert answer.code == 2
    assert answer.err == "error: --spark needs PySpark: pip install 'tfser[spark]'\n"
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    answer = called(extract.main, *flags)
    assert answer.code == 2 and "apt install openjdk-17-jre-headless" in answer.err
    assert not (tmp_path / "x").exists()


def test_help_needs_no_tensorflow():
    code = "import sys; from tfser.cli import extract; extract.parser(); assert 'keras' not in {0}"
    code = code.format("sys.modules and 'tensorflow' not in sys.modules")
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True)
    assert done.returncode == 0, done.stderr
