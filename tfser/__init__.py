"""tfser: five speech emotion recognition systems, each faithful to its paper.

Its import lets `keras.saving.load_model` load the networks of tfser, see `tfser.keras_classes`, and
takes no TensorFlow: `tfser.models`, `tfser.features`, `tfser.corpora` and `tfser.evaluation` import
what is used of them.
"""

import importlib

from tfser import keras_classes

keras_classes.register_with_keras()

PACKAGES = ("corpora", "evaluation", "features", "models")  # for notebooks


def __getattr__(name):
    if name in PACKAGES:
        return importlib.import_module(f"tfser.{name}")
    if name == "Embedder":
        from tfser.inference.embedder import Embedder  # it imports TensorFlow

        return Embedder
    if name == "__version__":
        from importlib.metadata import version  # slow to import

        return version("tfser")
    raise AttributeError(f"module 'tfser' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *PACKAGES, "Embedder", "__version__"})


def load(folder, *, seed=None, fold=0):
    """Load a preset, a run or an export, whose `predict(paths or waveforms)` returns rows.

    See `tfser.inference.predictor.Predictor`.
    """
    # It imports TensorFlow, and every command's --help imports this package.
    from tfser.inference import predictor

    return predictor.load_predictor(folder, seed=seed, fold=fold)


def load_audio(path, sample_rate_hz=16000, **options):
    """Load a recording as a mono waveform [samples], float32 from -1 to 1.

    Args:
        path: of the file: WAV, FLAC, OGG, MP3, SPH and others.
        sample_rate_hz: other rates are resampled (soxr HQ).
        options: start_seconds and end_seconds of a part; channel=1 for the first channel alone,
            otherwise the mean of all.

    Raises DataError for a file that is missing, truncated, silent, not finite, not sound, or
    shorter than 25 ms.

    Example:
        >>> import tfser
        >>> utterance = tfser.corpora.load("toy")[0]
        >>> waveform = tfser.load_audio(utterance.path, 16000)
        >>> waveform.ndim, waveform.dtype
        (1, dtype('float32'))
    """
    from tfser.audio import decode

    return decode.load_audio(path, sample_rate_hz=sample_rate_hz, **options)
