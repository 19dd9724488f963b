"""The attentive convolutional network and the multi-view loss (sections 2 and 4.2)."""

import keras
from keras import layers, ops

from tfser.features.standardize import Standardize

VIEWS = ("emotion", "arousal", "valence")  # of Eq. (2)


@keras.saving.register_keras_serializable("tfser")
class AttentionPooling(layers.Layer):
    """x [batch, steps, channels] -> sum_i alpha_i x_i [batch, channels], alpha [batch, steps].

    Eq. (1): alpha = softmax(W^T x_i) over the steps. With `inside` [batch, steps] the softmax is
    over the steps where `inside` is true.
    """

    def build(self, x_shape, inside_shape=None):
        """Make W, without a bias, which would not change the softmax."""
        self.w = self.add_weight((x_shape[-1], 1), "glorot_uniform", name="w")

    def call(self, x, inside=None):
        """Return (the weighted sum, the weights)."""
        scores = ops.matmul(x, self.w)  # [batch, steps, 1]
        if inside is not None:
            scores = ops.where(inside[..., None], scores, -1e9)
        alpha = ops.softmax(scores, axis=1)
        return ops.sum(alpha * x, axis=1), alpha[..., 0]

    def compute_output_shape(self, x_shape, inside_shape=None):
        """Return the shapes of the sum and of the weights."""
        return (x_shape[0], x_shape[2]), x_shape[:2]


def acnn(
    n_frames,
    n_bands,
    n_classes,
    *,
    n_representation,
    views,
    n_filters,
    kernel_frames,
    stride_frames,
    pool_steps,
    attends_padding,
    dropout,
    clip,
    standardizes_representation,
) -> keras.Model:
    """Build figure 1: log-mel [batch, frames, bands], representation -> probabilities of each view.

    Args:
        n_representation: size of the autoencoder's representation, 0 for none (the baseline).
        views: the names in VIEWS that the corpus has labels for.
        attends_padding: whether steps after the utterance's end (NaN) have weights too.
        standardizes_representation: whether a layer "standardize_representation" z-scores it.

    The inputs are "log_mel" and, with the autoencoder, "representation". The layer "attention"
    outputs alpha, "hidden" the vector below the softmax layers, which the views share.
    """
    inputs = {"log_mel": keras.Input((n_frames, n_bands), name="log_mel")}
    x = Standardize(clip, name="standardize")(inputs["log_mel"])
    # A kernel spans all bands, so that the output is a vector for each step.
    convolution = layers.Conv1D(n_filters, kernel_frames, strides=stride_frames, activation="relu")
    x = layers.MaxPooling1D(pool_steps)(convolution(x))
    inside = None
    if not attends_padding:  # a step is inside if its first frame is
        first_frames = inputs["log_mel"][:, :: stride_frames * pool_steps, 0]
        inside = ops.logical_not(ops.isnan(first_frames[:, : x.shape[1]]))
    # The layers above work on one vector per utterance, in float32 under any policy.
    single = {"dtype": "float32"}
    hidden, _ = AttentionPooling(name="attention", **single)(x, inside)
    if n_representation:
        representation = keras.Input((n_representation,), name="representation")
        inputs["representation"] = representation
        if standardizes_representation:
            representation = Standardize(clip, name="standardize_representation")(representation)
        hidden = layers.Concatenate(name="hidden", **single)([hidden, representation])
    else:
        hidden = layers.Identity(name="hidden", **single)(hidden)
    hidden = layers.Dropout(dropout, **single)(hidden)
    sizes = {name: n_classes if name == "emotion" else 3 for name in views}
    heads = {
        name: layers.Dense(n, activation="softmax", name=name, **single)(hidden)
        for name, n in sizes.items()
    }
    return keras.Model(inputs, heads, name="acnn")


def view_weights(alpha, beta, views) -> dict[str, float]:
    """Return the weight of each view's cross-entropy in Eq. (2), for the views of the corpus.

    The weights of the views that a corpus has keep their ratios and sum up to 1.
    """
    weights = {"emotion": 1 - alpha - beta, "arousal": alpha, "valence": beta}
    if len(views) == len(weights):
        return weights
    total = sum(weights[name] for name in views)
    return {name: weights[name] / total for name in views}


def cross_entropy(labels, probabilities):
    """Return the cross-entropy of each utterance [batch]: 0, without a gradient, without a label.

    TensorFlow's gradient takes labels for distributions: zeros alone would not silence it.
    """
    each = ops.categorical_crossentropy(labels, probabilities)
    return each * ops.sum(labels, axis=-1)


def attention_model(model) -> keras.Model:
    """Return the model of the outputs {"attention": [batch, steps], "pooled": [batch, n_filters]}.

    "pooled" is the convolutional network's own part of the last hidden layer.
    """
    pooled, alpha = model.get_layer("attention").output
    return keras.Model(model.input, {"attention": alpha, "pooled": pooled})
