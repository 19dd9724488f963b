"""The data of AAE: utterances, openSMILE features and batches."""

import logging
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfser.audio.tf_data import unconverted
from tfser.cache import feature_cache, pipelines
from tfser.corpora.labels import ATTRIBUTES, select_group
from tfser.corpora.loader import describe_corpus, load_corpus
from tfser.errors import UsageError
from tfser.features import opensmile
from tfser.models.aae.splits import select_utterances
from tfser.models.aae.subnetworks import FRAMES_PER_STEP
from tfser.training.balance import append_weights, separate_weights
from tfser.training.pretraining import share_recordings

log = logging.getLogger("tfser")


class Dataset(NamedTuple):
    """A corpus with its features."""

    key: str  # of the cache entry; it depends on the content of the files
    utterances: list
    classes: list[str]
    y: np.ndarray  # [n], the class of each utterance, -1 without a label
    frames: tf.Tensor  # [total_frames, features]; one row per utterance, or one per 10 ms
    offsets: np.ndarray  # [n + 1], the first row of each utterance
    n_frames: int | None  # of the network's input, None where an utterance is one row
    names: list[str]  # of the features


def check_frames(hp) -> None:
    """Raise UsageError where the poolings leave a part of a step."""
    n_frames = hp["frames"]["n_frames"]
    if hp["model"]["level"] == "frame" and n_frames % FRAMES_PER_STEP:
        raise UsageError(
            f"frames.n_frames={n_frames} is no multiple of {FRAMES_PER_STEP}, which four poolings "
            f"by 4 need; take {(n_frames // FRAMES_PER_STEP + 1) * FRAMES_PER_STEP}"
        )


def make_opensmile(hp) -> opensmile.OpenSmile:
    """Return the feature: one row of functionals, or one row of descriptors per 10 ms."""
    return opensmile.OpenSmile(
        sample_rate_hz=hp["features"]["sample_rate_hz"],
        feature_set=hp["features"]["feature_set"],
        level="lld" if hp["model"]["level"] == "frame" else "functionals",
    )


def select_unlabelled(utterances, hp) -> list:
    """Select the utterances of train.unlabelled_group from train.unlabelled_corpus."""
    settings = hp["train"]
    name, corpus = "train.unlabelled_group", settings["unlabelled_corpus"]
    return select_group(utterances, settings["unlabelled_group"], name, corpus)


def load_unlabelled(tested, hp, run) -> list:
    """Load the utterances of train.unlabelled_corpus, without labels; [] where none is named.

    Raises UsageError where the baseline, or the corpus that is `tested`, would train on them.
    """
    corpus = hp["train"]["unlabelled_corpus"]
    if not corpus:
        return []
    if hp["model"]["system"] == "baseline":
        raise UsageError(
            f"train.unlabelled_corpus={corpus}: the baseline has no loss for an utterance without "
            "a label; leave it out"
        )
    utterances = select_unlabelled(load_corpus(corpus, None, run.cache), hp)
    if share_recordings(utterances, tested):
        raise UsageError(
            f"train.unlabelled_corpus={corpus}: some of its recordings are tested; take another, "
            "or use train.unlabelled or train.labelled_fraction"
        )
    log.info("phases 1 and 2 train on %s, too", describe_corpus(corpus, utterances))
    # A speaker "03" of each corpus would be one.
    return [
        replace(u, speaker=f"{corpus}-{u.speaker}", emotion=None, session=None) for u in utterances
    ]


def load_dataset(utterances, hp, run, unlabelled=()) -> Dataset:
    """Load the corpus's functionals (section 5.1), or its low-level descriptors (section 5.3).

    unlabelled: which of the utterances are of another corpus; it has a cache entry of its own.
    """
    settings, in_frames = hp["features"], hp["model"]["level"] == "frame"
    feature, of_others = make_opensmile(hp), set(unlabelled)
    corpora = [[u for u in utterances if u not in of_others], list(unlabelled)]
    features = [
        feature_cache.load_features(corpus, feature, **run.cache_options)
        for corpus in corpora
        if corpus
    ]
    utterances = [u for corpus in features for u in corpus.utterances]
    frames, lengths = features[0].frames, np.diff(features[0].offsets)
    if len(features) > 1:
        frames = np.concatenate([corpus.frames for corpus in features])
        lengths = np.concatenate([np.diff(corpus.offsets) for corpus in features])
    if settings["normalize"] == "speaker":
        speakers = np.repeat([u.speaker for u in utterances], lengths)
        frames = opensmile.normalize_by_speaker(frames, speakers)
    classes = sorted({u.emotion for u in utterances} - {None})
    class_numbers = {name: k for k, name in enumerate(classes)}
    return Dataset(
        key=" ".join(corpus.key for corpus in features),
        utterances=utterances,
        classes=classes,
        y=np.array([class_numbers.get(u.emotion, -1) for u in utterances]),
        frames=pipelines.as_tensor(frames),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        n_frames=hp["frames"]["n_frames"] if in_frames else None,
        names=feature.names,
    )


def sample_labels(labelled, y, fraction, rng) -> np.ndarray:
    """Sample `fraction` of each class of `labelled` at random, at least one utterance; sorted."""
    parts = []
    for k in np.unique(y[labelled]):
        members = labelled[y[labelled] == k]
        parts.append(rng.permutation(members)[: max(1, round(fraction * len(members)))])
    return np.sort(np.concatenate(parts))


def describe_unlabelled(dataset, hp) -> dict:
    """Return the facts of a result about labels that were not used, or that are missing."""
    settings, n_unlabelled = hp["train"], int(np.sum(dataset.y < 0))
    fraction, corpus = settings["labelled_fraction"], settings["unlabelled_corpus"]
    return (
        ({"labelled_fraction": fraction} if fraction < 1 else {})
        | ({"unlabelled": n_unlabelled} if n_unlabelled else {})
        | ({"unlabelled_corpus": corpus} if corpus else {})
    )


def feature_statistics(dataset, known) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation [features] over the rows of the utterances `known`.

    A feature that never varies has a standard deviation of 1.
    """
    from sklearn.preprocessing import StandardScaler  # a second to import

    rows = np.repeat(np.isin(np.arange(len(dataset.y)), known), np.diff(dataset.offsets))
    scaler = StandardScaler().fit(dataset.frames.numpy()[rows])
    return scaler.mean_, scaler.scale_


def make_batches(dataset, numbers, one_hot, batch_size, **options):
    """Return batches of (features, labels), or of features alone where `one_hot` is None."""
    return pipelines.utterance_batches(
        dataset.frames,
        dataset.offsets,
        numbers,
        one_hot,
        n_frames=dataset.n_frames,
        batch_size=batch_size,
        **options,
    )


def make_labelled_batches(dataset, labelled, batch_size, n_batches, *, weights=None, **options):
    """Return `n_batches` of (features, labels): passes over the utterances `labelled`.

    All batches have one size, for which one graph is compiled: an utterance of few is in one twice.
    With the weights of these utterances, a batch is (features, labels, weights).
    """
    n_passes = -(-n_batches * batch_size // len(labelled))
    numbers = np.tile(labelled, n_passes)
    one_hot = np.eye(len(dataset.classes), dtype="float32")[dataset.y[numbers]]
    if weights is not None:
        one_hot = append_weights(one_hot, np.tile(weights, n_passes))
    batches = make_batches(dataset, numbers, one_hot, batch_size, drop_remainder=True, **options)
    batches = batches.take(n_batches)
    return batches if weights is None else separate_weights(batches)


def make_autoencoder_batches(
    dataset, known, labelled, batch_size, n_z, *, seed, epoch, weights=None
):
    """Return the batches of an epoch of the AAE, see `AdversarialAutoencoder.train_step`.

    Phases 1 and 2 have the utterances `known`, phase 3 the utterances `labelled` in batches of its
    own; where all have a label, the batches are the same. The samples of the priors (section 5.2:
    one-hot with equal probabilities, and N(0, I)) depend on (seed, epoch) alone, not on how often a
    run was resumed or on how many devices share a batch. `epoch` may be a tf.Variable, see
    `pipelines.utterance_batches`. weights: of the utterances `labelled`, None for 1.
    """
    n_batches, n_classes = len(known) // batch_size, len(dataset.classes)
    options = {"seed": seed, "epoch": epoch}
    batches = make_labelled_batches(
        dataset, labelled, batch_size, n_batches, weights=weights, **options
    )
    if len(labelled) == len(known):
        batches = batches.map(unconverted(lambda x, *labels: (x, (x, *labels))))
    else:
        others = make_batches(dataset, known, None, batch_size, drop_remainder=True, **options)
        batches = tf.data.Dataset.zip(others, batches)

    @unconverted
    def add_priors(number, batch):
        x, (labelled_x, labels, *weights_of_batch) = batch
        fold_in = tf.random.experimental.stateless_fold_in
        of_batch = fold_in(tf.stack([seed, epoch]), number)
        of_y, of_z = (fold_in(of_batch, prior) for prior in range(2))
        classes = tf.random.stateless_uniform([batch_size], of_y, 0, n_classes, "int32")
        prior_z = tf.random.stateless_normal([batch_size, n_z], of_z)
        priors = tf.one_hot(classes, n_classes), prior_z
        return x, (labelled_x, labels, *priors), *weights_of_batch

    return batches.enumerate().map(add_priors)


def extract_features(corpus, utterances, hp, make) -> None:
    """Call make(utterances, feature) for each feature that `train` loads; see `cli.extract`."""
    settings, feature = hp["train"], make_opensmile(hp)
    if corpus == settings["unlabelled_corpus"]:
        make(select_unlabelled(utterances, hp), feature)
        return
    target = hp["labels"]["target"]
    for name in ATTRIBUTES if target == "attributes" else [target]:
        labels = hp["labels"] | {"target": name}
        make(select_utterances(utterances, hp | {"labels": labels}), feature)
