"""tfser-card: records finished runs in zoo/<model>/<corpus>.json and in the tables of the card.

The only way a figure gets into zoo/: each comes from the scores.json that a run wrote, and stands
beside that run's command, versions and device.
"""

import argparse
import sys
from pathlib import Path

from tfser import hparams, runs
from tfser.errors import DataError, TfserError

KEPT = ("uar", "wa", "macro_f1", "fold_uar", "fold_wa", "segment_accuracy", "mean_profile_uar")


def main(argv=None) -> int:
    """Runs the command and returns its exit code."""
    parser = argparse.ArgumentParser(prog="tfser-card", description=__doc__.partition(": ")[2])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="finished run directory")
    parser.add_argument("--zoo", type=Path, help="folder of the cards (default: the project's)")
    parser.add_argument("--note", default="", help="what a reader must know of the corpus's copy")
    args = parser.parse_args(argv)
    zoo = args.zoo or Path(hparams.folder()).parent / "zoo"
    try:
        for folder in args.runs:
            record(folder, zoo, args.note)
    except TfserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def record(folder: Path, zoo: Path, note: str = "") -> None:
    """Adds the run to zoo/<model>/<corpus>.json, in place of one of the same settings."""
    try:
        scores = runs.read_json(folder / "scores.json")
        settings = runs.read_json(folder / "hparams.json")
        processes = runs.read_json(folder / "environment.json")["processes"]
    except FileNotFoundError as error:
        raise DataError(f"{folder} is not a finished run: {error.filename} is missing") from None
    entry = {
        "command": processes[-1]["command"],
        "note": note,
        "scores": scores,
        "settings": settings,
        "processes": processes,
    }
    path = zoo / scores["model"] / f"{scores['corpus']}.json"
    entries = runs.read_json(path) if path.exists() else []
    entries = [
        old
        for old in entries
        if (old["settings"], old["scores"]["seeds"]) != (settings, scores["seeds"])
    ]
    entries.append(entry)
    entries.sort(key=lambda e: (e["scores"]["protocol"], e["command"]))
    runs.write_json(path, entries)
    write_table(path.parent / "README.md", scores["corpus"], entries)


def write_table(card: Path, corpus: str, entries: list[dict]) -> None:
    """Replaces what stands between <!-- corpus --> and <!-- end --> in the card."""
    start, end = f"<!-- {corpus} -->\n", "<!-- end -->"
    text = card.read_text(encoding="utf-8")
    head, found, rest = text.partition(start)
    if not found:
        raise DataError(f"{card} has no line {start.strip()} where the table of {corpus} belongs")
    tail = rest[rest.index(end) :]
    runs.write_bytes(card, (head + start + table(entries) + tail).encode())


def table(entries: list[dict]) -> str:
    """Markdown: a row for each network of each run, in percent."""
    lines = [
        "| run | network | UAR | WA | fold UAR, mean ± sd | mean-profile UAR | segments |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    commands = []
    for number, entry in enumerate(entries, start=1):
        scores = entry["scores"]
        independent = (
            "speaker-independent" if scores["speaker_independent"] else "speaker-dependent"
        )
        for name, values in scores["rounds"].items():
            percent = {key: 100 * values[key]["mean"] for key in KEPT}
            sd = {key: 100 * values[key]["sd"] for key in KEPT}
            several = scores["seeds"] > 1
            uar, wa = (
                f"{percent[key]:.1f}" + (f" ± {sd[key]:.1f}" if several else "")
                for key in ("uar", "wa")
            )
            lines.append(
                f"| {number} | {name} | {uar} | {wa} "
                f"| {percent['fold_uar']:.1f} ± {sd['fold_uar']:.1f} "
                f"| {percent['mean_profile_uar']:.1f} | {percent['segment_accuracy']:.1f} |"
            )
        last, note, stuck = entry["processes"][-1], entry["note"], scores["networks_at_chance"]
        facts = [
            f"{scores['protocol']} ({independent})",
            f"labels {scores['labels']}",
            f"{scores['folds']} folds",
            f"{scores['n']:,} utterances",
            f"{scores['segments']:,} segments",
            f"{scores['seeds']} seed{'s' * (scores['seeds'] > 1)}",
            *([note] if note else []),
            *([f"{len(stuck)} networks never left chance"] if stuck else []),
            f"commit {last['git_commit']}",
            last["device"],
        ]
        commands.append(f"{number}. `{entry['command']}`: {', '.join(facts)}")
    return "\n".join([*lines, "", *commands]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
