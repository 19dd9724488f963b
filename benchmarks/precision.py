"""Scores in float32 and in 16 bits: `tfser-train` with the same seeds.

    python benchmarks/precision.py --data-root EMODB --out benchmarks/results/precision.json \
        [--only acnn] [--precision mixed_bfloat16] [--widened] [--work FOLDER]

Emo-DB by speakers, shorter trainings than the papers' and narrower networks where these take
hours. The result is the difference of two runs that differ in the precision alone. A processor
without AMX or AVX-512 BF16 needs `--widened`: see `widened.py`.

Runs that --out contains are not repeated; seeds that are not done in both precisions are not
compared.
"""

import argparse
import itertools
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from scipy import stats

from tfser.evaluation import metrics
from tfser.storage import atomic_files

COMMON = "--corpus emodb --protocol loso"
# The flags of each system and its number of seeds; {seed} is the seed of the probed network.
SYSTEMS = {
    "aae": ("--folds 3 --set train.max_epochs=50", 3),
    "acnn": ("--folds 3 --set train.max_epochs=40", 3),
    "auxvae": (
        "--folds 3 --set vae.corpus=tested --set vae.max_epochs=20 --set model.n_latent=64 "
        "--set vae.seed={seed}",
        3,
    ),
    "began": (
        "--folds 3 --set features.input_mode=crop512 --set model.n_filters=8 "
        "--set began.corpus=tested --set began.max_epochs=4 --set train.max_epochs=30",
        3,  # of the head
    ),
    "epr": (
        "--hparams epr.small --folds 3 --set segments.hop_seconds=0.08 "
        "--set train.epoch_share=1 --set train.max_epochs=10 --set refinery.rounds=1",
        5,
    ),
}


def train(command: list, words: list[str], data_root, folder: Path) -> dict:
    """Train, or resume, a run and return its scores."""
    subprocess.run(
        [sys.executable, *command, *words, "--data-root", data_root, "--workdir", folder],
        stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    return atomic_files.read_json(folder / "scores.json")


def compare_precisions(name: str, precision: str, runs: dict) -> dict:
    """Return mean and sd over seeds in both precisions, and the difference, paired over folds."""
    seeds = sorted(runs["float32"].keys() & runs[precision].keys(), key=int)
    single, reduced = ([runs[which][seed] for seed in seeds] for which in ("float32", precision))
    figures = {
        which: metrics.summarize([run["uar"] for run in by_seed])
        for which, by_seed in (("float32", single), (precision, reduced))
    }
    by_fold = [
        two - one
        for a, b in zip(single, reduced, strict=True)
        for one, two in zip(a["fold_uar"], b["fold_uar"], strict=True)
    ]
    test = stats.ttest_1samp(by_fold, 0.0)
    low, high = test.confidence_interval(0.95)
    figures["difference"] = {
        "mean": statistics.mean(b["uar"] - a["uar"] for a, b in zip(single, reduced, strict=True)),
        "of_folds": statistics.mean(by_fold),
        "of_folds_95_percent": [float(low), float(high)],
        "p": float(test.pvalue),
    }
    print(
        f"{name:7} {len(seeds)} seeds, float32 {figures['float32']['mean']:.3f}  {precision} "
        f"{figures[precision]['mean']:.3f}  difference of folds {statistics.mean(by_fold):+.3f} "
        f"({low:+.3f} to {high:+.3f}), p {test.pvalue:.2f}",
        flush=True,
    )
    return figures


def main() -> None:
    """Train missing runs, print a row a system and write --out after each run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", choices=list(SYSTEMS), action="append")
    parser.add_argument(
        "--precision", default="mixed_bfloat16", choices=["mixed_bfloat16", "mixed_float16"]
    )
    parser.add_argument("--widened", action="store_true", help="products by way of float32")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("runs", "precision"),
        help="keeps the runs, to go on after an interruption (default: runs/precision)",
    )
    args = parser.parse_args()
    command = (
        [Path(__file__).with_name("widened.py")] if args.widened else ["-m", "tfser.cli.train"]
    )
    results = atomic_files.read_json(args.out) if args.out.exists() else {}
    machine = {
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "widened": args.widened,
    }
    for name in args.only or SYSTEMS:
        flags, n_seeds = SYSTEMS[name]
        flags = f"--model {name} {COMMON} {flags}"
        settings = {"command": f"tfser-train {flags}", **machine}
        entry = results.setdefault(name, {**settings, "runs": {}, "figures": {}})
        if other := [key for key in settings if entry[key] != settings[key]]:
            parser.error(f"{args.out}: {name} is of another {other[0]}; take another --out")
        for seed, precision in itertools.product(range(n_seeds), ("float32", args.precision)):
            by_seed = entry["runs"].setdefault(precision, {})
            if str(seed) in by_seed:
                continue
            words = f"{flags} --seed {seed} --seeds 1 --precision {precision}"
            scores = train(
                command,
                words.format(seed=seed).split(),
                args.data_root,
                args.work / f"{name}-{precision}-{seed}",
            )
            *_, result = scores["systems"].values()  # the last is the run's result
            by_seed[str(seed)] = {
                "uar": scores["uar"],
                "fold_uar": result["fold_uar"]["values"],
            }
            atomic_files.write_json(args.out, results)
        entry["figures"][args.precision] = compare_precisions(name, args.precision, entry["runs"])
        atomic_files.write_json(args.out, results)


if __name__ == "__main__":
    main()
