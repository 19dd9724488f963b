"""The attentive convolutional network and the multi-view loss (sections 2 and 4.2)."""

import keras
from keras import layers, ops

from tfser.features.standardize import Standardize
from tfser.training import loop
from tfser.training.paper_network import PaperNetwork

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


@keras.saving.register_keras_serializable("tfser")
class ACNN(PaperNetwork, keras.Model):
    """Figure 1, right: log-mel frames and a representation -> probabilities of each view.

    Sections 2 and 4.2. Inputs: {"log_mel": [batch, n_frames, n_bands]}, with NaN after the end of
    an utterance, and with an autoencoder "representation" [batch, n_representation]. Outputs, in
    float32: {"emotion": [batch, n_classes], "arousal": [batch, 3], "valence": [batch, 3]}. `adapt`
    sets the z-scores.

    The layer "attention" outputs alpha, Eq. (1), "hidden" the vector below the softmax layers,
    which the views share; see `attention_model`.

    Args:
        n_classes: number of emotions.
        n_frames: frames of an utterance, cut or padded; 748 are 7.5 s.
        n_bands: mel bands.
        n_representation: size of the autoencoder's representation, 0 for none (the baseline).
        views: the names in VIEWS that the corpus has labels for.
        n_filters, kernel_frames, stride_frames: of the convolution, whose kernel spans all bands.
        pool_steps: steps of the convolution under the maximum.
        attends_padding: whether steps after the utterance's end (NaN) have weights too.
        dropout: dropped share of the hidden layer.
        clip: limit of the z-scores.
        standardizes_representation: whether a layer "standardize_representation" z-scores it.

    Example:
        >>> import numpy as np
        >>> import tfser
        >>> model = tfser.models.ACNN(n_classes=4, n_frames=100, n_filters=8, pool_steps=5)
        >>> model.compile()
        >>> rng = np.random.default_rng(0)
        >>> x = {"log_mel": rng.normal(-8, 2, (6, 100, 26))}
        >>> y = {"emotion": np.eye(4)[[0, 1, 2, 3, 0, 1]], "arousal": np.eye(3)[[0, 1, 2, 0, 1, 2]]}
        >>> y["valence"] = np.zeros((6, 3))  # without a label: no loss, no gradient
        >>> model.adapt(x["log_mel"])
        >>> history = model.fit(x, y, batch_size=3, verbose=0)
        >>> model.predict(x, verbose=0)["emotion"].shape
        (6, 4)
    """

    def __init__(
        self,
        n_classes,
        *,
        n_frames=748,
        n_bands=26,
        n_representation=0,
        views=VIEWS,
        n_filters=200,
        kernel_frames=10,
        stride_frames=3,
        pool_steps=30,
        attends_padding=False,
        dropout=0.8,
        clip=10.0,
        standardizes_representation=True,
        name="acnn",
    ):
        inputs = {"log_mel": keras.Input((n_frames, n_bands), name="log_mel")}
        x = Standardize(clip, name="standardize")(inputs["log_mel"])
        # A kernel spans all bands, so that the output is a vector for each step.
        convolution = layers.Conv1D(
            n_filters, kernel_frames, strides=stride_frames, activation="relu", name="convolution"
        )
        x = layers.MaxPooling1D(pool_steps, name="pooling")(convolution(x))
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
                representation = Standardize(clip, name="standardize_representation")(
                    representation
                )
            hidden = layers.Concatenate(name="hidden", **single)([hidden, representation])
        else:
            hidden = layers.Identity(name="hidden", **single)(hidden)
        hidden = layers.Dropout(dropout, name="dropout", **single)(hidden)
        sizes = {name: n_classes if name == "emotion" else 3 for name in views}
        heads = {
            name: layers.Dense(n, activation="softmax", name=name, **single)(hidden)
            for name, n in sizes.items()
        }
        super().__init__(inputs, heads, name=name)
        self.settings = {
            "n_classes": n_classes, "n_frames": n_frames, "n_bands": n_bands,
            "n_representation": n_representation, "views": list(views), "n_filters": n_filters,
            "kernel_frames": kernel_frames, "stride_frames": stride_frames,
            "pool_steps": pool_steps, "attends_padding": attends_padding, "dropout": dropout,
            "clip": clip, "standardizes_representation": standardizes_representation,
        }  # fmt: skip

    def compile(self, optimizer=None, loss=None, metrics=(), *, alpha=0.2, beta=0.2, **options):
        """Compile with Adam and the multi-view loss, Eq. (2).

        Args:
            optimizer: in place of the paper's, as keras.Model.compile takes it.
            loss: in place of the cross-entropy of each view.
            alpha, beta: weights of arousal and valence; the emotion has the rest of 1.
            metrics, options: see keras.Model.compile.
        """
        self.record_compile(
            optimizer=optimizer, loss=loss, metrics=metrics, alpha=alpha, beta=beta, **options
        )
        weights = view_weights(alpha, beta, self.settings["views"])
        defaults = {"loss_weights": weights, "jit_compile": loop.choose_jit_compile()}
        super().compile(
            optimizer or keras.optimizers.Adam(3e-4),
            loss or dict.fromkeys(weights, cross_entropy),
            metrics=metrics or None,
            **defaults | options,
        )

    def adapt(self, log_mel, representation=None):
        """Set the z-scores to the statistics of the frames that are not NaN, of each band.

        log_mel [n, n_frames, n_bands], representation [n, n_representation].
        """
        parts = {"standardize": log_mel, "standardize_representation": representation}
        for name, x in parts.items():
            if x is not None:
                self.get_layer(name).adapt(x)


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
