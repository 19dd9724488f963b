"""Emotion profile refinery (EPR).

Mao, Ching, Lee 2020, "Emotion Profile Refinery for Speech Emotion Classification", arXiv 2008.05259.

Reproduced: VGG configuration E on segments of log-mel frames (sections 2.1, 4.1), T rounds of
refined labels (section 2.2, Eq. 1-4) in the paper's four ways (sections 4.2-4.4), utterance
statistics of the emotion profiles and a random forest (section 2).

Not in the paper (reasons on the card, zoo/epr/README.md):
- the initializer, and a patience that waits until the loss has left chance;
- the dev part that early stopping watches, and the epoch kept: the one with the lowest dev loss;
- per-band z-score with the training part's statistics, the floor of the logarithm, the Hann window;
- the four statistics (maximum, minimum, mean, share of segments above a threshold) for each emotion;
- protocol `loso`, in which nothing has heard the test speaker.
"""

import logging
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfser import data, folds, runs, store, training
from tfser.errors import DataError, UsageError
from tfser.features import LogMel
from tfser.models.epr import report
from tfser.models.epr.forest import fit_forest, forest_probabilities, statistics, utterance_means

log = logging.getLogger("tfser")

# VGG configuration E (Simonyan & Zisserman 2014, table 1): 3 x 3 convolutions, a 2 x 2 pooling a block.
_VGG_E_BLOCKS = (
    # convolutions, filters
    (2, 64),
    (2, 128),
    (4, 256),
    (4, 512),
    (4, 512),
)
_VGG_DENSE_UNITS = (4096, 4096)


def vgg(*, n_frames, n_bands, n_classes, width_multiplier, batch_norm, initializer, dropout) -> keras.Model:
    """VGG-E: log-mel segment [batch, n_frames, n_bands] -> emotion probabilities [batch, K], Eq. (1).

    The layer "standardize" holds the mean and variance of each band; see `standardize`.
    """

    def width(units):
        return max(1, round(units * width_multiplier))

    def activated(x, layer_class, *arguments, **options):
        x = layer_class(*arguments, kernel_initializer=initializer, use_bias=not batch_norm, **options)(x)
        if batch_norm:
            # Keras' momentum of 0.99 lags behind for several epochs of a hundred steps.
            x = layers.BatchNormalization(momentum=0.9, synchronized=_replicas() > 1)(x)
        return layers.ReLU()(x)

    segment = keras.Input((n_frames, n_bands))
    # A frozen batch normalization is a z-score with statistics that are set, not learnt. In float32
    # whatever the policy: bfloat16 resolves a log energy of -20 to 0.1 only.
    x = layers.BatchNormalization(
        center=False, scale=False, epsilon=1e-6, trainable=False, dtype="float32", name="standardize"
    )(segment)
    x = layers.Reshape((n_frames, n_bands, 1))(x)
    for n_convolutions, filters in _VGG_E_BLOCKS:
        for _ in range(n_convolutions):
            x = activated(x, layers.Conv2D, width(filters), 3, padding="same")
        x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    for units in _VGG_DENSE_UNITS:
        x = layers.Dropout(dropout)(activated(x, layers.Dense, width(units)))
    x = layers.Dense(n_classes, kernel_initializer=initializer, activation="softmax", dtype="float32")(x)
    return keras.Model(segment, x, name="vgg_e")


def standardize(model, mean, variance) -> None:
    """Sets the statistics [n_bands] of the network's z-score."""
    layer = model.get_layer("standardize")
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(variance)


def _replicas() -> int:
    return tf.distribute.get_strategy().num_replicas_in_sync


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


class Speech(NamedTuple):
    """A corpus as segments."""

    utterances: list
    classes: list[str]
    y: np.ndarray  # [n], the class of each utterance
    frames: tf.Tensor  # [total_frames, n_bands]
    offsets: np.ndarray  # [n + 1], each utterance's first frame
    band_sums: np.ndarray  # [2, n, n_bands], each utterance's sums of frames and of their squares
    starts: np.ndarray  # [segments], each segment's first frame
    owner: np.ndarray  # [segments], each segment's utterance
    one_hot: np.ndarray  # [segments, K], labels inherited from the utterances


class Experiment(NamedTuple):
    """What every stage needs."""

    speech: Speech
    hp: dict
    run: runs.Run
    model: keras.Model  # compiled once; every network starts from new weights in it
    bar: report.Progress


def train(utterances, hp, run) -> dict:
    """The paper's experiment (section 4): trains, evaluates and writes everything under run.folder.

    Returns scores: {"result": ..., "rounds": {"1": {"uar": {"mean", "sd", "min", "max", ...}, ...}}}.
    """
    utterances = select(utterances, **hp["labels"])
    # All folds are made before any audio is read: a corpus that does not allow them fails at once.
    plans = {seed: plan(utterances, hp, run, seed) for seed in run.seeds}
    report.check_names(utterances, hp["plots"]["utterances"])
    speech = segmented(utterances, hp, run)
    if len(speech.utterances) < len(utterances):  # --max-bad left some out
        plans = {seed: plan(speech.utterances, hp, run, seed) for seed in run.seeds}
    report.write_splits(run, speech, plans)

    n_rounds = hp["refinery"]["rounds"]
    n_inner = hp["forest"]["inner_folds"] if uses_inner_folds(hp, run) else 0
    n_networks = sum(map(len, plans.values())) * (1 + n_inner) * n_rounds
    results = []
    with report.progress(n_networks) as bar:
        lab = Experiment(speech, hp, run, compiled_network(speech, hp, run), bar)
        for seed in run.seeds:
            n_segments, n_classes = speech.one_hot.shape
            profiles = np.zeros((n_rounds, n_segments, n_classes), np.float32)
            predicted = np.zeros((n_rounds, len(speech.y), n_classes))
            fold_of = np.zeros(len(speech.y), int)
            for fold, split in enumerate(plans[seed]):
                folder = run.folder / f"seed-{seed}" / f"fold-{fold:02}"
                bar.where = f"seed {seed} fold {fold + 1}/{len(plans[seed])}"
                # Profiles of the held-out utterances, Eq. (2), come from networks that never saw them.
                fold_profiles = refinery(lab, split.train, split.dev, folder, [seed, fold])
                test = np.isin(speech.owner, split.test)
                profiles[:, test] = fold_profiles[:, test]
                if run.protocol == "loso":
                    if n_inner:
                        fold_profiles = inner_profiles(lab, split, fold_profiles, folder, [seed, fold])
                    known = np.concatenate([split.train, split.dev])
                    predicted[:, split.test] = classify(
                        lab, fold_profiles, known, split.test, folder, seed
                    )
                    fold_of[split.test] = fold
            if run.protocol == "paper":
                # Section 4.1: "another ten-fold cross-validation" for the forest.
                for fold, split in enumerate(forest_plan(speech, plans[seed], seed)):
                    folder = run.folder / f"seed-{seed}" / "forests" / f"fold-{fold:02}"
                    predicted[:, split.test] = classify(
                        lab, profiles, split.train, split.test, folder, seed
                    )
                    fold_of[split.test] = fold
            results.append(report.seed_scores(run, hp, speech, seed, profiles, predicted, fold_of))
    return report.finish(run, hp, speech, results)


def select(utterances, *, keep, group) -> list:
    """The utterances of [labels]: those with an emotion, of `group` and with an emotion in `keep`."""
    emotions = sorted({u.emotion for u in utterances if u.emotion})
    missing = sorted(set(keep) - set(emotions))
    if missing:
        raise UsageError(f"labels.keep: no {' '.join(missing)} in this corpus; it has {' '.join(emotions)}")
    chosen = [
        u for u in utterances
        if u.emotion and (not keep or u.emotion in keep) and group in ("", u.group)
    ]
    if len({u.emotion for u in chosen}) < 2:
        raise DataError(
            f"{len(chosen)} utterances with fewer than two emotions: nothing to classify; see [labels] in "
            "the hyperparameters and the corpus's folder"
        )
    if len(chosen) < len(utterances):
        log.info("%d of %d utterances used, as [labels] says", len(chosen), len(utterances))
    return chosen


def plan(utterances, hp, run, seed) -> list[folds.Split]:
    """The folds of the networks: random ten-fold (section 4.1), or leave speakers out."""
    if run.protocol == "loso":
        return folds.leave_speakers_out([u.speaker for u in utterances], n_folds=run.n_folds)
    return folds.stratified(
        [u.emotion for u in utterances],
        n_folds=run.n_folds or hp["protocol"]["n_folds"],
        dev_fraction=hp["train"]["dev_fraction"],
        seed=seed,
    )


def forest_plan(speech, network_plan, seed) -> list[folds.Split]:
    """A second random k-fold, other than the networks'."""
    labels = [speech.classes[k] for k in speech.y]
    return folds.stratified(labels, n_folds=len(network_plan), dev_fraction=0.0, seed=seed + 1_000_003)


def uses_inner_folds(hp, run) -> bool:
    return run.protocol == "loso" and hp["forest"]["profiles"] == "inner"


def segmented(utterances, hp, run) -> Speech:
    """Log-mel frames of the corpus (section 2.1.1) cut into segments (section 4.1)."""
    hop_frames = hp["segments"]["hop_seconds"] / hp["features"]["hop_seconds"]
    if abs(hop_frames - round(hop_frames)) > 1e-6:
        raise UsageError(
            f"segments.hop_seconds={hp['segments']['hop_seconds']} is no multiple of "
            f"features.hop_seconds={hp['features']['hop_seconds']}"
        )
    n_frames = hp["segments"]["n_frames"]
    # Utterances under one segment (335 ms) are padded with silence to one.
    layer = LogMel(**hp["features"], min_frames=n_frames)
    features = store.load(utterances, layer, cache=run.cache, max_bad=run.max_bad)
    starts, owner = data.segment_index(features.offsets, n_frames=n_frames, hop_frames=round(hop_frames))
    classes, y = np.unique([u.emotion for u in features.utterances], return_inverse=True)
    log.info("%d utterances, %d segments of %d frames", len(y), len(starts), n_frames)
    with tf.device("CPU:0"):  # batches are cut there; a GPU gets them one by one
        frames = tf.convert_to_tensor(features.frames)
    return Speech(
        utterances=list(features.utterances),
        classes=[str(name) for name in classes],
        y=y,
        frames=frames,
        band_sums=np.stack(
            [np.add.reduceat(f, features.offsets[:-1], dtype=np.float64) for f in (features.frames, features.frames**2)]
        ),
        offsets=features.offsets,
        starts=starts,
        owner=owner,
        one_hot=np.eye(len(classes), dtype=np.float32)[y[owner]],
    )


def compiled_network(speech, hp, run) -> keras.Model:
    """The network of this experiment, compiled; its weights are set by `network`."""
    keras.config.set_dtype_policy(hp["train"]["precision"])
    with training.strategy(run.strategy).scope():
        return training.compiled(
            new_network(speech, hp),
            keras.optimizers.Adam(hp["schedule"]["initial_learning_rate"]),
            keras.losses.CategoricalCrossentropy(),  # against soft labels this is Eq. (4)
        )


def new_network(speech, hp) -> keras.Model:
    return vgg(
        n_frames=hp["segments"]["n_frames"], n_bands=hp["features"]["n_bands"],
        n_classes=len(speech.classes), **hp["model"],
    )


def refinery(lab, train, dev, folder, seed) -> np.ndarray:
    """T networks, each trained on labels the one before refined: profiles [rounds, segments, K].

    C1 learns the labels that segments inherit from their utterances; C_t the labels refined by
    C_(t-1), which was trained on the same segments (section 2.2). Labels, networks and epochs
    depend on the utterances `train` and `dev` alone; profiles are computed for all.
    """
    speech, settings = lab.speech, lab.hp["refinery"]
    profiles, labels = [], speech.one_hot
    for t in range(settings["rounds"]):
        lab.bar.at(f"round {t + 1}/{settings['rounds']}")
        profiles.append(network(lab, train, dev, labels, folder / f"round-{t + 1}", [*seed, t]))
        labels = refine(settings["labels"], profiles[-1], speech.one_hot, speech.owner)
        lab.bar.update(1)
    for t in range(1, settings["rounds"]):
        (folder / f"round-{t}" / "model.keras").unlink(missing_ok=True)  # 164 MB each at full width
    return np.stack(profiles)


def network(lab, train, dev, labels, folder, seed) -> np.ndarray:
    """Trains one VGG by soft cross-entropy, Eq. (4), and returns its profiles [segments, K]."""
    speech, hp, run, model, bar = lab
    done = folder / "profiles.npz"
    if done.exists():
        return runs.read_arrays(done)["profiles"]
    folder.mkdir(parents=True, exist_ok=True)
    # One seed for the weights and dropout, one for the order of segments.
    weight_seed, order_seed = (int(s) for s in np.random.SeedSequence(seed).generate_state(2))
    keras.utils.set_random_seed(weight_seed)
    training.restart(model, new_network(speech, hp))
    standardize(model, *band_statistics(speech, train))
    train_segments = np.flatnonzero(np.isin(speech.owner, train))
    dev_segments = np.flatnonzero(np.isin(speech.owner, dev))
    chance_loss, learnt_loss = training.chance(labels[train_segments])
    batch_size = min(hp["train"]["batch_size"], len(train_segments))
    schedule = hp["schedule"]

    def batches(segments, **options):
        return data.segments(
            speech.frames, speech.starts[segments], labels[segments],
            n_frames=hp["segments"]["n_frames"], batch_size=batch_size, **options,
        )

    with training.events(run.folder / "events" / folder.relative_to(run.folder)) as write:

        def after_epoch(row):
            bar.epoch(row, hp["train"]["max_epochs"])
            write(row["epoch"], {name: row[name] for name in row if name not in ("epoch", "learnt")})

        history = training.fit(
            model,
            lambda epoch: batches(train_segments, seed=order_seed, epoch=epoch, drop_remainder=True),
            batches(dev_segments),
            # Section 4.1: "a rate of 0.8 every 2 epochs".
            learning_rate=lambda epoch: schedule["initial_learning_rate"]
            * schedule["decay_rate"] ** (epoch // schedule["decay_epochs"]),
            max_epochs=hp["train"]["max_epochs"],
            patience=hp["train"]["patience"],
            learnt_loss=learnt_loss,
            folder=folder,
            report=after_epoch,
        )
    everything = data.segments(
        speech.frames, speech.starts, None, n_frames=hp["segments"]["n_frames"], batch_size=512
    )
    profiles = model.predict(everything, verbose=0)
    report.write_network(folder, bar.place, history, model, chance_loss)
    runs.write_arrays(done, profiles=profiles)  # last: it says that this network is finished
    training.forget(folder)
    return profiles


def band_statistics(speech, utterances) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each band [n_bands] over the frames of the given utterances."""
    n_frames = np.diff(speech.offsets)[utterances].sum()
    mean, mean_square = speech.band_sums[:, utterances].sum(axis=1) / n_frames
    return mean, mean_square - mean**2


def inner_profiles(lab, split, profiles, folder, seed) -> np.ndarray:
    """Replaces the training utterances' profiles by those of networks that did not train on them.

    The test utterances' profiles come from networks that never heard them; a forest that learns
    from profiles of the networks' own training utterances meets other, less certain ones in the test.
    """
    profiles = profiles.copy()
    speech, bar, n_folds = lab.speech, lab.bar, lab.hp["forest"]["inner_folds"]
    speakers = [speech.utterances[i].speaker for i in split.train]
    place = bar.where
    for i, (known, held_out) in enumerate(folds.by_speaker(speakers, n_folds=n_folds)):
        bar.where = f"{place} inner {i + 1}/{n_folds}"
        inner = refinery(lab, split.train[known], split.dev, folder / f"inner-{i}", [*seed, i])
        segments = np.isin(speech.owner, split.train[held_out])
        profiles[:, segments] = inner[:, segments]
    return profiles


def classify(lab, profiles, known, test, folder, seed) -> np.ndarray:
    """One forest a round, on the statistics of the `known` utterances: probabilities [rounds, test, K]."""
    speech, settings = lab.speech, lab.hp["forest"]
    probabilities = []
    for t, round_profiles in enumerate(profiles):
        x = statistics(round_profiles, speech.owner, settings["threshold"])
        forest = fit_forest(
            x[known], speech.y[known], len(speech.classes), n_estimators=settings["n_estimators"], seed=seed
        )
        runs.write_arrays(folder / f"forest-{t + 1}.npz", **forest)
        probabilities.append(forest_probabilities(forest, x[test]))
    return np.stack(probabilities)
