"""Comparison of runs on their common utterances: scores, intervals, tests of each pair."""

import itertools
from typing import NamedTuple

import numpy as np

from tfser.errors import DataError
from tfser.evaluation import intervals, metrics, significance
from tfser.evaluation.run_predictions import Predictions

FEW_SPEAKERS = 8  # below, the speakers of a bootstrap say little about new speakers


class Score(NamedTuple):
    """A row of the comparison: one system of a run."""

    name: str
    protocol: str
    seeds: int
    uar: float
    interval: intervals.Interval
    wa: float


class Difference(NamedTuple):
    """A pair of rows: UAR(first) - UAR(second), and McNemar's test of their first seeds."""

    first: str
    second: str
    uar: float
    interval: intervals.Interval
    mcnemar: float
    holm: float  # the probability adjusted for all pairs of the comparison


class Comparison(NamedTuple):
    """The result of `compare`."""

    n: int
    n_speakers: int
    over: str  # "speakers" or "utterances": what the bootstrap draws
    scores: list[Score]
    differences: list[Difference]
    warnings: list[str]


def compare(runs: list[Predictions]) -> Comparison:
    """Compare systems on the utterances that all of them predict.

    Args:
        runs: of `load_predictions`, two or more.

    Raises DataError where the runs have other classes, labels or no common utterance.
    """
    names = name_rows(runs)
    classes = runs[0].classes
    for run, name in zip(runs, names, strict=True):
        if run.classes != classes:
            raise DataError(
                f"{name} has the classes {', '.join(run.classes)}, {names[0]} has "
                f"{', '.join(classes)}; compare runs of the same classes"
            )
    runs, warnings = select_common(runs, names)
    y, speakers = runs[0].y, runs[0].speakers
    n_speakers = len(np.unique(speakers))
    over, groups = group_by_speaker(speakers, runs[0].utterances)
    if over == "utterances":
        warnings.append("there is one speaker: intervals are over utterances, not over speakers")
    elif n_speakers < FEW_SPEAKERS:
        warnings.append(
            f"{n_speakers} speakers: little can be concluded about new speakers, the intervals are "
            "too narrow"
        )
    warnings += find_different_splits(runs, names)
    warnings += find_chosen_settings(runs, names)
    scores = [
        Score(
            name,
            run.scores["protocol"],
            len(run.p),
            float(np.mean([metrics.uar(y, p) for p in run.p])),
            intervals.uar_interval(y, run.p, groups, len(classes)),
            float(np.mean(run.p == y)),
        )
        for name, run in zip(names, runs, strict=True)
    ]
    pairs = list(itertools.combinations(range(len(runs)), 2))
    probabilities = [significance.mcnemar(runs[i].right, runs[j].right) for i, j in pairs]
    differences = [
        Difference(
            names[i],
            names[j],
            *intervals.uar_difference_interval(y, runs[i].p, runs[j].p, groups, len(classes)),
            probability,
            adjusted,
        )
        for (i, j), probability, adjusted in zip(
            pairs, probabilities, significance.holm(probabilities), strict=True
        )
    ]
    return Comparison(len(y), n_speakers, over, scores, differences, warnings)


def name_rows(runs: list[Predictions]) -> list[str]:
    """Return a name for each row; the run's folder where systems have the same name."""
    systems = [run.system for run in runs]
    return [
        run.system if systems.count(run.system) == 1 else f"{run.system} ({run.run})"
        for run in runs
    ]


def group_by_speaker(speakers, utterances) -> tuple[str, np.ndarray]:
    """Return what a bootstrap draws, and its groups [n]: utterances where there is one speaker."""
    if len(np.unique(speakers)) > 1:
        return "speakers", np.asarray(speakers)
    return "utterances", np.asarray(utterances)


def select_common(runs, names) -> tuple[list[Predictions], list[str]]:
    """Reduce runs to their common utterances, in one order: (runs, warnings)."""
    common = set(runs[0].utterances).intersection(*(run.utterances for run in runs))
    if not common:
        raise DataError("the runs have no utterance in common; compare runs of one corpus")
    warnings = [
        f"{name} predicts {len(run.y)} utterances, {len(common)} are in all runs"
        for name, run in zip(names, runs, strict=True)
        if len(run.y) > len(common)
    ]
    selected = []
    for run in runs:
        order = np.argsort(run.utterances)
        order = order[np.isin(run.utterances[order], list(common))]
        probabilities = run.probabilities
        selected.append(
            run._replace(
                utterances=run.utterances[order],
                speakers=run.speakers[order],
                y=run.y[order],
                p=run.p[:, order],
                probabilities=None if probabilities is None else probabilities[:, order],
                folds=run.folds[order],
            )
        )
    for run, name in zip(selected, names, strict=True):
        differ = np.flatnonzero(run.y != selected[0].y)
        if len(differ):
            i = differ[0]
            raise DataError(
                f"{names[0]} and {name} have other labels of {run.utterances[i]}: "
                f"{run.classes[selected[0].y[i]]} and {run.classes[run.y[i]]}"
            )
    return selected, warnings


def find_chosen_settings(runs, names) -> list[str]:
    """Warn of each run whose settings a search chose on the corpus that is compared on."""
    found = [run.scores.get("flags", {}).get("chosen_on", "") for run in runs]
    return [
        f"{name}: a search on {chosen_on} chose its settings by dev sets, which may hold speakers "
        "that are tested here; its score is optimistic"
        for run, name, chosen_on in zip(runs, names, found, strict=True)
        if chosen_on.rpartition("/")[0] == run.scores.get("corpus")
    ]


def find_different_splits(runs, names) -> list[str]:
    """Warn of each run whose test folds hold other utterances together than the first run's.

    runs: with the same utterances, see `select_common`. The numbers of folds do not matter.
    """
    warnings = []
    for run, name in zip(runs, names, strict=True):
        pairs = set(zip(runs[0].folds.tolist(), run.folds.tolist(), strict=True))
        if len({a for a, _ in pairs}) != len(pairs) or len({b for _, b in pairs}) != len(pairs):
            warnings.append(f"{name} has other folds than {names[0]}: other training sets")
    return warnings
