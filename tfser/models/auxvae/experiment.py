"""The experiment of the Aux-VAE (section 6): probes of its latent variables, tables 1 to 3."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfser.corpora.labels import describe_labels
from tfser.evaluation import (
    classification_report,
    cross_validation,
    metrics,
    regression_report,
)
from tfser.features.mel_pieces import make_mel_pieces
from tfser.models.auxvae import figures, pretraining, probes
from tfser.models.auxvae.dataset import Dataset, load_dataset
from tfser.models.auxvae.splits import check_lists, list_files, make_splits, select_utterances
from tfser.storage import atomic_files, run_directory
from tfser.training import fold, loop, mixed_precision
from tfser.training.pretraining import copy_network, file_digest, load_unlabelled, share_recordings

log = logging.getLogger("tfser")

# The latent variable that is the run's result: the best one in the text of the paper.
BEST = {"speaker": "h", "gender": "h", "emotion": "m", "ratings": "m"}


class Experiment(NamedTuple):
    """The inputs of every fold."""

    dataset: Dataset
    hp: dict
    run: run_directory.Run
    base: Path | None  # the autoencoder of all folds
    bar: cross_validation.Progress


def train(utterances, hp, run) -> dict | None:
    """Train the autoencoder, then probe its latent variables; return the scores."""
    loop.select_strategy(run.strategy)  # fail before any work on a machine with one device
    is_rating = hp["labels"]["target"] == "ratings"
    pretraining.check_hparams(hp, make_mel_pieces(hp))
    check_lists(utterances, hp)
    dataset, splits = cross_validation.load_with_splits(
        select_utterances(utterances, hp),
        run,
        lambda utterances: {seed: make_splits(utterances, hp, run, seed) for seed in run.seeds},
        lambda utterances: load_dataset(utterances, hp, run),
        has_classes=not is_rating,
    )

    # Section 5.2: the autoencoder is trained once, on speech without labels.
    base, transductive = base_network(dataset, hp, run)
    digest = {"network": file_digest(base)} if base else {}
    lists = list_files(hp)
    digest |= {f"list {file.name}": file_digest(file) for file in lists}
    run_directory.check_data(run.folder, dataset.utterances, dataset.key, **digest)

    # Section 6: probes of h, m and z.
    results = cross_validation.cross_validate(
        run,
        splits,
        lambda split, folder, seed, bar: probe_fold(
            Experiment(dataset, hp, run, base, bar), split, folder, seed
        ),
        lambda seed, outputs: score_seed(dataset, hp, run, seed, splits[seed], outputs),
        max_epochs=hp["probe"]["epochs"],
    )
    if results is None:
        return None
    options = {
        "utterances": dataset.utterances,
        "splits": splits,
        "facts": [
            describe_network(hp),
            f"probes of {hp['probe']['latents']}",
            *[f"split of {' and '.join(file.name for file in lists)}"] * bool(lists),
            *["autoencoder trained on the tested speech (transductive)"] * transductive,
        ],
        "flags": describe_labels(**hp["labels"])
        | ({"autoencoder": "transductive"} if transductive else {}),
    }
    scores, drawn = zip(*results, strict=True)
    if is_rating:
        scores = regression_report.finish_run(run, "auxvae", scores, *drawn[-1], **options)
    else:
        scores = classification_report.finish_run(run, "auxvae", dataset.classes, scores, **options)
    figures.write_figures(dataset, hp, run)
    return scores


def base_network(dataset, hp, run) -> tuple[Path | None, bool]:
    """Return the file of the autoencoder for all folds, and whether tested recordings trained it.

    None where each fold trains an autoencoder of its own.
    """
    settings = hp["vae"]
    if settings["weights"]:
        return Path(settings["weights"]).expanduser(), False
    if settings["corpus"] == "tested":
        return None, False
    utterances = load_unlabelled("vae", settings, None, run)
    path = pretraining.pretrained_network(utterances, hp, run, max_epochs=settings["max_epochs"])
    log.info("autoencoder: %s", path)
    return path, share_recordings(utterances, dataset.utterances)


def fold_network(experiment, split) -> Path:
    """Return the file of the autoencoder that a fold probes; no test utterance trained it."""
    dataset, hp, run, base, _ = experiment
    settings = hp["vae"]
    inputs = dataset.utterances, hp, run
    path = base or pretraining.pretrained_network(
        *inputs, known=split.train, max_epochs=settings["max_epochs"]
    )
    if more := settings["continued_epochs"]:
        path = pretraining.pretrained_network(
            *inputs, known=split.train, start=path, max_epochs=more
        )
    return path


def describe_network(hp) -> str:
    """Describe the autoencoder for the card."""
    settings = hp["vae"]
    name = "Aux-VAE" if hp["model"]["medium"] else "one auxiliary"
    if settings["weights"]:
        source = "of a file"
    elif settings["corpus"] == "tested":
        source = f"of the training part, {settings['max_epochs']} epochs"
    else:
        source = f"of {settings['corpus']}, {settings['max_epochs']} epochs"
    if more := settings["continued_epochs"]:
        source += f", then {more} of the training part"
    return f"{name} {source}"


def probe_fold(experiment, split, folder, seed) -> dict[str, np.ndarray]:
    """Train the probes of one fold; return their outputs for the pieces of the test set."""
    dataset, hp, run, _, bar = experiment
    bar.at("probes")
    if not (outputs := fold.load_finished(folder / "test.npz")):
        path = fold_network(experiment, split)
        latents = pretraining.load_latents(path, dataset, hp, run)
        folder.mkdir(parents=True, exist_ok=True)
        copy_network(path, folder / "vae.keras", run.local_cache)
        order_seed = fold.set_seeds(seed)
        make = (
            probes.make_regressors
            if hp["labels"]["target"] == "ratings"
            else probes.make_classifiers
        )
        with mixed_precision.precision_policy("float32"):  # small networks that measure others
            network = make(latents, dataset, hp)
            outputs = probes.train_probes(network, latents, dataset, split, hp, order_seed)
        with atomic_files.replace_file(folder / "probes.keras") as file:
            loop.save_model(network, file)
        fold.finish(folder / "test.npz", **outputs)
    bar.network_done()
    return outputs


def score_seed(dataset, hp, run, seed, splits, outputs) -> tuple:
    """Score one seed: (scores, None or the utterances and ratings that `finish_run` draws).

    outputs: of each fold {name: of the pieces of the test set}.
    """
    parts = [split.test for split in splits]
    tested, _, fold_of = cross_validation.merge_folds(parts, parts)
    utterances = [dataset.utterances[i] for i in tested]
    pieces = {
        name: merge_pieces(dataset, splits, [output[name] for output in outputs])
        for name in outputs[0]
    }
    numbers = dataset.utterance[np.isin(dataset.utterance, tested)]  # [tested pieces]
    best = BEST[hp["labels"]["target"]] if hp["model"]["medium"] else "h"
    prefix = "" if hp["model"]["medium"] else "one auxiliary: "
    names = dict.fromkeys(name.partition("-")[0] for name in pieces)
    names = sorted(names, key=lambda name: name == best)  # last: the run's result
    titles = {name: name if name == "mel" else prefix + name for name in names}
    systems = {}
    if dataset.classes:
        y = dataset.y[numbers]
        for name in names:
            mean = utterance_means(pieces[name], numbers, tested)
            systems[titles[name]] = {
                "predicted": mean.argmax(axis=1),
                "probabilities": mean,
                # The paper's score: of pieces of 4 s.
                "wa_of_pieces": metrics.wa(y, pieces[name].argmax(axis=1)),
            }
        scores = classification_report.score_seed(
            run, seed, utterances, dataset.classes, systems, fold_of, splits
        )
        return scores, None
    for name in names:
        for loss in ("MSE", "CCC"):
            ratings = {a: pieces[f"{name}-{loss}-{a}"] for a in regression_report.ATTRIBUTES}
            system = {
                a: utterance_means(p[:, None], numbers, tested)[:, 0] for a, p in ratings.items()
            }
            for column, (attribute, p) in enumerate(ratings.items()):
                ccc = probes.ccc_of_batches(dataset.y[numbers, column], p, seed)
                if ccc is not None:
                    system[f"ccc_of_batches_{attribute}"] = ccc
            systems[f"{titles[name]}, {loss}"] = system
    scores = regression_report.score_seed(run, seed, utterances, systems, fold_of, splits)
    return scores, (utterances, system)


def merge_pieces(dataset, splits, outputs) -> np.ndarray:
    """Merge the outputs of all folds for the pieces of their test sets, in the pieces' order."""
    parts = [np.flatnonzero(np.isin(dataset.utterance, split.test)) for split in splits]
    return cross_validation.merge_folds(parts, outputs)[1]


def utterance_means(values, numbers, tested) -> np.ndarray:
    """Return the means of values [pieces, K] over the pieces of each utterance: [tested, K].

    numbers [pieces]: the utterance of each piece.
    """
    place = np.searchsorted(tested, numbers)
    sums = np.zeros((len(tested), values.shape[1]))
    np.add.at(sums, place, values)
    return sums / np.bincount(place)[:, None]
