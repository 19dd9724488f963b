"""The experiment of the emotion profile refinery (section 4)."""

from typing import NamedTuple

import keras
import numpy as np

from tfser.cache import pipelines
from tfser.corpora.labels import describe_labels
from tfser.evaluation import classification_report, cross_validation
from tfser.evaluation.splits import Split
from tfser.inference import initial_network
from tfser.models.epr import figures
from tfser.models.epr.dataset import Dataset, band_statistics, load_dataset
from tfser.models.epr.forest import classify
from tfser.models.epr.network import EPR, standardize
from tfser.models.epr.refinery import list_networks, refine
from tfser.models.epr.schedule import EpochDecay, set_steps
from tfser.models.epr.splits import (
    make_forest_splits,
    make_inner_splits,
    make_splits,
    select_tested,
    select_utterances,
)
from tfser.storage import run_directory
from tfser.training import fold, loop, mixed_precision
from tfser.training.balance import append_weights, balance_weights, separate_weights
from tfser.training.epoch import predict_batches
from tfser.training.layer_names import freeze_layers


class Experiment(NamedTuple):
    """The inputs of every stage."""

    dataset: Dataset
    hp: dict
    run: run_directory.Run
    model: keras.Model  # compiled once; every network starts from new weights in it
    precise: keras.Model  # `model` if it is in float32, else a copy in float32
    bar: cross_validation.Progress | None
    initial_weights: dict = {}  # of the initial network, see `select_weights`


def train(utterances, hp, run) -> dict | None:
    """Run the paper's experiment (section 4); return the scores, as in scores.json."""
    loop.select_strategy(run.strategy)  # fail before any work on a machine with one device
    utterances = select_utterances(utterances, hp)
    initial = initial_network.load_initial_network("epr", hp)
    drawn = figures.find_names(utterances, hp["plots"]["utterances"])
    inner = hp["forest"]["profiles"] == "inner"
    n_inner = hp["forest"]["inner_folds"] if inner else 0

    def make_all_splits(utterances):
        return {seed: make_splits(utterances, hp, run, seed) for seed in run.seeds}

    def load_checked(utterances):
        dataset = load_dataset(utterances, hp, run)
        # Inner folds are not in splits.csv: a run with inner folds of another kind does not go on.
        kind = {"inner folds": "even in gender and class"} if inner else {}
        more = kind | initial_network.digest_initial(initial)
        run_directory.check_data(run.folder, dataset.utterances, dataset.key, **more)
        return dataset

    def make_forest_folds(dataset, splits):
        if run.protocol != "paper":
            return {}
        # Section 4.1: "another ten-fold cross-validation" for the forest.
        return {"forest_part": {s: make_forest_splits(dataset, splits[s], s) for s in run.seeds}}

    dataset, splits = cross_validation.load_with_splits(
        *(utterances, run, make_all_splits, load_checked),
        make_more=make_forest_folds,
        earlier=initial and initial.training,
    )
    forest_splits = make_forest_folds(dataset, splits).get("forest_part", splits)
    n_networks = len(list_networks(**hp["refinery"]))
    initial_weights = initial_network.select_weights(initial, new_network, dataset, hp)
    experiment = make_experiment(dataset, hp, run, None)._replace(initial_weights=initial_weights)

    def train_fold(split, folder, seed, bar):
        of_fold = experiment._replace(bar=bar)
        # Eq. (2): the profiles of the test utterances, from networks that were not trained on them.
        profiles = train_rounds(of_fold, split.train, split.dev, folder, seed)
        test_profiles = profiles[:, np.isin(dataset.owner, split.test)]
        if run.protocol == "paper":
            return test_profiles, None
        if inner:
            profiles = inner_profiles(of_fold, split, profiles, folder, seed)
        known = np.concatenate([split.train, split.dev])
        known = known[~np.isin(known, split.test)]  # with --evaluate dev, dev is the test set
        return test_profiles, classify(of_fold, profiles, known, split.test, folder, seed[0])

    def score_seed(seed, outputs):
        parts = [split.test for split in splits[seed]]
        profiles = np.zeros((n_networks, *dataset.one_hot.shape), np.float32)
        for test, (test_profiles, _) in zip(parts, outputs, strict=True):
            profiles[:, np.isin(dataset.owner, test)] = test_profiles
        predicted = [probabilities for _, probabilities in outputs]
        if run.protocol == "paper":
            forests = run.folder / f"seed-{seed}" / "forests"
            predicted = [
                classify(
                    *(experiment, profiles, split.train, split.test),
                    *(forests / f"fold-{number:02}", seed),
                )
                for number, split in enumerate(forest_splits[seed])
            ]
        _, predicted, fold_of = cross_validation.merge_folds(
            [split.test for split in forest_splits[seed]],
            [probabilities.swapaxes(0, 1) for probabilities in predicted],
        )
        columns = {"fold": fold_of}
        if run.protocol == "paper":
            _, _, network_fold_of = cross_validation.merge_folds(parts, parts)
            columns = {"forest_fold": fold_of, "network_fold": network_fold_of}
        tested, profiles = select_tested(dataset, profiles, splits[seed])
        systems = figures.collect_systems(hp, tested, profiles, predicted.swapaxes(0, 1))
        if seed == run.seeds[0]:
            figures.draw_profiles(run, tested, hp, profiles, drawn)
        return classification_report.score_seed(
            *(run, seed, tested.utterances, dataset.classes, systems),
            *(fold_of, forest_splits[seed], columns),
        )

    results = cross_validation.cross_validate(
        run,
        splits,
        train_fold,
        score_seed,
        max_epochs=hp["train"]["max_epochs"],
        networks_per_fold=(1 + n_inner) * n_networks,
    )
    if results is None:
        return None
    if run.protocol == "paper":
        # A forest learns from the profiles of networks that were trained on its test utterances.
        everyone = np.arange(len(dataset.y))
        splits = {seed: [Split(everyone, everyone, everyone)] for seed in run.seeds}
    stuck = figures.list_networks_at_chance(run)
    return classification_report.finish_run(
        run,
        "epr",
        dataset.classes,
        results,
        utterances=dataset.utterances,
        splits=splits,
        facts=figures.list_facts(hp, dataset, stuck),
        flags=describe_labels(**hp["labels"]),
        earlier=initial and initial.training,
        networks_at_chance=stuck,
    )


def make_experiment(dataset, hp, run, bar) -> Experiment:
    """Return the experiment with its networks."""
    model = compiled_network(dataset, hp, run)
    return Experiment(dataset, hp, run, model, mixed_precision.copy_in_float32(model), bar)


def compiled_network(dataset, hp, run) -> EPR:
    """Return the compiled network of this experiment; `train_network` sets its weights."""
    # Zeros: it takes a while to draw 41 million weights that are never used.
    unused = hp | {"model": hp["model"] | {"initializer": "zeros"}}
    with loop.select_strategy(run.strategy).scope():
        model = new_network(dataset, unused)
        freeze_layers(model, hp["train"]["freeze"])
        model.compile(keras.optimizers.Adam(EpochDecay(**hp["schedule"])))
        return model


def new_network(dataset, hp) -> EPR:
    """Return a randomly initialized network for the corpus."""
    return EPR(
        n_classes=len(dataset.classes),
        n_frames=hp["segments"]["n_frames"],
        n_bands=hp["features"]["n_bands"],
        **hp["model"],
    )


def train_rounds(experiment, train, dev, folder, seed) -> np.ndarray:
    """Train a fold's networks, on labels refined by earlier ones: [networks, segments, K].

    C1 learns the labels that segments inherit from their utterances, C_t the labels refined by
    C_(t-1), which was trained on the same segments (section 2.2). Labels, networks and epochs
    depend on the utterances `train` and `dev` alone. Profiles are of all segments.
    """
    dataset, bar = experiment.dataset, experiment.bar
    networks = list_networks(**experiment.hp["refinery"])
    profiles = []
    for number, network in enumerate(networks, start=1):
        bar.at(f"{network.name}, network {number} of {len(networks)}")
        labels = dataset.one_hot
        if network.labelling:
            teacher = profiles[network.teacher]
            labels = refine(network.labelling, teacher, dataset.one_hot, dataset.owner)
        # Networks of one round have the same seed, whatever their labels.
        of_network = folder / f"round-{network.key}", [*seed, network.t - 1]
        profiles.append(train_network(experiment, train, dev, labels, *of_network))
        bar.network_done()
    for network in networks[:-1]:
        (folder / f"round-{network.key}" / "model.keras").unlink(missing_ok=True)  # 164 MB
    return np.stack(profiles)


def train_network(experiment, train, dev, labels, folder, seed) -> np.ndarray:
    """Train one VGG by soft cross-entropy, Eq. (4); return its profiles [segments, K]."""
    dataset, hp, run, model, precise, bar, initial_weights = experiment
    if arrays := fold.load_finished(folder / "profiles.npz"):
        return arrays["profiles"]
    folder.mkdir(parents=True, exist_ok=True)
    order_seed = fold.set_seeds(seed)
    loop.reinitialize(model, new_network(dataset, hp))
    standardize(model, *band_statistics(dataset, train))
    initial_network.copy_weights(model, initial_weights)
    train_segments = np.flatnonzero(np.isin(dataset.owner, train))
    dev_segments = np.flatnonzero(np.isin(dataset.owner, dev))
    known = [dataset.utterances[i] for i in dataset.owner[train_segments]]
    weights = balance_weights(known, hp["train"]["balance"])
    chance_loss, learnt_loss = loop.chance_loss(labels[train_segments], weights)
    batch_size = loop.shared_batch_size(
        min(hp["train"]["batch_size"], len(train_segments)), run.strategy
    )
    # Each epoch draws its segments without replacement.
    n_steps = max(1, int(hp["train"]["epoch_share"] * (len(train_segments) // batch_size)))
    set_steps(model, n_steps)
    n_frames = hp["segments"]["n_frames"]

    def make_batches(segments, weights=None, **options):
        own = labels[segments]
        batches = pipelines.segment_batches(
            dataset.frames,
            dataset.starts[segments],
            own if weights is None else append_weights(own, weights),
            n_frames=n_frames,
            batch_size=batch_size,
            **options,
        )
        return batches if weights is None else separate_weights(batches)

    with fold.report_epochs(fold.event_folder(run, folder), bar.epoch) as report:
        history = loop.fit(
            model,
            lambda epoch: make_batches(
                train_segments, weights, seed=order_seed, epoch=epoch, drop_remainder=True
            ).take(n_steps),
            make_batches(dev_segments),
            max_epochs=hp["train"]["max_epochs"],
            patience=hp["train"]["patience"],
            learnt_loss=learnt_loss,
            folder=folder,
            report=report,
        )
    if precise is not model:
        precise.set_weights(model.get_weights())
    all_batches = pipelines.segment_batches(
        dataset.frames, dataset.starts, None, n_frames=n_frames, batch_size=512
    )
    profiles = predict_batches(precise, all_batches)
    figures.write_network(folder, bar.place, history, model, chance_loss)
    fold.finish(folder / "profiles.npz", profiles=profiles)
    return profiles


def inner_profiles(experiment, split, profiles, folder, seed) -> np.ndarray:
    """Replace the profiles of the training utterances by profiles of networks of inner folds.

    A network is more certain of its training utterances than of its test utterances. A forest that
    learns from inner folds learns from profiles as uncertain as the profiles of the test set.
    """
    profiles = profiles.copy()
    dataset, bar = experiment.dataset, experiment.bar
    n_folds = experiment.hp["forest"]["inner_folds"]
    trained = [dataset.utterances[i] for i in split.train]
    place = bar.where
    for i, (known, held_out) in enumerate(make_inner_splits(trained, n_folds)):
        bar.where = f"{place} inner-{i} of {n_folds}"
        # + 1000: NumPy pads seeds with zeros, and [s, f, i] is the seed of the fold's round i.
        inner_seed = [*seed, 1000 + i]
        inner = train_rounds(
            experiment, split.train[known], split.dev, folder / f"inner-{i}", inner_seed
        )
        segments = np.isin(dataset.owner, split.train[held_out])
        profiles[:, segments] = inner[:, segments]
    return profiles
