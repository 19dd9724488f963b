"""tfser-train: trains and evaluates one system of the zoo on one corpus."""

import argparse
import importlib
import inspect
import logging
import os
import pkgutil
import re
import sys
from dataclasses import replace
from pathlib import Path

from tfser import cli, corpora, hparams, labels, models, runs
from tfser.errors import UsageError, did_you_mean

log = logging.getLogger("tfser")

EPILOG = """\
exit codes: 0 done, 1 the run failed, 2 usage or configuration, 3 data, 4 the run directory holds
another run or is in use, 130 interrupted. The same command continues where it stopped.

example: tfser-train --model epr --corpus casia --data-root ~/corpora/CASIA --protocol loso
"""


def parser() -> argparse.ArgumentParser:
    """The flags of tfser-train; made without importing TensorFlow."""
    names = sorted(module.name for module in pkgutil.iter_modules(models.__path__))
    p = cli.Parser(
        prog="tfser-train",
        description=__doc__.partition(": ")[2],
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument(
        "--model", required=True, metavar="NAME", help=f"system to train: {', '.join(names)}"
    )
    p.add_argument(
        "--corpus",
        required=True,
        metavar="NAME",
        help=f"{', '.join(corpora.names())}, or a table: path/to/files.csv",
    )
    p.add_argument(
        "--data-root", type=Path, metavar="DIR", help="the corpus's folder (or TFSER_<CORPUS>_ROOT)"
    )
    p.add_argument(
        "--test-corpus",
        metavar="NAME",
        help="test on another corpus, train on all of --corpus (acnn, svm)",
    )
    p.add_argument("--test-root", type=Path, metavar="DIR", help="the folder of --test-corpus")
    p.add_argument(
        "--protocol",
        choices=("paper", "loso"),
        default="paper",
        help="paper: as published; loso: leave one speaker out (default: paper)",
    )
    p.add_argument(
        "--target",
        metavar="WHAT",
        help="what is to be recognized: emotion; activation, valence or dominance as low, neutral, "
        "high; auxvae: emotion, speaker, gender or ratings (default: labels.target of the "
        "hyperparameters)",
    )
    p.add_argument(
        "--hparams",
        metavar="OVERLAY",
        help="hyperparameters laid over the model's: a name or a .toml",
    )
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="one hyperparameter, such as train.max_epochs=5; may be repeated",
    )
    p.add_argument("--seed", type=int, default=0, metavar="N", help="first seed (default: 0)")
    p.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="N",
        help="how many seeds, from --seed on (default: 1)",
    )
    p.add_argument(
        "--folds", type=int, metavar="N", help="number of folds (default: the protocol's)"
    )
    p.add_argument(
        "--workdir",
        type=Path,
        metavar="DIR",
        help="run directory (default: runs/<model>-<corpus>-<protocol>)",
    )
    p.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="feature cache (default: TFSER_CACHE or ~/.cache/tfser)",
    )
    p.add_argument(
        "--strategy",
        choices=("auto", "none", "mirrored"),
        default="auto",
        help="several GPUs: auto uses them all (default: auto)",
    )
    p.add_argument(
        "--max-bad",
        type=int,
        default=0,
        metavar="N",
        help="unreadable files to leave out (default: 0)",
    )
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return p


def main(argv=None) -> int:
    """Runs the command and returns its exit code."""
    return cli.run(train, parser().parse_args(argv))


def train(args) -> None:
    """Checks everything that can be checked without audio, then trains, then prints the scores."""
    names = [module.name for module in pkgutil.iter_modules(models.__path__)]
    if args.model not in names:
        raise UsageError(
            f"unknown model {args.model!r}{did_you_mean(args.model, names)}; "
            f"one of: {' '.join(names)}"
        )
    for flag, lowest in (("seeds", 1), ("seed", 0), ("folds", 2), ("max_bad", 0)):
        value = getattr(args, flag)
        if value is not None and value < lowest:
            raise UsageError(f"--{flag.replace('_', '-')} {value}: must be {lowest} or more")
    if args.test_root and not args.test_corpus:
        raise UsageError("--test-root is the folder of --test-corpus, which is not given")
    if args.test_corpus and args.protocol == "loso":
        raise UsageError("--protocol loso: with --test-corpus there are no folds; leave one out")
    if args.test_corpus and args.folds:
        raise UsageError(f"--folds {args.folds}: with --test-corpus there are no folds")
    cache = args.cache or Path(os.environ.get("TFSER_CACHE") or Path.home() / ".cache" / "tfser")
    corpus, utterances, hp = _corpus(args, args.corpus, args.data_root, cache)
    settings = {"model": args.model, "corpus": corpus, "protocol": args.protocol}
    tested = None
    if args.test_corpus:
        tested_name, tested, tested_hp = _corpus(args, args.test_corpus, args.test_root, cache)
        spans = [
            {(u.path.resolve(), u.start_seconds, u.end_seconds) for u in side}
            for side in (utterances, tested)
        ]
        if common := len(spans[0] & spans[1]):
            raise UsageError(
                f"--test-corpus {args.test_corpus}: {common} of its utterances are those of "
                f"--corpus {args.corpus}, and would be tested and heard in training"
            )
        # A speaker "03" of each corpus would be one.
        tested = [replace(u, speaker=f"{tested_name}-{u.speaker}") for u in tested]
        settings["tested"] = {
            "corpus": tested_name,
            "labels": tested_hp["labels"],
            "utterances": runs.fingerprint(tested),
        }
        corpus = f"{corpus}-to-{tested_name}"
    folder = args.workdir or Path("runs", f"{args.model}-{corpus}-{args.protocol}")
    run = runs.Run(
        folder=folder,
        cache=cache,
        corpus=corpus,
        protocol=args.protocol,
        n_folds=args.folds,
        seeds=tuple(range(args.seed, args.seed + args.seeds)),
        strategy=args.strategy,
        max_bad=args.max_bad,
    )
    settings |= {"folds": args.folds, "utterances": runs.fingerprint(utterances), "hparams": hp}
    with runs.opened(folder, settings, run.seeds):
        log.info("%s", corpora.describe(args.corpus, utterances))
        with cli.quiet():
            cli.import_keras()
            paper = importlib.import_module(f"tfser.models.{args.model}")
        if tested is None:
            scores = paper.train(utterances, hp, run)
        elif "tested" in inspect.signature(paper.train).parameters:
            log.info("tested on %s", corpora.describe(args.test_corpus, tested))
            scores = paper.train(utterances, hp, run, labels.select(tested, **tested_hp["labels"]))
        else:
            raise UsageError(
                f"--test-corpus: {args.model} has no test across corpora; leave it out"
            )
    from tfser import report  # it imports TensorFlow, which is there by now

    report.show(scores, folder)


def _corpus(args, corpus: str, root, cache: Path) -> tuple[str, list, dict]:
    """Its name in results, its utterances and the hyperparameters on it."""
    is_table = corpus.lower().endswith((".csv", ".tsv"))
    overrides = args.overrides + ([f"labels.target={args.target}"] if args.target else [])
    hp = hparams.load(
        args.model, "table" if is_table else corpus, overlay=args.hparams, overrides=overrides
    )
    utterances = corpora.load(corpus, root, cache)
    name = re.sub(r"[^\w.-]+", "-", Path(corpus).stem) if is_table else corpus
    if is_table and name in corpora.names():  # emodb.csv is not Emo-DB
        name = f"table-{name}"
    return name, utterances, hp


if __name__ == "__main__":
    sys.exit(main())
