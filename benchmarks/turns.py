"""Timing of training steps: programs take turns, a step each."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path


def time_call(function):
    """Return a function that calls `function` and returns the seconds."""

    def step():
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    return step


def start_torch(python, name, *arguments):
    """Start the PyTorch script `name`; return (function that trains a step, number of weights).

    The function returns the seconds of its step. The script gets the arguments, and last the number
    of threads, which equals TensorFlow's.
    """
    threads = os.environ.get("TF_NUM_INTRAOP_THREADS") or len(os.sched_getaffinity(0))
    script = Path(__file__).with_name(name)
    process = subprocess.Popen(
        [python, script, *map(str, arguments), str(threads)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
    )  # fmt: skip

    def step():
        process.stdin.write("\n")
        return float(process.stdout.readline())

    return step, int(process.stdout.readline())


def compare(steps: dict, rounds: int) -> dict:
    """Time `rounds` steps of each program, after a warm-up step, and print the medians.

    The first of `steps` is ours. Returns the seconds of each round and their medians.
    """
    for step in steps.values():
        step()
    seconds = {name: [] for name in steps}
    for number in range(rounds):
        for name in list(steps)[:: 1 if number % 2 else -1]:
            seconds[name].append(steps[name]())
    median = {name: statistics.median(values) for name, values in seconds.items()}
    ours = next(iter(median.values()))
    for name, value in median.items():
        print(f"{name:<26} {value:6.3f} s/step   {value / ours:5.2f} of ours")
    return {"seconds": seconds, "median": median}


def write_figures(path, **result) -> None:
    """Write the figures with the command that measured them."""
    # Only here: run.py imports this module in a process without TensorFlow.
    import keras
    import tensorflow as tf

    head = {
        "command": " ".join(["python", *sys.argv]),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }
    path.write_text(json.dumps(head | result, indent=1) + "\n")
