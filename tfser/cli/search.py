"""tfser-search: searches the hyperparameters of one system, by the dev scores of a corpus's folds.

The space is the [search] table of hparams/<model>.toml (see `load_search_space`), the algorithm one
of Hyperopt's. A trial is `tfser-train --evaluate dev` in a process of its own, so that memory
does not grow; the test part is looked at once, for the best setting.

One setting is chosen for all folds. The dev part of a fold may hold speakers that another fold
tests: the score of the best setting is optimistic by what choosing among the trials gains on them.
"""

import argparse
import itertools
import logging
import sys
from pathlib import Path

from tfser.cli import base, options, spark_jobs, train
from tfser.config import search_space
from tfser.config.hparams import format_overlay, format_toml
from tfser.distributed import spark_session
from tfser.distributed.subprocesses import format_flags, format_overrides, run_training
from tfser.errors import ConflictError, TfserError, UsageError
from tfser.search.sampler import Sampler
from tfser.search.summary import (
    best_trial,
    draw_search,
    format_outcome,
    format_parameters,
    format_summary,
    trial_folder_name,
    write_event,
)
from tfser.search.trials import FEWEST, finished_trials, read_trials, run_trial, write_trials
from tfser.storage import atomic_files, run_directory, s3

log = logging.getLogger("tfser")

EPILOG = """\
exit codes: 0 done, 1 all trials failed, 2 usage or configuration, 3 data, 4 the search directory
holds another search or is in use, 130 interrupted. The same command continues where it stopped.

One setting is chosen for all folds, by the dev parts of all of them: speakers of one fold's dev
part may be tested in another.

example: tfser-search --model svm --corpus emodb --protocol loso --evals 20
"""
WEIGHTS = ("*.keras", "*.npz")  # of a finished trial: some hundred MB, and its scores are known


def parser() -> argparse.ArgumentParser:
    """The flags of tfser-search: those of tfser-train, and how to search."""
    p = base.Parser("tfser-search", __doc__.partition(": ")[2].partition("\n")[0], EPILOG)
    train.add_flags(p)
    p.add_argument("--evals", type=int, default=20, metavar="N", help="trials (default: 20)")
    p.add_argument(
        "--algorithm",
        choices=("tpe", "random", "anneal"),
        default="tpe",
        help="who proposes the next setting, from --seed on (default: tpe)",
    )
    p.add_argument(
        "--stop-hopeless",
        action="store_true",
        help="stop a trial whose first networks are, on dev, below the median of those of the "
        f"trials before it, once there are {FEWEST}",
    )
    p.add_argument(
        "--workdir",
        type=s3.to_path,
        metavar="DIR",
        help="search directory (default: searches/<model>-<corpus>-<protocol>)",
    )
    return p


def main(argv=None) -> int:
    """Runs the command and returns its exit code."""
    return base.run_command(search, parser().parse_args(argv))


def search(args) -> None:
    """Checks everything that can be checked without audio, searches, tests the best setting."""
    if args.evals < 1:
        raise UsageError(f"--evals {args.evals}: must be 1 or more")
    if args.strategy == "multiworker":
        raise UsageError("--strategy multiworker is for one training; leave it out, or use --spark")
    if args.spark is not None:
        spark_session.check_master(args.spark)
    task = train.prepare_task(args)
    overrides = options.list_overrides(args)
    space = search_space.load_search_space(args.model, overlay=args.hparams, overrides=overrides)
    folder = args.workdir or Path("searches", f"{args.model}-{task.corpus}-{args.protocol}")
    settings = task.settings | {
        "search": space,
        "algorithm": args.algorithm,
        "seed": args.seed,
        "seeds": args.seeds,
        "stop_hopeless": args.stop_hopeless,
    }
    with run_directory.open_run(folder, settings, range(args.seed, args.seed + args.seeds)):
        trials = run_trials(args, space, folder)
        best = best_trial(trials)
        if best is None:
            raise TfserError(
                f"all {len(trials)} trials failed, the last one: {trials[-1]['reason']}; correct "
                f"[search] or the command, and delete {folder} or use another --workdir"
            )
        log.info("the best setting is trained and tested: %s", folder / "best")
        code, out, reason = run_training(format_flags(args, best["parameters"]), folder / "best")
        if code:
            raise TfserError(f"the best setting, {folder / 'best'}: {reason}")
    print(format_summary(trials))
    for name, value in best["parameters"].items():
        print(f"{name} = {format_toml(value)}")
    print(f"trials, best.toml and pictures: {folder}")
    print(out.splitlines()[-1])


def run_trials(args, space: dict, folder: Path) -> list[dict]:
    """The trials of a search; those that trials.jsonl holds already are only told to the algorithm.

    Each is {"trial", "parameters", "status" ("ok", "failed" or "stopped"), "score" (on dev, None
    unless ok) and its "measure" ("UAR" or "CCC"), "seconds", "reason" (of what is not plain)}. In
    the file are those that are "begun" as well; "after" are the trials whose scores were known to
    who proposed one, where these are not all before it.

    Raises:
        ConflictError: the trials there are not those of this command, or their best was tested.
    """
    path = folder / "trials.jsonl"
    trials = read_trials(path)
    n_finished = len(finished_trials(trials))
    if n_finished < args.evals and (folder / "best").exists():
        raise ConflictError(
            f"the best of {n_finished} trials was tested in {folder / 'best'}, and more "
            "would be chosen after a look at the test part; use another --workdir, or delete that "
            "folder"
        )
    proposals = Sampler(space, args.algorithm, args.seed)
    for n, trial in enumerate(trials):
        scores = {k: trials[k]["score"] for k in trial.get("after", range(n))}
        if proposals.next(scores) != trial["parameters"]:
            raise ConflictError(
                f"trial {n} in {path} is not what Hyperopt proposes, as of another version; "
                "use another --workdir"
            )

    def begin(n: int) -> dict:
        """Proposes the parameters of trial n, or takes those of a trial that was begun before."""
        if n == len(trials):
            scores = {trial["trial"]: trial["score"] for trial in finished_trials(trials)}
            after = {} if len(scores) == n else {"after": sorted(scores)}
            parameters = proposals.next(scores)
            trials.append({"trial": n, "parameters": parameters} | after | {"status": "begun"})
            write_trials(path, trials)
        parameters = trials[n]["parameters"]
        log.info("trial %d, of %d in all: %s", n, args.evals, format_parameters(parameters))
        return parameters

    def end(n: int, found: dict) -> None:
        """Writes down what trial n has come to."""
        trials[n] |= found
        write_trials(path, trials)
        for weights in itertools.chain(*map((folder / trial_folder_name(n)).rglob, WEIGHTS)):
            weights.unlink()
        known = finished_trials(trials)
        log.info("%s; %s", format_outcome(trials[n]), format_summary(known))
        write_best(args, known, space, folder)
        write_event(trials[n], folder / "events")

    open_ones = [n for n in range(args.evals) if n >= len(trials) or trials[n]["status"] == "begun"]
    if args.spark and open_ones:
        spark_jobs.run_trials(args, proposals, open_ones, begin, end, folder)
    else:
        for n in open_ones:
            parameters = begin(n)
            end(n, run_trial(args, trials, n, parameters, folder))
    return finished_trials(trials)


def write_best(args, trials: list[dict], space: dict, folder: Path) -> None:
    """best.toml, an overlay of all that differs from the model's file, and search.png."""
    of = f"{args.model} on {args.corpus}, {args.protocol}, by {args.algorithm}, seed {args.seed}"
    if best := best_trial(trials):
        plain = argparse.Namespace(model=args.model, hparams=None, overrides=[], target=None)
        text = format_overlay(
            options.load_hyperparameters(plain, args.corpus),
            options.load_hyperparameters(args, args.corpus, format_overrides(best["parameters"])),
        )
        head = f"# tfser-search: {of}\n# {format_summary(trials)}\n"
        atomic_files.write_bytes(folder / "best.toml", (head + text).encode())
    draw_search(trials, search_space.flatten_space(space), of, folder / "search.png")


if __name__ == "__main__":
    sys.exit(main())
