"""Seconds of 20 predictions: EPR's forest against scikit-learn's, exports against ONNX Runtime's.

    python benchmarks/serving.py [--savedmodel DIR --onnx DIR] ... [--rounds 9] [--out serving.json]

A forest of 100 trees on the 28 statistics of 7 classes, for 64 utterances and for one; exports of
`tfser-export`, both formats of a run for each pair, on one utterance of 3 s (noise), or, for models
of openSMILE's features, on the features of one utterance (noise; without openSMILE's own time).
Candidates take turns, 20 predictions each; figures are medians after a warm-up turn. ONNX Runtime
has as many threads as TensorFlow: one for each core.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
import turns
from sklearn.ensemble import RandomForestClassifier

from tfser.models.epr import forest
from tfser.models.epr.inference import Forest
from tfser.storage import atomic_files

ANSWERS = 20
N_CLASSES = 7


def time_answers(function):
    """Return a function that calls `function` ANSWERS times and returns the seconds."""
    return turns.time_call(lambda: [function() for _ in range(ANSWERS)])


def make_forests(n_utterances):
    """Return our forest in the graph, and scikit-learn's."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 4 * N_CLASSES)).astype("float32")
    y = rng.integers(0, N_CLASSES, len(x))
    ours = tf.function(Forest(forest.fit_forest(x, y, N_CLASSES, n_estimators=100, seed=0)))
    theirs = RandomForestClassifier(n_estimators=100, random_state=0).fit(x, y)
    batch = x[:n_utterances]
    inputs = tf.constant(batch)
    return {
        "ours": time_answers(lambda: ours(inputs).numpy()),
        "scikit-learn": time_answers(lambda: theirs.predict_proba(batch)),
    }


def load_exports(saved: Path, onnx: Path):
    """Return the SavedModel and the ONNX format of a run."""
    import onnxruntime  # optional

    about = atomic_files.read_json(saved / "tfser.json")
    shape = about["smile"]["shape"] if about["smile"] else [3 * about["sample_rate_hz"]]
    x = np.random.default_rng(0).normal(0, 0.1, (1, *shape)).astype("float32")
    serve = tf.saved_model.load(str(saved)).signatures["serving_default"]
    session = onnxruntime.InferenceSession(onnx / "model.onnx")
    [name] = [of.name for of in session.get_inputs()]
    inputs = {name: tf.constant(x)}
    return {
        "savedmodel": time_answers(lambda: serve(**inputs)["probabilities"].numpy()),
        "onnx runtime": time_answers(lambda: session.run(["probabilities"], {name: x})),
    }


def main():
    """Print the medians and their ratios to ours."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--savedmodel", type=Path, action="append", default=[])
    parser.add_argument("--onnx", type=Path, action="append", default=[])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    kinds = {f"forest, {n} utterances": make_forests(n) for n in (64, 1)}
    for saved, onnx in zip(args.savedmodel, args.onnx, strict=True):
        kinds[saved.name] = load_exports(saved, onnx)
    result = {}
    for name, steps in kinds.items():
        print(f"{name}, {ANSWERS} answers")
        result[name] = turns.compare(steps, args.rounds)
    if args.out:
        turns.write_figures(args.out, answers=ANSWERS, kinds=result)


if __name__ == "__main__":
    main()
