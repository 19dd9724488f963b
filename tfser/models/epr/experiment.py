"""The experiment of the emotion profile refinery: train it on every fold and score it."""

from typing import NamedTuple

import keras
import numpy as np

from tfser.cache import pipelines
from tfser.corpora.labels import describe_labels, select_by_labels
from tfser.distributed import multi_worker
from tfser.errors import UsageError
from tfser.evaluation import classification_report
from tfser.evaluation.splits import speaker_group_k_fold
from tfser.models.epr import figures
from tfser.models.epr.dataset import (
    Dataset,
    band_statistics,
    load_dataset,
    make_forest_splits,
    make_splits,
    select_tested,
)
from tfser.models.epr.forest import fit_forest, forest_probabilities, statistics, utterance_means
from tfser.models.epr.network import standardize, vgg
from tfser.plots import tensorboard
from tfser.storage import atomic_files, run_directory
from tfser.training import loop, mixed_precision
from tfser.training.epoch import predict_batches


def refine(labelling: str, profiles, one_hot, owner) -> np.ndarray:
    """The labels of the next round's segments [segments, K], from this round's network.

    Args:
        labelling: "soft" (section 4.2, sEPR), "assisted" (section 4.4, pEPR), "hard" dynamic or
            "static" soft (section 4.3).
        profiles: the network's probabilities [segments, K].
        one_hot: the labels the segments inherit from their utterances [segments, K].
        owner: the utterance of each segment [segments].
    """
    if labelling == "soft":
        return profiles
    if labelling == "assisted":  # [.6 .1 .1 .2] and [1 0 0 0] give [.8 .05 .05 .1]
        return (profiles + one_hot) / 2
    if labelling == "hard":
        return np.eye(profiles.shape[1], dtype=np.float32)[profiles.argmax(axis=1)]
    if labelling == "static":
        return utterance_means(profiles, owner)[owner]
    raise ValueError(f"unknown labelling {labelling!r}")


class Experiment(NamedTuple):
    """What every stage needs."""

    speech: Dataset
    hp: dict
    run: run_directory.Run
    model: keras.Model  # compiled once; every network starts from new weights in it
    precise: keras.Model  # `model` where it is in float32, else that with weights of its own
    bar: classification_report.Progress


def train(utterances, hp, run) -> dict | None:
    """The paper's experiment (section 4): trains, evaluates and writes everything under run.folder.

    Returns the scores, as in scores.json: see `classification_report.finish_run`.
    """
    loop.select_strategy(run.strategy)  # refused before any work where there is one device
    utterances = select_by_labels(utterances, **hp["labels"])
    # All folds are made before any audio is read: a corpus that does not allow them fails at once.
    plans = {seed: make_splits(utterances, hp, run, seed) for seed in run.seeds}
    inner = hp["forest"]["profiles"] == "inner"
    if inner and run.protocol != "loso":
        raise UsageError("forest.profiles=inner is for --protocol loso; leave it out")
    n_inner = hp["forest"]["inner_folds"] if inner else 0
    for split in plans[run.seeds[0]] if inner else []:
        speaker_group_k_fold([utterances[i].speaker for i in split.train], n_folds=n_inner)
    figures.check_names(utterances, hp["plots"]["utterances"])
    speech = load_dataset(utterances, hp, run)
    run_directory.check_data(run.folder, speech.utterances, speech.key)
    if len(speech.utterances) < len(utterances):  # --max-bad left some out
        plans = {seed: make_splits(speech.utterances, hp, run, seed) for seed in run.seeds}
    classification_report.write_splits(run, speech.utterances, plans)

    n_rounds = hp["refinery"]["rounds"]
    n_networks = sum(map(len, plans.values())) * (1 + n_inner) * n_rounds
    of_seeds = []
    with classification_report.progress_bar(n_networks, hp["train"]["max_epochs"]) as bar:
        lab = make_experiment(speech, hp, run, bar)
        for seed in run.seeds:
            n_segments, n_classes = speech.one_hot.shape
            profiles = np.zeros((n_rounds, n_segments, n_classes), np.float32)
            predicted = np.zeros((n_rounds, len(speech.y), n_classes))
            fold_of = np.zeros(len(speech.y), int)
            for fold, split, folder in classification_report.iterate_own_folds(
                run, seed, plans[seed], bar
            ):
                # Profiles of held-out utterances, Eq. (2): from networks that never saw them.
                fold_profiles = train_rounds(lab, split.train, split.dev, folder, [seed, fold])
                test = np.isin(speech.owner, split.test)
                profiles[:, test] = fold_profiles[:, test]
                if run.protocol == "loso":
                    if n_inner:
                        fold_profiles = inner_profiles(
                            lab, split, fold_profiles, folder, [seed, fold]
                        )
                    known = np.concatenate([split.train, split.dev])
                    known = known[~np.isin(known, split.test)]  # with --evaluate dev they are one
                    predicted[:, split.test] = classify(
                        lab, fold_profiles, known, split.test, folder, seed
                    )
                    fold_of[split.test] = fold
            if run.parts is not None:
                continue
            tested, profiles, numbers = select_tested(speech, profiles, plans[seed])
            predicted, fold_of = predicted[:, numbers], fold_of[numbers]
            if run.protocol == "paper":
                of_tested = lab._replace(speech=tested)
                # Section 4.1: "another ten-fold cross-validation" for the forest.
                for fold, split in enumerate(make_forest_splits(tested, plans[seed], seed)):
                    folder = run.folder / f"seed-{seed}" / "forests" / f"fold-{fold:02}"
                    predicted[:, split.test] = classify(
                        of_tested, profiles, split.train, split.test, folder, seed
                    )
                    fold_of[split.test] = fold
            of_seeds.append(
                classification_report.score_seed(
                    run,
                    seed,
                    tested.utterances,
                    speech.classes,
                    figures.collect_systems(hp, tested, profiles, predicted),
                    fold_of,
                )
            )
            if seed == run.seeds[0]:
                figures.draw_profiles(run, tested, hp, profiles)
    if run.parts is not None:
        return None
    stuck = figures.list_networks_at_chance(run)
    return classification_report.finish_run(
        run,
        "epr",
        speech.classes,
        of_seeds,
        independent=run.protocol == "loso",
        facts=figures.list_facts(hp, speech, stuck),
        flags=describe_labels(**hp["labels"]),
        networks_at_chance=stuck,
    )


def make_experiment(speech, hp, run, bar) -> Experiment:
    """The experiment with its networks."""
    model = compiled_network(speech, hp, run)
    return Experiment(speech, hp, run, model, mixed_precision.copy_in_float32(model), bar)


def compiled_network(speech, hp, run) -> keras.Model:
    """The network of this experiment, compiled; its weights are set by `train_network`."""
    # Zeros: to draw 41 million weights that are never used takes a while.
    unused = hp | {"model": hp["model"] | {"initializer": "zeros"}}
    with loop.select_strategy(run.strategy).scope():
        return loop.compile_model(
            new_network(speech, unused),
            keras.optimizers.Adam(hp["schedule"]["initial_learning_rate"]),
            keras.losses.CategoricalCrossentropy(),  # against soft labels this is Eq. (4)
        )


def new_network(speech, hp) -> keras.Model:
    """A randomly initialized network for the corpus."""
    return vgg(
        n_frames=hp["segments"]["n_frames"],
        n_bands=hp["features"]["n_bands"],
        n_classes=len(speech.classes),
        **hp["model"],
    )


def train_rounds(lab, train, dev, folder, seed) -> np.ndarray:
    """T networks, each trained on labels the one before refined: profiles [rounds, segments, K].

    C1 learns the labels that segments inherit from their utterances; C_t the labels refined by
    C_(t-1), which was trained on the same segments (section 2.2). Labels, networks and epochs
    depend on the utterances `train` and `dev` alone; profiles are computed for all.
    """
    speech, settings = lab.speech, lab.hp["refinery"]
    profiles, labels = [], speech.one_hot
    for t in range(settings["rounds"]):
        lab.bar.at(f"round-{t + 1} of {settings['rounds']}")
        profiles.append(
            train_network(lab, train, dev, labels, folder / f"round-{t + 1}", [*seed, t])
        )
        lab.bar.network_done()
        if t + 1 < settings["rounds"]:
            labels = refine(settings["labels"], profiles[-1], speech.one_hot, speech.owner)
    for t in range(1, settings["rounds"]):
        (folder / f"round-{t}" / "model.keras").unlink(missing_ok=True)  # 164 MB each at full width
    return np.stack(profiles)


def train_network(lab, train, dev, labels, folder, seed) -> np.ndarray:
    """Trains one VGG by soft cross-entropy, Eq. (4), and returns its profiles [segments, K]."""
    speech, hp, run, model, precise, bar = lab
    done = folder / "profiles.npz"
    if finished := multi_worker.read_arrays_from_chief(done):
        loop.delete_checkpoints(folder)
        return finished["profiles"]
    folder.mkdir(parents=True, exist_ok=True)
    # One seed for the weights and dropout, one for the order of segments.
    weight_seed, order_seed = (int(s) for s in np.random.SeedSequence(seed).generate_state(2))
    keras.utils.set_random_seed(weight_seed)
    loop.reinitialize(model, new_network(speech, hp))
    standardize(model, *band_statistics(speech, train))
    train_segments = np.flatnonzero(np.isin(speech.owner, train))
    dev_segments = np.flatnonzero(np.isin(speech.owner, dev))
    chance_loss, learnt_loss = loop.chance_loss(labels[train_segments])
    batch_size = loop.shared_batch_size(
        min(hp["train"]["batch_size"], len(train_segments)), run.strategy
    )
    # The segments of an epoch are drawn anew each time, without replacement.
    n_steps = max(1, int(hp["train"]["epoch_share"] * (len(train_segments) // batch_size)))
    schedule = hp["schedule"]

    def batches(segments, **options):
        return pipelines.segment_batches(
            speech.frames,
            speech.starts[segments],
            labels[segments],
            n_frames=hp["segments"]["n_frames"],
            batch_size=batch_size,
            **options,
        )

    with tensorboard.open_event_writer(
        run.folder / "events" / folder.relative_to(run.folder)
    ) as write:

        def after_epoch(row):
            bar.epoch(row)
            write(
                row["epoch"], {name: row[name] for name in row if name not in ("epoch", "learnt")}
            )

        history = loop.fit(
            model,
            lambda epoch: batches(
                train_segments, seed=order_seed, epoch=epoch, drop_remainder=True
            ).take(n_steps),
            batches(dev_segments),
            # Section 4.1: "a rate of 0.8 every 2 epochs".
            learning_rate=lambda epoch: (
                schedule["initial_learning_rate"]
                * schedule["decay_rate"] ** (epoch // schedule["decay_epochs"])
            ),
            max_epochs=hp["train"]["max_epochs"],
            patience=hp["train"]["patience"],
            learnt_loss=learnt_loss,
            folder=folder,
            report=after_epoch,
        )
    everything = pipelines.segment_batches(
        speech.frames, speech.starts, None, n_frames=hp["segments"]["n_frames"], batch_size=512
    )
    if precise is not model:
        precise.set_weights(model.get_weights())
    profiles = predict_batches(precise, everything)
    figures.write_network(folder, bar.place, history, model, chance_loss)
    atomic_files.write_arrays(
        done, profiles=profiles
    )  # last: it says that this network is finished
    loop.delete_checkpoints(folder)
    return profiles


def inner_profiles(lab, split, profiles, folder, seed) -> np.ndarray:
    """Replaces the training utterances' profiles by those of networks that did not train on them.

    The test utterances' profiles come from networks that never heard them; a forest that learns
    from profiles of the networks' own training utterances meets less certain ones in the test.
    """
    profiles = profiles.copy()
    speech, bar, n_folds = lab.speech, lab.bar, lab.hp["forest"]["inner_folds"]
    speakers = [speech.utterances[i].speaker for i in split.train]
    place = bar.where
    for i, (known, held_out) in enumerate(speaker_group_k_fold(speakers, n_folds=n_folds)):
        bar.where = f"{place} inner-{i} of {n_folds}"
        # + 1000: NumPy pads seeds with zeros, and [s, f, i] would be that of the fold's round i.
        inner_seed = [*seed, 1000 + i]
        inner = train_rounds(lab, split.train[known], split.dev, folder / f"inner-{i}", inner_seed)
        segments = np.isin(speech.owner, split.train[held_out])
        profiles[:, segments] = inner[:, segments]
    return profiles


def classify(lab, profiles, known, test, folder, seed) -> np.ndarray:
    """One forest a round, fitted to the utterances `known`: probabilities [rounds, test, K]."""
    speech, settings = lab.speech, lab.hp["forest"]
    probabilities = []
    for t, round_profiles in enumerate(profiles):
        x = statistics(round_profiles, speech.owner, settings["threshold"])
        forest = fit_forest(
            x[known],
            speech.y[known],
            len(speech.classes),
            n_estimators=settings["n_estimators"],
            seed=seed,
        )
        atomic_files.write_arrays(folder / f"forest-{t + 1}.npz", **forest)
        probabilities.append(forest_probabilities(forest, x[test]))
    return np.stack(probabilities)
