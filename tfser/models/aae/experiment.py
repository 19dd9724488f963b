"""The experiment of the adversarial autoencoder (section 5): one row of table 1."""

from typing import NamedTuple

import keras
import numpy as np

from tfser.corpora.labels import describe_labels
from tfser.evaluation import classification_report, cross_validation
from tfser.models.aae import figures
from tfser.models.aae.dataset import (
    Dataset,
    add_priors,
    check_frames,
    describe_unlabelled,
    feature_statistics,
    load_dataset,
    make_batches,
    make_splits,
    sample_labels,
    select_utterances,
)
from tfser.models.aae.network import AdversarialAutoencoder, baseline
from tfser.storage import atomic_files, run_directory
from tfser.training import fold, loop, mixed_precision
from tfser.training.epoch import predict_batches

ROWS = {  # of table 1; "FR + AAE" has the changes of section 5.2, here "FR + AAE Optimized"
    ("utterance", "baseline"): "UTT + Base",
    ("utterance", "vanilla"): "UTT + AAE",
    ("utterance", "optimized"): "UTT + AAE Optimized",
    ("frame", "baseline"): "FR + Base",
    ("frame", "vanilla"): "FR + AAE vanilla",
    ("frame", "optimized"): "FR + AAE Optimized",
}


class Experiment(NamedTuple):
    """The inputs of every fold."""

    dataset: Dataset
    hp: dict
    run: run_directory.Run
    model: keras.Model  # compiled once; every network starts from new weights in it
    bar: cross_validation.Progress


def train(utterances, hp, run) -> dict | None:
    """Cross-validate one row of table 1; return the scores, as in scores.json."""
    loop.select_strategy(run.strategy)  # fail before any work on a machine with one device
    check_frames(hp)

    def load_checked(utterances):
        dataset = load_dataset(utterances, hp, run)
        run_directory.check_data(run.folder, dataset.utterances, dataset.key)
        return dataset

    dataset, splits = cross_validation.load_with_splits(
        select_utterances(utterances, hp),
        run,
        lambda utterances: dict.fromkeys(run.seeds, make_splits(utterances, run)),
        load_checked,
    )
    system = hp["model"]["system"]
    name = ROWS[hp["model"]["level"], system]
    model = compiled_network(dataset, hp, run)
    shifts = []  # of the features by each class, one array per network

    def train_fold(split, folder, seed, bar):
        bar.at(system)
        outputs = train_network(Experiment(dataset, hp, run, model, bar), split, folder, seed)
        bar.network_done()
        return outputs

    def score_seed(seed, outputs):
        shifts.extend(output.get("generated") for output in outputs)
        probabilities = [output["probabilities"] for output in outputs]
        return cross_validation.score_probabilities(
            run, seed, dataset, splits[seed], name, probabilities
        )

    results = cross_validation.cross_validate(
        run, splits, train_fold, score_seed, max_epochs=hp["train"]["max_epochs"]
    )
    if results is None:
        return None
    if system != "baseline":
        mean_shifts = np.mean(shifts, axis=0)
        figures.write_generation(run, name, dataset.classes, dataset.names, mean_shifts)
    labels = describe_labels(**hp["labels"]) | describe_unlabelled(dataset, hp)
    transductive = hp["features"]["normalize"] == "speaker"
    return classification_report.finish_run(
        run,
        "aae",
        dataset.classes,
        results,
        utterances=dataset.utterances,
        splits=splits,
        facts=[
            f"{hp['features']['feature_set']}, {len(dataset.names)} "
            + (f"descriptors, {dataset.n_frames} frames" if dataset.n_frames else "functionals"),
            *(f"{k} {v}" for k, v in labels.items()),
            *["z-score per speaker (transductive)"] * transductive,
        ],
        flags=labels | ({"normalize": "speaker(transductive)"} if transductive else {}),
    )


def compiled_network(dataset, hp, run) -> keras.Model:
    """Return the compiled network of this experiment; `train_network` sets its weights."""
    rate = hp["train"]["learning_rate"]
    optimized = hp["model"]["system"] == "optimized"
    with loop.select_strategy(run.strategy).scope():
        model = new_network(dataset, hp)
        if hp["model"]["system"] == "baseline":
            return loop.compile_model(
                model, keras.optimizers.Nadam(rate), keras.losses.CategoricalCrossentropy()
            )
        # Section 5.2: '"strengthened" generator'.
        ratio = hp["train"]["discriminator_ratio"] if optimized else 1.0
        model.prepare(learning_rate=rate, discriminator_learning_rate=ratio * rate)
        return model


def new_network(dataset, hp) -> keras.Model:
    """Return a randomly initialized network for the corpus."""
    n_features, settings = len(dataset.names), hp["model"]
    shape = (dataset.n_frames, n_features) if dataset.n_frames else (n_features,)
    options = {
        "units": settings["units"],
        "dropout": settings["dropout"],
        "clip": hp["features"]["clip"],
    }
    if settings["system"] == "baseline":
        return baseline(shape, len(dataset.classes), **options)
    return AdversarialAutoencoder(
        shape=shape,
        n_classes=len(dataset.classes),
        n_z=settings["n_z"],
        optimized=settings["system"] == "optimized",
        **options,
    )


def train_network(experiment, split, folder, seed) -> dict[str, np.ndarray]:
    """Train one network, or continue it; return its outputs for the test set.

    Returns: {"probabilities": [n, K]} and, of an autoencoder, "generated" [K, features], see
    `figures.class_shifts`.
    """
    dataset, hp, run, model, bar = experiment
    if outputs := fold.load_finished(folder / "test.npz"):
        return outputs
    folder.mkdir(parents=True, exist_ok=True)
    order_seed = fold.set_seeds(seed)  # of the batches, and of the labels that are used
    loop.reinitialize(model, new_network(dataset, hp))

    is_baseline = hp["model"]["system"] == "baseline"
    labelled = split.train[dataset.y[split.train] >= 0]
    if (fraction := hp["train"]["labelled_fraction"]) < 1:
        labelled = sample_labels(labelled, dataset.y, fraction, np.random.default_rng(order_seed))
    known = labelled if is_baseline else split.train
    model.get_layer("standardize").set_statistics(*feature_statistics(dataset, known))
    # One-hot, and zeros for an utterance whose label is not used.
    one_hot = np.eye(len(dataset.classes), dtype="float32")[dataset.y[known]]
    one_hot[~np.isin(known, labelled)] = 0
    batch_size = loop.shared_batch_size(min(hp["train"]["batch_size"], len(known)), run.strategy)
    dev_batches = make_batches(dataset, split.dev, None, 256)

    def make_train_batches(epoch):
        options = {"seed": order_seed, "epoch": epoch}
        batches = make_batches(dataset, known, one_hot, batch_size, drop_remainder=True, **options)
        if is_baseline:
            return batches
        sizes = len(dataset.classes), hp["model"]["n_z"]
        return add_priors(batches, batch_size, *sizes, **options)

    history = fold.train_epochs(
        model,
        make_train_batches,
        lambda: fold.score_classes(dataset.y[split.dev], predict_batches(model, dev_batches)),
        max_epochs=hp["train"]["max_epochs"],
        run=run,
        folder=folder,
        bar=bar,
        columns=None,
    )
    precise = mixed_precision.copy_in_float32(model)
    test_batches = make_batches(dataset, split.test, None, 256)
    outputs = {"probabilities": predict_batches(precise, test_batches)}
    if not is_baseline:
        outputs["generated"] = figures.class_shifts(precise)
    write_network(folder, bar.place, history, model, is_baseline)
    return fold.finish(folder / "test.npz", **outputs)


def write_network(folder, place, history, model, is_baseline) -> None:
    """Write the history, its figure and the network of one fold."""
    best = history[loop.best_uar_epoch(history)]
    fold.log_best_epoch(place, history, best)
    panels = {
        "cross-entropy (nats)": {"training": "loss", "dev": "dev_loss"},
        "UAR": {"dev": "dev_uar"},
    }
    if not is_baseline:
        panels |= {
            "mean squared error (sd²)": {"reconstruction": "reconstruction"},
            "adversarial cross-entropy (nats)": {
                "both discriminators": "discriminators",
                "generator": "generator",
            },
        }
    fold.write_history(folder, history, best, f"AAE, {place}", panels)
    with atomic_files.replace_file(folder / "model.keras") as path:
        loop.save_model(model, path) if is_baseline else model.save_for_prediction(path)
