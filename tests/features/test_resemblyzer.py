"""The speaker encoder: the original's values on real speech, its parts, and its weights' file."""

from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from tfser.errors import DataError, UsageError
from tfser.features import resemblyzer, torch_archive

REFERENCE = Path(__file__).with_name("resemblyzer.npz")  # benchmarks/resemblyzer_reference.py


@pytest.fixture(scope="module")
def encoder():
    return resemblyzer.SpeakerEncoder(sample_rate_hz=16000)


@pytest.fixture(scope="module")
def content():
    return resemblyzer.find_file("pretrained.pt").read_bytes()


def noise(*lengths, level=0.1):
    rng = np.random.default_rng(0)
    return [(level * rng.standard_normal(n)).astype("float32") for n in lengths]


def test_equals_the_original_on_real_speech(encoder, content, shared_data):
    with np.load(REFERENCE) as file:
        reference = dict(file)
    linear = torch_archive.read_tensors(content, ["linear.weight", "linear.bias"])
    names = sorted({name.partition(":")[0] for name in reference})
    assert len(names) == 2

    @tf.function(input_signature=[tf.TensorSpec([None, 160, 40])])
    def run_layers(x):
        return [x := lstm(x) for lstm in encoder.lstms]

    for name in names:
        waveform, rate = soundfile.read(shared_data / name, dtype="float32")
        assert rate == encoder.sample_rate_hz
        parts, inside = encoder.split_parts(waveform[None], tf.constant([len(waveform)]))
        mel = tf.boolean_mask(parts, inside)
        expected = reference[f"{name}:mel"]
        np.testing.assert_allclose(mel.numpy()[:, ::23], expected, rtol=1e-4, atol=1e-5)
        statistics = []
        for number, x in enumerate(run_layers(mel)):
            expected = reference[f"{name}:layer_{number}"]
            np.testing.assert_allclose(x.numpy()[:, ::23, ::5], expected, atol=1e-5)
            statistics += [x.numpy().mean(axis=1).mean(axis=0), x.numpy().std(axis=1).mean(axis=0)]
        [features] = encoder.extract([waveform])
        assert features.shape == (1, 1536)
        np.testing.assert_allclose(features[0], np.concatenate(statistics), atol=1e-6)
        # The embedding, of the whole last layer.
        last = np.maximum(x.numpy()[:, -1] @ linear["linear.weight"].T + linear["linear.bias"], 0)
        mean = (last / np.linalg.norm(last, axis=1, keepdims=True)).mean(axis=0)
        embedding = mean / np.linalg.norm(mean)
        np.testing.assert_allclose(embedding, reference[f"{name}:embedding"], atol=1e-5)


def test_parts_are_those_of_the_original():
    def count(n_samples):
        """Resemblyzer's compute_partial_slices, rate=1.3, min_coverage=0.75."""
        n_frames, step = int(np.ceil((n_samples + 1) / 160)), int(np.round(16000 / 1.3 / 160))
        starts = list(range(0, max(1, n_frames - 160 + step + 1), step))
        coverage = (n_samples - starts[-1] * 160) / (160 * 160)
        return len(starts) - (coverage < 0.75 and len(starts) > 1)

    lengths = np.array([1, *range(19000, 70000, 79), 31519, 31520, 31521, 960000])
    counted = resemblyzer.count_parts(tf.constant(lengths, tf.int32))
    assert counted.numpy().tolist() == [count(n) for n in lengths]


def test_what_stands_beside_it_in_a_batch_is_of_no_account(encoder):
    waveforms = noise(1, 9000, 25600, 33333)
    alone = encoder.extract(waveforms)
    lengths = tf.constant([len(waveform) for waveform in waveforms])
    padded = np.full((4, 40000), 7.0, "float32")
    for row, waveform in zip(padded, waveforms, strict=True):
        row[: len(waveform)] = waveform
    np.testing.assert_allclose(encoder.graph(tf.constant(padded), lengths), alone, atol=1e-6)


def test_quiet_speech_is_amplified_and_loud_speech_is_not(encoder):
    [quiet], [as_loud], [loud], [louder] = (
        noise(8000, level=level) for level in (0.001, 0.0316, 0.1, 0.2)
    )
    features = encoder.extract([quiet, as_loud, loud, louder, np.zeros(8000, "float32")])
    np.testing.assert_allclose(features[0], features[1], atol=1e-3)
    assert np.abs(features[2] - features[1]).max() > 0.05
    assert np.abs(features[3] - features[2]).max() > 0.05
    assert np.isfinite(features[4]).all()


def test_another_rate(encoder):
    with pytest.raises(UsageError, match="encoder.sample_rate_hz=8000: Resemblyzer's encoder is"):
        resemblyzer.SpeakerEncoder(sample_rate_hz=8000)


def test_without_the_wheel(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    for files in (missing, lambda name: None, lambda name: []):
        monkeypatch.setattr(resemblyzer.metadata, "files", files)
        with pytest.raises(UsageError, match="pip install --no-deps resemblyzer==0.1.4"):
            resemblyzer.load_weights.__wrapped__()


def test_a_damaged_file(content, tmp_path, monkeypatch):
    path = tmp_path / "pretrained.pt"
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    monkeypatch.setattr(resemblyzer, "find_file", lambda name: path)
    with pytest.raises(DataError, match="damaged, or of another version.*--force-reinstall"):
        resemblyzer.load_weights.__wrapped__()


def test_archives_that_are_none(content):
    names = ["lstm.weight_ih_l0"]
    assert torch_archive.read_tensors(content, names)[names[0]].shape == (1024, 40)
    keys = content.index(b"94768892331376", 5882)  # the first storage's key in the list of keys
    for damaged, reason in (
        (b"", "old format"),
        (b"no pickle", "old format"),
        (content[:3000], "old format"),
        (content[:20000], "old format"),
        (content[:-4], "old format"),
        (content + b"1234", "4 bytes after the last storage"),
        (content[:keys] + b"94768892331377" + content[keys + 14 :], "old format"),
        (content.replace(b"lstm.weight_ih_l0", b"lstm.weight_xx_l0"), "lstm.weight_ih_l0"),
    ):
        with pytest.raises(DataError, match=reason):
            torch_archive.read_tensors(damaged, [*names, "similarity_bias"])


def test_a_tensor_of_columns_is_refused():
    operations = [("BINUNICODE", "w"), ("BINUNICODE", "7"), ("BININT1", 6), ("BININT1", 0),
                  ("BININT1", 2), ("BININT1", 3), ("BININT1", 1), ("BININT1", 2),
                  ("NEWFALSE", None)]  # fmt: skip
    with pytest.raises(ValueError, match="w is not stored row by row"):
        torch_archive.find_tensors(operations, ["w"])
    operations[6:8] = [("BININT1", 3), ("BININT1", 1)]
    assert torch_archive.find_tensors(operations, ["w"]) == {"w": ("7", 0, (2, 3))}
