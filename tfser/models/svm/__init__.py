"""The linear SVM on openSMILE functionals that papers compare with: the row beside every system.

6373 functionals an utterance (IS13: Schuller et al., Interspeech 2013), z-score with the training
part's statistics, scikit-learn's SVC with a linear kernel. No paper of the zoo; the recipe is the
field's usual baseline. `features.normalize = "speaker"` takes each speaker's own statistics
instead, the test speaker's too: transductive, no longer a system that could hear one utterance of
a stranger, and labelled so in every result.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from tqdm import tqdm

from tfser.cache import feature_cache
from tfser.corpora.labels import check_classes, common, describe, select, warn_of_unheard
from tfser.errors import UsageError
from tfser.evaluation import classification_report
from tfser.evaluation import splits as folds
from tfser.features.opensmile import OpenSmile, normalized_by_speaker
from tfser.storage import atomic_files, run_directory


def train(utterances, hp, run, tested=None) -> dict | None:
    """Cross-validates, or tests on another corpus; returns the scores (see `report.finish`).

    tested: the utterances of the other corpus, selected and with their classes as `emotion`.
    """
    folds_are_random = run.protocol == "paper" and tested is None
    if len(run.seeds) > 1 and not folds_are_random:
        raise UsageError(
            f"--seeds {len(run.seeds)}: nothing is random in an SVM under --protocol loso or with "
            "--test-corpus; leave it out"
        )
    utterances = select(utterances, **hp["labels"])
    n_trained = None
    if tested is not None:
        utterances, tested = common(utterances, tested)
        n_trained, utterances = len(utterances), utterances + tested
    # All folds are made before any audio is read: a corpus that does not allow them fails at once.
    plans = {seed: plan(utterances, hp, run, seed, n_trained) for seed in run.seeds}
    if run.protocol == "loso":
        warn_of_unheard(utterances, plans[run.seeds[0]])
    features = feature_cache.load(utterances, functionals(hp["features"]), **run.reading)
    if len(features.utterances) < len(utterances):  # --max-bad left some out
        left = check_classes(features.utterances)
        if tested is not None:
            n_trained = len(set(left).intersection(utterances[:n_trained]))
        plans = {seed: plan(left, hp, run, seed, n_trained) for seed in run.seeds}
    utterances, x = features.utterances, features.frames  # [n, 6373]
    run_directory.check_data(run.folder, utterances, features.key)
    transductive = hp["features"]["normalize"] == "speaker"
    if transductive:
        x = normalized_by_speaker(x, [u.speaker for u in utterances])
    classification_report.write_splits(run, utterances, plans)
    classes = sorted({u.emotion for u in utterances})
    y = np.array([classes.index(u.emotion) for u in utterances])
    name = "SVM" + ", speaker-normalized" * transductive
    fewer = not hp["svm"]["trains_on_dev"]
    of_speakers = folds_are_random and hp["protocol"]["kind"] == "per-speaker"
    name += ", each speaker's own" * of_speakers + ", without dev" * fewer
    target = describe(**hp["labels"])
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
            classification_report.seed_scores(run, seed, of_test, classes, systems, fold_of[scored])
        )
    if run.parts is not None:
        return None
    return classification_report.finish(
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


def functionals(settings) -> OpenSmile:
    """One row of functionals an utterance."""
    return OpenSmile(
        sample_rate_hz=settings["sample_rate_hz"],
        feature_set=settings["feature_set"],
        level="functionals",
    )


def plan(utterances, hp, run, seed, n_trained=None) -> list[folds.Split]:
    """One corpus after the other (`n_trained`), one speaker out, or [protocol]'s random parts.

    protocol.kind "k-fold": stratified folds; "per-speaker": an SVM for each speaker, tested on what
    BEGAN's heads are tested on under the same seed.

    Nothing is chosen, so that their dev part trains too, unless svm.trains_on_dev says otherwise
    or it is what is scored.
    """
    emotions = [u.emotion for u in utterances]
    trains_on_dev = hp["svm"]["trains_on_dev"] and run.evaluate == "test"
    fraction = 0.0 if trains_on_dev else hp["protocol"]["dev_fraction"]
    if n_trained is not None:
        splits = folds.across(emotions, n_trained, dev_fraction=fraction, seed=seed)
    elif run.protocol == "loso":
        splits = folds.leave_speakers_out([u.speaker for u in utterances], n_folds=run.n_folds)
    elif hp["protocol"]["kind"] == "per-speaker":
        if run.n_folds:
            raise UsageError(
                f"--folds {run.n_folds}: per-speaker has a fold for each; leave it out"
            )
        share, speakers = hp["protocol"]["train_fraction"], [u.speaker for u in utterances]
        splits = folds.within_speakers(
            speakers, emotions, train_fraction=share, dev_fraction=fraction, seed=seed
        )
    else:
        n_folds = run.n_folds or hp["protocol"]["n_folds"]
        splits = folds.stratified(emotions, n_folds=n_folds, dev_fraction=fraction, seed=seed)
    if not trains_on_dev:
        return folds.evaluated_on(run.evaluate, splits)
    return [
        folds.Split(train=np.sort(np.concatenate([s.train, s.dev])), dev=s.dev[:0], test=s.test)
        for s in splits
    ]


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
            kept = atomic_files.read_arrays_if_whole(done)
            if kept is None:
                svm = make_pipeline(StandardScaler(), SVC(kernel="linear", C=settings["c"]))
                svm.fit(x[split.train], y[split.train])
                kept = {"predicted": svm.predict(x[split.test])}
                folder.mkdir(parents=True, exist_ok=True)
                atomic_files.write_arrays(folder / "svm.npz", **arrays_of(svm))
                atomic_files.write_arrays(done, **kept)  # last: this fold is finished
            bar.update()
            return kept["predicted"]

        return list(pool.map(fit, classification_report.own_folds(run, seed, splits, bar)))


def arrays_of(svm) -> dict[str, np.ndarray]:
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
