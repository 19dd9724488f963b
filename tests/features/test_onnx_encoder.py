"""An encoder of the user's own: its statistics, and files that are none."""

import numpy as np
import pytest
from onnx_files import WEIGHTS, write_encoder

from tfser.errors import DataError, UsageError
from tfser.features import onnx_encoder
from tfser.features.onnx_encoder import OnnxEncoder

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")


def encode(waveform):
    windows = np.lib.stride_tricks.sliding_window_view(waveform, 400)[::160]
    return windows @ WEIGHTS[:, 0].T  # [frames, 4]


def test_statistics_of_each_output(tmp_path):
    path = write_encoder(tmp_path / "tiny.onnx")
    encoder = OnnxEncoder(sample_rate_hz=8000, path=path)
    assert (encoder.n_features, encoder.sample_rate_hz) == (16, 8000)
    waveforms = [np.random.default_rng(n).normal(size=n).astype("float32") for n in (400, 5000)]
    for waveform, features in zip(waveforms, encoder.extract(waveforms), strict=True):
        frames = encode(waveform)
        outputs = (frames, np.tanh(frames))
        expected = [x for y in outputs for x in (y.mean(axis=0), y.std(axis=0))]
        assert features.dtype == np.float32
        np.testing.assert_allclose(features, [np.concatenate(expected)], atol=1e-5)


def test_a_waveform_shorter_than_a_window(tmp_path):
    encoder = OnnxEncoder(sample_rate_hz=16000, path=write_encoder(tmp_path / "tiny.onnx"))
    good, bad = encoder.extract([np.zeros(400, "float32"), np.zeros(300, "float32")])
    assert good.shape == (1, 16)
    assert isinstance(bad, DataError) and "the encoder" in str(bad)


def test_the_cache_key_is_of_the_content(tmp_path):
    one, copy = (
        OnnxEncoder(sample_rate_hz=16000, path=write_encoder(tmp_path / f"{name}.onnx"))
        for name in "ab"
    )
    other = write_encoder(tmp_path / "c.onnx", outputs=["tanh"])
    assert one.settings() == copy.settings()
    assert one.settings() != OnnxEncoder(sample_rate_hz=16000, path=other).settings()
    assert one.settings() != OnnxEncoder(sample_rate_hz=8000, path=one.path).settings()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"outputs": ["waveform"]}, r"gives \[\[1, 16000\]\], not \[1, frames, dims\] each"),
        ({"outputs": ["frames", "x"], "input_shape": (1, 200)}, "cannot encode a second"),
        ({"n_inputs": 2}, r"takes waveform tensor.float. \[1, 'samples'\], more_1 .*, not one"),
    ],
)
def test_other_shapes(tmp_path, options, reason):
    path = write_encoder(tmp_path / "tiny.onnx", **options)
    with pytest.raises(DataError, match=reason):
        OnnxEncoder(sample_rate_hz=16000, path=path)


@pytest.mark.parametrize(
    "graph",
    [
        "g (float[1, 1, n] x) => (float[1, 1, n] y) { y = Identity(x) }",
        "g (int64[1, n] x) => (int64[1, n] y) { y = Identity(x) }",
        "g () => (float y) { y = Constant<value = float {1}>() }",
    ],
)
def test_other_inputs(tmp_path, graph):
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {graph}')
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(DataError, match="takes .*, not one float waveform .1, samples.; export"):
        OnnxEncoder(sample_rate_hz=16000, path=str(tmp_path / "other.onnx"))


def test_files_that_are_no_encoder(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="encoder.path=.*none.onnx cannot be read: No such file"):
        OnnxEncoder(sample_rate_hz=16000, path=str(tmp_path / "none.onnx"))
    path = tmp_path / "text.onnx"
    for content in (b"", b"version https://git-lfs.github.com/spec/v1\n"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="is no ONNX model of one file: .*; export the encoder"):
            OnnxEncoder(sample_rate_hz=16000, path=str(path))
    monkeypatch.setattr(onnx_encoder.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="needs onnxruntime: pip install 'tfser.onnx.'"):
        OnnxEncoder(sample_rate_hz=16000, path=str(path))
