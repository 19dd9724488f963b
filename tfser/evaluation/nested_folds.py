"""The folds of a nested search: their speakers, and one result of all outer folds.

The setting of an outer fold is searched without its test speakers, then tested on them once.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from tfser.errors import DataError, UsageError
from tfser.evaluation import classification_report
from tfser.evaluation.run_predictions import load_predictions
from tfser.evaluation.splits import Split
from tfser.storage import atomic_files

FEWEST = 3  # inner folds: test, dev, train
PARTS = ("train", "dev", "test")


def list_speakers(utterances, splits, n_inner: int) -> list[dict[str, list[str]]]:
    """List the speakers of each outer fold: {"test": names, "dev": names}.

    Args:
        utterances: those that [labels] select.
        splits: of --protocol loso. The dev set of a model that chooses nothing on it is empty.
        n_inner: number of inner folds.

    Raises UsageError for inner folds that the speakers outside a test set do not allow.
    """
    folds = [
        {
            part: sorted({utterances[i].speaker for i in getattr(split, part)})
            for part in ("test", "dev")
        }
        for split in splits
    ]
    n_speakers = len({speaker for fold in folds for speaker in fold["test"]})
    n_left = n_speakers - max(len(fold["test"]) for fold in folds)
    if not FEWEST <= n_inner <= n_left:
        raise UsageError(
            f"--nested {n_inner}: a search inside an outer fold has {n_left} speakers, and takes "
            f"{FEWEST} inner folds (test, dev, train) to as many as there are speakers"
        )
    return folds


def hold_out_speakers(utterances, fold: dict, protocol: str) -> list:
    """Leave out the test speakers of an outer fold, or, under "split", set the parts of the fold.

    fold: of `list_speakers`. A speaker who is neither tested nor dev trains.
    """
    if protocol != "split":
        tested = set(fold["test"])
        return [u for u in utterances if u.speaker not in tested]
    part_of = {speaker: part for part, speakers in fold.items() for speaker in speakers}
    return [replace(u, split=part_of.get(u.speaker, "train")) for u in utterances]


def score_folds(
    run, model: str, utterances, folders: list[Path], facts: list[str], flags: dict, **more
) -> dict:
    """Pool the tests of all outer folds and write the results of a run; return the scores.

    Args:
        run: the run of all folds, in the folder of the search.
        utterances: those that [labels] select.
        folders: the run directory of each outer fold's best setting.
        facts, flags, more: see `classification_report.finish_run`; facts and flags that all folds
            have are added.

    Raises DataError where a fold's run is not finished, or has other classes.
    """
    found = [load_predictions(folder) for folder in folders]
    classes, name = found[0].classes, f"{model.upper()}, nested search"
    if other := [f for f, own in zip(folders, found, strict=True) if own.classes != classes]:
        raise DataError(f"{other[0]} has other classes than {folders[0]}; train it again")
    place = {u.name: i for i, u in enumerate(utterances)}
    numbers = np.concatenate([[place[name] for name in own.utterances] for own in found])
    order = np.argsort(numbers)
    fold_of = np.repeat(np.arange(len(found)), [len(own.utterances) for own in found])[order]
    tested = [utterances[i] for i in numbers[order]]
    has_probabilities = all(own.probabilities is not None for own in found)
    splits = {seed: [] for seed in run.seeds}
    for folder in folders:
        for seed, split in read_splits(folder / "splits.csv", place).items():
            splits[seed].append(split)
    results = []
    for i, seed in enumerate(run.seeds):
        system = {
            "predicted": np.concatenate([own.p[i] for own in found])[order],
            "probabilities": np.concatenate([own.probabilities[i] for own in found])[order]
            if has_probabilities
            else None,
        }
        results.append(
            classification_report.score_seed(
                run, seed, tested, classes, {name: system}, fold_of, splits[seed]
            )
        )
    shared_facts = [
        fact
        for fact in found[0].scores["facts"]
        if all(fact in own.scores["facts"] for own in found)
    ]
    shared_flags = {
        flag: value
        for flag, value in found[0].scores["flags"].items()
        if all(own.scores["flags"].get(flag) == value for own in found)
    }
    return classification_report.finish_run(
        run,
        model,
        classes,
        results,
        utterances=utterances,
        splits=splits,
        facts=shared_facts + facts,
        flags=shared_flags | flags,
        **more,
    )


def read_splits(path: Path, place: dict[str, int]) -> dict[int, Split]:
    """Read the splits.csv of a run of one fold: {seed: Split}.

    place: the position of each utterance by its name. Utterances of another corpus have none.
    """
    parts = {}
    for row in atomic_files.read_csv(path, ("seed", "utterance", "part")):
        of_seed = parts.setdefault(int(row["seed"]), {part: [] for part in PARTS})
        if row["part"] and row["utterance"] in place:
            of_seed[row["part"]].append(place[row["utterance"]])
    return {
        seed: Split(*(np.array(of_seed[part], np.int64) for part in PARTS))
        for seed, of_seed in parts.items()
    }
