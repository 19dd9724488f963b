"""Start of TensorFlow: its import without messages, and the end of a process that runs it."""

import contextlib
import gc
import logging
import os
import sys
import threading
from typing import NoReturn

from tfser.errors import TfserError

log = logging.getLogger("tfser")
_stderr = 2  # the file descriptor of stderr while `quiet` redirects number 2
_one_thread = threading.RLock()  # held inside `quiet`: stderr belongs to the whole process


@contextlib.contextmanager
def quiet():
    """Hide the lines that TensorFlow's libraries write to stderr while they are loaded."""
    global _stderr
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _one_thread:
        sys.stderr.flush()
        before, _stderr = _stderr, os.dup(2)
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, 2)
        try:
            yield
        finally:
            os.dup2(_stderr, 2)
            os.close(_stderr)
            os.close(devnull)
            _stderr = before


def exit_with_error(error: TfserError) -> NoReturn:
    """End the process from any thread, with the line and the exit code of an error.

    The line is also in the run's log, is visible inside `quiet`, and is the last line: a progress
    bar is drawn again below a line that is written while the bar is shown.
    """
    try:
        from tqdm import tqdm  # its import reads TQDM_DISABLE, which workers set first

        record = logging.LogRecord(log.name, logging.ERROR, "", 0, "error: %s", (error,), None)
        for handler in log.handlers:
            if getattr(handler, "stream", sys.stderr) is not sys.stderr:  # log.txt
                handler.handle(record)
        with tqdm.external_write_mode(sys.stderr):
            os.write(_stderr, f"error: {error}\n".encode())
            os._exit(error.exit_code)
    finally:
        os._exit(error.exit_code)


def import_keras() -> None:
    """Import Keras and TensorFlow, but not scikit-learn and matplotlib, which Keras imports too.

    Their import, for wrappers that tfser does not use, takes a good part of the time to the first
    batch (benchmarks/startup.py).
    """
    _enable_onednn()
    optional = [name for name in ("sklearn", "matplotlib") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(optional))  # an import of None raises ImportError
    try:
        # Imported here: the blocked modules and the variable above must be set first.
        with _without_collection():
            import keras  # noqa: F401
            import tensorflow

        tensorflow.config.list_physical_devices()  # CUDA complains if there is no GPU
    finally:
        for name in optional:
            del sys.modules[name]


def import_tensorflow() -> None:
    """Import TensorFlow without Keras."""
    _enable_onednn()
    with _without_collection():
        import tensorflow

    tensorflow.config.list_physical_devices()


@contextlib.contextmanager
def _without_collection():
    # Modules stay: the search for what does not would take a sixth of their import.
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _enable_onednn() -> None:
    # TensorFlow leaves it out on processors without AVX-512, though EPR and BEGAN's head train
    # nearly twice as fast with it there, too (ACNN at 0.7 of its speed: README, "Speed").
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
