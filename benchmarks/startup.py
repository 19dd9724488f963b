"""Start time of tfser-train: help, errors, and the way to the first batch.

    python benchmarks/startup.py [--rounds 5] [--large] [--out startup.json]

Wall times of complete processes, as a user meets them, from the start of Python; the command is
`python -m tfser.cli.train`, which tfser-train calls. Measured are

- `--help` (target: 0.5 s) and a typo in --model, --corpus and a --set key (5 s; exit code 2);
- a new run on a corpus with cached features, up to the first training batch (6 s): all of
  tfser-train, with `loop.fit` replaced by a function that fetches a batch and ends the process.
  The time includes building and compiling the network, not tracing and training. The corpus is toy.
- with --large the same for a corpus of CASIA's size, 7,200 files of 2 s read through a table, at
  EPR's full width. They are noise in a temporary folder: 460 MB, and 370 MB of features, deleted
  afterwards. Every start hashes them, from the page cache, so a slow disk is not in the figure.

A plain `import tensorflow`, which imports scikit-learn and matplotlib as well, stands beside them:
tfser-train imports those only when it needs them. All take turns; figures are medians, after a
warm-up round. The CPU seconds beside the wall times hardly depend on other programs: where they
are much less, the machine was not idle.
"""

import argparse
import csv
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
TYPOS = {
    "typo in --model": ["--model", "eprr", "--corpus", "toy"],
    "typo in --corpus": ["--model", "epr", "--corpus", "tyo"],
    "typo in --set": ["--model", "epr", "--corpus", "toy", "--set", "train.max_epoch=5"],
}
RATE, SECONDS, SPEAKERS, EMOTIONS, TAKES = 16000, 2, 4, 6, 300  # 7,200 files

# tfser-train with another fit. os._exit: the regular end of a process takes time after the batch.
TO_FIRST_BATCH = """
import os, sys
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
from tfser import tensorflow_startup
from tfser.cli import train
def fit(model, batches, dev, **options):
    x, y = next(iter(batches(0)))
    print(*x.shape, *y.shape, flush=True)
    os._exit(0)
import_keras = tensorflow_startup.import_keras
def import_keras_and_replace_fit():
    import_keras()
    from tfser.training import loop
    loop.fit = fit
tensorflow_startup.import_keras = import_keras_and_replace_fit
sys.exit(train.main())
"""


def run_python(arguments, exit_code, cache):
    """Run Python in the repository; return (wall seconds, CPU seconds, stdout)."""
    start, cpu_start = time.perf_counter(), read_cpu_seconds()
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"TFSER_CACHE": str(cache)},
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - start
    if done.returncode != exit_code:
        raise SystemExit(f"exit code {done.returncode}, not {exit_code}: {done.stderr[-2000:]}")
    return seconds, read_cpu_seconds() - cpu_start, done.stdout


def read_cpu_seconds():
    """Return the CPU seconds of all child processes so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def write_corpus(folder):
    """Write a corpus of CASIA's size; return its table."""
    rng = np.random.default_rng(0)
    with open(folder / "files.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("file", "speaker", "emotion"))
        for speaker, emotion, take in itertools.product(
            range(SPEAKERS), range(EMOTIONS), range(TAKES)
        ):
            name = f"speaker{speaker}-emotion{emotion}-{take:03}.wav"
            table.writerow((name, f"speaker{speaker}", f"emotion{emotion}"))
            with wave.open(str(folder / name), "wb") as wav:
                wav.setparams((1, 2, RATE, 0, "NONE", None))
                wav.writeframes(rng.integers(-3000, 3000, RATE * SECONDS, "int16").tobytes())
    return folder / "files.csv"


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", action="store_true", help="also a corpus of CASIA's size")
    parser.add_argument("--out", type=Path, help="writes the figures as JSON")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        temporary = Path(temporary)
        workdirs = (temporary / f"run-{number}" for number in itertools.count())

        def to_first_batch(*arguments):
            return lambda: ["-c", TO_FIRST_BATCH, *arguments, "--workdir", next(workdirs)]

        command = ["-m", "tfser.cli.train"]
        # name: (arguments of Python, exit code, target in seconds)
        cases = {"--help": (lambda: [*command, "--help"], 0, 0.5)}
        for name, typo in TYPOS.items():
            cases[name] = (lambda typo=typo: [*command, *typo], 2, 5.0)
        cases["import tensorflow"] = (lambda: ["-c", "import tensorflow"], 0, None)
        toy = to_first_batch("--model", "epr", "--corpus", "toy")
        cases["first batch, toy"] = (toy, 0, 6.0)
        if args.large:
            table = write_corpus(temporary)
            settings = ("--set", "segments.hop_seconds=0.03")  # CASIA's hop
            large = to_first_batch("--model", "epr", "--corpus", table, *settings)
            cases["first batch, 7,200 files"] = (large, 0, 6.0)
        seconds = {name: [] for name in cases}
        cpu = {name: [] for name in cases}
        shapes = {}
        for number in range(args.rounds + 1):
            for name, (arguments, exit_code, _) in cases.items():
                elapsed, cpu_elapsed, stdout = run_python(
                    arguments(), exit_code, temporary / "cache"
                )
                if number:  # the first round warms the caches
                    seconds[name].append(elapsed)
                    cpu[name].append(cpu_elapsed)
                if name.startswith("first batch"):
                    shapes[name] = stdout.split()[-5:]  # x [batch, frames, bands], y [batch, K]

    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"{len(os.sched_getaffinity(0))} cores, {args.rounds} rounds")
    print(f"{'':28}{'median s':>10}{'range s':>16}{'CPU s':>8}{'target s':>10}")
    for name, (_, _, target) in cases.items():
        spread = f"{min(seconds[name]):.2f}-{max(seconds[name]):.2f}"
        spread = f"{spread:>16}{statistics.median(cpu[name]):8.2f}"
        verdict = "" if target is None else f"{target:10.1f}"
        verdict += "  missed" if target is not None and medians[name] >= target else ""
        print(f"{name:28}{medians[name]:10.2f}{spread}{verdict}")
    for name, shape in shapes.items():
        print(f"{name}: a batch of {' x '.join(shape[:3])}, labels {' x '.join(shape[3:])}")
    if args.out:
        figures = {
            "cores": len(os.sched_getaffinity(0)),
            "seconds": seconds,
            "cpu_seconds": cpu,
            "median_seconds": medians,
            "target_seconds": {name: target for name, (_, _, target) in cases.items()},
            "batches": shapes,
        }
        args.out.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
