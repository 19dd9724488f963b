"""Stdout and stderr of the commands; stderr belongs to the whole process."""

import contextlib
import errno
import importlib
import io
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from running import REPOSITORY, called

from tfser.cli import base

# Each thread stays until the other is in, or for 0.3 s; the first one that came leaves first.
TWO_THREADS = """
import os, threading
from tfser import tensorflow_startup

places = [threading.Event(), threading.Event()]
problems = []

def work(own, other):
    try:
        if own:
            places[other].wait()
        with tensorflow_startup.quiet():
            os.write(2, b"not to be seen\\n")
            places[own].set()
            places[other].wait(0.3)
            if own:
                threads[other].join(0.3)
    except OSError as error:
        problems.append(error)

before = os.fstat(2)
threads = [threading.Thread(target=work, args=numbers) for numbers in ((0, 1), (1, 0))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not problems and os.path.samestat(os.fstat(2), before), problems
os.write(2, b"seen\\n")
"""


def test_stderr_comes_back_after_threads_were_quiet_at_once():
    answer = subprocess.run(
        [sys.executable, "-c", TWO_THREADS],
        capture_output=True, text=True, timeout=60, cwd=REPOSITORY,
    )  # fmt: skip
    assert (answer.returncode, answer.stderr) == (0, "seen\n")


# A stdout that takes nothing.

COMMANDS = ("train", "search", "extract", "export", "predict", "serve", "transform", "card")


MESSAGE = (
    "error: stdout cannot be written: No space left on device; use > FILE on a disk with space\n"
)


@contextlib.contextmanager
def full_disk():
    """Yield a file on a full disk; closing it fails if a command has left something in it."""
    file = open("/dev/full", "w")
    yield file
    file.close()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_on_a_full_disk_is_an_error(command, capsys):
    main = importlib.import_module(f"tfser.cli.{command}").main
    with full_disk() as stdout, contextlib.redirect_stdout(stdout):
        with pytest.raises(SystemExit) as end:
            main(["--help"])
    assert end.value.code == 1 and capsys.readouterr().err == MESSAGE


def run(function, stdout):
    """Run a function as a command with this stdout: (exit code, stderr)."""

    def main(_):
        with contextlib.redirect_stdout(stdout):
            return base.run_command(lambda options: function(), SimpleNamespace(debug=False))

    answer = called(main)
    return answer.code, answer.err


@pytest.mark.parametrize("flushes", [False, True])
def test_results_on_a_full_disk_are_an_error(flushes):
    """Which is found at the end, or in the middle, as tfser-predict writes row by row."""
    with full_disk() as stdout:
        assert run(lambda: print("RESULT", flush=flushes), stdout) == (1, MESSAGE)


def test_another_full_disk_is_named():
    def fail():
        raise OSError(errno.ENOSPC, "No space left on device", "/cache/shard")

    message = run(fail, io.StringIO())[1]
    assert message.startswith("error: disk full while writing /cache/shard; free space")


def test_a_closed_stdout_is_an_error_before_any_work():
    code, message = run(lambda: pytest.fail("the command began"), None)
    assert code == 1
    assert message == "error: stdout is closed, and takes no results; use > FILE or > /dev/null\n"


def test_a_reader_that_leaves_is_no_error():
    """As of tfser-train ... | head -1."""
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as stdout:
        assert run(lambda: print("RESULT"), stdout) == (0, "")


@pytest.mark.parametrize("utf8", ["0", ""])
def test_names_are_utf8_in_every_locale(utf8):
    locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": utf8}
    command = [sys.executable, "-m", "tfser.cli.compare", "nöwhere", "愤怒"]
    answer = subprocess.run(command, capture_output=True, env=os.environ | locale, cwd=REPOSITORY)
    assert answer.returncode == 3
    assert answer.stderr.decode() == "error: nöwhere is not a finished run: it has no scores.json\n"
