"""Scores of linear classifiers on statistics of log-mel frames: the information without a network.

    python benchmarks/logmel_svm.py --corpus emodb --out logmel_svm.json

Per utterance the mean, standard deviation, three percentiles and the standard deviation of the
frame-to-frame difference of each of EPR's 64 bands (384 values), z-scored on the training set;
SVC(kernel="linear", C=0.01), predictions pooled. Compare with the same SVM on openSMILE's features
for the starting point of a network on log-mel frames.

With --segments the same statistics of each of EPR's segments (32 frames) instead: logistic
regression (C=0.01) learns the labels that segments inherit, and the mean of its probabilities over
an utterance decides. The difference is the loss by a view of 335 ms at a time.
"""

import argparse
import os
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from tfser.config.hparams import load_hparams
from tfser.corpora.labels import select_by_labels
from tfser.corpora.loader import load_corpus
from tfser.evaluation import metrics
from tfser.evaluation.splits import speaker_group_k_fold, stratified_k_fold
from tfser.models.epr import experiment
from tfser.models.epr.refinery import utterance_means
from tfser.storage import atomic_files, run_directory


def compute_statistics(frames, spans) -> np.ndarray:
    """Compute statistics [spans, 6 n_bands] of the frames in each (first, end)."""
    rows = []
    for first, end in spans:
        x = frames[first:end]
        change = np.diff(x, axis=0).std(axis=0)
        percentiles = np.percentile(x, [10, 50, 90], axis=0).ravel()
        rows.append(np.r_[x.mean(axis=0), x.std(axis=0), percentiles, change])
    return np.stack(rows)


def predict_utterances(x, y, train, test) -> np.ndarray:
    """Predict the classes of the utterances `test`."""
    svm = make_pipeline(StandardScaler(), SVC(kernel="linear", C=0.01))
    return svm.fit(x[train], y[train]).predict(x[test])


def predict_segments(x, speech, train, test) -> tuple[np.ndarray, float]:
    """Predict the classes of the utterances `test`; return them with their segments' accuracy.

    x: [segments, features].
    """
    is_train = np.isin(speech.owner, train)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    model.fit(x[is_train], speech.y[speech.owner[is_train]])
    profiles = model.predict_proba(x)
    is_test = np.isin(speech.owner, test)
    accuracy = metrics.wa(speech.y[speech.owner[is_test]], profiles[is_test].argmax(axis=1))
    return utterance_means(profiles, speech.owner)[test].argmax(axis=1), accuracy


def main() -> None:
    """Print UAR and WA for both protocols; --out writes the same as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--hparams", help="as of tfser-train: which segments")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--segments", action="store_true", help="segment by segment")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    cache = Path(os.environ.get("TFSER_CACHE") or Path.home() / ".cache" / "tfser")
    hp = load_hparams("epr", args.corpus, overlay=args.hparams, overrides=args.overrides)
    utterances = select_by_labels(load_corpus(args.corpus, args.data_root, cache), **hp["labels"])
    run = run_directory.Run(Path("."), cache, args.corpus, "loso", None, (0,), "none", 0)
    speech = experiment.load_dataset(utterances, hp, run)
    if args.segments:
        starts = np.asarray(speech.starts)
        spans = np.stack([starts, starts + hp["segments"]["n_frames"]], axis=1)
    else:
        spans = np.stack([speech.offsets[:-1], speech.offsets[1:]], axis=1)
    x = compute_statistics(np.asarray(speech.frames), spans)
    speakers = [u.speaker for u in utterances]
    folds_of = {
        "loso": speaker_group_k_fold(speakers, n_folds=len(set(speakers))),
        "random10": [
            (split.train, split.test)
            for split in stratified_k_fold(
                [u.emotion for u in utterances], n_folds=10, dev_fraction=0.0, seed=0
            )
        ],
    }
    scores = {}
    for name, folds in folds_of.items():
        guess = np.empty(len(speech.y), int)
        accuracies = []
        for train, test in folds:
            if args.segments:
                guess[test], accuracy = predict_segments(x, speech, train, test)
                accuracies.append(accuracy)
            else:
                guess[test] = predict_utterances(x, speech.y, train, test)
        scores[name] = {"uar": metrics.uar(speech.y, guess), "wa": metrics.wa(speech.y, guess)}
        if args.segments:
            scores[name]["segment_accuracy_fold_mean"] = float(np.mean(accuracies))
            print(f"segments {np.mean(accuracies):.3f}", end=" ")
        print(f"{args.corpus} {name}: UAR {scores[name]['uar']:.3f} WA {scores[name]['wa']:.3f}")
    if args.out:
        atomic_files.write_json(
            args.out, {"corpus": args.corpus, "spans": len(x), "scores": scores}
        )


if __name__ == "__main__":
    main()
