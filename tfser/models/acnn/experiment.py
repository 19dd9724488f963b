"""The experiment of the attentive convolutional network (section 4): one condition of table 1."""

from typing import NamedTuple

import keras
import numpy as np

from tfser.corpora.labels import describe_labels
from tfser.corpora.librispeech import PAPER_GROUP as LIBRISPEECH_GROUP
from tfser.errors import UsageError
from tfser.evaluation import classification_report, cross_validation
from tfser.inference import initial_network
from tfser.models.acnn import figures, pretraining
from tfser.models.acnn.dataset import (
    Dataset,
    feature_statistics,
    load_dataset,
    make_batches,
    make_input_layer,
    representation_statistics,
)
from tfser.models.acnn.network import ACNN
from tfser.models.acnn.splits import make_splits
from tfser.storage import atomic_files, run_directory
from tfser.training import fold, loop, mixed_precision
from tfser.training.balance import balance_weights, name_balance
from tfser.training.epoch import predict_batches
from tfser.training.layer_names import freeze_layers

# Table 1; section 4.2: 64 epochs, "respectively 32 epochs for the full Tedlium model".
CONDITIONS = {"tested": "C", "librispeech": "Li", "tedlium": "fT"}
EPOCHS, FULL_TEDLIUM_EPOCHS = 64, 32
SMALL_TEDLIUM_TALKS = 400  # section 3
DEV_SETS = {  # of protocol.dev
    "speakers": "dev: speakers who do not train",
    "utterances": "dev: utterances of the training speakers",
}


class Experiment(NamedTuple):
    """The inputs of every fold."""

    dataset: Dataset
    hp: dict
    run: run_directory.Run
    model: keras.Model  # compiled once; every network starts from new weights in it
    bar: cross_validation.Progress
    initial_weights: dict = {}  # of the initial network, see `select_weights`


def train(utterances, hp, run, tested=None) -> dict | None:
    """Cross-validate one condition of table 1, or test it on another corpus; return the scores.

    tested: the utterances of the other corpus, selected and with their classes as `emotion`.
    """
    loop.select_strategy(run.strategy)  # fail before any work on a machine with one device
    make_input_layer(hp)
    pretraining.check_hparams(hp)
    if hp["train"]["alpha"] + hp["train"]["beta"] >= 1:
        raise UsageError("train.alpha + train.beta leave nothing of 1 for the emotion; Eq. (2)")
    initial = initial_network.load_initial_network("acnn", hp)
    utterances, tested = cross_validation.join_corpora(utterances, tested, hp["labels"])
    classes = sorted({u.emotion for u in utterances})
    baseline = figures.load_baseline(hp["plots"]["baseline"], run.corpus, classes)

    def make_all_splits(utterances):
        n_trained = cross_validation.count_trained(utterances, tested)
        return {seed: make_splits(utterances, hp, run, seed, n_trained) for seed in run.seeds}

    # Step (1) and (2) of figure 1, the autoencoder and its representations, are in the dataset.
    dataset, splits = cross_validation.load_with_splits(
        utterances,
        run,
        make_all_splits,
        lambda utterances: load_dataset(
            utterances, tested, hp, run, initial_network.digest_initial(initial)
        ),
        earlier=initial and initial.training,
    )
    name = condition_name(hp)
    model = compiled_network(dataset, hp, run)
    initial_weights = initial_network.select_weights(initial, new_network, dataset, hp)

    def train_fold(split, folder, seed, bar):
        bar.at(name)
        experiment = Experiment(dataset, hp, run, model, bar, initial_weights)
        outputs = train_network(experiment, split, folder, seed)
        bar.network_done()
        return outputs["probabilities"]

    def score_seed(seed, probabilities):
        return cross_validation.score_probabilities(
            run, seed, dataset, splits[seed], name, probabilities
        )

    results = cross_validation.cross_validate(
        run, splits, train_fold, score_seed, max_epochs=hp["train"]["max_epochs"]
    )
    if results is None:
        return None
    labels = describe_labels(**hp["labels"])
    speaker_scores = hp["features"]["normalize"] == "speaker"
    scores = classification_report.finish_run(
        run,
        "acnn",
        dataset.classes,
        results,
        utterances=dataset.utterances,
        splits=splits,
        facts=[
            f"views: {' '.join(dataset.views)}",
            *(f"{k} {v}" for k, v in labels.items()),
            *[DEV_SETS[hp["protocol"]["dev"]]] * (run.protocol == "paper"),
            *["z-score per speaker (transductive)"] * speaker_scores,
            *["autoencoder trained on the tested speech (transductive)"] * dataset.transductive,
            *name_balance(hp["train"]["balance"]),
        ],
        flags=labels
        | ({"normalize": "speaker(transductive)"} if speaker_scores else {})
        | ({"autoencoder": "transductive"} if dataset.transductive else {}),
        earlier=initial and initial.training,
    )
    if baseline is not None:
        figures.write_confusion_pair(run, baseline, results, dataset.classes, name)
    figures.write_figures(dataset, hp, run, splits[run.seeds[0]][0], name)
    return scores


def condition_name(hp) -> str:
    """Return the name of a row of table 1, and what differs from the row's autoencoder."""
    parts = [autoencoder_name(hp["autoencoder"])]
    if parts != ["BL"] and not hp["model"]["standardizes_representation"]:
        parts.append("raw")
    if hp["features"]["normalize"] == "speaker":
        parts.append("speaker-normalized")
    return ", ".join(parts + name_balance(hp["train"]["balance"]))


def autoencoder_name(settings) -> str:
    """Return the name of a row of table 1 by [autoencoder], or the origin of another autoencoder.

    A part of LibriSpeech and a number of epochs that are not the paper's are in the name.
    """
    corpus, n_talks, n_epochs = (settings[key] for key in ("corpus", "n_talks", "max_epochs"))
    if settings["weights"]:
        return "AE of a file"
    if not corpus:
        return "BL"
    name, paper_epochs = CONDITIONS.get(corpus, f"AE {corpus}"), EPOCHS
    if corpus == "tedlium" and n_talks:
        name = "sT" if n_talks == SMALL_TEDLIUM_TALKS else f"{n_talks} talks"
    elif corpus == "tedlium":
        paper_epochs = FULL_TEDLIUM_EPOCHS
    if corpus == "librispeech" and settings["group"] != LIBRISPEECH_GROUP:
        name += f" of {settings['group'] or 'all parts'}"
    return name + (f", {n_epochs} epochs" if n_epochs != paper_epochs else "")


def new_network(dataset, hp) -> ACNN:
    """Return the network of figure 1 for the classes and views of the corpus."""
    representations = dataset.representations
    return ACNN(
        len(dataset.classes),
        n_frames=dataset.n_frames,
        n_bands=dataset.frames.shape[1],
        n_representation=0 if representations is None else representations.shape[1],
        views=list(dataset.views),
        **hp["model"],
    )


def compiled_network(dataset, hp, run) -> ACNN:
    """Return a network compiled with Adam and the multi-view loss, Eq. (2)."""
    settings = hp["train"]
    with loop.select_strategy(run.strategy).scope():
        model = new_network(dataset, hp)
        freeze_layers(model, hp["train"]["freeze"])
        model.compile(
            keras.optimizers.Adam(settings["learning_rate"]),
            alpha=settings["alpha"],
            beta=settings["beta"],
        )
    return model


def train_network(experiment, split, folder, seed) -> dict[str, np.ndarray]:
    """Train one network, or continue it; return {"probabilities": [m, K]} of the test set."""
    dataset, hp, run, model, bar, initial_weights = experiment
    if outputs := fold.load_finished(folder / "test.npz"):
        return outputs
    folder.mkdir(parents=True, exist_ok=True)
    order_seed = fold.set_seeds(seed)
    loop.reinitialize(model, new_network(dataset, hp))
    model.get_layer("standardize").set_statistics(*feature_statistics(dataset, split.train))
    if dataset.representations is not None and hp["model"]["standardizes_representation"]:
        statistics = representation_statistics(dataset, split.train)
        model.get_layer("standardize_representation").set_statistics(*statistics)
    initial_network.copy_weights(model, initial_weights)
    batch_size = loop.shared_batch_size(
        min(hp["train"]["batch_size"], len(split.train)), run.strategy
    )
    known = [dataset.utterances[i] for i in split.train]
    weights = balance_weights(known, hp["train"]["balance"])
    dev_batches, dev_y = make_batches(dataset, split.dev, 256), dataset.y[split.dev]
    history = fold.train_epochs(
        model,
        lambda epoch: make_batches(
            *(dataset, split.train, batch_size, weights),
            **{"seed": order_seed, "epoch": epoch, "drop_remainder": True},
        ),
        lambda: fold.score_classes(dev_y, predict_batches(model, dev_batches)["emotion"]),
        max_epochs=hp["train"]["max_epochs"],
        run=run,
        folder=folder,
        bar=bar,
    )
    outputs = predict_batches(
        mixed_precision.copy_in_float32(model), make_batches(dataset, split.test, 256)
    )
    write_network(folder, bar.place, history, model)
    return fold.finish(folder / "test.npz", probabilities=outputs["emotion"])


def write_network(folder, place, history, model) -> None:
    """Write the history, its figure and the network of one fold."""
    best = history[loop.best_uar_epoch(history)]
    fold.log_best_epoch(place, history, best)
    panels = {
        "cross-entropy (nats)": {"training, all views": "loss", "dev, emotion": "dev_loss"},
        "UAR": {"dev": "dev_uar"},
    }
    fold.write_history(folder, history, best, f"ACNN, {place}", panels)
    with atomic_files.replace_file(folder / "model.keras") as path:
        loop.save_model(model, path)
