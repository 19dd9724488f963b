"""Corpora and the feature cache under s3://, on a server of S3 in this machine.

Commands run in processes of their own: TensorFlow holds what it has once learned of a server, and
its library of S3 aborts when a process ends in the ordinary way.
"""

import importlib.util
import json
import os
import pickle
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from running import called

from tfser.cli import base, extract, search, train
from tfser.corpora import toy
from tfser.errors import UsageError
from tfser.storage import s3 as remote

ROOT = Path(__file__).parents[2]
KEYS = {"AWS_ACCESS_KEY_ID": "anybody", "AWS_SECRET_ACCESS_KEY": "a-secret-of-tests"}
VARIABLES = (*remote.SECRETS, *remote.OTHER_KEYS, "AWS_REGION", "S3_ENDPOINT", "TFSER_CACHE")
on_s3 = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("tensorflow_io", "moto"))),
    reason="no tensorflow-io or no moto here: make test-io",
)


@pytest.fixture
def no_keys(monkeypatch, tmp_path):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    remote._file_system.cache_clear()


def test_a_remote_path_does_what_paths_do():
    root = remote.to_path("s3://bucket/corpora/emodb/")
    file = root / "wav" / "03a01Fa.wav"
    assert (
        isinstance(file, remote.S3Path) and str(file) == "s3://bucket/corpora/emodb/wav/03a01Fa.wav"
    )
    assert os.fspath(file) == f"{file}" == str(file.resolve()) == str(file.expanduser())
    assert (file.name, file.stem, file.suffix) == ("03a01Fa.wav", "03a01Fa", ".wav")
    assert str(file.parent) == "s3://bucket/corpora/emodb/wav"
    assert file.relative_to(root).parts == ("wav", "03a01Fa.wav")
    assert str(file.with_name("b.wav")) == "s3://bucket/corpora/emodb/wav/b.wav"
    assert pickle.loads(pickle.dumps(file)) == file and len({file, remote.to_path(str(file))}) == 1
    assert str(remote.to_path("s3://bucket")) == "s3://bucket"
    assert remote.to_path("a/b") == Path("a/b") and remote.to_path(file) is file


@pytest.mark.parametrize(
    "given, missing",
    [
        ({}, "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION (or S3_ENDPOINT, "),
        ({"AWS_REGION": "eu-west-1"}, "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY; set them"),
        (
            KEYS,
            "variables AWS_REGION (or S3_ENDPOINT, the address of another server than Amazon's)",
        ),
        ({**KEYS, "AWS_ACCESS_KEY_ID": "", "S3_ENDPOINT": "x"}, "variables AWS_ACCESS_KEY_ID; set"),
    ],
)
@pytest.mark.parametrize("main", [train.main, extract.main])
def test_what_is_missing_is_named_and_no_secret(no_keys, monkeypatch, given, missing, main):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    answer = called(main, "--model", "epr", "--corpus", "emodb", "--data-root", "s3://bucket/emodb")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: s3:// needs the environment variables ")
    assert missing in answer.err and answer.err.count("\n") == 1
    assert "a-secret-of-tests" not in answer.err


def test_a_cache_on_s3_needs_keys_too(no_keys, tmp_path):
    flags = ["--model", "epr", "--corpus", "emodb", "--data-root", tmp_path, "--cache", "s3://b/c"]
    answer = called(train.main, *flags)
    assert answer.code == 2 and "AWS_ACCESS_KEY_ID" in answer.err


@pytest.mark.parametrize("name", ["AWS_PROFILE", "AWS_ROLE_ARN"])
def test_keys_that_the_library_finds_elsewhere(no_keys, monkeypatch, name):
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv(name, "mine")
    remote.check_credentials()
    monkeypatch.delenv(name)
    with pytest.raises(UsageError):
        remote.check_credentials()
    Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"]).touch()
    remote.check_credentials()


def test_without_tensorflow_io(no_keys, monkeypatch):
    for name, value in {**KEYS, "AWS_REGION": "eu-west-1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote.importlib.util, "find_spec", lambda name: None)
    answer = called(
        train.main, "--model", "epr", "--corpus", "emodb", "--data-root", "s3://b/emodb"
    )
    assert answer.code == 2 and answer.err == (
        "error: s3:// needs tensorflow-io, which is not installed: "
        "pip install 'tfser[io]' -c constraints-io.txt, in an environment of its own\n"
    )


def test_what_a_server_says_has_no_secret(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalr")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "")
    said = "the key AKIDEXAMPLE does not fit wJalr"
    assert remote.mask_secrets(said) == "the key *** does not fit ***"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The variables of a server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    log = open(tmp_path_factory.mktemp("s3") / "log.txt", "w")
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=log, stderr=log,
    )  # fmt: skip
    variables = {**KEYS, "AWS_REGION": "us-east-1", "S3_ENDPOINT": address}
    try:
        for _ in range(150):
            try:
                urllib.request.urlopen(f"{address}/moto-api/", timeout=5)
                break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None
                time.sleep(0.2)
        yield variables
    finally:
        process.kill()
        process.wait()
        log.close()


@pytest.fixture
def s3(server):
    """boto3's client of the server, with empty buckets."""
    import boto3

    client = boto3.client(
        "s3", endpoint_url=server["S3_ENDPOINT"], region_name="us-east-1",
        aws_access_key_id="anybody", aws_secret_access_key="a-secret-of-tests",
    )  # fmt: skip
    for bucket in ("corpora", "cache"):
        client.create_bucket(Bucket=bucket)
        for entry in client.list_objects_v2(Bucket=bucket).get("Contents", []):
            client.delete_object(Bucket=bucket, Key=entry["Key"])
    return client


def objects(s3, bucket):
    """{key: when it was written, content}"""
    listed = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {
        entry["Key"]: (
            entry["LastModified"],
            s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read(),
        )
        for entry in listed
    }


@pytest.fixture
def emodb(tmp_path, s3):
    """24 files with Emo-DB's names, here and on S3, and a table of them."""
    rng, rows = np.random.default_rng(0), ["file,speaker,emotion"]
    for speaker in ("03", "08", "09", "10"):
        for letter in "WFT":
            for take in "ab":
                name = f"{speaker}a01{letter}{take}.wav"
                local = tmp_path / "emodb" / "wav" / name
                local.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(local, rng.uniform(-0.5, 0.5, 8000), 16000)
                s3.upload_file(str(local), "corpora", f"emodb/wav/{name}")
                rows.append(f"wav/{name},{speaker},{letter}")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    return tmp_path / "emodb"


def command(server, name, *words, cwd):
    """(exit code, stdout, stderr) of a command."""
    clean = {key: value for key, value in os.environ.items() if key not in VARIABLES}
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", f"tfser.cli.{name}", *map(str, words)],
        capture_output=True, text=True, timeout=300, cwd=cwd,
        env={**clean, **server, "PYTHONPATH": path},
    )  # fmt: skip
    assert "a-secret-of-tests" not in done.stdout + done.stderr
    return done.returncode, done.stdout, done.stderr


SMALL = ["--model", "epr", "--folds", "2", "--partial", *(
    word
    for setting in ("train.max_epochs=1", "refinery.rounds=1", "model.width_multiplier=0.02",
                    "segments.hop_seconds=0.1")
    for word in ("--set", setting)
)]  # fmt: skip


@on_s3
def test_a_training_on_s3_is_the_one_on_the_disk(server, s3, emodb, tmp_path):
    here = command(
        server, "train", *SMALL, "--corpus", "emodb", "--data-root", emodb,
        "--cache", tmp_path / "cache", "--workdir", tmp_path / "here", cwd=tmp_path,
    )  # fmt: skip
    assert here[0] == 0, here[2]
    for clutter in ("emodb/.trash/03a01Wa.wav", "emodb/__MACOSX/wav/03a01Wa.wav"):
        s3.put_object(Bucket="corpora", Key=clutter, Body=b"nothing")
    there = command(
        server, "train", *SMALL, "--corpus", "emodb", "--data-root", "s3://corpora/emodb",
        "--cache", "s3://cache/features", "--set", "audio.decoder=tensorflow-io",
        "--workdir", tmp_path / "there", cwd=tmp_path,
    )  # fmt: skip
    assert there[0] == 0, there[2]
    assert there[1].splitlines()[-1] == here[1].splitlines()[-1]
    assert there[1].splitlines()[-1].startswith("RESULT model=epr corpus=emodb ")
    read = [(tmp_path / where / "predictions.csv").read_text() for where in ("here", "there")]
    assert read[0] == read[1]
    hp = json.loads((tmp_path / "there" / "hparams.json").read_text())["hparams"]
    assert hp["audio"] == {"decoder": "tensorflow-io", "channel": 0}
    # The shards are those of the disk, under the same names.
    of_disk = {
        f"features/{path.relative_to(tmp_path / 'cache')}": path.read_bytes()
        for path in (tmp_path / "cache").rglob("*.tfrecord")
    }
    of_s3 = {key: content for key, (_, content) in objects(s3, "cache").items()}
    assert {key: of_s3[key] for key in of_disk} == of_disk and len(of_disk) == 24
    assert len(of_s3) == 24 + 1  # the index


@on_s3
def test_an_extraction_continues_and_mends_what_is_damaged(server, s3, emodb, tmp_path):
    flags = ["--model", "epr", "--corpus", "emodb", "--data-root", emodb, "--cache", "s3://cache"]
    flags += ["--partial"]
    code, out, err = command(server, "extract", *flags, cwd=tmp_path)
    assert code == 0 and "utterances=24 left_out=0 " in out, err
    assert "shards=24 " in out and " folder=s3://cache/LogMel-" in out
    first = objects(s3, "cache")
    damaged, index = sorted(first)[1], next(key for key in first if key.endswith("index.json"))
    s3.put_object(Bucket="cache", Key=damaged, Body=first[damaged][1][:-40])
    s3.delete_object(Bucket="cache", Key=index)
    code, out, err = command(server, "extract", *flags, cwd=tmp_path)
    assert code == 0 and "utterances=24 left_out=0 " in out, err
    second = objects(s3, "cache")
    assert {key: content for key, (_, content) in second.items()} == {
        key: content for key, (_, content) in first.items()
    }
    untouched = [key for key in first if first[key][0] == second[key][0]]
    assert len(untouched) >= 24 - 1 - 1


@on_s3
def test_a_table_on_s3_and_one_here(server, s3, emodb, tmp_path):
    s3.upload_file(str(tmp_path / "table.csv"), "corpora", "emodb/table.csv")
    lines = []
    for flags in (
        ["--corpus", tmp_path / "table.csv", "--data-root", "s3://corpora/emodb"],
        ["--corpus", "s3://corpora/emodb/table.csv"],
    ):
        code, out, err = command(
            server, "extract", "--model", "epr", *flags, "--cache", tmp_path / "c", cwd=tmp_path
        )
        assert code == 0 and "utterances=24 left_out=0 hours=0.003 " in out, err
        lines.append(out.partition(" seconds=")[0])
    assert lines[0] == lines[1]
    s3.delete_object(Bucket="corpora", Key="emodb/wav/03a01Wa.wav")
    code, out, err = command(server, "extract", "--model", "epr", *flags, cwd=tmp_path)
    assert code == 3 and "no file s3://corpora/emodb/wav/03a01Wa.wav; files are looked for" in err


@on_s3
def test_what_is_not_on_s3(server, s3, emodb, tmp_path):
    s3.put_object(Bucket="corpora", Key="emodb/wav/16a01Wa.wav", Body=b"<html>404")
    bad = "s3://corpora/emodb/wav/16a01Wa.wav: text, not sound: '<html>404'"
    nobody = (
        "the data folder s3://nobody/emodb: No such file or bucket; see that s3://nobody is there"
    )
    for root, decoder, message in (
        ("s3://corpora/none", "soundfile", "the data folder s3://corpora/none does not exist"),
        ("s3://nobody/emodb", "soundfile", nobody),
        ("s3://corpora/emodb", "soundfile", f"1 of 25 utterances cannot be used: {bad}"),
        ("s3://corpora/emodb", "tensorflow-io", f"1 of 25 utterances cannot be used: {bad}"),
    ):
        code, out, err = command(
            server, "extract", "--model", "epr", "--corpus", "emodb", "--data-root", root,
            "--partial", "--cache", tmp_path / "c", "--set", f"audio.decoder={decoder}",
            cwd=tmp_path,
        )  # fmt: skip
        assert (code, out) == (3, "") and f"error: {message}" in err, err
    code, out, err = command(
        server, "train", *SMALL, "--corpus", "emodb", "--data-root", emodb, "--cache", "s3://no/c",
        cwd=tmp_path,
    )  # fmt: skip
    assert code == 3 and "error: --cache s3://no/c: No such file or bucket" in err


@on_s3
def test_a_stream_of_shards(server, s3, emodb, tmp_path):
    """An autoencoder reads its batches from S3; what it writes bit by bit stays here."""
    words = [
        "--model", "acnn", "--corpus", "emodb", "--data-root", "s3://corpora/emodb", "--folds", "2",
        "--cache", "s3://cache", "--workdir", "run", "--partial", "--set",
        "labels.keep=[]", "--set",
        "autoencoder.corpus=tested",
    ]  # fmt: skip
    for setting in ("units=4", "max_epochs=1", "n_bands=8", "n_layers=1"):
        words += ["--set", f"autoencoder.{setting}"]
    for setting in ("train.max_epochs=1", "input.seconds=0.5", "model.pool_steps=2",
                    "protocol.dev=utterances"):  # fmt: skip
        words += ["--set", setting]
    home = tmp_path / "home"
    code, out, err = command({**server, "HOME": str(home)}, "train", *words, cwd=tmp_path)
    assert code == 0, err[-2000:]
    [kept] = (home / ".cache" / "tfser").glob("autoencoder-*/encoder.keras")
    assert (tmp_path / "run" / "encoder.keras").read_bytes() == kept.read_bytes()
    assert {key.partition("-")[0] for key in objects(s3, "cache")} == {"LogMel", "Spectrogram"}


@on_s3
def test_readers_find_their_lists_on_s3(server, s3, tmp_path, shared_data):
    root = tmp_path / "LibriSpeech" / "dev-clean"
    for path in ("SPEAKERS.TXT", "dev-clean/84/121123/84-121123-0000.flac"):
        (tmp_path / "LibriSpeech" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "LibriSpeech" / path).write_text("84 | F | dev-clean | 8 | A\n")
        s3.upload_file(str(tmp_path / "LibriSpeech" / path), "corpora", f"LibriSpeech/{path}")
    code = (
        "import sys\nfrom tfser.corpora import loader\nfrom tfser.storage import s3\n"
        "found = [loader.load_corpus('librispeech', s3.to_path(root)) for root in sys.argv[1:]]\n"
        "print([[(u.name, u.speaker, u.gender) for u in of_root] for of_root in found])\n"
        "s3.exit_process(0)\n"
    )
    for places in ([tmp_path / "LibriSpeech", "s3://corpora/LibriSpeech"], [root, "s3://corpora"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, places)], capture_output=True, text=True,
            env={**os.environ, **server, "PYTHONPATH": str(ROOT)}, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        [here, there] = eval(done.stdout)
        assert here == there == [("84-121123-0000", "84", "female")]


@pytest.mark.parametrize("main", [train.main, extract.main, search.main])
def test_spark_shares_a_folder(main):
    pytest.importorskip("pyspark")
    words = ["--model", "epr", "--corpus", "toy", "--cache", "s3://cache", "--spark", "local[1]"]
    answer = called(main, *words)
    assert (answer.code, answer.out) == (2, "")
    assert "--spark with --cache s3://cache: its workers share a folder, not S3" in answer.err


@pytest.mark.parametrize("main", [train.main, search.main])
def test_results_are_written_to_a_disk(main):
    answer = called(main, "--model", "epr", "--corpus", "toy", "--workdir", "s3://bucket/run")
    assert (answer.code, answer.out) == (2, "")
    assert "--workdir s3://bucket/run: results are written to a disk" in answer.err


def test_the_toy_corpus_is_not_made_on_s3(tmp_path):
    words = ["--model", "epr", "--corpus", "toy", "--cache", tmp_path]
    answer = called(train.main, *words, "--data-root", "s3://bucket/toy")
    assert (answer.code, answer.out) == (2, "")
    assert "--data-root s3://bucket/toy: toy is made on a disk" in answer.err


@pytest.mark.parametrize(
    "argv, module, is_one",
    [
        (["/venv/bin/tfser-train"], None, True),
        (["-m"], "tfser.cli.train", True),
        (["pytest"], None, False),
        (["my.py"], "pytest.__main__", False),
    ],
)
def test_the_exit_code_of_another_program_is_its_own(monkeypatch, argv, module, is_one):
    monkeypatch.setattr(sys, "argv", argv)
    spec = module and importlib.util.spec_from_loader(module, None)
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=spec))
    assert base._is_command() == is_one


def test_the_toy_corpus_is_made_on_the_disk(monkeypatch, tmp_path):
    from tfser.corpora import loader
    from tfser.corpora.loader import load_corpus

    made = []
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(toy, "make", made.append)
    monkeypatch.setattr(loader, "check_folder", lambda root: root)
    monkeypatch.setattr(toy, "read", lambda root: ["one"])
    monkeypatch.setattr(loader, "check_unique_names", lambda corpus, utterances: utterances)
    monkeypatch.setattr(loader, "check_files", lambda *arguments: None)
    assert load_corpus("toy", cache=remote.to_path("s3://bucket/cache")) == ["one"]
    assert made == [tmp_path / ".cache" / "tfser" / "toy"]
