"""The z-score layer: what a saved network keeps of it."""

import keras
import numpy as np

from tfser.features.standardize import Standardize


def test_a_saved_layer_keeps_name_clip_and_statistics(tmp_path):
    Standardize(1.0)  # of the default name, which the next layer without a name would count on
    x = keras.Input((2,))
    model = keras.Model(x, Standardize(1.5, name="standardize")(x))
    model.get_layer("standardize").set_statistics([1.0, 2.0], [1.0, 4.0])
    model.save(tmp_path / "model.keras")
    for _ in range(2):
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        assert loaded.get_layer("standardize").dtype == "float32"
        z = loaded(np.array([[2.0, 0.0], [9.0, np.nan]], "float32"))
        np.testing.assert_array_equal(z, [[1.0, -0.5], [1.5, 0.0]])
