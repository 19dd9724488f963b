"""Command-line options shared by train, search and extract."""

import argparse
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

from tfser.cli.zoo import SVMS, model_names
from tfser.config.hparams import (
    format_overrides,
    format_toml,
    hparams_folder,
    hparams_names,
    load_hparams,
)
from tfser.corpora.loader import (
    check_complete,
    check_unlabelled,
    corpus_names,
    is_table,
    load_corpus,
)
from tfser.errors import UsageError
from tfser.evaluation.protocols import choose_protocol
from tfser.storage import atomic_files, run_directory, s3
from tfser.training import balance

log = logging.getLogger("tfser")

PRETRAINED = ("autoencoder", "vae", "began")  # sections of hyperparameters with a `corpus`


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of train, search and extract; each default is that of its flag."""

    model: str
    corpus: str  # a name, or the path of a table
    data_root: Path | None = None
    target: str | None = None  # overrides labels.target
    hparams: str | None = None  # an overlay: its name or path
    overrides: tuple[str, ...] = ()  # "section.key=value"
    cache: Path | None = None
    max_bad: int = 0
    partial: bool = False
    spark: str | None = None  # URL of a Spark master
    debug: bool = False
    # Train and search.
    test_corpus: str | None = None
    test_root: Path | None = None
    protocol: str | None = None  # see `resolve_protocol`
    seed: int = 0
    seeds: int = 1
    folds: int | None = None
    balance: str | None = None  # "class", "gender" or both with a comma
    strategy: str = "auto"
    workdir: Path | None = None
    # Train.
    evaluate: str = "test"
    part: frozenset | None = None  # see `Run.parts`
    held_out: Path | None = None  # JSON of an outer fold of a nested search, see `nested_search`
    # Search.
    evals: int = 20
    algorithm: str = "tpe"
    trial_seeds: int | None = None  # None: those of the best setting
    stop_hopeless: bool = False
    nested: int | None = None  # inner folds


def add_data_flags(p: argparse.ArgumentParser) -> None:
    """Add the flags of train, search and extract, which decide the features."""
    p.add_argument(
        "--model",
        required=True,
        metavar="NAME",
        help=f"system of the zoo: {', '.join(model_names())} (see the list below)",
    )
    p.add_argument(
        "--corpus",
        required=True,
        metavar="NAME",
        help=f"{', '.join(corpus_names())}, or a table of your own: path/to/files.csv (or .tsv) "
        "with columns file, speaker, emotion and, if there are, start, end, session, gender, "
        "split, activation, valence, dominance; or db.yaml of audformat; audio files that "
        "libsndfile reads (wav, flac, ogg, mp3, sph, ...)",
    )
    p.add_argument(
        "--data-root",
        type=s3.to_path,
        metavar="DIR",
        help="folder of the corpus (or TFSER_<CORPUS>_ROOT)",
    )
    p.add_argument(
        "--target",
        metavar="TARGET",
        help="recognize emotion; or activation, valence or dominance as low, neutral, high; aae: "
        "attributes, all three in turn; auxvae: emotion, speaker, gender or ratings (default: "
        "labels.target of the hyperparameters)",
    )
    overlays = [name for name in hparams_names() if "." in name]
    p.add_argument(
        "--hparams",
        metavar="OVERLAY",
        help=f"hyperparameters that replace some of the model's: {', '.join(overlays)}, or the "
        f"path of a .toml file; those named lie in {hparams_folder()}",
    )
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="set one hyperparameter of hparams/<model>.toml, such as train.max_epochs=5; may be "
        "repeated",
    )
    p.add_argument(
        "--cache",
        type=s3.to_path,
        metavar="DIR",
        help="feature cache, a folder or s3://bucket/folder (default: TFSER_CACHE or "
        "~/.cache/tfser)",
    )
    p.add_argument(
        "--max-bad",
        type=int,
        default=0,
        metavar="N",
        help="leave out up to N unreadable or missing files (default: 0)",
    )
    p.add_argument(
        "--partial",
        action="store_true",
        help="take a corpus of which a class or a large part is missing",
    )
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")


def check_minimum(options: Options, **lowest: int) -> None:
    """Raise UsageError for an option whose number is below the lowest allowed."""
    for name, least in lowest.items():
        value = getattr(options, name)
        if value is not None and value < least:
            raise UsageError(f"--{name.replace('_', '-')} {value}: must be {least} or more")


def check_svm(options: Options, protocol: str) -> None:
    """Raise UsageError for options that an SVM has no use for, under a protocol."""
    if options.model not in SVMS:
        return
    if options.strategy == "multiworker":
        raise UsageError("--strategy multiworker: an SVM is no network; leave it out")
    if any(o.startswith("train.precision=") for o in options.overrides):
        raise UsageError("--precision: an SVM is no network; leave it out")
    is_random = protocol == "paper" and not options.test_corpus
    if options.seeds > 1 and not is_random:
        raise UsageError(
            f"--seeds {options.seeds}: nothing is random in an SVM under --protocol loso or split "
            "or with --test-corpus; leave it out"
        )


def resolve_cache(options: Options) -> Path:
    """Return the folder of --cache, else of TFSER_CACHE, else ~/.cache/tfser."""
    cache = options.cache or s3.to_path(
        os.environ.get("TFSER_CACHE") or run_directory.default_cache()
    )
    if options.spark and isinstance(cache, s3.S3Path):
        raise UsageError(f"--spark with --cache {cache}: its workers share a folder, not S3")
    s3.check_folder(cache, "--cache")
    return cache


def load_hyperparameters(options: Options, corpus: str, more=()) -> dict:
    """Load the hyperparameters of --hparams, --set and --target on a corpus, then `more`.

    The training corpus has those of its pair with --test-corpus.
    """
    tested = options.test_corpus if corpus == options.corpus else None
    return load_hparams(
        options.model,
        _hparams_table(corpus),
        tested=tested and _hparams_table(tested),
        overlay=options.hparams,
        overrides=[*list_overrides(options), *more],
        corpora=corpus_names(),
    )


def _hparams_table(corpus: str) -> str:
    return "table" if is_table(corpus) else corpus


def list_overrides(options: Options) -> list[str]:
    """List the overrides of --set, --target and --balance."""
    overrides = [*options.overrides]
    if options.target:
        overrides.append(f"labels.target={options.target}")
    if options.balance is not None:
        if options.model not in balance.SECTIONS:
            raise UsageError(
                f"--balance: the training of {options.model} has no weights; leave it out"
            )
        names = format_toml([name for name in options.balance.split(",") if name])
        overrides.append(f"{balance.SECTIONS[options.model]}.balance={names}")
    return overrides


def resolve_protocol(options: Options, utterances, hp) -> str:
    """Return --protocol, or else that of the run in --workdir, or the default.

    The default of a named corpus is the paper's, that of a table see `choose_protocol`. Runs of
    earlier versions have the paper's; the same command continues them.
    """
    if options.protocol:
        return options.protocol
    if options.test_corpus or not is_table(options.corpus):
        return "paper"
    if options.workdir and run_directory.has_results(options.workdir):
        settings = options.workdir / "hparams.json"
        recorded = atomic_files.read_json(settings) if settings.exists() else {}
        if protocol := recorded.get("protocol"):
            log.info("--protocol %s, as of the run in %s", protocol, options.workdir)
            return protocol
    plain = load_hyperparameters(
        Options(model=options.model, corpus=options.corpus), options.corpus
    )
    return choose_protocol(
        utterances,
        model=options.model,
        target=hp["labels"]["target"],
        folds=options.folds,
        is_set=hp.get("protocol") != plain.get("protocol"),
    )


def check_unlabelled_corpora(hp) -> None:
    """Raise UsageError or DataError where a corpus that trains without labels has no folder."""
    corpora = {"train.unlabelled_corpus": hp.get("train", {}).get("unlabelled_corpus")}
    for section in PRETRAINED:
        settings = hp.get(section, {"weights": "none"})
        is_used = section != "began" or hp.get("head", {}).get("encoder") == "pretrained"
        if is_used and not settings["weights"]:
            corpora[f"{section}.corpus"] = settings["corpus"]
    for setting, corpus in corpora.items():
        if corpus not in (None, "", "tested"):
            check_unlabelled(setting, corpus)


def load_named_corpus(options: Options, corpus: str, root, cache: Path) -> tuple[str, list, dict]:
    """Return the corpus's name in results, its utterances and its hyperparameters."""
    hp = load_hyperparameters(options, corpus)
    s3.import_decoder(hp["audio"]["decoder"])
    utterances = load_corpus(corpus, root, cache, options.max_bad)
    if not options.partial:
        check_complete(corpus, root, utterances, options.max_bad)
    name = re.sub(r"[^\w.-]+", "-", Path(corpus).stem) if is_table(corpus) else corpus
    if is_table(corpus) and name in corpus_names():  # emodb.csv is not Emo-DB
        name = f"table-{name}"
    return name, utterances, hp


def format_flags(options: Options, parameters: dict) -> list[str]:
    """Return the flags of tfser-train for these options and the parameters of a trial."""
    words = []
    for name in ("model", "corpus", "data_root", "test_corpus", "test_root", "protocol", "target",
                 "hparams", "seed", "seeds", "folds", "balance", "cache", "strategy",
                 "max_bad", "held_out"):  # fmt: skip
        if (value := getattr(options, name)) is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    for override in [*options.overrides, *format_overrides(parameters)]:
        words += ["--set", override]
    return words + ["--partial"] * options.partial + ["--debug"] * options.debug
