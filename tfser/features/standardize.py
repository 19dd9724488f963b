"""The z-score as a Keras layer."""

import keras
import numpy as np


@keras.saving.register_keras_serializable("tfser")
class Standardize(keras.layers.Layer):
    """z-score of each feature, clipped at +-`clip`, with statistics that are set, not trained.

    NaN, a frame after the utterance's end, becomes 0, the mean.
    """

    def __init__(self, clip, **options):
        # In float32 whatever the policy: functionals reach 1e10, levels of -20 need their digits.
        super().__init__(**{"dtype": "float32"} | options)
        self.clip = clip

    def build(self, shape):
        """Create the statistics: mean 0 and standard deviation 1 until they are set."""
        options = {"shape": shape[-1:], "trainable": False}
        self.mean = self.add_weight(initializer="zeros", name="mean", **options)
        self.sd = self.add_weight(initializer="ones", name="sd", **options)

    def set_statistics(self, mean, sd):
        """Set mean and standard deviation [features]; give 1 for a feature that never varies."""
        self.mean.assign(mean)
        self.sd.assign(sd)

    def adapt(self, x):
        """Set the statistics to those of x [..., features], without the rows that are NaN."""
        rows = np.asarray(x, "float64").reshape(-1, self.mean.shape[0])
        rows = rows[~np.isnan(rows).any(axis=1)]
        sd = rows.std(axis=0)
        self.set_statistics(rows.mean(axis=0), np.where(sd > 0, sd, 1.0))

    def call(self, x):
        """Standardize features [..., features]."""
        z = keras.ops.clip((x - self.mean) / self.sd, -self.clip, self.clip)
        return keras.ops.where(keras.ops.isnan(x), 0.0, z)

    def get_config(self):
        """Return the arguments of the constructor, with the name: Keras leaves out `options`."""
        return super().get_config() | {"clip": self.clip}
