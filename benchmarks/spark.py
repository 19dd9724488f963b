"""Seconds of independent trials of tfser-search, two at a time by Spark against one by one.

    python benchmarks/spark.py [--master local[2]] [--evals 6] [--rounds 3] [--out spark.json]

Each side is a complete `tfser-search --algorithm random`, whose trials do not depend on each other;
both sides search the same settings of a small network on toy and must find the same scores. The
time is that of the trials, by the search's own log, from the start of the first trial to the end of
the last trial: without Spark's start (given beside it) and without the test of the best setting,
before which the search is stopped. Sides take turns; figures are medians, the ratio that of pairs.
"""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = 1.6
SPACE = '[search]\n"train.learning_rate" = ["loguniform", 1e-4, 1e-2]\n'
LINE = re.compile(r"(\S+ \S+) INFO (trial \d+(?:, of|: dev)|the best setting is)")


def run_search(arguments, folder):
    """Run a search up to the test of the best setting.

    Return (seconds to the first trial, seconds of the trials, their scores).
    """
    started = time.time()
    command = [sys.executable, "-m", "tfser.cli.search", *arguments, "--workdir", folder]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("the best setting is"):
            process.send_signal(signal.SIGTERM)
    if process.wait() != 130:
        raise SystemExit(f"exit code {process.returncode}: {''.join(lines)[-2000:]}")
    lines = map(LINE.match, (folder / "log.txt").read_text().splitlines())
    times = [
        (datetime.strptime(line[1], "%Y-%m-%d %H:%M:%S,%f").timestamp(), line[2])
        for line in lines
        if line
    ]
    first = times[0][0]
    last = max(at for at, what in times if what.endswith(": dev"))
    rows = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    return first - started, last - first, [row["score"] for row in rows]


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--master", default="local[2]")
    parser.add_argument("--evals", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=40, help="of a trial's networks")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="writes the figures as JSON")
    args = parser.parse_args()

    sides = {"one by one": [], args.master: ["--spark", args.master]}
    results = {side: [] for side in sides}
    with tempfile.TemporaryDirectory() as temporary:
        temporary = Path(temporary)
        os.environ["TFSER_CACHE"] = str(temporary / "cache")
        (temporary / "space.toml").write_text(SPACE)
        command = ["--model", "aae", "--corpus", "toy", "--protocol", "loso"]
        command += ["--set", f"train.max_epochs={args.epochs}", "--algorithm", "random"]
        command += ["--hparams", str(temporary / "space.toml")]
        run_search([*command, "--evals", "1"], temporary / "warm")  # extracts the features
        command += ["--evals", str(args.evals)]
        for number in range(args.rounds):
            for i, (side, flags) in enumerate(sides.items()):
                results[side].append(run_search([*command, *flags], temporary / f"{number}-{i}"))
    scores = {json.dumps(scores) for of_side in results.values() for _, _, scores in of_side}
    if len(scores) > 1:
        raise SystemExit(f"the scores differ: {scores}")

    serial, parallel = ([seconds for _, seconds, _ in results[side]] for side in sides)
    ratios = [a / b for a, b in zip(serial, parallel, strict=True)]
    ratio = statistics.median(ratios)
    print(f"{len(os.sched_getaffinity(0))} cores, {args.rounds} rounds of {args.evals} trials")
    for side, runs in results.items():
        starts, seconds, _ = zip(*runs, strict=True)
        print(
            f"{side:12} {statistics.median(seconds):7.1f} s ({min(seconds):.1f}-{max(seconds):.1f})"
            f", {statistics.median(starts):.1f} s before the first trial"
        )
    verdict = "" if ratio >= TARGET else "  missed"
    print(f"{ratio:.2f} times as fast ({min(ratios):.2f}-{max(ratios):.2f}), {TARGET}{verdict}")
    if args.out:
        figures = {
            "cores": len(os.sched_getaffinity(0)),
            "trials": args.evals,
            "epochs": args.epochs,
            "seconds": dict(zip(sides, (serial, parallel), strict=True)),
            "seconds_before": {side: [run[0] for run in results[side]] for side in sides},
            "ratios": ratios,
            "ratio": ratio,
            "target": TARGET,
        }
        args.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
