"""Spectrograms of pieces in dB, for the Aux-VAE: 140 mel bands of 4 s (section 5.2; its code)."""

import functools

import keras
import numpy as np
import tensorflow as tf

from tfser.errors import DataError, UsageError
from tfser.features import stft
from tfser.features.feature_layer import FeatureLayer

LEAST_POWER = 1e-10  # librosa's power_to_db


@keras.saving.register_keras_serializable(package="tfser")
class MelPieces(FeatureLayer):
    """Spectrograms in dB of pieces: waveform [batch, samples] -> [batch, n_frames, n_bands].

    librosa's `power_to_db(melspectrogram(piece), ref=np.max)` (reflected at the ends, as librosa
    did when the authors used it), -`range_db` after the piece's end, divided by -`range_db`: the
    loudest is 0 and silence 1.

    Args:
        seconds: of a piece. `extract` cuts longer recordings into pieces.
        n_frames: of a piece, filled up behind its own 1 + samples // hop.
        drop_short: drop incomplete pieces, as the authors did.
        shortest_seconds: drop a shorter last piece, unless it is the only piece.
        scale: of the bands: "mel"; or "linear", the bins of the Fourier transform.

    Raises UsageError for a hop longer than a window, a piece shorter than half a window,
    fewer `n_frames` than a piece has, and another number of linear bands than of bins.

    Example:
        >>> import numpy as np
        >>> import tfser
        >>> tfser.features.MelPieces()(np.ones((2, 22050), "float32")).shape
        TensorShape([2, 176, 140])
    """

    def __init__(
        self,
        *,
        sample_rate_hz=22050,
        n_fft=2048,
        hop_samples=512,
        n_bands=140,
        range_db=80.0,
        seconds=4.0,
        n_frames=176,
        drop_short=False,
        shortest_seconds=1.0,
        scale="mel",
        name=None,
    ):
        super().__init__(locals())
        self.n_features = n_bands
        self.n_fft, self.hop, self.n_frames = n_fft, hop_samples, n_frames
        self.range_db = range_db
        self.n_samples = round(sample_rate_hz * seconds)  # of a piece
        if hop_samples > n_fft or self.n_samples <= n_fft // 2:
            raise UsageError(
                f"features.hop_samples={hop_samples}, features.n_fft={n_fft} and "
                f"input.seconds={seconds}: a window must be longer than the hop, and a piece than "
                "half a window"
            )
        if self.n_samples // hop_samples + 1 > n_frames:
            raise UsageError(
                f"a piece of {seconds} s has {self.n_samples // hop_samples + 1} frames, and "
                f"input.n_frames={n_frames} cuts them; take as many or more"
            )
        if self.is_linear and n_bands != 1 + n_fft // 2:
            raise UsageError(
                f"features.scale=linear: the bands are the {1 + n_fft // 2} bins of "
                f"features.n_fft={n_fft}, not features.n_bands={n_bands}; set them equal"
            )
        self.hann = stft.hann_window(n_fft)

    @property
    def is_linear(self) -> bool:
        """Return true where the bands are the bins of the Fourier transform."""
        return self.arguments["scale"] == "linear"

    def settings(self):
        """Return all that decides the values, for the cache key, which is older than `scale`."""
        settings = super().settings()
        return settings if self.is_linear else {k: v for k, v in settings.items() if k != "scale"}

    @functools.cached_property
    def bands(self):
        """Filters [bins, n_bands]."""
        if self.is_linear:
            return np.eye(self.n_features, dtype="float32")
        rate = self.sample_rate_hz
        return stft.slaney_filterbank(rate, self.n_fft, self.n_features, 0.0, rate / 2)

    def call(self, waveform, lengths=None):
        """Return spectrograms [batch, n_frames, n_bands] of pieces [batch, samples].

        A piece has more than n_fft // 2 samples. lengths: of the pieces [batch], in samples; the
        samples behind them do not count.
        """
        waveform = waveform[:, : self.n_samples]
        edge, n = self.n_fft // 2, tf.shape(waveform)[1]
        if lengths is None:
            lengths = tf.fill(tf.shape(waveform)[:1], n)
        # Each piece is reflected at both of its own ends.
        at, last = tf.abs(tf.range(-edge, n + edge)), lengths[:, None] - 1
        at = tf.maximum(tf.where(at > last, 2 * last - at, at), 0)  # [batch, edge + n + edge]
        frames = tf.signal.frame(tf.gather(waveform, at, batch_dims=1), self.n_fft, self.hop)
        power = stft.power_spectrum(frames * self.hann, self.n_fft)
        power = power if self.is_linear else power @ self.bands
        inside = tf.sequence_mask(1 + lengths // self.hop, tf.shape(power)[1])
        inside = tf.expand_dims(inside, -1)  # [batch, frames, 1]
        peak = tf.reduce_max(tf.where(inside, power, 0.0), axis=(1, 2), keepdims=True)
        ratio = tf.maximum(power, LEAST_POWER) / tf.maximum(peak, LEAST_POWER)
        fall = tf.minimum(-10 / np.log(10) * tf.math.log(ratio) / self.range_db, 1.0)
        # Silence is 1 too, where the ratio to its own peak would be 0 dB.
        fall = tf.where(inside & (peak > LEAST_POWER), fall, 1.0)
        missing = self.n_frames - tf.shape(fall)[1]
        fall = tf.pad(fall, [[0, 0], [0, missing], [0, 0]], constant_values=1.0)
        return tf.reshape(fall, [-1, self.n_frames, self.n_features])

    def extract_one(self, waveform):
        """Return [pieces x n_frames, n_bands] of a recording [samples], each piece equal to `call`.

        Return a DataError for a recording too short for a window's reflection, and no pieces for
        a recording without a complete piece under `drop_short`.
        """
        if len(waveform) <= self.n_fft // 2:
            least = (self.n_fft // 2 + 1) / self.sample_rate_hz
            return DataError(
                f"{len(waveform) / self.sample_rate_hz:.3f} s long, {least:.3f} s are needed"
            )
        lengths = self.lengths(len(waveform))
        features = np.ones((len(lengths), self.n_frames, self.n_features), "float32")
        for number, length in enumerate(lengths):
            piece = waveform[number * self.n_samples :][:length]
            fall = self._fall(piece)
            features[number, : len(fall)] = fall
        return features.reshape(-1, self.n_features)

    def lengths(self, n_samples: int) -> list[int]:
        """Return the length in samples of each piece of a recording of `n_samples`."""
        n_complete, rest = divmod(n_samples, self.n_samples)
        complete = [self.n_samples] * n_complete
        shortest = self.arguments["shortest_seconds"] * self.sample_rate_hz
        counts = rest > self.n_fft // 2 and (rest >= shortest or not complete)
        return complete + [rest] * (counts and not self.arguments["drop_short"])

    def power(self, piece):
        """Return the power [1 + samples // hop, n_bands] of one piece [samples]."""
        padded = np.pad(piece, self.n_fft // 2, mode="reflect")
        return self.mel_power(stft.split_frames(padded, self.n_fft, self.hop) * self.hann)

    def _fall(self, piece):
        power = self.power(piece)
        peak = power.max()
        if peak <= LEAST_POWER:
            return np.ones_like(power)
        return np.minimum(
            -10 / self.range_db * np.log10(np.maximum(power, LEAST_POWER) / peak), 1.0
        )


def make_mel_pieces(hp) -> MelPieces:
    """Return the layer of [input] and [features]."""
    return MelPieces(**hp["input"], **hp["features"])
