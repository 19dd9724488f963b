"""Magnitude spectrograms of 1 s slices, for BEGAN (section 3.2; the authors' code)."""

import keras
import numpy as np
import scipy.fft
import tensorflow as tf

from tfser.errors import UsageError
from tfser.features import stft
from tfser.features.feature_layer import FeatureLayer


@keras.saving.register_keras_serializable(package="tfser")
class Slices(FeatureLayer):
    """Magnitudes of slices: waveform [batch, samples] of one slice -> [batch, n_frames, bins].

    librosa's `abs(stft(slice))`, centred, zeros at both ends; bins are 1 + n_fft // 2. `extract`
    cuts recordings into slices without overlap.

    Args:
        slice_seconds: of a slice.
        drop_short: the authors' slices: complete, ending before the recording's last sample.
            Otherwise a rest of half a slice or more counts, padded with zeros, and so does a
            recording shorter than a slice.

    Raises UsageError unless hop, window and slice rise.

    Example:
        >>> import numpy as np
        >>> import tfser
        >>> tfser.features.Slices()(np.zeros((2, 16000), "float32")).shape
        TensorShape([2, 32, 513])
    """

    def __init__(
        self, *, sample_rate_hz=16000, slice_seconds=1.0, n_fft=1024, hop_samples=512,
        drop_short=False, name=None,
    ):  # fmt: skip
        super().__init__(locals())
        self.n_fft, self.hop = n_fft, hop_samples
        self.n_samples = round(sample_rate_hz * slice_seconds)
        if not hop_samples <= n_fft <= self.n_samples:
            raise UsageError(
                f"features.hop_samples={hop_samples}, features.n_fft={n_fft} and a slice of "
                f"{self.n_samples} samples must rise"
            )
        self.n_features = 1 + n_fft // 2  # bins
        self.n_frames = 1 + self.n_samples // hop_samples
        self.hann = stft.hann_window(n_fft)

    def call(self, waveform):
        """Return magnitudes [batch, n_frames, bins] of slices [batch, samples].

        Shorter slices are padded with zeros.
        """
        waveform = waveform[:, : self.n_samples]
        missing = self.n_samples - tf.shape(waveform)[1]
        edge = self.n_fft // 2
        padded = tf.pad(waveform, [[0, 0], [edge, edge + missing]])
        frames = tf.signal.frame(padded, self.n_fft, self.hop) * self.hann
        magnitude = tf.sqrt(stft.power_spectrum(frames, self.n_fft))
        magnitude.set_shape([None, self.n_frames, self.n_features])
        return magnitude

    def lengths(self, n_samples: int) -> list[int]:
        """Return the length in samples of each slice of a recording of `n_samples`."""
        n_complete, rest = divmod(n_samples, self.n_samples)
        if self.arguments["drop_short"]:  # strictly inside
            return [self.n_samples] * (n_complete - (rest == 0))
        complete = [self.n_samples] * n_complete
        return complete + [rest] * (rest >= self.n_samples / 2 or (not complete and rest > 0))

    def extract_one(self, waveform):
        """Return [slices x n_frames, bins] of a recording [samples], equal to `call`."""
        slices = [
            waveform[i * self.n_samples :][:n] for i, n in enumerate(self.lengths(len(waveform)))
        ]
        magnitudes = map(self._magnitude, slices)
        return np.concatenate([np.empty((0, self.n_features), "float32"), *magnitudes])

    def _magnitude(self, waveform):
        edge = self.n_fft // 2
        padded = np.zeros(self.n_samples + 2 * edge, "float32")
        padded[edge : edge + len(waveform)] = waveform
        frames = stft.split_frames(padded, self.n_fft, self.hop) * self.hann
        return np.abs(scipy.fft.rfft(frames))


def make_magnitude_slices(hp) -> Slices:
    """Return the layer of [features]."""
    names = ("sample_rate_hz", "slice_seconds", "n_fft", "hop_samples", "drop_short")
    return Slices(**{name: hp["features"][name] for name in names})
