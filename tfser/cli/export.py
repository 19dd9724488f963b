"""tfser-export: a finished run as a model that needs no tfser, checked before it is there."""

import argparse
import csv
import os
import shutil
import sys
from pathlib import Path

import numpy as np

from tfser import tensorflow_startup
from tfser.cli import base
from tfser.errors import DataError, TfserError, UsageError
from tfser.inference import export_readme
from tfser.storage import atomic_files

EPILOG = """\
The network is that of one fold; its predictions for the fold's test part, which the run has
written, are what the export must give as well, in a process without tfser. Of --format keras the
weights must be the run's, which gives those predictions.

exit codes: 0 done, 1 the check failed, 2 usage, 3 data, 4 --out exists or the run is not finished.

example: tfser-export --run runs/epr-emodb-loso --out epr-emodb
"""
CHECKED = 32  # utterances
# Of probabilities. Spectra of TensorFlow Lite and ONNX are products of float32.
CLOSE = {"savedmodel": 1e-5, "keras": 1e-5, "tflite": 1e-4, "onnx": 1e-4}


def parser() -> argparse.ArgumentParser:
    """The flags of tfser-export."""
    p = base.Parser("tfser-export", __doc__.partition(": ")[2], EPILOG)
    p.add_argument("--run", type=Path, required=True, metavar="DIR", help="run of tfser-train")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    p.add_argument(
        "--format",
        choices=list(CLOSE),
        default="savedmodel",
        help="the whole system as a SavedModel (default), for TensorFlow Lite or as ONNX; or its "
        "networks alone, for Keras",
    )
    p.add_argument("--seed", type=int, metavar="N", help="of the network (default: the first)")
    p.add_argument(
        "--fold", type=int, default=0, metavar="N", help="of the network, from 0 (default: 0)"
    )
    p.add_argument(
        "--data-root",
        type=Path,
        metavar="DIR",
        help="the corpus's folder (or TFSER_<CORPUS>_ROOT), or its table",
    )
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return p


def main(argv=None) -> int:
    """Runs the command and returns its exit code."""
    return base.run_command(export, parser().parse_args(argv), interrupted="nothing is written")


def export(args) -> None:
    """Saves, checks, and only then gives the folder its name."""
    base.check_new(args.out)
    with tensorflow_startup.quiet():
        tensorflow_startup.import_keras()
        from tfser.inference import export_formats, served_model
    run = served_model.load_run(args.run, seed=args.seed, fold=args.fold)
    export_formats.check_format(args.format, run)
    served = served_model.load_inference_function(run)
    inputs, expected = load_test_part(run, served, args.data_root)
    unfinished = args.out.with_name(f".{os.getpid()}.{args.out.name}")
    try:
        with tensorflow_startup.quiet():
            write_export(args.format, run, served, unfinished)
        if args.format == "keras":  # its networks are equal to the run's to the bit
            answers = [served_model.run_inference(served, x) for x in inputs]
        else:
            answers = export_formats.run_export(unfinished, inputs)
        worst = max_difference(answers, expected)
        if not worst <= CLOSE[args.format]:
            raise TfserError(
                f"the export of {args.run} gives other probabilities than the run, by {worst:.1e}; "
                f"{args.out} is not written; see that the corpus is the one that was tested"
                + _older(run)
            )
        unfinished.rename(args.out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    what = "equal to the run"
    if args.format == "keras":
        what = "the run's weights, which say what it said"
    print(f"{args.out}: {what} for {len(expected)} utterances, to {worst:.1e}")


def _older(run) -> str:
    """What else it may be: profiles of EPR were once computed as its networks were trained."""
    precision = run.hp["train"].get("precision", "float32")
    if run.model != "epr" or precision == "float32":
        return ""
    return f", and that tfser is not newer than the run, which is in {precision}: then train again"


def load_test_part(run, served, root) -> tuple[list[np.ndarray], np.ndarray]:
    """What the fold's test part sounds like, and the run's probabilities of it [n, K]."""
    from tfser.audio import decode
    from tfser.cli import options
    from tfser.corpora.loader import corpus_names, load_corpus
    from tfser.inference import served_model

    rows = select_test_rows(run)[:CHECKED]
    is_table = root is not None and options.is_table(str(root))
    corpus, root = (str(root), None) if is_table else (run.tested, root)
    if not is_table and corpus not in corpus_names():
        raise UsageError(f"{run.folder} is of a table: give it by --data-root path/to/files.csv")
    cache = os.environ.get("TFSER_CACHE")
    utterances = {u.name: u for u in load_corpus(corpus, root, cache and Path(cache))}
    waveforms = []
    for row in rows:
        u = utterances.get(row["utterance"])
        if u is None:
            raise DataError(f"{corpus} has no utterance {row['utterance']!r}: not what was tested")
        times = {"start_seconds": u.start_seconds, "end_seconds": u.end_seconds}
        waveforms.append(decode.load_audio(u.path, sample_rate_hz=served.sample_rate_hz, **times))
    expected = recorded_outputs(run, rows)
    if not served.smile:
        return waveforms, expected
    found = served.smile.extractor(served.sample_rate_hz).extract(waveforms)
    for features in found:
        if isinstance(features, Exception):
            raise features
    return [served_model.pad_features(features, served.smile.shape) for features in found], expected


def select_test_rows(run) -> list[dict]:
    """The rows of predictions.csv that are of the fold's network, of the last system.

    With `--protocol paper` EPR's forest has folds of its own (section 4.1): what both left out.
    """
    part = run.scores["flags"].get("evaluate", "test")
    of_fold = {
        row["utterance"]
        for row in read_rows(run.folder / "splits.csv")
        if (row["seed"], row["fold"], row["part"]) == (str(run.seed), str(run.fold), part)
    }
    rows = read_rows(run.network.parent / "predictions.csv")
    rows = [
        row
        for row in rows
        if (row["system"], row["fold"]) == (rows[-1]["system"], str(run.fold))
        and row["utterance"] in of_fold
    ]
    if not rows:
        raise DataError(f"{run.folder}: no utterance to check fold {run.fold}; take another --fold")
    return rows


def read_rows(path) -> list[dict]:
    """The rows of a .csv of a run; DataError where it is missing."""
    from tfser.inference import served_model

    served_model.check_exists(path)
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def recorded_outputs(run, rows) -> np.ndarray:
    """What rows of predictions.csv say [n, K]: probabilities, ratings, or ones for the classes."""
    columns = [f"p_{c}" for c in run.classes] or ["predicted_arousal", "predicted_valence"]
    if columns[0] in rows[0]:
        return np.array([[float(row[column]) for column in columns] for row in rows])
    return np.array([[row["predicted"] == c for c in run.classes] for row in rows], float)


def write_export(form, run, served, folder: Path) -> None:
    """The files of a form, and the folder's README."""
    from tfser.inference import export_formats, served_model

    folder.mkdir()
    getattr(export_formats, f"save_{form}")(run, served, folder)
    (folder / "README.md").write_text(
        export_readme.format_readme(form, run, served), encoding="utf-8"
    )
    about = {
        "format": served_model.FORMAT,
        "form": form,
        "model": run.model,
        "classes": run.classes,
        "outputs": served.outputs,
        "sample_rate_hz": served.sample_rate_hz,
        "heard_seconds": served.heard_seconds,
        "smile": served.smile and served.smile._asdict(),
    }
    atomic_files.write_json(folder / "tfser.json", about)


def max_difference(found, expected) -> float:
    """How far probabilities or ratings are from the run's, at most."""
    found = np.stack(found)
    if set(np.unique(expected)) <= {0.0, 1.0}:  # classes alone
        found = np.eye(found.shape[1])[found.argmax(axis=1)]
    return float(np.max(np.abs(found - expected)))


if __name__ == "__main__":
    sys.exit(main())
