"""How much emotion log-mel frames hold without a network: a linear SVM on their statistics.

    python benchmarks/logmel_svm.py --corpus emodb --out logmel_svm.json

Per utterance the mean, standard deviation, three percentiles and the standard deviation of the
frame-to-frame difference of each of EPR's 64 bands (384 values), z-scored on the training part;
SVC(kernel="linear", C=0.01), predictions pooled. Beside the same SVM on openSMILE's features it
tells what a network on log-mel frames has to start from.
"""

import argparse
import os
from pathlib import Path

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from tfser import corpora, folds, hparams, metrics, runs
from tfser.models import epr


def utterance_statistics(speech) -> np.ndarray:
    """Statistics of each utterance's frames [n, 6 n_bands]."""
    frames = np.asarray(speech.frames)
    rows = []
    for first, end in zip(speech.offsets[:-1], speech.offsets[1:], strict=True):
        x = frames[first:end]
        change = np.diff(x, axis=0).std(axis=0)
        rows.append(
            np.r_[
                x.mean(axis=0),
                x.std(axis=0),
                np.percentile(x, [10, 50, 90], axis=0).ravel(),
                change,
            ]
        )
    return np.stack(rows)


def main() -> None:
    """Prints UAR and WA for both protocols; --out writes the same as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    cache = Path(os.environ.get("TFSER_CACHE") or Path.home() / ".cache" / "tfser")
    hp = hparams.load("epr", args.corpus)
    utterances = epr.select(corpora.load(args.corpus, args.data_root, cache), **hp["labels"])
    run = runs.Run(Path("."), cache, args.corpus, "loso", None, (0,), "none", 0)
    speech = epr.segmented(utterances, hp, run)
    x = utterance_statistics(speech)
    speakers = [u.speaker for u in utterances]
    plans = {
        "loso": folds.by_speaker(speakers, n_folds=len(set(speakers))),
        "random10": [
            (split.train, split.test)
            for split in folds.stratified(
                [u.emotion for u in utterances], n_folds=10, dev_fraction=0.0, seed=0
            )
        ],
    }
    scores = {}
    for name, plan in plans.items():
        guess = np.empty(len(x), int)
        for train, test in plan:
            svm = make_pipeline(StandardScaler(), SVC(kernel="linear", C=0.01))
            guess[test] = svm.fit(x[train], speech.y[train]).predict(x[test])
        scores[name] = {"uar": metrics.uar(speech.y, guess), "wa": metrics.wa(speech.y, guess)}
        print(f"{args.corpus} {name}: UAR {scores[name]['uar']:.3f} WA {scores[name]['wa']:.3f}")
    if args.out:
        runs.write_json(args.out, {"corpus": args.corpus, "n": len(x), "scores": scores})


if __name__ == "__main__":
    main()
