"""tfser-search --nested: a search inside each outer fold, for a score without its optimism.

A plain search selects one setting by the dev sets of all folds, whose speakers other folds test.
Here the test speakers of an outer fold are left out of the corpus of its search (`--held-out` of
tfser-train), and the best setting is tested on them once.
"""

import importlib
import logging
from dataclasses import replace
from pathlib import Path

from tfser import tensorflow_startup
from tfser.cli.one_search import load_space, open_search, run_search
from tfser.cli.options import Options
from tfser.cli.task import Task, make_run, prepare_task
from tfser.config.hparams import format_toml
from tfser.errors import UsageError
from tfser.evaluation import printed_results
from tfser.evaluation.nested_folds import list_speakers, score_folds
from tfser.search.summary import best_trial, format_parameters
from tfser.storage import atomic_files

log = logging.getLogger("tfser")


def plan_folds(options: Options, task: Task) -> list[dict]:
    """Return the speakers of each outer fold; raise UsageError where no search can be nested."""
    if options.spark is not None:
        raise UsageError("--nested runs its trials one by one; leave --spark out")
    if options.test_corpus:
        raise UsageError("--nested has folds of one corpus; leave --test-corpus out")
    if task.protocol == "split":
        raise UsageError(
            "--nested with --protocol split: a search on the corpus's own split never looks at its "
            "test part before the best setting; leave --nested out"
        )
    if task.protocol != "loso":
        raise UsageError(
            f"--nested leaves speakers out, and the folds of --protocol {task.protocol} may not; "
            "give --protocol loso"
        )
    if task.hp["labels"]["target"] == "ratings":
        raise UsageError("--nested pools predicted classes; labels.target=ratings has none")
    utterances, run = select_utterances(options, task), make_run(Path(), options, task, None)
    splits = import_splits(options).make_splits(utterances, task.hp, run, options.seed)
    return list_speakers(utterances, splits, options.nested)


def select_utterances(options: Options, task: Task) -> list:
    """Select the utterances by [labels], as the model's training does."""
    return import_splits(options).select_utterances(task.utterances, task.hp)


def import_splits(options: Options):
    """Import the module with the splits of the model."""
    return importlib.import_module(f"tfser.models.{options.model}.splits")


def run_nested(options: Options, task: Task, folder: Path) -> None:
    """Search in each outer fold, test its best setting, then write and print the pooled scores."""
    folds = plan_folds(options, task)
    with open_search(options, task, load_space(options), folder):
        log.info("%s", describe_cost(options, len(folds)))
        rows = [search_fold(options, folder, number, folds) for number in range(len(folds))]
        scores = write_results(options, task, folder, rows)
    for row in rows:
        print(format_fold(row))
    print(f"settings of the folds: {folder / 'settings.csv'}")
    printed_results.print_results(scores, folder)


def fold_folder(folder: Path, number: int) -> Path:
    """Return the folder of the search of an outer fold."""
    return folder / f"fold-{number:02}"


def search_fold(options: Options, folder: Path, number: int, folds: list[dict]) -> dict:
    """Search in an outer fold and test its best setting; return a row of settings.csv."""
    fold, of_fold = folds[number], fold_folder(folder, number)
    log.info("outer fold %d of %d tests %s", number, len(folds), " ".join(fold["test"]))
    file = of_fold.with_suffix(".json").absolute()
    atomic_files.write_json(file, fold)
    inner = replace(options, nested=None, held_out=file, folds=options.nested)
    tested = replace(inner, protocol="split", folds=None)
    task = prepare_task(inner)
    trials, _ = run_search(inner, task, tested, of_fold, len(folds) - number)
    best = best_trial(trials)
    return {
        "fold": number,
        "test_speakers": " ".join(fold["test"]),
        "dev_uar": best["score"],
        "test_uar": atomic_files.read_dict(of_fold / "best" / "scores.json")["uar"],
        "parameters": best["parameters"],
    }


def write_results(options: Options, task: Task, folder: Path, rows: list[dict]) -> dict:
    """Write settings.csv and the results of a run over all outer folds; return the scores."""
    names = list(dict.fromkeys(name for row in rows for name in row["parameters"]))
    settings = [
        {name: value for name, value in row.items() if name != "parameters"}
        | {
            name: format_toml(row["parameters"][name]) if name in row["parameters"] else ""
            for name in names  # a setting may belong to one option of another setting
        }
        for row in rows
    ]
    atomic_files.write_csv(folder / "settings.csv", settings)
    facts = [f"nested search, {options.evals} trials of {options.nested} inner folds a fold"]
    with tensorflow_startup.quiet():
        return score_folds(
            make_run(folder, options, task, None),
            options.model,
            select_utterances(options, task),
            [fold_folder(folder, row["fold"]) / "best" for row in rows],
            facts,
            {"nested": options.nested, "evals": options.evals},
        )


def format_fold(row: dict) -> str:
    """Format the setting of an outer fold and its scores for a terminal."""
    return (
        f"fold {row['fold']:02}, tests {row['test_speakers']}: "
        f"{format_parameters(row['parameters'])}, dev UAR {100 * row['dev_uar']:.1f} %, "
        f"test UAR {100 * row['test_uar']:.1f} %"
    )


def describe_cost(options: Options, n_folds: int) -> str:
    """Describe the number of trainings of a nested search, before it starts."""
    n_trial_seeds = options.trial_seeds or options.seeds
    n_of_trials = options.evals * options.nested * n_trial_seeds
    total = n_folds * (n_of_trials + options.seeds)

    def seeds(n):
        return f" x {n} seeds" if n > 1 else ""

    return (
        f"nested search: {n_folds} outer folds x ({options.evals} trials x {options.nested} inner "
        f"folds{seeds(n_trial_seeds)} + {options.seeds} of the best setting) = {total:,} trainings"
    )
