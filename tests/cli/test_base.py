"""Stderr, which belongs to the whole process."""

import subprocess
import sys

from running import REPOSITORY

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
