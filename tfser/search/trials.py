"""Trials of a search: each runs in a child process, gets a score, and is written to a file."""

import json
import math
import statistics
import time
from pathlib import Path

from tfser.distributed.subprocesses import run_training
from tfser.errors import ConflictError
from tfser.evaluation import metrics
from tfser.search.summary import trial_folder_name
from tfser.storage import atomic_files

FEWEST = 5  # trials, for a median


def finished_trials(trials: list[dict]) -> list[dict]:
    """Return the trials that are not running."""
    return [trial for trial in trials if trial["status"] != "begun"]


def read_trials(path: Path) -> list[dict]:
    """Read the trials of an earlier search, [] where there is no file.

    Raises ConflictError for a damaged file, or one that is missing where trials were run.
    """
    if not path.exists():
        if any(path.parent.glob("trial-*")):
            raise ConflictError(
                f"{path} is missing, and {path.parent} has trials; copy the file back, or use "
                "another --workdir"
            )
        return []
    try:
        # Not `splitlines`, which splits at characters that JSON allows in strings.
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        trials = [json.loads(line) for line in lines if line]
        for n, trial in enumerate(trials):
            _check_trial(n, trial)
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise ConflictError(f"{path} is damaged ({error}); use another --workdir") from None
    return trials


def _check_trial(n: int, trial: dict) -> None:
    """Raise ValueError, LookupError, TypeError or AttributeError unless it is the n-th trial."""
    trial["parameters"].items()
    is_ok = trial["status"] == "ok"
    if trial["trial"] != n or trial["status"] not in ("begun", "ok", "failed", "stopped"):
        raise ValueError(f"line {n + 1} is not trial {n}")
    if trial["status"] != "begun" and is_ok != isinstance(trial["score"], float):
        raise ValueError(f"trial {n} has the score {trial['score']}")
    if is_ok and trial["measure"] not in ("UAR", "CCC"):
        raise ValueError(f"trial {n} has the measure {trial['measure']}")
    if not all(0 <= k < n for k in trial.get("after", [])):
        raise ValueError(f"trial {n} comes after itself")


def write_trials(path: Path, trials: list[dict]) -> None:
    """Write the trials for `read_trials`."""
    text = "".join(json.dumps(trial, ensure_ascii=False) + "\n" for trial in trials)
    atomic_files.write_text(path, text)


def run_trial(
    flags: list[str], trials: list[dict], n: int, parameters: dict, folder: Path, *, stop_hopeless
) -> dict:
    """Train trial n and score it on the dev set; return its entry but for the parameters.

    Args:
        flags: flags of tfser-train for the trial, its parameters included.
        trials: the trials before.
        stop_hopeless: stop the training by the median rule of `is_hopeless`.
    """
    result = {"status": "failed", "score": None, "measure": None, "seconds": 0.0, "reason": ""}
    scored = [trial for trial in trials if trial["status"] == "ok"]
    for same in (trial for trial in scored if trial["parameters"] == parameters):
        scores = {name: same[name] for name in ("status", "score", "measure")}
        return result | scores | {"reason": f"as trial {same['trial']}, of the same parameters"}
    start, trial_folder = time.monotonic(), folder / trial_folder_name(n)
    before = [read_dev_scores(folder / trial_folder_name(trial["trial"])) for trial in scored]

    def stops():
        return stop_hopeless and is_hopeless(read_dev_scores(trial_folder), before)

    code, _, result["reason"] = run_training([*flags, "--evaluate", "dev"], trial_folder, stops)
    result["seconds"] = round(time.monotonic() - start, 1)
    if stops():  # checked again: a trial may end before the last check
        reason = "its first networks are below the median of the trials before"
        return result | {"status": "stopped", "reason": reason}
    if code == ConflictError.exit_code:  # no fault of the parameters
        raise ConflictError(f"trial {n}: {result['reason']}")
    if code:
        return result
    return result | score_trial(atomic_files.read_dict(trial_folder / "scores.json"))


def score_trial(scores: dict) -> dict:
    """Return a run's score for a search: the UAR, or the mean CCC of both attributes."""
    names = metrics.headline_scores(scores)
    names, measure = (names[:1], "UAR") if names[0] == "uar" else (names, "CCC")
    score = statistics.fmean(scores[name] for name in names)
    if not math.isfinite(score):
        return {"reason": f"the dev {measure} is {score}"}
    return {"status": "ok", "score": score, "measure": measure, "reason": ""}


def read_dev_scores(folder: Path) -> dict[str, float]:
    """Read the best dev score of each finished network of a trial, in the order of training.

    The score is UAR, segment accuracy or the mean CCC; a model without histories of its networks
    has none.
    """
    best_scores = {}
    files = folder.glob("seed-*/**/history.csv")
    for path in sorted(files, key=lambda path: path.stat().st_mtime_ns):
        rows = atomic_files.read_csv(path, ["epoch"])
        columns = ("dev_uar", "dev_accuracy", "dev_ccc")
        column = next((name for name in columns if rows and name in rows[0]), None)
        if column:
            try:
                best = max(float(row[column]) for row in rows)
            except ValueError as error:
                raise atomic_files.damaged_error(path, error) from None
            best_scores[str(path.relative_to(folder))] = best
    return best_scores


def is_hopeless(own: dict[str, float], before: list[dict[str, float]]) -> bool:
    """Return whether the median rule stops a trial.

    It does where, for some k, the mean of the first k networks is below the median of those means
    of the trials `before` that have more than k networks, at least FEWEST.
    """
    for k in range(1, len(own) + 1):
        first = list(own)[:k]
        means = [
            statistics.fmean(other[name] for name in first)
            for other in before
            if len(other) > k and other.keys() >= set(first)
        ]
        if len(means) >= FEWEST:
            mean = statistics.fmean(own[name] for name in first)
            if mean < statistics.median(means):
                return True
    return False
