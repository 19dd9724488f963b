"""EPR's network: VGG configuration E on segments of log-mel frames (sections 2.1.1 and 4.1)."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfser.models.epr.schedule import EpochDecay, StepsOfEpoch
from tfser.training import loop
from tfser.training.paper_network import PaperNetwork

# Configuration E (Simonyan & Zisserman 2014, table 1): 3 x 3 convolutions, one pooling per block.
_VGG_E_BLOCKS = (
    # convolutions, filters
    (2, 64),
    (2, 128),
    (4, 256),
    (4, 512),
    (4, 512),
)
_VGG_DENSE_UNITS = (4096, 4096)


@keras.saving.register_keras_serializable("tfser")
class EPR(PaperNetwork, keras.Model):
    """VGG-E on segments: log-mel frames -> emotion profile, Eq. (1), sections 2.1.1 and 4.1.

    Input: segments [batch, n_frames, n_bands], natural logarithms of mel power (32 frames are
    335 ms). Output: the emotion profile [batch, n_classes], probabilities in float32. `adapt` sets
    the z-score of the bands. Training on refined labels, Eq. (2) to (4), is
    `fit(segments, tfser.models.epr.refinery.refine(...))`. Layers with weights: "conv1_1" to
    "conv5_4", "dense1", "dense2", "profile" (with batch_norm also "conv1_1_norm", ...).

    Args:
        n_classes: number of emotions, K.
        n_frames: frames of a segment, at least 32 for the five poolings.
        n_bands: mel bands, at least 32.
        width_multiplier: share of VGG-E's filters and units in every layer.
        batch_norm: whether batch normalization follows each convolution and hidden dense layer.
        initializer: of the weights, as Keras names it. Keras' default (Glorot's) stays at chance
            for epochs.
        dropout: dropped share of the two hidden dense layers.

    Example:
        >>> import numpy as np
        >>> import tfser
        >>> model = tfser.models.EPR(n_classes=4, width_multiplier=0.02)
        >>> model.compile()
        >>> segments = np.random.default_rng(0).normal(-8, 2, (6, 32, 64))
        >>> one_hot = np.eye(4)[[0, 1, 2, 3, 0, 1]]
        >>> model.adapt(segments)
        >>> history = model.fit(segments, one_hot, batch_size=3, verbose=0)
        >>> model.predict(segments, verbose=0).shape
        (6, 4)
    """

    def __init__(
        self,
        n_classes,
        *,
        n_frames=32,
        n_bands=64,
        width_multiplier=1.0,
        batch_norm=False,
        initializer="he_normal",
        dropout=0.5,
        name="vgg_e",
    ):
        def width(units):
            return max(1, round(units * width_multiplier))

        def activated(x, layer_class, *arguments, layer, **options):
            options |= {"kernel_initializer": initializer, "use_bias": not batch_norm}
            x = layer_class(*arguments, name=layer, **options)(x)
            if batch_norm:
                # Keras' momentum of 0.99 lags behind for several epochs of a hundred steps.
                x = layers.BatchNormalization(
                    momentum=0.9, synchronized=_replicas() > 1, name=f"{layer}_norm"
                )(x)
            return layers.ReLU()(x)

        segment = keras.Input((n_frames, n_bands))
        # A frozen batch normalization is a z-score with statistics that are set, not learnt. In
        # float32 under any policy: bfloat16 resolves a log energy of -20 to 0.1 only.
        x = layers.BatchNormalization(
            center=False,
            scale=False,
            epsilon=1e-6,
            trainable=False,
            dtype="float32",
            name="standardize",
        )(segment)
        x = layers.Reshape((n_frames, n_bands, 1))(x)
        for block, (n_convolutions, filters) in enumerate(_VGG_E_BLOCKS, start=1):
            for number in range(1, n_convolutions + 1):
                layer = f"conv{block}_{number}"
                x = activated(x, layers.Conv2D, width(filters), 3, padding="same", layer=layer)
            x = layers.MaxPooling2D(2)(x)
        x = layers.Flatten()(x)
        for number, units in enumerate(_VGG_DENSE_UNITS, start=1):
            x = activated(x, layers.Dense, width(units), layer=f"dense{number}")
            x = layers.Dropout(dropout)(x)
        profile = layers.Dense(
            n_classes,
            kernel_initializer=initializer,
            activation="softmax",
            dtype="float32",
            name="profile",
        )(x)
        super().__init__(segment, profile, name=name)
        self.settings = {
            "n_classes": n_classes, "n_frames": n_frames, "n_bands": n_bands,
            "width_multiplier": width_multiplier, "batch_norm": batch_norm,
            "initializer": initializer, "dropout": dropout,
        }  # fmt: skip

    def compile(self, optimizer=None, loss=None, metrics=("accuracy",), **options):
        """Compile with Adam, a learning rate that decays every two epochs, and soft cross-entropy.

        Section 4.1; against refined labels the categorical cross-entropy is Eq. (4).

        Args:
            optimizer: in place of the paper's, as keras.Model.compile takes it.
            loss: in place of the cross-entropy.
            metrics, options: see keras.Model.compile.
        """
        self.record_compile(optimizer=optimizer, loss=loss, metrics=metrics, **options)
        super().compile(
            optimizer or keras.optimizers.Adam(EpochDecay()),
            loss or keras.losses.CategoricalCrossentropy(),
            metrics=metrics and list(metrics),
            **{"jit_compile": loop.choose_jit_compile()} | options,
        )

    def fit(self, *arguments, callbacks=None, **options):
        """Train as keras.Model.fit does; the schedule learns how many steps an epoch has."""
        callbacks = [StepsOfEpoch(), *keras.tree.flatten(callbacks or [])]
        return super().fit(*arguments, callbacks=callbacks, **options)

    def adapt(self, segments):
        """Set the z-score to the statistics of each band over segments [n, n_frames, n_bands]."""
        segments = np.asarray(segments, np.float64)
        standardize(self, segments.mean(axis=(0, 1)), segments.var(axis=(0, 1)))


def standardize(model, mean, variance) -> None:
    """Set the statistics [n_bands] of the network's z-score."""
    layer = model.get_layer("standardize")
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(variance)


def _replicas() -> int:
    return tf.distribute.get_strategy().num_replicas_in_sync
