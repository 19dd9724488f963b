"""tfser-predict: emotions in any recordings, by a run or by what tfser-export made of it."""

import argparse
import csv
import json
import math
import sys
from pathlib import Path

from tfser import tensorflow_startup
from tfser.cli import base
from tfser.corpora import audio_folder
from tfser.errors import ConflictError, DataError, UsageError

EPILOG = """\
A recording of a minute or less is one row. Longer ones are cut into windows of 10 s, which
--window and --hop change; a recording is never in memory as a whole then. Systems that hear only a
beginning (ACNN 7.5 s) have windows of that length at most. Columns: file, start, end
(seconds), predicted, confidence, one for each class, error.

exit codes: 0 done, 1 failed, 2 usage, 3 some recordings could not be used (their rows say why, the
others are done), 4 --out exists, 130 interrupted.

example: tfser-predict --export epr-emodb recordings/*.wav --out emotions.csv
"""
KEPT = "what is done stands in a file .part beside --out"
SUFFIXES = (*audio_folder.AUDIO_SUFFIXES, ".mp3", ".ogg", ".opus", ".aiff", ".aif", ".au")


def parser() -> argparse.ArgumentParser:
    """The flags of tfser-predict."""
    p = base.Parser("tfser-predict", __doc__.partition(": ")[2], EPILOG)
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
    return base.run_command(predict, parser().parse_args(argv), interrupted=KEPT)


def predict(args) -> None:
    """Writes a row for each recording or window."""
    if args.out and args.out.suffix not in (".csv", ".jsonl"):
        raise UsageError(f"--out {args.out}: give a file that ends in .csv or .jsonl")
    if args.out:
        base.check_new(args.out)
    if args.plot:
        if args.plot.exists() and (not args.plot.is_dir() or any(args.plot.iterdir())):
            raise ConflictError(f"--plot {args.plot}: give a new or empty folder")
        args.plot.mkdir(parents=True, exist_ok=True)
    asked = list_recordings(args)
    with tensorflow_startup.quiet():
        tensorflow_startup.import_keras()
        from tfser.inference import predictor
    predictor.check_window(args.window, args.hop)
    folder = args.run or args.export
    if (folder / "tfser.json").exists() != bool(args.export):
        raise UsageError(f"{folder}: give a run of tfser-train by --run, an export by --export")
    model = predictor.load_predictor(folder, seed=args.seed, fold=args.fold)
    rows = model.rows(asked, window_seconds=args.window, hop_seconds=args.hop)
    failed = write_rows(rows, model.columns, args.out)
    if args.plot:
        model.draw(asked, args.plot, window_seconds=args.window, hop_seconds=args.hop)
    if failed:
        files = len({str(path) for path, *_ in asked})
        raise DataError(
            f"{failed} of {files} recordings could not be used, or not all of them; see their rows"
        )


def list_recordings(args) -> list[tuple]:
    """What is asked for: (file, start, end), both None for all of it."""
    asked = [(path, None, None) for path in args.files]
    if args.folder:
        found = list(
            audio_folder.list_audio_files(audio_folder.check_folder(args.folder), SUFFIXES)
        )
        if not found:
            raise DataError(f"no recordings under {args.folder}")
        asked += [(path, None, None) for path in found]
    if args.table:
        asked += read_table(args.table)
    if not asked:
        raise UsageError("no recordings: give files, --folder or --table")
    return asked


def read_table(path: Path) -> list[tuple]:
    """The recordings of a table, which are relative to its folder."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
            rows = list(csv.DictReader(file, delimiter=delimiter))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if not rows or "file" not in rows[0]:
        raise DataError(f"{path}: no column named file, or no rows")
    asked = []
    for number, row in enumerate(rows, start=2):
        try:
            times = [float(row[name]) if row.get(name) else None for name in ("start", "end")]
        except ValueError:
            times = [math.nan]
        if not all(t is None or 0 <= t < math.inf for t in times):
            raise DataError(f"{path}, line {number}: start and end are seconds, from 0")
        if not row["file"]:
            raise DataError(f"{path}, line {number}: names no file")
        asked.append((path.parent / row["file"], *times))
    return asked


def write_rows(rows, columns, path: Path | None) -> int:
    """Writes rows as they come, and returns how many recordings failed."""
    failed = set()
    partial = path and path.with_name(f"{path.name}.part")
    options = {"encoding": "utf-8", "errors": "surrogateescape"}  # for names that are no UTF-8
    if path is None and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(**options)
    out = open(partial, "w", newline="", **options) if path else sys.stdout
    try:
        writer = csv.DictWriter(out, columns, lineterminator="\n")
        as_csv = path is None or path.suffix == ".csv"
        if as_csv:
            writer.writeheader()
        for row in rows:
            if row["error"]:
                failed.add(row["file"])
            if as_csv:
                writer.writerow(row)
            else:
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
            out.flush()
    finally:
        if path:
            out.close()
    if path:
        partial.rename(path)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
