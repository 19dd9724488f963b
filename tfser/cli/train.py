"""tfser-train: trains and evaluates one system of the zoo on one corpus."""

import argparse
import contextlib
import importlib
import inspect
import itertools
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tfser import tensorflow_startup
from tfser.cli import base, spark_jobs
from tfser.cli.options import (
    Options,
    add_data_flags,
    check_minimum,
    check_model,
    check_svm,
    describe_models,
    load_named_corpus,
    resolve_cache,
)
from tfser.corpora import omg
from tfser.corpora.labels import ATTRIBUTES, select_by_labels
from tfser.corpora.loader import corpus_root, describe_corpus
from tfser.distributed import multi_worker, spark_session
from tfser.errors import ConflictError, UsageError
from tfser.storage import run_directory, s3

log = logging.getLogger("tfser")

EPILOG = f"""\
models:
{describe_models()}

--protocol paper, by model, on a table of your own as on a corpus: epr, svm: random folds that mix
speakers; aae: the two speakers of a session validate and test in turn, without sessions leave one
speaker out; acnn: leave one session out, without sessions five groups of speakers; auxvae: the
table's own parts train, dev, test, else random fifths; began: an own network for each speaker.
RESULT says speaker_independent=yes or no, and majority, the share of the commonest class: the wa of
a constant answer. --protocol loso is the same for all models.

exit codes: 0 done, 1 the run failed, 2 usage or configuration, 3 data, 4 the run directory holds
another run or is in use, 130 interrupted. The same command continues where it stopped.

example: tfser-train --model epr --corpus casia --data-root ~/corpora/CASIA --protocol loso
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of tfser-train, without importing TensorFlow."""
    p = base.Parser("tfser-train", __doc__.partition(": ")[2], EPILOG)
    add_flags(p)
    p.add_argument(
        "--evaluate",
        choices=("test", "dev"),
        default="test",
        help="dev: score each fold on its dev set and leave its test set alone, to compare "
        "settings; this is no result (default: test)",
    )
    p.add_argument(
        "--workdir",
        type=s3.to_path,
        metavar="DIR",
        help="run directory (default: runs/<model>-<corpus>-<protocol>)",
    )
    # For the tasks of --spark: no fold, or this fold, of the run two folders above --workdir.
    p.add_argument("--part", type=_parts, help=argparse.SUPPRESS)
    return p


def _parts(text: str) -> frozenset:
    """Parse SEED/FOLD or none into the `parts` of a run."""
    return frozenset() if text == "none" else frozenset([tuple(map(int, text.split("/")))])


def add_flags(p: argparse.ArgumentParser) -> None:
    """Add the flags of tfser-train and tfser-search."""
    add_data_flags(p)
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
        help="paper: the folds of the model's paper (see below); loso: leave one speaker out, no "
        "speaker of the test set is in the training set (default: paper)",
    )
    p.add_argument("--seed", type=int, default=0, metavar="N", help="first seed (default: 0)")
    p.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="N",
        help="number of seeds, from --seed upward (default: 1)",
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
        help="precision of the networks' layers, as --set train.precision: float32, "
        "mixed_bfloat16 or mixed_float16 (default: float32)",
    )
    p.add_argument(
        "--spark",
        metavar="MASTER",
        help="run folds and seeds (tfser-search: trials) as tasks of Spark: local[2] for two "
        "processes on this machine, or the URL of a cluster (needs tfser[spark] and Java)",
    )


def main(argv=None) -> int:
    """Run the command and return its exit code."""
    return base.run_command(train, base.parse(parser(), argv, Options))


class Task(NamedTuple):
    """A training task, checked as far as possible without reading audio."""

    corpus: str  # its name in results
    utterances: list
    hp: dict
    test_utterances: list | None  # those of --test-corpus
    cache: Path
    settings: dict  # a resumed run must have been started with equal settings


def train(options: Options) -> None:
    """Check the options and the corpus before reading audio, then train and print the scores."""
    if options.spark is not None:
        spark_session.check_master(options.spark)
    task = prepare_task(options)
    folder = options.workdir or Path("runs", f"{options.model}-{task.corpus}-{options.protocol}")
    if task.hp["labels"]["target"] == "attributes":
        return train_attributes(options, folder)
    if options.strategy != "multiworker":
        return train_in_folder(folder, options, task)
    if options.spark is not None:
        raise UsageError("--spark and --strategy multiworker are two ways; leave one of them out")
    first = {"seed": options.seed, "seeds": options.seeds, "max_bad": options.max_bad}
    with multi_worker.join_cluster(
        {**task.settings, **first, "evaluate": options.evaluate}, folder
    ) as own:
        train_in_folder(own, options, task)


def train_attributes(options: Options, folder: Path) -> None:
    """Train a run for each attribute, in folder/<attribute>: a row of table 1 of the AAE paper."""
    if options.strategy == "multiworker":
        raise UsageError("--strategy multiworker trains one target; give --target activation")
    if (folder / "hparams.json").exists():
        raise ConflictError(f"{folder} holds another run; use another --workdir, or delete it")
    for attribute in ATTRIBUTES:
        train(replace(options, target=attribute, workdir=folder / attribute))


def train_in_folder(folder: Path, options: Options, task: Task) -> None:
    """Train in a run directory, together with the other worker processes, and print the scores."""
    parts = options.part
    if not multi_worker.is_chief():  # trains every fold and leaves the scores to the chief
        seeds = range(options.seed, options.seed + options.seeds)
        parts = frozenset(itertools.product(seeds, range(len(task.utterances))))
    run = run_directory.Run(
        folder=folder if options.part is None else folder.parents[1],
        cache=task.cache,
        corpus=task.corpus,
        protocol=options.protocol,
        n_folds=options.folds,
        seeds=tuple(range(options.seed, options.seed + options.seeds)),
        strategy=options.strategy,
        max_bad=options.max_bad,
        evaluate=options.evaluate,
        parts=parts,
        **task.hp["audio"],
    )
    # Runs with --evaluate test do not have the key: older ones were started without it.
    settings = task.settings | ({"evaluate": "dev"} if options.evaluate == "dev" else {})
    with run_directory.open_run(folder, settings, run.seeds):
        for lock in folder.glob("tasks/*/.lock"):  # a killed command may have left tasks running
            run_directory.wait_until_free(lock.parent)
        log.info("%s", describe_corpus(options.corpus, task.utterances))
        if options.spark:
            spark_jobs.train_folds(options, folder)
        train_paper, precision_policy = _import_paper(options.model, task.hp)
        more = []
        if task.test_utterances is not None:
            if "tested" not in inspect.signature(train_paper).parameters:
                raise UsageError(
                    f"--test-corpus: {options.model} has no test across corpora; leave it out"
                )
            log.info("tested on %s", describe_corpus(options.test_corpus, task.test_utterances))
            more = [select_by_labels(task.test_utterances, **settings["tested"]["labels"])]
        with precision_policy:
            scores = train_paper(task.utterances, task.hp, run, *more)
        if scores is None:  # another process computes the scores
            return
        predefined = "ccc_arousal" in scores and scores["folds"] == 1 and options.evaluate == "test"
        if options.corpus == "omg" and predefined:
            omg.submit(corpus_root("omg", options.data_root), folder, task.utterances)
    from tfser.evaluation import classification_report  # imports TensorFlow

    classification_report.print_results(scores, folder)


def _import_paper(model: str, hp: dict):
    """Import TensorFlow and the model's experiment: (its `train`, the context of its precision).

    An SVM needs no Keras, whose import takes longer than its training.
    """
    with tensorflow_startup.quiet():
        if model == "svm":
            tensorflow_startup.import_tensorflow()
        else:
            tensorflow_startup.import_keras()
        paper = importlib.import_module(f"tfser.models.{model}.experiment")
    if model == "svm":
        return paper.train, contextlib.nullcontext()
    from tfser.training import mixed_precision

    return paper.train, mixed_precision.precision_policy(hp["train"]["precision"])


def prepare_task(options: Options) -> Task:
    """Check the options and load the corpus; raise UsageError or DataError."""
    check_model(options.model)
    check_minimum(options, seeds=1, seed=0, folds=2, max_bad=0)
    if isinstance(options.workdir, s3.S3Path):
        raise UsageError(
            f"--workdir {options.workdir}: results are written to a disk; give a folder"
        )
    check_svm(options)
    if options.test_root and not options.test_corpus:
        raise UsageError("--test-root is the folder of --test-corpus, which is not given")
    if options.test_corpus and options.protocol == "loso":
        raise UsageError("--protocol loso: with --test-corpus there are no folds; leave one out")
    if options.test_corpus and options.folds:
        raise UsageError(f"--folds {options.folds}: with --test-corpus there are no folds")
    cache = resolve_cache(options)
    corpus, utterances, hp = load_named_corpus(options, options.corpus, options.data_root, cache)
    settings = {"model": options.model, "corpus": corpus, "protocol": options.protocol}
    test_utterances = None
    if options.test_corpus:
        test_name, test_utterances, test_hp = load_named_corpus(
            options, options.test_corpus, options.test_root, cache
        )
        spans = [
            {(u.path.resolve(), u.start_seconds, u.end_seconds) for u in side}
            for side in (utterances, test_utterances)
        ]
        if common := len(spans[0] & spans[1]):
            raise UsageError(
                f"--test-corpus {options.test_corpus}: {common} of its utterances are those of "
                f"--corpus {options.corpus}, and would be tested and heard in training"
            )
        # A speaker "03" of each corpus would be one.
        test_utterances = [replace(u, speaker=f"{test_name}-{u.speaker}") for u in test_utterances]
        settings["tested"] = {
            "corpus": test_name,
            "labels": test_hp["labels"],
            "utterances": run_directory.fingerprint(test_utterances),
        }
        corpus = f"{corpus}-to-{test_name}"
    settings |= {
        "folds": options.folds,
        "utterances": run_directory.fingerprint(utterances),
        "hparams": hp,
    }
    return Task(corpus, utterances, hp, test_utterances, cache, settings)


if __name__ == "__main__":
    sys.exit(main())
