"""What a command is asked for by its flags: a system of the zoo, and a corpus for it."""

import argparse
import os
import pkgutil
import re
from pathlib import Path

from tfser import models
from tfser.config.hparams import load_hparams
from tfser.corpora.loader import corpus_names, load_corpus
from tfser.errors import UsageError, did_you_mean
from tfser.storage import run_directory, s3


def add_data_flags(p: argparse.ArgumentParser) -> None:
    """Adds what tfser-train, tfser-search and tfser-extract have: what decides the features."""
    names = sorted(module.name for module in pkgutil.iter_modules(models.__path__))
    p.add_argument(
        "--model", required=True, metavar="NAME", help=f"system of the zoo: {', '.join(names)}"
    )
    p.add_argument(
        "--corpus",
        required=True,
        metavar="NAME",
        help=f"{', '.join(corpus_names())}, or a table: path/to/files.csv",
    )
    p.add_argument(
        "--data-root",
        type=s3.to_path,
        metavar="DIR",
        help="the corpus's folder (or TFSER_<CORPUS>_ROOT)",
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
    p.add_argument(
        "--cache",
        type=s3.to_path,
        metavar="DIR",
        help="feature cache, on S3 too (default: TFSER_CACHE or ~/.cache/tfser)",
    )
    p.add_argument(
        "--max-bad",
        type=int,
        default=0,
        metavar="N",
        help="unreadable files to leave out (default: 0)",
    )
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")


def check_model(name: str) -> None:
    """Raises UsageError for what is no system of the zoo."""
    names = [module.name for module in pkgutil.iter_modules(models.__path__)]
    if name not in names:
        raise UsageError(
            f"unknown model {name!r}{did_you_mean(name, names)}; one of: {' '.join(names)}"
        )


def check_minimum(args, **lowest: int) -> None:
    """Raises UsageError for a flag whose number is below the lowest it takes."""
    for flag, least in lowest.items():
        value = getattr(args, flag)
        if value is not None and value < least:
            raise UsageError(f"--{flag.replace('_', '-')} {value}: must be {least} or more")


def resolve_cache(args) -> Path:
    """The folder of --cache, or else of TFSER_CACHE, or else the usual one."""
    cache = args.cache or s3.to_path(os.environ.get("TFSER_CACHE") or run_directory.default_cache())
    if args.spark and isinstance(cache, s3.S3Path):
        raise UsageError(f"--spark with --cache {cache}: its workers share a folder, not S3")
    s3.check_folder(cache, "--cache")
    return cache


def load_hyperparameters(args, corpus: str, more=()) -> dict:
    """Those of --hparams, --set and --target on `corpus`, and of `more` overrides."""
    return load_hparams(
        args.model,
        "table" if is_table(corpus) else corpus,
        overlay=args.hparams,
        overrides=[*list_overrides(args), *more],
        corpora=corpus_names(),
    )


def list_overrides(args) -> list[str]:
    """What --set and --target override."""
    return args.overrides + ([f"labels.target={args.target}"] if args.target else [])


def is_table(corpus: str) -> bool:
    """Whether --corpus is anybody's table, and not the name of a corpus."""
    return corpus.lower().endswith((".csv", ".tsv"))


def load_named_corpus(args, corpus: str, root, cache: Path) -> tuple[str, list, dict]:
    """Its name in results, its utterances and the hyperparameters on it."""
    hp = load_hyperparameters(args, corpus)
    s3.import_decoder(hp["audio"]["decoder"])
    utterances = load_corpus(corpus, root, cache)
    name = re.sub(r"[^\w.-]+", "-", Path(corpus).stem) if is_table(corpus) else corpus
    if is_table(corpus) and name in corpus_names():  # emodb.csv is not Emo-DB
        name = f"table-{name}"
    return name, utterances, hp
