"""tfser: five speech emotion recognition systems, each faithful to its paper.

Its import lets `keras.saving.load_model` load the networks of tfser, see `tfser.keras_classes`.
"""

from tfser import keras_classes

keras_classes.register_with_keras()


def load(folder, *, seed=None, fold=0):
    """Load a run of tfser-train or an export, whose `predict(paths or waveforms)` returns rows.

    See `tfser.inference.predictor.Predictor`.
    """
    # It imports TensorFlow, and every command's --help imports this package.
    from tfser.inference import predictor

    return predictor.load_predictor(folder, seed=seed, fold=fold)


def __getattr__(name):
    if name == "Embedder":
        from tfser.inference.embedder import Embedder  # it imports TensorFlow

        return Embedder
    if name == "__version__":
        from importlib.metadata import version  # slow to import

        return version("tfser")
    raise AttributeError(f"module 'tfser' has no attribute {name!r}")
