"""Which VGG-E leaves chance: initializers and batch normalization, on the first fold of a corpus.

    python benchmarks/initializers.py --corpus emodb --set segments.hop_seconds=0.16 \
        --set model.width_multiplier=0.125 --out initializers.json

Trains C1 of fold 0 with the paper's optimizer, schedule and patience, once with a patience that
counts from the first epoch (as the paper's sentence reads) and once with ours, which waits until
the loss has left chance. Nothing of the test part is looked at.
"""

import argparse
import os
import tempfile
from pathlib import Path

from tfser import corpora, hparams, runs, training
from tfser.models import epr
from tfser.models.epr import report

VARIANTS = (
    # initializer, batch_norm
    ("glorot_uniform", "false"),
    ("glorot_uniform", "true"),
    ("he_normal", "false"),
    ("he_normal", "true"),
)


def histories(args) -> list[dict]:
    """One entry a variant and seed: its history of C1 on fold 0, dev loss watched, test unseen."""
    cache = Path(os.environ.get("TFSER_CACHE") or Path.home() / ".cache" / "tfser")
    utterances = corpora.load(args.corpus, args.data_root, cache)
    entries = []
    for initializer, batch_norm in VARIANTS:
        if args.only and args.only != f"{initializer},{batch_norm}":
            continue
        overrides = [f"model.initializer={initializer}", f"model.batch_norm={batch_norm}"]
        hp = hparams.load("epr", args.corpus, overrides=overrides + args.overrides)
        for seed in range(args.seeds):
            with tempfile.TemporaryDirectory() as folder, report.progress(1) as bar:
                run = runs.Run(
                    Path(folder), cache, args.corpus, args.protocol, None, (seed,), "none", 0
                )
                chosen = epr.select(utterances, **hp["labels"])
                split = epr.plan(chosen, hp, run, seed)[0]
                speech = epr.segmented(chosen, hp, run)
                lab = epr.Experiment(speech, hp, run, epr.compiled_network(speech, hp, run), bar)
                bar.where = f"{initializer} batch_norm={batch_norm}"
                epr.train_network(
                    lab, split.train, split.dev, speech.one_hot, Path(folder, "c1"), [seed, 0, 0]
                )
                history = read_history(Path(folder, "c1", "history.csv"))
            chance, learnt = training.chance(speech.one_hot)
            entries.append(
                {
                    "initializer": initializer,
                    "batch_norm": batch_norm == "true",
                    "seed": seed,
                    "chance_loss": chance,
                    "learnt_loss": learnt,
                    "left_chance_in_epoch": next(
                        (h["epoch"] for h in history if h["loss"] < learnt), None
                    ),
                    "stopped_at_chance_without_waiting": stops_at_chance(
                        history, learnt, hp["train"]["patience"]
                    ),
                    "best_dev_loss": min(h["dev_loss"] for h in history),
                    "epochs": len(history),
                    "loss": [round(h["loss"], 4) for h in history],
                    "dev_loss": [round(h["dev_loss"], 4) for h in history],
                }
            )
    return entries


def read_history(path: Path) -> list[dict]:
    """The rows of a history.csv as numbers."""
    header, *rows = (line.split(",") for line in path.read_text().splitlines())
    return [
        {
            name: int(value) if name == "epoch" else float(value)
            for name, value in zip(header, row, strict=True)
            if name != "learnt"
        }
        for row in rows
    ]


def stops_at_chance(history, learnt_loss, patience) -> bool:
    """Whether a patience counted from the first epoch ends before the loss has left chance."""
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
    """Prints a row for each variant and seed; --out writes the same as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--corpus", default="toy")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--protocol", default="loso", choices=("paper", "loso"))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--only", help="one variant, such as he_normal,false")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    entries = histories(args)
    columns = f"{'initializer':16}{'batch norm':12}{'seed':6}{'left chance':13}{'dev loss':10}"
    print(columns + "loss by epoch")
    for e in entries:
        left = f"epoch {e['left_chance_in_epoch']}" if e["left_chance_in_epoch"] else "never"
        print(
            f"{e['initializer']:16}{e['batch_norm']!s:12}{e['seed']:<6}{left:13}"
            f"{e['best_dev_loss']:<10.3f}" + " ".join(f"{loss:.2f}" for loss in e["loss"])
        )
    if args.out:
        runs.write_json(
            args.out,
            {
                "overrides": args.overrides,
                "corpus": args.corpus,
                "protocol": args.protocol,
                "entries": entries,
            },
        )


if __name__ == "__main__":
    main()
