"""tfser-export: writes a finished run as a model that needs no tfser, and checks the model."""

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfser import tensorflow_startup
from tfser.cli import base
from tfser.errors import DataError, TfserError, UsageError
from tfser.inference import export_readme
from tfser.inference.finished_run import check_exists, load_run
from tfser.storage import atomic_files
from tfser.storage.preset import find_preset

EPILOG = """\
The export holds the network of one fold. In a process without tfser it must give the predictions
that the run has written for the test set of that fold, or those of the preset for a second of
noise; else nothing is written. With --format keras the weights must equal those of the run.

exit codes: 0 done, 1 the check failed, 2 usage, 3 data, 4 --out exists or cannot be written, or the
run is not finished.

example: tfser-export --run runs/epr-emodb-loso --out epr-emodb
"""
CHECKED = 32  # utterances
# Largest difference of probabilities. TensorFlow Lite and ONNX compute spectra as float32 products.
CLOSE = {"savedmodel": 1e-5, "keras": 1e-5, "tflite": 1e-4, "onnx": 1e-4}


def parser() -> argparse.ArgumentParser:
    """Return the parser of tfser-export."""
    p = base.Parser("tfser-export", __doc__.partition(": ")[2], EPILOG)
    source = p.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, metavar="DIR", help="run directory")
    source.add_argument("--preset", metavar="NAME", help="trained system that is installed with "
                        "tfser: tfser presets lists them; or a preset folder")  # fmt: skip
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder")
    p.add_argument(
        "--format",
        choices=list(CLOSE),
        default="savedmodel",
        help="savedmodel, tflite or onnx: the whole system, from waveform to emotion; keras: its "
        "networks alone (default: savedmodel)",
    )
    p.add_argument(
        "--seed", type=int, metavar="N", help="seed of the network (default: the first of the run)"
    )
    p.add_argument(
        "--fold", type=int, default=0, metavar="N", help="fold of the network, from 0 (default: 0)"
    )
    p.add_argument(
        "--data-root",
        type=Path,
        metavar="DIR",
        help="folder of the run's corpus (or TFSER_<CORPUS>_ROOT), or its table",
    )
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return p


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options of tfser-export."""

    out: Path
    run: Path | None = None
    preset: str | None = None
    format: str = "savedmodel"
    seed: int | None = None
    fold: int = 0
    data_root: Path | None = None
    debug: bool = False


def main(argv=None) -> int:
    """Run the command and return its exit code."""
    options = base.parse(parser(), argv, ExportOptions)
    return base.run_command(export, options, interrupted="nothing is written")


def export(options: ExportOptions) -> None:
    """Write the export under a temporary name, check it, then rename it."""
    base.check_new(options.out)
    folder = options.run or find_preset(options.preset).folder
    run = load_run(folder, seed=options.seed, fold=options.fold)
    with tensorflow_startup.quiet():
        tensorflow_startup.import_keras()
        from tfser.inference import export_formats, served_model
    export_formats.check_format(options.format, run)
    served = served_model.load_inference_function(run)
    if options.preset:
        inputs = make_inputs(served, [make_noise(served.sample_rate_hz)])
        expected = np.stack([served_model.run_inference(served, x) for x in inputs])
    else:
        inputs, expected = load_test_part(run, served, options.data_root)
    with atomic_files.replace_folder(options.out) as unchecked:
        with tensorflow_startup.quiet():
            write_export(options.format, run, served, unchecked)
        if options.format == "keras":  # `save_keras` has compared the weights bit by bit
            outputs = [served_model.run_inference(served, x) for x in inputs]
        else:
            outputs = export_formats.run_export(unchecked, inputs)
        worst = max_difference(outputs, expected)
        if not worst <= CLOSE[options.format]:
            raise TfserError(
                f"the export of {folder} gives other probabilities than the run, by "
                f"{worst:.1e}; {options.out} is not written; see that the corpus is the one that "
                "was tested" + _older_run_hint(run)
            )
    source = "preset" if options.preset else "run"
    result = f"equal to the {source}"
    if options.format == "keras":
        result = f"the weights and predictions of the {source}"
    what = "a second of noise" if options.preset else f"{len(expected)} utterances"
    print(f"{options.out}: {result} for {what}, to {worst:.1e}")


def _older_run_hint(run) -> str:
    """Return a further possible cause: EPR's profiles were once computed in 16 bits."""
    precision = run.hp.get("train", {}).get("precision", "float32")
    if run.model != "epr" or precision == "float32":
        return ""
    return f", and that tfser is not newer than the run, which is in {precision}: then train again"


def load_test_part(run, served, root) -> tuple[list[np.ndarray], np.ndarray]:
    """Load inputs of the fold's test set and the run's predictions of them [n, K]."""
    from tfser.audio import decode
    from tfser.cli import options
    from tfser.corpora.loader import corpus_names, load_corpus

    rows = select_test_rows(run)[:CHECKED]
    is_table = root is not None and options.is_table(str(root))
    corpus, root = (str(root), None) if is_table else (run.test_corpus, root)
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
        waveforms.append(
            decode.load_audio(
                u.path,
                sample_rate_hz=served.sample_rate_hz,
                channel=run.channel,
                **times,
            )
        )
    return make_inputs(served, waveforms), recorded_outputs(run, rows)


def make_inputs(served, waveforms) -> list[np.ndarray]:
    """Return the inputs of the inference function: waveforms, or their openSMILE features."""
    if not served.opensmile_input:
        return waveforms
    from tfser.inference import served_model

    extracted = served.opensmile_input.make_extractor(served.sample_rate_hz).extract(waveforms)
    for features in extracted:
        if isinstance(features, Exception):
            raise features
    shape = served.opensmile_input.shape
    return [served_model.pad_features(features, shape) for features in extracted]


def make_noise(sample_rate_hz: int) -> np.ndarray:
    """Return a second of noise: a preset has no recordings to check its export with."""
    return np.random.default_rng(0).normal(0, 0.1, sample_rate_hz).astype("float32")


def select_test_rows(run) -> list[dict]:
    """Select the rows of predictions.csv of the last system that the fold's network tests.

    EPR's forest has folds of its own with `--protocol paper` (section 4.1): the rows are those that
    neither the network nor the forest was trained on. Older runs name the forest's fold "fold".
    """
    evaluated = run.scores["flags"].get("evaluate", "test")
    parts = {"dev", "test"} if evaluated == "none" else {evaluated}  # none: --protocol all
    of_fold = {
        row["utterance"]
        for row in read_rows(run.folder / "splits.csv", ("seed", "fold", "part", "utterance"))
        if (row["seed"], row["fold"]) == (str(run.seed), str(run.fold)) and row["part"] in parts
    }
    rows = read_rows(run.network.parent / "predictions.csv", ("system", "utterance"))
    rows = [
        row
        for row in rows
        if row["system"] == rows[-1]["system"]
        and row.get("forest_fold", row.get("fold")) == str(run.fold)
        and row["utterance"] in of_fold
    ]
    if not rows:
        raise DataError(f"{run.folder}: no utterance to check fold {run.fold}; take another --fold")
    return rows


def read_rows(path, columns) -> list[dict]:
    """Read a .csv file of a run; raise DataError if it is missing, damaged, or lacks a column."""
    check_exists(path)
    return atomic_files.read_csv(path, columns)


def recorded_outputs(run, rows) -> np.ndarray:
    """Return the outputs in predictions.csv [n, K]: probabilities, ratings or one-hot classes."""
    from tfser.cli.zoo import SVMS

    columns = [f"p_{c}" for c in run.classes] or ["predicted_arousal", "predicted_valence"]
    votes = run.model in SVMS  # an export gives votes, not the probabilities of the run
    try:
        if columns[0] in rows[0] and not votes:
            return np.array([[float(row[column]) for column in columns] for row in rows])
        return np.array([[row["predicted"] == c for c in run.classes] for row in rows], float)
    except (KeyError, ValueError) as error:
        raise atomic_files.damaged_error(run.network.parent / "predictions.csv", error) from None


def write_export(form, run, served, folder: Path) -> None:
    """Write the model in a format, the README and tfser.json into an empty folder."""
    from tfser.inference import export_formats, served_model

    getattr(export_formats, f"save_{form}")(run, served, folder)
    atomic_files.write_text(folder / "README.md", export_readme.format_readme(form, run, served))
    for name, text in (served.notices or {}).items():
        atomic_files.write_text(folder / name, text)
    about = {
        "format": served_model.FORMAT,
        "form": form,
        "model": run.model,
        "classes": run.classes,
        "outputs": served.outputs,
        "sample_rate_hz": served.sample_rate_hz,
        "channel": run.channel,
        "heard_seconds": served.input_seconds,
        "smile": served.opensmile_input and served.opensmile_input._asdict(),
    }
    atomic_files.write_json(folder / "tfser.json", about)


def max_difference(outputs, expected) -> float:
    """Return the largest difference between outputs and the run's predictions."""
    outputs = np.stack(outputs)
    if set(np.unique(expected)) <= {0.0, 1.0}:  # one-hot classes
        outputs = np.eye(outputs.shape[1])[outputs.argmax(axis=1)]
    return float(np.max(np.abs(outputs - expected)))


if __name__ == "__main__":
    sys.exit(main())
