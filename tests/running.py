"""How tests run a command, and kill a training."""

import contextlib
import io
import logging
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
needs_java = pytest.mark.skipif(
    not (os.environ.get("JAVA_HOME") or shutil.which("java")), reason="Spark needs Java"
)


def slow(parameters, *, but=()):
    """Parameters of which `make test` takes those of `but` alone, and `make test-all` all."""
    marks = {True: [], False: [pytest.mark.slow]}
    return [pytest.param(name, marks=marks[name in but]) for name in parameters]


def called(main, *arguments):
    """Runs a command in this process, with the exit code, stdout and stderr as its answer."""
    log = logging.getLogger("tfser")
    before = list(log.handlers), log.propagate, log.level
    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exit:
            code = exit.code
        finally:
            log.handlers[:], log.propagate = before[:2]
            log.setLevel(before[2])
            for number, handler in signals.items():
                signal.signal(number, handler)
    return SimpleNamespace(code=code, out=out.getvalue(), err=err.getvalue())


def run_training_here(words, folder, stops=None):
    """Stand in for `subprocesses.run_training`: the training is of this process."""
    from tfser.cli import train

    answer = called(train.main, *words, "--workdir", folder)
    return answer.code, answer.out, answer.err.strip().rpartition("error: ")[2]


def started(module, *arguments):
    """Starts a command in a process of its own, for `ended`."""
    # A background job of a shell inherits SIGINT as ignored.
    heeds_sigint = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        [sys.executable, "-m", f"tfser.cli.{module}", *map(str, arguments)], cwd=REPOSITORY,
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heeds_sigint,
    )  # fmt: skip


def ended(process):
    """Waits for it: the exit code, stdout and stderr."""
    try:
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    return SimpleNamespace(code=process.returncode, out=out, err=err)


@contextlib.contextmanager
def killing_events(folder, events):
    """TensorBoard's writer, until the second epoch."""
    with events(folder) as write:

        def killed(step, *arguments):
            write(step, *arguments)
            if step == 2:
                raise KeyboardInterrupt

        yield killed
