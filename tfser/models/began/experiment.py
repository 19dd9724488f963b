"""The experiment of the BEGAN heads: train it on every fold and score it."""

import logging
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfser.cache import pipelines
from tfser.corpora.labels import describe_labels, warn_of_untrained_classes
from tfser.distributed import multi_worker
from tfser.evaluation import classification_report, metrics, regression_report
from tfser.evaluation.splits import is_speaker_independent
from tfser.features.magnitude_slices import make_magnitude_slices
from tfser.models.began import pretraining
from tfser.models.began.dataset import (
    Dataset,
    load_dataset,
    make_splits,
    merge_slices,
    select_utterances,
)
from tfser.models.began.heads import new_network
from tfser.plots import tensorboard
from tfser.plots.figures import write_training_curves
from tfser.storage import atomic_files, run_directory
from tfser.training import loop, mixed_precision
from tfser.training.epoch import predict_batches, train_epoch
from tfser.training.pretraining import file_digest, load_unlabelled, share_recordings

log = logging.getLogger("tfser")

NAMES = {  # of the rows
    "pretrained": "BEGAN + head",
    "untrained": "untrained encoder + head",
    "end-to-end": "encoder and head, end to end",
}


class Experiment(NamedTuple):
    """What every fold needs."""

    speech: Dataset
    hp: dict
    run: run_directory.Run
    encoder: keras.Model | None  # that every fold begins with
    network: keras.Model  # compiled once, see `loop.reinitialize`
    bar: classification_report.Progress


def train(utterances, hp, run) -> dict | None:
    """Trains BEGAN, then a head in each fold; returns the scores."""
    loop.select_strategy(run.strategy)  # refused before any work where there is one device
    pretraining.check_hparams(hp, make_magnitude_slices(hp))
    utterances = select_utterances(utterances, hp)
    plans = {seed: make_splits(utterances, hp, run, seed) for seed in run.seeds}
    warn_of_untrained_classes(utterances, plans[run.seeds[0]])
    speech = load_dataset(utterances, hp, run)
    if len(speech.utterances) < len(utterances):  # left out by --max-bad or features.drop_short
        plans = {seed: make_splits(speech.utterances, hp, run, seed) for seed in run.seeds}
    classification_report.write_splits(run, speech.utterances, plans)
    base, transductive = base_network(speech, hp, run)
    digest = {"network": file_digest(base)} if base else {}
    run_directory.check_data(run.folder, speech.utterances, speech.key, **digest)

    encoder = base and pretraining.maps_network(
        pretraining.load_network(base, hp, make_magnitude_slices(hp))
    )
    network = compiled_network(encoder, speech, hp, run)

    results = []
    with classification_report.progress_bar(
        sum(map(len, plans.values())), hp["train"]["max_epochs"]
    ) as bar:
        lab = Experiment(speech, hp, run, encoder, network, bar)
        for seed in run.seeds:
            results.append(score_seed(lab, seed, plans[seed]))
    if run.parts is not None:
        return None
    name, speakers = NAMES[hp["head"]["encoder"]], [u.speaker for u in speech.utterances]
    flags = describe_labels(**hp["labels"])
    flags |= {"autoencoder": "transductive"} if transductive else {}
    options = {
        "independent": all(is_speaker_independent(speakers, splits) for splits in plans.values()),
        "facts": [f"{name}: {hp['features']['input_mode']}, {hp['model']['n_filters']} filters"]
        + ["BEGAN trained on the tested speech (transductive)"] * transductive,
        "flags": flags,
    }
    of_seeds = [result for result, _ in results]
    if not speech.classes:
        n_folds = len(plans[run.seeds[0]])
        return regression_report.finish_run(
            run, "began", of_seeds, *results[-1][1], n_folds=n_folds, **options
        )
    return classification_report.finish_run(run, "began", speech.classes, of_seeds, **options)


def compiled_network(encoder, speech, hp, run) -> keras.Model:
    """Return the network of this experiment, compiled; its weights are set by `train_head`."""
    with loop.select_strategy(run.strategy).scope():
        shaped = encoder or pretraining.maps_network(
            pretraining.new_network(hp, make_magnitude_slices(hp))
        )
        return new_network(shaped, speech, hp)


def base_network(speech, hp, run) -> tuple[Path | None, bool]:
    """The network that no fold trains, if any, and whether it has heard what is tested."""
    settings = hp["began"]
    if hp["head"]["encoder"] != "pretrained" or settings["corpus"] == "tested":
        return None, False
    if settings["weights"]:
        return Path(settings["weights"]).expanduser(), False
    utterances = load_unlabelled(settings, None, run)
    path = pretraining.pretrained_network(utterances, hp, run)
    log.info("BEGAN: %s", path)
    return path, share_recordings(utterances, speech.utterances)


def fold_encoder(lab, split) -> keras.Model:
    """The encoder that a fold begins with."""
    speech, hp, run, base, *_ = lab
    if base:
        return base
    layer = make_magnitude_slices(hp)
    if hp["head"]["encoder"] == "pretrained":
        path = pretraining.pretrained_network(speech.utterances, hp, run, known=split.train)
        return pretraining.maps_network(pretraining.load_network(path, hp, layer))
    keras.utils.set_random_seed(hp["began"]["seed"])
    with mixed_precision.precision_policy("float32"):  # as one that is loaded
        began = pretraining.new_network(hp, layer)
    if hp["features"]["scaling"] == "max":  # of the training part
        known = speech.slices[np.isin(speech.utterance, split.train)]
        began.picture.scale.assign(pretraining.magnitude_scale([tf.constant(known)]))
    return pretraining.maps_network(began)


def score_seed(lab, seed, splits):
    """Trains a head in each fold of a seed: (of `score_seed`, what `finish_run` draws)."""
    speech, hp, run, *_, bar = lab
    outputs = np.zeros((len(speech.utterances), speech.y.shape[1]))
    fold_of = np.full(len(speech.utterances), -1)
    slices = []
    for fold, split, folder in classification_report.iterate_own_folds(run, seed, splits, bar):
        bar.at("head")
        found = train_head(lab, split, folder, [seed, fold])["outputs"]
        bar.network_done()
        numbers = speech.utterance[np.isin(speech.utterance, split.test)]
        outputs[split.test] = merge_slices(speech, numbers, found, split.test)
        fold_of[split.test] = fold
        slices.append((numbers, found))
    if run.parts is not None:
        return None
    tested = np.flatnonzero(fold_of >= 0)
    utterances = [speech.utterances[i] for i in tested]
    name = NAMES[hp["head"]["encoder"]]
    if not speech.classes:
        found = dict(zip(regression_report.ATTRIBUTES, outputs[tested].T, strict=True))
        of_seed = regression_report.score_seed(
            run, seed, utterances, {name: found}, fold_of[tested]
        )
        return of_seed, (utterances, found)
    guess = outputs[tested].argmax(axis=1)
    system = {"predicted": guess, "probabilities": outputs[tested]}
    y = np.concatenate([speech.y[numbers] for numbers, _ in slices])
    system["f0_5_of_batches"] = f0_5_of_batches(y, np.concatenate([p for _, p in slices]))
    speakers = [u.speaker for u in speech.utterances]
    if len(splits) > 1 and not is_speaker_independent(speakers, splits):  # table 1
        true = speech.y[tested].argmax(axis=1)
        for fold, split in enumerate(splits):
            of_fold = fold_of[tested] == fold
            system[f"wa_of_{speakers[split.test[0]]}"] = metrics.wa(true[of_fold], guess[of_fold])
    of_seed = classification_report.score_seed(
        run, seed, utterances, speech.classes, {name: system}, fold_of[tested]
    )
    return of_seed, None


def f0_5_of_batches(y, p, batch_size=64) -> float:
    """The "F-score" of the authors' code, beside F1 (table 2): of slices, in batches.

    Outputs are rounded at 0.5, F with beta = 0.5 is of all cells of a batch, and batches are
    averaged. y, p: [slices, K].
    """
    found = []
    for first in range(0, len(y), batch_size):
        true, said = y[first : first + batch_size] > 0.5, p[first : first + batch_size] > 0.5
        hits = np.sum(true & said)
        precision, recall = hits / max(np.sum(said), 1), hits / max(np.sum(true), 1)
        found.append(1.25 * precision * recall / max(0.25 * precision + recall, 1e-12))
    return float(np.mean(found))


def train_head(lab, split, folder, seed) -> dict[str, np.ndarray]:
    """Trains one head; returns {"outputs": of the test part's slices [m, K]}.

    What is finished is kept; a head that was killed goes on from its last epoch.
    """
    speech, hp, run, _, network, bar = lab
    done = folder / "test.npz"
    if finished := multi_worker.read_arrays_from_chief(done):
        loop.delete_checkpoints(folder)
        return finished
    folder.mkdir(parents=True, exist_ok=True)
    encoder = fold_encoder(lab, split)
    weight_seed, order_seed = (int(s) for s in np.random.SeedSequence(seed).generate_state(2))
    keras.utils.set_random_seed(weight_seed)
    loop.reinitialize(network, new_network(encoder, speech, hp))
    if hp["head"]["encoder"] == "end-to-end":
        inputs, encoder = speech.slices, network.get_layer("maps")  # which learns
    else:
        inputs = load_maps(encoder, lab)
    rows = pipelines.as_tensor(inputs.reshape(len(inputs), -1))
    y = speech.y[speech.utterance]
    known, dev, test = (np.flatnonzero(np.isin(speech.utterance, part)) for part in split)

    def batches(chosen, labels, size, **options):
        return pipelines.utterance_batches(
            rows,
            np.arange(len(inputs) + 1),
            chosen,
            labels,
            n_frames=None,
            batch_size=size,
            **options,
        )

    with tf.device("CPU:0"):  # where tf.data works
        epoch = tf.Variable(0, dtype="int64")
    size = loop.shared_batch_size(min(hp["train"]["batch_size"], len(known)), run.strategy)
    options = {"seed": order_seed, "epoch": epoch, "drop_remainder": True}
    dataset, dev_batches = batches(known, y[known], size, **options), batches(dev, None, 256)
    dev_y = speech.y[split.dev]

    def one_epoch(history):
        epoch.assign(len(history))
        means = train_epoch(network, dataset)
        said = predict_batches(network, dev_batches)
        said = merge_slices(speech, speech.utterance[dev], said, split.dev)
        return {"loss": means["loss"]} | dev_scores(speech, dev_y, said)

    with tensorboard.open_event_writer(
        run.folder / "events" / folder.relative_to(run.folder)
    ) as write:

        def after_epoch(row):
            bar.epoch(row)
            write(row["epoch"], {name: row[name] for name in row if name != "epoch"})

        history = loop.run_epochs(
            network,
            one_epoch,
            best_epoch=best_epoch,
            finished=lambda history: len(history) >= hp["train"]["max_epochs"],
            folder=folder,
            report=after_epoch,
            advice="try a lower --set train.learning_rate",
        )
    precise = mixed_precision.copy_in_float32(network)
    found = {"outputs": predict_batches(precise, batches(test, None, 256))}
    write_head(folder, bar.place, history, encoder, network.get_layer("head"))
    atomic_files.write_arrays(done, **found)  # last: it says that this head is finished
    loop.delete_checkpoints(folder)
    return found


def load_maps(encoder, lab) -> np.ndarray:
    """The frozen encoder's feature maps of all slices, kept beside the features for all runs."""
    speech, run = lab.speech, lab.run
    digest = pretraining.weights_digest(encoder)
    file = run.local_cache / f"maps-{digest}-{speech.key[:16]}.npy"
    if not file.exists():
        found = encoder.predict(speech.slices, batch_size=32, verbose=0)
        with atomic_files.replace_file(file) as path:
            with open(path, "wb") as stream:
                np.save(stream, found)
    return np.load(file)


def dev_scores(speech, y, said) -> dict:
    """What the epoch is chosen by: "dev_uar", of ratings "dev_ccc", and "dev_loss"."""
    if speech.classes:
        likelihood = np.sum(y * said, axis=1)
        return {
            "dev_loss": float(-np.mean(np.log(np.maximum(likelihood, 1e-7)))),
            "dev_uar": metrics.uar(y.argmax(axis=1), said.argmax(axis=1)),
        }
    cccs = [metrics.ccc(y[:, i], said[:, i]) for i in range(2)]
    return {"dev_loss": float(np.mean(np.abs(y - said))), "dev_ccc": float(np.mean(cccs))}


def best_epoch(history) -> int:
    """The epoch (from 0) with the highest dev score, among equals that with the lowest dev loss."""
    score = "dev_uar" if "dev_uar" in history[0] else "dev_ccc"
    best = max(history, key=lambda row: (row[score], -row["dev_loss"]))
    return best["epoch"] - 1


def write_head(folder, place, history, encoder, of_head) -> None:
    """The history, its picture, and the network from magnitudes to outputs."""
    kept = history[best_epoch(history)]
    score = "dev_uar" if "dev_uar" in kept else "dev_ccc"
    log.info(
        "%s: kept epoch %d of %d: loss %.3f dev loss %.3f %s %.3f",
        *(place, kept["epoch"], len(history), kept["loss"], kept["dev_loss"]),
        *(score.replace("_", " "), kept[score]),
    )
    atomic_files.write_csv(folder / "history.csv", history)
    panels = {
        "loss": {"training": "loss", "dev": "dev_loss"},
        {"dev_uar": "UAR", "dev_ccc": "CCC, mean of both"}[score]: {"dev": score},
    }
    write_training_curves(
        history, folder / "history.png", f"BEGAN, {place}", panels, kept_epoch=kept["epoch"]
    )
    with atomic_files.replace_file(folder / "model.keras") as path:
        keras.Model(encoder.input, of_head(encoder.output), name="began_head").save(path)
