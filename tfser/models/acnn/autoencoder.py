"""The recurrent autoencoder of section 2, as in auDeep (Freitag et al., JMLR 18, 2017)."""

import keras
import tensorflow as tf
from keras import layers, ops

from tfser.training import loop
from tfser.training.paper_network import PaperNetwork


@keras.saving.register_keras_serializable("tfser")
class GRU(layers.Layer):
    """Gated recurrent units of TensorFlow 1, as in auDeep.

    x [batch, steps, features], h0 [batch, units] -> states of all steps [batch, steps, units] and
    the last [batch, units]:

        z, r = sigmoid([x_t, h] W_g + b_g),  c = tanh([x_t, r h] W_c + b_c),  h = z h + (1 - z) c

    The same as keras.layers.GRU(reset_after=False), at 1.9 times its speed on a CPU
    (benchmarks/recurrent.py): products that do not depend on the state are computed for all steps
    at once, forwards and backwards. Under mixed precision these products are in 16 bits and the
    state is in float32: a step may add less to the state than 16 bits can resolve.
    """

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units

    def build(self, x_shape, initial_state_shape):
        """Make the weights [inputs + units, ...]: Glorot's, gates open at first (biases of 1)."""
        n = x_shape[-1] + self.units
        self.gates = self.add_weight((n, 2 * self.units), "glorot_uniform", name="gates")
        self.candidate = self.add_weight((n, self.units), "glorot_uniform", name="candidate")
        self.gates_bias = self.add_weight((2 * self.units,), "ones", name="gates_bias")
        self.candidate_bias = self.add_weight((self.units,), "zeros", name="candidate_bias")

    def call(self, x, initial_state):
        """Return (states of all steps, the last state)."""
        n = x.shape[-1]
        weights = ops.concatenate([self.gates[:n], self.candidate[:n]], axis=1)
        bias = ops.concatenate([self.gates_bias, self.candidate_bias], axis=0)
        driven = ops.matmul(ops.transpose(x, (1, 0, 2)), weights) + bias  # [steps, batch, 3 units]
        driven, first = (ops.cast(x, "float32") for x in (driven, initial_state))
        states = _recurrence(driven, first, self.gates[n:], self.candidate[n:])
        states = ops.cast(states, self.compute_dtype)
        return ops.transpose(states, (1, 0, 2)), states[-1]

    def compute_output_shape(self, x_shape, initial_state_shape):
        """Return the shapes of all states and of the last state."""
        return (*x_shape[:2], self.units), initial_state_shape

    def get_config(self):
        """Return the arguments of the constructor."""
        return super().get_config() | {"units": self.units}


@tf.custom_gradient
def _recurrence(driven, first, gates, candidate):
    """Return the states [steps, batch, units] for inputs [steps, batch, 3 units], first state."""
    n_steps, units = tf.shape(driven)[0], first.shape[-1]

    def product(x, weights):
        return tf.cast(tf.cast(x, weights.dtype) @ weights, x.dtype)

    def of_weights(x, d):
        return tf.tensordot(tf.cast(x, gates.dtype), tf.cast(d, gates.dtype), [[0, 1], [0, 1]])

    def arrays(*sizes):
        batch = first.shape[0]  # None where it may be any
        return [tf.TensorArray(driven.dtype, n_steps, element_shape=[batch, n]) for n in sizes]

    def forward(t, h, *written):
        z_r = tf.sigmoid(driven[t, :, : 2 * units] + product(h, gates))
        z, r = z_r[:, :units], z_r[:, units:]
        c = tf.tanh(driven[t, :, 2 * units :] + product(r * h, candidate))
        h = c + z * (h - c)
        new = h, z_r, c
        return t + 1, h, *(array.write(t, x) for array, x in zip(written, new, strict=True))

    written = tf.while_loop(
        lambda t, *_: t < n_steps, forward, (0, first, *arrays(units, 2 * units, units))
    )[2:]
    states, z_r, c = (array.stack() for array in written)

    def gradient(d_states):
        before = tf.concat([first[None], states[:-1]], axis=0)
        z, r = z_r[..., :units], z_r[..., units:]
        gates_t, candidate_t = tf.transpose(gates), tf.transpose(candidate)
        # Independent of later steps: the factors of the derivatives by the gates' inputs.
        by_c, by_z, by_r = (1 - z) * (1 - c * c), (before - c) * z * (1 - z), before * r * (1 - r)

        def backward(t, d_h, *written):
            d_h = d_h + d_states[t]
            d_c = d_h * by_c[t]
            d_rh = product(d_c, candidate_t)
            d_z_r = tf.concat([d_h * by_z[t], d_rh * by_r[t]], axis=1)
            d_h = d_h * z[t] + d_rh * r[t] + product(d_z_r, gates_t)
            new = d_z_r, d_c
            return t - 1, d_h, *(array.write(t, x) for array, x in zip(written, new, strict=True))

        _, d_first, *written = tf.while_loop(
            lambda t, *_: t >= 0,
            backward,
            (n_steps - 1, tf.zeros_like(first), *arrays(2 * units, units)),
        )
        d_z_r, d_c = (array.stack() for array in written)
        return (
            tf.concat([d_z_r, d_c], axis=-1),
            d_first,
            of_weights(before, d_z_r),
            of_weights(r * before, d_c),
        )

    return states, gradient


def encoder(shape, *, n_layers, units, n_directions, dropout, n_outputs) -> keras.Model:
    """Build the encoder: spectrogram [batch, frames, bands] -> representation [batch, n_outputs].

    tanh(Dense(the last states of all layers)).
    """
    spectrogram = keras.Input(shape)
    zero = ops.zeros_like(spectrogram[:, 0, :1])  # [batch, 1]
    first = [[ops.repeat(zero, units, axis=1)] * n_directions] * n_layers
    _, last = _stacks(spectrogram, first, units, dropout)
    states = layers.Concatenate()(last) if len(last) > 1 else last[0]
    options = {"activation": "tanh", "name": "representation", "dtype": "float32"}
    representation = layers.Dense(n_outputs, **options)(states)
    return keras.Model(spectrogram, representation, name="encoder")


def decoder(shape, *, n_layers, units, n_directions, dropout) -> keras.Model:
    """Build the decoder: (representation, target [batch, frames, bands]) -> reconstruction.

    The input of a step is the target's frame before it, a zero frame at first. With two directions
    the backward half reads the target of a frame before it outputs the frame.
    """
    representation = keras.Input((n_layers * n_directions * units,))
    target = keras.Input(shape)
    before = layers.ZeroPadding1D((1, 0))(target)[:, :-1]
    # By layer, then by direction.
    first = [
        [representation[:, i * units : (i + 1) * units] for i in range(n, n + n_directions)]
        for n in range(0, n_layers * n_directions, n_directions)
    ]
    outputs, _ = _stacks(before, first, units, dropout)
    options = {"activation": "tanh", "name": "reconstruction", "dtype": "float32"}
    reconstruction = layers.Dense(shape[-1], **options)(outputs)
    return keras.Model([representation, target], reconstruction, name="decoder")


def _stacks(x, first, units, dropout):
    """Stack GRUs; two directions are two stacks that are joined at the top alone.

    first: initial states by layer and direction. Dropout at the input and the output of each GRU,
    drawn for each step. Return the outputs [batch, frames, directions x units] and the last states.
    """
    outputs, last = [], []
    for direction in range(len(first[0])):
        y = ops.flip(x, axis=1) if direction else x
        for initial in first:
            y, state = GRU(units)(layers.Dropout(dropout)(y), initial[direction])
            y = layers.Dropout(dropout)(y)
            last.append(state)
        outputs.append(ops.flip(y, axis=1) if direction else y)
    return layers.Concatenate()(outputs) if len(outputs) > 1 else outputs[0], last


@keras.saving.register_keras_serializable("tfser")
class SequenceAutoencoder(PaperNetwork, keras.Model):
    """Figure 1, left: mel spectrogram -> the same, reversed in time (section 2; auDeep).

    Input: [batch, n_frames, n_bands] in [-1, 1], as of `tfser.features.Spectrogram`. Output:
    reconstruction of the same shape, the last frame first. `fit` takes spectrograms alone. The
    `encoder` gives the representation [batch, layers x decoder directions x units] for `ACNN`.

    Args:
        n_frames: frames of a clip; 186 are 7.5 s.
        n_bands: mel bands.
        n_layers: GRUs on top of each other, in encoder and decoder.
        units: of a GRU.
        bidirectional_encoder, bidirectional_decoder: whether a second stack runs backwards.
        dropout: dropped share of the input and the output of each GRU.

    Example:
        >>> import numpy as np
        >>> import tfser
        >>> model = tfser.models.SequenceAutoencoder(n_frames=9, n_bands=5, n_layers=1, units=4)
        >>> model.compile()
        >>> clips = np.random.default_rng(0).uniform(-1, 1, (6, 9, 5))
        >>> history = model.fit(clips, batch_size=3, verbose=0)
        >>> model.encoder.predict(clips, verbose=0).shape  # two directions of the decoder
        (6, 8)
    """

    def __init__(
        self,
        n_frames=186,
        n_bands=128,
        *,
        n_layers=2,
        units=256,
        bidirectional_encoder=False,
        bidirectional_decoder=True,
        dropout=0.2,
        name="autoencoder",
    ):
        shape = n_frames, n_bands
        sizes = {"n_layers": n_layers, "units": units, "dropout": dropout}
        n_directions = 1 + bidirectional_decoder
        encode = encoder(
            shape,
            **sizes,
            n_directions=1 + bidirectional_encoder,
            n_outputs=n_layers * n_directions * units,
        )
        decode = decoder(shape, **sizes, n_directions=n_directions)
        spectrogram = keras.Input(shape)
        reconstruction = decode([encode(spectrogram), ops.flip(spectrogram, axis=1)])
        super().__init__(spectrogram, reconstruction, name=name)
        self.settings = {
            "n_frames": n_frames, "n_bands": n_bands, "n_layers": n_layers, "units": units,
            "bidirectional_encoder": bidirectional_encoder,
            "bidirectional_decoder": bidirectional_decoder, "dropout": dropout,
        }  # fmt: skip

    @property
    def encoder(self) -> keras.Model:
        """The network from spectrograms to representations."""
        return self.get_layer("encoder")

    def compile(self, optimizer=None, loss=None, metrics=(), **options):
        """Compile with auDeep's Adam, gradients clipped by value, on the RMSE.

        Args:
            optimizer: in place of the paper's, as keras.Model.compile takes it.
            loss: in place of the RMSE.
            metrics, options: see keras.Model.compile.
        """
        self.record_compile(optimizer=optimizer, loss=loss, metrics=metrics, **options)
        super().compile(
            optimizer or keras.optimizers.Adam(1e-3, clipvalue=2.0),
            loss or rmse,
            metrics=metrics or None,
            **{"jit_compile": loop.choose_jit_compile()} | options,
        )

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the loss of reconstructions; without y the target is x, reversed in time."""
        y = ops.flip(x, axis=1) if y is None else y
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Update the metrics; without y the target is x, reversed in time."""
        y = ops.flip(x, axis=1) if y is None else y
        return super().compute_metrics(x, y, y_pred, sample_weight)


def rmse(target, reconstruction):
    """Return [batch] times the root of the mean squared error over batch, time and bands.

    Replicas that share a batch have the same loss: the gradient of sqrt(m) is that of
    m / (2 sqrt(m)), where m is the mean over replicas of their means. The loss is a vector, since
    Keras' `fit` averages the losses of samples over the replicas but adds up scalars.
    """
    replicas = tf.distribute.get_replica_context()
    each = ops.mean(ops.square(target - reconstruction), axis=(1, 2))  # [batch]
    mean = ops.mean(each)
    if replicas is not None:
        total = replicas.all_reduce(tf.distribute.ReduceOp.SUM, mean)
        mean = total / replicas.num_replicas_in_sync
    root = ops.stop_gradient(ops.sqrt(mean))
    share = each / ops.maximum(2 * root, 1e-12)
    return share + ops.stop_gradient(root - share)
