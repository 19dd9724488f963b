"""openSMILE's features for the feature cache.

openSMILE is free for research and private use only. openSMILE corrupts the heap of a process that
has loaded TensorFlow, so worker processes compute (`python -m tfser.features.opensmile`), as many
as there are threads that ask at once. A crash of a worker process is the error of one file.
"""

import signal
import subprocess
import sys
import warnings
from importlib import metadata
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import numpy as np

from tfser.errors import DataError, TfserError, UsageError, did_you_mean

LOUDEST = 32767 / 32768  # a sample of 1.0 would wrap to -1.0 in openSMILE's 16 bits


class OpenSmile:
    """openSMILE's features: waveform [samples] -> [frames, n_features], float32.

    Args:
        feature_set: name in opensmile.FeatureSet. IS13 (Schuller et al., Interspeech 2013) and
            ComParE_2016 have features of the same names and different values.
        level: "functionals", one row per utterance (IS13: 6373), or "lld", low-level descriptors
            every 10 ms (IS13: 65).

    Raises UsageError if opensmile is not installed or lacks the set.

    Example:
        >>> import numpy as np
        >>> import tfser
        >>> feature = tfser.features.OpenSmile(level="lld")
        >>> [frames] = feature.extract([np.random.default_rng(0).normal(0, 0.1, 16000)])
        >>> frames.shape[1]
        65
    """

    version = 1  # part of the cache key: raise it when the values change
    batch_samples = 0  # of one `extract`: one waveform

    def __init__(self, *, sample_rate_hz=16000, feature_set="IS13", level="functionals"):
        try:
            self.opensmile = metadata.version("opensmile")
        except metadata.PackageNotFoundError:
            raise UsageError(
                "openSMILE is not installed: pip install 'tfser[opensmile]' "
                "(its licence allows research and private use only)"
            ) from None
        self.arguments = {
            "sample_rate_hz": sample_rate_hz,
            "feature_set": feature_set,
            "level": level,
        }
        self.sample_rate_hz = sample_rate_hz
        worker = _Worker(**self.arguments)
        self.idle = [worker]  # worker processes that compute nothing now
        self.names = worker.names
        self.n_features = len(self.names)

    def extract(self, waveforms):
        """Return features [frames, n_features] of each waveform [samples], or a DataError.

        The worker process computes: with one thread of the cache per core, all cores are busy.
        """
        return [self._extract(waveform) for waveform in waveforms]

    def _extract(self, waveform):
        # A first failure may be a worker process that was killed while it was idle.
        answer = self._request(waveform) or self._request(waveform)
        if answer is None:
            return DataError("openSMILE crashed on it, twice")
        [frames] = answer
        if isinstance(frames, str):
            return DataError(f"openSMILE failed: {frames}")
        if np.isfinite(frames).all():
            return frames
        seconds = len(waveform) / self.sample_rate_hz
        return DataError(f"openSMILE gives NaN for its {seconds:.3f} s; too short for a window")

    def _request(self, waveform) -> list | None:
        """Return [features or error text], or None if the worker process has died."""
        try:
            worker = self.idle.pop()  # a list's pop and append are atomic
        except IndexError:
            worker = _Worker(**self.arguments)
        try:
            answer = worker.ask(waveform)
        except (EOFError, ConnectionError):
            return None
        self.idle.append(worker)
        return [answer]

    def settings(self):
        """Return all that decides the values, for the cache key."""
        return {
            "feature": type(self).__name__,
            "version": self.version,
            **self.arguments,
            "opensmile": self.opensmile,
        }


def normalize_by_speaker(features, speakers) -> np.ndarray:
    """Return z-scores of features [rows, n] with the statistics of each speaker's rows.

    speakers: [rows]. A feature that never varies for a speaker becomes 0.
    """
    from sklearn.preprocessing import StandardScaler  # slow to import, and seldom needed

    z, speakers = np.empty_like(features), np.asarray(speakers)
    for speaker in np.unique(speakers):
        rows = speakers == speaker
        z[rows] = StandardScaler().fit_transform(features[rows].astype(np.float64))
    return z


class _Worker:
    """A worker process that computes features; it ends with its feature, or with the program."""

    def __init__(self, *, sample_rate_hz, feature_set, level):
        self.connection, worker_end = Pipe()
        # This process closes the worker's end, so that a closed pipe tells of the other's death.
        with worker_end:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tfser.features.opensmile", str(worker_end.fileno())],
                pass_fds=[worker_end.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        try:
            sets, self.names = self.ask((feature_set, level, sample_rate_hz))
        except (EOFError, ConnectionError):
            raise TfserError(
                "openSMILE does not start: see what `python -c 'import opensmile'` says"
            ) from None
        if self.names is None:
            raise UsageError(
                f"features.feature_set: openSMILE has no {feature_set!r}"
                f"{did_you_mean(feature_set, sets)}; there are {' '.join(sets)}"
            )

    def ask(self, message):
        self.connection.send(message)
        return self.connection.recv()

    def __del__(self):
        self.connection.close()
        self.process.wait()


def _serve(connection) -> None:
    import opensmile

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program handles Ctrl-C and closes the pipe
    warnings.filterwarnings("ignore", "Segment too short")  # its NaN become a DataError
    feature_set, level, sample_rate_hz = connection.recv()
    sets = list(opensmile.FeatureSet.__members__)
    if feature_set not in sets:
        connection.send((sets, None))
        return
    levels = {
        "functionals": opensmile.FeatureLevel.Functionals,
        "lld": opensmile.FeatureLevel.LowLevelDescriptors,
    }
    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet[feature_set], feature_level=levels[level]
    )
    connection.send((sets, smile.feature_names))
    while True:
        waveform = connection.recv()
        try:
            [features] = smile(np.clip(waveform, -1, LOUDEST), sample_rate_hz)
            answer = features.T
        except Exception as error:
            answer = str(error).partition("\n")[0]
        connection.send(answer)


if __name__ == "__main__":
    try:
        _serve(Connection(int(sys.argv[1])))
    except (EOFError, ConnectionError):  # the program has ended
        pass
