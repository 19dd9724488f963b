"""Summary of the trainings of finished AAE runs: scores, last epochs and best epochs.

    python benchmarks/trainings.py RUN... [--out trainings.json]

For each run's networks (folds x seeds): the means of the last epoch's history, the epochs with the
best dev UAR (among equals the lowest dev loss), whose weights a run keeps, and the largest shift of
a decoded feature by a class (`generation.csv`, a mean over these networks).
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import turns

from tfser.storage import atomic_files
from tfser.training import loop


def read_rows(path):
    """Read the rows of a CSV file, with numbers where possible."""
    with path.open() as file:
        return [
            {k: v if k in ("class", "feature") else float(v) for k, v in row.items()}
            for row in csv.DictReader(file)
        ]


def summarize_run(folder: Path) -> dict:
    """Return the figures of one run."""
    scores = atomic_files.read_json(folder / "scores.json")
    command = atomic_files.read_json(folder / "environment.json")["processes"][0]["command"]
    command = command.replace("tfser-last_epoch", "python benchmarks/last_epoch.py")
    histories = [read_rows(path) for path in sorted(folder.glob("seed-*/fold-*/history.csv"))]
    best_epochs = [1 + int(loop.best_uar_epoch(history)) for history in histories]
    last = [history[-1] for history in histories]
    generation = folder / "generation.csv"
    shifts = [abs(row["shift_sd"]) for row in read_rows(generation)] if generation.exists() else []
    return {
        "command": command,
        "systems": {
            name: {key: values[key] for key in ("uar", "wa")}
            for name, values in scores["systems"].items()
        },
        "networks": len(histories),
        "last_epoch_mean": {k: float(np.mean([r[k] for r in last])) for k in last[0]},
        "best_dev_epochs": best_epochs,
        "largest_shift_sd": max(shifts, default=None),
    }


def main():
    """Print a line per run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    for folder in args.runs:
        if not (folder / "scores.json").exists():
            parser.error(f"{folder} is not a finished run: it has no scores.json")
    figures_of_run = {folder.name: summarize_run(folder) for folder in args.runs}
    for name, figures in figures_of_run.items():
        print(name)
        for system, values in figures["systems"].items():
            uar, wa = (100 * values[key]["mean"] for key in ("uar", "wa"))
            print(
                f"  {system}: UAR {uar:.1f} % WA {wa:.1f} %, {len(values['uar']['values'])} seeds"
            )
        means = ", ".join(f"{k} {v:.3f}" for k, v in figures["last_epoch_mean"].items())
        print(f"  {figures['networks']} networks, last epoch: {means}")
        epochs = figures["best_dev_epochs"]
        late = sum(epoch > 90 for epoch in epochs)
        print(f"  best dev epoch {np.median(epochs):.0f} in the median, after 90 in {late}")
        if figures["largest_shift_sd"] is not None:
            print(
                f"  a class moves a decoded feature by {figures['largest_shift_sd']:.3f} sd at most"
            )
    if args.out:
        turns.write_figures(args.out, runs=figures_of_run)


if __name__ == "__main__":
    main()
