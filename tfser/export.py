"""tfser-export: a finished run as a SavedModel that needs no tfser, checked before it is there."""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from tfser import cli, metrics, runs
from tfser.errors import DataError, TfserError, UsageError

EPILOG = """\
The network is that of one fold; its predictions for the fold's test part, which the run has
written, are what the export must give as well, in a process without tfser.

exit codes: 0 done, 1 the check failed, 2 usage, 3 data, 4 --out exists or the run is not finished.

example: tfser-export --run runs/epr-emodb-loso --out epr-emodb
"""
CHECKED = 32  # utterances
CLOSE = 1e-5  # of probabilities


def parser() -> argparse.ArgumentParser:
    """The flags of tfser-export."""
    p = cli.Parser("tfser-export", __doc__.partition(": ")[2], EPILOG)
    p.add_argument("--run", type=Path, required=True, metavar="DIR", help="run of tfser-train")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
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
    return cli.run(export, parser().parse_args(argv), interrupted="nothing is written")


def export(args) -> None:
    """Saves, checks, and only then gives the folder its name."""
    cli.check_new(args.out)
    with cli.quiet():
        cli.import_keras()
        from tfser import serving
    run = serving.finished(args.run, seed=args.seed, fold=args.fold)
    served = serving.served(run)
    inputs, expected = tested(run, served, args.data_root)
    unfinished = args.out.with_name(f".{os.getpid()}.{args.out.name}")
    try:
        with cli.quiet():
            save(run, served, unfinished)
        worst = difference(unfinished, inputs, expected)
        if not worst <= CLOSE:
            raise TfserError(
                f"the export of {args.run} gives other probabilities than the run, by {worst:.1e}; "
                f"{args.out} is not written"
            )
        unfinished.rename(args.out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    print(f"{args.out}: equal to the run for {len(expected)} utterances, to {worst:.1e}")


def tested(run, served, root) -> tuple[list[np.ndarray], np.ndarray]:
    """What the fold's test part sounds like, and the run's probabilities of it [n, K]."""
    from tfser import audio, corpora, serving, train

    with open(run.network.parent / "predictions.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rows = [r for r in rows if int(r["fold"]) == run.fold and r["system"] == rows[-1]["system"]]
    rows = rows[:CHECKED]
    is_table = root is not None and train.is_table(str(root))
    corpus, root = (str(root), None) if is_table else (run.tested, root)
    if not is_table and corpus not in corpora.names():
        raise UsageError(f"{run.folder} is of a table: give it by --data-root path/to/files.csv")
    cache = os.environ.get("TFSER_CACHE")
    utterances = {u.name: u for u in corpora.load(corpus, root, cache and Path(cache))}
    waveforms = []
    for row in rows:
        u = utterances.get(row["utterance"])
        if u is None:
            raise DataError(f"{corpus} has no utterance {row['utterance']!r}: not what was tested")
        times = {"start_seconds": u.start_seconds, "end_seconds": u.end_seconds}
        waveforms.append(audio.load(u.path, sample_rate_hz=served.sample_rate_hz, **times))
    expected = said_of(run, rows)
    if not served.smile:
        return waveforms, expected
    found = served.smile.extractor(served.sample_rate_hz).extract(waveforms)
    for features in found:
        if isinstance(features, Exception):
            raise features
    return [serving.as_input(features, served.smile.shape) for features in found], expected


def said_of(run, rows) -> np.ndarray:
    """What rows of predictions.csv say [n, K]: probabilities, ratings, or ones for the classes."""
    columns = [f"p_{c}" for c in run.classes] or ["predicted_arousal", "predicted_valence"]
    if columns[0] in rows[0]:
        return np.array([[float(row[column]) for column in columns] for row in rows])
    return np.array([[row["predicted"] == c for c in run.classes] for row in rows], float)


def save(run, served, folder: Path) -> None:
    """The SavedModel with its signatures, the classes as an asset, and the folder's README."""
    import tensorflow as tf

    from tfser import serving

    folder.mkdir()
    classes = folder / "classes.txt"
    classes.write_text("".join(f"{name}\n" for name in run.classes), encoding="utf-8")
    module = tf.Module()
    module.parts = served.parts
    module.classes_file = tf.saved_model.Asset(str(classes))
    names = tf.constant(run.classes)

    def named(found):
        return {**found, "classes": names}

    if served.smile:
        spec = tf.TensorSpec([None, *served.smile.shape], tf.float32, "features")
        module.of_features = tf.function(
            lambda features: named(served.function(features)), input_signature=[spec]
        )
        signatures = {"serving_default": module.of_features}
    else:
        signatures = of_waveforms(module, served, named)
    tf.saved_model.save(module, folder, signatures=signatures)
    classes.unlink()  # its copy is the asset
    (folder / "README.md").write_text(page(run, served), encoding="utf-8")
    about = {
        "format": serving.FORMAT,
        "model": run.model,
        "classes": run.classes,
        "outputs": served.outputs,
        "sample_rate_hz": served.sample_rate_hz,
        "heard_seconds": served.heard_seconds,
        "smile": served.smile and served.smile._asdict(),
    }
    runs.write_json(folder / "tfser.json", about)


def of_waveforms(module, served, named) -> dict:
    """The signatures of a system that hears waveforms."""
    import tensorflow as tf

    from tfser import serving

    def checked(waveform, lengths):
        batch, n = tf.unstack(tf.shape(waveform))
        waveform = serving.silenced(waveform, lengths)
        finite = tf.reduce_all(tf.math.is_finite(waveform))
        with tf.control_dependencies(
            [
                tf.debugging.Assert(finite, ["the waveform has NaN or infinite samples"]),
                tf.debugging.assert_positive(lengths, "a waveform has no samples"),
                tf.debugging.assert_less_equal(lengths, n, "a length is above the samples"),
                tf.debugging.assert_equal(tf.size(lengths), batch, "a length for each waveform"),
            ]
        ):
            return named(served.function(tf.identity(waveform), lengths))

    def waveforms(waveform):
        with tf.control_dependencies(
            [tf.debugging.assert_rank_in(waveform, (1, 2), message="[samples] or [batch, samples]")]
        ):
            n = tf.shape(waveform)[-1]
        waveform = tf.reshape(waveform, [-1, n])
        return checked(waveform, tf.fill(tf.shape(waveform)[:1], n))

    def wav(content):
        samples, rate = tf.audio.decode_wav(content)
        right = tf.equal(rate, served.sample_rate_hz)
        with tf.control_dependencies(
            [tf.debugging.Assert(right, [f"not {served.sample_rate_hz} Hz but", rate])]
        ):
            return waveforms(tf.reduce_mean(samples, axis=1))

    several = tf.TensorSpec([None, None], tf.float32, "waveform")
    any_shape = tf.TensorSpec(None, tf.float32, "waveform")
    module.waveforms = tf.function(waveforms, input_signature=[any_shape])
    module.lengths = tf.function(
        checked, input_signature=[several, tf.TensorSpec([None], tf.int32, "lengths")]
    )
    module.wav = tf.function(wav, input_signature=[tf.TensorSpec([], tf.string, "content")])
    return {"serving_default": module.waveforms, "lengths": module.lengths, "wav": module.wav}


def difference(folder: Path, inputs, expected) -> float:
    """How far the export's probabilities are from the run's, at most.

    In a process of its own that has TensorFlow and not tfser.
    """
    asked, answers = folder / "asked.npz", folder / "answers.npz"
    runs.write_arrays(asked, **{str(i): x for i, x in enumerate(inputs)})
    script = Path(__file__).with_name("exported.py")
    done = subprocess.run(
        [sys.executable, "-P", script, folder, asked, answers], capture_output=True, text=True
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise TfserError(f"the export cannot be used: {reason}")
    found = runs.read_arrays(answers)
    asked.unlink()
    answers.unlink()
    found = np.stack([found[str(i)] for i in range(len(inputs))])
    if set(np.unique(expected)) <= {0.0, 1.0}:  # classes alone
        found = np.eye(found.shape[1])[found.argmax(axis=1)]
    return float(np.max(np.abs(found - expected)))


def page(run, served) -> str:
    """README.md of the folder."""
    scores = run.scores
    name, system = list(scores["systems"].items())[-1]
    independent = "unknown" if scores["speaker_independent"] else "known"
    named = ", ".join(run.classes) or "none, of ratings"
    figures = ", ".join(
        f"{'CCC of ' + key[4:] if key.startswith('ccc_') else key.upper()} "
        + (f"{100 * mean:.1f} %" if run.classes else f"{mean:.3f}")
        for key in metrics.headline(scores)
        for mean in [system[key]["mean"]]
    )
    heard = ""
    if served.heard_seconds:
        heard = f"The first {served.heard_seconds:g} s of an utterance are heard.\n\n"
    rows = "\n".join(f"| `{key}` | {what} |" for key, what in served.outputs.items())
    if served.smile:
        shape = ", ".join(map(str, served.smile.shape))
        given = (
            f"`serving_default(features: float32 [batch, {shape}])`: openSMILE's "
            f"{served.smile.feature_set} {served.smile.level}, which no graph can compute; "
            f"`tfser-predict` computes them, of {served.sample_rate_hz} Hz. NaN stands after an "
            "utterance's last frame."
        )
    else:
        given = (
            f"`serving_default(waveform: float32 [batch, samples] or [samples])`, mono at "
            f"{served.sample_rate_hz} Hz, -1 to 1. Resampling is not in the graph.\n\n"
            "`lengths(waveform: float32 [batch, samples], lengths: int32 [batch])`: recordings of "
            "several lengths, in samples; what lies after a length is of no account.\n\n"
            f"`wav(content: string)`: a WAV file of 16 bits at {served.sample_rate_hz} Hz."
        )
    instance = "[0.0, ...]"
    for _ in served.smile.shape if served.smile else ():
        instance = f"[{instance}, ...]"
    key = "features" if served.smile else "waveform"
    return f"""# {run.model} of tfser, trained on {run.corpus}

{given}

| output | |
| --- | --- |
{rows}
| `classes` | [classes]: {named} |

{heard}Network of seed {run.seed}, fold {run.fold}, of {scores["folds"]}. {scores["seeds"]} seed(s).
The run's scores for speakers {independent} in training, protocol {scores["protocol"]}, "{name}":
{figures} ({scores["n"]} utterances).
The corpus's licence holds for what is done with a network trained on it.

```
curl -d '{json.dumps({"inputs": {key: "X"}}).replace(chr(34) + "X" + chr(34), instance)}' \\
    http://localhost:8501/v1/models/{run.model}:predict
```
"""


if __name__ == "__main__":
    sys.exit(main())
