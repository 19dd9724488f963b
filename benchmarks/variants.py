"""Gain or loss of C1 with other settings: trained on the first folds, scored on dev sets.

    python benchmarks/variants.py --corpus emodb --hparams epr.small --first-folds 2 --seed 0 \
        --variant "" --variant "model.dropout=0 train.patience=5" --out variants.json

A variant changes settings, the variant "" none. --out holds an entry for each variant, seed and
fold. A command adds the entries that are missing, and continues after the last epoch of a command
that was killed; commands for other variants or seeds may run at the same time. Test sets are not
used. Beside the losses it reports the epoch in which the training loss left chance, and whether a
patience that counts from the first epoch (as the paper's sentence reads) would have ended the
training before.
"""

import argparse
import contextlib
import csv
import fcntl
import os
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np

from tfser.config.hparams import load_hparams
from tfser.corpora.labels import select_by_labels
from tfser.corpora.loader import load_corpus
from tfser.evaluation import cross_validation, metrics
from tfser.models.epr import experiment
from tfser.models.epr.refinery import utterance_means
from tfser.storage import atomic_files, run_directory
from tfser.training import loop, mixed_precision


def train_c1(args, variant: str, folder: Path) -> list[dict]:
    """Train C1 on each fold and return an entry per fold, with its dev scores.

    folder: of the networks, where a killed training is continued.
    """
    cache = Path(os.environ.get("TFSER_CACHE") or Path.home() / ".cache" / "tfser")
    hp = load_hparams(
        "epr", args.corpus, overlay=args.hparams, overrides=args.overrides + variant.split()
    )
    utterances = select_by_labels(load_corpus(args.corpus, args.data_root, cache), **hp["labels"])
    entries = []
    with (
        cross_validation.progress_bar(args.first_folds, hp["train"]["max_epochs"]) as bar,
        mixed_precision.precision_policy(hp["train"]["precision"]),
    ):
        run = run_directory.Run(
            folder, cache, args.corpus, args.protocol, None, (args.seed,), "none", 0
        )
        speech = experiment.load_dataset(utterances, hp, run)
        lab = experiment.make_experiment(speech, hp, run, bar)
        splits = experiment.make_splits(utterances, hp, run, args.seed)[: args.first_folds]
        for fold, split in enumerate(splits):
            bar.where = f"{variant or 'as it is'} seed-{args.seed} fold-{fold:02}"
            c1 = folder / f"fold-{fold:02}"
            profiles = experiment.train_network(
                lab, split.train, split.dev, speech.one_hot, c1, [args.seed, fold, 0]
            )
            bar.network_done()
            with open(c1 / "history.csv") as file:
                history = [
                    {name: row[name] if name == "learnt" else float(row[name]) for name in row}
                    for row in csv.DictReader(file)
                ]
            _, learnt_loss = loop.chance_loss(speech.one_hot[np.isin(speech.owner, split.train)])
            guess = utterance_means(profiles, speech.owner)[split.dev].argmax(axis=1)
            dev_segments = np.isin(speech.owner, split.dev)
            left = [int(row["epoch"]) for row in history if row["loss"] < learnt_loss]
            entries.append(
                {
                    "variant": variant,
                    "seed": args.seed,
                    "fold": fold,
                    "epochs": len(history),
                    "left_chance_in_epoch": left[0] if left else None,
                    "ends_at_chance_if_patience_does_not_wait": ends_at_chance(
                        history, learnt_loss, hp["train"]["patience"]
                    ),
                    "dev_loss": min(row["dev_loss"] for row in history),
                    "dev_uar": metrics.uar(speech.y[split.dev], guess),
                    "dev_segment_accuracy": metrics.wa(
                        speech.y[speech.owner[dev_segments]], profiles[dev_segments].argmax(axis=1)
                    ),
                    "loss_by_epoch": [round(row["loss"], 4) for row in history],
                    "dev_loss_by_epoch": [round(row["dev_loss"], 4) for row in history],
                    "dev_segment_accuracy_by_epoch": [
                        round(row["dev_accuracy"], 4) for row in history
                    ],
                }
            )
    return entries


def ends_at_chance(history, learnt_loss, patience) -> bool:
    """Return whether a patience counted from the first epoch ends before the loss leaves chance."""
    best, waited = float("inf"), 0
    for row in history:
        if row["loss"] < learnt_loss:
            return False
        waited = 0 if row["dev_loss"] < best else waited + 1
        best = min(best, row["dev_loss"])
        if waited >= patience:
            return True
    return True


@contextlib.contextmanager
def open_results(out: Path, settings: dict):
    """Yield the entries of --out, and write them afterwards; other processes wait meanwhile."""
    with open(out.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        earlier = atomic_files.read_json(out) if out.exists() else settings | {"entries": []}
        entries = earlier.pop("entries")
        if earlier != settings:
            raise SystemExit(f"{out} has other settings: {earlier}")
        before = len(entries)
        yield entries
        if len(entries) != before:
            entries.sort(key=lambda e: (e["variant"], e.get("seed", 0), e["fold"]))
            atomic_files.write_json(out, settings | {"entries": entries})


def run_variant(args, variant: str, out: Path, settings: dict) -> list[dict]:
    """Return the entries of a variant and seed, from --out or of new networks."""

    def select(entries):
        return [e for e in entries if (e["variant"], e.get("seed", 0)) == (variant, args.seed)]

    with open_results(out, settings) as entries:
        own = select(entries)
    if len(own) < args.first_folds:
        name = re.sub(r"[^\w.]+", "-", f"{variant}-seed-{args.seed}").strip("-")
        networks = out.with_suffix("") / name
        own = train_c1(args, variant, networks)
        with open_results(out, settings) as entries:
            for earlier in select(entries):
                entries.remove(earlier)
            entries += own
        shutil.rmtree(networks)
    return own


def main() -> None:
    """Print a row for each variant, means over folds; --out has every fold as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--corpus", default="toy")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--protocol", choices=["paper", "loso"], default="loso")
    parser.add_argument("--hparams")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--variant", action="append", metavar="KEY=VALUE ...")
    parser.add_argument("--first-folds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    settings = {
        "corpus": args.corpus,
        "protocol": args.protocol,
        "hparams": args.hparams,
        "set": args.overrides,
    }
    with tempfile.TemporaryDirectory() as folder:
        out = args.out or Path(folder, "variants.json")
        for variant in args.variant or [""]:
            own = run_variant(args, variant, out, settings)
            loss, uar, accuracy = (
                np.mean([entry[name] for entry in own])
                for name in ("dev_loss", "dev_uar", "dev_segment_accuracy")
            )
            left = [entry["left_chance_in_epoch"] for entry in own]
            print(
                f"{variant or 'as it is':60} dev loss {loss:.3f} UAR {uar:.3f} "
                f"segments {accuracy:.3f} left chance in epoch {left}",
                flush=True,
            )


if __name__ == "__main__":
    main()
