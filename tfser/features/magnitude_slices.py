"""What BEGAN sees: slices of 1 s as magnitude spectrograms (section 3.2 and the authors' code)."""

import functools

import keras
import numpy as np
import scipy.fft
import tensorflow as tf
from numpy.lib.stride_tricks import sliding_window_view

from tfser.errors import UsageError
from tfser.features import log_mel


@keras.saving.register_keras_serializable(package="tfser")
class Slices(keras.layers.Layer):
    """Magnitudes of slices: waveform [batch, samples] of one slice -> [batch, n_frames, bins].

    librosa's `abs(stft(slice))`, centred, zeros at both ends; bins are 1 + n_fft // 2. The store's
    `extract` cuts recordings into slices without overlap.

    Args:
        slice_seconds: of a slice.
        drop_short: the authors' slices: whole ones that end before the recording's last sample.
            Otherwise a rest of half a slice or more counts, padded with zeros, and so does a
            recording shorter than a slice.
    """

    version = 1  # part of the store's key: raise it when the values change
    batch_samples = 0  # of `extract`: a recording at a time

    def __init__(self, *, sample_rate_hz, slice_seconds, n_fft, hop_samples, drop_short, name=None):
        super().__init__(trainable=False, dtype="float32", name=name)
        self.arguments = {
            "sample_rate_hz": sample_rate_hz,
            "slice_seconds": slice_seconds,
            "n_fft": n_fft,
            "hop_samples": hop_samples,
            "drop_short": drop_short,
        }
        self.sample_rate_hz = sample_rate_hz
        self.n_fft, self.hop = n_fft, hop_samples
        self.n_samples = round(sample_rate_hz * slice_seconds)
        if not hop_samples <= n_fft <= self.n_samples:
            raise UsageError(
                f"features.hop_samples={hop_samples}, features.n_fft={n_fft} and a slice of "
                f"{self.n_samples} samples must rise"
            )
        self.n_features = 1 + n_fft // 2  # bins
        self.n_frames = 1 + self.n_samples // hop_samples

    @functools.cached_property
    def hann(self):
        """The window [n_fft], periodic."""
        return np.hanning(self.n_fft + 1)[:-1].astype("float32")

    def call(self, waveform):
        """[batch, samples], filled up with zeros to a slice -> [batch, n_frames, bins]."""
        waveform = waveform[:, : self.n_samples]
        missing = self.n_samples - tf.shape(waveform)[1]
        edge = self.n_fft // 2
        padded = tf.pad(waveform, [[0, 0], [edge, edge + missing]])
        frames = tf.signal.frame(padded, self.n_fft, self.hop) * self.hann
        magnitude = tf.sqrt(log_mel.power_spectrum(frames, self.n_fft))
        magnitude.set_shape([None, self.n_frames, self.n_features])
        return magnitude

    def lengths(self, n_samples: int) -> list[int]:
        """How long the slices of a recording are, in samples."""
        n_whole, rest = divmod(n_samples, self.n_samples)
        if self.arguments["drop_short"]:  # strictly inside
            return [self.n_samples] * (n_whole - (rest == 0))
        whole = [self.n_samples] * n_whole
        return whole + [rest] * (rest >= self.n_samples / 2 or (not whole and rest > 0))

    def extract(self, waveforms):
        """List of recordings [samples] -> list of [slices x n_frames, bins], equal to `call`."""
        return [self._extract(waveform) for waveform in waveforms]

    def _extract(self, waveform):
        slices = [
            waveform[i * self.n_samples :][:n] for i, n in enumerate(self.lengths(len(waveform)))
        ]
        return np.concatenate([np.empty((0, self.n_features), "float32"), *map(self._one, slices)])

    def _one(self, part):
        edge = self.n_fft // 2
        padded = np.zeros(self.n_samples + 2 * edge, "float32")
        padded[edge : edge + len(part)] = part
        windows = sliding_window_view(padded, self.n_fft)[:: self.hop] * self.hann
        return np.abs(scipy.fft.rfft(windows, overwrite_x=True))

    def compute_output_shape(self, input_shape):
        """(batch, samples) -> (batch, n_frames, bins)."""
        return input_shape[0], self.n_frames, self.n_features

    def settings(self):
        """Everything the values depend on, for the store's key."""
        return {"feature": type(self).__name__, "version": self.version, **self.arguments}

    def get_config(self):
        """Keras: the arguments of the constructor."""
        return {"name": self.name, **self.arguments}


def make_magnitude_slices(hp) -> Slices:
    """The layer of [features]."""
    names = ("sample_rate_hz", "slice_seconds", "n_fft", "hop_samples", "drop_short")
    return Slices(**{name: hp["features"][name] for name in names})
