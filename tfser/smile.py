"""openSMILE's features for the store, which no graph can compute.

openSMILE is free for research and private use only, and not safe in threads: two at once abort the
whole program. So each thread of the store has a process of its own, and what crashes there is the
error of one file.
"""

import multiprocessing
import signal
import threading
import warnings

import numpy as np

from tfser.errors import DataError, UsageError, did_you_mean

LOUDEST = 32767 / 32768  # a sample of 1.0 would wrap to -1.0 in openSMILE's 16 bits


class OpenSmile:
    """waveform [samples] -> [frames, n_features], float32.

    Args:
        feature_set: name of opensmile.FeatureSet. IS13 (Schuller et al., Interspeech 2013) and
            ComParE_2016 have the same names and other values.
        level: "functionals", one row an utterance (IS13: 6373), or "lld", low-level descriptors
            every 10 ms (IS13: 65).

    Raises UsageError where opensmile is not installed or has no such set.
    """

    version = 1  # part of the store's key: raise it when the values change

    def __init__(self, *, sample_rate_hz, feature_set, level):
        try:
            import opensmile  # with pandas, a second
        except ImportError:
            raise UsageError(
                "openSMILE is not installed: pip install 'tfser[opensmile]' "
                "(its licence allows research and private use only)"
            ) from None
        sets = list(opensmile.FeatureSet.__members__)
        if feature_set not in sets:
            raise UsageError(
                f"features.feature_set: openSMILE {opensmile.__version__} has no {feature_set!r}"
                f"{did_you_mean(feature_set, sets)}; there are {' '.join(sets)}"
            )
        self.sample_rate_hz = sample_rate_hz
        self.feature_set, self.level = feature_set, level
        self.opensmile = opensmile.__version__
        self.names = _smile(feature_set, level).feature_names
        self.n_features = len(self.names)
        self.of_thread = threading.local()

    def extract(self, waveforms):
        """List of waveforms [samples] -> list of [frames, n_features], DataError for a failed one.

        The processor time is another process's: a thread of the store for each core keeps all busy.
        """
        return [self._extract(waveform) for waveform in waveforms]

    def _extract(self, waveform):
        if not hasattr(self.of_thread, "worker"):
            self.of_thread.worker = _Worker(self.feature_set, self.level, self.sample_rate_hz)
        try:
            frames = self.of_thread.worker.ask(waveform)
        except (EOFError, ConnectionError):
            del self.of_thread.worker
            return DataError("openSMILE crashed on it")
        if isinstance(frames, str):
            return DataError(f"openSMILE failed: {frames}")
        if np.isfinite(frames).all():
            return frames
        seconds = len(waveform) / self.sample_rate_hz
        return DataError(f"openSMILE gives NaN for its {seconds:.3f} s; too short for a window")

    def settings(self):
        """What decides the values, for the store's key."""
        return {
            "feature": type(self).__name__,
            "version": self.version,
            "sample_rate_hz": self.sample_rate_hz,
            "feature_set": self.feature_set,
            "level": self.level,
            "opensmile": self.opensmile,
        }


class _Worker:
    """A process that computes features; it ends with the thread that asks, or with the program."""

    def __init__(self, *settings):
        # Spawned: TensorFlow's threads would be missing in a fork. The other end of the pipe is
        # the process's alone, so that either side learns of the other's death.
        spawn = multiprocessing.get_context("spawn")
        self.connection, theirs = spawn.Pipe()
        spawn.Process(target=_serve, args=(theirs, *settings), daemon=True).start()
        theirs.close()

    def ask(self, waveform):
        self.connection.send(waveform)
        return self.connection.recv()

    def __del__(self):
        self.connection.close()


def _serve(connection, feature_set, level, sample_rate_hz) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the program's: it closes the pipe
    warnings.filterwarnings("ignore", "Segment too short")  # the NaN it fills in are an error
    smile = _smile(feature_set, level)
    while True:
        try:
            waveform = connection.recv()
        except EOFError:
            return
        try:
            [features] = smile(np.clip(waveform, -1, LOUDEST), sample_rate_hz)
            answer = features.T
        except Exception as error:
            answer = str(error).partition("\n")[0]
        connection.send(answer)


def _smile(feature_set, level):
    import opensmile

    levels = {
        "functionals": opensmile.FeatureLevel.Functionals,
        "lld": opensmile.FeatureLevel.LowLevelDescriptors,
    }
    return opensmile.Smile(
        feature_set=opensmile.FeatureSet[feature_set], feature_level=levels[level]
    )
