"""The parts of the AAE and its baseline (sections 5.1 to 5.3, table 2)."""

import keras
import tensorflow as tf
from keras import layers, ops

from tfser.features.standardize import Standardize

# Table 2; the decoder runs through them backwards. After each but the last, time is pooled by 4.
_FILTERS = (128, 128, 256, 256, 256)
_KERNEL = _POOL = 4
FRAMES_PER_STEP = _POOL ** (len(_FILTERS) - 1)  # frames under a step of the last convolution: 256
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
    logits = layers.Dense(n_classes, use_bias=not norm, dtype="float32", name="y")(x)
    logits = _normalize(logits, norm, "y", dtype="float32")
    probabilities = layers.Activation("softmax", dtype="float32")(logits)
    return keras.Model(features, probabilities, name="baseline")


def encoder(shape, n_classes, *, n_z, units, dropout, norm) -> keras.Model:
    """Build q(y, z | x): standardized features -> logits of y [batch, K], z [batch, n_z]."""
    norm = norm and _MOMENTUM
    features = keras.Input(shape)
    x = _body(features, units, dropout, norm)
    # One batch normalization for both heads: with two layers side by side, replicas would wait for
    # each other's statistics in different orders.
    heads = [
        layers.Dense(n, use_bias=not norm, dtype="float32", name=name)(x)
        for name, n in (("y", n_classes), ("z", n_z))
    ]
    latent = layers.Concatenate(dtype="float32")(heads)
    latent = _normalize(latent, norm, "latent", dtype="float32")
    outputs = latent[:, :n_classes], latent[:, n_classes:]
    return keras.Model(features, outputs, name="encoder")


def decoder(shape, n_classes, *, n_z, units, norm) -> keras.Model:
    """Build p(x | y, z): y [batch, K], z [batch, n_z] -> standardized features [batch, *shape]."""
    norm = norm and _MOMENTUM
    latent = keras.Input((n_classes,)), keras.Input((n_z,))
    x = layers.Concatenate()(latent)
    for name in ("dense1", "dense2"):
        x = layers.ReLU()(_dense(x, units, norm, name))
    if len(shape) == 1:
        x = _dense(x, shape[0], norm, "features")
        return keras.Model(latent, ops.cast(x, "float32"), name="decoder")
    n_frames, n_features = shape
    first, *unpooled = reversed(_FILTERS)
    n_steps = n_frames // _POOL ** len(unpooled)
    x = layers.ReLU()(_dense(x, n_steps * first, norm, "steps"))
    x = layers.Reshape((n_steps, first))(x)
    x = _convolution(x, layers.Conv1DTranspose, first, norm, "conv1")
    for number, filters in enumerate(unpooled, start=2):
        x = _convolution(x, layers.Conv1DTranspose, filters, norm, f"conv{number}")
        x = layers.UpSampling1D(_POOL)(x)
    x = layers.Conv1DTranspose(
        n_features, _KERNEL, padding="same", use_bias=not norm, name="features"
    )(x)
    x = _normalize(x, norm, "features")
    return keras.Model(latent, ops.cast(x, "float32"), name="decoder")


def discriminator(n, *, units, dropout, name) -> keras.Model:
    """Build D: latent variables [batch, n] -> logit [batch, 1] that they are of the prior."""
    x = latent = keras.Input((n,))
    for layer in ("dense1", "dense2"):
        x = layers.Dropout(dropout)(layers.Dense(units, activation="relu", name=layer)(x))
    logit = layers.Dense(1, dtype="float32", name="logit")(x)
    return keras.Model(latent, logit, name=name)


def _body(x, units, dropout, norm):
    """Add the hidden layers of an encoder: 2 x 256 (section 5.1), for frames above table 2."""
    if len(x.shape) == 3:
        *pooled, last = _FILTERS
        for number, filters in enumerate(pooled, start=1):
            x = _convolution(x, layers.Conv1D, filters, norm, f"conv{number}")
            x = layers.MaxPooling1D(_POOL)(x)
        x = layers.Flatten()(_convolution(x, layers.Conv1D, last, norm, f"conv{len(_FILTERS)}"))
    x = layers.ReLU()(_dense(x, units, norm, "dense1"))
    return layers.ReLU()(_dense(layers.Dropout(dropout)(x), units, norm, "dense2"))


def _convolution(x, layer, filters, norm, name):
    x = layer(filters, _KERNEL, padding="same", use_bias=not norm, name=name)(x)
    return layers.ReLU()(_normalize(x, norm, name))


def _dense(x, units, norm, name):
    return _normalize(layers.Dense(units, use_bias=not norm, name=name)(x), norm, name)


def _normalize(x, norm, name, **options):
    """Add batch normalization <name>_norm of the momentum `norm`, not for False.

    It takes the place of a bias.
    """
    if not norm:
        return x
    synchronized = tf.distribute.get_strategy().num_replicas_in_sync > 1
    options |= {"momentum": norm, "synchronized": synchronized, "name": f"{name}_norm"}
    return layers.BatchNormalization(**options)(x)
