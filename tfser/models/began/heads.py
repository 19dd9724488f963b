"""Section 2.2: the supervised head on the encoder's feature maps."""

import keras
import numpy as np
from keras import layers

from tfser.training import loop

OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adamax": keras.optimizers.Adamax,
    "adagrad": keras.optimizers.Adagrad,
}


def head(shape, n_outputs, *, n_layers, n_filters, n_units, dropout, activation) -> keras.Model:
    """Build a head: feature maps [batch, height, width, channels] -> [batch, n_outputs].

    Convolutions 3 x 3 with the maximum of 2 x 2, a dense layer, dropout; softmax for classes, tanh
    for arousal and valence.
    """
    x = maps = keras.Input(shape)
    for _ in range(n_layers):
        x = layers.Conv2D(n_filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(2, padding="same")(x)
    x = layers.Dense(n_units, activation="relu")(layers.Flatten()(x))
    x = layers.Dropout(dropout)(x)
    outputs = layers.Dense(n_outputs, activation=activation, dtype="float32")(x)
    return keras.Model(maps, outputs, name="head")


def new_network(encoder, dataset, hp) -> keras.Model:
    """Return a compiled network: feature maps (end to end: magnitudes) -> outputs [batch, K].

    The input is [batch, n]: the maps or magnitudes of a slice in one row.
    """
    end_to_end = hp["head"]["encoder"] == "end-to-end"
    settings = {k: v for k, v in hp["head"].items() if k != "encoder"}
    activation = "softmax" if dataset.classes else "tanh"
    classifier = head(
        encoder.output_shape[1:], dataset.y.shape[1], **settings, activation=activation
    )
    shape = (encoder.input_shape if end_to_end else encoder.output_shape)[1:]
    flat = keras.Input((int(np.prod(shape)),))
    x = layers.Reshape(shape)(flat)
    return loop.compile_model(
        keras.Model(flat, classifier(encoder(x) if end_to_end else x)),
        OPTIMIZERS[hp["train"]["optimizer"]](hp["train"]["learning_rate"]),
        "categorical_crossentropy" if dataset.classes else "mean_absolute_error",
        metrics=(),
    )
