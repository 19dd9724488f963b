"""Section 6: what is in the latent variables, as small networks on them can find it.

All probes of a fold train side by side in one network, which is faster; they share the order of the
batches and nothing else, and Adam moves each weight for itself.
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
    """The CCC of a batch [n, 1] as the authors have it: unbiased variances, Pearson's r.

    0 where y or p is constant.
    """
    y_0, p_0 = y - ops.mean(y), p - ops.mean(p)
    n = ops.maximum(ops.cast(ops.size(y), "float32") - 1, 1.0)  # an epoch may end with one piece
    covariance = ops.sum(y_0 * p_0) / n
    squares = (ops.sum(ops.square(y_0)) + ops.sum(ops.square(p_0))) / n
    spread = squares + ops.square(ops.mean(y) - ops.mean(p))
    return 2 * covariance / ops.maximum(spread, 1e-12)


LOSSES = {"MSE": "mean_squared_error", "CCC": lambda y, p: 1 - concordance(y, p)}


def make_classifiers(latents, speech, hp) -> keras.Model:
    """A linear classifier on each of the latents: {name: x} -> {name: probabilities}."""
    n_classes = len(speech.classes)
    inputs = {name: keras.Input(x.shape[1:], name=name) for name, x in latents.items()}
    outputs = {
        name: layers.Dense(n_classes, activation="softmax", name=f"of_{name}")(x)
        for name, x in standardize(inputs).items()
    }
    return keras.Model(inputs, outputs)


def make_regressors(latents, speech, hp) -> keras.Model:
    """One hidden layer on each of the latents: {name: x} -> {"name-loss-attribute": [n, 1]}.

    loss: "MSE" or "CCC", table 2's columns; a network of its own for each attribute.
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
    """The inputs, "mel" as z-scores: what the latents are compared with shall have its best chance.

    Within 100 epochs a probe of the levels as they are has learnt a fraction of it; of the latents,
    which are of one size, it learns what they have.
    """
    if "mel" not in inputs:
        return inputs
    return inputs | {"mel": layers.Normalization(name="standardize")(inputs["mel"])}


def train_probes(network, latents, speech, split, hp, seed) -> dict[str, np.ndarray]:
    """Trains `classify`'s or `regress`'s on the training part's pieces; {output: test pieces'}.

    Of classes [m, K] each, of ratings [m].
    """
    settings, of_classes = hp["probe"], bool(speech.classes)
    if of_classes:
        y = np.eye(len(speech.classes), dtype="float32")[speech.y][speech.utterance]
        columns = dict.fromkeys(network.output, slice(None))
        losses = dict.fromkeys(network.output, "categorical_crossentropy")
    else:
        y, columns, losses = speech.y[speech.utterance], {}, {}
        for key in network.output:
            _, loss, attribute = key.split("-")
            column = list(regression_report.ATTRIBUTES).index(attribute)
            columns[key], losses[key] = slice(column, column + 1), LOSSES[loss]
    training = np.flatnonzero(np.isin(speech.utterance, split.train))
    testing = np.flatnonzero(np.isin(speech.utterance, split.test))
    if "mel" in latents:
        network.get_layer("standardize").adapt(latents["mel"][training])
    network.compile(keras.optimizers.Adam(settings["learning_rate"]), losses, jit_compile=False)
    joined = np.concatenate([*latents.values()], axis=1)
    sizes = [x.shape[1] for x in latents.values()]

    @unconverted
    def separate(x, y):
        parts = dict(zip(latents, tf.split(x, sizes, axis=1), strict=True))
        return parts, {name: y[:, of] for name, of in columns.items()}

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
    found = network({name: x[testing] for name, x in latents.items()}, training=False)
    return {name: np.array(p) if of_classes else np.array(p)[:, 0] for name, p in found.items()}


def ccc_of_batches(y, p, seed, batch_size=32) -> float | None:
    """The authors' figure, beside the challenge's: over shuffled batches of pieces.

    The sum of the batches' CCCs divided by their number less one, which is too much; None for one
    batch.
    """
    order = np.random.default_rng(seed).permutation(len(y))
    batches = [order[i : i + batch_size] for i in range(0, len(y), batch_size)]
    if len(batches) < 2:
        return None
    found = [float(concordance(y[b], p[b])) for b in batches if len(b) > 1]
    return sum(found) / (len(batches) - 1)
