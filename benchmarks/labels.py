"""Curve of the AAE's UAR against the share of labels (section 4.1), beside its baselines.

    python benchmarks/labels.py --workdir runs/labels [--corpus emodb] [--seeds 5]
        [--out benchmarks/results/labels.json] [--picture zoo/aae/labels.png]

Trains on 5, 10, 25, 50 and 100 % of the labels of each training set: the optimized AAE, whose
phases 1 and 2 have all utterances, and the baseline, without and with batch normalization. A share
of labels is the same utterances for all systems, of dev sets as for training sets; a system has as
many updates by labels as any other. Leave one speaker out on Emo-DB, four groups of speakers on
RAVDESS.

A cell, one system on one share with one seed, is a run of tfser-train in a folder of its own. The
same command continues where it stopped; several may run at once: a cell in use is left to the
other. The figures are in --out and --picture when all cells of the command are finished.

Folders of the corpora: TFSER_EMODB_ROOT, TFSER_RAVDESS_ROOT.
"""

import argparse
import itertools
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import turns

from tfser.errors import ConflictError
from tfser.plots import figures
from tfser.storage import atomic_files

CORPORA = {  # name: (title, flags)
    "emodb": ("Emo-DB, leave one speaker out", ["--protocol", "loso"]),
    "ravdess": ("RAVDESS, four groups of speakers", ["--protocol", "loso", "--folds", "4"]),
}
SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)
SYSTEMS = {  # name: settings
    "baseline": ["model.system=baseline"],
    "baseline + batch norm": ["model.system=baseline", "baseline.batch_norm=true"],
    "optimized AAE": ["model.system=optimized"],
}


def cell_folder(workdir: Path, corpus: str, system: str, share: float, seed: int) -> Path:
    """Return the run directory of a cell."""
    name = system.replace(" + ", "-").replace(" ", "-").lower()
    return workdir / f"{corpus}-{name}-{round(100 * share)}-{seed}"


def train_cell(args, corpus: str, system: str, share: float, seed: int) -> None:
    """Train a cell that is not finished; leave a cell that another process trains."""
    folder = cell_folder(args.workdir, corpus, system, share, seed)
    if (folder / "scores.json").exists():
        return
    settings = [*SYSTEMS[system], f"train.labelled_fraction={share}", *args.overrides]
    command = ["--model", "aae", "--corpus", corpus, *CORPORA[corpus][1], "--seed", str(seed)]
    command += [word for setting in settings for word in ("--set", setting)]
    start, errors = time.monotonic(), Path(f"{folder}.txt")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(errors, "a") as stderr:
        done = subprocess.run(
            [sys.executable, "-m", "tfser.cli.train", *command, "--workdir", folder],
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            check=False,
        )
    if done.returncode not in (0, ConflictError.exit_code):
        raise SystemExit(f"{folder} has failed; its error is in {errors}")
    print(f"{folder.name}: {time.monotonic() - start:.0f} s", flush=True)


def read_cell(folder: Path) -> dict:
    """Return the figures of a finished cell."""
    scores = atomic_files.read_json(folder / "scores.json")
    command = atomic_files.read_json(folder / "environment.json")["processes"][0]["command"]
    figures_of = {name: scores[name] for name in ("uar", "wa", "majority", "n")}
    return figures_of | {"classes": len(scores["classes"]), "command": command}


def draw_curves(cells: list[dict], n_seeds: int):
    """Draw UAR over the share of labels, mean and standard deviation of the seeds."""
    corpora = [corpus for corpus in CORPORA if any(cell["corpus"] == corpus for cell in cells)]
    figure = figures.new_figure(width=5.5 * len(corpora), height=4.4)
    panels = figure.subplots(1, len(corpora), squeeze=False, sharey=True)[0]
    for axes, corpus in zip(panels, corpora, strict=True):
        of_corpus = [cell for cell in cells if cell["corpus"] == corpus]
        for k, system in enumerate(SYSTEMS):
            uars = [
                [100 * c["uar"] for c in of_corpus if (c["system"], c["share"]) == (system, share)]
                for share in SHARES
            ]
            spread = [np.std(values, ddof=1) if len(values) > 1 else 0 for values in uars]
            axes.errorbar(
                [100 * share for share in SHARES],
                [np.mean(values) for values in uars],
                spread,
                label=system,
                marker="os^"[k],
                capsize=3,
                **figures.line_style(k),
            )
        n_classes = of_corpus[0]["classes"]
        axes.axhline(100 / n_classes, label=f"chance, 1/{n_classes}", **figures.CHANCE)
        axes.set_xscale("log")
        axes.set_xticks([100 * s for s in SHARES], [f"{100 * s:g}" for s in SHARES])
        axes.minorticks_off()
        axes.set_xlabel("training utterances with a label (%)")
        axes.set_title(CORPORA[corpus][0])
        axes.grid(color="0.9")
        axes.legend(loc="upper left", edgecolor="none")
    panels[0].set_ylabel("UAR (%)")
    seeds = f"{n_seeds} seed{'s' * (n_seeds > 1)}"
    figure.suptitle(f"AAE with few labels: mean and standard deviation of {seeds}")
    return figure


def main():
    """Train the cells, then write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workdir", type=Path, default=Path("runs/labels"))
    parser.add_argument("--corpus", action="append", choices=CORPORA, help="default: all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--out", type=Path, help="writes the figures as JSON")
    parser.add_argument("--picture", type=Path, help="writes the curve as PNG")
    args = parser.parse_args()
    keys = list(itertools.product(range(args.seeds), args.corpus or CORPORA, SHARES[::-1], SYSTEMS))
    for seed, corpus, share, system in keys:
        train_cell(args, corpus, system, share, seed)
    cells = []
    for seed, corpus, share, system in keys:
        folder = cell_folder(args.workdir, corpus, system, share, seed)
        if not (folder / "scores.json").exists():
            raise SystemExit(
                f"{folder} is not finished: another process trains it, or its settings are others "
                f"(see {folder}.txt); repeat the command later"
            )
        key = {"corpus": corpus, "system": system, "share": share, "seed": seed}
        cells.append(key | read_cell(folder))
    if args.out:
        turns.write_figures(args.out, cells=cells)
    if args.picture:
        figures.save_figure(draw_curves(cells, args.seeds), args.picture)
    for corpus, system in itertools.product(args.corpus or CORPORA, SYSTEMS):
        uars = [
            [
                100 * cell["uar"]
                for cell in cells
                if (cell["corpus"], cell["system"], cell["share"]) == (corpus, system, share)
            ]
            for share in SHARES
        ]
        means = "  ".join(f"{np.mean(values):5.1f}" for values in uars)
        print(f"{corpus:8} {system:22} UAR {means}")


if __name__ == "__main__":
    main()
