"""The experiment of the Aux-VAE: train it on every fold and score it."""

import logging
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from tfser.corpora.labels import describe_labels, warn_of_untrained_classes
from tfser.distributed import multi_worker
from tfser.evaluation import classification_report, metrics, regression_report
from tfser.evaluation.splits import is_speaker_independent
from tfser.features.mel_pieces import make_mel_pieces
from tfser.models.auxvae import figures, pretraining, probes
from tfser.models.auxvae.dataset import Dataset, load_dataset, make_splits, select_utterances
from tfser.storage import atomic_files, run_directory
from tfser.training import loop, mixed_precision
from tfser.training.pretraining import copy_network, file_digest, load_unlabelled, share_recordings

log = logging.getLogger("tfser")

# The latent variable that is the run's result: what the paper's text says is best.
BEST = {"speaker": "h", "gender": "h", "emotion": "m", "ratings": "m"}


class Experiment(NamedTuple):
    """What every fold needs."""

    speech: Dataset
    hp: dict
    run: run_directory.Run
    base: Path | None  # the network that every fold begins with
    bar: classification_report.Progress


def train(utterances, hp, run) -> dict | None:
    """Trains the autoencoder, then probes its latent variables; returns the scores."""
    loop.select_strategy(run.strategy)  # refused before any work where there is one device
    pretraining.check_hparams(hp, make_mel_pieces(hp))
    utterances = select_utterances(utterances, hp)
    plans = {seed: make_splits(utterances, hp, run, seed) for seed in run.seeds}
    if hp["labels"]["target"] != "ratings":
        warn_of_untrained_classes(utterances, plans[run.seeds[0]])
    speech = load_dataset(utterances, hp, run)
    if len(speech.utterances) < len(utterances):  # left out by --max-bad or input.drop_short
        plans = {seed: make_splits(speech.utterances, hp, run, seed) for seed in run.seeds}
    classification_report.write_splits(run, speech.utterances, plans)
    base, transductive = base_network(speech, hp, run)
    digest = {"network": file_digest(base)} if base else {}
    run_directory.check_data(run.folder, speech.utterances, speech.key, **digest)

    target = hp["labels"]["target"]
    results = []
    with classification_report.progress_bar(
        sum(map(len, plans.values())), hp["probe"]["epochs"]
    ) as bar:
        lab = Experiment(speech, hp, run, base, bar)
        for seed in run.seeds:
            of_folds = [
                probe_fold(lab, split, folder, [seed, fold])
                for fold, split, folder in classification_report.iterate_own_folds(
                    run, seed, plans[seed], bar
                )
            ]
            if run.parts is None:
                results.append(score_seed(lab, seed, plans[seed], of_folds))
    if run.parts is not None:
        return None
    facts = [
        describe_network(hp),
        f"probes of {hp['probe']['latents']}",
        *["autoencoder trained on the tested speech (transductive)"] * transductive,
    ]
    flags = describe_labels(**hp["labels"])
    flags |= {"autoencoder": "transductive"} if transductive else {}
    speakers = [u.speaker for u in speech.utterances]
    strict = all(is_speaker_independent(speakers, splits) for splits in plans.values())
    options = {"independent": strict, "facts": facts, "flags": flags}
    if target == "ratings":
        scores = regression_report.finish_run(
            *(run, "auxvae", [result for result, _ in results], *results[-1][1]),
            n_folds=len(plans[run.seeds[0]]),
            **options,
        )
    else:
        of_seeds = [result for result, _ in results]
        scores = classification_report.finish_run(
            run, "auxvae", speech.classes, of_seeds, **options
        )
    figures.write_figures(lab, plans[run.seeds[0]][0])
    return scores


def base_network(speech, hp, run) -> tuple[Path | None, bool]:
    """The network that no fold trains, if any, and whether it has heard what is tested."""
    settings = hp["vae"]
    if settings["weights"]:
        return Path(settings["weights"]).expanduser(), False
    if settings["corpus"] == "tested":
        return None, False
    utterances = load_unlabelled(settings, None, run)
    path = pretraining.pretrained_network(utterances, hp, run, max_epochs=settings["max_epochs"])
    log.info("autoencoder: %s", path)
    return path, share_recordings(utterances, speech.utterances)


def fold_network(lab, split) -> Path:
    """The network whose latent variables a fold probes: trained on nothing that it tests."""
    speech, hp, run, base, _ = lab
    settings = hp["vae"]
    training_part = speech.utterances, hp, run
    path = base or pretraining.pretrained_network(
        *training_part, known=split.train, max_epochs=settings["max_epochs"]
    )
    if more := settings["continued_epochs"]:
        path = pretraining.pretrained_network(
            *training_part, known=split.train, start=path, max_epochs=more
        )
    return path


def describe_network(hp) -> str:
    """What the card says of the autoencoder."""
    settings = hp["vae"]
    name = "Aux-VAE" if hp["model"]["medium"] else "one auxiliary"
    if settings["weights"]:
        of = "of a file"
    elif settings["corpus"] == "tested":
        of = f"of the training part, {settings['max_epochs']} epochs"
    else:
        of = f"of {settings['corpus']}, {settings['max_epochs']} epochs"
    if more := settings["continued_epochs"]:
        of += f", then {more} of the training part"
    return f"{name} {of}"


def probe_fold(lab, split, folder, seed) -> dict[str, np.ndarray]:
    """Trains the probes of one fold, or reads what a run before has found of its pieces."""
    speech, hp, run, _, bar = lab
    bar.at("probes")
    done = folder / "test.npz"
    if not (found := multi_worker.read_arrays_from_chief(done)):
        path = fold_network(lab, split)
        latents = pretraining.load_latents(path, speech, hp, run)
        folder.mkdir(parents=True, exist_ok=True)
        copy_network(path, folder / "vae.keras", run.local_cache)
        weight_seed, order_seed = (int(s) for s in np.random.SeedSequence(seed).generate_state(2))
        keras.utils.set_random_seed(weight_seed)
        make = (
            probes.make_regressors
            if hp["labels"]["target"] == "ratings"
            else probes.make_classifiers
        )
        with mixed_precision.precision_policy("float32"):  # they are small, and what measures
            network = make(latents, speech, hp)
            found = probes.train_probes(network, latents, speech, split, hp, order_seed)
        with atomic_files.replace_file(folder / "probes.keras") as file:
            loop.save_model(network, file)
        atomic_files.write_arrays(done, **found)  # last: this fold is finished
    bar.network_done()
    return found


def score_seed(lab, seed, splits, of_folds):
    """Scores of one seed: (of `score_seed`, what `finish_run` draws)."""
    speech, hp, run = lab.speech, lab.hp, lab.run
    fold_of = np.full(len(speech.utterances), -1)
    for fold, split in enumerate(splits):
        fold_of[split.test] = fold
    tested = np.flatnonzero(fold_of >= 0)
    utterances = [speech.utterances[i] for i in tested]
    found = {
        name: merge_pieces(speech, splits, [f[name] for f in of_folds]) for name in of_folds[0]
    }
    numbers = speech.utterance[np.isin(speech.utterance, tested)]  # [tested pieces]
    best = BEST[hp["labels"]["target"]]
    prefix = "" if hp["model"]["medium"] else "one auxiliary: "
    if not hp["model"]["medium"]:
        best = "h"
    names = dict.fromkeys(name.partition("-")[0] for name in found)
    names = sorted(names, key=lambda name: name == best)  # last: the run's result
    systems = {}
    if hp["labels"]["target"] != "ratings":
        y = speech.y[numbers]
        for name in names:
            probabilities = found[name]
            mean = utterance_means(probabilities, numbers, tested)
            systems[name if name == "mel" else prefix + name] = {
                "predicted": mean.argmax(axis=1),
                "probabilities": mean,
                # The paper's figure: of pieces of 4 s.
                "wa_of_pieces": metrics.wa(y, probabilities.argmax(axis=1)),
            }
        of_tested = classification_report.score_seed(
            run, seed, utterances, speech.classes, systems, fold_of[tested]
        )
        return of_tested, None
    for name in names:
        for loss in ("MSE", "CCC"):
            values = {a: found[f"{name}-{loss}-{a}"] for a in regression_report.ATTRIBUTES}
            system = {
                a: utterance_means(p[:, None], numbers, tested)[:, 0] for a, p in values.items()
            }
            for column, (attribute, p) in enumerate(values.items()):
                of_batches = probes.ccc_of_batches(speech.y[numbers, column], p, seed)
                if of_batches is not None:
                    system[f"ccc_of_batches_{attribute}"] = of_batches
            systems[f"{name if name == 'mel' else prefix + name}, {loss}"] = system
    of_tested = regression_report.score_seed(run, seed, utterances, systems, fold_of[tested])
    return of_tested, (utterances, system)


def merge_pieces(speech, splits, of_folds):
    """The test parts' outputs of all folds, in the order of the corpus's pieces."""
    where = np.concatenate(
        [np.flatnonzero(np.isin(speech.utterance, split.test)) for split in splits]
    )
    return np.concatenate(of_folds)[np.argsort(where)]


def utterance_means(values, numbers, tested):
    """Means of values [pieces, K] over the pieces of each utterance: [tested, K].

    numbers [pieces]: whose they are.
    """
    place = np.searchsorted(tested, numbers)
    sums = np.zeros((len(tested), values.shape[1]))
    np.add.at(sums, place, values)
    return sums / np.bincount(place)[:, None]
