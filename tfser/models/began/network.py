"""BEGAN (Berthelot et al. 2017): the discriminator is an autoencoder, the heads use its encoder."""

import keras
import tensorflow as tf
from keras import layers, ops

from tfser.training import loop, mixed_precision

MODES = ("resize520", "crop512")  # of Picture
_BLOCKS = 4  # of two convolutions each; all but the last halve the picture


def encoder(shape, *, n_filters) -> keras.Model:
    """Build the encoder: [batch, height, width, 1] -> maps [batch, height / 8, width / 8, 4 n]."""
    x = picture = keras.Input(shape)
    for block in range(1, _BLOCKS + 1):
        x = _convolution(x, block * n_filters)
        x = _convolution(x, block * n_filters, strides=2 if block < _BLOCKS else 1)
    return keras.Model(picture, ops.cast(x, "float32"), name="encoder")


def code(shape, *, n_filters, hidden) -> keras.Model:
    """Build the linear layer from the encoder's feature maps to the code [batch, hidden]."""
    height, width, _ = shape
    maps = keras.Input((height // 8, width // 8, _BLOCKS * n_filters))
    latent = layers.Dense(hidden)(layers.Flatten()(maps))
    return keras.Model(maps, ops.cast(latent, "float32"), name="code")


def decoder(shape, *, n_filters, hidden, name) -> keras.Model:
    """Build the decoder or the generator: [batch, hidden] -> pictures [batch, height, width, 1]."""
    height, width, _ = shape
    latent = keras.Input((hidden,))
    x = layers.Dense(height // 8 * (width // 8) * n_filters)(latent)
    x = layers.Reshape((height // 8, width // 8, n_filters))(x)
    for block in range(1, _BLOCKS + 1):
        x = _convolution(_convolution(x, n_filters), n_filters)
        if block < _BLOCKS:
            x = layers.UpSampling2D(2)(x)
    x = layers.Conv2D(1, 3, padding="same")(x)
    return keras.Model(latent, ops.cast(x, "float32"), name=name)


def _convolution(x, filters, strides=1):
    return layers.Conv2D(filters, 3, strides, padding="same", activation="elu")(x)


@keras.saving.register_keras_serializable("tfser")
class Picture(layers.Layer):
    """Magnitudes [batch, n_frames, bins] -> pictures [batch, height, width, 1].

    "resize520": bilinear to 520 x 96, as the authors' code; "crop512": the highest bins and last
    frames left out, to multiples of 8, which three halvings need. Once the scale is set, magnitudes
    are divided by the scale and cut at 1.
    """

    def __init__(self, input_mode, **options):
        super().__init__(**{"dtype": "float32"} | options)
        self.input_mode = input_mode

    def build(self, shape):
        """Make the scale, 0 until it is set."""
        self.scale = self.add_weight(shape=(), initializer="zeros", trainable=False, name="scale")

    def call(self, magnitudes):
        """Map [batch, n_frames, bins] to [batch, height, width, 1]."""
        height, width, _ = self.compute_output_shape(magnitudes.shape)[1:]
        x = ops.expand_dims(ops.transpose(magnitudes, (0, 2, 1)), -1)
        if self.input_mode == "crop512":
            x = x[:, :height, :width]
        else:
            x = ops.image.resize(x, (height, width), interpolation="bilinear")
        scaled = ops.minimum(x / ops.maximum(self.scale, 1e-12), 1.0)
        return ops.where(self.scale > 0, scaled, x)

    def compute_output_shape(self, shape):
        """Map (batch, n_frames, bins) to (batch, height, width, 1)."""
        batch, n_frames, n_bins = shape
        if self.input_mode == "crop512":
            return batch, n_bins // 8 * 8, n_frames // 8 * 8, 1
        return batch, 520, 96, 1

    def get_config(self):
        """Return the arguments of the constructor."""
        return super().get_config() | {"input_mode": self.input_mode}


@keras.saving.register_keras_serializable("tfser")
class Began(keras.Model):
    """Magnitudes [batch, n_frames, bins] -> the discriminator's pictures of them.

    Args:
        gamma: target ratio of the generated picture's loss to the real picture's loss.
        lambda_k: the rate at which k moves.
    """

    def __init__(
        self, *, n_frames, n_bins, input_mode, n_filters, hidden, gamma, lambda_k, **options
    ):
        super().__init__(dtype="float32", **options)  # the networks inside have their own policy
        self.settings = {
            "n_frames": n_frames, "n_bins": n_bins, "input_mode": input_mode,
            "n_filters": n_filters, "hidden": hidden, "gamma": gamma, "lambda_k": lambda_k,
        }  # fmt: skip
        self.gamma, self.lambda_k = gamma, lambda_k
        self.picture = Picture(input_mode, name="picture")
        self.picture.build((None, n_frames, n_bins))
        shape = self.picture.compute_output_shape((None, n_frames, n_bins))[1:]
        sizes = {"n_filters": n_filters, "hidden": hidden}
        self.encoder = encoder(shape, n_filters=n_filters)
        self.code = code(shape, **sizes)
        self.decoder = decoder(shape, **sizes, name="decoder")
        self.generator = decoder(shape, **sizes, name="generator")
        # One number for all replicas: the mean of the numbers that they compute.
        self.k = self.add_weight(
            shape=(), initializer="zeros", trainable=False, aggregation="mean", name="k"
        )
        names = ("loss", "real", "generated", "m_global", "k")
        self.means = {name: keras.metrics.Mean(name) for name in names}
        self.adams = []
        self.built = True

    @property
    def metrics(self):
        """Return the means of an epoch."""
        return list(self.means.values())

    def get_config(self):
        """Return the arguments of the constructor."""
        return self.settings | {"name": self.name}

    def get_compile_config(self):
        """Return None: a saved model is for its encoder, `prepare` makes it trainable again."""

    def call(self, magnitudes):
        """Return D(x) of the pictures x of magnitudes."""
        return self.discriminate(self.picture(magnitudes))

    def discriminate(self, pictures):
        """Return D(x): encode pictures and decode them."""
        return self.decoder(self.code(self.encoder(pictures)))

    def prepare(self, *, learning_rate):
        """Compile with an Adam for the discriminator and an Adam for the generator."""
        self.compile(optimizer=None, jit_compile=False)
        self.adams = [
            mixed_precision.scale_optimizer(keras.optimizers.Adam(learning_rate)) for _ in range(2)
        ]
        for optimizer, variables in self.updates:  # unbuilt, they fail on several replicas
            mixed_precision.build_optimizer(optimizer, variables)

    @property
    def updates(self) -> list[tuple]:
        """The optimizers of `train_step` and the weights that they move: D's and G's."""
        discriminator = [
            *self.encoder.trainable_variables,
            *self.code.trainable_variables,
            *self.decoder.trainable_variables,
        ]
        weights = discriminator, self.generator.trainable_variables
        return list(zip(self.adams, weights, strict=True)) if self.adams else []

    def distance(self, pictures):
        """Return L(v) = mean |v - D(v)| over the batch and its pixels."""
        return ops.mean(ops.abs(pictures - self.discriminate(pictures)))

    def train_step(self, data):
        """Update D, then G, then k on one mini-batch.

        L_D = L(x) - k L(G(z_D)), L_G = L(G(z_G)), k <- k + lambda_k (gamma L(x) - L(G(z_D))).
        data: magnitudes, and (z_D, z_G) [batch, hidden] each, uniform in [-1, 1].
        """
        magnitudes, (z_d, z_g) = data
        x, values = self.picture(magnitudes), {}

        def discrimination():
            values["real"] = self.distance(x)
            values["generated"] = self.distance(ops.stop_gradient(self.generator(z_d)))
            return values["real"] - self.k * values["generated"]

        def generation():
            return self.distance(self.generator(z_g))

        (adam_d, discriminator), (adam_g, generator) = self.updates
        values["loss"] = loop.minimize(discrimination, discriminator, adam_d)
        loop.minimize(generation, generator, adam_g)
        real, generated = mean_of_replicas([values["real"], values["generated"]])
        balance = self.gamma * real - generated
        self.k.assign(ops.clip(self.k + self.lambda_k * balance, 0.0, 1.0))
        values |= {"m_global": real + ops.abs(balance), "k": self.k}
        for name, mean in self.means.items():
            mean.update_state(values[name])
        return self.get_metrics_result()

    def save_for_use(self, path):
        """Save the networks without the optimizers, which are three times as large."""
        adams, self.adams = self.adams, []
        try:
            self.save(path)
        finally:
            self.adams = adams


def mean_of_replicas(values: list):
    """Return the means of the batch that the replicas share."""
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return values
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, values)
