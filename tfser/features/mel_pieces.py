"""What the Aux-VAE hears: pieces of 4 s in 140 mel bands (section 5.2 and the authors' code)."""

import functools

import keras
import numpy as np
import scipy.fft
import scipy.sparse
import tensorflow as tf
from numpy.lib.stride_tricks import sliding_window_view

from tfser.errors import DataError, UsageError
from tfser.features import log_mel

LEAST_POWER = 1e-10  # librosa's power_to_db


@keras.saving.register_keras_serializable(package="tfser")
class MelPieces(keras.layers.Layer):
    """Mel spectrograms in dB of pieces: waveform [batch, samples] -> [batch, n_frames, n_bands].

    librosa's `power_to_db(melspectrogram(piece), ref=np.max)` (reflected at the ends, as librosa
    did when the authors used it), -`range_db` after the piece's end, divided by -`range_db`: the
    loudest is 0 and silence 1.

    Args:
        seconds: of a piece. The store's `extract` cuts longer recordings into pieces.
        n_frames: of a piece, filled up behind its own 1 + samples // hop.
        drop_short: leave out pieces that are not whole, as the authors did.
        shortest_seconds: a last piece shorter than that is left out, unless it is the only one.
    """

    version = 1  # part of the store's key: raise it when the values change
    batch_samples = 0  # of `extract`: a recording at a time

    def __init__(
        self,
        *,
        sample_rate_hz,
        n_fft,
        hop_samples,
        n_bands,
        range_db,
        seconds,
        n_frames,
        drop_short,
        shortest_seconds,
        name=None,
    ):
        super().__init__(trainable=False, dtype="float32", name=name)
        self.arguments = {
            "sample_rate_hz": sample_rate_hz,
            "n_fft": n_fft,
            "hop_samples": hop_samples,
            "n_bands": n_bands,
            "range_db": range_db,
            "seconds": seconds,
            "n_frames": n_frames,
            "drop_short": drop_short,
            "shortest_seconds": shortest_seconds,
        }
        self.sample_rate_hz = sample_rate_hz
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
        self.hann = np.hanning(n_fft + 1)[:-1].astype("float32")  # periodic

    @functools.cached_property
    def bands(self):
        """Mel filters [bins, n_bands]."""
        rate = self.sample_rate_hz
        return log_mel.slaney_filterbank(rate, self.n_fft, self.n_features, 0.0, rate / 2)

    @functools.cached_property
    def sparse_bands(self):
        """The same, transposed: a bin is in two bands at most."""
        return scipy.sparse.csr_array(self.bands.T)

    def call(self, waveform, lengths=None):
        """One piece each, of more than n_fft // 2 samples: [batch, n_frames, n_bands].

        lengths: of the pieces [batch], in samples; what lies after them is of no account.
        """
        waveform = waveform[:, : self.n_samples]
        edge, n = self.n_fft // 2, tf.shape(waveform)[1]
        if lengths is None:
            lengths = tf.fill(tf.shape(waveform)[:1], n)
        # Reflected at both ends, of which each piece has its own.
        at, last = tf.abs(tf.range(-edge, n + edge)), lengths[:, None] - 1
        at = tf.maximum(tf.where(at > last, 2 * last - at, at), 0)  # [batch, edge + n + edge]
        frames = tf.signal.frame(tf.gather(waveform, at, batch_dims=1), self.n_fft, self.hop)
        power = log_mel.power_spectrum(frames * self.hann, self.n_fft) @ self.bands
        heard = tf.sequence_mask(1 + lengths // self.hop, tf.shape(power)[1])
        heard = tf.expand_dims(heard, -1)  # [batch, frames, 1]
        peak = tf.reduce_max(tf.where(heard, power, 0.0), axis=(1, 2), keepdims=True)
        ratio = tf.maximum(power, LEAST_POWER) / tf.maximum(peak, LEAST_POWER)
        fall = tf.minimum(-10 / np.log(10) * tf.math.log(ratio) / self.range_db, 1.0)
        # And silence, which dB call loudest.
        fall = tf.where(heard & (peak > LEAST_POWER), fall, 1.0)
        missing = self.n_frames - tf.shape(fall)[1]
        fall = tf.pad(fall, [[0, 0], [0, missing], [0, 0]], constant_values=1.0)
        return tf.reshape(fall, [-1, self.n_frames, self.n_features])

    def extract(self, waveforms):
        """List of recordings [samples] -> list of [pieces x n_frames, n_bands].

        For the store, in as many threads as there are cores: each piece equals `call`'s, in NumPy
        and SciPy, whose transforms are faster than TensorFlow's. DataError in place of a recording
        that is too short for a window's reflection; no pieces at all where `drop_short` says so.
        """
        return [self._extract(waveform) for waveform in waveforms]

    def _extract(self, waveform):
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
        """How long the pieces of a recording are, in samples."""
        n_whole, rest = divmod(n_samples, self.n_samples)
        whole = [self.n_samples] * n_whole
        shortest = self.arguments["shortest_seconds"] * self.sample_rate_hz
        counts = rest > self.n_fft // 2 and (rest >= shortest or not whole)
        return whole + [rest] * (counts and not self.arguments["drop_short"])

    def power(self, piece):
        """Mel power of one piece [samples]: [1 + samples // hop, n_bands]."""
        padded = np.pad(piece, self.n_fft // 2, mode="reflect")
        frames = sliding_window_view(padded, self.n_fft)[:: self.hop] * self.hann
        spectrum = scipy.fft.rfft(frames, overwrite_x=True)  # [frames, bins]
        return (self.sparse_bands @ (spectrum.real**2 + spectrum.imag**2).T).T

    def _fall(self, piece):
        power = self.power(piece)
        peak = power.max()
        if peak <= LEAST_POWER:
            return np.ones_like(power)
        return np.minimum(
            -10 / self.range_db * np.log10(np.maximum(power, LEAST_POWER) / peak), 1.0
        )

    def compute_output_shape(self, input_shape):
        """(batch, samples) -> (batch, n_frames, n_bands)."""
        return input_shape[0], self.n_frames, self.n_features

    def settings(self):
        """Everything the values depend on, for the store's key."""
        return {"feature": type(self).__name__, "version": self.version, **self.arguments}

    def get_config(self):
        """Keras: the arguments of the constructor."""
        return {"name": self.name, **self.arguments}


def make_mel_pieces(hp) -> MelPieces:
    """The layer of [input] and [features]."""
    return MelPieces(**hp["input"], **hp["features"])
