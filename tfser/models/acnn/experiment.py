"""The experiment of the attentive convolutional network: train it on every fold and score it."""

import logging
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfser.corpora.labels import (
    check_classes,
    describe_labels,
    select_by_labels,
    select_common_classes,
    warn_of_untrained_classes,
)
from tfser.distributed import multi_worker
from tfser.errors import UsageError
from tfser.evaluation import classification_report, metrics
from tfser.models.acnn import figures as pictures
from tfser.models.acnn import pretraining
from tfser.models.acnn.dataset import (
    Dataset,
    feature_statistics,
    load_dataset,
    make_batches,
    make_input_layer,
    make_splits,
)
from tfser.models.acnn.network import acnn, cross_entropy, view_weights
from tfser.plots import tensorboard
from tfser.plots.figures import write_training_curves
from tfser.storage import atomic_files, run_directory
from tfser.training import loop, mixed_precision
from tfser.training.epoch import predict_batches, train_epoch

log = logging.getLogger("tfser")

CONDITIONS = {"": "BL", "tested": "C", "librispeech": "Li", "tedlium": "fT"}  # of table 1


class Experiment(NamedTuple):
    """What every fold needs."""

    speech: Dataset
    hp: dict
    run: run_directory.Run
    model: keras.Model  # compiled once; every network starts from new weights in it
    bar: classification_report.Progress


def train(utterances, hp, run, tested=None) -> dict | None:
    """Cross-validates one condition of table 1, or tests it on another corpus; returns the scores.

    tested: the utterances of the other corpus, selected and with their classes as `emotion`.
    """
    loop.select_strategy(run.strategy)  # refused before any work where there is one device
    make_input_layer(hp)
    pretraining.check_hparams(hp)
    if hp["train"]["alpha"] + hp["train"]["beta"] >= 1:
        raise UsageError("train.alpha + train.beta leave nothing of 1 for the emotion; Eq. (2)")
    utterances = select_by_labels(utterances, **hp["labels"])
    n_trained = None
    if tested is not None:
        utterances, tested = select_common_classes(utterances, tested)
        n_trained, utterances = len(utterances), utterances + tested
    plans = {seed: make_splits(utterances, hp, run, seed, n_trained) for seed in run.seeds}
    warn_of_untrained_classes(utterances, plans[run.seeds[0]])
    speech = load_dataset(utterances, tested or [], hp, run)
    if len(speech.utterances) < len(utterances):  # --max-bad left some out
        left = check_classes(speech.utterances)
        if tested is not None:
            n_trained = len(set(left).intersection(utterances[:n_trained]))
        plans = {seed: make_splits(left, hp, run, seed, n_trained) for seed in run.seeds}
    classification_report.write_splits(run, speech.utterances, plans)

    name = condition_name(hp["autoencoder"])
    results = []
    n_networks = sum(map(len, plans.values()))
    with classification_report.progress_bar(n_networks, hp["train"]["max_epochs"]) as bar:
        lab = Experiment(speech, hp, run, compiled_network(speech, hp, run), bar)
        for seed in run.seeds:
            splits = plans[seed]
            probabilities = np.zeros((len(speech.y), len(speech.classes)))
            fold_of = np.full(len(speech.y), -1)
            for fold, split, folder in classification_report.iterate_own_folds(
                run, seed, splits, bar
            ):
                bar.at(name)
                found = train_network(lab, split, folder, [seed, fold])
                bar.network_done()
                probabilities[split.test], fold_of[split.test] = found["probabilities"], fold
            if run.parts is not None:
                continue
            scored = np.flatnonzero(fold_of >= 0)
            system = {
                "predicted": probabilities[scored].argmax(axis=1),
                "probabilities": probabilities[scored],
            }
            of_test = [speech.utterances[i] for i in scored]
            results.append(
                classification_report.score_seed(
                    run, seed, of_test, speech.classes, {name: system}, fold_of[scored]
                )
            )
    if run.parts is not None:
        return None
    scores = classification_report.finish_run(
        run,
        "acnn",
        speech.classes,
        results,
        # A random dev part is of the speakers trained on.
        independent=run.evaluate == "test" or run.protocol == "loso",
        facts=[f"views: {' '.join(speech.views)}"]
        + [f"{k} {v}" for k, v in describe_labels(**hp["labels"]).items()]
        + ["autoencoder trained on the tested speech (transductive)"] * speech.transductive,
        flags=describe_labels(**hp["labels"])
        | ({"autoencoder": "transductive"} if speech.transductive else {}),
    )
    pictures.write_figures(lab, plans[run.seeds[0]][0], name)
    return scores


def condition_name(settings) -> str:
    """The name of a row of table 1; of an autoencoder that is not in it, where it is from."""
    corpus = settings["corpus"]
    if settings["weights"]:
        return "AE of a file"
    if corpus == "tedlium" and settings["n_talks"]:
        return "sT" if settings["n_talks"] == 400 else f"{settings['n_talks']} talks"
    return CONDITIONS.get(corpus, f"AE {corpus}")


def new_network(speech, hp) -> keras.Model:
    """Figure 1, for this corpus's classes and views."""
    represented = speech.representations
    return acnn(
        speech.n_frames,
        speech.frames.shape[1],
        len(speech.classes),
        n_representation=0 if represented is None else represented.shape[1],
        views=list(speech.views),
        **hp["model"],
    )


def compiled_network(speech, hp, run) -> keras.Model:
    """A network with Adam and the multi-view loss, Eq. (2)."""
    settings = hp["train"]
    weights = view_weights(settings["alpha"], settings["beta"], list(speech.views))
    with loop.select_strategy(run.strategy).scope():
        return loop.compile_model(
            new_network(speech, hp),
            keras.optimizers.Adam(settings["learning_rate"]),
            dict.fromkeys(weights, cross_entropy),
            metrics=(),
            loss_weights=weights,
        )


def train_network(lab, split, folder, seed) -> dict:
    """Trains one network; returns the test part's emotion probabilities {"probabilities": [m, K]}.

    What is finished is kept; a network that was killed goes on from its last epoch.
    """
    speech, hp, run, model, bar = lab
    done = folder / "test.npz"
    if finished := multi_worker.read_arrays_from_chief(done):
        loop.delete_checkpoints(folder)
        return finished
    folder.mkdir(parents=True, exist_ok=True)
    # One seed for the weights and dropout, one for the batches.
    weight_seed, order_seed = (int(s) for s in np.random.SeedSequence(seed).generate_state(2))
    keras.utils.set_random_seed(weight_seed)
    loop.reinitialize(model, new_network(speech, hp))
    model.get_layer("standardize").set_statistics(*feature_statistics(speech, split.train))
    batch_size = loop.shared_batch_size(
        min(hp["train"]["batch_size"], len(split.train)), run.strategy
    )
    with tf.device("CPU:0"):  # where tf.data works
        epoch = tf.Variable(0, dtype="int64")
    dataset = make_batches(
        speech, split.train, batch_size, seed=order_seed, epoch=epoch, drop_remainder=True
    )
    dev_batches, dev_y = make_batches(speech, split.dev, 256), speech.y[split.dev]

    def one_epoch(history):
        epoch.assign(len(history))
        means = train_epoch(model, dataset)
        dev = predict_batches(model, dev_batches)["emotion"]
        return {
            "loss": means["loss"],
            "dev_loss": float(-np.mean(np.log(np.maximum(dev[range(len(dev_y)), dev_y], 1e-7)))),
            "dev_uar": metrics.uar(dev_y, dev.argmax(axis=1)),
        }

    with tensorboard.open_event_writer(
        run.folder / "events" / folder.relative_to(run.folder)
    ) as write:

        def after_epoch(row):
            bar.epoch(row)
            write(row["epoch"], {name: row[name] for name in row if name != "epoch"})

        history = loop.run_epochs(
            model,
            one_epoch,
            best_epoch=loop.best_uar_epoch,
            finished=lambda history: len(history) >= hp["train"]["max_epochs"],
            folder=folder,
            report=after_epoch,
            advice="try a lower --set train.learning_rate",
        )
    found = predict_batches(
        mixed_precision.copy_in_float32(model), make_batches(speech, split.test, 256)
    )
    write_network(folder, bar.place, history, model)
    atomic_files.write_arrays(
        done, probabilities=found["emotion"]
    )  # last: this network is finished
    loop.delete_checkpoints(folder)
    return {"probabilities": found["emotion"]}


def write_network(folder, place, history, model) -> None:
    """The history, its picture and the network of one fold."""
    kept = history[loop.best_uar_epoch(history)]
    log.info(
        "%s: kept epoch %d of %d: loss %.3f dev loss %.3f dev UAR %.1f %%",
        *(place, kept["epoch"], len(history), kept["loss"], kept["dev_loss"]),
        100 * kept["dev_uar"],
    )
    atomic_files.write_csv(folder / "history.csv", history)
    panels = {
        "cross-entropy (nats)": {"training, all views": "loss", "dev, emotion": "dev_loss"},
        "UAR": {"dev": "dev_uar"},
    }
    write_training_curves(
        history, folder / "history.png", f"ACNN, {place}", panels, kept_epoch=kept["epoch"]
    )
    with atomic_files.replace_file(folder / "model.keras") as path:
        loop.save_model(model, path)
