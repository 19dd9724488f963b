"""Features as Keras layers: one object serves the store, tf.data and the exported SavedModel."""

import contextlib
import functools

import keras
import numpy as np
import scipy.fft
import scipy.sparse
import tensorflow as tf
from numpy.lib.stride_tricks import sliding_window_view

from tfser.errors import UsageError

BLOCK_FRAMES = 512  # of extract: the spectrum of a block is 1 MB, which stays near the core
_as_products = False


@keras.saving.register_keras_serializable(package="tfser")
class LogMel(keras.layers.Layer):
    """Log mel energies: waveform [batch, samples] -> [batch, frames, n_bands].

    Power spectrum of whole windows, mel bands, natural logarithm of max(energy, floor). Waveforms
    of fewer than `min_frames` frames get zeros at the end: frames = 1 + (samples - window) // hop,
    at least min_frames.

    Args:
        taper: "hann" (periodic) or "hamming" (symmetric, openSMILE's).
        mel: "slaney", librosa's bands, or "htk", openSMILE's: triangles over mel, of height 1.
    """

    version = 3  # part of the store's key: raise it when the values change
    batch_samples = 2**23  # of `extract`: 9 min at 16 kHz

    def __init__(
        self,
        *,
        sample_rate_hz,
        window_seconds,
        hop_seconds,
        taper,
        n_fft,
        n_bands,
        mel,
        low_hz,
        high_hz,
        floor,
        min_frames,
        name=None,
    ):
        super().__init__(trainable=False, dtype="float32", name=name)
        self.arguments = {
            "sample_rate_hz": sample_rate_hz,
            "window_seconds": window_seconds,
            "hop_seconds": hop_seconds,
            "taper": taper,
            "n_fft": n_fft,
            "n_bands": n_bands,
            "mel": mel,
            "low_hz": low_hz,
            "high_hz": high_hz,
            "floor": floor,
            "min_frames": min_frames,
        }
        self.sample_rate_hz = sample_rate_hz
        self.n_features = n_bands
        self.n_fft = n_fft
        self.floor = floor
        self.window = round(window_seconds * sample_rate_hz)  # samples
        self.hop = round(hop_seconds * sample_rate_hz)  # samples
        self.shortest = self.window + (min_frames - 1) * self.hop  # samples
        if not 0 < self.hop <= self.window <= n_fft:
            raise UsageError(
                f"hop <= window <= n_fft does not hold: {self.hop}, {self.window}, "
                f"{n_fft} samples at {sample_rate_hz} Hz"
            )
        if not 0 <= low_hz < high_hz <= sample_rate_hz / 2:
            raise UsageError(
                f"bands from {low_hz} to {high_hz} Hz do not fit a rate of "
                f"{sample_rate_hz} Hz; set high_hz to {sample_rate_hz / 2:g} or less"
            )
        if not floor > 0:
            raise UsageError(f"floor = {floor}: the logarithm needs a floor above 0, e.g. 1e-6")
        tapers = {"hann": np.hanning(self.window + 1)[:-1], "hamming": np.hamming(self.window)}
        self.taper = tapers[taper].astype("float32")  # [window]

    @functools.cached_property
    def bands(self):
        """Mel filters [bins, n_bands]."""
        low_hz, high_hz = self.arguments["low_hz"], self.arguments["high_hz"]
        make = htk_filterbank if self.arguments["mel"] == "htk" else slaney_filterbank
        return make(self.sample_rate_hz, self.n_fft, self.n_features, low_hz, high_hz)

    def call(self, waveform):
        """[batch, samples] -> [batch, frames, n_bands]."""
        missing = tf.maximum(0, self.shortest - tf.shape(waveform)[1])
        log_mel = self.log_mel(tf.pad(waveform, [[0, 0], [0, missing]]))
        log_mel.set_shape([None, None, self.n_features])
        return log_mel

    def log_mel(self, waveform):
        """[..., samples] -> [..., frames, n_bands], of whole windows, nothing padded."""
        frames = tf.signal.frame(waveform, self.window, self.hop)  # [..., frames, window]
        energy = power_spectrum(frames * self.taper, self.n_fft) @ self.bands
        return tf.math.log(tf.maximum(energy, self.floor))

    def extract(self, waveforms):
        """List of waveforms [samples] -> list of [frames, n_bands], equal to `call`.

        To float32's rounding: 1e-5, and 2e-4 in bands far below the loudest of their frame. For
        the store, in as many threads as there are cores: `log_mel` in NumPy and SciPy, whose
        transforms are faster than TensorFlow's. The waveforms are laid end to end, each from a
        multiple of the hop, and cut into blocks of frames; the frames that reach from one
        waveform into the next are left out at the end.
        """
        lengths = [max(len(waveform), self.shortest) for waveform in waveforms]  # samples
        starts = np.cumsum([0, *(-(-length // self.hop) for length in lengths)])  # frames
        joined = np.zeros(starts[-1] * self.hop + self.window, "float32")
        for start, waveform in zip(starts[:-1], waveforms, strict=True):
            joined[start * self.hop :][: len(waveform)] = waveform
        windows = sliding_window_view(joined, self.window)[:: self.hop][: starts[-1]]
        # A bin is in two bands at most. And dense products have threads of their own, which get
        # in the way of the store's.
        bands = scipy.sparse.csr_array(self.bands.T)  # [n_bands, bins]
        padded = np.zeros((BLOCK_FRAMES, self.n_fft), "float32")
        log_mel = np.empty((starts[-1], self.n_features), "float32")
        for first in range(0, len(log_mel), BLOCK_FRAMES):
            block = windows[first : first + BLOCK_FRAMES]
            np.multiply(block, self.taper, out=padded[: len(block), : self.window])
            spectrum = scipy.fft.rfft(padded[: len(block)])  # [frames, bins]
            power = spectrum.real**2 + spectrum.imag**2
            energy = (bands @ power.T).T  # [frames, n_bands]
            log_mel[first : first + len(block)] = np.log(np.maximum(energy, self.floor))
        return [
            log_mel[start : start + 1 + (length - self.window) // self.hop]
            for start, length in zip(starts[:-1], lengths, strict=True)
        ]

    def compute_output_shape(self, input_shape):
        """(batch, samples) -> (batch, frames, n_bands), None where not known."""
        batch, samples = input_shape
        n_frames = None
        if samples is not None:
            n_frames = 1 + (max(samples, self.shortest) - self.window) // self.hop
        return batch, n_frames, self.n_features

    def settings(self):
        """Everything the values depend on, for the store's key."""
        return {"feature": type(self).__name__, "version": self.version, **self.arguments}

    def get_config(self):
        """Keras: the arguments of the constructor."""
        return {"name": self.name, **self.arguments}


def power_spectrum(frames, n_fft):
    """Power spectra [..., bins] of frames [..., samples], which zeros fill up to n_fft."""
    if not _as_products:
        spectrum = tf.signal.rfft(frames, [n_fft])
        return tf.math.real(spectrum) ** 2 + tf.math.imag(spectrum) ** 2
    angles = 2 * np.pi / n_fft * np.outer(np.arange(frames.shape[-1]), np.arange(n_fft // 2 + 1))
    real, imaginary = (f(angles).astype("float32") for f in (np.cos, np.sin))
    return (frames @ real) ** 2 + (frames @ imaginary) ** 2


@contextlib.contextmanager
def matrix_product_spectra():
    """Graphs made inside it have power spectra as products of matrices.

    For ONNX and TensorFlow Lite, which have no such transform, or none of any length.
    """
    global _as_products
    _as_products = True
    try:
        yield
    finally:
        _as_products = False


def slaney_filterbank(sample_rate_hz, n_fft, n_bands, low_hz, high_hz) -> np.ndarray:
    """Mel filters of librosa [bins, n_bands]: Slaney's scale, triangles of equal area."""
    # It takes half a second to import, and those who read features from the cache need none.
    import librosa.filters

    bands = librosa.filters.mel(
        sr=sample_rate_hz, n_fft=n_fft, n_mels=n_bands, fmin=low_hz, fmax=high_hz
    )
    return bands.T.copy()


def htk_filterbank(sample_rate_hz, n_fft, n_bands, low_hz, high_hz) -> np.ndarray:
    """HTK's mel filters [bins, n_bands], as openSMILE's cMelspec makes them.

    Triangles over mel(f) = 1127 ln(1 + f / 700), of height 1, without the bin of 0 Hz.
    """
    bins_hz = np.arange(n_fft // 2 + 1) * sample_rate_hz / n_fft
    low, high = (1127 * np.log1p(hz / 700) for hz in (low_hz, high_hz))
    width = (high - low) / (n_bands + 1)
    centres = low + width * np.arange(1, n_bands + 1)
    distance = np.abs(1127 * np.log1p(bins_hz / 700)[:, None] - centres)
    weights = np.maximum(0, 1 - distance / width)
    weights[0] = 0
    return weights.astype("float32")


@keras.saving.register_keras_serializable("tfser")
class Standardize(keras.layers.Layer):
    """z-score of each feature with statistics that are set, not learnt, clipped at +-`clip`.

    What is missing (NaN: a frame after the utterance's end) becomes 0, the mean.
    """

    def __init__(self, clip, **options):
        # In float32 whatever the policy: functionals reach 1e10, levels of -20 need their digits.
        super().__init__(**{"dtype": "float32"} | options)
        self.clip = clip

    def build(self, shape):
        """Makes the statistics, which change nothing until they are set."""
        options = {"shape": shape[-1:], "trainable": False}
        self.mean = self.add_weight(initializer="zeros", name="mean", **options)
        self.sd = self.add_weight(initializer="ones", name="sd", **options)

    def set_statistics(self, mean, sd):
        """Sets mean and standard deviation [features]; give 1 for what never varies."""
        self.mean.assign(mean)
        self.sd.assign(sd)

    def call(self, x):
        """[..., features] -> the same, standardized."""
        z = keras.ops.clip((x - self.mean) / self.sd, -self.clip, self.clip)
        return keras.ops.where(keras.ops.isnan(x), 0.0, z)
