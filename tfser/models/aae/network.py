"""AAE's networks (sections 5.1 to 5.3, table 2) and the three phases of its training step (4.1)."""

import keras
import tensorflow as tf
from keras import layers, ops

from tfser.features.standardize import Standardize
from tfser.training import loop, mixed_precision, nadam

# Table 2; the decoder runs through them backwards. After each but the last, time is pooled by 4.
_FILTERS = (128, 128, 256, 256, 256)
_KERNEL = _POOL = 4
FRAMES_PER_STEP = _POOL ** (len(_FILTERS) - 1)  # frames under a step of the last convolution: 256
# An encoder of dense layers with at least this many weights is trained by XLA, which compiles for
# seconds: Nadam's arithmetic becomes one pass over the weights, not one pass per operator.
_XLA_WEIGHTS = 1_000_000
# Of batch normalization. Keras' 0.99 lags behind for several epochs of a few batches. The encoder
# runs four times per batch, and 0.975 ** 4 is 0.9, the baseline once.
_MOMENTUM = 0.975


def baseline(shape, n_classes, *, units, dropout, clip, norm=False) -> keras.Model:
    """Build the supervised classifier of sections 5.1 and 5.3: [batch, *shape] -> [batch, K].

    `shape` is (features,), or (frames, features) with a multiple of FRAMES_PER_STEP frames. `norm`
    adds the batch normalization of `encoder`.
    """
    features = keras.Input(shape)
    norm = norm and _MOMENTUM**4
    x = Standardize(clip, name="standardize")(features)
    x = _body(x, units, dropout, norm)
    logits = layers.Dense(n_classes, use_bias=not norm, dtype="float32")(x)
    logits = _normalize(logits, norm, dtype="float32")
    probabilities = layers.Activation("softmax", dtype="float32")(logits)
    return keras.Model(features, probabilities, name="baseline")


def encoder(shape, n_classes, *, n_z, units, dropout, norm) -> keras.Model:
    """Build q(y, z | x): standardized features -> logits of y [batch, K], z [batch, n_z]."""
    norm = norm and _MOMENTUM
    features = keras.Input(shape)
    x = _body(features, units, dropout, norm)
    # One batch normalization for both heads: with two layers side by side, replicas would wait for
    # each other's statistics in different orders.
    heads = [layers.Dense(n, use_bias=not norm, dtype="float32")(x) for n in (n_classes, n_z)]
    latent = _normalize(layers.Concatenate(dtype="float32")(heads), norm, dtype="float32")
    outputs = latent[:, :n_classes], latent[:, n_classes:]
    return keras.Model(features, outputs, name="encoder")


def decoder(shape, n_classes, *, n_z, units, norm) -> keras.Model:
    """Build p(x | y, z): y [batch, K], z [batch, n_z] -> standardized features [batch, *shape]."""
    norm = norm and _MOMENTUM
    latent = keras.Input((n_classes,)), keras.Input((n_z,))
    x = layers.Concatenate()(latent)
    for _ in range(2):
        x = layers.ReLU()(_dense(x, units, norm))
    if len(shape) == 1:
        x = _dense(x, shape[0], norm)
        return keras.Model(latent, ops.cast(x, "float32"), name="decoder")
    n_frames, n_features = shape
    first, *unpooled = reversed(_FILTERS)
    n_steps = n_frames // _POOL ** len(unpooled)
    x = layers.ReLU()(_dense(x, n_steps * first, norm))
    x = layers.Reshape((n_steps, first))(x)
    x = _convolution(x, layers.Conv1DTranspose, first, norm)
    for filters in unpooled:
        x = layers.UpSampling1D(_POOL)(_convolution(x, layers.Conv1DTranspose, filters, norm))
    x = layers.Conv1DTranspose(n_features, _KERNEL, padding="same", use_bias=not norm)(x)
    return keras.Model(latent, ops.cast(_normalize(x, norm), "float32"), name="decoder")


def discriminator(n, *, units, dropout, name) -> keras.Model:
    """Build D: latent variables [batch, n] -> logit [batch, 1] that they are of the prior."""
    x = latent = keras.Input((n,))
    for _ in range(2):
        x = layers.Dropout(dropout)(layers.Dense(units, activation="relu")(x))
    return keras.Model(latent, layers.Dense(1, dtype="float32")(x), name=name)


def _body(x, units, dropout, norm):
    """Add the hidden layers of an encoder: 2 x 256 (section 5.1), for frames above table 2."""
    if len(x.shape) == 3:
        *pooled, last = _FILTERS
        for filters in pooled:
            x = layers.MaxPooling1D(_POOL)(_convolution(x, layers.Conv1D, filters, norm))
        x = layers.Flatten()(_convolution(x, layers.Conv1D, last, norm))
    x = layers.ReLU()(_dense(x, units, norm))
    return layers.ReLU()(_dense(layers.Dropout(dropout)(x), units, norm))


def _convolution(x, layer, filters, norm):
    x = layer(filters, _KERNEL, padding="same", use_bias=not norm)(x)
    return layers.ReLU()(_normalize(x, norm))


def _dense(x, units, norm):
    return _normalize(layers.Dense(units, use_bias=not norm)(x), norm)


def _normalize(x, norm, **options):
    """Add batch normalization of the momentum `norm`, in place of a bias, or none for False."""
    if not norm:
        return x
    synchronized = tf.distribute.get_strategy().num_replicas_in_sync > 1
    return layers.BatchNormalization(momentum=norm, synchronized=synchronized, **options)(x)


@keras.saving.register_keras_serializable("tfser")
class AdversarialAutoencoder(keras.Model):
    """Features [batch, *shape] -> emotion probabilities q(y | x) [batch, K].

    Section 5.2: `batch_norm` normalizes all layers of encoder and decoder, also the linear layers;
    `discriminator_dropout` is the dropout in the discriminators, 0 for none.
    """

    def __init__(
        self, *, shape, n_classes, n_z, units, dropout, clip, batch_norm, discriminator_dropout,
        **options,
    ):  # fmt: skip
        super().__init__(dtype="float32", **options)  # the networks inside have their own policy
        self.settings = {
            "shape": tuple(shape), "n_classes": n_classes, "n_z": n_z, "units": units,
            "dropout": dropout, "clip": clip, "batch_norm": batch_norm,
            "discriminator_dropout": discriminator_dropout,
        }  # fmt: skip
        self.standardize = Standardize(clip, name="standardize")
        self.encoder = encoder(
            shape, n_classes, n_z=n_z, units=units, dropout=dropout, norm=batch_norm
        )
        self.decoder = decoder(shape, n_classes, n_z=n_z, units=units, norm=batch_norm)
        self.d_y, self.d_z = (
            discriminator(n, units=units, dropout=discriminator_dropout, name=name)
            for n, name in ((n_classes, "d_y"), (n_z, "d_z"))
        )
        self.means = [
            keras.metrics.Mean(name)
            for name in ("reconstruction", "discriminators", "generator", "loss")
        ]
        self.nadams = []
        self.regularization = self.masks_padding = True
        self.standardize.build((None, *shape))
        self.built = True

    @classmethod
    def from_config(cls, config):
        """Build a network from `get_config`, in files of earlier versions with "optimized"."""
        config = dict(config)
        if "optimized" in config:
            optimized = config.pop("optimized")
            config["batch_norm"] = optimized
            config["discriminator_dropout"] = config["dropout"] if optimized else 0.0
        return cls(**config)

    @property
    def metrics(self):
        """Return the means of an epoch, of each loss in `phases`: "loss" is the last phase's."""
        return self.means if self.regularization else [self.means[0], self.means[-1]]

    def get_config(self):
        """Return the arguments of the constructor."""
        return self.settings | {"name": self.name}

    def get_compile_config(self):
        """Return None: a saved model is for prediction, `prepare` makes it trainable again."""

    def encode(self, x, training=False):
        """Encode standardized features: y [batch, K], on the simplex, and z [batch, n_z]."""
        logits, z = self.encoder(x, training=training)
        return ops.softmax(logits), z

    def call(self, x, training=False):
        """Return the emotion probabilities of features that are not standardized."""
        y, _ = self.encode(self.standardize(x), training)
        return y

    def prepare(
        self, *, learning_rate, discriminator_learning_rate, schedule_decay, regularization=True,
        masks_padding=True,
    ):  # fmt: skip
        """Compile with one Nadam for each update of `phases`.

        Args:
            schedule_decay: see `nadam.Nadam`.
            regularization: whether there is a phase 2.
            masks_padding: whether frames after an utterance's end are left out of phase 1.
        """
        self.regularization, self.masks_padding = regularization, masks_padding
        # XLA for the updates alone: their batches have one size, and predictions would be compiled
        # again for each size. XLA's convolutions are slower than TensorFlow's on the CPU, and XLA
        # cannot reach the variables of other replicas.
        self.compile(optimizer=None, jit_compile=False)
        dense = len(self.settings["shape"]) == 1 and not tf.distribute.has_strategy()
        if dense and self.encoder.count_params() >= _XLA_WEIGHTS:
            self.run_phases = tf.function(self._run_phases, autograph=False, jit_compile=True)
        else:
            self.run_phases = self._run_phases
        d_rate = discriminator_learning_rate
        rates = learning_rate, d_rate, learning_rate, learning_rate
        self.nadams = [
            mixed_precision.scale_optimizer(nadam.Nadam(rate, schedule_decay=schedule_decay))
            for rate in rates
        ]
        for optimizer, variables in self.updates:  # unbuilt, they fail on several replicas
            mixed_precision.build_optimizer(optimizer, variables)

    @property
    def updates(self) -> list[tuple]:
        """The optimizer of each update of `phases` and the weights that it moves."""
        if not self.nadams:
            return []
        return [(optimizer, variables) for _, variables, optimizer in self.phases()]

    def save_for_prediction(self, path):
        """Save the networks without the optimizers, which are five times as large."""
        nadams, self.nadams = self.nadams, []
        try:
            self.save(path)
        finally:
            self.nadams = nadams

    def train_step(self, data):
        """Run the three phases of section 4.1 on one mini-batch.

        data: features, and (features of labelled utterances, their labels [labelled, K], samples of
        the priors of y and of z). The labelled utterances are a batch of their own.
        """
        x, (labelled_x, labels, prior_y, prior_z) = data
        # Frames after the end of an utterance are NaN, which `standardize` makes the mean.
        inside = 1.0 - ops.cast(ops.isnan(x[..., :1]), "float32") if self.masks_padding else 1.0
        x, labelled_x = self.standardize(x), self.standardize(labelled_x)
        losses = self.run_phases(x, inside, labelled_x, labels, prior_y, prior_z)
        for mean, loss in zip(self.metrics, losses, strict=True):
            mean.update_state(loss)
        return self.get_metrics_result()

    def _run_phases(self, *batch) -> list:
        return [loop.minimize(*phase) for phase in self.phases(*batch)]

    def phases(
        self, x=None, inside=None, labelled_x=None, labels=None, prior_y=None, prior_z=None
    ) -> list[tuple]:
        """Return the phases of section 4.1 in order: (loss, weights that it moves, optimizer).

        A loss is a function () -> scalar of the batch: standardized features x, which of their
        frames are `inside` the utterance, features of labelled utterances and their labels, samples
        of the priors. Weights and optimizers do not depend on the batch.
        """

        def reconstruction():
            x_hat = self.decoder(self.encode(x, True), training=True)
            return mean_inside(ops.square(x - x_hat), inside)

        def discrimination():  # 1 for samples of the priors, 0 for the aggregated posteriors
            y, z = self.encode(x, True)
            return (
                cross_entropy(1, self.d_y(prior_y, training=True))
                + cross_entropy(0, self.d_y(y, training=True))
                + cross_entropy(1, self.d_z(prior_z, training=True))
                + cross_entropy(0, self.d_z(z, training=True))
            )

        def generation():  # 1 for the aggregated posteriors
            y, z = self.encode(x, True)
            return cross_entropy(1, self.d_y(y, training=True)) + cross_entropy(
                1, self.d_z(z, training=True)
            )

        def classification():
            logits, _ = self.encoder(labelled_x, training=True)
            return ops.mean(ops.categorical_crossentropy(labels, logits, from_logits=True))

        encoder, decoder = self.encoder.trainable_variables, self.decoder.trainable_variables
        discriminators = self.d_y.trainable_variables + self.d_z.trainable_variables
        nadam_1, nadam_2_d, nadam_2_g, nadam_3 = self.nadams
        phase_1 = [(reconstruction, encoder + decoder, nadam_1)]
        # Regularization: the discriminators, then the encoder as their generator.
        phase_2 = [(discrimination, discriminators, nadam_2_d), (generation, encoder, nadam_2_g)]
        # Classification. The head of z has a gradient of 0 and does not move.
        phase_3 = [(classification, encoder, nadam_3)]
        return phase_1 + (phase_2 if self.regularization else []) + phase_3


def cross_entropy(real: int, logits):
    """Return the binary cross-entropy of a discriminator's logits with the target `real`."""
    return ops.mean(ops.softplus(-logits if real else logits))


def mean_inside(values, inside):
    """Return the mean of values [batch, frames, features] over the frames that are `inside`.

    Utterances weigh the same, whatever their length. Functionals [batch, features] have no frames.

    inside: [batch, frames, 1], 1 for the frames of an utterance, or 1.0: all.
    """
    if len(values.shape) == 2 or isinstance(inside, float):
        return ops.mean(values)
    of_utterance = ops.sum(values * inside, axis=(1, 2)) / ops.sum(inside, axis=(1, 2))
    return ops.mean(of_utterance) / values.shape[-1]
