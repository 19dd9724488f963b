"""The Aux-VAE of figure 1: the lower bound of Eq. (5), and the training step."""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from tfser.models.auxvae.subnetworks import frame_by_frame, timescale
from tfser.training import loop, mixed_precision, replicas
from tfser.training.paper_network import PaperNetwork

# Limit of |log-variance|: a squared error is weighted by exp(10) = 22,000 at most. Without a limit
# training diverges long before exp() overflows, in float32 at 88.
LOG_VARIANCE = 10.0


class Normal(NamedTuple):
    """A diagonal normal distribution for each frame: [batch, frames, n] both."""

    mean: object
    log_variance: object


def normal(parameters) -> Normal:
    """Split a network's output [batch, frames, 2 n] into mean and log-variance."""
    mean, log_variance = ops.split(parameters, 2, axis=-1)
    return Normal(mean, ops.clip(log_variance, -LOG_VARIANCE, LOG_VARIANCE))


def log_density(x, distribution):
    """Return the mean over batch, frames and dimensions of log N(x; mean, variance)."""
    mean, log_variance = distribution
    square = ops.square(x - mean) * ops.exp(-log_variance)
    return -0.5 * ops.mean(np.log(2 * np.pi) + log_variance + square)


class Latents(NamedTuple):
    """The posteriors of h, m (None without it) and z, and a sample of each."""

    distributions: dict[str, Normal]
    samples: dict  # [batch, frames, n_latent]


@keras.saving.register_keras_serializable("tfser")
class AuxVAE(PaperNetwork, keras.Model):
    """Figure 1: spectrogram -> its reconstruction, by latents h, m and z (sections 3 and 4).

    Input: [batch, frames, n_bands] in [0, 1], any number of frames from 7 on. Output: the same
    shape, in float32. `encode` gives h (global), m (per chunk) and z (per frame). `fit` takes
    spectrograms alone and raises the lower bound, Eq. (5).

    Args:
        n_bands: mel bands.
        n_latent: size of h, of m and of z.
        chunk_frames: frames of a chunk; 44 are a second.
        dropout: dropped share of the spectrogram, the input of m and z.
        legacy_dropout: whether m's input is dropped in inference too, as in the authors' code.
        medium: whether there is m; without m the networks are those of Springenberg et al. 2019.
        predictive: whether z of a frame is decoded to the next frame.
        alpha, beta, gamma: weights of the terms of z, m and h in Eq. (5).
        spectrogram: settings of the input, {name: value}, for runs that load the network.

    Example:
        >>> import numpy as np
        >>> import tfser
        >>> model = tfser.models.AuxVAE(n_bands=6, n_latent=8, chunk_frames=5)
        >>> model.compile()
        >>> pieces = np.random.default_rng(0).uniform(0, 1, (4, 20, 6)).astype("float32")
        >>> history = model.fit(pieces, batch_size=2, verbose=0)
        >>> sorted(history.history)
        ['kl_h', 'kl_m', 'kl_z', 'loss', 'reconstruction']
        >>> latents = model.encode(pieces, sampled=False)
        >>> {name: tuple(mean.shape) for name, mean in latents.samples.items()}
        {'h': (4, 20, 8), 'm': (4, 20, 8), 'z': (4, 20, 8)}
    """

    def __init__(
        self,
        n_bands=140,
        *,
        n_latent=512,
        chunk_frames=44,
        dropout=0.2,
        legacy_dropout=False,
        medium=True,
        predictive=False,
        alpha=0.01,
        beta=0.01,
        gamma=0.01,
        spectrogram=None,
        **options,
    ):
        super().__init__(dtype="float32", **options)  # the networks inside have their own policy
        self.settings = {
            "spectrogram": spectrogram or {}, "n_bands": n_bands, "n_latent": n_latent,
            "chunk_frames": chunk_frames, "dropout": dropout,
            "legacy_dropout": legacy_dropout, "medium": medium,
            "predictive": predictive, "alpha": alpha, "beta": beta, "gamma": gamma,
        }  # fmt: skip
        self.medium, self.predictive, self.legacy_dropout = medium, predictive, legacy_dropout
        self.chunk_frames = chunk_frames
        self.weights_of_terms = {"z": alpha, "m": beta, "h": gamma}
        self.dropout = layers.Dropout(dropout)
        self.noise = keras.random.SeedGenerator(0)
        n_inputs = n_bands + n_latent
        self.h_net = timescale(n_bands, n_latent, None, "h_net")
        self.z_net = frame_by_frame(n_inputs, [n_latent, n_latent], 2 * n_latent, "z_net")
        self.decoder = frame_by_frame(n_latent, [n_bands] * 3, n_bands, "decoder", "sigmoid")
        self.h_predictor = frame_by_frame(n_latent, [n_latent], 2 * n_latent, "h_predictor")
        if medium:
            self.m_net = timescale(n_inputs, n_latent, chunk_frames, "m_net")
            sizes = [2 * n_latent] * 2
            self.m_predictor = frame_by_frame(2 * n_latent, sizes, 2 * n_latent, "m_predictor")
        names = ("loss", "reconstruction", "kl_z", *["kl_m"] * medium, "kl_h")
        self.means = {name: keras.metrics.Mean(name) for name in names}
        self.built = True

    @property
    def metrics(self):
        """Return the means of an epoch."""
        return list(self.means.values())

    @classmethod
    def from_config(cls, config):
        """Build the network of a config, in which `spectrogram` was once called `hears`."""
        renamed = {"hears": "spectrogram"}
        return cls(**{renamed.get(name, name): value for name, value in config.items()})

    def compile(self, optimizer=None, *, clip_norm=1.0, **options):
        """Compile with Adam (section 5.2); gradients are clipped to a global norm.

        Args:
            optimizer: in place of the paper's, as keras.Model.compile takes it.
            clip_norm: limit of the gradient's norm, None for none.
            options: see keras.Model.compile.
        """
        self.record_compile(optimizer=optimizer, clip_norm=clip_norm, **options)
        optimizer = keras.optimizers.get(optimizer or keras.optimizers.Adam(1e-4))
        optimizer = mixed_precision.scale_optimizer(optimizer)
        super().compile(optimizer, **{"jit_compile": False} | options)
        self.clip_norm = clip_norm
        # An unbuilt optimizer fails on several replicas.
        mixed_precision.build_optimizer(self.optimizer, self.trainable_variables)

    def encode(self, x, training=False, sampled=True, style=None) -> Latents:
        """Return the posteriors of figure 1 and a sample of each, or their means.

        style: distributions of another recording in place of those of x, by name ("h", "m").
        """
        distributions, samples = {}, {}

        def draw(name, parameters):
            distributions[name] = (style or {}).get(name) or normal(parameters)
            mean, log_variance = distributions[name]
            samples[name] = mean
            if sampled:
                noise = replicas.normal_like(mean, self.noise)
                samples[name] = mean + ops.exp(0.5 * log_variance) * noise
            return samples[name]

        # Repeated before the draw: every frame has its own noise around one mean.
        frames = ops.arange(ops.shape(x)[1])
        latent = draw("h", ops.take(self.h_net(x, training=training), frames * 0, axis=1))
        if self.medium:
            dropped = self.dropout(x, training=training or self.legacy_dropout)
            chunks = self.m_net(ops.concatenate([dropped, latent], axis=-1), training=training)
            # The chunks cover fewer frames than x: the last chunk is repeated to the end of x.
            chunk_of = ops.minimum(frames // self.chunk_frames, ops.shape(chunks)[1] - 1)
            latent = draw("m", ops.take(chunks, chunk_of, axis=1))
        dropped = self.dropout(x, training=training)
        draw("z", self.z_net(ops.concatenate([dropped, latent], axis=-1), training=training))
        return Latents(distributions, samples)

    def predict_latents(self, samples, x_hat, training=False) -> tuple:
        """Predict h and m from z: (x_hat unchanged, {"h": p(h | z), "m": p(m | h, z)})."""
        x_hat, z = interleave(x_hat, samples["z"])
        p = {"h": normal(self.h_predictor(z, training=training))}
        if self.medium:
            _, z = interleave(p["h"].mean, z)
            h_z = ops.concatenate([samples["h"], z], axis=-1)
            p["m"] = normal(self.m_predictor(h_z, training=training))
        return x_hat, p

    def add_silence(self, x):
        """Return the input of the encoder: x, with `predictive` behind a frame of silence."""
        return ops.concatenate([ops.ones_like(x[:, :1]), x], 1) if self.predictive else x

    def call(self, x, training=False, sampled=True, style=None):
        """Return the reconstruction of x, frame by frame; style: see `encode`."""
        _, samples = self.encode(self.add_silence(x), training, sampled, style)
        return self.decoder(samples["z"], training=training)[:, : x.shape[1]]

    def bound(self, x, training=False) -> dict:
        """Return Eq. (5), log p(x) >= -"loss", and its terms {"reconstruction", "kl_z", ...}.

        Sums of squares over bands and means over dimensions, as in the authors' code.
        """
        target = ops.concatenate([x, ops.ones_like(x[:, :1])], 1) if self.predictive else x
        x = self.add_silence(x)
        q, sample = self.encode(x, training)
        x_hat = self.decoder(sample["z"], training=training)
        x_hat, p = self.predict_latents(sample, x_hat, training)
        p["z"] = Normal(ops.zeros_like(sample["z"]), ops.zeros_like(sample["z"]))

        def entropy(name):
            return -log_density(sample[name], q[name])

        log_p_x = -ops.mean(ops.sum(ops.square(target - x_hat), axis=-1))
        terms = {name: log_density(sample[name], p[name]) + entropy(name) for name in p}
        weighted = sum(self.weights_of_terms[name] * term for name, term in terms.items())
        return {"loss": -(log_p_x + weighted), "reconstruction": -log_p_x} | {
            f"kl_{name}": -term for name, term in terms.items()
        }

    def train_step(self, data):
        """Update the weights once; the gradient's norm is that of the batch of all replicas."""
        x, *_ = keras.utils.unpack_x_y_sample_weight(data)
        values = {}

        def loss():
            values.update(self.bound(x, training=True))
            return values["loss"]

        loop.minimize(loss, self.trainable_variables, self.optimizer, clip_norm=self.clip_norm)
        return self._update_metrics(values)

    def test_step(self, data):
        """Return the terms of Eq. (5) without dropout and update."""
        x, *_ = keras.utils.unpack_x_y_sample_weight(data)
        with replicas.restore_generator(self.noise):
            return self._update_metrics(self.bound(x))

    def predict_step(self, data):
        """Return reconstructions of samples, the same in each call."""
        with replicas.restore_generator(self.noise):
            return super().predict_step(data)

    def _update_metrics(self, values):
        for name, mean in self.means.items():
            mean.update_state(values[name])
        return self.get_metrics_result()


@tf.custom_gradient
def interleave(a, b):
    """Return both unchanged, b never before a, and the gradient of a never before that of b.

    For networks side by side with batch normalization: all replicas must wait for each other's
    statistics in the same order.
    """

    def gradient(of_a, of_b):
        return tf.tuple([of_a, of_b])

    return tf.tuple([a, b]), gradient
