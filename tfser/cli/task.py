"""The task of tfser-train and tfser-search: options and a corpus, checked before any audio."""

import importlib
import inspect
import logging
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tfser.cli.options import (
    Options,
    check_minimum,
    check_svm,
    check_unlabelled_corpora,
    is_table,
    load_named_corpus,
    resolve_cache,
    resolve_protocol,
)
from tfser.cli.zoo import check_model
from tfser.config.hparams import searched_task
from tfser.corpora.labels import select_by_labels, select_common_classes
from tfser.errors import UsageError
from tfser.evaluation import protocols
from tfser.evaluation.nested_folds import hold_out_speakers
from tfser.inference import source_run
from tfser.storage import atomic_files, run_directory, s3
from tfser.training.balance import check_balance

log = logging.getLogger("tfser")

CONTINUING = ("aae", "acnn", "epr")  # models with train.init
# How other models start from a network, for the error.
STARTS = {
    "auxvae": "vae.weights takes the vae.keras of an earlier run",
    "began": "began.weights takes the began.keras of an earlier run",
    "encoder": "an SVM has no network; --model svm --set features.from=NAME learns from one",
    "svm": "an SVM has no network; --set features.from=NAME learns from the layer of one",
}


class Task(NamedTuple):
    """A training task, checked as far as possible without reading audio."""

    corpus: str  # its name in results
    utterances: list
    hp: dict
    test_utterances: list | None  # those of --test-corpus
    cache: Path
    protocol: str
    settings: dict  # a resumed run must have been started with equal settings


def prepare_task(options: Options) -> Task:
    """Check the options and load the corpus; raise UsageError or DataError."""
    check_model(options.model)
    check_minimum(options, seeds=1, seed=0, folds=2, max_bad=0)
    if options.seed + options.seeds > 2**32:
        raise UsageError(f"--seed {options.seed}: seeds are numbers up to {2**32 - 1}")
    if isinstance(options.workdir, s3.S3Path):
        raise UsageError(
            f"--workdir {options.workdir}: results are written to a disk; give a folder"
        )
    check_svm(options, options.protocol or "paper")
    check_continuing(options)
    if options.test_root and not options.test_corpus:
        raise UsageError("--test-root is the folder of --test-corpus, which is not given")
    if options.test_corpus and options.protocol not in (None, "paper"):
        raise UsageError(
            f"--protocol {options.protocol}: with --test-corpus there are no folds; leave one out"
        )
    if options.test_corpus and options.folds:
        raise UsageError(f"--folds {options.folds}: with --test-corpus there are no folds")
    cache = resolve_cache(options)
    corpus, utterances, hp = load_named_corpus(options, options.corpus, options.data_root, cache)
    check_unlabelled_corpora(hp)
    check_source(options.model, hp)
    protocol = resolve_protocol(options, utterances, hp)
    if protocol == "all" and options.folds:
        raise UsageError(f"--folds {options.folds}: --protocol all is one training; leave it out")
    check_svm(options, protocol)
    if options.held_out:
        fold = atomic_files.read_dict(options.held_out)
        utterances = hold_out_speakers(utterances, fold, protocol)
    settings = {"model": options.model, "corpus": corpus, "protocol": protocol}
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
    task = Task(corpus, utterances, hp, test_utterances, cache, protocol, settings)
    check_folds(options, task)
    return task


def check_continuing(options: Options) -> None:
    """Raise UsageError for --init and train.freeze of a model that has neither."""
    given = [o for o in options.overrides if o.startswith(("train.init=", "train.freeze="))]
    if given and options.model not in CONTINUING:
        flag = "--init" if given[0].startswith("train.init=") else "train.freeze"
        raise UsageError(
            f"{flag} is of {', '.join(CONTINUING)}; {options.model}: {STARTS[options.model]}"
        )


def check_source(model: str, hp) -> None:
    """Raise UsageError, ConflictError or DataError for a run or preset that hp cannot start from.

    Without TensorFlow, see `source_run`.
    """
    if model in CONTINUING:
        source_run.check_initial(model, hp)
    elif "from" in hp["features"]:
        source_run.check_features(hp["features"])


def make_run(folder: Path, options: Options, task: Task, parts) -> run_directory.Run:
    """Return the options of a paper's `train`."""
    # The search of a nested search's fold was not on the speakers who are tested.
    is_best = folder.name == "best" and (folder.parent / "trials.jsonl").exists()
    is_best = is_best and not options.held_out
    own = f"{task.corpus}/{task.protocol}"
    return run_directory.Run(
        folder=folder,
        cache=task.cache,
        corpus=task.corpus,
        protocol=task.protocol,
        n_folds=options.folds,
        seeds=tuple(range(options.seed, options.seed + options.seeds)),
        strategy=options.strategy,
        max_bad=options.max_bad,
        evaluate=options.evaluate,
        parts=parts,
        chosen_on=own if is_best else searched_task(options.hparams),
        **task.hp["audio"],
    )


def select_tested(task: Task) -> list:
    """Select the utterances of --test-corpus by its own [labels]."""
    return select_by_labels(task.test_utterances, **task.settings["tested"]["labels"])


def check_folds(options: Options, task: Task) -> None:
    """Make the folds of the first seed, without TensorFlow, so that a wrong command fails at once.

    The training makes the same folds and logs what they lack: here logs are of the protocol alone.
    """
    splits = importlib.import_module(f"tfser.models.{options.model}.splits")
    target = task.hp["labels"]["target"]
    if target == "attributes":  # each is a run of its own
        return
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        utterances, more = splits.select_utterances(task.utterances, task.hp), {}
        if task.test_utterances is not None:
            if "n_trained" not in inspect.signature(splits.make_splits).parameters:
                raise UsageError(
                    f"--test-corpus: {options.model} has no test across corpora; leave it out"
                )
            utterances, tested = select_common_classes(utterances, select_tested(task))
            more = {"n_trained": len(utterances)}
            utterances = utterances + tested
        elif task.protocol == "split":
            log.setLevel(level)
            protocols.check_split(utterances, options.folds)
            log.setLevel(logging.ERROR)
        run = make_run(Path(), options, task, None)
        folds = splits.make_splits(utterances, task.hp, run, options.seed, **more)
        check_balance(options.model, task.hp, utterances, folds)
    finally:
        log.setLevel(level)
    if is_table(options.corpus) and not more:
        protocols.warn_of_known_speakers(utterances, folds, task.protocol, target)
        if target not in ("speaker", "gender", "ratings"):
            protocols.warn_if_confounded(utterances)
