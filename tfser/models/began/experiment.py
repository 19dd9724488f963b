"""The experiment of BEGAN with supervised heads (section 3.3): tables 1 to 3."""

import logging
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfser.cache import pipelines
from tfser.corpora.labels import describe_labels
from tfser.evaluation import (
    classification_report,
    cross_validation,
    metrics,
    regression_report,
)
from tfser.evaluation.splits import is_speaker_independent
from tfser.features.magnitude_slices import make_magnitude_slices
from tfser.models.began import pretraining
from tfser.models.began.dataset import Dataset, load_dataset, merge_slices
from tfser.models.began.heads import new_network
from tfser.models.began.splits import make_splits, select_utterances
from tfser.storage import atomic_files, run_directory
from tfser.training import fold, loop, mixed_precision
from tfser.training.epoch import predict_batches
from tfser.training.pretraining import file_digest, load_unlabelled, share_recordings

log = logging.getLogger("tfser")

NAMES = {  # of the rows
    "pretrained": "BEGAN + head",
    "untrained": "untrained encoder + head",
    "end-to-end": "encoder and head, end to end",
}


class Experiment(NamedTuple):
    """The inputs of every fold."""

    dataset: Dataset
    hp: dict
    run: run_directory.Run
    encoder: keras.Model | None  # of every fold; None where each fold has an encoder of its own
    network: keras.Model  # compiled once, see `loop.reinitialize`
    bar: cross_validation.Progress


def train(utterances, hp, run) -> dict | None:
    """Train BEGAN, then a head in each fold; return the scores."""
    loop.select_strategy(run.strategy)  # fail before any work on a machine with one device
    layer, is_rating = make_magnitude_slices(hp), hp["labels"]["target"] == "ratings"
    pretraining.check_hparams(hp, layer)
    dataset, splits = cross_validation.load_with_splits(
        select_utterances(utterances, hp),
        run,
        lambda utterances: {seed: make_splits(utterances, hp, run, seed) for seed in run.seeds},
        lambda utterances: load_dataset(utterances, hp, run),
        has_classes=not is_rating,
    )

    # Section 2.3: BEGAN is trained once, on speech without labels.
    path, transductive = base_network(dataset, hp, run)
    digest = {"network": file_digest(path)} if path else {}
    run_directory.check_data(run.folder, dataset.utterances, dataset.key, **digest)
    encoder = path and pretraining.maps_network(pretraining.load_network(path, hp, layer))
    network = compiled_network(encoder, dataset, hp, run)

    # Section 3.3: its encoder is frozen, and each fold trains a head.
    def train_fold(split, folder, seed, bar):
        bar.at("head")
        experiment = Experiment(dataset, hp, run, encoder, network, bar)
        outputs = train_head(experiment, split, folder, seed)["outputs"]
        bar.network_done()
        return outputs

    results = cross_validation.cross_validate(
        run,
        splits,
        train_fold,
        lambda seed, outputs: score_seed(dataset, hp, run, seed, splits[seed], outputs),
        max_epochs=hp["train"]["max_epochs"],
    )
    if results is None:
        return None
    name = NAMES[hp["head"]["encoder"]]
    options = {
        "utterances": dataset.utterances,
        "splits": splits,
        "facts": [f"{name}: {hp['features']['input_mode']}, {hp['model']['n_filters']} filters"]
        + ["BEGAN trained on the tested speech (transductive)"] * transductive,
        "flags": describe_labels(**hp["labels"])
        | ({"autoencoder": "transductive"} if transductive else {}),
    }
    scores, drawn = zip(*results, strict=True)
    options["flags"] |= describe_scores(classification_report.summarize_seeds(scores)[name])
    if is_rating:
        return regression_report.finish_run(run, "began", scores, *drawn[-1], **options)
    return classification_report.finish_run(run, "began", dataset.classes, scores, **options)


def compiled_network(encoder, dataset, hp, run) -> keras.Model:
    """Return the network of this experiment, compiled; `train_head` sets its weights."""
    with loop.select_strategy(run.strategy).scope():
        if encoder is None:
            began = pretraining.new_network(hp, make_magnitude_slices(hp))
            encoder = pretraining.maps_network(began)
        return new_network(encoder, dataset, hp)


def base_network(dataset, hp, run) -> tuple[Path | None, bool]:
    """Return the file of the BEGAN for all folds, and whether it was trained on tested recordings.

    None where each fold trains a BEGAN of its own, or none.
    """
    settings = hp["began"]
    if hp["head"]["encoder"] != "pretrained" or settings["corpus"] == "tested":
        return None, False
    if settings["weights"]:
        return Path(settings["weights"]).expanduser(), False
    utterances = load_unlabelled("began", settings, None, run)
    path = pretraining.pretrained_network(utterances, hp, run)
    log.info("BEGAN: %s", path)
    return path, share_recordings(utterances, dataset.utterances)


def fold_encoder(experiment, split) -> keras.Model:
    """Return the encoder that a fold starts with."""
    dataset, hp, run, encoder, *_ = experiment
    if encoder:
        return encoder
    layer = make_magnitude_slices(hp)
    if hp["head"]["encoder"] == "pretrained":
        path = pretraining.pretrained_network(dataset.utterances, hp, run, known=split.train)
        return pretraining.maps_network(pretraining.load_network(path, hp, layer))
    keras.utils.set_random_seed(hp["began"]["seed"])
    with mixed_precision.precision_policy("float32"):  # as of a loaded network
        began = pretraining.new_network(hp, layer)
    if hp["features"]["scaling"] == "max":  # of the training set
        known = dataset.slices[np.isin(dataset.utterance, split.train)]
        began.picture.scale.assign(pretraining.magnitude_scale([tf.constant(known)]))
    return pretraining.maps_network(began)


def score_seed(dataset, hp, run, seed, splits, outputs) -> tuple:
    """Score one seed: (scores, None or the utterances and ratings that `finish_run` draws).

    outputs: of the test slices of each fold.
    """
    numbers = [dataset.utterance[np.isin(dataset.utterance, split.test)] for split in splits]
    merged = [
        merge_slices(dataset, of_fold, values, split.test).astype(float)
        for split, of_fold, values in zip(splits, numbers, outputs, strict=True)
    ]
    tested, merged, fold_of = cross_validation.merge_folds([s.test for s in splits], merged)
    utterances = [dataset.utterances[i] for i in tested]
    name = NAMES[hp["head"]["encoder"]]
    if not dataset.classes:
        ratings = dict(zip(regression_report.ATTRIBUTES, merged.T, strict=True))
        systems = {name: ratings}
        scores = regression_report.score_seed(run, seed, utterances, systems, fold_of, splits)
        return scores, (utterances, ratings)
    predicted = merged.argmax(axis=1)
    system = {"predicted": predicted, "probabilities": merged}
    y = dataset.y[np.concatenate(numbers)]
    system["f0_5_of_batches"] = f0_5_of_batches(y, np.concatenate(outputs))
    speakers = [u.speaker for u in dataset.utterances]
    if len(splits) > 1 and not is_speaker_independent(speakers, splits):  # table 1
        true = dataset.y[tested].argmax(axis=1)
        for number, split in enumerate(splits):
            of_fold = fold_of == number
            wa = metrics.wa(true[of_fold], predicted[of_fold])
            system[f"wa_of_{speakers[split.test[0]]}"] = wa
    scores = classification_report.score_seed(
        run, seed, utterances, dataset.classes, {name: system}, fold_of, splits
    )
    return scores, None


def describe_scores(system: dict) -> dict[str, str]:
    """Format the scores of tables 1 and 2 beside UAR and WA: means of the seeds, and their sds."""
    shown = {}
    for name, of_seeds in system.items():
        if name in ("macro_f1", "f0_5_of_batches") or name.startswith("wa_of_"):
            shown[name] = f"{of_seeds['mean']:.4f}"
            if of_seeds["sd"] is not None:
                shown[f"{name}_sd"] = f"{of_seeds['sd']:.4f}"
    return shown


def f0_5_of_batches(y, p, batch_size=64) -> float:
    """Return the "F-score" of the authors' code, beside F1 (table 2): of slices, in batches.

    Outputs are rounded at 0.5, F with beta = 0.5 is of all cells of a batch, and batches are
    averaged. y, p: [slices, K].
    """
    scores = []
    for first in range(0, len(y), batch_size):
        true, positive = y[first : first + batch_size] > 0.5, p[first : first + batch_size] > 0.5
        hits = np.sum(true & positive)
        precision, recall = hits / max(np.sum(positive), 1), hits / max(np.sum(true), 1)
        scores.append(1.25 * precision * recall / max(0.25 * precision + recall, 1e-12))
    return float(np.mean(scores))


def train_head(experiment, split, folder, seed) -> dict[str, np.ndarray]:
    """Train one head, or continue it; return {"outputs": [m, K]} of the test set's slices."""
    dataset, hp, run, _, network, bar = experiment
    if outputs := fold.load_finished(folder / "test.npz"):
        return outputs
    folder.mkdir(parents=True, exist_ok=True)
    encoder = fold_encoder(experiment, split)
    order_seed = fold.set_seeds(seed)
    loop.reinitialize(network, new_network(encoder, dataset, hp))
    if hp["head"]["encoder"] == "end-to-end":
        inputs, encoder = dataset.slices, network.get_layer("maps")  # trained with the head
    else:
        inputs = pretraining.load_maps(encoder, dataset, run)
    rows = pipelines.as_tensor(inputs.reshape(len(inputs), -1))
    y = dataset.y[dataset.utterance]
    known, dev, test = (np.flatnonzero(np.isin(dataset.utterance, part)) for part in split)

    def make_batches(numbers, labels, size, **options):
        return pipelines.utterance_batches(
            rows,
            np.arange(len(inputs) + 1),
            numbers,
            labels,
            n_frames=None,
            batch_size=size,
            **options,
        )

    size = loop.shared_batch_size(min(hp["train"]["batch_size"], len(known)), run.strategy)
    dev_batches, dev_y = make_batches(dev, None, 256), dataset.y[split.dev]

    def score_dev():
        outputs = predict_batches(network, dev_batches)
        merged = merge_slices(dataset, dataset.utterance[dev], outputs, split.dev)
        return dev_scores(dataset, dev_y, merged)

    history = fold.train_epochs(
        network,
        lambda epoch: make_batches(
            known, y[known], size, seed=order_seed, epoch=epoch, drop_remainder=True
        ),
        score_dev,
        max_epochs=hp["train"]["max_epochs"],
        run=run,
        folder=folder,
        bar=bar,
        best_epoch=best_epoch,
    )
    precise = mixed_precision.copy_in_float32(network)
    outputs = predict_batches(precise, make_batches(test, None, 256))
    write_head(folder, bar.place, history, encoder, network.get_layer("head"))
    return fold.finish(folder / "test.npz", outputs=outputs)


def dev_scores(dataset, y, outputs) -> dict:
    """Return the dev columns of the history: "dev_loss" and "dev_uar", or "dev_ccc" of ratings."""
    if dataset.classes:
        return fold.score_classes(y.argmax(axis=1), outputs)
    cccs = [metrics.ccc(y[:, i], outputs[:, i]) for i in range(2)]
    return {"dev_loss": float(np.mean(np.abs(y - outputs))), "dev_ccc": float(np.mean(cccs))}


def best_epoch(history) -> int:
    """Return the epoch (from 0) with the highest dev score; a tie goes to the lowest dev loss."""
    score = "dev_uar" if "dev_uar" in history[0] else "dev_ccc"
    best = max(history, key=lambda row: (row[score], -row["dev_loss"]))
    return best["epoch"] - 1


def write_head(folder, place, history, encoder, head) -> None:
    """Write the history, its figure, and the network from magnitudes to outputs."""
    best = history[best_epoch(history)]
    score = "dev_uar" if "dev_uar" in best else "dev_ccc"
    log.info(
        "%s: kept epoch %d of %d: loss %.3f dev loss %.3f %s %.3f",
        *(place, best["epoch"], len(history), best["loss"], best["dev_loss"]),
        *(score.replace("_", " "), best[score]),
    )
    panels = {
        "loss": {"training": "loss", "dev": "dev_loss"},
        {"dev_uar": "UAR", "dev_ccc": "CCC, mean of both"}[score]: {"dev": score},
    }
    fold.write_history(folder, history, best, f"BEGAN, {place}", panels)
    with atomic_files.replace_file(folder / "model.keras") as path:
        keras.Model(encoder.input, head(encoder.output), name="began_head").save(path)
