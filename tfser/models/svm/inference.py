"""The SVM as a function of openSMILE's functionals, or of what another system's network takes.

TensorFlow cannot compute functionals.
"""

import itertools

import numpy as np
import tensorflow as tf

from tfser.errors import ConflictError
from tfser.inference import served_model

OUTPUTS = {
    "probabilities": "[batch, classes], the share of the pairs of classes that each has won: an "
    "SVM has no probabilities"
}


class Votes(tf.Module):
    """Features [batch, features] -> share of the pairs of classes that a class wins [batch, K].

    arrays: of `experiment.to_arrays`. scikit-learn predicts the class with the highest share, the
    first of equals.
    """

    def __init__(self, arrays, n_classes):
        super().__init__()
        pairs = list(itertools.combinations(arrays["classes"], 2))
        self.first, self.second = (
            np.eye(n_classes)[list(side)] for side in zip(*pairs, strict=True)
        )
        with tf.device("CPU:0"):  # float64: functionals go up to 1e10
            self.mean, self.scale, self.weights, self.bias = (
                tf.constant(arrays[name], tf.float64)
                for name in ("mean", "scale", "weights", "bias")
            )

    def __call__(self, features):
        """Return the shares [batch, K] of features [batch, features]."""
        z = (tf.cast(features, tf.float64) - self.mean) / self.scale
        wins = tf.cast((z @ self.weights + self.bias) > 0, tf.float64)  # [batch, pairs]
        votes = wins @ self.first + (1 - wins) @ self.second
        return tf.cast(votes / tf.cast(tf.shape(wins)[1], tf.float64), tf.float32)


def make_inference_function(run) -> served_model.InferenceFunction:
    """Return the function from functionals to the votes of the pairs of classes.

    With features.from: the function from the inputs of that system's inference function. Raises
    ConflictError where its files were replaced.
    """
    settings = run.hp["features"]
    served_model.refuse_speaker_normalization(run)
    path = run.network / "svm.npz"
    arrays = served_model.load_arrays(path)
    votes = Votes(arrays, len(run.classes))
    if settings.get("from"):  # older runs do not have the setting
        return make_probe_function(run, settings, votes)
    return served_model.InferenceFunction(
        lambda features: {"probabilities": votes(features)},
        {"votes": votes},
        OUTPUTS,
        settings["sample_rate_hz"],
        served_model.OpenSmileInput(settings["feature_set"], "functionals", (len(arrays["mean"]),)),
    )


def make_probe_function(run, settings, votes: Votes) -> served_model.InferenceFunction:
    """Return the function of the network of features.from and the SVM on its embeddings."""
    from tfser.inference.embedding_feature import make_statistics_function  # needs Keras

    source = settings["from"]
    inference, compute, digest = make_statistics_function(source, settings["layer"])
    if [digest] != list(run.scores["digests"].values()):
        raise ConflictError(
            f"{run.folder} was trained on embeddings of {source}, whose files are now others; put "
            "them back"
        )
    return served_model.InferenceFunction(
        lambda *inputs: {"probabilities": votes(compute(*inputs))},
        {**inference.parts, "votes": votes},
        OUTPUTS,
        inference.sample_rate_hz,
        inference.opensmile_input,
        inference.input_seconds,
        notices=inference.notices,
    )
