"""auDeep's view of speech (section 2; Freitag et al., JMLR 18, 2017), for the autoencoder."""

import functools

import keras
import numpy as np
import scipy.fft
import scipy.sparse
import tensorflow as tf
from numpy.lib.stride_tricks import sliding_window_view

from tfser.errors import UsageError
from tfser.features import log_mel

FLAT = 1e-4  # a spectrogram whose values differ by less than that is not scaled


@keras.saving.register_keras_serializable(package="tfser")
class Spectrogram(keras.layers.Layer):
    """Mel spectrograms in dB: waveform [batch, samples] -> [batch, frames, n_bands] in [-1, 1].

    auDeep's steps: cut or padded with zeros at the end to `seconds`; pre-emphasis; windows of
    `window_seconds` every `hop_seconds`, their mean removed, periodic Hann, power; triangular mel
    bands of height 1; dB relative to the loudest band of the clip, those below `floor_db` at it;
    the clip's minimum to -1 and its maximum to 1. Silence, where auDeep stops, is -1 throughout.
    """

    version = 1  # part of the store's key: raise it when the values change
    batch_samples = 0  # of `extract`: a clip at a time

    def __init__(
        self,
        *,
        sample_rate_hz,
        window_seconds,
        hop_seconds,
        n_bands,
        pre_emphasis,
        floor_db,
        seconds,
        name=None,
    ):
        super().__init__(trainable=False, dtype="float32", name=name)
        self.arguments = {
            "sample_rate_hz": sample_rate_hz,
            "window_seconds": window_seconds,
            "hop_seconds": hop_seconds,
            "n_bands": n_bands,
            "pre_emphasis": pre_emphasis,
            "floor_db": floor_db,
            "seconds": seconds,
        }
        self.sample_rate_hz = sample_rate_hz
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
        self.hann = np.hanning(self.window + 1)[:-1].astype("float32")  # periodic

    @functools.cached_property
    def bands(self):
        """Mel filters [bins, n_bands]: triangles between bins, of mel(f) = 2595 lg(1 + f / 700)."""
        highest = 2595 * np.log10(1 + self.sample_rate_hz / 2 / 700)
        edges_hz = 700 * (10 ** (np.linspace(0, highest, self.n_features + 2) / 2595) - 1)
        edges = np.floor((self.window + 1) * edges_hz / self.sample_rate_hz)
        left, centre, right = edges[:-2], edges[1:-1], edges[2:]  # bins, [n_bands]
        bins = np.arange(self.window // 2 + 1)[:, None]
        rising = (bins - left) / np.maximum(centre - left, 1)
        falling = (right - bins) / np.maximum(right - centre, 1)
        inside = (left <= bins) & (bins < right)
        return np.where(inside, np.where(bins < centre, rising, falling), 0).astype("float32")

    def call(self, waveform):
        """[batch, samples] -> [batch, frames, n_bands]."""
        waveform = waveform[:, : self.n_samples]
        missing = self.n_samples - tf.shape(waveform)[1]
        waveform = tf.pad(waveform, [[0, 0], [1, missing]])
        waveform = waveform[:, 1:] - self.arguments["pre_emphasis"] * waveform[:, :-1]
        frames = tf.signal.frame(waveform, self.window, self.hop)  # [batch, frames, window]
        frames = (frames - tf.reduce_mean(frames, axis=-1, keepdims=True)) * self.hann
        scaled = self.scaled(log_mel.power_spectrum(frames, self.window) @ self.bands)
        scaled.set_shape([None, self.n_frames, self.n_features])
        return scaled

    def scaled(self, power):
        """Mel power [batch, frames, n_bands] -> dB to the clip's maximum, and that to [-1, 1]."""
        clip = {"axis": (1, 2), "keepdims": True}
        least = tf.reduce_min(tf.where(power > 0, power, np.inf), **clip)
        power = tf.where(power > 0, power, least) / tf.reduce_max(power, **clip)
        db = tf.maximum(10 / np.log(10) * tf.math.log(power), self.arguments["floor_db"])
        low, high = tf.reduce_min(db, **clip), tf.reduce_max(db, **clip)
        spread = high - low
        scaled = tf.where(spread > FLAT, 2 * (db - low) / spread - 1, db - low)
        return tf.where(tf.math.is_finite(scaled), scaled, -1.0)  # 0 / 0: silence

    def extract(self, waveforms):
        """List of waveforms [samples] -> list of [frames, n_bands], equal to `call`.

        For the store, in as many threads as there are cores: in NumPy and SciPy, whose transforms
        are faster than TensorFlow's, and only of the windows that are not all padding.
        """
        return [self._extract(waveform[: self.n_samples]) for waveform in waveforms]

    def _extract(self, waveform):
        # The window in which the waveform ends is the last with anything in it.
        n_heard = min(self.n_frames, len(waveform) // self.hop + 1)
        padded = np.zeros((n_heard - 1) * self.hop + self.window + 1, "float32")
        kept = waveform[: len(padded) - 1]
        padded[1 : len(kept) + 1] = kept
        emphasized = padded[1:] - np.float32(self.arguments["pre_emphasis"]) * padded[:-1]
        windows = sliding_window_view(emphasized, self.window)[:: self.hop]
        frames = windows - windows.mean(axis=1, keepdims=True)
        frames *= self.hann
        spectrum = scipy.fft.rfft(frames, overwrite_x=True)  # [heard, bins]
        bands = scipy.sparse.csr_array(self.bands.T)  # a bin is in two bands at most
        power = np.zeros((self.n_frames, self.n_features), "float32")
        power[:n_heard] = (bands @ (spectrum.real**2 + spectrum.imag**2).T).T
        heard = power > 0
        if not heard.any():
            return np.full_like(power, -1.0)
        np.maximum(power, power[heard].min(), out=power)
        db = np.maximum(10 * np.log10(power / power.max()), self.arguments["floor_db"])
        low, high = db.min(), db.max()
        return 2 * (db - low) / (high - low) - 1 if high - low > FLAT else db - low

    def compute_output_shape(self, input_shape):
        """(batch, samples) -> (batch, frames, n_bands)."""
        return input_shape[0], self.n_frames, self.n_features

    def settings(self):
        """Everything the values depend on, for the store's key."""
        return {"feature": type(self).__name__, "version": self.version, **self.arguments}

    def get_config(self):
        """Keras: the arguments of the constructor."""
        return {"name": self.name, **self.arguments}
