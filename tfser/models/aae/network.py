"""AAE's networks and its training step (sections 4.1 and 5.1 to 5.3, tables 1 and 2)."""

import keras
import tensorflow as tf
from keras import layers, ops

from tfser.features.standardize import Standardize
from tfser.training import loop, mixed_precision

# Table 2; the decoder runs through them backwards. After each but the last, time is pooled by 4.
_FILTERS = (128, 128, 256, 256, 256)
_KERNEL = _POOL = 4
FRAMES_PER_STEP = _POOL ** (len(_FILTERS) - 1)  # what a step of the last convolution sees: 256
# An encoder of dense layers has XLA's step from so many weights on, where it earns the seconds that
# compiling takes: Nadam's arithmetic becomes one pass over them, not one for each operator.
_XLA_WEIGHTS = 1_000_000


def baseline(shape, n_classes, *, units, dropout, clip) -> keras.Model:
    """The supervised classifier, sections 5.1 and 5.3: features [batch, *shape] -> [batch, K].

    `shape` is (features,), or (frames, features) with a multiple of FRAMES_A_STEP frames.
    """
    features = keras.Input(shape)
    x = Standardize(clip, name="standardize")(features)
    x = _body(x, units, dropout, norm=False)
    probabilities = layers.Dense(n_classes, activation="softmax", dtype="float32")(x)
    return keras.Model(features, probabilities, name="baseline")


def encoder(shape, n_classes, *, n_z, units, dropout, norm) -> keras.Model:
    """q(y, z | x): standardized features -> logits of y [batch, K], z [batch, n_z]."""
    features = keras.Input(shape)
    x = _body(features, units, dropout, norm)
    # Normalized together, feature by feature as ever: in branches, replicas would wait for each
    # other's statistics in different orders.
    heads = [layers.Dense(n, use_bias=not norm, dtype="float32")(x) for n in (n_classes, n_z)]
    latent = _normalized(layers.Concatenate(dtype="float32")(heads), norm, dtype="float32")
    outputs = latent[:, :n_classes], latent[:, n_classes:]
    return keras.Model(features, outputs, name="encoder")


def decoder(shape, n_classes, *, n_z, units, norm) -> keras.Model:
    """p(x | y, z): y [batch, K], z [batch, n_z] -> standardized features [batch, *shape]."""
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
    return keras.Model(latent, ops.cast(_normalized(x, norm), "float32"), name="decoder")


def discriminator(n, *, units, dropout, name) -> keras.Model:
    """Whether latent variables [batch, n] are samples of the prior: logit [batch, 1]."""
    x = latent = keras.Input((n,))
    for _ in range(2):
        x = layers.Dropout(dropout)(layers.Dense(units, activation="relu")(x))
    return keras.Model(latent, layers.Dense(1, dtype="float32")(x), name=name)


def _body(x, units, dropout, norm):
    """The layers below an encoder's outputs: 2 x 256 (section 5.1), of frames after table 2's."""
    if len(x.shape) == 3:
        *pooled, last = _FILTERS
        for filters in pooled:
            x = layers.MaxPooling1D(_POOL)(_convolution(x, layers.Conv1D, filters, norm))
        x = layers.Flatten()(_convolution(x, layers.Conv1D, last, norm))
    x = layers.ReLU()(_dense(x, units, norm))
    return layers.ReLU()(_dense(layers.Dropout(dropout)(x), units, norm))


def _convolution(x, layer, filters, norm):
    x = layer(filters, _KERNEL, padding="same", use_bias=not norm)(x)
    return layers.ReLU()(_normalized(x, norm))


def _dense(x, units, norm):
    return _normalized(layers.Dense(units, use_bias=not norm)(x), norm)


def _normalized(x, norm, **options):
    """Batch normalization, whose shift takes the place of the layer's bias."""
    if not norm:
        return x
    synchronized = tf.distribute.get_strategy().num_replicas_in_sync > 1
    # Keras' momentum of 0.99 lags behind for several epochs of a few batches. The encoder runs four
    # times a batch: 0.9 from one to the next.
    return layers.BatchNormalization(momentum=0.975, synchronized=synchronized, **options)(x)


@keras.saving.register_keras_serializable("tfser")
class AdversarialAutoencoder(keras.Model):
    """Features [batch, *shape] -> emotion probabilities q(y | x) [batch, K].

    `optimized` adds what section 5.2 found to matter: batch normalization of all layers of encoder
    and decoder, the linear ones too, and dropout in the discriminators.
    """

    def __init__(self, *, shape, n_classes, n_z, units, dropout, clip, optimized, **options):
        super().__init__(dtype="float32", **options)  # its networks have their own
        self.settings = {
            "shape": tuple(shape), "n_classes": n_classes, "n_z": n_z, "units": units,
            "dropout": dropout, "clip": clip, "optimized": optimized,
        }  # fmt: skip
        self.standardize = Standardize(clip, name="standardize")
        self.encoder = encoder(
            shape, n_classes, n_z=n_z, units=units, dropout=dropout, norm=optimized
        )
        self.decoder = decoder(shape, n_classes, n_z=n_z, units=units, norm=optimized)
        d_dropout = dropout if optimized else 0.0
        self.d_y = discriminator(n_classes, units=units, dropout=d_dropout, name="d_y")
        self.d_z = discriminator(n_z, units=units, dropout=d_dropout, name="d_z")
        self.means = [
            keras.metrics.Mean(name)
            for name in ("reconstruction", "discriminators", "generator", "loss")
        ]
        self.nadams = []
        self.standardize.build((None, *shape))
        self.built = True

    @property
    def metrics(self):
        """The means of an epoch: "loss" is the classification's."""
        return self.means

    def get_config(self):
        """What the constructor takes."""
        return self.settings | {"name": self.name}

    def get_compile_config(self):
        """None: a saved model is for prediction, `prepare` makes it trainable again."""

    def encode(self, x, training=False):
        """Standardized features -> y [batch, K], on the simplex, and z [batch, n_z]."""
        logits, z = self.encoder(x, training=training)
        return ops.softmax(logits), z

    def call(self, x, training=False):
        """Emotion probabilities of features as they are."""
        y, _ = self.encode(self.standardize(x), training)
        return y

    def prepare(self, *, learning_rate, discriminator_learning_rate):
        """Compiles, with an optimizer for each update of `train_step`."""
        # XLA for the updates alone, whose batches have one size; predictions would be compiled anew
        # for each. It has no convolutions as fast as TensorFlow's for the CPU, and cannot reach the
        # variables of other replicas.
        self.compile(optimizer=None, jit_compile=False)
        dense = len(self.settings["shape"]) == 1 and not tf.distribute.has_strategy()
        if dense and self.encoder.count_params() >= _XLA_WEIGHTS:
            self.run_phases = tf.function(self.phases, autograph=False, jit_compile=True)
        else:
            self.run_phases = self.phases
        d_rate = discriminator_learning_rate
        rates = learning_rate, d_rate, learning_rate, learning_rate
        self.nadams = [
            mixed_precision.scale_optimizer(keras.optimizers.Nadam(rate)) for rate in rates
        ]
        for optimizer, variables in self.updates:  # unbuilt, they fail on several replicas
            mixed_precision.build_optimizer(optimizer, variables)

    @property
    def updates(self) -> list[tuple]:
        """The optimizer of each update of `train_step` and the weights it moves."""
        of_encoder = self.encoder.trainable_variables
        of_discriminators = self.d_y.trainable_variables + self.d_z.trainable_variables
        moved = (
            of_encoder + self.decoder.trainable_variables,
            of_discriminators,
            of_encoder,
            of_encoder,  # what makes z has a gradient of 0, with which Nadam does not move
        )
        return list(zip(self.nadams, moved, strict=True)) if self.nadams else []

    def save_for_prediction(self, path):
        """Saves the networks without the optimizers, which make five times as much."""
        nadams, self.nadams = self.nadams, []
        try:
            self.save(path)
        finally:
            self.nadams = nadams

    def train_step(self, data):
        """The three phases of section 4.1 on one mini-batch, each moving its own weights alone.

        data: features, and (labels [batch, K], zeros where there is none, samples of the priors of
        y and of z).
        """
        x, (labels, prior_y, prior_z) = data
        losses = self.run_phases(self.standardize(x), labels, prior_y, prior_z)
        for mean, loss in zip(self.means, losses, strict=True):
            mean.update_state(loss)
        return self.get_metrics_result()

    def phases(self, x, labels, prior_y, prior_z) -> list:
        """The updates of `train_step`, x standardized; returns their losses."""

        def reconstruction():  # phase 1
            return ops.mean(ops.square(x - self.decoder(self.encode(x, True), training=True)))

        def discrimination():  # phase 2: 1 for the priors, 0 for the aggregated posteriors
            y, z = self.encode(x, True)
            return (
                cross_entropy(1, self.d_y(prior_y, training=True))
                + cross_entropy(0, self.d_y(y, training=True))
                + cross_entropy(1, self.d_z(prior_z, training=True))
                + cross_entropy(0, self.d_z(z, training=True))
            )

        def generation():  # phase 2: the encoder wants its posteriors taken for priors
            y, z = self.encode(x, True)
            return cross_entropy(1, self.d_y(y, training=True)) + cross_entropy(
                1, self.d_z(z, training=True)
            )

        def classification():  # phase 3: of the labelled utterances
            logits, _ = self.encoder(x, training=True)
            each = ops.categorical_crossentropy(labels, logits, from_logits=True)
            # TensorFlow's gradient takes labels for distributions: zeros alone do not silence it.
            return ops.sum(each * ops.sum(labels, axis=1)) / labelled_per_replica(labels)

        phases = (reconstruction, discrimination, generation, classification)
        return [
            loop.minimize(phase, variables, optimizer)
            for phase, (optimizer, variables) in zip(phases, self.updates, strict=True)
        ]


def cross_entropy(real: int, logits):
    """Binary cross-entropy of a discriminator that should say 1 (real) or 0."""
    return ops.mean(ops.softplus(-logits if real else logits))


def labelled_per_replica(labels):
    """Labelled utterances of the batch (at least one) divided by the replicas that share it.

    Not each replica's own number: one with fewer labels would count each of them more.
    """
    replicas = tf.distribute.get_replica_context()
    n = replicas.all_reduce(tf.distribute.ReduceOp.SUM, ops.sum(labels))
    return ops.maximum(n, 1.0) / replicas.num_replicas_in_sync
