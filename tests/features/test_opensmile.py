"""openSMILE's features: the values of its own wrapper, through the store, and its traps."""

import io
import os
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import forked
import numpy as np
import pytest
import smile_workers
import soundfile

from tfser.audio import decode
from tfser.cache import extraction, feature_cache
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError, UsageError
from tfser.features import opensmile
from tfser.features.opensmile import OpenSmile

RATE = 16000


def feature(feature_set="IS13", level="functionals"):
    return OpenSmile(sample_rate_hz=RATE, feature_set=feature_set, level=level)


def environment():
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.fixture(scope="module", autouse=True)
def own_workers():
    """No worker process is shared here."""
    with smile_workers.made_by(smile_workers.start_worker):
        yield


@pytest.fixture(scope="module")
def functionals():
    """IS13's functionals, whose process is started once for this module."""
    return feature()


def by_the_wrapper(calls, level):
    """What opensmile.Smile itself answers to each call, in a process without TensorFlow."""
    answers = [f"smile{'' if call.startswith('(') else '.'}{call}" for call in calls]
    code = (
        "import sys, numpy as np, opensmile\n"
        "levels = {'functionals': 'Functionals', 'lld': 'LowLevelDescriptors'}\n"
        f"level = opensmile.FeatureLevel[levels[{level!r}]]\n"
        "smile = opensmile.Smile(opensmile.FeatureSet.IS13, level)\n"
        f"np.savez(sys.stdout.buffer, {', '.join(answers)})\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    arrays = np.load(io.BytesIO(answer.stdout))
    return [arrays[name] for name in arrays.files]


def voice(seconds=1.0, level=0.5):
    t = np.arange(round(RATE * seconds)) / RATE
    tones = sum(np.sin(2 * np.pi * k * 150 * t) / k for k in range(1, 20))
    noise = 0.01 * np.random.default_rng(0).standard_normal(len(t))
    return (level * (tones + noise) / np.abs(tones).max()).astype("float32")


@pytest.mark.parametrize(("level", "n_features"), [("functionals", 6373), ("lld", 65)])
def test_equals_the_wrapper_s_own_reading_of_files(shared_data, level, n_features):
    # 16 kHz mono: neither resampled nor mixed.
    paths = sorted(shared_data.glob("LibriSpeech/**/*.flac"))[:2]
    assert len(paths) == 2
    ours = feature(level=level)
    assert ours.n_features == len(ours.names) == n_features
    calls = [f"process_file({str(path)!r}).to_numpy()" for path in paths]
    for values, theirs in zip(
        ours.extract([decode.load_audio(path) for path in paths]),
        by_the_wrapper(calls, level),
        strict=True,
    ):
        assert values.dtype == "float32" and values.shape == theirs.shape
        np.testing.assert_array_equal(values, theirs)


def test_is13_is_not_compare_2016(functionals):
    """The same names, other values: only the set's name tells them apart, and the key has it."""
    is13, compare = functionals, feature("ComParE_2016")
    assert is13.names == compare.names
    [[a], [b]] = is13.extract([voice()]), compare.extract([voice()])
    assert np.mean(~np.isclose(a, b, rtol=0.01)) > 0.05
    assert is13.settings() != compare.settings()
    assert is13.settings()["feature_set"] == "IS13"
    assert is13.settings()["opensmile"] == metadata.version("opensmile")


def test_a_sample_of_one_does_not_wrap(tmp_path):
    wave = voice()
    wave[wave == wave.max()] = 1.0
    almost = np.minimum(wave, np.float32(32767 / 32768))
    [whole, below] = feature(level="lld").extract([wave, almost])
    np.testing.assert_array_equal(whole, below)
    # What the wrapper makes of it: -1.0 in the middle of a vowel.
    np.save(tmp_path / "wave.npy", wave)
    [[wrapped]] = by_the_wrapper([f"(np.load({str(tmp_path / 'wave.npy')!r}), {RATE})"], "lld")
    assert not np.array_equal(wrapped.T, below)


def test_the_failing_file_is_named_and_the_others_are_kept(functionals, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction.os, "cpu_count", lambda: 1)  # a process for each thread
    utterances = []
    for name, seconds in (("a", 0.5), ("b", 0.05), ("c", 0.7)):
        soundfile.write(tmp_path / f"{name}.wav", voice(seconds), RATE)
        utterances.append(Utterance(tmp_path / f"{name}.wav", name=name, speaker="s"))
    with pytest.raises(DataError, match=r"b\.wav: openSMILE gives NaN for its 0\.050 s; too short"):
        feature_cache.load_features(utterances, functionals, cache=tmp_path / "cache")
    kept = feature_cache.load_features(utterances, functionals, cache=tmp_path / "cache", max_bad=1)
    assert [u.name for u in kept.utterances] == ["a", "c"]
    assert kept.frames.shape == (2, 6373) and kept.offsets.tolist() == [0, 1, 2]
    [expected] = functionals.extract([decode.load_audio(tmp_path / "c.wav")])
    np.testing.assert_array_equal(kept.frames[1:], expected)


def test_what_opensmile_raises_is_the_file_s_error(functionals):
    wrong, right = functionals.extract([np.array(["no samples"]), voice()])
    assert isinstance(wrong, DataError) and "openSMILE failed: " in str(wrong)
    assert right.shape == (1, 6373)


def test_a_process_killed_between_two_files_is_replaced(functionals):
    ours = functionals
    [before] = ours.extract([voice()])
    ours.idle[0].process.kill()
    [after] = ours.extract([voice()])
    np.testing.assert_array_equal(after, before)


def test_what_crashes_opensmile_twice_is_the_file_s_error(functionals, monkeypatch):
    ours, asked = functionals, []
    ask = type(ours.idle[0]).ask

    def crashes(worker, question):
        if isinstance(question, np.ndarray) and question[0] == 0.25:
            asked.append(1)
            worker.process.kill()
            worker.process.wait()
        return ask(worker, question)

    monkeypatch.setattr(type(ours.idle[0]), "ask", crashes)
    wave = voice()
    wave[0] = 0.25
    crashed, other = ours.extract([wave, voice()])
    assert isinstance(crashed, DataError) and str(crashed) == "openSMILE crashed on it, twice"
    assert other.shape == (1, 6373) and len(asked) == 2


def test_tensorflow_in_the_same_program(tmp_path):
    """Loaded after TensorFlow openSMILE corrupts the heap: it must not be in our process."""
    script = tmp_path / "script.py"  # no `if __name__ == "__main__"`, as users write them
    script.write_text(
        "import tensorflow, sys\n"
        "import numpy as np\n"
        "from tfser.features.opensmile import OpenSmile\n"
        "ours = OpenSmile(sample_rate_hz=16000, feature_set='IS13', level='lld')\n"
        "wave = np.random.default_rng(0).uniform(-0.5, 0.5, 4000).astype('float32')\n"
        "[frames] = ours.extract([wave])\n"
        "print(frames.shape[1], 'opensmile' in sys.modules)\n"
    )
    done = forked.end(forked.Process([script], env=environment()))
    assert done.out == "65 False\n", done.err


def test_the_process_ends_with_the_feature_and_with_the_program():
    ours = feature()
    process = ours.idle[0].process
    del ours
    assert process.wait(timeout=30) == 0
    code = (
        "import os\n"
        "from tfser.features.opensmile import OpenSmile\n"
        "ours = OpenSmile(sample_rate_hz=16000, feature_set='IS13', level='lld')\n"
        "print(ours.idle[0].process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    pid = int(killed.stdout.readline())
    killed.wait(timeout=30)
    deadline = time.monotonic() + 30
    while is_running(pid):
        assert time.monotonic() < deadline, "openSMILE's process outlives a killed program"
        time.sleep(0.1)


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # ended, and nobody has asked how


def test_an_unknown_set():
    with pytest.raises(UsageError, match=r"has no 'IS14' \(did you mean 'IS1\d'\?\); there are"):
        feature("IS14")


def test_not_installed(monkeypatch):
    def version(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(opensmile.metadata, "version", version)
    with pytest.raises(UsageError, match=r"pip install 'tfser\[opensmile\]'"):
        feature()


def test_z_score_by_speaker():
    rng = np.random.default_rng(0)
    speakers = np.repeat(list("abcd"), 8)
    x = rng.normal(10.0 * np.repeat(np.arange(4), 8)[:, None], 1, (32, 5)).astype("float32")
    x[:, 4] = 0.1  # a functional that never changes, and is no binary fraction
    given = x.copy()
    z = opensmile.normalize_by_speaker(x, speakers)
    for first in range(0, 32, 8):
        np.testing.assert_allclose(z[first : first + 8].mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(z[first : first + 8, :4].std(axis=0), 1, rtol=1e-6)
    assert (z[:, 4] == 0).all() and z.dtype == np.float32
    assert (x == given).all()
