"""Model cards: records finished runs in zoo/<model>/<corpus>.json and in the tables of the card."""

import json
import math
import re
from pathlib import Path

import numpy as np

from tfser.errors import DataError
from tfser.evaluation import metrics, significance
from tfser.storage import atomic_files, run_directory

FEWEST_FOLDS = 3  # of a paired t-test
SCORES = ("uar", "wa", "macro_f1", "fold_uar", "fold_wa")  # of every paper


def record_run(folder: Path, zoo: Path, note: str = "") -> None:
    """Adds the run to zoo/<model>/<corpus>.json, in place of those whose seeds it has all.

    Runs of the same settings and other seeds are one row of the table.

    Raises:
        DataError: the run is not finished, or no result, or has some of another's seeds, or its
            card has no place for the table.
    """
    try:
        scores = atomic_files.read_json(folder / "scores.json")
        settings = atomic_files.read_json(folder / "hparams.json")
        processes = atomic_files.read_json(folder / "environment.json")["processes"]
    except FileNotFoundError as error:
        raise DataError(f"{folder} is not a finished run: {error.filename} is missing") from None
    if scores["flags"].get("evaluate") == "dev":
        raise DataError(
            f"{folder} is scored on its dev part, which compares settings and is no result; "
            "record a run without --evaluate dev"
        )
    entry = {
        # The later ones resumed it, or only printed what the first had found.
        "command": processes[0]["command"],
        "note": note,
        "scores": scores,
        "settings": settings,
        "processes": processes,
    }
    card = zoo / scores["model"] / "README.md"
    # Before anything is written: the results never run ahead of their card.
    head, tail = _split_card(card, scores["corpus"])
    path = card.with_name(f"{scores['corpus']}.json")
    entries = [
        old
        for old in (atomic_files.read_json(path) if path.exists() else [])
        if run_directory.describe_differences(old["settings"], settings)
        or not _replaces(entry, old, folder)
    ]
    entries.append(entry)
    entries.sort(key=_sort_key)
    text = head + format_table(entries) + tail
    atomic_files.write_json(path, entries)
    atomic_files.write_bytes(card, text.encode())


def _sort_key(entry: dict) -> tuple:
    """Where a run stands on its card: rows of one protocol and number of folds are neighbours."""
    scores = entry["scores"]
    return scores["protocol"], scores["folds"], entry["command"], scores["seed_numbers"]


def _replaces(new: dict, old: dict, folder: Path) -> bool:
    """Whether a run has all seeds of an older one of its settings, whose place it then takes.

    Raises DataError where it has some of them: a seed that counts twice is no second measurement.
    """
    has, had = (set(entry["scores"]["seed_numbers"]) for entry in (new, old))
    if has & had and not has >= had:
        raise DataError(
            f"{folder} has seeds {_format_numbers(has)}, and the card those {_format_numbers(had)} "
            "of the same settings; record a run with all of them, or with others alone (--seed)"
        )
    return has >= had


def _join_runs(entries: list[dict]) -> list[dict]:
    """Runs of the same settings, which have other seeds each, as one with all seeds."""
    groups = {}
    for entry in entries:
        settings = json.dumps(run_directory.flatten_settings(entry["settings"]), sort_keys=True)
        groups.setdefault(settings, []).append(entry)
    return [
        _join_entries(sorted(g, key=lambda e: e["scores"]["seed_numbers"])) for g in groups.values()
    ]


def _join_entries(entries: list[dict]) -> dict:
    """One entry of several; raises DataError where they are of other utterances or systems."""
    first, *others = entries
    if not others:
        return first
    of_all = [entry["scores"] for entry in entries]
    if len({(s["n"], s["folds"], *s["systems"]) for s in of_all}) > 1:
        raise DataError(
            f"{' and '.join(entry['command'] for entry in entries)} have the same settings and "
            "other utterances, folds or systems; record runs of the same audio"
        )
    systems = {
        name: {
            key: metrics.summarize(sum((s["systems"][name][key]["values"] for s in of_all), []))
            for key in values
        }
        for name, values in of_all[0]["systems"].items()
    }
    facts = dict.fromkeys(sum((scores["facts"] for scores in of_all), []))
    seeds = {
        "seeds": sum(scores["seeds"] for scores in of_all),
        "seed_numbers": sum((scores["seed_numbers"] for scores in of_all), []),
    }
    return first | {
        "command": _format_commands([entry["command"] for entry in entries]),
        "note": ", ".join(dict.fromkeys(entry["note"] for entry in entries if entry["note"])),
        "scores": of_all[0] | seeds | {"systems": systems, "facts": list(facts)},
        "processes": sum((entry["processes"] for entry in entries), []),
    }


def _format_commands(commands: list[str]) -> str:
    """What stands between backticks: commands that differ in seed and folder alone, told once."""
    alike = {}
    for command in commands:
        rest = re.sub(r" --(seed|workdir) \S+", "", command)
        if rest in alike:
            alike[rest] += re.findall(r"--seed \d+", command)
        else:
            alike[rest] = [command]
    return "`, `".join(
        first + ("`, the same in other folders with `" + "`, `".join(others) if others else "")
        for first, *others in alike.values()
    )


def _format_numbers(numbers) -> str:
    return ", ".join(map(str, sorted(numbers)))


def _split_card(card: Path, corpus: str) -> tuple[str, str]:
    """What stands before and after the table: up to <!-- corpus -->, and from <!-- end -->."""
    start, end = f"<!-- {corpus} -->\n", "<!-- end -->"
    if not card.is_file():
        raise DataError(f"there is no card {card}; write it, with the lines {start.strip()} {end}")
    head, found, rest = card.read_text(encoding="utf-8").partition(start)
    if not found:
        raise DataError(f"{card} has no line {start.strip()} where the table of {corpus} belongs")
    _, found, tail = rest.partition(end)
    if not found:
        raise DataError(f"{card} has no {end} after {start.strip()}; add it below the table")
    return head + start, end + tail


def format_table(entries: list[dict]) -> str:
    """Markdown: where the figures are from, and a row for each system of each setting.

    Classes in percent, and below them ratings, which have other scores.
    """
    name = f"{entries[0]['scores']['corpus']}.json"
    kinds = {}
    for number, entry in enumerate(_join_runs(entries), start=1):
        kinds.setdefault(metrics.headline_scores(entry["scores"]), []).append((number, entry))
    return f"From [{name}]({name}):\n" + "".join(map(_format_rows, kinds.values()))


def _format_rows(numbered: list[tuple]) -> str:
    """Of runs with the same headline; a paper's own scores have columns, several protocols one."""
    entries = [entry for _, entry in numbered]
    of_all = [values for e in entries for values in e["scores"]["systems"].values()]
    headline = metrics.headline_scores(entries[0]["scores"])
    of_classes = headline[0] == "uar"
    own = sorted({key for values in of_all for key in values} - {*SCORES, *headline})
    mixed = len({_protocol_name(entry["scores"]) for entry in entries}) > 1
    titles = ["run", *["protocol"] * mixed, "system", *map(_title, headline)]
    titles += ["fold UAR, mean ± sd"] * of_classes + [_title(key) for key in own]
    lines = [
        "",
        f"| {' | '.join(titles)} |",
        f"|{' --- |' * len(titles)}",
    ]
    commands = []
    for number, entry in numbered:
        scores = entry["scores"]
        independent = (
            "speaker-independent" if scores["speaker_independent"] else "speaker-dependent"
        )
        for name, values in scores["systems"].items():
            several = scores["seeds"] > 1
            shown = _format_percent if of_classes else _format_plain
            cells = [str(number), *[_protocol_name(scores)] * mixed, name]
            cells += [shown(values[key], spread=several) for key in headline]
            cells += [_format_percent(values["fold_uar"], spread=True)] if of_classes else []
            cells += [shown(values[key]) if key in values else "" for key in own]
            lines.append(f"| {' | '.join(cells)} |")
        processes, note = entry["processes"], entry["note"]
        facts = [
            f"{scores['protocol']} ({independent})",
            *scores["facts"],
            f"{scores['folds']} folds",
            f"{scores['n']:,} utterances",
            f"{scores['seeds']} seed{'s' * (scores['seeds'] > 1)}",
            *([note] if note else []),
            f"commit {_format_distinct(process['git_commit'] for process in processes)}",
            _format_distinct(
                p["device"] for p in processes if "device" in p
            ),  # a killed one has none
        ]
        commands.append(f"{number}. `{entry['command']}`: {', '.join(facts)}")
    return "\n".join([*lines, "", *commands, *_format_t_tests(numbered)]) + "\n"


def _protocol_name(scores: dict) -> str:
    return f"{scores['protocol']}, {scores['folds']} folds"


def _format_t_tests(numbered: list[tuple]) -> list[str]:
    """Markdown: whether one row beats another, of those with the same task and several seeds.

    Over seeds, which says nothing about other speakers; and over folds, which are other speakers
    where they leave speakers out.
    """
    groups = {}
    for number, entry in numbered:
        scores = entry["scores"]
        if scores["seeds"] > 1:
            same = _protocol_name(scores), scores["folds"], scores["n"], *scores.get("classes", ())
            same += tuple(scores["flags"].get(k) for k in ("target", "rounding", "normalize"))
            for name, values in scores["systems"].items():
                groups.setdefault(same, []).append((f"{number} {name}", values))
    lines = []
    first = metrics.headline_scores(numbered[0][1]["scores"])[0]
    for (protocol, n_folds, *_), rows in groups.items():
        if len(rows) < 2:
            continue
        lines += [
            "",
            f"{protocol}: probability, by Welch's one-tailed t-test over seeds, "
            f"that the row's {_title(first)} is not above the column's (bold: under 0.05):",
            *_format_matrix(
                [(name, values[first]["values"]) for name, values in rows], significance.t_test
            ),
        ]
        if first == "uar" and n_folds >= FEWEST_FOLDS:
            # Folds are pooled seed after seed.
            means = [
                (name, np.reshape(values["fold_uar"]["values"], (-1, n_folds)).mean(axis=0))
                for name, values in rows
            ]
            lines += [
                "",
                "The same by the paired one-tailed t-test over the folds' UAR, means of the seeds:",
                *_format_matrix(means, significance.paired_t_test),
            ]
    return lines


def _format_matrix(rows, test) -> list[str]:
    """The probabilities of `test`(row's scores, column's scores)."""
    lines = ["", f"| | {' | '.join(name for name, _ in rows)} |", f"|{' --- |' * (len(rows) + 1)}"]
    for name, values in rows:
        cells = [
            "" if name == other else _format_probability(test(values, others)[1])
            for other, others in rows
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _title(key: str) -> str:
    words = {"uar": "UAR", "wa": "WA", "ccc": "CCC", "mse": "MSE"}
    return " ".join(words.get(word, word) for word in key.split("_"))


def _format_plain(summary: dict, *, spread: bool = False) -> str:
    """As `_percent`, of what is no share."""
    mean, sd = summary["mean"], summary["sd"]
    return f"{mean:.3f} ± {sd:.3f}" if spread and sd is not None else f"{mean:.3f}"


def _format_probability(p: float) -> str:
    if math.isnan(p):  # two rows of the same predictions
        return "the same"
    text = "< 0.001" if p < 0.001 else "> 0.999" if p > 0.999 else f"{p:.3f}"
    return f"**{text}**" if p < 0.05 else text


def _format_percent(summary: dict, *, spread: bool = False) -> str:
    """The mean, with the standard deviation where asked for and there is one."""
    mean, sd = 100 * summary["mean"], summary["sd"]
    return f"{mean:.1f} ± {100 * sd:.1f}" if spread and sd is not None else f"{mean:.1f}"


def _format_distinct(values) -> str:
    """Each value once, in the order of the processes; a wheel knows no commit."""
    return ", ".join(dict.fromkeys(value or "unknown" for value in values))
