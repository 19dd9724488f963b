"""The predictions of a finished run of classes, as arrays."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfser.errors import DataError
from tfser.evaluation import metrics
from tfser.storage import atomic_files

COLUMNS = ["seed", "system", "utterance", "speaker", "emotion", "predicted"]


class Predictions(NamedTuple):
    """The predictions of one system of a run, over all its seeds.

    Attributes:
        run: the run directory's name.
        scores: the content of scores.json.
        system: such as "VGG*3", the row of a results table.
        utterances: their names [n], in the order of the file.
        speakers: [n].
        y: true classes [n].
        p: predicted classes [seeds, n].
        probabilities: [seeds, n, K], None where the system has none.
        folds: fold that predicted each utterance [n], of the first seed.
    """

    run: str
    scores: dict
    system: str
    utterances: np.ndarray
    speakers: np.ndarray
    y: np.ndarray
    p: np.ndarray
    probabilities: np.ndarray | None
    folds: np.ndarray

    @property
    def classes(self) -> list[str]:
        """The names of the classes."""
        return self.scores["classes"]

    @property
    def right(self) -> np.ndarray:
        """Whether the first seed's prediction of each utterance [n] is right."""
        return self.p[0] == self.y


def load_predictions(folder: Path, system: str | None = None) -> Predictions:
    """Load the predictions of a system of a finished run, by default of its result.

    Raises DataError where the run is not finished, predicts ratings, or has no such system.
    """
    if not (folder / "scores.json").is_file():
        raise DataError(f"{folder} is not a finished run: it has no scores.json")
    scores = atomic_files.read_dict(folder / "scores.json")
    if "classes" not in scores:
        raise DataError(f"{folder} predicts ratings; give runs that predict classes")
    system = system or list(scores["systems"])[-1]
    if system not in scores["systems"]:
        raise DataError(f"{folder} has no system {system!r}; it has {', '.join(scores['systems'])}")
    rows = atomic_files.read_csv(folder / "predictions.csv", COLUMNS)
    rows = [row for row in rows if row["system"] == system]
    try:
        predictions = _to_arrays(folder, scores, system, rows)
    except (LookupError, ValueError) as error:
        reason = f"{type(error).__name__} {error}"
        raise atomic_files.damaged_error(folder / "predictions.csv", reason) from None
    _check_scores(folder, predictions)
    return predictions


def _check_scores(folder: Path, predictions: Predictions) -> None:
    """Raise DataError where predictions.csv gives other scores than scores.json has."""
    try:
        recorded = np.array(
            predictions.scores["systems"][predictions.system]["uar"]["values"], float
        )
    except (LookupError, TypeError, ValueError) as error:
        reason = f"it has no UAR of {predictions.system} ({error})"
        raise atomic_files.damaged_error(folder / "scores.json", reason) from None
    found = [metrics.uar(predictions.y, p) for p in predictions.p]
    if len(found) != len(recorded) or not np.allclose(found, recorded, rtol=0, atol=1e-6):
        raise DataError(
            f"{folder}: predictions.csv gives a UAR of {found[0]:.4f}, scores.json has "
            f"{recorded[0]:.4f}: one of them was changed; {atomic_files.REPAIR}"
        )


def _to_arrays(folder, scores, system, rows) -> Predictions:
    classes, seeds = scores["classes"], scores["seed_numbers"]
    of_seed = [[row for row in rows if int(row["seed"]) == seed] for seed in seeds]
    names = [row["utterance"] for row in of_seed[0]]
    place = {name: i for i, name in enumerate(names)}
    if any(sorted(row["utterance"] for row in part) != sorted(names) for part in of_seed):
        raise DataError(
            f"{folder}: the seeds of predictions.csv have other utterances; train again"
        )
    number = {name: i for i, name in enumerate(classes)}
    p = np.zeros((len(seeds), len(names)), int)
    columns = [f"p_{name}" for name in classes]
    has_probabilities = columns[0] in rows[0]
    probabilities = np.zeros((*p.shape, len(classes))) if has_probabilities else None
    for i, part in enumerate(of_seed):
        for row in part:
            n = place[row["utterance"]]
            p[i, n] = number[row["predicted"]]
            if has_probabilities:
                probabilities[i, n] = [float(row[column]) for column in columns]
    first = of_seed[0]
    column = "forest_fold" if "forest_fold" in first[0] else "fold"
    return Predictions(
        folder.name,
        scores,
        system,
        np.array(names),
        np.array([row["speaker"] for row in first]),
        np.array([number[row["emotion"]] for row in first]),
        p,
        probabilities,
        np.array([int(row[column]) for row in first]),
    )
