"""Trials of a search, and folds and seeds of a run, as tasks of Spark (`--spark`).

A task starts tfser-train in a process of its own, in a folder that all workers share: Spark
carries a few numbers. If a worker is killed, its tfser-train ends too. Spark tries the task again;
the new task waits until the folder is free and continues the training.
"""

import contextlib
import functools
import logging
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tfser.cli.options import Options, format_flags
from tfser.distributed import spark_session
from tfser.distributed.subprocesses import run_training
from tfser.errors import TfserError, error_of_exit_code
from tfser.search.sampler import decode_point, hyperopt_expressions
from tfser.search.summary import trial_folder_name
from tfser.storage import atomic_files, run_directory

log = logging.getLogger("tfser")

POLL_SECONDS = 0.2


def run_trials(options: Options, sampler, numbers, begin, end, folder: Path) -> None:
    """Run the trials `numbers` with Hyperopt's SparkTrials.

    Args:
        sampler: the `Sampler` that proposes the trials.
        begin: function(n), called in order, once Spark can run trial n.
        end: function(n, result) takes the result of `trials.run_trial`.
    """
    import hyperopt

    logging.getLogger("hyperopt-spark").disabled = True
    errors = folder / "spark.txt"
    space = {
        "trial": hyperopt.hp.randint("trial", options.evals),
        "parameters": hyperopt_expressions(sampler.space),
    }
    objective = functools.partial(
        _trial, spark_session.current_place(), options, sampler.space, folder.resolve()
    )
    numbers, running = iter(numbers), {}  # running: Hyperopt's number -> number of the trial

    def wait_for_fewer_than(n_running, history):
        """Collect results until fewer than n_running trials run."""
        while len(running) >= n_running:
            time.sleep(POLL_SECONDS)
            history.refresh()  # drops lost trials
            documents = {document["tid"]: document for document in history.trials}
            for tid, n in list(running.items()):
                document = documents.get(tid)
                if document is None or document["state"] == hyperopt.JOB_STATE_DONE:
                    end(n, _read_result(document, session, errors))
                    del running[tid]

    def propose(ids, domain, history, _):
        """Propose a trial to Hyperopt; wait first, since an early proposal knows fewer scores."""
        try:
            n = next(numbers, None)
            wait_for_fewer_than(1 if n is None else n_at_once, history)
            if n is None:
                return []
            begin(n)
        except BaseException:
            spark_session.stop_session(session)  # Hyperopt would wait for the running trials
            raise
        [tid] = ids
        running[tid] = n
        values = sampler.proposed_values(n) | {"trial": [n]}
        places = {name: [tid] * len(value) for name, value in values.items()}
        misc = {"tid": tid, "cmd": domain.cmd, "workdir": domain.workdir}
        misc |= {"idxs": places, "vals": values}
        return history.new_trial_docs([tid], [None], [domain.new_result()], [misc])

    try:
        with (
            spark_session.open_session(options.spark, options.evals, "trials", errors) as (
                session,
                n_at_once,
            ),
            contextlib.suppress(
                hyperopt.exceptions.AllTrialsFailed
            ),  # raised by the search for the best
        ):
            hyperopt.fmin(
                objective,
                space,
                algo=propose,
                max_evals=options.evals + 1,  # the last proposal is empty
                trials=hyperopt.SparkTrials(n_at_once, spark_session=session),
                verbose=False,
                return_argmin=False,
            )
    finally:
        for n in running.values():
            run_directory.wait_until_free(folder / trial_folder_name(n))


def _read_result(document, session, errors: Path) -> dict:
    """Return the result of a trial's task; document None: the task was lost."""
    if document:
        result, error = document["result"]["answer"]
        if error:
            raise error
        return result
    if not spark_session.is_alive(session):
        raise TfserError(f"Spark has ended, see {errors}; the same command continues")
    reason = (
        f"its worker was lost {spark_session.ATTEMPTS} times, as where memory is used up; "
        f"see {errors}"
    )
    return {"status": "failed", "score": None, "measure": None, "seconds": 0.0, "reason": reason}


def _trial(place, options, space: dict, folder: Path, point: dict) -> dict:
    """Run a task: the trial at a point of the space of `run_trials`, with Hyperopt's result."""
    import hyperopt

    from tfser.search import trials as search_trials

    def run():
        trials = search_trials.read_trials(folder / "trials.jsonl")
        parameters = decode_point(space, point["parameters"])
        return search_trials.run_trial(
            format_flags(options, parameters),
            trials,
            int(point["trial"]),
            parameters,
            folder,
            stop_hopeless=options.stop_hopeless,
        )

    result, error = spark_session.run_in_place(place, run)
    if error or result["score"] is None:
        return {"status": hyperopt.STATUS_FAIL, "answer": (result, error)}
    return {"status": hyperopt.STATUS_OK, "loss": -result["score"], "answer": (result, error)}


def train_folds(options: Options, folder: Path) -> None:
    """Train the steps that all folds share, then the folds of all seeds; compute no scores."""
    tasks = folder.resolve() / "tasks"
    tasks.mkdir(exist_ok=True)
    words = [*format_flags(options, {}), "--evaluate", options.evaluate]
    log.info("the steps that all folds share run first, see %s", tasks / "shared.txt")
    _raise_error(run_training([*words, "--part", "none"], tasks / "shared"))
    rows = atomic_files.read_csv(folder / "splits.csv", ["seed", "fold"])
    parts = sorted({(int(row["seed"]), int(row["fold"])) for row in rows})
    folders = {(seed, fold): tasks / f"seed-{seed}-fold-{fold:02}" for seed, fold in parts}
    unfinished = [part for part in parts if not (folders[part] / "done").exists()]
    if not unfinished:
        return
    errors = tasks / "spark.txt"
    try:
        with spark_session.open_session(options.spark, len(unfinished), "folds", errors) as (
            session,
            n_at_once,
        ):

            def train(part):
                seed, fold = part
                arguments = [*words, "--part", f"{seed}/{fold}"], folders[part]
                task = functools.partial(
                    spark_session.run_in_place, place, run_training, *arguments
                )
                try:
                    [(result, error)] = (
                        session.sparkContext.parallelize([0], 1).map(lambda _: task()).collect()
                    )
                except Exception as failed:
                    why = (
                        spark_session.failure_reason(failed)
                        if spark_session.is_alive(session)
                        else "Spark has ended"
                    )
                    raise TfserError(
                        f"seed {seed}, fold {fold}: {why}; see {errors}; the same command continues"
                    ) from None
                if error:
                    raise error
                _raise_error(result)
                atomic_files.write_bytes(folders[part] / "done", b"")
                return part

            place = spark_session.current_place()
            with ThreadPoolExecutor(n_at_once) as pool:
                try:
                    futures = [pool.submit(train, part) for part in unfinished]
                    for n, future in enumerate(as_completed(futures), start=1):
                        seed, fold = future.result()
                        log.info("seed-%d fold-%02d: %d of %d", seed, fold, n, len(unfinished))
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    spark_session.stop_session(session)
                    raise
    finally:
        for part in unfinished:
            run_directory.wait_until_free(folders[part])


def _raise_error(result: tuple[int, str, str]) -> None:
    """Raise the error of `run_training`'s result, if any."""
    code, _, reason = result
    if code:
        raise error_of_exit_code(code, reason)
