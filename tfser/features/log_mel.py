"""Log mel energies, for EPR and the attentive CNN."""

import functools

import keras
import numpy as np
import tensorflow as tf

from tfser.errors import UsageError
from tfser.features import stft
from tfser.features.feature_layer import FeatureLayer

BLOCK_FRAMES = 512  # of extract: the spectrum of a block is 1 MB, which fits the core's cache


@keras.saving.register_keras_serializable(package="tfser")
class LogMel(FeatureLayer):
    """Log mel energies: waveform [batch, samples] -> [batch, frames, n_bands].

    Power spectrum of full windows, mel bands, natural logarithm of max(energy, floor). Waveforms
    of fewer than `min_frames` frames get zeros at the end: frames = 1 + (samples - window) // hop,
    at least min_frames. The defaults are EPR's (section 2.1.1); ACNN's are in hparams/acnn.toml.

    Args:
        taper: "hann" (periodic) or "hamming" (symmetric, openSMILE's).
        mel: "slaney", librosa's bands, or "htk", openSMILE's: triangles over mel, of height 1.

    Raises UsageError for a window, a hop, bands or a floor that do not fit.

    Example:
        >>> import numpy as np
        >>> import tfser
        >>> layer = tfser.features.LogMel(n_bands=26, high_hz=6500.0, taper="hamming", mel="htk")
        >>> layer(np.zeros((2, 16000), "float32")).shape
        TensorShape([2, 98, 26])
    """

    version = 3
    batch_samples = 2**23  # 9 min at 16 kHz

    def __init__(
        self,
        *,
        sample_rate_hz=16000,
        window_seconds=0.025,
        hop_seconds=0.010,
        taper="hann",
        n_fft=512,
        n_bands=64,
        mel="slaney",
        low_hz=0.0,
        high_hz=8000.0,
        floor=1e-10,
        min_frames=1,
        name=None,
    ):
        super().__init__(locals())
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
        tapers = {"hann": stft.hann_window, "hamming": np.hamming}
        self.taper = tapers[taper](self.window).astype("float32")  # [window]

    @functools.cached_property
    def bands(self):
        """Mel filters [bins, n_bands]."""
        htk = self.arguments["mel"] == "htk"
        make_filterbank = stft.htk_filterbank if htk else stft.slaney_filterbank
        limits_hz = self.arguments["low_hz"], self.arguments["high_hz"]
        return make_filterbank(self.sample_rate_hz, self.n_fft, self.n_features, *limits_hz)

    def call(self, waveform):
        """Return log mel energies [batch, frames, n_bands] of waveforms [batch, samples]."""
        missing = tf.maximum(0, self.shortest - tf.shape(waveform)[1])
        log_mel = self.log_mel(tf.pad(waveform, [[0, 0], [0, missing]]))
        log_mel.set_shape([None, None, self.n_features])
        return log_mel

    def log_mel(self, waveform):
        """Return [..., frames, n_bands] of waveforms [..., samples], without padding."""
        frames = tf.signal.frame(waveform, self.window, self.hop)  # [..., frames, window]
        energy = stft.power_spectrum(frames * self.taper, self.n_fft) @ self.bands
        return tf.math.log(tf.maximum(energy, self.floor))

    def extract(self, waveforms):
        """Return log mel energies [frames, n_bands] of each waveform [samples].

        They equal those of `call` to 1e-5, and to 2e-4 in bands far below the loudest band of
        their frame: float32's rounding. The waveforms are laid end to end, each from a multiple of
        the hop, and cut into blocks of frames. Frames across two waveforms are dropped at the end.
        """
        lengths = [max(len(waveform), self.shortest) for waveform in waveforms]  # samples
        starts = np.cumsum([0, *(-(-length // self.hop) for length in lengths)])  # frames
        joined = np.zeros(starts[-1] * self.hop + self.window, "float32")
        for start, waveform in zip(starts[:-1], waveforms, strict=True):
            joined[start * self.hop :][: len(waveform)] = waveform
        frames = stft.split_frames(joined, self.window, self.hop)[: starts[-1]]
        padded = np.zeros((BLOCK_FRAMES, self.n_fft), "float32")
        log_mel = np.empty((starts[-1], self.n_features), "float32")
        for first in range(0, len(log_mel), BLOCK_FRAMES):
            block = frames[first : first + BLOCK_FRAMES]
            np.multiply(block, self.taper, out=padded[: len(block), : self.window])
            energy = self.mel_power(padded[: len(block)])  # [frames, n_bands]
            log_mel[first : first + len(block)] = np.log(np.maximum(energy, self.floor))
        return [
            log_mel[start : start + 1 + (length - self.window) // self.hop]
            for start, length in zip(starts[:-1], lengths, strict=True)
        ]

    def compute_output_shape(self, input_shape):
        """Return (batch, frames, n_bands) for (batch, samples), None for an unknown size."""
        batch, samples = input_shape
        n_frames = None
        if samples is not None:
            n_frames = 1 + (max(samples, self.shortest) - self.window) // self.hop
        return batch, n_frames, self.n_features
