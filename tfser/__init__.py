"""tfser: five speech emotion recognition systems, each faithful to its paper."""


def load(folder, *, seed=None, fold=0):
    """A run of tfser-train or an export, whose `predict(paths or waveforms)` gives rows.

    See `tfser.predictor.Predictor`.
    """
    from tfser.inference import (
        predictor,  # TensorFlow, which the commands' --help need not wait for
    )

    return predictor.load_predictor(folder, seed=seed, fold=fold)
