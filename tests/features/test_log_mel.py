"""LogMel equals librosa, and itself wherever it runs."""

import json

import forked
import keras
import librosa
import numpy as np
import pytest
import tensorflow as tf

from tfser.audio import decode
from tfser.config.hparams import load_hparams
from tfser.errors import UsageError
from tfser.features.log_mel import BLOCK_FRAMES, LogMel
from tfser.plots import spectrograms

EPR = {
    "sample_rate_hz": 16000,
    "window_seconds": 0.025,
    "hop_seconds": 0.010,
    "taper": "hann",
    "n_fft": 512,
    "mel": "slaney",
    "n_bands": 64,
    "low_hz": 0.0,
    "high_hz": 8000.0,
    "floor": 1e-6,
    "min_frames": 32,
}


def noises(*lengths):
    rng = np.random.default_rng(0)
    return [rng.uniform(-0.5, 0.5, length).astype("float32") for length in lengths]


def by_librosa(
    waveform, rate=16000, window=400, hop=160, n_fft=512, n_bands=64, low=0.0, high=8000.0
):
    # librosa lays a short window into the middle of the FFT frame.
    margin = (n_fft - window) // 2
    return librosa.feature.melspectrogram(
        y=np.pad(waveform, margin),
        sr=rate,
        n_fft=n_fft,
        win_length=window,
        hop_length=hop,
        center=False,
        n_mels=n_bands,
        fmin=low,
        fmax=high,
    ).T  # [frames, n_bands]


def energies(layer, waveform):
    return np.exp(layer(waveform[None]).numpy()[0])


def real_files(shared_data):
    files = sorted(shared_data.glob("emodb/wav/*.wav"))[::90]
    return files + sorted(shared_data.glob("RAVDESS/*/*.flac"))[::200]


def test_equals_librosa_on_real_speech(shared_data):
    layer = LogMel(**{**EPR, "floor": 1e-20})
    for path in real_files(shared_data):
        waveform = decode.load_audio(path)
        reference = by_librosa(waveform)
        ours = energies(layer, waveform)
        assert ours.shape == reference.shape == (1 + (len(waveform) - 400) // 160, 64)
        # Relative to the band and, under it, to a millionth of the loudest: the FFTs' rounding.
        np.testing.assert_allclose(ours, reference, rtol=1e-4, atol=1e-6 * reference.max())


def test_log_and_floor_on_real_speech(shared_data):
    layer = LogMel(**EPR)
    for path in real_files(shared_data):
        waveform = decode.load_audio(path)
        expected = np.log(np.maximum(by_librosa(waveform), 1e-6))
        np.testing.assert_allclose(layer(waveform[None]).numpy()[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "rate, window, hop, n_fft, n_bands, low, high",
    [
        (8000, 0.025, 0.010, 256, 40, 20.0, 4000.0),
        (44100, 0.040, 0.0125, 2048, 128, 50.0, 11000.0),
        (16000, 0.032, 0.016, 512, 26, 0.0, 8000.0),
    ],
)
def test_equals_librosa_with_other_settings(rate, window, hop, n_fft, n_bands, low, high):
    layer = LogMel(
        sample_rate_hz=rate,
        window_seconds=window,
        hop_seconds=hop,
        taper="hann",
        n_fft=n_fft,
        mel="slaney",
        n_bands=n_bands,
        low_hz=low,
        high_hz=high,
        floor=1e-20,
        min_frames=1,
    )
    [waveform] = noises(rate)
    reference = by_librosa(waveform, rate, layer.window, layer.hop, n_fft, n_bands, low, high)
    np.testing.assert_allclose(energies(layer, waveform), reference, rtol=1e-4)


def test_by_hand():
    # One window, one bin to a band: |sum of Hann window|^2 at the frequency of a cosine of bin 8
    # is (N / 4)^2, as the window's mean is 1/2 and a cosine's amplitude is halved.
    layer = LogMel(
        sample_rate_hz=512,
        window_seconds=1.0,
        hop_seconds=1.0,
        taper="hann",
        n_fft=512,
        mel="slaney",
        n_bands=8,
        low_hz=0.0,
        high_hz=256.0,
        floor=1e-9,
        min_frames=1,
    )
    tone = np.cos(2 * np.pi * 64 * np.arange(512) / 512).astype("float32")
    power = np.zeros(257)
    power[63:66] = (512 / 8) ** 2, (512 / 4) ** 2, (512 / 8) ** 2  # Hann leaks half, one bin away
    np.testing.assert_allclose(energies(layer, tone)[0], power @ layer.bands, rtol=1e-4, atol=1e-6)


def test_number_of_frames():
    layer = LogMel(**EPR)
    shortest = 400 + 31 * 160
    assert shortest == 0.335 * 16000  # EPR §4.1: a segment lasts 335 ms
    for samples, frames in [
        (1, 32),
        (400, 32),
        (shortest - 1, 32),
        (shortest, 32),
        (shortest + 159, 32),
        (shortest + 160, 33),
        (32000, 198),
    ]:
        [waveform] = noises(samples)
        assert layer(waveform[None]).shape == (1, frames, 64)
        assert layer.extract([waveform])[0].shape == (frames, 64)
        assert layer.compute_output_shape((2, samples)) == (2, frames, 64)
    assert layer.compute_output_shape((None, None)) == (None, None, 64)


def test_padding_is_zeros_at_the_end():
    layer = LogMel(**EPR)
    [waveform] = noises(1000)
    features = layer(waveform[None]).numpy()[0]
    np.testing.assert_allclose(features[:4], layer(np.pad(waveform, (0, 9000))[None])[0, :4])
    np.testing.assert_allclose(features[7:], np.log(1e-6), rtol=1e-6)  # all of it padding


def test_extract_equals_one_at_a_time():
    layer = LogMel(**EPR)
    waveforms = noises(32000, 100, 5361, 400, 16001, BLOCK_FRAMES * 160 * 2 + 77, 31999)
    for together, waveform in zip(layer.extract(waveforms), waveforms, strict=True):
        assert together.dtype == np.float32
        np.testing.assert_allclose(together, layer(waveform[None]).numpy()[0], atol=1e-6, rtol=1e-6)
        np.testing.assert_allclose(together, layer.extract([waveform])[0], atol=1e-6, rtol=1e-6)
    assert layer.extract([]) == []


def test_in_a_dataset_and_a_function():
    layer = LogMel(**EPR)
    waveforms = noises(8000, 12345, 3000)
    dataset = (
        tf.data.Dataset.from_generator(
            lambda: waveforms, output_signature=tf.TensorSpec([None], "float32")
        )
        .batch(1)
        .map(layer)
    )
    assert dataset.element_spec.shape.as_list() == [None, None, 64]
    for features, waveform in zip(dataset, waveforms, strict=True):
        np.testing.assert_allclose(features, layer(waveform[None]), atol=1e-6)
    call = tf.function(layer, input_signature=[tf.TensorSpec([None, None], "float32")])
    np.testing.assert_allclose(call(waveforms[1][None]), layer(waveforms[1][None]), atol=1e-6)


def test_config_round_trip():
    layer = LogMel(**EPR, name="bands")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(copy) is LogMel and copy.name == "bands"
    assert copy.settings() == layer.settings() == {"feature": "LogMel", "version": 3, **EPR}
    assert json.loads(json.dumps(layer.settings())) == layer.settings()


def test_stays_float32_in_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        assert LogMel(**EPR)(noises(8000)[0][None]).dtype == tf.float32
    finally:
        keras.config.set_dtype_policy("float32")


def test_saved_models(tmp_path):
    waveform = keras.Input([None], name="waveform")
    layer = LogMel(**EPR)
    layer.extract(noises(8000))  # its graph must not end in the saved model
    model = keras.Model(waveform, keras.layers.GlobalAveragePooling1D()(layer(waveform)))
    [example] = noises(20000)
    expected = model(example[None]).numpy()

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(example[None]), expected, atol=1e-6)

    model.export(tmp_path / "exported", verbose=False)
    np.save(tmp_path / "example.npy", example[None])
    code = (  # without tfser, as it is served
        "import numpy, tensorflow as tf\n"
        f"served = tf.saved_model.load({str(tmp_path / 'exported')!r}).serve\n"
        f"numpy.save({str(tmp_path / 'answer.npy')!r},"
        f" served(numpy.load({str(tmp_path / 'example.npy')!r})))\n"
    )
    done = forked.end(forked.Process(["-c", code], cwd=tmp_path))
    assert done.code == 0, done.err
    np.testing.assert_allclose(np.load(tmp_path / "answer.npy"), expected, atol=1e-5)


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"n_fft": 256}, "hop <= window <= n_fft"),
        ({"hop_seconds": 0.0}, "hop <= window"),
        ({"high_hz": 9000.0}, "set high_hz to 8000"),
        ({"low_hz": 8000.0}, "do not fit"),
        ({"floor": 0.0}, "floor above 0"),
    ],
)
def test_impossible_settings(change, reason):
    with pytest.raises(UsageError, match=reason):
        LogMel(**{**EPR, **change})


def test_defaults_are_those_of_epr_s_paper():
    found, expected = (
        layer.get_config() | {"name": ""}
        for layer in (LogMel(), LogMel(**load_hparams("epr", "casia")["features"]))
    )
    assert found == expected


def test_the_spectrogram_of_a_prediction_is_librosa_s():
    """Of 1.5 s of noise that grows by 60 dB."""
    rate = 8000
    waveform = np.random.default_rng(0).normal(size=12000) * np.logspace(-4, -1, 12000)
    expected = librosa.power_to_db(
        librosa.feature.melspectrogram(y=waveform, sr=rate, n_mels=80), ref=np.max, top_db=None
    )
    assert np.ptp(expected) > 50
    found = spectrograms.mel_decibels(waveform.astype("float32"), rate)
    np.testing.assert_allclose(found, expected, atol=1e-3)
