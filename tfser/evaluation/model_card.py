"""Model cards: the tables of zoo/<model>/README.md, in Markdown."""

import math
from pathlib import Path

import numpy as np

from tfser.corpora.labels import ATTRIBUTES
from tfser.errors import DataError
from tfser.evaluation import metrics, significance

FEWEST_FOLDS = 3  # of a paired t-test
SCORES = ("uar", "wa", "macro_f1", "fold_uar", "fold_wa")  # of every paper
WITH_RANGE = ("acnn",)  # models whose paper has the least and the greatest of its runs


def split_card(card: Path, corpus: str) -> tuple[str, str]:
    """Return the card's text up to <!-- corpus --> and from <!-- end -->.

    A corpus without these lines gets them in a section below the last table, before the next
    chapter. Raises DataError where there is no card, or a line without the other.
    """
    start, end = f"<!-- {corpus} -->\n", "<!-- end -->"
    if not card.is_file():
        raise DataError(f"there is no card {card}; write it, with the lines {start.strip()} {end}")
    text = card.read_text(encoding="utf-8")
    if start not in text:
        above, mark, below = text.rpartition(end)
        chapter = below.find("\n## ") if mark else -1
        place = len(above + mark) + (chapter if chapter >= 0 else len(below))
        section = f"\n### {corpus}\n\n{start}{end}\n"
        text = text[:place].rstrip("\n") + "\n" + section + text[place:]
    head, _, rest = text.partition(start)
    _, mark, tail = rest.partition(end)
    if not mark:
        raise DataError(f"{card} has no {end} after {start.strip()}; add it below the table")
    return head + start, end + tail


def format_table(entries: list[dict]) -> str:
    """Format joined runs as Markdown: their file, and a row for each system of each run.

    Classes are in percent; ratings, which have different scores, have a table of their own below.
    """
    name = f"{entries[0]['scores']['corpus']}.json"
    kinds = {}
    for number, entry in enumerate(entries, start=1):
        kinds.setdefault(metrics.headline_scores(entry["scores"]), []).append((number, entry))
    return f"From [{name}]({name}):\n" + "".join(map(_format_rows, kinds.values()))


def _format_rows(numbered: list[tuple]) -> str:
    """Format runs with the same headline scores.

    The paper's own scores have columns, the commonest class has one where runs have counted it, and
    so have the protocol and the attribute where there are several.
    """
    entries = [entry for _, entry in numbered]
    systems = [values for e in entries for values in e["scores"]["systems"].values()]
    headline = metrics.headline_scores(entries[0]["scores"])
    has_classes = headline[0] == "uar"
    own = sorted({key for values in systems for key in values} - {*SCORES, *headline})
    if "f0_5_of_batches" in own:  # BEGAN's table 2 has an F-score, and does not say which
        own.insert(0, "macro_f1")
    mixed = {  # a column for what several rows differ in
        title: describe
        for title, describe in (("protocol", _protocol_name), ("attribute", _attribute_name))
        if len({describe(entry["scores"]) for entry in entries}) > 1
    }
    ranged = entries[0]["scores"]["model"] in WITH_RANGE
    has_majority = any("majority" in entry["scores"] for entry in entries)
    first, *others = map(_title, headline)
    titles = ["run", *mixed, "system", first, *["min", "max"] * ranged, *others]
    titles += ["commonest class"] * has_majority + ["fold UAR, mean ± sd"] * has_classes
    titles += [_title(key) for key in own]
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
            format_score = _format_percent if has_classes else _format_plain
            cells = [str(number), *(describe(scores) for describe in mixed.values()), name]
            first, *others = (format_score(values[key], spread=several) for key in headline)
            main = values[headline[0]]
            ends = [format_score(main | {"mean": main[key]}) for key in ("min", "max")]
            cells += [first, *ends * ranged, *others]
            majority = f"{100 * scores['majority']:.1f}" if "majority" in scores else ""
            cells += [majority] * has_majority
            cells += [_format_percent(values["fold_uar"], spread=True)] if has_classes else []
            cells += [
                format_score(values[key], spread=several) if key in values else "" for key in own
            ]
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
            # A killed process has no device.
            _format_distinct(p["device"] for p in processes if "device" in p),
        ]
        commands.append(f"{number}. `{entry['command']}`: {', '.join(facts)}")
    return "\n".join([*lines, "", *commands, *_format_t_tests(numbered)]) + "\n"


def _protocol_name(scores: dict) -> str:
    return f"{scores['protocol']}, {scores['folds']} folds"


def _attribute_name(scores: dict) -> str:
    """Return the attribute that is recognized, "" for another target."""
    target = scores.get("flags", {}).get("target")
    return target if target in ATTRIBUTES else ""


def _format_t_tests(numbered: list[tuple]) -> list[str]:
    """Format t-tests between rows with the same task and several seeds.

    A test over seeds says nothing about other speakers; a test over folds does, where folds leave
    speakers out.
    """
    groups = {}
    for number, entry in numbered:
        scores = entry["scores"]
        if scores["seeds"] > 1:
            task = _protocol_name(scores), scores["folds"], scores["n"], *scores.get("classes", ())
            flags = ("target", "rounding", "normalize", "splits")
            task += tuple(scores["flags"].get(name) for name in flags)
            for name, values in scores["systems"].items():
                groups.setdefault(task, []).append((f"{number} {name}", values))
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
            # The values are in the order of seeds, then folds.
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
    """Format the probabilities of `test`(row's scores, column's scores)."""
    lines = ["", f"| | {' | '.join(name for name, _ in rows)} |", f"|{' --- |' * (len(rows) + 1)}"]
    for name, values in rows:
        cells = [
            "" if name == column else _format_probability(test(values, column_values)[1])
            for column, column_values in rows
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _title(key: str) -> str:
    words = {"uar": "UAR", "wa": "WA", "ccc": "CCC", "mse": "MSE", "f1": "F1"}
    return " ".join(words.get(word, word) for word in key.split("_"))


def _format_plain(summary: dict, *, spread: bool = False) -> str:
    """Format mean and sd of a score that is no share, see `_format_percent`."""
    mean, sd = summary["mean"], summary["sd"]
    return f"{mean:.3f} ± {sd:.3f}" if spread and sd is not None else f"{mean:.3f}"


def _format_probability(p: float) -> str:
    if math.isnan(p):  # two rows of the same predictions
        return "the same"
    text = "< 0.001" if p < 0.001 else "> 0.999" if p > 0.999 else f"{p:.3f}"
    return f"**{text}**" if p < 0.05 else text


def _format_percent(summary: dict, *, spread: bool = False) -> str:
    """Format the mean in percent, with `spread` also the standard deviation if there is one."""
    mean, sd = 100 * summary["mean"], summary["sd"]
    return f"{mean:.1f} ± {100 * sd:.1f}" if spread and sd is not None else f"{mean:.1f}"


def _format_distinct(values) -> str:
    """Format each value once, in the order of the processes; a wheel has no commit."""
    return ", ".join(dict.fromkeys(value or "unknown" for value in values))
