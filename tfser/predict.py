"""tfser-predict: emotions in any recordings, by a run or by what tfser-export made of it."""

import argparse
import csv
import itertools
import json
import logging
import os
import sys
from pathlib import Path

from tfser import cli, corpora
from tfser.errors import ConflictError, DataError, UsageError

log = logging.getLogger("tfser")

EPILOG = """\
A recording of a minute or less is one row. Longer ones are cut into windows of 10 s, which
--window and --hop change; a recording is never in memory as a whole then. Columns: file, start, end
(seconds), predicted, confidence, one for each class, error.

exit codes: 0 done, 1 failed, 2 usage, 3 some recordings could not be used (their rows say why, the
others are done), 4 --out exists, 130 interrupted.

example: tfser-predict --export epr-emodb recordings/*.wav --out emotions.csv
"""
WHOLE_SECONDS = 60.0  # the longest recording that is one row without --window
WINDOW_SECONDS = 10.0  # of longer ones
SUFFIXES = (*corpora.AUDIO_SUFFIXES, ".mp3", ".ogg", ".opus", ".aiff", ".aif", ".au")


def parser() -> argparse.ArgumentParser:
    """The flags of tfser-predict."""
    p = cli.Parser(
        prog="tfser-predict",
        description=__doc__.partition(": ")[2],
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    of = p.add_mutually_exclusive_group(required=True)
    of.add_argument("--run", type=Path, metavar="DIR", help="run directory of tfser-train")
    of.add_argument("--export", type=Path, metavar="DIR", help="folder of tfser-export")
    p.add_argument("files", nargs="*", type=Path, metavar="FILE", help="recordings")
    p.add_argument("--folder", type=Path, metavar="DIR", help="all recordings under a folder")
    p.add_argument("--table", type=Path, metavar="CSV", help="a table with a column file, and "
                   "start and end in seconds if it has them")  # fmt: skip
    p.add_argument("--out", type=Path, metavar="FILE", help=".csv or .jsonl (default: stdout, CSV)")
    p.add_argument("--window", type=float, metavar="S", help="seconds of a row")
    p.add_argument("--hop", type=float, metavar="S", help="from row to row (default: --window)")
    p.add_argument("--plot", type=Path, metavar="DIR", help="a picture of each recording")
    p.add_argument("--seed", type=int, metavar="N", help="--run: of its network")
    p.add_argument("--fold", type=int, default=0, metavar="N", help="--run: of its network")
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return p


def main(argv=None) -> int:
    """Runs the command and returns its exit code."""
    return cli.run(predict, parser().parse_args(argv))


def predict(args) -> None:
    """Writes a row for each recording or window."""
    if args.window is not None and args.window <= 0:
        raise UsageError(f"--window {args.window:g}: must be above 0")
    if args.hop is not None and (args.window is None or not 0 < args.hop <= args.window):
        raise UsageError("--hop: give --window, and a hop of it at most")
    if args.out and args.out.suffix not in (".csv", ".jsonl"):
        raise UsageError(f"--out {args.out}: give a file that ends in .csv or .jsonl")
    if args.out and args.out.exists():
        raise ConflictError(f"{args.out} exists; give another --out, or delete it")
    asked = recordings(args)
    with cli.quiet():
        cli.import_keras()
        from tfser import predictor
    model = predictor.load(args.run or args.export, seed=args.seed, fold=args.fold)
    rows = model.rows(asked, window_seconds=args.window, hop_seconds=args.hop)
    failed = write(rows, model.columns, args.out)
    if args.plot:
        model.draw(asked, args.plot, window_seconds=args.window, hop_seconds=args.hop)
    if failed:
        raise DataError(f"{failed} of {len(asked)} recordings could not be used; see their rows")


def recordings(args) -> list[tuple]:
    """What is asked for: (file, start, end), both None for all of it."""
    asked = [(path, None, None) for path in args.files]
    if args.folder:
        found = [p for p in sorted(corpora.existing_folder(args.folder).rglob("*"))
                 if p.suffix.lower() in SUFFIXES]  # fmt: skip
        if not found:
            raise DataError(f"no recordings under {args.folder}")
        asked += [(path, None, None) for path in found]
    if args.table:
        asked += of_table(args.table)
    if not asked:
        raise UsageError("no recordings: give files, --folder or --table")
    return asked


def of_table(path: Path) -> list[tuple]:
    """The recordings of a table, which are relative to its folder."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if not rows or "file" not in rows[0]:
        raise DataError(f"{path}: no column named file, or no rows")
    asked = []
    for number, row in enumerate(rows, start=2):
        try:
            times = [float(row[name]) if row.get(name) else None for name in ("start", "end")]
        except ValueError:
            raise DataError(f"{path}, line {number}: start and end are seconds") from None
        asked.append((path.parent / row["file"], *times))
    return asked


def write(rows, columns, path: Path | None) -> int:
    """Writes rows as they come, and returns how many recordings failed."""
    failed = 0
    partial = path and path.with_name(f".{os.getpid()}.{path.name}")
    out = open(partial, "w", encoding="utf-8", newline="") if path else sys.stdout
    try:
        writer = csv.DictWriter(out, columns, lineterminator="\n")
        as_csv = path is None or path.suffix == ".csv"
        if as_csv:
            writer.writeheader()
        for row in rows:
            failed += bool(row["error"])
            if as_csv:
                writer.writerow(row)
            else:
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
            out.flush()
    finally:
        if path:
            out.close()
            partial.rename(path)  # also of what was done until an interruption
    return failed


def windows(duration_seconds, window_seconds, hop_seconds) -> list[tuple]:
    """The (start, end) of a recording's windows in seconds; the last one may be shorter.

    A rest is left out that the window before holds already.
    """
    if window_seconds is None:
        if duration_seconds <= WHOLE_SECONDS:
            return [(0.0, duration_seconds)]
        window_seconds = WINDOW_SECONDS
    hop_seconds = hop_seconds or window_seconds
    found = []
    for number in itertools.count():
        start = number * hop_seconds
        found.append((start, min(start + window_seconds, duration_seconds)))
        if start + window_seconds >= duration_seconds:
            return found


if __name__ == "__main__":
    sys.exit(main())
