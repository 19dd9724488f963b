"""Gain or loss of C1 with other settings: trained on the first folds, scored on dev sets.

    python benchmarks/variants.py --corpus emodb --hparams epr.small --first-folds 2 \
        --variant model.initializer=glorot_uniform --variant "model.dropout=0 train.patience=5"

The settings without a variant are run as well; variants that --out contains are not run again. Test
sets are not used. Beside the losses it reports the epoch in which the training loss left chance,
and whether a patience that counts from the first epoch (as the paper's sentence reads) would have
ended the training before.
"""

import argparse
import csv
import os
import tempfile
from pathlib import Path

import numpy as np

from tfser.config.hparams import load_hparams
from tfser.corpora.labels import select_by_labels
from tfser.corpora.loader import load_corpus
from tfser.evaluation import cross_validation, metrics
from tfser.models.epr import experiment
from tfser.models.epr.forest import utterance_means
from tfser.storage import atomic_files, run_directory
from tfser.training import loop, mixed_precision


def train_c1(args, variant: str) -> list[dict]:
    """Train C1 on each fold and return an entry per fold, with its dev scores."""
    cache = Path(os.environ.get("TFSER_CACHE") or Path.home() / ".cache" / "tfser")
    hp = load_hparams(
        "epr", args.corpus, overlay=args.hparams, overrides=args.overrides + variant.split()
    )
    utterances = select_by_labels(load_corpus(args.corpus, args.data_root, cache), **hp["labels"])
    entries = []
    with (
        tempfile.TemporaryDirectory() as folder,
        cross_validation.progress_bar(args.first_folds, hp["train"]["max_epochs"]) as bar,
        mixed_precision.precision_policy(hp["train"]["precision"]),
    ):
        run = run_directory.Run(
            Path(folder), cache, args.corpus, args.protocol, None, (0,), "none", 0
        )
        speech = experiment.load_dataset(utterances, hp, run)
        lab = experiment.make_experiment(speech, hp, run, bar)
        splits = experiment.make_splits(utterances, hp, run, 0)[: args.first_folds]
        for fold, split in enumerate(splits):
            bar.where = f"{variant or 'as it is'} fold-{fold:02}"
            c1 = Path(folder, f"fold-{fold:02}")
            profiles = experiment.train_network(
                lab, split.train, split.dev, speech.one_hot, c1, [0, fold, 0]
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


def main() -> None:
    """Print a row for each variant, means over folds; --out writes every fold as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--corpus", default="toy")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--protocol", choices=["paper", "loso"], default="loso")
    parser.add_argument("--hparams")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--variant", action="append", default=[], metavar="KEY=VALUE ...")
    parser.add_argument("--first-folds", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    settings = {
        "corpus": args.corpus,
        "protocol": args.protocol,
        "hparams": args.hparams,
        "set": args.overrides,
    }
    entries = []
    if args.out and args.out.exists():
        earlier = atomic_files.read_json(args.out)
        entries = earlier.pop("entries")
        if earlier != settings:
            parser.error(f"{args.out} has other settings: {earlier}")
    for variant in ["", *args.variant]:
        own = [entry for entry in entries if entry["variant"] == variant]
        if len(own) != args.first_folds:
            entries = [entry for entry in entries if entry["variant"] != variant]
            own = train_c1(args, variant)
            entries += own
        loss, uar, accuracy = (
            np.mean([entry[name] for entry in own])
            for name in ("dev_loss", "dev_uar", "dev_segment_accuracy")
        )
        left = [entry["left_chance_in_epoch"] for entry in own]
        print(
            f"{variant or 'as it is':60} dev loss {loss:.3f} UAR {uar:.3f} segments {accuracy:.3f} "
            f"left chance in epoch {left}",
            flush=True,
        )
        if args.out:
            atomic_files.write_json(args.out, settings | {"entries": entries})


if __name__ == "__main__":
    main()
