"""BEGAN (Berthelot et al. 2017): the discriminator is an autoencoder, the heads use its encoder."""

import keras
import tensorflow as tf
from keras import layers, ops

from tfser.training import loop, mixed_precision, replicas
from tfser.training.paper_network import PaperNetwork

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
class BEGAN(PaperNetwork, keras.Model):
    """Magnitudes of slices -> D(x), the discriminator's pictures (section 2.1; Berthelot et al.).

    Input: magnitudes [batch, n_frames, n_bins] of slices of 1 s. Output: pictures [batch, height,
    width, 1] in float32. `generator` makes pictures of z [batch, hidden]; `encode` gives the
    feature maps for `EmotionHead`. `fit` takes magnitudes alone and draws z.

    Args:
        n_frames, n_bins: of a slice.
        input_mode: see `Picture`.
        n_filters: filters of the first block.
        hidden: size of the code and of z.
        gamma: target ratio of the generated picture's loss to the real picture's loss.
        lambda_k: the rate at which k moves.

    Example:
        >>> import numpy as np
        >>> import tfser
        >>> model = tfser.models.BEGAN(
        ...     n_frames=17, n_bins=25, input_mode="crop512", n_filters=2, hidden=5
        ... )
        >>> model.compile()
        >>> magnitudes = np.random.default_rng(0).uniform(0, 1, (4, 17, 25)).astype("float32")
        >>> history = model.fit(magnitudes, batch_size=2, verbose=0)
        >>> sorted(history.history)
        ['generated', 'k', 'loss', 'm_global', 'real']
        >>> model.encode(magnitudes).shape
        TensorShape([4, 3, 2, 8])
    """

    def __init__(
        self,
        n_frames=32,
        n_bins=513,
        *,
        input_mode="resize520",
        n_filters=64,
        hidden=64,
        gamma=0.7,
        lambda_k=1e-3,
        **options,
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
        self.optimizers = []
        self.noise = keras.random.SeedGenerator()  # last: weights are drawn before it
        self.built = True

    @property
    def metrics(self):
        """Return the means of an epoch."""
        return list(self.means.values())

    def call(self, magnitudes):
        """Return D(x) of the pictures x of magnitudes."""
        return self.discriminate(self.picture(magnitudes))

    def encode(self, magnitudes):
        """Return the encoder's feature maps [batch, height / 8, width / 8, 4 n_filters]."""
        return self.encoder(self.picture(magnitudes))

    def discriminate(self, pictures):
        """Return D(x): encode pictures and decode them."""
        return self.decoder(self.code(self.encoder(pictures)))

    def compile(self, optimizer=None, generator_optimizer=None, **options):
        """Compile with an Adam for the discriminator and an Adam for the generator (section 3.3).

        Args:
            optimizer: in place of the paper's, of the discriminator.
            generator_optimizer: None for a copy of `optimizer`.
            options: see keras.Model.compile.
        """
        self.record_compile(optimizer=optimizer, generator_optimizer=generator_optimizer, **options)
        super().compile(optimizer=None, **{"jit_compile": False} | options)
        optimizer = optimizer or keras.optimizers.Adam(5e-5)
        self.optimizers = [
            mixed_precision.copy_optimizer(each)
            for each in (optimizer, generator_optimizer or optimizer)
        ]
        for each, variables in self.updates:  # unbuilt, they fail on several replicas
            mixed_precision.build_optimizer(each, variables)

    @property
    def updates(self) -> list[tuple]:
        """The optimizers of `train_step` and the weights that they move: D's and G's."""
        discriminator = [
            *self.encoder.trainable_variables,
            *self.code.trainable_variables,
            *self.decoder.trainable_variables,
        ]
        weights = discriminator, self.generator.trainable_variables
        return list(zip(self.optimizers, weights, strict=True)) if self.optimizers else []

    def distance(self, pictures):
        """Return L(v) = mean |v - D(v)| over the batch and its pixels."""
        return ops.mean(ops.abs(pictures - self.discriminate(pictures)))

    def draw_z(self, magnitudes) -> tuple:
        """Draw z_D and z_G [batch, hidden] for a batch, uniform in [-1, 1]."""
        z = ops.zeros((ops.shape(magnitudes)[0], self.settings["hidden"]))
        return tuple(2 * replicas.uniform_like(z, self.noise) - 1 for _ in range(2))

    def train_step(self, data):
        """Update D, then G, then k on one mini-batch.

        L_D = L(x) - k L(G(z_D)), L_G = L(G(z_G)), k <- k + lambda_k (gamma L(x) - L(G(z_D))).
        data: magnitudes; it may have (z_D, z_G) [batch, hidden] besides, uniform in [-1, 1].
        """
        magnitudes, z, _ = keras.utils.unpack_x_y_sample_weight(data)
        z_d, z_g = self.draw_z(magnitudes) if z is None else z
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
        return self._update_metrics(values | {"m_global": real + ops.abs(balance), "k": self.k})

    def test_step(self, data):
        """Return the losses of `train_step` without updates; k stays."""
        magnitudes, z, _ = keras.utils.unpack_x_y_sample_weight(data)
        with replicas.restore_generator(self.noise):
            z_d, _ = self.draw_z(magnitudes) if z is None else z
        real = self.distance(self.picture(magnitudes))
        generated = self.distance(self.generator(z_d))
        m_global = real + ops.abs(self.gamma * real - generated)
        loss = real - self.k * generated
        names = {"real": real, "generated": generated, "m_global": m_global, "k": self.k}
        return self._update_metrics(names | {"loss": loss})

    def _update_metrics(self, values):
        for name, mean in self.means.items():
            mean.update_state(values[name])
        return self.get_metrics_result()


Began = BEGAN  # the name in files of earlier versions


def mean_of_replicas(values: list):
    """Return the means of the batch that the replicas share."""
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return values
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, values)
