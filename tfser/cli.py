"""What the console scripts share: errors in one form, exit codes, a quiet start of TensorFlow."""

import argparse
import atexit
import contextlib
import logging
import os
import signal
import sys
import threading
from typing import NoReturn

from tfser import children, disk, remote
from tfser.errors import ConflictError, TfserError, UsageError, did_you_mean

log = logging.getLogger("tfser")
_stderr = 2  # where it is while `quiet` keeps others' lines off it
_one_thread = threading.RLock()  # is in `quiet`: stderr is the whole process's


class Parser(argparse.ArgumentParser):
    """Errors in the project's form, with the nearest flag; flags are written out."""

    def __init__(self, prog, description, epilog):
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def parse_args(self, args=None, namespace=None):
        """Refuses what is no flag, with the one that may be meant."""
        known, unknown = self.parse_known_args(args, namespace)
        if unknown:
            flags = [flag for action in self._actions for flag in action.option_strings]
            word = unknown[0].partition("=")[0]
            self.error(f"unknown argument {word}{did_you_mean(word, flags)}")
        return known

    def error(self, message):
        """Says it in one line and ends the process."""
        print(f"error: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(UsageError.exit_code)


CONTINUES = "what is finished is kept, the same command continues"


def run(function, args, *, interrupted=CONTINUES) -> int:
    """Calls function(args) with a log on stderr; returns the exit code.

    args: with `debug`, and `workdir` where it has one. interrupted: what is left then.
    """
    code = _code_of(function, args, interrupted)
    if _is_command():  # and not a program that calls one, which has an exit code of its own
        atexit.register(remote.leave, code)
    return code


def _is_command() -> bool:
    spec = getattr(sys.modules["__main__"], "__spec__", None)  # of python -m tfser.train
    name = spec.name if spec else os.path.basename(sys.argv[0])
    return name.startswith(("tfser.", "tfser-"))


def _code_of(function, args, interrupted) -> int:
    handler = logging.StreamHandler(sys.stderr)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        signal.signal(signal.SIGHUP, _interrupt)  # the terminal was closed
    try:
        children.end_with_parent()
        function(args)
        return 0
    except KeyboardInterrupt:
        return _fail(f"interrupted; {interrupted}", 130)
    except TfserError as error:
        return _fail(str(error), error.exit_code, args.debug)
    except BrokenPipeError:  # whoever read the results has enough: `tfser-train .. | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = error.filename or getattr(args, "workdir", None) or "the run directory"
        if error.errno in disk.FULL:
            message = (
                f"disk full while writing {where}; free space, then the same command continues"
            )
        else:
            message = f"{where}: {error.strerror or error}"
        return _fail(message, 1, args.debug)
    except Exception as error:
        first_line = str(error).partition("\n")[0]
        return _fail(f"{type(error).__name__}: {first_line}; --debug shows where", 1, args.debug)
    finally:
        log.removeHandler(handler)


def check_new(path) -> None:
    """Raises ConflictError where an --out exists, UsageError where its folder does not."""
    if path.exists():
        raise ConflictError(f"{path} exists; give another --out, or delete it")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--out: there is no folder {path.parent}")


def _interrupt(*_):
    raise KeyboardInterrupt


def _fail(message: str, code: int, debug: bool = False) -> int:
    if debug:
        log.exception("traceback")
    log.error("error: %s", message)
    return code


@contextlib.contextmanager
def quiet():
    """Keeps the lines that TensorFlow's libraries write while they are loaded off stderr."""
    global _stderr
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _one_thread:
        sys.stderr.flush()
        before, _stderr = _stderr, os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        try:
            yield
        finally:
            os.dup2(_stderr, 2)
            os.close(_stderr)
            os.close(nowhere)
            _stderr = before


def end(error: TfserError) -> NoReturn:
    """Ends the process from any thread, with an error's line and exit code.

    The line is also in the run's log, is not lost in `quiet`, and is the last: a progress bar is
    drawn again below what is written while it is there.
    """
    try:
        from tqdm import tqdm  # it reads TQDM_DISABLE, which workers set, when it is imported

        record = logging.LogRecord(log.name, logging.ERROR, "", 0, "error: %s", (error,), None)
        for handler in log.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.handle(record)
        with tqdm.external_write_mode(sys.stderr):
            os.write(_stderr, f"error: {error}\n".encode())
            os._exit(error.exit_code)
    finally:
        os._exit(error.exit_code)


def import_keras() -> None:
    """Imports Keras and TensorFlow without what Keras imports besides, where it finds them.

    scikit-learn and matplotlib's pyplot, for wrappers that nobody here uses, take a good part of
    the time to the first batch (benchmarks/startup.py). With oneDNN, which TensorFlow leaves out on
    processors without AVX-512 though EPR and BEGAN's head train nearly twice as fast there, too
    (ACNN at 0.7 of its speed: README, "Speed").
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    optional = [name for name in ("sklearn", "matplotlib") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(optional))  # None: an import of it raises ImportError
    try:
        import keras  # noqa: F401
        import tensorflow

        tensorflow.config.list_physical_devices()  # a machine without a GPU: CUDA's complaints
    finally:
        for name in optional:
            del sys.modules[name]
