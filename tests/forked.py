"""Python processes forked from one that has imported TensorFlow.

An interpreter that imports TensorFlow costs 5 s of processor time before its first line. The
processes here cost 0.1 s: they are forked, as a command line would start them, from a server of
the test session that has imported TensorFlow, and nothing of tfser.
"""

import atexit
import contextlib
import functools
import gc
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
import types
from pathlib import Path
from types import SimpleNamespace

from networks import optimize_graphs, share_kernels

REPOSITORY = Path(__file__).resolve().parents[1]
IMPORTED = ["tensorflow", "keras", "numpy", "onnxruntime", "scipy.signal", "sklearn.svm"]


class Process:
    """A process as subprocess.Popen has it, of the words that follow `python`."""

    def __init__(self, words, *, cwd=REPOSITORY, env=None):
        self.args = [sys.executable, *map(str, words)]
        self.returncode = None
        self.files = [Path(tempfile.mkstemp(prefix=f"std{name}-")[1]) for name in ("out", "err")]
        env = dict(os.environ if env is None else env)
        arguments = self.args[1:], str(cwd), env, *map(str, self.files)
        self.process = _server().Process(target=_run, args=arguments)
        self.process.start()
        self.pid = self.process.pid

    def poll(self):
        """Return the exit code, or None while the process runs."""
        self.returncode = self.process.exitcode
        return self.returncode

    def wait(self, timeout=None):
        """Return the exit code once the process has ended."""
        self.process.join(timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def communicate(self, timeout=None) -> tuple[str, str]:
        """Return stdout and stderr once the process has ended."""
        self.wait(timeout)
        return tuple(path.read_text(errors="replace") for path in self.files)

    def send_signal(self, number) -> None:
        """Send a signal to a process that runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL to a process that runs."""
        self.send_signal(signal.SIGKILL)


@functools.cache
def _server():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    return context


def _run(words, folder, environment, out, err) -> None:
    """Become the process of `python WORDS`: run in it what is asked for, and end."""
    gc.freeze()  # what the server has imported stays
    share_kernels()
    for number, path in ((1, out), (2, err)):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdout = open(1, "w", closefd=False)
    sys.stderr = open(2, "w", closefd=False, buffering=1)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # TMPDIR may be another
    searched = ["", *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.path[:] = searched + [path for path in sys.path if path not in searched]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = 0
    try:
        _run_words(words)
    except SystemExit as exit:
        code = exit.code if isinstance(exit.code, int | None) else 1
        if code and code is not exit.code:
            print(exit.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(code or 0)


def _run_words(words) -> None:
    first, *rest = words
    if first == "-c":
        optimize_graphs(False)
        sys.argv = ["-c", *rest[1:]]
        sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), vars(sys.modules["__main__"]))
    elif first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        optimize_graphs(False)
        sys.argv = words
        runpy.run_path(first, run_name="__main__")


def start_command(module, *arguments) -> Process:
    """Start a command of tfser.cli, for `end`."""
    return Process(["-m", f"tfser.cli.{module}", *arguments])


def end(process, seconds=300):
    """Wait for a process: its exit code, stdout and stderr."""
    try:
        out, err = process.communicate(timeout=seconds)
    finally:
        process.kill()
        for path in getattr(process, "files", []):
            path.unlink(missing_ok=True)
    return SimpleNamespace(code=process.returncode, out=out, err=err)


def run(arguments, *, capture_output=True, encoding=None, errors=None, seconds=300, **options):
    """Run `[sys.executable, *options, script, ...]` as subprocess.run does."""
    words = [word for word in arguments[1:] if word != "-P"]  # it has its own folder in no path
    done = end(Process(words, **options), seconds)
    return subprocess.CompletedProcess(arguments, done.code, done.out, done.err)
