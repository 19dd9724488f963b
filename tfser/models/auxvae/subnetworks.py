"""The six networks of figure 1: of h and of m over time, and frame by frame."""

import keras
import tensorflow as tf
from keras import layers, ops


@keras.saving.register_keras_serializable("tfser")
class MeanOfChunks(layers.Layer):
    """Means over time: [batch, frames, n] -> [batch, chunks, n].

    Chunks have `size` frames, the last chunk the frames that remain. size=None: one chunk.
    """

    def __init__(self, size, **options):
        super().__init__(**options)
        self.size = size

    def call(self, x):
        """Average [batch, frames, n] to [batch, chunks, n]."""
        if self.size is None:
            return ops.mean(x, axis=1, keepdims=True)
        n_frames = ops.shape(x)[1]
        n_chunks = (n_frames + self.size - 1) // self.size
        padded = ops.pad(x, [[0, 0], [0, n_chunks * self.size - n_frames], [0, 0]])
        sums = ops.sum(ops.reshape(padded, (-1, n_chunks, self.size, x.shape[-1])), axis=2)
        counts = ops.minimum(self.size, n_frames - self.size * ops.arange(n_chunks))
        return sums / ops.cast(counts, x.dtype)[:, None]

    def compute_output_shape(self, shape):
        """Return (batch, chunks, n), with None for an unknown number of chunks."""
        n_chunks = 1 if self.size is None else None
        return shape[0], n_chunks, shape[-1]

    def get_config(self):
        """Return the arguments of the constructor."""
        return super().get_config() | {"size": self.size}


def timescale(n_inputs, n_latent, chunk_frames, name) -> keras.Model:
    """Build the network of h and of m: [batch, frames, n_inputs] -> [batch, chunks, 2 n_latent].

    The last convolution, of one frame, is linear: the mean over time may come before it.
    """
    x = inputs = keras.Input((None, n_inputs))
    for filters in (n_latent // 4, n_latent // 2, n_latent):
        x = layers.Conv1D(filters, 3, kernel_initializer=_initializer())(x)
        x = _normalize(layers.Activation("tanh")(x))
    x = MeanOfChunks(chunk_frames, dtype="float32")(x)  # of frames - 6, as nothing is padded
    return keras.Model(inputs, _dense(2 * n_latent, dtype="float32")(x), name=name)


def frame_by_frame(n_inputs, sizes, n_outputs, name, activation=None) -> keras.Model:
    """Build convolutions of one frame: [batch, frames, n_inputs] -> [batch, frames, n_outputs]."""
    x = inputs = keras.Input((None, n_inputs))
    for size in sizes:
        x = _normalize(layers.Activation("tanh")(_dense(size)(x)))
    x = _dense(n_outputs, activation=activation, dtype="float32")(x)
    return keras.Model(inputs, x, name=name)


def _dense(n, **options):
    return layers.Dense(n, kernel_initializer=_initializer(), **options)


def _initializer():
    """Return PyTorch's initializer: uniform up to 1 / sqrt(inputs)."""
    return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")


def _normalize(x):
    synchronized = tf.distribute.get_strategy().num_replicas_in_sync > 1
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, synchronized=synchronized)(x)
