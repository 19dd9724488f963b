"""The files of a finished run: predictions, confusion matrices, pictures and scores."""

import logging
import re

import numpy as np

from tfser.errors import DataError
from tfser.evaluation import metrics
from tfser.plots import figures as plots
from tfser.plots.drawing_errors import keep_going
from tfser.storage import atomic_files

log = logging.getLogger("tfser")


def describe_prediction(seed: int, system: str, folds: dict, utterance, split) -> dict:
    """Return the first columns of a row of predictions.csv; folds: {column: number}.

    n_train: utterances in the training part of the network (of EPR: of the forest).
    """
    return {
        "seed": seed,
        "system": system,
        **{column: int(fold) for column, fold in folds.items()},
        "n_train": len(split.train),
        "utterance": utterance.name,
        "speaker": utterance.speaker,
        "gender": utterance.gender or "",
        "session": utterance.session or "",
    }


def write_seed(run, rows: list[dict], result: dict) -> dict:
    """Write predictions.csv and scores.json of one seed; return `result`, the scores."""
    folder = run.folder / f"seed-{result['seed']}"
    folder.mkdir(exist_ok=True)
    atomic_files.write_csv(folder / "predictions.csv", rows)
    atomic_files.write_json(folder / "scores.json", result)  # last
    return result


def write_confusions(run, results: list[dict], classes) -> None:
    """Write confusion.csv: counts over all seeds, a row for each system and true class."""
    rows = []
    for system in results[0]["confusions"]:
        matrix = np.sum([result["confusions"][system] for result in results], axis=0)
        rows += [
            {"system": system, "true": name} | dict(zip(classes, counts.tolist(), strict=True))
            for name, counts in zip(classes, matrix, strict=True)
        ]
    atomic_files.write_csv(run.folder / "confusion.csv", rows)


def file_name(system: str) -> str:
    """Return the name of a system for a file: "VGG-star-2" of "VGG*2"."""
    return re.sub(r"[^\w.]+", "-", system.replace("*", "-star-"))


def write_results(run, scores: dict, figures: dict) -> None:
    """Write predictions.csv of all seeds, figures and TensorBoard's, scores.json.

    figures: {name: function that draws a Figure}.
    """
    from tfser.plots import tensorboard  # it imports TensorFlow

    if run.evaluate == "dev":  # a flag of the RESULT line; no card takes such scores
        scores |= {
            "flags": scores["flags"] | {"evaluate": "dev"},
            "facts": [*scores["facts"], "scored on the dev part"],
        }
    if run.protocol == "all":
        scores |= {
            "flags": scores["flags"] | {"evaluate": "none"},
            "facts": [*scores["facts"], "trained on all speakers: the score is no result"],
        }
    if run.chosen_on:
        scores |= {
            "flags": scores["flags"] | {"chosen_on": run.chosen_on},
            "facts": [*scores["facts"], f"settings chosen by a search on {run.chosen_on}"],
        }
    before = run.folder / "scores.json"
    seeds = list(run.seeds)
    if before.exists():
        try:
            if atomic_files.read_dict(before).get("seed_numbers") != seeds:
                log.warning("%s is replaced: it was of other seeds; theirs are in seed-*", before)
        except DataError:
            log.warning("%s is replaced: it was damaged", before)
    parts = [
        (run.folder / f"seed-{seed}" / "predictions.csv").read_bytes().partition(b"\n")
        for seed in seeds
    ]
    header, newline, _ = parts[0]
    content = header + newline + b"".join(rows for _, _, rows in parts)
    atomic_files.write_bytes(run.folder / "predictions.csv", content)
    drawn = {}
    for name, draw in figures.items():
        with keep_going(f"{name}.png"):
            png = plots.encode_png(draw())
            atomic_files.write_bytes(run.folder / f"{name}.png", png)
            drawn[name] = png
    with tensorboard.open_event_writer(run.folder / "events" / "scores") as to_tensorboard:
        for step, of_system in enumerate(scores["systems"].values(), start=1):
            shown = {key: of_system[key]["mean"] for key in metrics.headline_scores(scores)}
            to_tensorboard(step, shown)
        pictures = {
            f"profile/{path.stem}": path.read_bytes()
            for path in (run.folder / "profiles").glob("*.png")
        }
        to_tensorboard(step, {}, drawn | pictures)
    atomic_files.write_json(run.folder / "scores.json", scores)  # last
