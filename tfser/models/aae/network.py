"""The adversarial autoencoder and the three phases of its training step (section 4.1)."""

import keras
import tensorflow as tf
from keras import ops

from tfser.features.standardize import Standardize
from tfser.models.aae.subnetworks import decoder, discriminator, encoder
from tfser.training import loop, mixed_precision, nadam, replicas
from tfser.training.paper_network import PaperNetwork

# An encoder of dense layers with at least this many weights is trained by XLA, which compiles for
# seconds: Nadam's arithmetic becomes one pass over the weights, not one pass per operator.
_XLA_WEIGHTS = 1_000_000


@keras.saving.register_keras_serializable("tfser")
class AdversarialAutoencoder(PaperNetwork, keras.Model):
    """Features -> emotion probabilities q(y | x), sections 4.1 and 5.2 (optimized; 5.3 of frames).

    Input: features [batch, *shape], not standardized; NaN for frames after the end of an utterance.
    Output: [batch, n_classes], in float32. `adapt` sets the z-score. `encode` gives y and z of
    standardized features, `decoder` features of both. `fit` takes features and one-hot labels,
    and draws the samples of the priors; see `train_step` for utterances without a label. Its
    `sample_weight` weights the cross-entropy of phase 3.

    Args:
        n_classes: number of emotions, or of levels of an attribute.
        shape: (features,), or (frames, features) with a multiple of FRAMES_PER_STEP frames.
        n_z: size of z.
        units: of a hidden layer and of a discriminator's layer.
        dropout: dropped share between the hidden layers of the encoder.
        clip: limit of the z-score.
        batch_norm: whether all layers of encoder and decoder are normalized, also the linear ones.
        discriminator_dropout: dropped share in the discriminators, 0 for none.

    Example:
        >>> import numpy as np
        >>> import tfser
        >>> model = tfser.models.AdversarialAutoencoder(n_classes=3, shape=(12,), n_z=4, units=8)
        >>> model.compile()
        >>> features = np.random.default_rng(0).normal(5, 2, (6, 12))
        >>> one_hot = np.eye(3)[[0, 1, 2, 0, 1, 2]]
        >>> model.adapt(features)
        >>> history = model.fit(features, one_hot, batch_size=3, verbose=0)
        >>> sorted(history.history)
        ['discriminators', 'generator', 'loss', 'reconstruction']
        >>> y, z = model.encode(model.standardize(features))
        >>> y.shape, z.shape
        (TensorShape([6, 3]), TensorShape([6, 4]))
    """

    def __init__(
        self,
        n_classes,
        *,
        shape=(6373,),
        n_z=100,
        units=256,
        dropout=0.5,
        clip=10.0,
        batch_norm=True,
        discriminator_dropout=0.5,
        **options,
    ):
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
        self.optimizers = []
        self.regularization = self.masks_padding = True
        self.noise = keras.random.SeedGenerator()  # last: weights are drawn before it
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

    def loss_means(self) -> list:
        """Return the means of an epoch, of each loss in `phases`: "loss" is the last phase's."""
        return self.means if self.regularization else [self.means[0], self.means[-1]]

    @property
    def metrics(self):
        """Return the means of an epoch and the metrics of `compile`."""
        return self.loss_means() + [m for m in super().metrics if m.name == "compile_metrics"]

    def encode(self, x, training=False):
        """Encode standardized features: y [batch, K], on the simplex, and z [batch, n_z]."""
        logits, z = self.encoder(x, training=training)
        return ops.softmax(logits), z

    def call(self, x, training=False):
        """Return the emotion probabilities of features that are not standardized."""
        y, _ = self.encode(self.standardize(x), training)
        return y

    def adapt(self, features):
        """Set the z-score to the statistics of features [n, *shape], without frames of NaN."""
        self.standardize.adapt(features)

    def compile(
        self, optimizer=None, discriminator_optimizer=None, metrics=None, *, regularization=True,
        masks_padding=True, **options,
    ):  # fmt: skip
        """Compile with one Nadam for each update of `phases`; section 5.2: discriminators are slow.

        Args:
            optimizer: of the autoencoder, the generator and the classifier, a copy for each.
            discriminator_optimizer: of the discriminators.
            metrics: of labels and probabilities.
            regularization: whether there is a phase 2.
            masks_padding: whether frames after an utterance's end are left out of phase 1.
            options: see keras.Model.compile.
        """
        self.record_compile(
            optimizer=optimizer, discriminator_optimizer=discriminator_optimizer, metrics=metrics,
            regularization=regularization, masks_padding=masks_padding, **options,
        )  # fmt: skip
        self.regularization, self.masks_padding = regularization, masks_padding
        # XLA for the updates alone: their batches have one size, and predictions would be compiled
        # again for each size. XLA's convolutions are slower than TensorFlow's on the CPU, and XLA
        # cannot reach the variables of other replicas.
        super().compile(optimizer=None, metrics=metrics, **{"jit_compile": False} | options)
        dense = len(self.settings["shape"]) == 1 and not tf.distribute.has_strategy()
        if dense and self.encoder.count_params() >= _XLA_WEIGHTS:
            self.run_phases = tf.function(self._run_phases, autograph=False, jit_compile=True)
        else:
            self.run_phases = self._run_phases
        first = optimizer or nadam.Nadam(1e-4, schedule_decay=0.004)
        of_discriminators = discriminator_optimizer or nadam.Nadam(1e-5, schedule_decay=0.004)
        self.optimizers = [
            mixed_precision.copy_optimizer(of_phase)
            for of_phase in (first, of_discriminators, first, first)
        ]
        for of_phase, variables in self.updates:  # unbuilt, they fail on several replicas
            mixed_precision.build_optimizer(of_phase, variables)

    @property
    def updates(self) -> list[tuple]:
        """The optimizer of each update of `phases` and the weights that it moves."""
        if not self.optimizers:
            return []
        return [(optimizer, variables) for _, variables, optimizer in self.phases()]

    def train_step(self, data):
        """Run the three phases of section 4.1 on one mini-batch.

        data: features and labels [batch, K]. For utterances without a label: features, and
        (features of labelled utterances, their labels), a batch of its own; it may have samples of
        the priors of y and of z besides. Then, if there are, weights of the labelled utterances.
        """
        x, inside, labelled_x, labels, *more = self._prepare_batch(data)
        losses = self.run_phases(x, inside, labelled_x, labels, *more)
        return self._update_metrics(losses, labelled_x, labels)

    def test_step(self, data):
        """Return the losses of `train_step` without dropout and updates."""
        with replicas.restore_generator(self.noise):
            x, inside, labelled_x, labels, *more = self._prepare_batch(data)
        phases = self.phases(x, inside, labelled_x, labels, *more, training=False)
        return self._update_metrics([loss() for loss, *_ in phases], labelled_x, labels)

    def _prepare_batch(self, data) -> tuple:
        """Return the arguments of `phases`."""
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        labelled_x, labels, *priors = y if isinstance(y, (tuple, list)) else (x, y)
        # Frames after the end of an utterance are NaN, which `standardize` makes the mean.
        inside = 1.0 - ops.cast(ops.isnan(x[..., :1]), "float32") if self.masks_padding else 1.0
        x, labelled_x = self.standardize(x), self.standardize(labelled_x)
        return x, inside, labelled_x, labels, *(priors or self.draw_priors(x)), weights

    def draw_priors(self, x) -> tuple:
        """Draw samples of the priors (section 5.2) for a batch x: one-hot y, z of N(0, I)."""
        n_classes, each = self.settings["n_classes"], ops.reshape(x, (ops.shape(x)[0], -1))[:, :1]
        number = n_classes * replicas.uniform_like(each, self.noise)[:, 0]
        prior_z = ops.repeat(each, self.settings["n_z"], axis=1)
        return (
            ops.one_hot(ops.cast(number, "int32"), n_classes),
            replicas.normal_like(prior_z, self.noise),
        )

    def _update_metrics(self, losses, x, labels):
        for mean, loss in zip(self.loss_means(), losses, strict=True):
            mean.update_state(loss)
        if len(self.metrics) == len(self.loss_means()):
            return self.get_metrics_result()
        return self.compute_metrics(x, labels, self.encode(x)[0])

    def _run_phases(self, *batch) -> list:
        return [loop.minimize(*phase) for phase in self.phases(*batch)]

    def phases(
        self, x=None, inside=None, labelled_x=None, labels=None, prior_y=None, prior_z=None,
        weights=None, training=True,
    ) -> list[tuple]:  # fmt: skip
        """Return the phases of section 4.1 in order: (loss, weights that it moves, optimizer).

        A loss is a function () -> scalar of the batch: standardized features x, which of their
        frames are `inside` the utterance, features of labelled utterances and their labels, samples
        of the priors, weights [batch] of the labelled utterances (None: 1). The weights that move
        and the optimizers do not depend on the batch.
        """

        def reconstruction():
            x_hat = self.decoder(self.encode(x, training), training=training)
            return mean_inside(ops.square(x - x_hat), inside)

        def discrimination():  # 1 for samples of the priors, 0 for the aggregated posteriors
            y, z = self.encode(x, training)
            return (
                cross_entropy(1, self.d_y(prior_y, training=training))
                + cross_entropy(0, self.d_y(y, training=training))
                + cross_entropy(1, self.d_z(prior_z, training=training))
                + cross_entropy(0, self.d_z(z, training=training))
            )

        def generation():  # 1 for the aggregated posteriors
            y, z = self.encode(x, training)
            return cross_entropy(1, self.d_y(y, training=training)) + cross_entropy(
                1, self.d_z(z, training=training)
            )

        def classification():
            logits, _ = self.encoder(labelled_x, training=training)
            each = ops.categorical_crossentropy(labels, logits, from_logits=True)
            return ops.mean(each if weights is None else each * weights)

        encoder, decoder = self.encoder.trainable_variables, self.decoder.trainable_variables
        discriminators = self.d_y.trainable_variables + self.d_z.trainable_variables
        nadam_1, nadam_2_d, nadam_2_g, nadam_3 = self.optimizers
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
