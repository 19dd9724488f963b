"""The toy corpus: made once, the same everywhere, neither trivial nor hopeless."""

import time
import wave
from collections import Counter

import numpy as np
import pytest

from tfser.corpora import toy
from tfser.corpora.loader import describe_corpus, load_corpus
from tfser.errors import DataError


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def utterances(cache):
    return load_corpus("toy", cache=cache)


def samples_of(utterance):
    with wave.open(str(utterance.path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768


def test_speakers_and_emotions_are_balanced(utterances, cache):
    assert len(utterances) == 160
    assert set(Counter((u.speaker, u.emotion) for u in utterances).values()) == {10}
    assert {u.speaker: u.gender for u in utterances} == {
        "f1": "female", "f2": "female", "m1": "male", "m2": "male"}  # fmt: skip
    assert {u.emotion for u in utterances} == {"anger", "happiness", "neutral", "sadness"}
    assert utterances[0].path == cache / "toy" / toy.VERSION / "f1-anger-01.wav"
    assert utterances[0].name == "f1-anger-01"
    assert describe_corpus("toy", utterances) == (
        "toy: all 160 utterances, 4 speakers, 4 emotions: "
        "anger 40, happiness 40, neutral 40, sadness 40"
    )


def test_sound(utterances):
    for utterance in utterances:
        samples = samples_of(utterance)
        assert 1.2 * 16_000 <= len(samples) <= 1.6 * 16_000
        assert 0.005 < np.abs(samples).max() < 1.0  # heard, and not clipped


def test_the_same_bytes_every_time(utterances, tmp_path):
    started = time.perf_counter()
    again = load_corpus("toy", root=tmp_path)
    assert time.perf_counter() - started < 15  # 1 s where nothing else runs
    for one, two in zip(utterances, again, strict=True):
        assert one.path.read_bytes() == two.path.read_bytes()


def test_a_take_does_not_depend_on_the_others():
    np.random.seed(1)
    one = toy.synthesise("m2", "sadness", 7)
    np.random.seed(2)
    np.testing.assert_array_equal(one, toy.synthesise("m2", "sadness", 7))
    assert not np.array_equal(one[:1000], toy.synthesise("m2", "sadness", 8)[:1000])


@pytest.mark.parametrize(
    ("utterance", "n", "rms"),
    [(("f1", "anger", 1), 21_992, 0.031786850), (("m2", "sadness", 10), 23_775, 0.0072831184)],
)
def test_the_sound_of_this_version(utterance, n, rms):
    """Fails on a change of the synthesis: that takes a new toy.VERSION and new figures here."""
    assert toy.VERSION == "v1"
    samples = toy.synthesise(*utterance)
    assert len(samples) == n
    np.testing.assert_allclose(np.sqrt(np.mean(samples**2)), rms, rtol=1e-6)


def test_made_once(utterances, cache):
    before = [utterance.path.stat().st_mtime_ns for utterance in utterances]
    assert load_corpus("toy", cache=cache) == utterances
    assert [utterance.path.stat().st_mtime_ns for utterance in utterances] == before


def test_an_interrupted_generation_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(path, samples):
        if "m1" in path.name:
            raise KeyboardInterrupt
        path.write_bytes(b"half")

    monkeypatch.setattr(toy, "write_wav", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load_corpus("toy", cache=tmp_path)
    assert list((tmp_path / "toy").iterdir()) == []


def test_a_killed_generation_is_not_read(tmp_path):
    leftover = tmp_path / "toy" / f".{toy.VERSION}-half"
    leftover.mkdir(parents=True)
    (leftover / "f1-anger-01.wav").write_bytes(b"half")
    utterances = load_corpus("toy", cache=tmp_path)
    assert len(utterances) == 160
    assert not any("-half" in str(utterance.path) for utterance in utterances)


def test_an_incomplete_corpus_is_found(tmp_path):
    path = tmp_path / toy.VERSION / "f1-anger-01.wav"
    path.parent.mkdir()
    path.write_bytes(b"")
    with pytest.raises(DataError, match="159 of the 160 files are missing .*; remove") as error:
        load_corpus("toy", root=tmp_path)
    assert error.value.exit_code == 3


def test_difficulty(utterances):
    """A plain classifier does well for unseen speakers, and loudness alone does not tell."""
    librosa = pytest.importorskip("librosa")
    from sklearn.metrics import recall_score
    from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    bands = librosa.filters.mel(sr=16_000, n_fft=512, n_mels=40)
    statistics, energies = [], []
    for utterance in utterances:
        samples = samples_of(utterance)
        frames = np.lib.stride_tricks.sliding_window_view(samples, 400)[::160] * np.hanning(400)
        power = np.abs(np.fft.rfft(frames, 512)) ** 2  # [frames, bins]
        log_mel = np.log(power @ bands.T + 1e-8)
        statistics.append(np.concatenate([log_mel.mean(axis=0), log_mel.std(axis=0)]))
        energies.append([np.log(np.mean(samples**2))])

    def uar(x):
        svm = make_pipeline(StandardScaler(), SVC(kernel="linear", C=0.1))
        y = [utterance.emotion for utterance in utterances]
        speakers = [utterance.speaker for utterance in utterances]
        predicted = cross_val_predict(svm, x, y, groups=speakers, cv=LeaveOneGroupOut())
        return recall_score(y, predicted, average="macro")

    assert 0.80 < uar(statistics) < 0.95
    assert uar(energies) < 0.5
