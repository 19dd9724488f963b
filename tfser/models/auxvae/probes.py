"""The probes of section 6: small networks that predict speaker, gender or ratings from latents.

All probes of a fold train side by side in one network, which is faster. They share the order of the
batches alone: Adam moves each weight by itself.
"""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from tfser.audio.tf_data import disable_autotuning, unconverted
from tfser.cache import pipelines
from tfser.errors import TfserError
from tfser.evaluation import regression_report


def concordance(y, p):
    """Return the CCC of a batch [n, 1] as in the authors' code: unbiased variances, Pearson's r.

    0 where y or p is constant.
    """
    y_0, p_0 = y - ops.mean(y), p - ops.mean(p)
    n = ops.maximum(ops.cast(ops.size(y), "float32") - 1, 1.0)  # an epoch may end with one piece
    covariance = ops.sum(y_0 * p_0) / n
    squares = (ops.sum(ops.square(y_0)) + ops.sum(ops.square(p_0))) / n
    spread = squares + ops.square(ops.mean(y) - ops.mean(p))
    return 2 * covariance / ops.maximum(spread, 1e-12)


LOSSES = {"MSE": "mean_squared_error", "CCC": lambda y, p: 1 - concordance(y, p)}


def make_classifiers(latents, dataset, hp) -> keras.Model:
    """Build a linear classifier on each of the latents: {name: x} -> {name: probabilities}."""
    n_classes = len(dataset.classes)
    inputs = {name: keras.Input(x.shape[1:], name=name) for name, x in latents.items()}
    outputs = {
        name: layers.Dense(n_classes, activation="softmax", name=f"of_{name}")(x)
        for name, x in standardize(inputs).items()
    }
    return keras.Model(inputs, outputs)


def make_regressors(latents, dataset, hp) -> keras.Model:
    """Build regressors with one hidden layer: {name: x} -> {"name-loss-attribute": [n, 1]}.

    loss: "MSE" or "CCC", the columns of table 2. Each attribute has its own network.
    """
    inputs = {name: keras.Input(x.shape[1:], name=name) for name, x in latents.items()}
    settings, outputs = hp["probe"], {}
    for name, x in standardize(inputs).items():
        for loss in LOSSES:
            for attribute in regression_report.ATTRIBUTES:
                hidden = layers.Dense(settings["units"], activation="relu")(x)
                hidden = layers.Dropout(settings["dropout"])(hidden)
                key = f"{name}-{loss}-{attribute}"
                outputs[key] = layers.Dense(1, name=key)(hidden)
    return keras.Model(inputs, outputs)


def standardize(inputs: dict) -> dict:
    """Return the inputs with "mel" as z-scores, a fair comparison for the latents.

    Latents are of one size. From levels that are not standardized a probe learns little within 100
    epochs.
    """
    if "mel" not in inputs:
        return inputs
    return inputs | {"mel": layers.Normalization(name="standardize")(inputs["mel"])}


def train_probes(network, latents, dataset, split, hp, seed) -> dict[str, np.ndarray]:
    """Train probes on the pieces of the training set; return their outputs for the test set.

    Classes: {name: [m, K]}; ratings: {name: [m]}.
    """
    settings, has_classes = hp["probe"], bool(dataset.classes)
    if has_classes:
        y = np.eye(len(dataset.classes), dtype="float32")[dataset.y][dataset.utterance]
        columns = dict.fromkeys(network.output, slice(None))
        losses = dict.fromkeys(network.output, "categorical_crossentropy")
    else:
        y, columns, losses = dataset.y[dataset.utterance], {}, {}
        for key in network.output:
            _, loss, attribute = key.split("-")
            column = list(regression_report.ATTRIBUTES).index(attribute)
            columns[key], losses[key] = slice(column, column + 1), LOSSES[loss]
    training = np.flatnonzero(np.isin(dataset.utterance, split.train))
    testing = np.flatnonzero(np.isin(dataset.utterance, split.test))
    if "mel" in latents:
        network.get_layer("standardize").adapt(latents["mel"][training])
    network.compile(keras.optimizers.Adam(settings["learning_rate"]), losses, jit_compile=False)
    joined = np.concatenate([*latents.values()], axis=1)
    sizes = [x.shape[1] for x in latents.values()]

    @unconverted
    def separate(x, y):
        parts = dict(zip(latents, tf.split(x, sizes, axis=1), strict=True))
        return parts, {name: y[:, column] for name, column in columns.items()}

    frames = pipelines.as_tensor(joined)

    @unconverted
    def epoch(number):
        return pipelines.utterance_batches(
            frames,
            np.arange(len(joined) + 1),
            training,
            y[training],
            n_frames=None,
            batch_size=settings["batch_size"],
            seed=seed,
            epoch=number,
        )

    n_batches = -(-len(training) // settings["batch_size"]) * settings["epochs"]
    epochs = tf.data.Dataset.range(settings["epochs"]).flat_map(epoch).map(separate)
    epochs = epochs.apply(tf.data.experimental.assert_cardinality(n_batches))
    epochs = disable_autotuning(epochs)
    history = network.fit(epochs, epochs=1, shuffle=False, verbose=0).history
    if not np.isfinite(history["loss"][0]):
        raise TfserError("the probes' loss is not a number; try a lower --set probe.learning_rate")
    outputs = network({name: x[testing] for name, x in latents.items()}, training=False)
    return {name: np.array(p) if has_classes else np.array(p)[:, 0] for name, p in outputs.items()}


def ccc_of_batches(y, p, seed, batch_size=32) -> float | None:
    """Return the CCC of the authors' code, beside the challenge's: over shuffled batches of pieces.

    The sum of the batches' CCCs divided by their number less one, which overestimates the mean.
    None for one batch.
    """
    order = np.random.default_rng(seed).permutation(len(y))
    batches = [order[i : i + batch_size] for i in range(0, len(y), batch_size)]
    if len(batches) < 2:
        return None
    cccs = [float(concordance(y[b], p[b])) for b in batches if len(b) > 1]
    return sum(cccs) / (len(batches) - 1)
