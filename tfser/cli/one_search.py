"""One search: its trials, and the training and test of its best setting.

A trial is `tfser-train --evaluate dev` in a process of its own, so that memory does not grow.
"""

import itertools
import logging
from dataclasses import replace
from pathlib import Path

from tfser.cli import spark_jobs
from tfser.cli.options import Options, format_flags, list_overrides, load_hyperparameters
from tfser.cli.task import Task
from tfser.config import search_space
from tfser.config.hparams import format_overlay, format_overrides
from tfser.distributed.subprocesses import run_training
from tfser.errors import ConflictError, TfserError
from tfser.plots.drawing_errors import keep_going
from tfser.search.sampler import Sampler
from tfser.search.summary import (
    best_trial,
    draw_search,
    event_file,
    format_outcome,
    format_parameters,
    format_summary,
    trial_folder_name,
    write_event,
)
from tfser.search.trials import (
    finished_trials,
    read_dev_scores,
    read_trials,
    run_trial,
    write_trials,
)
from tfser.storage import atomic_files, run_directory

log = logging.getLogger("tfser")

WEIGHTS = ("*.keras", "*.npz")  # deleted when a trial has its score: some hundred MB


def load_space(options: Options) -> dict:
    """Load the search space of the model or of --hparams, without what --set sets."""
    return search_space.load_search_space(
        options.model, overlay=options.hparams, overrides=list_overrides(options)
    )


def open_search(options: Options, task: Task, space: dict, folder: Path):
    """Open the folder of a search, as `run_directory.open_run` does."""
    settings = task.settings | {
        "search": space,
        "algorithm": options.algorithm,
        "seed": options.seed,
        "seeds": options.seeds,
        "stop_hopeless": options.stop_hopeless,
    }
    if options.trial_seeds is not None:
        settings["trial_seeds"] = options.trial_seeds
    if options.folds:  # a search goes on with the groups of its first trials alone
        settings["speaker_groups"] = "even in gender and class"
    if options.nested:  # a search of a fold has no more trials once its best was tested
        settings |= {"nested": options.nested, "evals": options.evals}
    seeds = range(options.seed, options.seed + options.seeds)
    return run_directory.open_run(folder, settings, seeds)


def run_search(
    options: Options, task: Task, tested: Options, folder: Path, n_searches: int = 1
) -> tuple[list[dict], str]:
    """Search, then train and test the best setting: (trials, stdout of the test).

    Args:
        options: of the trials.
        tested: of the training and test of the best setting.
        n_searches: see `run_trials`.

    Raises TfserError where all trials fail, or the best setting does.
    """
    space = load_space(options)
    with open_search(options, task, space, folder):
        trials = run_trials(options, space, folder, n_searches)
        best = best_trial(trials)
        if best is None:
            raise TfserError(
                f"all {len(trials)} trials failed, the last one: {trials[-1]['reason']}; correct "
                f"[search] or the command, and delete {folder} or use another --workdir"
            )
        log.info("the best setting is trained and tested: %s", folder / "best")
        code, out, reason = run_training(format_flags(tested, best["parameters"]), folder / "best")
        if code:
            raise TfserError(f"the best setting, {folder / 'best'}: {reason}")
    return trials, out


def run_trials(options: Options, space: dict, folder: Path, n_searches: int = 1) -> list[dict]:
    """Run the trials of a search and return them; trials in trials.jsonl are not run again.

    A trial is {"trial", "parameters", "status" ("ok", "failed" or "stopped"), "score" (on dev, None
    unless ok), "measure" ("UAR" or "CCC"), "seconds", "reason" (of another status than ok)}. The
    file also holds trials of status "begun". "after" lists the trials whose scores the sampler
    knew, unless it knew all trials before.

    n_searches: searches of this size from this one on, for an estimate of their time.

    Raises:
        ConflictError: the trials there are not those of this command, or their best was tested.
    """
    of_trials = replace(options, seeds=options.trial_seeds or options.seeds)
    path = folder / "trials.jsonl"
    trials = read_trials(path)
    n_finished = len(finished_trials(trials))
    if n_finished < options.evals and (folder / "best").exists():
        raise ConflictError(
            f"the best of {n_finished} trials was tested in {folder / 'best'}, and more "
            "would be chosen after a look at the test part; use another --workdir, or delete that "
            "folder"
        )
    sampler = Sampler(space, options.algorithm, options.seed)
    for n, trial in enumerate(trials):
        scores = {k: trials[k]["score"] for k in trial.get("after", range(n))}
        if sampler.propose(scores) != trial["parameters"]:
            raise ConflictError(
                f"trial {n} in {path} is not what Hyperopt proposes, as of another version; "
                "use another --workdir"
            )

    def begin(n: int) -> dict:
        """Return the parameters of trial n: proposed now, or read if the trial was begun."""
        if n == len(trials):
            scores = {trial["trial"]: trial["score"] for trial in finished_trials(trials)}
            after = {} if len(scores) == n else {"after": sorted(scores)}
            parameters = sampler.propose(scores)
            trials.append({"trial": n, "parameters": parameters} | after | {"status": "begun"})
            write_trials(path, trials)
        parameters = trials[n]["parameters"]
        log.info("trial %d, of %d in all: %s", n, options.evals, format_parameters(parameters))
        return parameters

    def end(n: int, result: dict) -> None:
        """Write the result of trial n and delete its networks."""
        trials[n] |= result
        write_trials(path, trials)
        finish_trial(trials[n], folder)
        finished = finished_trials(trials)
        log.info("%s; %s", format_outcome(trials[n]), format_summary(finished))
        if len(finished) == 1 and n_searches > 1:
            minutes = n_searches * options.evals * trials[n]["seconds"] / 60
            log.info("%d searches with trials like it: about %.0f minutes", n_searches, minutes)
        n_networks = len(read_dev_scores(folder / trial_folder_name(n)))
        if options.stop_hopeless and len(finished) == 1 and n_networks == 1:
            log.warning("--stop-hopeless stops no trial: a trial of this command has one network")
        write_best(options, finished, space, folder)

    if finished := finished_trials(trials):  # a kill may have come between the steps of `end`
        for trial in finished:
            finish_trial(trial, folder)
        write_best(options, finished, space, folder)
    unfinished = [
        n for n in range(options.evals) if n >= len(trials) or trials[n]["status"] == "begun"
    ]
    if options.spark and unfinished:
        spark_jobs.run_trials(of_trials, sampler, unfinished, begin, end, folder)
    else:
        for n in unfinished:
            parameters = begin(n)
            flags = format_flags(of_trials, parameters)
            result = run_trial(
                flags, trials, n, parameters, folder, stop_hopeless=options.stop_hopeless
            )
            end(n, result)
    return finished_trials(trials)


def finish_trial(trial: dict, folder: Path) -> None:
    """Delete the networks of a finished trial and write its event for TensorBoard."""
    of_trial = folder / trial_folder_name(trial["trial"])
    for weights in itertools.chain(*map(of_trial.rglob, WEIGHTS)):
        weights.unlink()
    if not event_file(trial, folder / "events").exists():
        write_event(trial, folder / "events")


def write_best(options: Options, trials: list[dict], space: dict, folder: Path) -> None:
    """Write best.toml, an overlay of the differences from the model's file, and search.png."""
    title = (
        f"{options.model} on {options.corpus}, {options.protocol}, by {options.algorithm}, "
        f"seed {options.seed}"
    )
    if best := best_trial(trials):
        plain = Options(model=options.model, corpus=options.corpus, test_corpus=options.test_corpus)
        text = format_overlay(
            load_hyperparameters(plain, options.corpus),
            load_hyperparameters(options, options.corpus, format_overrides(best["parameters"])),
        )
        head = f"# tfser-search: {title}\n# {format_summary(trials)}\n"
        atomic_files.write_text(folder / "best.toml", head + text)
    with keep_going("search.png"):
        draw_search(trials, search_space.flatten_space(space), title, folder / "search.png")
