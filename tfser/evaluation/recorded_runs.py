"""Recorded runs: the finished runs in zoo/<model>/<corpus>.json, and runs joined over seeds."""

import json
import re
from pathlib import Path

from tfser.errors import DataError
from tfser.evaluation import metrics
from tfser.evaluation.model_card import format_table, split_card
from tfser.storage import atomic_files, environment, run_directory

# Of scores.json, which all cards need.
KEYS = {"corpus", "facts", "flags", "folds", "model", "n", "protocol", "seed_numbers", "systems"}


def record_run(folder: Path, zoo: Path, note: str = "") -> None:
    """Add the run to zoo/<model>/<corpus>.json and to the card.

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
    entries = [
        old
        for old in (atomic_files.read_json(path) if path.exists() else [])
        if run_directory.describe_differences(old["settings"], settings)
        or not _covers_seeds(entry, old, folder)
    ]
    entries.append(entry)
    entries.sort(key=_sort_key)
    text = head + format_table(join_runs(entries)) + tail
    atomic_files.write_json(path, entries)
    atomic_files.write_text(card, text)


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


def join_runs(entries: list[dict]) -> list[dict]:
    """Join runs of the same settings, which have different seeds, into one entry with all seeds.

    Runs whose splits were made by an older rule (the flag "splits") stay apart.
    """
    groups = {}
    for entry in entries:
        settings = json.dumps(run_directory.flatten_settings(entry["settings"]), sort_keys=True)
        splits = entry["scores"].get("flags", {}).get("splits")  # the first runs have no flags
        groups.setdefault((settings, splits), []).append(entry)
    return [
        _join_entries(sorted(group, key=lambda entry: entry["scores"]["seed_numbers"]))
        for group in groups.values()
    ]


def _join_entries(entries: list[dict]) -> dict:
    """Join several entries; raise DataError where their utterances, folds or systems differ."""
    if len(entries) == 1:
        return entries[0]
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
    return entries[0] | {
        "command": _format_commands([entry["command"] for entry in entries]),
        "note": ", ".join(dict.fromkeys(entry["note"] for entry in entries if entry["note"])),
        "scores": all_scores[0] | seeds | {"systems": systems, "facts": list(facts)},
        "processes": sum((entry["processes"] for entry in entries), []),
    }


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
