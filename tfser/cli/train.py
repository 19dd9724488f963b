"""tfser-train: trains and evaluates one system of the zoo on one corpus."""

import argparse
import contextlib
import importlib
import itertools
import logging
import sys
from dataclasses import replace
from pathlib import Path

from tfser import tensorflow_startup
from tfser.cli import base, spark_jobs
from tfser.cli.options import Options, add_data_flags
from tfser.cli.task import Task, make_run, prepare_task, select_tested
from tfser.cli.zoo import describe_models
from tfser.config.hparams import format_toml
from tfser.corpora import omg
from tfser.corpora.labels import ATTRIBUTES
from tfser.corpora.loader import corpus_root, describe_corpus
from tfser.distributed import multi_worker, spark_session
from tfser.errors import ConflictError, UsageError
from tfser.evaluation.protocols import PROTOCOLS
from tfser.storage import run_directory, s3

log = logging.getLogger("tfser")

EPILOG = f"""\
models:
{describe_models()}

--protocol: the default of a corpus above is paper. That of a table of your own is split where it
has a column split, else loso, and paper with fewer than 3 speakers. RESULT says protocol=,
speaker_independent=yes or no, and majority, the share of the commonest class: the wa of a constant
answer. paper, by model: encoder, epr, svm: random folds that mix speakers; aae: the two speakers of
a session validate and test in turn, without sessions leave one speaker out; acnn: leave one session
out, without sessions five groups of speakers; auxvae: the corpus's own parts, else random fifths;
began: an own network for each speaker. loso, of all models: leave one speaker out. split, of all
models: train, dev (or val, valid, validation, devel) and test of the corpus; without dev a random
share of each class of train takes its place.

exit codes: 0 done, 1 the run failed, 2 usage or configuration, 3 data, 4 the run directory holds
another run or is in use, 130 interrupted. The same command continues where it stopped.

example: tfser-train --model epr --corpus casia --data-root ~/corpora/CASIA --protocol loso

--init and features.from (svm): where speakers of a test set trained the preset or run, RESULT says
init=seen_speakers (from=seen_speakers) and speaker_independent=no. Names are compared within one
corpus.

example: tfser-train --model epr --hparams epr.small --corpus ravdess --protocol loso --folds 4
         --init epr_emodb
example: tfser-train --model svm --corpus ravdess --protocol loso --set features.from=epr_emodb
         --set features.layer=hidden
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
    # For the trials and tests of tfser-search --nested: a file with the speakers of an outer fold.
    p.add_argument("--held-out", type=Path, help=argparse.SUPPRESS)
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
        help="test on another corpus, train on all of --corpus (acnn, encoder, svm)",
    )
    p.add_argument(
        "--test-root", type=s3.to_path, metavar="DIR", help="the folder of --test-corpus"
    )
    p.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        help="paper: the folds of the model's paper (see below); loso: leave one speaker out, no "
        "speaker of the test set is in the training set; split: the corpus's own train, dev and "
        "test; all: train on all utterances, for a network to use (default: paper; of a table "
        "split or loso, see below)",
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
        "--balance",
        metavar="NAMES",
        help="class, gender or class,gender: weights of the training utterances, with which "
        "these groups count alike in the loss: svm.balance of encoder and svm, train.balance of "
        "aae, acnn and epr",
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
        "--init",
        action="append",
        dest="overrides",
        type=lambda name: f"train.init={format_toml(name)}",
        metavar="NAME",
        help="start from the network of a preset or a run directory of the same model, as --set "
        "train.init (aae, acnn, epr): with the same classes it continues, with other classes it "
        "gets a new head; --set train.freeze='[\"conv1_*\"]' keeps layers",
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


def train(options: Options) -> None:
    """Check the options and the corpus before reading audio, then train and print the scores."""
    if options.spark is not None:
        spark_session.check_master(options.spark)
    task = prepare_task(options)
    folder = options.workdir or Path("runs", f"{options.model}-{task.corpus}-{task.protocol}")
    if task.hp["labels"]["target"] == "attributes":
        return train_attributes(options, folder)
    options = replace(options, protocol=task.protocol)
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
    run = make_run(folder if options.part is None else folder.parents[1], options, task, parts)
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
            log.info("tested on %s", describe_corpus(options.test_corpus, task.test_utterances))
            more = [select_tested(task)]
        with precision_policy:
            scores = train_paper(task.utterances, task.hp, run, *more)
        if scores is None:  # another process computes the scores
            return
        predefined = "ccc_arousal" in scores and scores["folds"] == 1 and options.evaluate == "test"
        if options.corpus == "omg" and predefined:
            omg.submit(corpus_root("omg", options.data_root), folder, task.utterances)
    from tfser.evaluation import printed_results  # imports after all checks

    printed_results.print_results(scores, folder)


def _import_paper(model: str, hp: dict):
    """Import TensorFlow and the model's experiment: (its `train`, the context of its precision).

    `svm` on openSMILE needs no Keras, whose import takes longer than its training.
    """
    with tensorflow_startup.quiet():
        if model == "svm" and not hp["features"]["from"]:
            tensorflow_startup.import_tensorflow()
        else:
            tensorflow_startup.import_keras()
        paper = importlib.import_module(f"tfser.models.{model}.experiment")
    if "train" not in hp:  # an SVM has no precision
        return paper.train, contextlib.nullcontext()
    from tfser.training import mixed_precision

    return paper.train, mixed_precision.precision_policy(hp["train"]["precision"])


if __name__ == "__main__":
    sys.exit(main())
