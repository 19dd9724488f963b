"""BEGAN's encoder and a head as a function of waveforms."""

import numpy as np
import tensorflow as tf

from tfser.features.magnitude_slices import make_magnitude_slices
from tfser.inference import served_model


def make_inference_function(run) -> served_model.InferenceFunction:
    """Return the function from waveforms to the outputs for the utterance and for each slice."""
    layer = make_magnitude_slices(run.hp)
    network = served_model.load_network(run.network / "model.keras")

    def cut(waveform, lengths):
        """Cut slices: (magnitudes of all waveforms' slices, inside)."""
        n_samples = layer.n_samples
        n_slices = served_model.ceil_divide(tf.shape(waveform)[1], n_samples)
        missing = n_slices * n_samples - tf.shape(waveform)[1]
        slices = tf.pad(served_model.mask_padding(waveform, lengths), [[0, 0], [0, missing]])
        slices = tf.reshape(slices, [-1, n_slices, n_samples])
        inside = tf.sequence_mask(count_slices(layer, lengths), n_slices)
        return layer(tf.boolean_mask(slices, inside)), inside

    def function(waveform, lengths):
        slices, inside = cut(waveform, lengths)
        outputs = network(slices, training=False)
        of_slices = served_model.scatter_parts(outputs, inside)
        counts = tf.reduce_sum(tf.cast(inside, "float32"), axis=1)
        if run.classes:
            merged = {"probabilities": tf.reduce_sum(of_slices, axis=1) / counts[:, None]}
        else:
            merged = {"ratings": median(of_slices, inside)}
        return merged | {
            "slices": of_slices,
            "n_slices": tf.cast(counts, "int32"),
        }

    def embed(waveform, lengths):
        slices, inside = cut(waveform, lengths)
        values = network.get_layer("encoder")(network.get_layer("picture")(slices), training=False)
        flat = tf.reshape(values, [-1, np.prod(values.shape[1:])])
        return {
            "maps": served_model.scatter_parts(flat, inside),
            "n_slices": tf.reduce_sum(tf.cast(inside, "int32"), axis=1),
        }

    seconds = run.hp["features"]["slice_seconds"]
    if run.classes:
        outputs = {"probabilities": "[batch, classes], the mean over the slices"}
    else:
        outputs = {"ratings": "[batch, 2], arousal and valence, the medians over the slices"}
    outputs |= {
        "slices": f"[batch, slices, {len(run.classes) or 2}], the same of {seconds:g} s each; zero "
        "after the last one",
        "n_slices": "[batch], how many there are",
    }
    about = "the encoder's feature maps of a slice"
    return served_model.InferenceFunction(
        function,
        {"slices": layer, "network": network},
        outputs,
        layer.sample_rate_hz,
        embeddings={"maps": served_model.Embedding(about, seconds, counts="n_slices")},
        embed=embed,
    )


def median(x, inside):
    """Return the median [batch, n] of x [batch, slices, n] over the slices `inside`."""
    ordered = tf.sort(tf.where(inside[..., None], x, np.inf), axis=1)
    n = tf.reduce_sum(tf.cast(inside, "int32"), axis=1)
    middle = [tf.gather(ordered, at, axis=1, batch_dims=1) for at in ((n - 1) // 2, n // 2)]
    return (middle[0] + middle[1]) / 2


def count_slices(layer, lengths):
    """Count the slices of waveforms with these lengths [batch] in samples, as `Slices.lengths`.

    At least one: a shorter waveform is filled up with zeros.
    """
    n_whole, rest = lengths // layer.n_samples, lengths % layer.n_samples
    if layer.arguments["drop_short"]:
        more = -tf.cast(rest == 0, "int32")
    else:
        more = tf.cast(2 * rest >= layer.n_samples, "int32")
    return tf.maximum(n_whole + more, 1)
