"""The cache survives kills, damage, a full disk and changed files."""

import errno
import json
import logging
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import forked
import numpy as np
import pytest
import soundfile
import tensorflow as tf

from tfser.audio import decode
from tfser.cache import extraction, feature_cache, tfrecord
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError, TfserError
from tfser.features.log_mel import LogMel

RATE = 16000


class Levels:
    """A cheap feature: mean, least and greatest sample of every 10 ms."""

    sample_rate_hz = RATE
    n_features = 3
    batch_samples = 2**23

    def __init__(self, setting=1):
        self.setting = setting
        self.extracted = 0  # utterances
        self.lock = threading.Lock()

    def settings(self):
        return {"feature": "Levels", "setting": self.setting}

    def extract(self, waveforms):
        with self.lock:
            self.extracted += len(waveforms)
        blocks = [w[: len(w) // 160 * 160].reshape(-1, 160) for w in waveforms]
        return [np.stack([b.mean(1), b.min(1), b.max(1)], 1).astype("float32") for b in blocks]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(feature_cache, "SHARD_UTTERANCES", 3)
    monkeypatch.setattr(feature_cache, "MIN_SHARDS", 1)


@pytest.fixture
def corpus(tmp_path):
    """Ten utterances of different lengths, not in the order of their names."""
    rng = np.random.default_rng(0)
    utterances = []
    for number in (3, 1, 4, 0, 5, 9, 2, 6, 8, 7):
        path = tmp_path / "corpus" / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, rng.uniform(-0.5, 0.5, 1600 + 160 * number), RATE)
        utterances.append(Utterance(path, name=f"u{number}", speaker="s"))
    return utterances


@pytest.fixture
def load(corpus, tmp_path):
    def call(utterances=corpus, feature=None, **arguments):
        return feature_cache.load_features(
            utterances, feature or Levels(), cache=tmp_path / "cache", **arguments
        )

    return call


def only_folder(tmp_path):
    [folder] = (tmp_path / "cache").iterdir()
    return folder


def break_file(utterance):
    utterance.path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")


def same(first, second):
    assert first.utterances == second.utterances
    np.testing.assert_array_equal(first.frames, second.frames)
    np.testing.assert_array_equal(first.offsets, second.offsets)


def test_frames_lie_in_the_order_of_the_utterances(corpus, load):
    features = load()
    assert features.utterances == corpus
    assert features.frames.dtype == np.float32 and features.frames.shape == (145, 3)
    assert features.offsets.dtype == np.int64
    assert features.offsets.tolist() == [0, 13, 24, 38, 48, 63, 82, 94, 110, 128, 145]
    for i, utterance in enumerate(corpus):
        waveform = soundfile.read(utterance.path, dtype="float32")[0]
        part = features.frames[features.offsets[i] : features.offsets[i + 1]]
        np.testing.assert_array_equal(part, Levels().extract([waveform])[0])


@pytest.mark.parametrize(("least", "n_shards"), [(1, 4), (5, 5), (7, 10), (32, 10)])
def test_a_small_corpus_has_shards_for_all_cores(load, tmp_path, monkeypatch, least, n_shards):
    monkeypatch.setattr(feature_cache, "MIN_SHARDS", least)
    whole = load()
    assert len(list(only_folder(tmp_path).glob("shard-*"))) == n_shards
    same(load(), whole)


def test_the_second_time_nothing_is_extracted(load, tmp_path):
    first = load()
    feature = Levels()
    same(load(feature=feature), first)
    assert feature.extracted == 0
    folder = only_folder(tmp_path)
    assert folder.name.startswith("Levels-") and len(folder.name) == len("Levels-") + 16
    assert sorted(p.name for p in folder.iterdir()) == [
        "index.json",
        *(f"shard-0000{n}.tfrecord" for n in range(4)),
    ]


def test_parts_of_files(corpus, load):
    cuts = [
        Utterance(
            corpus[5].path,
            name=f"cut{n}",
            speaker="s",
            start_seconds=n * 0.03,
            end_seconds=n * 0.03 + 0.05,
        )
        for n in range(3)
    ]
    features = load(cuts)
    whole = load(corpus[5:6]).frames
    for n in range(3):
        part = features.frames[features.offsets[n] : features.offsets[n + 1]]
        np.testing.assert_array_equal(part, whole[3 * n : 3 * n + 5])


def test_the_key_is_made_of_all_that_matters(corpus, load, tmp_path):
    def folders_after(utterances, feature=None):
        load(utterances, feature)
        return len(list((tmp_path / "cache").iterdir()))

    assert folders_after(corpus) == 1
    assert folders_after(corpus, Levels(setting=2)) == 2
    assert folders_after(corpus[::-1]) == 3
    assert folders_after(corpus[:-1]) == 4
    cut = [Utterance(u.path, name=u.name, speaker="s", end_seconds=0.05) for u in corpus]
    assert folders_after(cut) == 5
    emotion = [Utterance(u.path, name=u.name, speaker="t", emotion="joy") for u in corpus]
    assert folders_after(emotion) == 5  # labels are not features
    content = bytearray(corpus[0].path.read_bytes())
    content[100] ^= 1
    corpus[0].path.write_bytes(content)  # the same size
    assert folders_after(corpus) == 6
    moved = corpus[0].path.parent.rename(tmp_path / "moved")
    elsewhere = [Utterance(moved / u.path.name, name=u.name, speaker="s") for u in corpus]
    assert folders_after(elsewhere) == 6


def test_an_older_format_is_another_key(load, tmp_path, monkeypatch):
    load()
    monkeypatch.setattr(feature_cache, "VERSION", feature_cache.VERSION + 1)
    load()
    assert len(list((tmp_path / "cache").iterdir())) == 2


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


def break_off(path):
    path.write_bytes(path.read_bytes()[:-50])


def drop_the_last_record(path):
    records = [r.numpy() for r in tf.data.TFRecordDataset(str(path))]
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(records[0])


def swap(path):
    path.write_bytes((path.parent / "shard-00000.tfrecord").read_bytes())


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_byte,
        break_off,
        drop_the_last_record,
        swap,
        Path.unlink,
        lambda p: p.write_bytes(b""),
    ],
)
@pytest.mark.parametrize("indexed", [True, False])
def test_a_damaged_shard_is_made_again_alone(load, tmp_path, damage, indexed):
    first = load()
    folder = only_folder(tmp_path)
    damage(folder / "shard-00002.tfrecord")
    if not indexed:
        (folder / "index.json").unlink()
    feature = Levels()
    same(load(feature=feature), first)
    assert feature.extracted == 3
    feature = Levels()
    same(load(feature=feature), first)
    assert feature.extracted == 0


def test_two_damaged_shards(load, tmp_path, caplog):
    first = load()
    for number in (1, 3):
        flip_a_byte(only_folder(tmp_path) / f"shard-0000{number}.tfrecord")
    feature = Levels()
    same(load(feature=feature), first)
    assert feature.extracted == 3 + 1
    assert "shard-00001.tfrecord is damaged: made again" in caplog.text


@pytest.mark.parametrize("content", ["", "{}", '{"key": "other", "shards": []}', "[1]"])
def test_a_damaged_index(load, tmp_path, content):
    first = load()
    (only_folder(tmp_path) / "index.json").write_text(content)
    feature = Levels()
    same(load(feature=feature), first)
    assert feature.extracted == 0
    assert json.loads((only_folder(tmp_path) / "index.json").read_text())["shards"]


def test_bad_files_are_an_error_that_names_them(corpus, load):
    break_file(corpus[1])
    corpus[8].path.unlink()
    with pytest.raises(DataError) as caught:
        load()
    message = str(caught.value)
    assert message.startswith("2 of 10 utterances cannot be used: ")
    assert f"{corpus[1].path}: a git-LFS pointer" in message
    assert f"{corpus[8].path}: No such file" in message
    assert message.endswith("--max-bad 2") and "\n" not in message
    with pytest.raises(DataError):
        load(max_bad=1)


def test_bad_files_may_be_left_out(corpus, load, tmp_path, caplog):
    complete = load()
    break_file(corpus[1])
    corpus[8].path.unlink()
    feature = Levels()
    with caplog.at_level(logging.WARNING, logger="tfser"):
        features = load(feature=feature, max_bad=2)
    assert features.utterances == [u for i, u in enumerate(corpus) if i not in (1, 8)]
    kept = np.repeat([i not in (1, 8) for i in range(10)], np.diff(complete.offsets))
    np.testing.assert_array_equal(features.frames, complete.frames[kept])
    assert [r.getMessage().split(":")[1] for r in caplog.records] == [" u1", " u8"]
    [index] = [
        bad
        for path in (tmp_path / "cache").glob("*/index.json")
        if (bad := json.loads(path.read_text())["bad"])
    ]
    assert [entry["name"] for entry in index] == ["u1", "u8"]
    assert "git lfs pull" in index[0]["reason"]
    feature = Levels()
    same(load(feature=feature, max_bad=2), features)
    assert feature.extracted == 0
    with pytest.raises(DataError, match="--max-bad 2"):  # also from the cache
        load()


def test_many_bad_files_are_counted_and_logged(corpus, load, caplog):
    many = [Utterance(Path(f"/none/{n}.wav"), name=f"n{n}", speaker="s") for n in range(25)]
    with pytest.raises(DataError, match="25 of 35 .*/none/19.wav.*; and 5 more, see the log; "):
        load(many + corpus)
    assert "n24: /none/24.wav: No such file" in caplog.text
    with pytest.raises(DataError, match="25 of 25 utterances .* mend them$"):
        load(many, max_bad=25)
    with pytest.raises(DataError, match="no utterances"):
        load([])


KILLED = """
import sys, time, pickle
from tfser.cache import feature_cache
feature_cache.SHARD_UTTERANCES, feature_cache.MIN_SHARDS = 3, 1
sys.path.insert(0, {tests!r})
from test_feature_cache import Levels
class Slow(Levels):
    def extract(self, waveforms):
        time.sleep(0.7)
        return super().extract(waveforms)
Slow.__name__ = "Levels"
feature_cache.load_features(pickle.load(open({corpus!r}, "rb")), Slow(), cache={cache!r})
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_extraction_continues(corpus, load, tmp_path, sent):
    import pickle

    corpus = [  # parts that overlap, as three copies would be refused
        Utterance(u.path, name=f"{u.name}-{k}", speaker="s", start_seconds=k / 50)
        for u in corpus
        for k in range(3)
    ]
    (tmp_path / "corpus.pickle").write_bytes(pickle.dumps(corpus))
    code = KILLED.format(
        tests=str(Path(__file__).parent),
        cache=str(tmp_path / "cache"),
        corpus=str(tmp_path / "corpus.pickle"),
    )
    process = forked.Process(["-c", code], env=os.environ | {"PYTHONPATH": str(forked.REPOSITORY)})
    start = time.monotonic()
    while len(list(tmp_path.glob("cache/*/shard-*.tfrecord"))) < 2:
        assert process.poll() is None and time.monotonic() - start < 60, process.communicate()
        time.sleep(0.05)
    process.send_signal(sent)
    done = forked.end(process, seconds=30)
    if sent == signal.SIGKILL:
        assert done.code == -sent and "KeyboardInterrupt" not in done.err
    else:
        assert done.code == 1 and done.err.splitlines()[-1] == "KeyboardInterrupt"
    finished = len(list(tmp_path.glob("cache/*/shard-*.tfrecord")))
    assert 2 <= finished < 10 and not list(tmp_path.glob("cache/*/index.json"))
    if sent == signal.SIGINT:
        assert not list(tmp_path.glob("cache/*/*.tmp"))

    feature = Levels()
    features = load(corpus, feature)
    assert feature.extracted == 30 - 3 * finished
    same(features, feature_cache.load_features(corpus, Levels(), cache=tmp_path / "fresh"))


def test_old_temporary_files_are_swept(load, tmp_path):
    load()
    folder = only_folder(tmp_path)
    (folder / "index.json").unlink()
    (folder / "shard-00000.tfrecord").unlink()
    left, running = folder / "shard-00000.tfrecord.a.tmp", folder / "shard-00001.tfrecord.b.tmp"
    left.touch()
    running.touch()
    os.utime(left, (0, 0))
    load()
    assert not left.exists() and running.exists()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can mount a disk")
def test_a_full_disk(corpus, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", disk], capture_output=True
    ).returncode:
        pytest.skip("a small disk cannot be mounted here")

    class Wide(Levels):
        n_features = 300

        def extract(self, waveforms):
            return [np.repeat(f, 100, axis=1) for f in super().extract(waveforms)]

    try:
        with pytest.raises(TfserError, match=f"disk full at {disk}.*--cache") as caught:
            feature_cache.load_features(corpus, Wide(), cache=disk)
        assert caught.value.exit_code == 1
        assert not list(disk.glob("*/*.tmp"))
        finished = len(list(disk.glob("*/shard-*.tfrecord")))
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
        feature = Wide()
        same(
            feature_cache.load_features(corpus, feature, cache=disk),
            feature_cache.load_features(corpus, Wide(), cache=tmp_path / "other"),
        )
        assert feature.extracted <= 10 - 3 * max(0, finished - 1)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_disk_that_fills_at_the_third_shard(load, tmp_path, monkeypatch):
    replace = os.replace

    def full(source, target):
        if Path(target).name == "shard-00002.tfrecord":
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(tfrecord.os, "replace", full)
    monkeypatch.setattr(extraction.os, "cpu_count", lambda: 1)
    with pytest.raises(TfserError, match="disk full at .*No space left on device; free space"):
        load()
    assert sorted(p.name for p in only_folder(tmp_path).iterdir()) == [
        "shard-00000.tfrecord",
        "shard-00001.tfrecord",
    ]
    monkeypatch.setattr(tfrecord.os, "replace", replace)
    feature = Levels()
    load(feature=feature)
    assert feature.extracted == 4


def test_a_cache_that_cannot_be_written(corpus, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TfserError, match="cannot write .*--cache elsewhere"):
        feature_cache.load_features(corpus, Levels(), cache=tmp_path / "file")


def test_two_extractions_at_once(corpus, tmp_path):
    results = []
    threads = [
        threading.Thread(
            target=lambda: results.append(
                feature_cache.load_features(corpus, Levels(), cache=tmp_path / "cache")
            )
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    for result in results:
        same(result, results[0])
    assert not list(only_folder(tmp_path).glob("*.tmp"))


def test_more_audio_than_is_extracted_at_once(load, monkeypatch, tmp_path):
    first = load()
    monkeypatch.setattr(Levels, "batch_samples", 2000)
    same(feature_cache.load_features(first.utterances, Levels(), cache=tmp_path / "other"), first)


def test_log_mel_of_real_speech(shared_data, tmp_path, monkeypatch):
    monkeypatch.undo()
    files = sorted(shared_data.glob("emodb/wav/*.wav"))[:70]
    utterances = [Utterance(path, name=path.stem, speaker=path.stem[:2]) for path in files]
    feature = LogMel(
        sample_rate_hz=RATE,
        window_seconds=0.025,
        hop_seconds=0.010,
        taper="hann",
        n_fft=512,
        mel="slaney",
        n_bands=64,
        low_hz=0.0,
        high_hz=8000.0,
        floor=1e-6,
        min_frames=32,
    )
    features = feature_cache.load_features(utterances, feature, cache=tmp_path)
    assert features.frames.shape == (70 * 198, 64)
    waveform = decode.load_audio(files[66])
    np.testing.assert_allclose(
        features.frames[66 * 198 : 67 * 198],
        feature(waveform[None]).numpy()[0],
        rtol=0,
        atol=2e-4,  # float32's rounding, 80 dB below the loudest band
    )
