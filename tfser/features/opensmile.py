"""openSMILE's features for the store, which no graph can compute.

openSMILE is free for research and private use only, and cannot share a process with TensorFlow:
loaded after it, it corrupts the heap. So each thread of the store has a process of its own
(`python -m tfser.features.opensmile`), and what crashes there is the error of one file.
"""

import signal
import subprocess
import sys
import threading
import warnings
from importlib import metadata
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import numpy as np

from tfser.errors import DataError, TfserError, UsageError, did_you_mean

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
    batch_samples = 0  # one file after the other

    def __init__(self, *, sample_rate_hz, feature_set, level):
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
        self.of_thread = threading.local()
        self.names = self._worker().names
        self.n_features = len(self.names)

    def extract(self, waveforms):
        """List of waveforms [samples] -> list of [frames, n_features], DataError for a failed one.

        The processor time is another process's: a thread of the store for each core keeps all busy.
        """
        return [self._extract(waveform) for waveform in waveforms]

    def _extract(self, waveform):
        frames = self._ask(waveform) or self._ask(waveform)  # the first may have been killed idle
        if frames is None:
            return DataError("openSMILE crashed on it, twice")
        [frames] = frames
        if isinstance(frames, str):
            return DataError(f"openSMILE failed: {frames}")
        if np.isfinite(frames).all():
            return frames
        seconds = len(waveform) / self.sample_rate_hz
        return DataError(f"openSMILE gives NaN for its {seconds:.3f} s; too short for a window")

    def _ask(self, waveform) -> list | None:
        """[features, or the reason why not], or None where the process has died."""
        try:
            return [self._worker().ask(waveform)]
        except (EOFError, ConnectionError):
            del self.of_thread.worker
            return None

    def _worker(self):
        if not hasattr(self.of_thread, "worker"):
            self.of_thread.worker = _Worker(**self.arguments)
        return self.of_thread.worker

    def settings(self):
        """What decides the values, for the store's key."""
        return {
            "feature": type(self).__name__,
            "version": self.version,
            **self.arguments,
            "opensmile": self.opensmile,
        }


def normalize_by_speaker(features, speakers) -> np.ndarray:
    """z-score with the statistics of each speaker's own rows: features [rows, n], speakers [rows].

    What never varies for a speaker becomes 0.
    """
    from sklearn.preprocessing import StandardScaler  # slow to import, and seldom asked for

    z, speakers = np.empty_like(features), np.asarray(speakers)
    for speaker in np.unique(speakers):
        own = speakers == speaker
        z[own] = StandardScaler().fit_transform(features[own].astype(np.float64))
    return z


class _Worker:
    """A process that computes features; it ends with the thread that asks, or with the program."""

    def __init__(self, *, sample_rate_hz, feature_set, level):
        self.connection, theirs = Pipe()
        # The other end is the process's alone, so that either side learns of the other's death.
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tfser.features.opensmile", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
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

    def ask(self, question):
        self.connection.send(question)
        return self.connection.recv()

    def __del__(self):
        self.connection.close()
        self.process.wait()


def _serve(connection) -> None:
    import opensmile

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the program's: it closes the pipe
    warnings.filterwarnings("ignore", "Segment too short")  # the NaN it fills in are an error
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
    except (EOFError, ConnectionError):  # whoever asked has ended
        pass
