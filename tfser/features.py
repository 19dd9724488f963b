"""Features as Keras layers: one object serves the store, tf.data and the exported SavedModel."""

import keras
import numpy as np
import tensorflow as tf

from tfser.errors import UsageError

BLOCK_FRAMES = 4096  # of extract: the spectrum of a block is 8 MB, which stays near the cores


@keras.saving.register_keras_serializable(package="tfser")
class LogMel(keras.layers.Layer):
    """Log mel energies (EPR §2.1.1): waveform [batch, samples] -> [batch, frames, n_bands].

    Power spectrum of whole Hann windows, Slaney's mel bands (as librosa's), natural logarithm of
    max(energy, floor). Waveforms of fewer than `min_frames` frames get zeros at the end:
    frames = 1 + (samples - window) // hop, at least min_frames.
    """

    version = 1  # part of the store's key: raise it when the values change

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
        # librosa takes half a second to import; here only those who use it pay.
        import librosa.filters

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
        self.bands = librosa.filters.mel(
            sr=sample_rate_hz, n_fft=n_fft, n_mels=n_bands, fmin=low_hz, fmax=high_hz
        ).T.copy()  # [bins, n_bands]

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
        """List of waveforms [samples] -> list of [frames, n_bands], the same values as `call`.

        A TensorFlow call costs as much as a second of speech. So the waveforms are laid end to
        end, each from a multiple of the hop, and cut into blocks of frames; the frames that
        reach from one waveform into the next are left out at the end.
        """
        lengths = [max(len(waveform), self.shortest) for waveform in waveforms]  # samples
        starts = np.cumsum([0, *(-(-length // self.hop) for length in lengths)])  # frames
        joined = np.zeros(starts[-1] * self.hop + self.window, "float32")
        for start, waveform in zip(starts[:-1], waveforms, strict=True):
            joined[start * self.hop :][: len(waveform)] = waveform
        frames = np.empty((starts[-1], self.n_features), "float32")
        for first in range(0, len(frames), BLOCK_FRAMES):
            last = min(first + BLOCK_FRAMES, len(frames)) - 1
            block = joined[first * self.hop : last * self.hop + self.window]
            with tf.device("CPU:0"):  # a GPU's TF32 matrix products would leave other values
                frames[first : last + 1] = self.graph(block)
        return [
            frames[start : start + 1 + (length - self.window) // self.hop]
            for start, length in zip(starts[:-1], lengths, strict=True)
        ]

    @property
    def graph(self):
        """`log_mel` of one waveform as a graph, which runs in any thread."""
        if "_graph" not in self.__dict__:
            # Written past Keras, which would save the function with every model.
            self.__dict__["_graph"] = tf.function(
                self.log_mel, input_signature=[tf.TensorSpec([None], "float32")]
            )
        return self.__dict__["_graph"]

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
