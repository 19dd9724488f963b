"""Features: as Keras layers, which serve the store, tf.data and the exported SavedModel alike.

And openSMILE's, which no graph can compute; openSMILE is free for research and private use only.
"""

import functools
import warnings

import keras
import numpy as np
import scipy.fft
import scipy.sparse
import tensorflow as tf
from numpy.lib.stride_tricks import sliding_window_view

from tfser.errors import DataError, UsageError, did_you_mean

LOUDEST = 32767 / 32768  # a sample of 1.0 would wrap to -1.0 in openSMILE's 16 bits
BLOCK_FRAMES = 512  # of extract: the spectrum of a block is 1 MB, which stays near the core


@keras.saving.register_keras_serializable(package="tfser")
class LogMel(keras.layers.Layer):
    """Log mel energies (EPR §2.1.1): waveform [batch, samples] -> [batch, frames, n_bands].

    Power spectrum of whole Hann windows, Slaney's mel bands (as librosa's), natural logarithm of
    max(energy, floor). Waveforms of fewer than `min_frames` frames get zeros at the end:
    frames = 1 + (samples - window) // hop, at least min_frames.
    """

    version = 2  # part of the store's key: raise it when the values change

    def __init__(
        self,
        *,
        sample_rate_hz,
        window_seconds,
        hop_seconds,
        n_fft,
        n_bands,
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
            "n_fft": n_fft,
            "n_bands": n_bands,
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

    @functools.cached_property
    def bands(self):
        """Mel filters [bins, n_bands]."""
        # librosa takes half a second to import; those who read features from the cache need none.
        import librosa.filters

        return librosa.filters.mel(
            sr=self.sample_rate_hz,
            n_fft=self.n_fft,
            n_mels=self.n_features,
            fmin=self.arguments["low_hz"],
            fmax=self.arguments["high_hz"],
        ).T.copy()

    def call(self, waveform):
        """[batch, samples] -> [batch, frames, n_bands]."""
        missing = tf.maximum(0, self.shortest - tf.shape(waveform)[1])
        log_mel = self.log_mel(tf.pad(waveform, [[0, 0], [0, missing]]))
        return tf.ensure_shape(log_mel, [None, None, self.n_features])

    def log_mel(self, waveform):
        """[..., samples] -> [..., frames, n_bands], of whole windows, nothing padded."""
        frames = tf.signal.frame(waveform, self.window, self.hop)  # [..., frames, window]
        frames *= tf.signal.hann_window(self.window)  # periodic
        spectrum = tf.signal.rfft(frames, [self.n_fft])  # [..., frames, bins]
        power = tf.math.real(spectrum) ** 2 + tf.math.imag(spectrum) ** 2
        return tf.math.log(tf.maximum(power @ self.bands, self.floor))

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
        hann = np.hanning(self.window + 1)[:-1].astype("float32")  # periodic
        windows = sliding_window_view(joined, self.window)[:: self.hop][: starts[-1]]
        # A bin is in two bands at most. And dense products have threads of their own, which get
        # in the way of the store's.
        bands = scipy.sparse.csr_array(self.bands.T)  # [n_bands, bins]
        padded = np.zeros((BLOCK_FRAMES, self.n_fft), "float32")
        log_mel = np.empty((starts[-1], self.n_features), "float32")
        for first in range(0, len(log_mel), BLOCK_FRAMES):
            block = windows[first : first + BLOCK_FRAMES]
            np.multiply(block, hann, out=padded[: len(block), : self.window])
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


class OpenSmile:
    """openSMILE features for the store: waveform [samples] -> [frames, n_features], float32.

    Args:
        feature_set: name of opensmile.FeatureSet. IS13 (Schuller et al., Interspeech 2013) and
            ComParE_2016 have the same names and other values.
        level: "functionals", one row an utterance (IS13: 6373), or "lld", low-level descriptors
            every 10 ms (IS13: 65).

    Raises UsageError where opensmile is not installed or has no such set.
    """

    version = 1  # part of the store's key: raise it when the values change

    def __init__(self, *, sample_rate_hz, feature_set, level):
        try:
            import opensmile  # with pandas, a second
        except ImportError:
            raise UsageError(
                "openSMILE is not installed: pip install 'tfser[opensmile]' "
                "(its licence allows research and private use only)"
            ) from None
        sets = list(opensmile.FeatureSet.__members__)
        levels = {
            "functionals": opensmile.FeatureLevel.Functionals,
            "lld": opensmile.FeatureLevel.LowLevelDescriptors,
        }
        if feature_set not in sets:
            raise UsageError(
                f"features.feature_set: openSMILE {opensmile.__version__} has no {feature_set!r}"
                f"{did_you_mean(feature_set, sets)}; there are {' '.join(sets)}"
            )
        warnings.filterwarnings("ignore", "Segment too short")  # an error of ours names the file
        self.sample_rate_hz = sample_rate_hz
        self.smile = opensmile.Smile(
            feature_set=opensmile.FeatureSet[feature_set], feature_level=levels[level]
        )
        self.names = self.smile.feature_names
        self.n_features = len(self.names)
        self.arguments = {
            "sample_rate_hz": sample_rate_hz,
            "feature_set": feature_set,
            "level": level,
            "opensmile": opensmile.__version__,
        }

    def extract(self, waveforms):
        """List of waveforms [samples] -> list of [frames, n_features], DataError for a failed one.

        openSMILE works outside of Python's lock, so that the store's threads keep all cores busy.
        """
        return [self._extract(waveform) for waveform in waveforms]

    def _extract(self, waveform):
        try:
            [frames] = self.smile(np.clip(waveform, -1, LOUDEST), self.sample_rate_hz)
        except Exception as error:
            return DataError(f"openSMILE failed: {str(error).partition(chr(10))[0]}")
        if np.isfinite(frames).all():
            return frames.T
        seconds = len(waveform) / self.sample_rate_hz
        return DataError(f"openSMILE gives NaN for its {seconds:.3f} s; too short for a window")

    def settings(self):
        """What decides the values, for the store's key."""
        return {"feature": type(self).__name__, "version": self.version, **self.arguments}
