"""auDeep's mel spectrograms (section 2; Freitag et al., JMLR 18, 2017), for the autoencoder."""

import functools

import keras
import numpy as np
import tensorflow as tf

from tfser.errors import UsageError
from tfser.features import stft
from tfser.features.feature_layer import FeatureLayer

FLAT = 1e-4  # a spectrogram whose values differ by less than that is not scaled


@keras.saving.register_keras_serializable(package="tfser")
class Spectrogram(FeatureLayer):
    """Mel spectrograms in dB: waveform [batch, samples] -> [batch, frames, n_bands] in [-1, 1].

    auDeep's steps: cut or padded with zeros at the end to `seconds`; pre-emphasis; windows of
    `window_seconds` every `hop_seconds`, their mean removed, periodic Hann, power; triangular mel
    bands of height 1; dB relative to the loudest band of the clip, at least `floor_db`;
    the clip's minimum to -1 and its maximum to 1. Silence, where auDeep stops, is -1 throughout.

    Raises UsageError unless hop, window and clip rise.

    Example:
        >>> import numpy as np
        >>> import tfser
        >>> tfser.features.Spectrogram()(np.zeros((2, 16000), "float32")).shape
        TensorShape([2, 186, 128])
    """

    def __init__(
        self,
        *,
        sample_rate_hz=16000,
        window_seconds=0.080,
        hop_seconds=0.040,
        n_bands=128,
        pre_emphasis=0.95,
        floor_db=-60.0,
        seconds=7.5,
        name=None,
    ):
        super().__init__(locals())
        self.n_features = n_bands
        self.window = int(sample_rate_hz * window_seconds)  # samples, of the transform too
        self.hop = int(sample_rate_hz * hop_seconds)  # samples
        self.n_samples = round(sample_rate_hz * seconds)
        if not 0 < self.hop <= self.window <= self.n_samples:
            raise UsageError(
                f"hop_seconds={hop_seconds}, window_seconds={window_seconds} and "
                f"seconds={seconds} must rise, and the hop be a sample or more"
            )
        self.n_frames = 1 + (self.n_samples - self.window) // self.hop
        self.hann = stft.hann_window(self.window)

    @functools.cached_property
    def bands(self):
        """Mel filters [bins, n_bands]."""
        return stft.audeep_filterbank(self.sample_rate_hz, self.window, self.n_features)

    def call(self, waveform):
        """Return spectrograms [batch, frames, n_bands] of waveforms [batch, samples]."""
        waveform = waveform[:, : self.n_samples]
        missing = self.n_samples - tf.shape(waveform)[1]
        waveform = tf.pad(waveform, [[0, 0], [1, missing]])
        waveform = waveform[:, 1:] - self.arguments["pre_emphasis"] * waveform[:, :-1]
        frames = tf.signal.frame(waveform, self.window, self.hop)  # [batch, frames, window]
        frames = (frames - tf.reduce_mean(frames, axis=-1, keepdims=True)) * self.hann
        spectrogram = self.scale(stft.power_spectrum(frames, self.window) @ self.bands)
        spectrogram.set_shape([None, self.n_frames, self.n_features])
        return spectrogram

    def scale(self, power):
        """Convert mel power [batch, frames, n_bands] to dB below the maximum, then to [-1, 1]."""
        clip = {"axis": (1, 2), "keepdims": True}
        least = tf.reduce_min(tf.where(power > 0, power, np.inf), **clip)
        power = tf.where(power > 0, power, least) / tf.reduce_max(power, **clip)
        db = tf.maximum(10 / np.log(10) * tf.math.log(power), self.arguments["floor_db"])
        low, high = tf.reduce_min(db, **clip), tf.reduce_max(db, **clip)
        spread = high - low
        scaled = tf.where(spread > FLAT, 2 * (db - low) / spread - 1, db - low)
        return tf.where(tf.math.is_finite(scaled), scaled, -1.0)  # 0 / 0: silence

    def extract_one(self, waveform):
        """Return the spectrogram [frames, n_bands] of one waveform [samples], equal to `call`.

        The frames that are all padding are not computed.
        """
        waveform = waveform[: self.n_samples]
        # The last frame with samples is the frame in which the waveform ends.
        n_filled = min(self.n_frames, len(waveform) // self.hop + 1)
        padded = np.zeros((n_filled - 1) * self.hop + self.window + 1, "float32")
        waveform = waveform[: len(padded) - 1]
        padded[1 : len(waveform) + 1] = waveform
        emphasized = padded[1:] - np.float32(self.arguments["pre_emphasis"]) * padded[:-1]
        frames = stft.split_frames(emphasized, self.window, self.hop)
        frames = frames - frames.mean(axis=1, keepdims=True)
        frames *= self.hann
        power = np.zeros((self.n_frames, self.n_features), "float32")
        power[:n_filled] = self.mel_power(frames)
        is_sound = power > 0
        if not is_sound.any():
            return np.full_like(power, -1.0)
        np.maximum(power, power[is_sound].min(), out=power)
        db = np.maximum(10 * np.log10(power / power.max()), self.arguments["floor_db"])
        low, high = db.min(), db.max()
        return 2 * (db - low) / (high - low) - 1 if high - low > FLAT else db - low
