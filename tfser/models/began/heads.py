"""Section 2.2: the supervised head on the encoder's feature maps."""

import keras
import numpy as np
from keras import layers

from tfser.training import loop
from tfser.training.paper_network import PaperNetwork

OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adamax": keras.optimizers.Adamax,
    "adagrad": keras.optimizers.Adagrad,
}


@keras.saving.register_keras_serializable("tfser")
class EmotionHead(PaperNetwork, keras.Model):
    """Section 2.2: the encoder's feature maps -> emotion probabilities, or arousal and valence.

    Input: maps [batch, height, width, channels] of `BEGAN.encode`. Output: [batch, n_outputs], in
    float32. Convolutions 3 x 3 with the maximum of 2 x 2, a dense layer, dropout, a dense layer.

    Args:
        shape: (height, width, channels).
        n_outputs: number of emotions, or 2.
        n_layers, n_filters: of the convolutions.
        n_units: of the hidden dense layer.
        dropout: dropped share of that layer.
        activation: "softmax" for classes, "tanh" for arousal and valence.

    Example:
        >>> import numpy as np
        >>> import tfser
        >>> head = tfser.models.EmotionHead((4, 4, 8), 3, n_filters=4, n_units=8)
        >>> head.compile(metrics=["accuracy"])
        >>> maps = np.random.default_rng(0).normal(size=(6, 4, 4, 8))
        >>> history = head.fit(maps, np.eye(3)[[0, 1, 2, 0, 1, 2]], batch_size=3, verbose=0)
        >>> head.predict(maps, verbose=0).shape
        (6, 3)
    """

    def __init__(
        self, shape, n_outputs, *, n_layers=1, n_filters=32, n_units=128, dropout=0.25,
        activation="softmax", name="head",
    ):  # fmt: skip
        x = maps = keras.Input(shape)
        for _ in range(n_layers):
            x = layers.Conv2D(n_filters, 3, padding="same", activation="relu")(x)
            x = layers.MaxPooling2D(2, padding="same")(x)
        x = layers.Dense(n_units, activation="relu")(layers.Flatten()(x))
        x = layers.Dropout(dropout)(x)
        outputs = layers.Dense(n_outputs, activation=activation, dtype="float32")(x)
        super().__init__(maps, outputs, name=name)
        self.settings = {
            "shape": tuple(shape), "n_outputs": n_outputs, "n_layers": n_layers,
            "n_filters": n_filters, "n_units": n_units, "dropout": dropout,
            "activation": activation,
        }  # fmt: skip

    def compile(self, optimizer=None, loss=None, metrics=(), **options):
        """Compile with Adam; on cross-entropy for classes, on the absolute error for ratings.

        Args:
            optimizer: in place of the default, as keras.Model.compile takes it.
            loss: in place of the default.
            metrics, options: see keras.Model.compile.
        """
        self.record_compile(optimizer=optimizer, loss=loss, metrics=metrics, **options)
        is_class = self.settings["activation"] == "softmax"
        super().compile(
            optimizer or keras.optimizers.Adam(1e-3),
            loss or ("categorical_crossentropy" if is_class else "mean_absolute_error"),
            metrics=metrics or None,
            **{"jit_compile": loop.choose_jit_compile()} | options,
        )


def new_network(encoder, dataset, hp) -> keras.Model:
    """Return a compiled network: feature maps (end to end: magnitudes) -> outputs [batch, K].

    The input is [batch, n]: the maps or magnitudes of a slice in one row.
    """
    end_to_end = hp["head"]["encoder"] == "end-to-end"
    settings = {k: v for k, v in hp["head"].items() if k != "encoder"}
    activation = "softmax" if dataset.classes else "tanh"
    classifier = EmotionHead(
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
