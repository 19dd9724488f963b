"""The Keras layer that the four spectral features share."""

import functools

import keras
import numpy as np
import scipy.sparse

from tfser.features import stft


class FeatureLayer(keras.layers.Layer):
    """A layer from waveforms to features, for tf.data, the feature cache and the SavedModel.

    A subclass defines `call` in TensorFlow, `extract_one` in NumPy with equal values, n_features,
    and n_frames or `compute_output_shape`. With `mel_power` it defines `bands` [bins, n_bands].

    Args:
        arguments: `locals()` at the start of the subclass's constructor, whose arguments are the
            sample rate, all else that decides the values, and `name`.
    """

    version = 1  # part of the cache key: raise it when the values change
    batch_samples = 0  # of one `extract`; 0: one waveform

    def __init__(self, arguments):
        super().__init__(trainable=False, dtype="float32", name=arguments["name"])
        others = ("self", "name", "__class__")
        self.arguments = {key: value for key, value in arguments.items() if key not in others}
        self.sample_rate_hz = self.arguments["sample_rate_hz"]

    def extract(self, waveforms):
        """Return the features of each waveform [samples], or a DataError in place of them.

        The cache calls `extract` in one thread per core. SciPy's transforms are faster than
        TensorFlow's.
        """
        return [self.extract_one(waveform) for waveform in waveforms]

    @functools.cached_property
    def sparse_bands(self):
        """The mel filters [n_bands, bins], sparse: a bin is in two bands at most.

        A dense product has threads of its own, which compete with the threads of the cache.
        """
        return scipy.sparse.csr_array(self.bands.T)

    def mel_power(self, frames) -> np.ndarray:
        """Return mel power [frames, n_bands] of windowed frames [frames, n_fft], in NumPy."""
        return (self.sparse_bands @ stft.numpy_power_spectrum(frames).T).T

    def compute_output_shape(self, input_shape):
        """Return (batch, n_frames, n_features) for (batch, samples)."""
        return input_shape[0], self.n_frames, self.n_features

    def settings(self):
        """Return all that decides the values, for the cache key."""
        return {"feature": type(self).__name__, "version": self.version, **self.arguments}

    def get_config(self):
        """Return the arguments of the constructor, for Keras."""
        return {"name": self.name, **self.arguments}
