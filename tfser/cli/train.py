"""tfser-train: trains and evaluates one system of the zoo on one corpus."""

import argparse
import importlib
import inspect
import itertools
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tfser import tensorflow_startup
from tfser.cli import base, options, spark_jobs
from tfser.corpora import omg
from tfser.corpora.labels import select_by_labels
from tfser.corpora.loader import corpus_root, describe_corpus
from tfser.distributed import multi_worker, spark_session
from tfser.errors import UsageError
from tfser.storage import run_directory, s3

log = logging.getLogger("tfser")

EPILOG = """\
exit codes: 0 done, 1 the run failed, 2 usage or configuration, 3 data, 4 the run directory holds
another run or is in use, 130 interrupted. The same command continues where it stopped.

example: tfser-train --model epr --corpus casia --data-root ~/corpora/CASIA --protocol loso
"""


def parser() -> argparse.ArgumentParser:
    """The flags of tfser-train; made without importing TensorFlow."""
    p = base.Parser("tfser-train", __doc__.partition(": ")[2], EPILOG)
    add_flags(p)
    p.add_argument(
        "--evaluate",
        choices=("test", "dev"),
        default="test",
        help="dev: score each fold on its dev part and leave its test part alone, to compare "
        "settings; no result (default: test)",
    )
    p.add_argument(
        "--workdir",
        type=s3.to_path,
        metavar="DIR",
        help="run directory (default: runs/<model>-<corpus>-<protocol>)",
    )
    # What --spark gives its tasks: no fold, or this one, of the run two folders above --workdir.
    p.add_argument("--part", type=_parts, help=argparse.SUPPRESS)
    return p


def _parts(text: str) -> frozenset:
    """Of SEED/FOLD or none, the `parts` of a run."""
    return frozenset() if text == "none" else frozenset([tuple(map(int, text.split("/")))])


def add_flags(p: argparse.ArgumentParser) -> None:
    """Adds what tfser-search has as well: all but the folder and the part that is scored."""
    options.add_data_flags(p)
    p.add_argument(
        "--test-corpus",
        metavar="NAME",
        help="test on another corpus, train on all of --corpus (acnn, svm)",
    )
    p.add_argument(
        "--test-root", type=s3.to_path, metavar="DIR", help="the folder of --test-corpus"
    )
    p.add_argument(
        "--protocol",
        choices=("paper", "loso"),
        default="paper",
        help="paper: as published; loso: leave one speaker out (default: paper)",
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
        "--strategy",
        choices=("auto", "none", "mirrored", "multiworker"),
        default="auto",
        help="several GPUs: auto uses them all; multiworker: the processes that TF_CONFIG names, "
        "on several hosts, train together (default: auto)",
    )
    p.add_argument(
        "--precision",
        action="append",
        dest="overrides",
        type="train.precision={}".format,
        metavar="NAME",
        help="what networks compute in, as --set train.precision: float32, mixed_bfloat16 or "
        "mixed_float16 (default: float32)",
    )
    p.add_argument(
        "--spark",
        metavar="MASTER",
        help="train folds and seeds, of a search trials, as tasks of Spark: local[2] for two "
        "processes here, or a cluster's URL (needs tfser[spark] and Java)",
    )


def main(argv=None) -> int:
    """Runs the command and returns its exit code."""
    return base.run_command(train, parser().parse_args(argv))


class Task(NamedTuple):
    """What the flags ask for, checked without audio."""

    corpus: str  # its name in results
    utterances: list
    hp: dict
    tested: list | None  # the utterances of --test-corpus
    cache: Path
    settings: dict  # what a resumed run must have been started with


def train(args) -> None:
    """Checks everything that can be checked without audio, then trains, then prints the scores."""
    if args.spark is not None:
        spark_session.check_master(args.spark)
    task = prepare_task(args)
    folder = args.workdir or Path("runs", f"{args.model}-{task.corpus}-{args.protocol}")
    if args.strategy != "multiworker":
        return train_in_folder(folder, args, task)
    if args.spark is not None:
        raise UsageError("--spark and --strategy multiworker are two ways; leave one of them out")
    first = {"seed": args.seed, "seeds": args.seeds, "max_bad": args.max_bad}
    with multi_worker.join_cluster(
        {**task.settings, **first, "evaluate": args.evaluate}, folder
    ) as own:
        train_in_folder(own, args, task)


def train_in_folder(folder: Path, args, task: Task) -> None:
    """Trains in a run directory, of several workers with the others, and prints the scores."""
    parts = args.part
    if not multi_worker.is_chief():  # it trains every fold, and leaves the scores to the chief
        seeds = range(args.seed, args.seed + args.seeds)
        parts = frozenset(itertools.product(seeds, range(len(task.utterances))))
    run = run_directory.Run(
        folder=folder if args.part is None else folder.parents[1],
        cache=task.cache,
        corpus=task.corpus,
        protocol=args.protocol,
        n_folds=args.folds,
        seeds=tuple(range(args.seed, args.seed + args.seeds)),
        strategy=args.strategy,
        max_bad=args.max_bad,
        evaluate=args.evaluate,
        parts=parts,
        decoder=task.hp["audio"]["decoder"],
    )
    # Not in the settings of other runs, which may have been started before there was a choice.
    settings = task.settings | ({"evaluate": "dev"} if args.evaluate == "dev" else {})
    with run_directory.open_run(folder, settings, run.seeds):
        for lock in folder.glob("tasks/*/.lock"):  # of a command that was killed
            run_directory.wait_until_free(lock.parent)
        log.info("%s", describe_corpus(args.corpus, task.utterances))
        if args.spark:
            spark_jobs.train_folds(args, folder)
        with tensorflow_startup.quiet():
            tensorflow_startup.import_keras()
            paper = importlib.import_module(f"tfser.models.{args.model}.experiment")
        more = []
        if task.tested is not None:
            if "tested" not in inspect.signature(paper.train).parameters:
                raise UsageError(
                    f"--test-corpus: {args.model} has no test across corpora; leave it out"
                )
            log.info("tested on %s", describe_corpus(args.test_corpus, task.tested))
            more = [select_by_labels(task.tested, **settings["tested"]["labels"])]
        from tfser.training import mixed_precision  # it imports Keras

        with mixed_precision.precision_policy(task.hp.get("train", {}).get("precision", "float32")):
            scores = paper.train(task.utterances, task.hp, run, *more)
        if scores is None:  # the scores are another process's
            return
        own_parts = "ccc_arousal" in scores and scores["folds"] == 1 and args.evaluate == "test"
        if args.corpus == "omg" and own_parts:
            omg.submit(corpus_root("omg", args.data_root), folder, task.utterances)
    from tfser.evaluation import (
        classification_report,  # it imports TensorFlow, which is there by now
    )

    classification_report.print_results(scores, folder)


def prepare_task(args) -> Task:
    """The task of the flags of `add_flags`; UsageError or DataError where there is none."""
    options.check_model(args.model)
    options.check_minimum(args, seeds=1, seed=0, folds=2, max_bad=0)
    if isinstance(args.workdir, s3.S3Path):
        raise UsageError(f"--workdir {args.workdir}: results are written to a disk; give a folder")
    if args.model == "svm" and args.strategy == "multiworker":
        raise UsageError("--strategy multiworker: an SVM is no network; leave it out")
    if args.model == "svm" and any(o.startswith("train.precision=") for o in args.overrides):
        raise UsageError("--precision: an SVM is no network; leave it out")
    if args.test_root and not args.test_corpus:
        raise UsageError("--test-root is the folder of --test-corpus, which is not given")
    if args.test_corpus and args.protocol == "loso":
        raise UsageError("--protocol loso: with --test-corpus there are no folds; leave one out")
    if args.test_corpus and args.folds:
        raise UsageError(f"--folds {args.folds}: with --test-corpus there are no folds")
    cache = options.resolve_cache(args)
    corpus, utterances, hp = options.load_named_corpus(args, args.corpus, args.data_root, cache)
    settings = {"model": args.model, "corpus": corpus, "protocol": args.protocol}
    tested = None
    if args.test_corpus:
        tested_name, tested, tested_hp = options.load_named_corpus(
            args, args.test_corpus, args.test_root, cache
        )
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
            "utterances": run_directory.fingerprint(tested),
        }
        corpus = f"{corpus}-to-{tested_name}"
    settings |= {
        "folds": args.folds,
        "utterances": run_directory.fingerprint(utterances),
        "hparams": hp,
    }
    return Task(corpus, utterances, hp, tested, cache, settings)


if __name__ == "__main__":
    sys.exit(main())
