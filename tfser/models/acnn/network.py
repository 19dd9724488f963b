"""The attentive convolutional network with its views (sections 2 and 4.2)."""

import keras
from keras import layers, ops

from tfser.features.standardize import Standardize

VIEWS = ("emotion", "arousal", "valence")  # of Eq. (2)


@keras.saving.register_keras_serializable("tfser")
class AttentionPooling(layers.Layer):
    """x [batch, steps, channels] -> sum_i alpha_i x_i [batch, channels], alpha [batch, steps].

    Eq. (1): alpha = softmax(W^T x_i) over the steps; where `inside` [batch, steps] is given, over
    those for which it is true.
    """

    def build(self, x_shape, inside_shape=None):
        """W, without a bias, which the softmax would not feel."""
        self.w = self.add_weight((x_shape[-1], 1), "glorot_uniform", name="w")

    def call(self, x, inside=None):
        """Returns (the weighted sum, the weights)."""
        scores = ops.matmul(x, self.w)  # [batch, steps, 1]
        if inside is not None:
            scores = ops.where(inside[..., None], scores, -1e9)
        alpha = ops.softmax(scores, axis=1)
        return ops.sum(alpha * x, axis=1), alpha[..., 0]

    def compute_output_shape(self, x_shape, inside_shape=None):
        """Of the sum and of the weights."""
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
) -> keras.Model:
    """Figure 1: log-mel [batch, frames, bands] and representation -> probabilities of each view.

    Args:
        n_representation: size of the autoencoder's representation, 0 for none (the baseline).
        views: those of VIEWS that the corpus has labels for.
        attends_padding: whether steps after the utterance's end (NaN) have weights too.

    Its inputs are "log_mel" and, if there is one, "representation". The layer "attention" gives
    alpha, "hidden" the vector below the softmax layers, which the views share.
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
    # From here on a vector an utterance, in float32 whatever the policy.
    single = {"dtype": "float32"}
    hidden, _ = AttentionPooling(name="attention", **single)(x, inside)
    if n_representation:
        inputs["representation"] = keras.Input((n_representation,), name="representation")
        of_both = [hidden, inputs["representation"]]
        hidden = layers.Concatenate(name="hidden", **single)(of_both)
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
    """Eq. (2): the weight of each view's cross-entropy; of a single view it is 1."""
    weights = {"emotion": 1 - alpha - beta, "arousal": alpha, "valence": beta}
    return {name: weights[name] for name in views} if len(views) > 1 else {"emotion": 1.0}


def cross_entropy(labels, probabilities):
    """Of each utterance [batch]; 0 and without a gradient where its labels [K] are all 0.

    TensorFlow's gradient takes labels for distributions: zeros alone would not silence it.
    """
    each = ops.categorical_crossentropy(labels, probabilities)
    return each * ops.sum(labels, axis=-1)


def attention_model(model) -> keras.Model:
    """The same inputs -> {"attention": alpha [batch, steps], "hidden": [batch, 200 + 1024]}."""
    _, alpha = model.get_layer("attention").output
    return keras.Model(
        model.input, {"attention": alpha, "hidden": model.get_layer("hidden").output}
    )
