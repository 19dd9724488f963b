"""The experiment of the adversarial autoencoder (section 5): one row of table 1."""

from typing import NamedTuple

import keras
import numpy as np

from tfser.corpora.labels import describe_labels
from tfser.evaluation import classification_report, cross_validation
from tfser.inference import initial_network
from tfser.models.aae import figures
from tfser.models.aae.dataset import (
    Dataset,
    check_frames,
    describe_unlabelled,
    feature_statistics,
    load_dataset,
    load_unlabelled,
    make_autoencoder_batches,
    make_batches,
    make_labelled_batches,
    sample_labels,
)
from tfser.models.aae.network import AdversarialAutoencoder
from tfser.models.aae.splits import make_splits, select_utterances
from tfser.models.aae.subnetworks import baseline
from tfser.storage import atomic_files, run_directory
from tfser.training import fold, loop, mixed_precision, nadam
from tfser.training.balance import balance_weights, name_balance
from tfser.training.epoch import predict_batches
from tfser.training.layer_names import freeze_layers


class Experiment(NamedTuple):
    """The inputs of every fold."""

    dataset: Dataset
    hp: dict
    run: run_directory.Run
    model: keras.Model  # compiled once; every network starts from new weights in it
    bar: cross_validation.Progress
    initial_weights: dict = {}  # of the initial network, see `select_weights`


def train(utterances, hp, run) -> dict | None:
    """Cross-validate one row of table 1; return the scores, as in scores.json."""
    loop.select_strategy(run.strategy)  # fail before any work on a machine with one device
    check_frames(hp)
    balance = hp["train"]["balance"]
    initial = initial_network.load_initial_network("aae", hp)
    unlabelled = load_unlabelled(utterances, hp, run)

    def load_checked(utterances):
        dataset = load_dataset(utterances, hp, run, unlabelled)
        digest = initial_network.digest_initial(initial)
        run_directory.check_data(run.folder, dataset.utterances, dataset.key, **digest)
        return dataset

    dataset, splits = cross_validation.load_with_splits(
        select_utterances(utterances, hp) + unlabelled,
        run,
        lambda utterances: {
            seed: make_splits(utterances, hp, run, seed, unlabelled) for seed in run.seeds
        },
        load_checked,
        earlier=initial and initial.training,
    )
    system, name = hp["model"]["system"], ", ".join([name_row(hp), *name_balance(balance)])
    model = compiled_network(dataset, hp, run)
    initial_weights = initial_network.select_weights(initial, new_network, dataset, hp)
    shifts = []  # of the features by each class, one array per network

    def train_fold(split, folder, seed, bar):
        bar.at(system)
        experiment = Experiment(dataset, hp, run, model, bar, initial_weights)
        outputs = train_network(experiment, split, folder, seed)
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
    masked = hp["frames"]["masked"]
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
            f"schedule_decay {hp['optimizer']['schedule_decay']:g}",
            *[f"padding {'not ' * masked}reconstructed"]
            * (dataset.n_frames is not None and system != "baseline"),
            *(f"{k} {v}" for k, v in labels.items()),
            *["z-score per speaker (transductive)"] * transductive,
            *name_balance(balance),
        ],
        flags=labels | ({"normalize": "speaker(transductive)"} if transductive else {}),
        earlier=initial and initial.training,
    )


def name_row(hp) -> str:
    """Return the row of table 1, such as "UTT + AAE Optimized", or the ablation of one.

    Three changes of section 5.2 make the optimized AAE; "FR + AAE" of the table has them, too.
    """
    system = hp["model"]["system"]
    changes, of_frames = hp[system], hp["model"]["level"] == "frame"
    level, parts = "FR" if of_frames else "UTT", ["batch norm"] * changes["batch_norm"]
    if system == "baseline":
        return " + ".join([level, "Base", *parts])
    if dropout := changes["discriminator_dropout"]:
        parts.append(f"discriminator dropout {dropout:g}")
    if (ratio := changes["discriminator_ratio"]) != 1:
        parts.append(f"discriminator ratio {ratio:g}")
    vanilla = "AAE vanilla" if of_frames else "AAE"
    name = " + ".join([level, *(["AAE Optimized"] if len(parts) == 3 else [vanilla, *parts])])
    return name if changes["regularization"] else f"{name}, no regularization"


def compiled_network(dataset, hp, run) -> keras.Model:
    """Return the compiled network of this experiment; `train_network` sets its weights."""
    rate, schedule_decay = hp["train"]["learning_rate"], hp["optimizer"]["schedule_decay"]
    with loop.select_strategy(run.strategy).scope():
        model = new_network(dataset, hp)
        freeze_layers(model, hp["train"]["freeze"])
        if hp["model"]["system"] == "baseline":
            optimizer = nadam.Nadam(rate, schedule_decay=schedule_decay)
            return loop.compile_model(model, optimizer, keras.losses.CategoricalCrossentropy())
        changes = hp[hp["model"]["system"]]
        # Section 5.2: '"strengthened" generator'.
        slow = nadam.Nadam(changes["discriminator_ratio"] * rate, schedule_decay=schedule_decay)
        model.compile(
            nadam.Nadam(rate, schedule_decay=schedule_decay),
            slow,
            regularization=changes["regularization"],
            masks_padding=hp["frames"]["masked"],
        )
        return model


def new_network(dataset, hp) -> keras.Model:
    """Return a randomly initialized network for the corpus."""
    n_features, settings = len(dataset.names), hp["model"]
    shape = (dataset.n_frames, n_features) if dataset.n_frames else (n_features,)
    changes, n_classes = hp[settings["system"]], len(dataset.classes)
    options = {
        "units": settings["units"],
        "dropout": settings["dropout"],
        "clip": hp["features"]["clip"],
    }
    if settings["system"] == "baseline":
        return baseline(shape, n_classes, norm=changes["batch_norm"], **options)
    return AdversarialAutoencoder(
        shape=shape,
        n_classes=n_classes,
        n_z=settings["n_z"],
        batch_norm=changes["batch_norm"],
        discriminator_dropout=changes["discriminator_dropout"],
        **options,
    )


def train_network(experiment, split, folder, seed) -> dict[str, np.ndarray]:
    """Train one network, or continue it; return its outputs for the test set.

    Returns: {"probabilities": [n, K]} and, of an autoencoder, "generated" [K, features], see
    `figures.class_shifts`.
    """
    dataset, hp, run, model, bar, initial_weights = experiment
    if outputs := fold.load_finished(folder / "test.npz"):
        return outputs
    folder.mkdir(parents=True, exist_ok=True)
    order_seed = fold.set_seeds(seed)  # of the batches, and of the labels that are used
    loop.reinitialize(model, new_network(dataset, hp))

    is_baseline = hp["model"]["system"] == "baseline"
    known, dev = split.train, split.dev
    labelled = known[dataset.y[known] >= 0]
    if (fraction := hp["train"]["labelled_fraction"]) < 1:
        rng = np.random.default_rng(order_seed)
        labelled, dev = (
            sample_labels(numbers, dataset.y, fraction, rng) for numbers in (labelled, dev)
        )
    model.get_layer("standardize").set_statistics(*feature_statistics(dataset, known))
    initial_network.copy_weights(model, initial_weights)
    batch_size = loop.shared_batch_size(min(hp["train"]["batch_size"], len(known)), run.strategy)
    of_labelled = [dataset.utterances[i] for i in labelled]
    weights = balance_weights(of_labelled, hp["train"]["balance"])
    dev_batches = make_batches(dataset, dev, None, 256)

    def make_train_batches(epoch):
        options = {"seed": order_seed, "epoch": epoch, "weights": weights}
        if is_baseline:  # as many updates as of phase 3
            n_batches = len(known) // batch_size
            return make_labelled_batches(dataset, labelled, batch_size, n_batches, **options)
        sizes = batch_size, hp["model"]["n_z"]
        return make_autoencoder_batches(dataset, known, labelled, *sizes, **options)

    history = fold.train_epochs(
        model,
        make_train_batches,
        lambda: fold.score_classes(dataset.y[dev], predict_batches(model, dev_batches)),
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
    write_network(folder, bar.place, history, model)
    return fold.finish(folder / "test.npz", **outputs)


def write_network(folder, place, history, model) -> None:
    """Write the history, its figure and the network of one fold."""
    best = history[loop.best_uar_epoch(history)]
    fold.log_best_epoch(place, history, best)
    panels = {
        "cross-entropy (nats)": {"training": "loss", "dev": "dev_loss"},
        "UAR": {"dev": "dev_uar"},
    }
    if "reconstruction" in best:
        panels["mean squared error (sd²)"] = {"reconstruction": "reconstruction"}
    if "generator" in best:
        panels["adversarial cross-entropy (nats)"] = {
            "both discriminators": "discriminators",
            "generator": "generator",
        }
    fold.write_history(folder, history, best, f"AAE, {place}", panels)
    with atomic_files.replace_file(folder / "model.keras") as path:
        loop.save_model(model, path)
