"""EPR as a function of waveforms: log-mel, segments, the last round's network, its forest."""

import keras
import numpy as np
import tensorflow as tf

from tfser.features.log_mel import LogMel
from tfser.inference import served_model


class Forest(tf.Module):
    """Statistics [batch, features] -> probabilities [batch, K], by the trees of `fit_forest`.

    All trees take a step at once, as often as the deepest tree needs; leaves lead to themselves.
    """

    def __init__(self, forest):
        super().__init__()
        leaf, itself = forest["left"] < 0, np.arange(len(forest["left"]))
        children = [np.where(leaf, itself, forest[side]) for side in ("left", "right")]
        self.depth, level = 0, forest["root"]
        while not leaf[level].all():
            self.depth += 1
            level = np.unique([side[level] for side in children])
        # x <= threshold compares a float32 and a float64: the largest float32 that is not above the
        # threshold gives the same results.
        threshold = forest["threshold"].astype("float32")
        lower = np.nextafter(threshold, np.float32(-np.inf))
        threshold = np.where(threshold > forest["threshold"], lower, threshold)
        with tf.device("CPU:0"):
            self.root = tf.constant(forest["root"], "int32")
            self.children = tf.constant(np.stack(children, axis=1).ravel(), "int32")
            self.feature = tf.constant(np.where(leaf, 0, forest["feature"]), "int32")
            self.threshold = tf.constant(threshold)
            self.probabilities = tf.constant(forest["probabilities"], "float32")

    def __call__(self, x):
        """Return the probabilities [batch, K] of x [batch, features]."""
        batch, n_features = tf.unstack(tf.shape(x))
        node = tf.tile(self.root[None], [batch, 1])  # [batch, trees]
        x, first = tf.reshape(x, [-1]), tf.range(batch)[:, None] * n_features
        for _ in range(self.depth):
            value = tf.gather(x, first + tf.gather(self.feature, node))
            right = tf.cast(value > tf.gather(self.threshold, node), "int32")
            node = tf.gather(self.children, 2 * node + right)
        return tf.reduce_mean(tf.gather(self.probabilities, node), axis=1)


def make_inference_function(run) -> served_model.InferenceFunction:
    """Return the function from waveforms to the forest's probabilities and the emotion profile."""
    hp, t = run.hp, run.hp["refinery"]["rounds"]
    n_frames = hp["segments"]["n_frames"]
    layer = LogMel(**hp["features"], min_frames=n_frames)
    hop = round(hp["segments"]["hop_seconds"] / hp["features"]["hop_seconds"])  # frames
    network = served_model.load_network(run.network / f"round-{t}" / "model.keras")
    of_folds = run.scores["protocol"] != "paper"  # else the forest has folds of its own
    folder = run.network if of_folds else run.network.parent / "forests" / run.network.name
    forest = Forest(served_model.load_arrays(folder / f"forest-{t}.npz"))

    def cut(waveform, lengths):
        """Cut segments: ([n, n_frames, n_bands] of all waveforms, inside, counts)."""
        frames = layer(served_model.mask_padding(waveform, lengths))
        segments = tf.signal.frame(frames, n_frames, hop, axis=1)  # [batch, segments, ...]
        counts = 1 + (served_model.count_frames(layer, lengths) - n_frames) // hop
        inside = tf.sequence_mask(counts, tf.shape(segments)[1])
        return tf.boolean_mask(segments, inside), inside, counts

    def function(waveform, lengths):
        segments, inside, counts = cut(waveform, lengths)
        profiles = network(segments, training=False)  # [segments, K]
        profile = served_model.scatter_parts(profiles, inside)
        x = statistics(profile, inside, hp["forest"]["threshold"])
        return {"probabilities": forest(x), "profile": profile, "segments": counts}

    def embed(waveform, lengths):
        segments, inside, counts = cut(waveform, lengths)
        layers = {"profile": network.output, "hidden": network.layers[-1].input}
        values = keras.Model(network.inputs, layers)(segments, training=False)
        return {k: served_model.scatter_parts(v, inside) for k, v in values.items()} | {
            "segments": counts
        }

    times = {
        "step_seconds": hp["segments"]["hop_seconds"],
        "length_seconds": n_frames * hp["features"]["hop_seconds"]
        + hp["features"]["window_seconds"]
        - hp["features"]["hop_seconds"],
        "counts": "segments",
    }
    embeddings = {
        "profile": served_model.Embedding("emotion profile of a segment", **times),
        "hidden": served_model.Embedding("last hidden layer of a segment", **times),
    }
    outputs = {
        "probabilities": "[batch, classes], of the random forest",
        "profile": f"[batch, segments, classes], the emotion profile, a segment each "
        f"{1000 * hp['segments']['hop_seconds']:g} ms; zeros after the last one",
        "segments": "[batch], how many there are",
    }
    return served_model.InferenceFunction(
        function,
        {"log_mel": layer, "network": network, "forest": forest},
        outputs,
        layer.sample_rate_hz,
        embeddings=embeddings,
        embed=embed,
    )


def statistics(profile, inside, threshold):
    """Return `forest.statistics` in TensorFlow: profile [batch, segments, K] -> [batch, 4 K].

    inside [batch, segments]: False for padding.
    """
    here = inside[..., None]
    n = tf.reduce_sum(tf.cast(here, "float32"), axis=1)
    above = tf.cast((profile > threshold) & here, "float32")
    parts = [
        tf.reduce_max(tf.where(here, profile, -np.inf), axis=1),
        tf.reduce_min(tf.where(here, profile, np.inf), axis=1),
        tf.reduce_sum(tf.where(here, profile, 0.0), axis=1) / n,
        tf.reduce_sum(above, axis=1) / n,
    ]
    return tf.concat(parts, axis=1)
