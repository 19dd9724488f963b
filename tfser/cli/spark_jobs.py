"""Trials of a search, and folds and seeds of a run, as tasks of Spark (`--spark`).

A task starts tfser-train in a process of its own, in the folder that all of them share: Spark
carries a few numbers. A worker that is killed takes its tfser-train with it; Spark tries the task
again, which waits for the folder to be free, and continues what was trained.
"""

import contextlib
import csv
import functools
import logging
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tfser.distributed import spark_session as spark
from tfser.distributed.subprocesses import format_flags, run_training
from tfser.errors import TfserError, error_of_exit_code
from tfser.search.sampler import decode_point, hyperopt_expressions
from tfser.search.summary import trial_folder_name
from tfser.storage import atomic_files, run_directory

log = logging.getLogger("tfser")

POLL_SECONDS = 0.2


def run_trials(args, proposals, numbers, begin, end, folder: Path) -> None:
    """Runs the trials `numbers` by Hyperopt's SparkTrials.

    Args:
        proposals: who proposes them, for their points.
        begin: function(n), called in order, once there is a place for trial n.
        end: function(n, found) takes what `trials.run_trial` has found.
    """
    import hyperopt

    logging.getLogger("hyperopt-spark").disabled = True
    errors = folder / "spark.txt"
    space = {
        "trial": hyperopt.hp.randint("trial", args.evals),
        "parameters": hyperopt_expressions(proposals.space),
    }
    objective = functools.partial(
        _trial, spark.current_place(), args, proposals.space, folder.resolve()
    )
    numbers, running = iter(numbers), {}  # of the trials, by the numbers that Hyperopt gives

    def wait_for_fewer_than(n_places, told):
        """Takes what has ended until a place is free."""
        while len(running) >= n_places:
            time.sleep(POLL_SECONDS)
            told.refresh()  # without those that were lost
            documents = {document["tid"]: document for document in told.trials}
            for tid, n in list(running.items()):
                document = documents.get(tid)
                if document is None or document["state"] == hyperopt.JOB_STATE_DONE:
                    end(n, _found(document, session, errors))
                    del running[tid]

    def propose(ids, domain, told, _):
        """Hyperopt's algorithm; it waits, since what is proposed early knows less."""
        try:
            n = next(numbers, None)
            wait_for_fewer_than(1 if n is None else n_at_once, told)
            if n is None:
                return []
            begin(n)
        except BaseException:
            spark.stop_session(session)  # Hyperopt would wait for what is running
            raise
        [tid] = ids
        running[tid] = n
        values = proposals.point(n) | {"trial": [n]}
        places = {name: [tid] * len(value) for name, value in values.items()}
        misc = {"tid": tid, "cmd": domain.cmd, "workdir": domain.workdir}
        misc |= {"idxs": places, "vals": values}
        return told.new_trial_docs([tid], [None], [domain.new_result()], [misc])

    try:
        with (
            spark.open_session(args.spark, args.evals, "trials", errors) as (session, n_at_once),
            contextlib.suppress(hyperopt.exceptions.AllTrialsFailed),  # it looks for the best
        ):
            hyperopt.fmin(
                objective,
                space,
                algo=propose,
                max_evals=args.evals + 1,  # more than there are: the last proposal is none
                trials=hyperopt.SparkTrials(n_at_once, spark_session=session),
                verbose=False,
                return_argmin=False,
            )
    finally:
        for n in running.values():
            run_directory.wait_until_free(folder / trial_folder_name(n))


def _found(document, session, errors: Path) -> dict:
    """What a trial's task has found, as `trials.run_trial` says it; of a lost one None is left."""
    if document:
        found, error = document["result"]["answer"]
        if error:
            raise error
        return found
    if not spark.is_alive(session):
        raise TfserError(f"Spark has ended, see {errors}; the same command continues")
    reason = f"its worker was lost {spark.ATTEMPTS} times, as where memory is used up; see {errors}"
    return {"status": "failed", "score": None, "measure": None, "seconds": 0.0, "reason": reason}


def _trial(place, args, space: dict, folder: Path, point: dict) -> dict:
    """A task: the trial at a point of the space of `run_trials`, as Hyperopt wants it."""
    import hyperopt

    from tfser.search import trials as search

    def run():
        trials = search.read_trials(folder / "trials.jsonl")
        parameters = decode_point(space, point["parameters"])
        return search.run_trial(args, trials, int(point["trial"]), parameters, folder)

    found, error = spark.run_in_place(place, run)
    if error or found["score"] is None:
        return {"status": hyperopt.STATUS_FAIL, "answer": (found, error)}
    return {"status": hyperopt.STATUS_OK, "loss": -found["score"], "answer": (found, error)}


def train_folds(args, folder: Path) -> None:
    """Trains the folds of all seeds, after what they share; the scores are left to the caller."""
    tasks = folder.resolve() / "tasks"
    tasks.mkdir(exist_ok=True)
    words = [*format_flags(args, {}), "--evaluate", args.evaluate]
    log.info("what all folds share is made first, see %s", tasks / "shared.txt")
    _check(run_training([*words, "--part", "none"], tasks / "shared"))
    with open(folder / "splits.csv", newline="") as file:
        parts = sorted({(int(row["seed"]), int(row["fold"])) for row in csv.DictReader(file)})
    places = {(seed, fold): tasks / f"seed-{seed}-fold-{fold:02}" for seed, fold in parts}
    open_ones = [part for part in parts if not (places[part] / "done").exists()]
    if not open_ones:
        return
    errors = tasks / "spark.txt"
    try:
        with spark.open_session(args.spark, len(open_ones), "folds", errors) as (
            session,
            n_at_once,
        ):

            def train(part):
                seed, fold = part
                arguments = [*words, "--part", f"{seed}/{fold}"], places[part]
                task = functools.partial(spark.run_in_place, place, run_training, *arguments)
                try:
                    [(found, error)] = (
                        session.sparkContext.parallelize([0], 1).map(lambda _: task()).collect()
                    )
                except Exception as failed:
                    why = (
                        spark.failure_reason(failed)
                        if spark.is_alive(session)
                        else "Spark has ended"
                    )
                    raise TfserError(
                        f"seed {seed}, fold {fold}: {why}; see {errors}; the same command continues"
                    ) from None
                if error:
                    raise error
                _check(found)
                atomic_files.write_bytes(places[part] / "done", b"")
                return part

            place = spark.current_place()
            with ThreadPoolExecutor(n_at_once) as pool:
                try:
                    futures = [pool.submit(train, part) for part in open_ones]
                    for n, future in enumerate(as_completed(futures), start=1):
                        seed, fold = future.result()
                        log.info("seed-%d fold-%02d: %d of %d", seed, fold, n, len(open_ones))
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    spark.stop_session(session)
                    raise
    finally:
        for part in open_ones:
            run_directory.wait_until_free(places[part])


def _check(found: tuple[int, str, str]) -> None:
    """Raises the error that `child` has found, if any."""
    code, _, reason = found
    if code:
        raise error_of_exit_code(code, reason)
