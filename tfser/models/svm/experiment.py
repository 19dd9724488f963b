"""The experiment of the linear SVM: train it on every fold and score it.

`encoder` trains the same SVM on other features.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from tqdm import tqdm

from tfser.cache import feature_cache
from tfser.corpora.labels import describe_labels
from tfser.evaluation import classification_report, cross_validation
from tfser.features.opensmile import normalize_by_speaker
from tfser.models.svm.dataset import make_embedding, make_opensmile
from tfser.models.svm.probabilities import estimate_probabilities
from tfser.models.svm.splits import make_splits
from tfser.storage import atomic_files, fold_files, run_directory
from tfser.training.balance import balance_weights, name_balance


class Dataset(NamedTuple):
    """A corpus with its features."""

    utterances: list
    classes: list[str]
    y: np.ndarray  # [n], the class of each utterance
    x: np.ndarray  # [n, features]


def train(utterances, hp, run, tested=None) -> dict | None:
    """Cross-validate, or test on another corpus; return the scores (see `finish_run`).

    tested: the utterances of the other corpus, selected and with their classes as `emotion`.
    """
    if hp["features"]["from"]:
        feature = make_embedding(hp["features"])
        return train_on_features(
            *(utterances, hp, run, tested),
            model="svm",
            system=f"SVM on {feature.training.name} {feature.layer}",
            make_feature=lambda: feature,
            facts=[f"layer {feature.layer}"],
            flags={"layer": feature.layer},
            earlier=feature.training,
            digest={"network of features.from": feature.digest},
        )
    return train_on_features(
        utterances,
        hp,
        run,
        tested,
        model="svm",
        system="SVM",
        make_feature=lambda: make_opensmile(hp["features"]),
        facts=[hp["features"]["feature_set"]],
    )


def train_on_features(
    utterances, hp, run, tested, *, model, system, make_feature, facts, flags=None,
    earlier=None, digest=None,
) -> dict | None:  # fmt: skip
    """Train and test the SVM on one row of features per utterance; see `train`.

    Args:
        model, system: names in the results.
        make_feature: function that returns the feature, see `feature_cache.load_features`.
        facts, flags, earlier: of the feature, see `finish_run`.
        digest: of the feature's network, see `run_directory.check_data`.
    """
    folds_are_random = run.protocol == "paper" and tested is None
    utterances, tested = cross_validation.join_corpora(utterances, tested, hp["labels"])

    def make_all_splits(utterances):
        n_trained = cross_validation.count_trained(utterances, tested)
        return {seed: make_splits(utterances, hp, run, seed, n_trained) for seed in run.seeds}

    dataset, splits = cross_validation.load_with_splits(
        utterances,
        run,
        make_all_splits,
        lambda utterances: load_dataset(utterances, hp, run, make_feature(), digest),
        earlier=earlier,
    )
    transductive = hp["features"]["normalize"] == "speaker"
    fewer = not hp["svm"]["trains_on_dev"]
    per_speaker = folds_are_random and hp["protocol"]["kind"] == "per-speaker"
    name = system + ", speaker-normalized" * transductive
    name += ", each speaker's own" * per_speaker + ", without dev" * fewer
    balanced = name_balance(hp["svm"]["balance"])
    name += "".join(f", {text}" for text in balanced)
    if earlier is not None and earlier.list_seen(run.corpus, dataset.utterances, splits):
        name += ", seen speakers"
    results = []
    for seed in run.seeds:
        outputs = fit_folds(dataset, splits[seed], hp["svm"], run, seed)
        if run.parts is not None:
            continue
        parts = [split.test for split in splits[seed]]
        numbers, predicted, fold_of = cross_validation.merge_folds(
            parts, [output["predicted"] for output in outputs]
        )
        probabilities = None
        if all("probabilities" in output for output in outputs):
            _, probabilities, _ = cross_validation.merge_folds(
                parts, [output["probabilities"] for output in outputs]
            )
        results.append(
            classification_report.score_seed(
                run,
                seed,
                [dataset.utterances[i] for i in numbers],
                dataset.classes,
                {name: {"predicted": predicted, "probabilities": probabilities}},
                fold_of,
                splits[seed],
            )
        )
    if run.parts is not None:
        return None
    labels = describe_labels(**hp["labels"])
    return classification_report.finish_run(
        run,
        model,
        dataset.classes,
        results,
        utterances=dataset.utterances,
        splits=splits,
        facts=[*facts, *(f"{k} {v}" for k, v in labels.items())]
        + ["z-score per speaker (transductive)"] * transductive
        + ["the other systems' dev part left out"] * fewer
        + balanced,
        flags=(flags or {})
        | labels
        | ({"normalize": "speaker(transductive)"} if transductive else {}),
        earlier=earlier,
        **({"digests": digest} if digest else {}),
    )


def load_dataset(utterances, hp, run, feature, digest=None) -> Dataset:
    """Load the features of the corpus; digest: see `train_on_features`."""
    features = feature_cache.load_features(utterances, feature, **run.cache_options)
    utterances, x = features.utterances, features.frames
    run_directory.check_data(run.folder, utterances, features.key, **(digest or {}))
    if hp["features"]["normalize"] == "speaker":
        x = normalize_by_speaker(x, [u.speaker for u in utterances])
    classes = sorted({u.emotion for u in utterances})
    y = np.array([classes.index(u.emotion) for u in utterances])
    return Dataset(utterances, classes, y, x)


def fit_folds(dataset, splits, settings, run, seed) -> list[dict[str, np.ndarray]]:
    """Fit an SVM per fold, in threads; return the outputs for each fold's test set.

    A finished fold is not fitted again.

    Returns: "predicted" [m] and, where the training set has all classes and allows it,
    "probabilities" [m, K].
    """
    x, y, n_classes = dataset.x, dataset.y, len(dataset.classes)
    speakers = np.array([u.speaker for u in dataset.utterances])
    name = f"SVM, seed {seed}"
    with (
        tqdm(total=len(splits), desc=name, unit="fold") as bar,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):

        def fit(own):
            _, split, folder = own
            file = folder / "predicted.npz"
            arrays = atomic_files.read_arrays_if_complete(file)
            if arrays is not None:
                arrays = fold_files.take_place(file, arrays)
            if arrays is None or not set(arrays.get("predicted", [-1])) <= set(y):
                svm = make_pipeline(StandardScaler(), SVC(kernel="linear", C=settings["c"]))
                known = [dataset.utterances[i] for i in split.train]
                weights = balance_weights(known, settings["balance"])
                weighted = {} if weights is None else {"svc__sample_weight": weights}
                svm.fit(x[split.train], y[split.train], **weighted)
                arrays = {"predicted": svm.predict(x[split.test])}
                probabilities = estimate_probabilities(
                    svm[0].transform(x[split.train]),
                    y[split.train],
                    speakers[split.train],
                    svm[0].transform(x[split.test]),
                    settings["c"],
                )
                if probabilities is not None and probabilities.shape[1] == n_classes:
                    arrays["probabilities"] = probabilities
                folder.mkdir(parents=True, exist_ok=True)
                atomic_files.write_arrays(folder / "svm.npz", **to_arrays(svm))
                # Last: this fold is finished.
                atomic_files.write_arrays(file, **arrays, **fold_files.stamp_place(file))
            bar.update()
            return arrays

        return list(pool.map(fit, cross_validation.iterate_own_folds(run, seed, splits, bar)))


def to_arrays(svm) -> dict[str, np.ndarray]:
    """Return a fitted pipeline as arrays, since no pickle is ever loaded; see `inference.Votes`."""
    scaler, svc = (step for _, step in svm.steps)
    sign = -1 if len(svc.classes_) == 2 else 1  # scikit-learn turns a single pair round
    return {
        "mean": scaler.mean_,
        "scale": scaler.scale_,
        "weights": sign * svc.coef_.T,  # [features, pairs]
        "bias": sign * svc.intercept_,
        "classes": svc.classes_,
    }
