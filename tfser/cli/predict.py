"""tfser-predict: predicts emotions in audio files with a finished run or an export."""

import argparse
import csv
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from tfser import tensorflow_startup
from tfser.cli import base
from tfser.corpora import audio_folder, table
from tfser.errors import ConflictError, DataError, UsageError
from tfser.inference.finished_run import check_folder, load_run
from tfser.inference.prediction_table import format_file_name
from tfser.inference.windows import check_window
from tfser.storage import atomic_files

EPILOG = """\
Audio files: wav, flac, ogg, opus, mp3, aiff, au, sph, at any sampling rate, mono or not.

A recording of a minute or less gives one row. A longer recording is cut into windows of 10 s
(--window and --hop), which are read one after the other. A system with an input of fixed length
(ACNN 7.5 s) has windows of that length at most. Columns: file, start, end (seconds), predicted,
confidence, a probability for each class, error. A CSV has ./=a.wav for a file =a.wav, which
spreadsheets would take for a formula.

exit codes: 0 done, 1 failed, 2 usage, 3 some recordings could not be used (the column error gives
the reason; the other recordings are done), 4 --out exists, 130 interrupted.

example: tfser-predict --export epr-emodb recordings/*.wav --out emotions.csv
"""
INTERRUPTED = "what is done stands in a file .part beside --out"
SUFFIXES = (*audio_folder.AUDIO_SUFFIXES, ".mp3", ".ogg", ".opus", ".aiff", ".aif", ".au")


def parser() -> argparse.ArgumentParser:
    """Return the parser of tfser-predict."""
    p = base.Parser("tfser-predict", __doc__.partition(": ")[2], EPILOG)
    source = p.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, metavar="DIR", help="run directory of tfser-train")
    source.add_argument("--export", type=Path, metavar="DIR", help="folder of tfser-export")
    p.add_argument("files", nargs="*", type=Path, metavar="FILE", help="audio files")
    p.add_argument("--folder", type=Path, metavar="DIR", help="all audio files under a folder")
    p.add_argument("--table", type=Path, metavar="CSV", help="a table as for tfser-train, with a "
                   "column file and, for parts of recordings, start and end")  # fmt: skip
    p.add_argument("--out", type=Path, metavar="FILE", help=".csv or .jsonl (default: stdout, CSV)")
    p.add_argument("--window", type=float, metavar="S", help="window length in seconds")
    p.add_argument(
        "--hop", type=float, metavar="S", help="seconds from window to window (default: --window)"
    )
    p.add_argument(
        "--plot", type=Path, metavar="DIR", help="draw each recording into this new folder"
    )
    p.add_argument("--seed", type=int, metavar="N", help="with --run: seed of the network")
    p.add_argument(
        "--fold", type=int, default=0, metavar="N", help="with --run: fold of the network"
    )
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return p


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Options of tfser-predict."""

    run: Path | None = None
    export: Path | None = None
    files: tuple[Path, ...] = ()
    folder: Path | None = None
    table: Path | None = None
    out: Path | None = None
    window: float | None = None
    hop: float | None = None
    plot: Path | None = None
    seed: int | None = None
    fold: int = 0
    debug: bool = False


def main(argv=None) -> int:
    """Run the command and return its exit code."""
    options = base.parse(parser(), argv, PredictOptions)
    return base.run_command(predict, options, interrupted=INTERRUPTED)


def predict(options: PredictOptions) -> None:
    """Write a row for each recording or window."""
    if options.out and options.out.suffix not in (".csv", ".jsonl"):
        raise UsageError(f"--out {options.out}: give a file that ends in .csv or .jsonl")
    if options.out:
        base.check_new(options.out)
    if options.plot and options.plot.exists():
        if not options.plot.is_dir() or any(options.plot.iterdir()):
            raise ConflictError(f"--plot {options.plot}: give a new or empty folder")
    check_window(options.window, options.hop)
    folder = options.run or options.export
    if (folder / "tfser.json").exists() != bool(options.export):
        raise UsageError(f"{folder}: give a run of tfser-train by --run, an export by --export")
    if options.run:
        check_folder(folder)
        load_run(folder, seed=options.seed, fold=options.fold)
    recordings = list_recordings(options)
    if options.plot:
        options.plot.mkdir(parents=True, exist_ok=True)
    with tensorflow_startup.quiet():  # after all checks that need no TensorFlow
        tensorflow_startup.import_keras()
        from tfser.inference import predictor
    model = predictor.load_predictor(folder, seed=options.seed, fold=options.fold)
    rows = model.predict_rows(recordings, window_seconds=options.window, hop_seconds=options.hop)
    failed = write_rows(rows, model.columns, options.out)
    if options.plot:
        model.write_figures(
            recordings, options.plot, window_seconds=options.window, hop_seconds=options.hop
        )
    if failed:
        files = len({str(path) for path, *_ in recordings})
        raise DataError(
            f"{failed} of {files} recordings could not be used, or not all of them; see their rows"
        )


def list_recordings(options: PredictOptions) -> list[tuple]:
    """List (file, start, end) of the recordings; start and end are None for whole files."""
    recordings = [(path, None, None) for path in options.files]
    if options.folder:
        files = list(
            audio_folder.list_audio_files(audio_folder.check_folder(options.folder), SUFFIXES)
        )
        if not files:
            raise DataError(f"no recordings under {options.folder}")
        recordings += [(path, None, None) for path in files]
    if options.table:
        recordings += table.read_recordings(options.table.expanduser())
    if not recordings:
        raise UsageError("no recordings: give files, --folder or --table")
    return recordings


def write_rows(rows, columns, path: Path | None) -> int:
    """Write rows as they arrive and return the number of recordings that failed."""
    failed = set()
    partial = path and path.with_name(atomic_files.fit_name(f"{path.name}.part"))
    options = {"encoding": "utf-8", "errors": "surrogateescape"}  # file names may not be UTF-8
    if path is None and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(**options)
    out = open(partial, "w", newline="", **options) if path else sys.stdout
    try:
        writer = csv.DictWriter(out, columns, lineterminator="\n")
        # Before Python 3.13, csv leaves a name with a carriage return without quotes.
        quoted = csv.DictWriter(out, columns, lineterminator="\n", quoting=csv.QUOTE_ALL)
        as_csv = path is None or path.suffix == ".csv"
        if as_csv:
            writer.writeheader()
        for row in rows:
            if row["error"]:
                failed.add(row["file"])
            if as_csv:
                written = row | {"file": format_file_name(row["file"])}
                (quoted if "" in row["file"] else writer).writerow(written)
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
