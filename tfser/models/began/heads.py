"""Section 2.2: the supervised head on the encoder's feature maps."""

import keras
from keras import layers

OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adamax": keras.optimizers.Adamax,
    "adagrad": keras.optimizers.Adagrad,
    "nadam": keras.optimizers.Nadam,
}


def head(shape, n_outputs, *, n_layers, n_filters, n_units, dropout, activation) -> keras.Model:
    """Feature maps [batch, height, width, channels] -> [batch, n_outputs].

    Convolutions 3 x 3 with the maximum of 2 x 2, a dense layer, dropout; softmax of classes, tanh
    of arousal and valence.
    """
    x = maps = keras.Input(shape)
    for _ in range(n_layers):
        x = layers.Conv2D(n_filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(2, padding="same")(x)
    x = layers.Dense(n_units, activation="relu")(layers.Flatten()(x))
    outputs = layers.Dense(n_outputs, activation=activation)(layers.Dropout(dropout)(x))
    return keras.Model(maps, outputs, name="head")
