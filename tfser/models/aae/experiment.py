"""The experiment of the adversarial autoencoder: train it on every fold and score it."""

import logging
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfser.corpora.labels import check_classes, describe_labels, warn_of_untrained_classes
from tfser.distributed import multi_worker
from tfser.evaluation import classification_report, metrics
from tfser.models.aae import figures as generation
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
from tfser.plots import tensorboard
from tfser.plots.figures import write_training_curves
from tfser.storage import atomic_files, run_directory
from tfser.training import loop, mixed_precision
from tfser.training.epoch import predict_batches, train_epoch

log = logging.getLogger("tfser")

ROWS = {  # of table 1, whose "FR + AAE" has what section 5.2 found: our "FR + AAE Optimized"
    ("utterance", "baseline"): "UTT + Base",
    ("utterance", "vanilla"): "UTT + AAE",
    ("utterance", "optimized"): "UTT + AAE Optimized",
    ("frame", "baseline"): "FR + Base",
    ("frame", "vanilla"): "FR + AAE vanilla",
    ("frame", "optimized"): "FR + AAE Optimized",
}


class Experiment(NamedTuple):
    """What every fold needs."""

    speech: Dataset
    hp: dict
    run: run_directory.Run
    model: keras.Model  # compiled once; every network starts from new weights in it
    bar: classification_report.Progress


def train(utterances, hp, run) -> dict | None:
    """Cross-validates one row of table 1; returns the scores, as in scores.json."""
    loop.select_strategy(run.strategy)  # refused before any work where there is one device
    check_frames(hp)
    is_baseline = hp["model"]["system"] == "baseline"
    utterances = select_utterances(utterances, hp)
    splits = make_splits(utterances, run)
    warn_of_untrained_classes(utterances, splits)
    speech = load_dataset(utterances, hp, run)
    run_directory.check_data(run.folder, speech.utterances, speech.key)
    if len(speech.utterances) < len(utterances):  # --max-bad left some out
        splits = make_splits(check_classes(speech.utterances), run)
        warn_of_untrained_classes(speech.utterances, splits)
    classification_report.write_splits(run, speech.utterances, dict.fromkeys(run.seeds, splits))

    name = ROWS[hp["model"]["level"], hp["model"]["system"]]
    labelled = np.flatnonzero(speech.y >= 0)
    results, moves = [], []
    with classification_report.progress_bar(
        len(run.seeds) * len(splits), hp["train"]["max_epochs"]
    ) as bar:
        lab = Experiment(speech, hp, run, compiled_network(speech, hp, run), bar)
        for seed in run.seeds:
            probabilities = np.zeros((len(speech.y), len(speech.classes)))
            fold_of = np.zeros(len(speech.y), int)
            for fold, split, folder in classification_report.iterate_own_folds(
                run, seed, splits, bar
            ):
                bar.at(hp["model"]["system"])
                found = train_network(lab, split, folder, [seed, fold])
                bar.network_done()
                probabilities[split.test], fold_of[split.test] = found["probabilities"], fold
                moves.append(found.get("generated"))
            if run.parts is not None:
                continue
            system = {
                "predicted": probabilities[labelled].argmax(axis=1),
                "probabilities": probabilities[labelled],
            }
            results.append(
                classification_report.score_seed(
                    run,
                    seed,
                    [speech.utterances[i] for i in labelled],
                    speech.classes,
                    {name: system},
                    fold_of[labelled],
                )
            )
    if run.parts is not None:
        return None
    if not is_baseline:
        generation.write_generation(run, name, speech.classes, speech.names, np.mean(moves, axis=0))
    target = describe_labels(**hp["labels"])
    transductive = hp["features"]["normalize"] == "speaker"
    semi = describe_unlabelled(speech, hp)
    return classification_report.finish_run(
        run,
        "aae",
        speech.classes,
        results,
        independent=True,
        facts=[
            f"{hp['features']['feature_set']}, {len(speech.names)} "
            + (f"descriptors, {speech.n_frames} frames" if speech.n_frames else "functionals"),
            *(f"{k} {v}" for k, v in (target | semi).items()),
            *["z-score per speaker (transductive)"] * transductive,
        ],
        flags=target | semi | ({"normalize": "speaker(transductive)"} if transductive else {}),
    )


def compiled_network(speech, hp, run) -> keras.Model:
    """The network of this experiment, compiled; its weights are set by `train_network`."""
    rate = hp["train"]["learning_rate"]
    optimized = hp["model"]["system"] == "optimized"
    with loop.select_strategy(run.strategy).scope():
        model = new_network(speech, hp)
        if hp["model"]["system"] == "baseline":
            return loop.compile_model(
                model, keras.optimizers.Nadam(rate), keras.losses.CategoricalCrossentropy()
            )
        # Section 5.2: '"strengthened" generator'.
        ratio = hp["train"]["discriminator_ratio"] if optimized else 1.0
        model.prepare(learning_rate=rate, discriminator_learning_rate=ratio * rate)
        return model


def new_network(speech, hp) -> keras.Model:
    """A randomly initialized network for the corpus."""
    n_features, settings = len(speech.names), hp["model"]
    shape = (speech.n_frames, n_features) if speech.n_frames else (n_features,)
    options = {
        "units": settings["units"],
        "dropout": settings["dropout"],
        "clip": hp["features"]["clip"],
    }
    if settings["system"] == "baseline":
        return baseline(shape, len(speech.classes), **options)
    return AdversarialAutoencoder(
        shape=shape,
        n_classes=len(speech.classes),
        n_z=settings["n_z"],
        optimized=settings["system"] == "optimized",
        **options,
    )


def train_network(lab, split, folder, seed) -> dict:
    """Trains one network; returns "probabilities" of the test part [n, K], and of an AAE
    "generated" [K, features]: what each class shifts (see `generation.shifts`).
    """
    speech, hp, run, model, bar = lab
    done = folder / "test.npz"
    if finished := multi_worker.read_arrays_from_chief(done):
        loop.delete_checkpoints(folder)
        return finished
    folder.mkdir(parents=True, exist_ok=True)
    # One seed for the weights and dropout, one for the batches and which labels are used.
    weight_seed, order_seed = (int(s) for s in np.random.SeedSequence(seed).generate_state(2))
    keras.utils.set_random_seed(weight_seed)
    loop.reinitialize(model, new_network(speech, hp))
    is_baseline = hp["model"]["system"] == "baseline"
    labelled = split.train[speech.y[split.train] >= 0]
    if (fraction := hp["train"]["labelled_fraction"]) < 1:
        labelled = sample_labels(labelled, speech.y, fraction, np.random.default_rng(order_seed))
    known = labelled if is_baseline else split.train
    model.get_layer("standardize").set_statistics(*feature_statistics(speech, known))
    # One-hot, and zeros for an utterance whose label is not used.
    one_hot = np.eye(len(speech.classes), dtype="float32")[speech.y[known]]
    one_hot[~np.isin(known, labelled)] = 0
    dev_y = speech.y[split.dev]
    batch_size = loop.shared_batch_size(min(hp["train"]["batch_size"], len(known)), run.strategy)
    dev_batches = make_batches(speech, split.dev, None, 256)

    with tf.device("CPU:0"):  # where tf.data works
        epoch = tf.Variable(0, dtype="int64")
    options = {"seed": order_seed, "epoch": epoch, "drop_remainder": True}
    dataset = make_batches(speech, known, one_hot, batch_size, **options)
    if not is_baseline:
        sizes = len(speech.classes), hp["model"]["n_z"]
        dataset = add_priors(dataset, batch_size, *sizes, seed=order_seed, epoch=epoch)

    def one_epoch(history):
        epoch.assign(len(history))
        means = train_epoch(model, dataset)
        dev = predict_batches(model, dev_batches)
        return means | {
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
    precise = mixed_precision.copy_in_float32(model)
    found = {"probabilities": predict_batches(precise, make_batches(speech, split.test, None, 256))}
    if not is_baseline:
        found["generated"] = generation.class_shifts(precise)
    write_network(folder, bar.place, history, model, is_baseline)
    atomic_files.write_arrays(done, **found)  # last: it says that this network is finished
    loop.delete_checkpoints(folder)
    return found


def write_network(folder, place, history, model, is_baseline) -> None:
    """The history, its picture and the network of one fold."""
    kept = history[loop.best_uar_epoch(history)]
    log.info(
        "%s: kept epoch %d of %d: loss %.3f dev loss %.3f dev UAR %.1f %%",
        *(place, kept["epoch"], len(history), kept["loss"], kept["dev_loss"]),
        100 * kept["dev_uar"],
    )
    atomic_files.write_csv(folder / "history.csv", history)
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
    write_training_curves(
        history, folder / "history.png", f"AAE, {place}", panels, kept_epoch=kept["epoch"]
    )
    with atomic_files.replace_file(folder / "model.keras") as path:
        loop.save_model(model, path) if is_baseline else model.save_for_prediction(path)
