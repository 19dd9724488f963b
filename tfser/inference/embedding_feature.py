"""Embeddings of a finished run or a preset as the features of a linear probe (`features.from`)."""

import numpy as np
import tensorflow as tf

from tfser.errors import DataError
from tfser.inference import served_model, source_run
from tfser.inference.embedder import Embedder
from tfser.inference.finished_run import find_folder, load_run, record_files


class EmbeddingFeature:
    """Statistics of a layer's outputs: waveform [samples] -> [1, n_features], float32.

    Features: mean and standard deviation over all vectors of an utterance. Of a layer with one
    vector for a window, the vector alone; a recording that the network takes in several windows has
    their mean.

    Args:
        source: a run directory, or a preset by its name or folder.
        layer: a name of `Embedder.layers`, "" for the last one.

    Raises UsageError, ConflictError or DataError, see `Embedder` and `load_run`.
    """

    version = 1  # part of the cache key: raise it when the values change
    batch_samples = 0  # of one `extract`: one waveform

    def __init__(self, *, source, layer):
        self.arguments = {"source": source, "layer": layer}
        run = load_run(find_folder(source))
        with record_files() as files:
            self.embedder = Embedder(source, layer or None)
        self.digest = source_run.digest_source(run, files)
        self.training = source_run.describe_training("features.from", run)
        self.layer = self.embedder.layer
        self.has_steps = self.embedder.embedding.step_seconds is not None
        self.sample_rate_hz = self.embedder.sample_rate_hz
        noise = np.random.default_rng(0).normal(0, 0.1, self.sample_rate_hz).astype("float32")
        self.n_features = compute_statistics(self.embedder.embed(noise)[1], self.has_steps).size

    def extract(self, waveforms):
        """Return features [1, n_features] of each waveform [samples], or a DataError."""
        return [self.extract_one(waveform) for waveform in waveforms]

    def extract_one(self, waveform):
        """Return features [1, n_features] of a waveform [samples], or a DataError."""
        try:
            _, vectors = self.embedder.embed(waveform)
        except DataError as error:
            return error
        return compute_statistics(vectors, self.has_steps)[None]

    def settings(self):
        """Return all that decides the values, for the cache key."""
        return {
            "feature": type(self).__name__,
            "version": self.version,
            "sample_rate_hz": self.sample_rate_hz,
            "source": self.digest,
            "layer": self.layer,
        }


def compute_statistics(vectors, has_steps: bool) -> np.ndarray:
    """Return mean and standard deviation of vectors [n, size], or the mean alone: [features]."""
    parts = [vectors.mean(axis=0)] + [vectors.std(axis=0)] * has_steps
    return np.concatenate(parts).astype("float32")


def make_statistics_function(source: str, layer: str) -> tuple:
    """Make the function of the features of one window in a graph, for exports.

    Args:
        source, layer: see `EmbeddingFeature`, whose values the features are.

    Returns: the inference function of the source, a function of its inputs -> features [batch, n],
        and the digest of the source's files.
    """
    run = load_run(find_folder(source))
    with record_files() as files:
        inference = served_model.load_inference_function(run)
    layer = layer or list(inference.embeddings)[-1]
    embedding, embed = inference.embeddings[layer], inference.embed or inference.function

    def compute(*inputs):
        outputs = embed(*inputs)
        values = outputs[layer]
        if embedding.step_seconds is None:
            return values
        if embedding.counts is None:
            mean = tf.reduce_mean(values, axis=1)
            return tf.concat([mean, tf.math.reduce_std(values, axis=1)], axis=1)
        counts = outputs[embedding.counts]
        inside = tf.sequence_mask(counts, tf.shape(values)[1], "float32")[..., None]
        n = tf.cast(counts, "float32")[:, None]
        mean = tf.reduce_sum(values * inside, axis=1) / n
        deviation = (values - mean[:, None]) * inside
        return tf.concat([mean, tf.sqrt(tf.reduce_sum(deviation**2, axis=1) / n)], axis=1)

    return inference, compute, source_run.digest_source(run, files)
