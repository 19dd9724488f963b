"""Recorded runs: the finished runs in zoo/<model>/<corpus>.json, and runs joined over seeds."""

import json
import logging
import re
from pathlib import Path

import numpy as np

from tfser.errors import DataError
from tfser.evaluation import card_rows, metrics, stored_predictions
from tfser.evaluation.model_card import format_table, list_t_tests, split_card
from tfser.storage import atomic_files, environment, run_directory

log = logging.getLogger("tfser")

# Of scores.json, which all cards need.
KEYS = {"corpus", "facts", "flags", "folds", "model", "n", "protocol", "seed_numbers", "systems"}


def record_run(folder: Path, zoo: Path, note: str = "") -> None:
    """Add the run to zoo/<model>/<corpus>.json and to the card, and keep its predictions.

    The run replaces runs of the same settings whose seeds it covers. Runs of the same settings and
    other seeds are one row of the table.

    Raises:
        DataError: the run is incomplete, or scored on dev, or shares some seeds with a recorded
            run, or its card has no place for the table.
    """
    try:
        scores = atomic_files.read_dict(folder / "scores.json")
        settings = atomic_files.read_dict(folder / "hparams.json")
        processes = environment.read_processes(folder / "environment.json")
    except FileNotFoundError as error:
        raise DataError(f"{folder} is not a finished run: {error.filename} is missing") from None
    if missing := KEYS - scores.keys():
        raise atomic_files.damaged_error(folder / "scores.json", f"it has no {min(missing)}")
    if scores["flags"].get("evaluate") == "none":
        raise DataError(
            f"{folder} is trained on all speakers, and its score is no result; record a run with "
            "--protocol loso or paper"
        )
    if scores["flags"].get("evaluate") == "dev":
        raise DataError(
            f"{folder} is scored on its dev part, which compares settings and is no result; "
            "record a run without --evaluate dev"
        )
    entry = {
        # Later processes resumed the run, or only printed its scores.
        "command": processes[0]["command"],
        "note": note,
        "scores": scores,
        "settings": settings,
        "processes": processes,
    }
    card = zoo / scores["model"] / "README.md"
    # Before the results are written, so that they always have their card.
    head, tail = split_card(card, scores["corpus"])
    path = card.with_name(f"{scores['corpus']}.json")
    before = atomic_files.read_json(path) if path.exists() else []
    entries = [
        old
        for old in before
        if run_directory.describe_differences(old["settings"], settings)
        or not _covers_seeds(entry, old, folder)
    ]
    packed = pack_predictions(folder)
    if packed is not None:
        name = f"predictions/{scores['corpus']}.{stored_predictions.digest(packed)}.npz"
        entry["predictions"] = name
        atomic_files.write_bytes(card.parent / name, packed)
    entries.append(entry)
    entries.sort(key=_sort_key)
    try:
        write_card(zoo, scores["model"], scores["corpus"], entries, (head, tail))
    except DataError:
        if packed is not None and name not in {old.get("predictions") for old in before}:
            (card.parent / name).unlink()
        raise
    kept = {e["predictions"] for e in entries if "predictions" in e}
    for old in before:
        if "predictions" in old and old["predictions"] not in kept:
            (card.parent / old["predictions"]).unlink(missing_ok=True)


def pack_predictions(folder: Path) -> bytes | None:
    """Return the predictions of a run as `stored_predictions.pack_run`, None where none are kept.

    Runs of ratings have none, and neither have runs whose seeds test other utterances.
    """
    try:
        return stored_predictions.pack_run(folder)
    except (DataError, FileNotFoundError) as error:
        log.warning("the card has no tests against this run's predictions: %s", error)
        return None


def write_card(zoo: Path, model: str, corpus: str, entries: list[dict], ends=None) -> None:
    """Write zoo/<model>/<corpus>.json, <corpus>.tests.csv and the table of the card.

    ends: the card's text above and below the table, by default of the card as it is.
    """
    card = zoo / model / "README.md"
    head, tail = ends or split_card(card, corpus)
    joined = join_runs(entries, card.parent)
    table = format_table(joined, load_runs(zoo, "svm", corpus) if model != "svm" else joined)
    tests = list_t_tests(card_rows.list_rows(joined))
    atomic_files.write_json(card.with_name(f"{corpus}.json"), entries)
    file = card.with_name(f"{corpus}.tests.csv")
    if tests:
        atomic_files.write_csv(file, tests)
    else:
        file.unlink(missing_ok=True)
    atomic_files.write_text(card, head + table + tail)


def rewrite_cards(zoo: Path) -> None:
    """Write the tables of all cards anew from their JSON files."""
    for model, corpus in list_cards(zoo):
        write_card(zoo, model, corpus, atomic_files.read_json(zoo / model / f"{corpus}.json"))


def list_cards(zoo: Path) -> list[tuple[str, str]]:
    """Return the model and corpus of each file of recorded runs."""
    return [
        (path.parent.name, path.stem)
        for path in sorted(zoo.glob("*/*.json"))
        if isinstance(atomic_files.read_json(path), list)  # no study by benchmarks/variants.py
    ]


def load_runs(zoo: Path, model: str, corpus: str) -> list[dict]:
    """Return the joined runs of a model on a corpus, with their predictions; [] for none."""
    path = zoo / model / f"{corpus}.json"
    return join_runs(atomic_files.read_json(path), path.parent) if path.exists() else []


def _sort_key(entry: dict) -> tuple:
    """Return a run's sort key on its card: one protocol and number of folds are neighbours."""
    scores = entry["scores"]
    return scores["protocol"], scores["folds"], entry["command"], scores["seed_numbers"]


def _covers_seeds(new: dict, old: dict, folder: Path) -> bool:
    """Return whether a run has all seeds of an older run of its settings, to replace that run.

    Raises DataError where it has some of these seeds: a seed must not count twice.
    """
    seeds, old_seeds = (set(entry["scores"]["seed_numbers"]) for entry in (new, old))
    if seeds & old_seeds and not seeds >= old_seeds:
        raise DataError(
            f"{folder} has seeds {_format_numbers(seeds)}, and the card those "
            f"{_format_numbers(old_seeds)} of the same settings; record a run with all of them, or "
            "with others alone (--seed)"
        )
    return seeds >= old_seeds


def join_runs(entries: list[dict], folder: Path | None = None) -> list[dict]:
    """Join runs of the same settings, which have different seeds, into one entry with all seeds.

    Runs whose splits were made by an older rule (the flag "splits") stay apart.

    folder: of the card; the entries get "predictions_of" {system: Predictions} of its files.
    """
    groups = {}
    for entry in entries:
        settings = json.dumps(run_directory.flatten_settings(entry["settings"]), sort_keys=True)
        splits = entry["scores"].get("flags", {}).get("splits")  # the first runs have no flags
        groups.setdefault((settings, splits), []).append(entry)
    return [
        _join_entries(sorted(group, key=lambda entry: entry["scores"]["seed_numbers"]), folder)
        for group in groups.values()
    ]


def _join_entries(entries: list[dict], folder: Path | None) -> dict:
    """Join several entries; raise DataError where their utterances, folds or systems differ."""
    predictions = {"predictions_of": _join_predictions(entries, folder)} if folder else {}
    if len(entries) == 1:
        return entries[0] | predictions
    all_scores = [entry["scores"] for entry in entries]
    if len({(s["n"], s["folds"], *s["systems"]) for s in all_scores}) > 1:
        raise DataError(
            f"{' and '.join(entry['command'] for entry in entries)} have the same settings and "
            "other utterances, folds or systems; record runs of the same audio"
        )
    systems = {
        name: {
            key: metrics.summarize(sum((s["systems"][name][key]["values"] for s in all_scores), []))
            for key in values
        }
        for name, values in all_scores[0]["systems"].items()
    }
    facts = dict.fromkeys(sum((scores["facts"] for scores in all_scores), []))
    seeds = {
        "seeds": sum(scores["seeds"] for scores in all_scores),
        "seed_numbers": sum((scores["seed_numbers"] for scores in all_scores), []),
    }
    scores = all_scores[0] | seeds | {"systems": systems, "facts": list(facts)}
    scores.pop("statistics", None)  # of the first run's seeds alone
    return (
        entries[0]
        | {
            "command": _format_commands([entry["command"] for entry in entries]),
            "note": ", ".join(dict.fromkeys(entry["note"] for entry in entries if entry["note"])),
            "scores": scores,
            "processes": sum((entry["processes"] for entry in entries), []),
        }
        | predictions
    )


def _join_predictions(entries: list[dict], folder: Path) -> dict:
    """Return {system: Predictions} over the seeds of all entries, {} where one has kept none."""
    files = [entry.get("predictions") for entry in entries]
    if None in files:
        return {}
    joined = {}
    for system in entries[0]["scores"]["systems"]:
        parts = [stored_predictions.load_stored(folder / file, system) for file in files]
        if any(part.utterances.tolist() != parts[0].utterances.tolist() for part in parts):
            return {}
        joined[system] = parts[0]._replace(p=np.concatenate([part.p for part in parts]))
    return joined


def _format_commands(commands: list[str]) -> str:
    """Format commands for the inside of backticks; list seeds where nothing else differs."""
    groups = {}
    for command in commands:
        rest = re.sub(r" --(seed|workdir) \S+", "", command)
        if rest in groups:
            groups[rest] += re.findall(r"--seed \d+", command)
        else:
            groups[rest] = [command]
    return "`, `".join(
        first + ("`, the same in other folders with `" + "`, `".join(seeds) if seeds else "")
        for first, *seeds in groups.values()
    )


def _format_numbers(numbers) -> str:
    return ", ".join(map(str, sorted(numbers)))
