"""tfser-search: searches the hyperparameters of one system, by the dev scores of a corpus's folds.

The [search] table of hparams/<model>.toml holds the space (see `load_search_space`); Hyperopt
proposes settings. A trial is `tfser-train --evaluate dev` in a process of its own, so that memory
does not grow. The test sets are used once, for the best setting.

One setting is selected for all folds. The dev set of a fold may hold speakers whom another fold
tests: the test score of the best setting is optimistic by the gain of the selection on them. Where
each speaker has networks of its own (BEGAN's default), and with a corpus's own parts, no trial
trains on an utterance that is tested, and no trial is scored on one.
"""

import argparse
import itertools
import logging
import sys
from dataclasses import replace
from pathlib import Path

from tfser.cli import base, spark_jobs, train
from tfser.cli.options import Options, format_flags, list_overrides, load_hyperparameters
from tfser.cli.task import prepare_task
from tfser.cli.zoo import SVMS
from tfser.config import search_space
from tfser.config.hparams import format_overlay, format_overrides, format_toml
from tfser.distributed import spark_session
from tfser.distributed.subprocesses import run_training
from tfser.errors import ConflictError, TfserError, UsageError
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
    FEWEST,
    finished_trials,
    read_dev_scores,
    read_trials,
    run_trial,
    write_trials,
)
from tfser.storage import atomic_files, run_directory, s3

log = logging.getLogger("tfser")

EPILOG = """\
exit codes: 0 done, 1 all trials failed, 2 usage or configuration, 3 data, 4 the search directory
holds another search or is in use, 130 interrupted. The same command continues where it stopped.

One setting is selected for all folds, by the dev sets of all folds. A speaker of the dev set of one
fold may be in the test set of another fold, where speakers are left out.

example: tfser-search --model began --corpus savee --seeds 10 --trial-seeds 1
example: tfser-search --model svm --corpus emodb --protocol loso --evals 20
"""
WEIGHTS = ("*.keras", "*.npz")  # deleted when a trial has its score: some hundred MB


def parser() -> argparse.ArgumentParser:
    """Return the parser of tfser-search: the flags of tfser-train, and those of the search."""
    p = base.Parser("tfser-search", __doc__.partition(": ")[2].partition("\n")[0], EPILOG)
    train.add_flags(p)
    p.add_argument(
        "--evals", type=int, default=20, metavar="N", help="number of trials (default: 20)"
    )
    p.add_argument(
        "--algorithm",
        choices=("tpe", "random", "anneal"),
        default="tpe",
        help="Hyperopt's algorithm, seeded by --seed (default: tpe)",
    )
    p.add_argument(
        "--trial-seeds",
        type=int,
        metavar="N",
        help="number of seeds of a trial, from --seed upward (default: --seeds, the number of the "
        "best setting's test)",
    )
    p.add_argument(
        "--stop-hopeless",
        action="store_true",
        help="stop a trial whose first networks have dev scores below the median of the same "
        f"networks of the trials before, once there are {FEWEST} trials (not of auxvae, encoder, "
        "svm)",
    )
    p.add_argument(
        "--workdir",
        type=s3.to_path,
        metavar="DIR",
        help="search directory (default: searches/<model>-<corpus>-<protocol>)",
    )
    return p


def main(argv=None) -> int:
    """Run the command and return its exit code."""
    return base.run_command(search, base.parse(parser(), argv, Options))


def search(options: Options) -> None:
    """Check the options before reading audio, search, then train and test the best setting."""
    if options.evals < 1:
        raise UsageError(f"--evals {options.evals}: must be 1 or more")
    if options.trial_seeds is not None and not 1 <= options.trial_seeds <= options.seeds:
        raise UsageError(f"--trial-seeds {options.trial_seeds}: must be 1 to --seeds")
    if options.stop_hopeless and options.model in (*SVMS, "auxvae"):
        raise UsageError(
            f"--stop-hopeless: {options.model} has no dev score before its trial ends; leave it out"
        )
    if options.strategy == "multiworker":
        raise UsageError("--strategy multiworker is for one training; leave it out, or use --spark")
    if options.spark is not None:
        spark_session.check_master(options.spark)
    if options.protocol == "all":
        raise UsageError("--protocol all has no dev scores to compare; search with loso or paper")
    task = prepare_task(options)
    options = replace(options, protocol=task.protocol)
    if task.hp["labels"]["target"] == "attributes":
        raise UsageError(
            "labels.target=attributes has three scores, and a search compares one; give --target "
            "activation, valence or dominance"
        )
    overrides = list_overrides(options)
    space = search_space.load_search_space(
        options.model, overlay=options.hparams, overrides=overrides
    )
    folder = options.workdir or Path(
        "searches", f"{options.model}-{task.corpus}-{options.protocol}"
    )
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
    with run_directory.open_run(
        folder, settings, range(options.seed, options.seed + options.seeds)
    ):
        trials = run_trials(options, space, folder)
        best = best_trial(trials)
        if best is None:
            raise TfserError(
                f"all {len(trials)} trials failed, the last one: {trials[-1]['reason']}; correct "
                f"[search] or the command, and delete {folder} or use another --workdir"
            )
        log.info("the best setting is trained and tested: %s", folder / "best")
        code, out, reason = run_training(format_flags(options, best["parameters"]), folder / "best")
        if code:
            raise TfserError(f"the best setting, {folder / 'best'}: {reason}")
    print(format_summary(trials))
    for name, value in best["parameters"].items():
        print(f"{name} = {format_toml(value)}")
    print(f"trials, best.toml and pictures: {folder}")
    print(out.splitlines()[-1])


def run_trials(options: Options, space: dict, folder: Path) -> list[dict]:
    """Run the trials of a search and return them; trials in trials.jsonl are not run again.

    A trial is {"trial", "parameters", "status" ("ok", "failed" or "stopped"), "score" (on dev, None
    unless ok), "measure" ("UAR" or "CCC"), "seconds", "reason" (of another status than ok)}. The
    file also holds trials of status "begun". "after" lists the trials whose scores the sampler
    knew, unless it knew all trials before.

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


if __name__ == "__main__":
    sys.exit(main())
