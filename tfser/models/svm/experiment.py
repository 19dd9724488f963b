"""The experiment of the linear SVM: train it on every fold and score it."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from tqdm import tqdm

from tfser.cache import feature_cache
from tfser.corpora.labels import (
    check_classes,
    describe_labels,
    select_by_labels,
    select_common_classes,
    warn_of_untrained_classes,
)
from tfser.errors import UsageError
from tfser.evaluation import classification_report
from tfser.features.opensmile import normalize_by_speaker
from tfser.models.svm.dataset import make_opensmile, make_splits
from tfser.storage import atomic_files, run_directory


def train(utterances, hp, run, tested=None) -> dict | None:
    """Cross-validate, or test on another corpus; return the scores (see `finish_run`).

    tested: the utterances of the other corpus, selected and with their classes as `emotion`.
    """
    folds_are_random = run.protocol == "paper" and tested is None
    if len(run.seeds) > 1 and not folds_are_random:
        raise UsageError(
            f"--seeds {len(run.seeds)}: nothing is random in an SVM under --protocol loso or with "
            "--test-corpus; leave it out"
        )
    utterances = select_by_labels(utterances, **hp["labels"])
    n_trained = None
    if tested is not None:
        utterances, tested = select_common_classes(utterances, tested)
        n_trained, utterances = len(utterances), utterances + tested
    # All folds are made before any audio is read: a corpus that does not allow them fails at once.
    plans = {seed: make_splits(utterances, hp, run, seed, n_trained) for seed in run.seeds}
    if run.protocol == "loso":
        warn_of_untrained_classes(utterances, plans[run.seeds[0]])
    features = feature_cache.load_features(
        utterances, make_opensmile(hp["features"]), **run.cache_options
    )
    if len(features.utterances) < len(utterances):  # --max-bad left some out
        left = check_classes(features.utterances)
        if tested is not None:
            n_trained = len(set(left).intersection(utterances[:n_trained]))
        plans = {seed: make_splits(left, hp, run, seed, n_trained) for seed in run.seeds}
    utterances, x = features.utterances, features.frames  # [n, 6373]
    run_directory.check_data(run.folder, utterances, features.key)
    transductive = hp["features"]["normalize"] == "speaker"
    if transductive:
        x = normalize_by_speaker(x, [u.speaker for u in utterances])
    classification_report.write_splits(run, utterances, plans)
    classes = sorted({u.emotion for u in utterances})
    y = np.array([classes.index(u.emotion) for u in utterances])
    name = "SVM" + ", speaker-normalized" * transductive
    fewer = not hp["svm"]["trains_on_dev"]
    of_speakers = folds_are_random and hp["protocol"]["kind"] == "per-speaker"
    name += ", each speaker's own" * of_speakers + ", without dev" * fewer
    target = describe_labels(**hp["labels"])
    results = []
    for seed in run.seeds:
        predicted, fold_of = np.empty(len(y), int), np.full(len(y), -1)
        guesses = fit_folds(x, y, plans[seed], hp["svm"], run, seed)
        if run.parts is not None:
            continue
        for fold, guess in enumerate(guesses):
            test = plans[seed][fold].test
            predicted[test], fold_of[test] = guess, fold
        scored = np.flatnonzero(fold_of >= 0)
        systems = {name: {"predicted": predicted[scored], "probabilities": None}}
        of_test = [utterances[i] for i in scored]
        results.append(
            classification_report.score_seed(run, seed, of_test, classes, systems, fold_of[scored])
        )
    if run.parts is not None:
        return None
    return classification_report.finish_run(
        run,
        "svm",
        classes,
        results,
        # A dev part across corpora is of the speakers trained on.
        independent=run.protocol == "loso" or (tested is not None and run.evaluate == "test"),
        facts=[hp["features"]["feature_set"], *(f"{k} {v}" for k, v in target.items())]
        + ["z-score per speaker (transductive)"] * transductive
        + ["the other systems' dev part left out"] * fewer,
        flags=target | ({"normalize": "speaker(transductive)"} if transductive else {}),
    )


def fit_folds(x, y, splits, settings, run, seed) -> list[np.ndarray]:
    """Predicted classes of each fold's test part; folds share the cores, finished ones are kept."""
    name = f"SVM, seed {seed}"
    with (
        tqdm(total=len(splits), desc=name, unit="fold") as bar,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):

        def fit(own):
            _, split, folder = own
            done = folder / "predicted.npz"
            kept = atomic_files.read_arrays_if_complete(done)
            if kept is None:
                svm = make_pipeline(StandardScaler(), SVC(kernel="linear", C=settings["c"]))
                svm.fit(x[split.train], y[split.train])
                kept = {"predicted": svm.predict(x[split.test])}
                folder.mkdir(parents=True, exist_ok=True)
                atomic_files.write_arrays(folder / "svm.npz", **to_arrays(svm))
                atomic_files.write_arrays(done, **kept)  # last: this fold is finished
            bar.update()
            return kept["predicted"]

        return list(pool.map(fit, classification_report.iterate_own_folds(run, seed, splits, bar)))


def to_arrays(svm) -> dict[str, np.ndarray]:
    """A fitted pipeline as arrays, since no pickle is ever loaded: predicts by `votes`."""
    scaler, of_pairs = (step for _, step in svm.steps)
    sign = -1 if len(of_pairs.classes_) == 2 else 1  # scikit-learn turns the one pair round
    return {
        "mean": scaler.mean_,
        "scale": scaler.scale_,
        "weights": sign * of_pairs.coef_.T,  # [features, pairs]
        "bias": sign * of_pairs.intercept_,
        "classes": of_pairs.classes_,
    }
