"""EPR's network: VGG configuration E on segments of log-mel frames (sections 2.1.1 and 4.1)."""

import keras
import tensorflow as tf
from keras import layers

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


def vgg(
    *, n_frames, n_bands, n_classes, width_multiplier, batch_norm, initializer, dropout
) -> keras.Model:
    """Build VGG-E: segment [batch, n_frames, n_bands] -> emotion probabilities [batch, K], Eq. (1).

    The layer "standardize" holds the mean and variance of each band; see `standardize`.
    """

    def width(units):
        return max(1, round(units * width_multiplier))

    def activated(x, layer_class, *arguments, **options):
        x = layer_class(
            *arguments, kernel_initializer=initializer, use_bias=not batch_norm, **options
        )(x)
        if batch_norm:
            # Keras' momentum of 0.99 lags behind for several epochs of a hundred steps.
            x = layers.BatchNormalization(momentum=0.9, synchronized=_replicas() > 1)(x)
        return layers.ReLU()(x)

    segment = keras.Input((n_frames, n_bands))
    # A frozen batch normalization is a z-score with statistics that are set, not learnt. In float32
    # under any policy: bfloat16 resolves a log energy of -20 to 0.1 only.
    x = layers.BatchNormalization(
        center=False,
        scale=False,
        epsilon=1e-6,
        trainable=False,
        dtype="float32",
        name="standardize",
    )(segment)
    x = layers.Reshape((n_frames, n_bands, 1))(x)
    for n_convolutions, filters in _VGG_E_BLOCKS:
        for _ in range(n_convolutions):
            x = activated(x, layers.Conv2D, width(filters), 3, padding="same")
        x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    for units in _VGG_DENSE_UNITS:
        x = layers.Dropout(dropout)(activated(x, layers.Dense, width(units)))
    x = layers.Dense(
        n_classes, kernel_initializer=initializer, activation="softmax", dtype="float32"
    )(x)
    return keras.Model(segment, x, name="vgg_e")


def standardize(model, mean, variance) -> None:
    """Set the statistics [n_bands] of the network's z-score."""
    layer = model.get_layer("standardize")
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(variance)


def _replicas() -> int:
    return tf.distribute.get_strategy().num_replicas_in_sync
