"""openSMILE's features: the values of its own wrapper, through the store, and its traps."""

import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import opensmile
import pytest
import soundfile

from tfser import audio, smile, store
from tfser.corpora import Utterance
from tfser.errors import DataError, UsageError
from tfser.smile import OpenSmile

RATE = 16000


def feature(feature_set="IS13", level="functionals"):
    return OpenSmile(sample_rate_hz=RATE, feature_set=feature_set, level=level)


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
    for path, values in zip(paths, ours.extract([audio.load(p) for p in paths]), strict=True):
        theirs = smile._smile("IS13", level).process_file(path).to_numpy()
        assert values.dtype == "float32" and values.shape == theirs.shape
        np.testing.assert_array_equal(values, theirs)


def test_is13_is_not_compare_2016():
    """The same names, other values: only the set's name tells them apart, and the key has it."""
    is13, compare = feature(), feature("ComParE_2016")
    assert is13.names == compare.names
    [[a], [b]] = is13.extract([voice()]), compare.extract([voice()])
    assert np.mean(~np.isclose(a, b, rtol=0.01)) > 0.05
    assert is13.settings() != compare.settings()
    assert is13.settings()["feature_set"] == "IS13"
    assert is13.settings()["opensmile"] == opensmile.__version__


def test_a_sample_of_one_does_not_wrap():
    wave = voice()
    wave[wave == wave.max()] = 1.0
    almost = np.minimum(wave, np.float32(32767 / 32768))
    [whole, below] = feature(level="lld").extract([wave, almost])
    np.testing.assert_array_equal(whole, below)
    # What the wrapper makes of it: -1.0 in the middle of a vowel.
    [wrapped] = smile._smile("IS13", "lld")(wave, RATE)
    assert not np.array_equal(wrapped.T, below)


def test_the_failing_file_is_named_and_the_others_are_kept(tmp_path):
    utterances = []
    for name, seconds in (("a", 0.5), ("b", 0.05), ("c", 0.7)):
        soundfile.write(tmp_path / f"{name}.wav", voice(seconds), RATE)
        utterances.append(Utterance(tmp_path / f"{name}.wav", name=name, speaker="s"))
    with pytest.raises(DataError, match=r"b\.wav: openSMILE gives NaN for its 0\.050 s; too short"):
        store.load(utterances, feature(), cache=tmp_path / "cache")
    kept = store.load(utterances, feature(), cache=tmp_path / "cache", max_bad=1)
    assert [u.name for u in kept.utterances] == ["a", "c"]
    assert kept.frames.shape == (2, 6373) and kept.offsets.tolist() == [0, 1, 2]
    [expected] = feature().extract([audio.load(tmp_path / "c.wav")])
    np.testing.assert_array_equal(kept.frames[1:], expected)


def test_what_opensmile_raises_is_the_file_s_error():
    ours = feature()
    wrong, right = ours.extract([np.array(["no samples"]), voice()])
    assert isinstance(wrong, DataError) and "openSMILE failed: " in str(wrong)
    assert right.shape == (1, 6373)


def test_a_crash_is_the_file_s_error():
    """openSMILE is C++: what goes wrong there may end the process."""
    ours, others = feature(), multiprocessing.active_children()
    [before] = ours.extract([voice()])
    [child] = set(multiprocessing.active_children()) - set(others)
    child.kill()
    crashed, after = ours.extract([voice(), voice()])
    assert isinstance(crashed, DataError) and str(crashed) == "openSMILE crashed on it"
    np.testing.assert_array_equal(after, before)


def test_the_process_ends_with_the_feature_and_with_the_program():
    ours, others = feature(), multiprocessing.active_children()
    ours.extract([voice(0.2)])
    [child] = set(multiprocessing.active_children()) - set(others)
    del ours
    child.join(timeout=30)
    assert child.exitcode == 0
    code = (
        "import multiprocessing, os, numpy as np\n"
        "from tfser.smile import OpenSmile\n"
        "ours = OpenSmile(sample_rate_hz=16000, feature_set='IS13', level='lld')\n"
        "ours.extract([np.ones(4000, 'float32')])\n"
        "print(multiprocessing.active_children()[0].pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    pid = int(killed.stdout)
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "openSMILE's process outlives a killed program"
        time.sleep(0.1)


def test_an_unknown_set():
    with pytest.raises(UsageError, match=r"has no 'IS14' \(did you mean 'IS1\d'\?\); there are"):
        feature("IS14")


def test_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(UsageError, match=r"pip install 'tfser\[opensmile\]'"):
        feature()
