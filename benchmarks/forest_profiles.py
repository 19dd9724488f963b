"""Profiles for the forest's training under `loso`, compared by UAR on dev speakers.

    tfser-train --model epr --corpus emodb --protocol loso --set forest.profiles=inner ...
    python benchmarks/forest_profiles.py runs/epr-emodb-loso --corpus emodb [--out profiles.json]

The script needs the networks of such a run and trains none. For each fold and round a forest
learns from the training speakers' profiles: once from the "same" networks, which were trained on
those speakers, once from the "inner" networks, which were not. Both forests then predict from the
dev speaker's profiles by the fold's own network, whose epoch was selected on that speaker in both
cases. Test speakers are not used. Scores are means over five forest seeds.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np

from tfser.corpora.labels import select_by_labels
from tfser.corpora.loader import load_corpus
from tfser.evaluation import cross_validation, metrics
from tfser.models.epr import experiment
from tfser.models.epr.forest import fit_forest, forest_probabilities, statistics
from tfser.storage import atomic_files, run_directory

FOREST_SEEDS = range(5)


def dev_uar(speech, hp, profiles, split) -> float:
    """Compute the UAR of the dev utterances by forests trained on the training utterances."""
    x = statistics(profiles, speech.owner, hp["forest"]["threshold"])
    scores = []
    for seed in FOREST_SEEDS:
        forest = fit_forest(
            x[split.train],
            speech.y[split.train],
            len(speech.classes),
            n_estimators=hp["forest"]["n_estimators"],
            seed=seed,
        )
        guess = forest_probabilities(forest, x[split.dev]).argmax(axis=1)
        scores.append(metrics.uar(speech.y[split.dev], guess))
    return float(np.mean(scores))


def main() -> None:
    """Print a row for each fold and the means; --out writes them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    cache = Path(os.environ.get("TFSER_CACHE") or Path.home() / ".cache" / "tfser")
    if not (args.run / "scores.json").exists():
        sys.exit(f"{args.run} holds no finished run")
    settings = atomic_files.read_json(args.run / "hparams.json")
    hp = settings["hparams"]
    if hp["forest"]["profiles"] != "inner":
        sys.exit(f"{args.run} has no inner networks: --set forest.profiles=inner makes them")
    utterances = select_by_labels(load_corpus(args.corpus, args.data_root, cache), **hp["labels"])
    run = run_directory.Run(
        args.run, cache, args.corpus, "loso", settings["folds"], (0,), "none", 0
    )
    speech = experiment.load_dataset(utterances, hp, run)
    n_rounds = hp["refinery"]["rounds"]
    rows = []
    with cross_validation.progress_bar(1, 1) as bar:
        # Nothing is trained.
        lab = experiment.Experiment(speech, hp, run, model=None, precise=None, bar=bar)
        for fold, split in enumerate(experiment.make_splits(utterances, hp, run, 0)):
            folder = args.run / "seed-0" / f"fold-{fold:02}"
            bar.where = folder.name
            same = experiment.train_rounds(lab, split.train, split.dev, folder, [0, fold])
            inner = experiment.inner_profiles(lab, split, same, folder, [0, fold])
            for t in range(n_rounds):
                row = {
                    "fold": fold,
                    "round": t + 1,
                    "same": dev_uar(speech, hp, same[t], split),
                    "inner": dev_uar(speech, hp, inner[t], split),
                }
                print({name: round(value, 3) for name, value in row.items()}, flush=True)
                rows.append(row)
    means = {
        f"round {t + 1}": {
            kind: float(np.mean([row[kind] for row in rows if row["round"] == t + 1]))
            for kind in ("same", "inner")
        }
        for t in range(n_rounds)
    }
    print(means)
    if args.out:
        atomic_files.write_json(args.out, {"corpus": args.corpus, "dev_uar": means, "folds": rows})


if __name__ == "__main__":
    main()
