"""The data of ACNN: splits, log-mel frames, representations, labels of all views, batches."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfser.audio.tf_data import unconverted
from tfser.cache import feature_cache, pipelines
from tfser.corpora.labels import (
    list_strata,
    number_classes,
    select_by_labels,
    to_three_classes,
)
from tfser.errors import DataError, UsageError
from tfser.evaluation.splits import (
    Split,
    assign_speaker_groups,
    cross_corpus_split,
    leave_groups_out,
    leave_speakers_out,
    select_evaluated_part,
)
from tfser.features.log_mel import LogMel
from tfser.features.opensmile import normalize_by_speaker
from tfser.models.acnn import pretraining
from tfser.models.acnn.network import VIEWS
from tfser.storage import run_directory
from tfser.training.pretraining import (
    copy_network,
    file_digest,
    load_unlabelled,
    select_training_part,
    share_recordings,
)

log = logging.getLogger("tfser")

ATTRIBUTES = {"arousal": "activation", "valence": "valence"}  # the paper's name, ours
LEVELS = ("low", "neutral", "high")
LEAST_SD = 1e-6  # of numbers in [-1, 1] in float32, whose rounding is 6e-8


class Dataset(NamedTuple):
    """A corpus with its frames and labels."""

    utterances: list
    classes: list[str]
    y: np.ndarray  # [n], the class of each utterance
    frames: tf.Tensor  # [total_frames, n_bands]
    offsets: np.ndarray  # [n + 1], the first frame of each utterance
    n_frames: int  # of the network's input
    views: dict[str, np.ndarray]  # one-hot labels of each view [n, K], zeros without a label
    representations: np.ndarray | None  # [n, n_representation]
    transductive: bool  # whether the autoencoder was trained on tested utterances


def make_splits(utterances, hp, run, seed, n_trained=None) -> list[Split]:
    """Make the splits of section 4.1: leave one session out, or test on a second corpus.

    The second corpus begins after `n_trained` utterances. Corpora without sessions are divided into
    groups of speakers. `--protocol loso`: leave one speaker out, the next speaker is dev.
    protocol.dev: the dev set is a session of its own (the next session, across corpora the session
    with the number `seed`, cyclically), or a random part of the training sessions' utterances.
    """
    if n_trained is None and run.protocol == "loso":
        speakers = [u.speaker for u in utterances]
        splits = leave_speakers_out(speakers, n_folds=run.n_folds, strata=list_strata(utterances))
    elif hp["protocol"]["dev"] == "speakers":
        groups = sessions_or_groups(utterances[:n_trained], hp, run)
        splits = hold_out_groups(groups, len(utterances), seed)
    else:
        emotions = [u.emotion for u in utterances]
        dev = {"dev_fraction": hp["train"]["dev_fraction"], "seed": seed}
        if n_trained is None:
            splits = leave_groups_out(sessions_or_groups(utterances, hp, run), emotions, **dev)
        else:
            splits = cross_corpus_split(emotions, n_trained, **dev)
    return select_evaluated_part(run.evaluate, splits)


def hold_out_groups(groups, n: int, seed: int) -> list[Split]:
    """Make splits of `n` utterances whose dev set is a group (a session, or speakers) of its own.

    groups: of the first utterances. Where these are all utterances, fold i tests on the i-th group
    and the next group is dev. Otherwise the utterances after them are the test set, and the group
    with the number `seed`, cyclically, is dev. Raises DataError for too few groups.
    """
    groups, tested = np.asarray(groups), np.arange(len(groups), n)
    names = np.unique(groups)
    if len(names) < (2 if len(tested) else 3):
        raise DataError(
            f"{'' if len(tested) else 'test, '}dev and training set need a session or a group of "
            f"speakers each, there are {len(names)}; use --set protocol.dev=utterances"
        )
    if not len(tested):
        return leave_speakers_out(groups)
    dev = groups == names[seed % len(names)]
    return [Split(train=np.flatnonzero(~dev), dev=np.flatnonzero(dev), test=tested)]


def sessions_or_groups(utterances, hp, run) -> list[str] | np.ndarray:
    """Return the session of each utterance, or its group of speakers without usable sessions."""
    speakers, sessions = ([getattr(u, name) for u in utterances] for name in ("speaker", "session"))
    n_speakers = len(set(speakers))
    # A speaker of two sessions would be in a training set and in its test set.
    apart = len(set(zip(speakers, sessions, strict=True))) == n_speakers
    if not run.n_folds and all(sessions) and len(set(sessions)) > 1 and apart:
        return sessions
    if any(sessions):
        log.warning("the folds are groups of speakers, not the corpus's sessions")
    n_folds = run.n_folds or min(hp["protocol"]["n_folds"], n_speakers)
    return assign_speaker_groups(speakers, n_folds=n_folds, strata=list_strata(utterances))


def make_input_layer(hp) -> tuple[LogMel, int]:
    """Return the log-mel layer and the number of frames that the network takes.

    Raise UsageError where the frames do not fill one step of the pooling.
    """
    settings = {k: value for k, value in hp["features"].items() if k != "normalize"}
    layer = LogMel(**settings, min_frames=1)
    n_samples = round(hp["input"]["seconds"] * layer.sample_rate_hz)
    n_frames = 1 + (n_samples - layer.window) // layer.hop
    model = hp["model"]
    needed = (model["pool_steps"] - 1) * model["stride_frames"] + model["kernel_frames"]
    if n_frames < needed:
        least = (layer.window + (needed - 1) * layer.hop) / layer.sample_rate_hz
        raise UsageError(
            f"input.seconds={hp['input']['seconds']} makes {n_frames} frames, and a step of the "
            f"pooling takes {needed}; take {least:g} or more"
        )
    return layer, n_frames


def load_dataset(utterances, tested, hp, run) -> Dataset:
    """Load log-mel frames (section 2), labels of all views, and the autoencoder's representations.

    tested: the utterances of a second corpus, empty within one corpus.
    """
    layer, n_frames = make_input_layer(hp)
    settings = hp["autoencoder"]
    # A missing corpus fails here, before any work.
    unlabelled = load_unlabelled("autoencoder", settings, tested or utterances, run)
    features = feature_cache.load_features(utterances, layer, **run.cache_options)
    utterances = list(features.utterances)
    representations, digest = None, {}
    if settings["corpus"] or settings["weights"]:
        spectrogram = pretraining.make_spectrogram(hp)
        path = Path(settings["weights"]).expanduser()
        if settings["corpus"]:
            path = pretraining.pretrained_network(unlabelled, spectrogram, hp, run)
        log.info("encoder: %s", path)
        encoder = pretraining.load_encoder(path, spectrogram)
        representations = pretraining.load_representations(utterances, encoder, spectrogram, run)
        digest["encoder"] = file_digest(path)
    run_directory.check_data(run.folder, utterances, features.key, **digest)
    frames = features.frames
    if hp["features"]["normalize"] == "speaker":
        speakers = np.repeat([u.speaker for u in utterances], np.diff(features.offsets))
        frames = normalize_by_speaker(frames, speakers)
    if digest:
        copy_network(path, run.folder / "encoder.keras", run.local_cache)
    classes, numbers = number_classes(utterances)
    y = np.array(numbers)
    return Dataset(
        utterances=utterances,
        classes=classes,
        y=y,
        frames=pipelines.as_tensor(frames),
        offsets=features.offsets,
        n_frames=n_frames,
        views=make_views(utterances, y, len(classes), hp["labels"]["rounding"], tested),
        representations=representations,
        transductive=bool(settings["corpus"])
        and share_recordings(unlabelled, tested or utterances),
    )


def make_views(utterances, y, n_classes, rounding, tested=()) -> dict[str, np.ndarray]:
    """Return one-hot labels of the emotion and of each view that the corpus has ratings for.

    tested: utterances of a second corpus. No network trains on them: their ratings make no view.
    """
    tested = set(tested)
    trains = np.array([u not in tested for u in utterances])
    views = {"emotion": np.eye(n_classes, dtype="float32")[y]}
    for name in VIEWS[1:]:
        ratings = [getattr(u, ATTRIBUTES[name]) for u in utterances]
        levels = [to_three_classes(rating, rounding) for rating in ratings]
        one_hot = np.array([[level == name for name in LEVELS] for level in levels], "float32")
        if one_hot[trains].any():
            views[name] = one_hot
    return views


def representation_statistics(dataset, utterances) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation [n] of the representations of the given utterances.

    A number whose deviation is that of rounding, as of a saturated tanh, has a deviation of 1.
    """
    vectors = dataset.representations[utterances].astype("float64")
    sd = vectors.std(axis=0)
    return vectors.mean(axis=0), np.where(sd > LEAST_SD, sd, 1.0)


def feature_statistics(dataset, utterances) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation [n_bands] over the frames of the given utterances."""
    rows = np.repeat(np.isin(np.arange(len(dataset.y)), utterances), np.diff(dataset.offsets))
    frames = dataset.frames.numpy()[rows]
    sd = frames.std(axis=0, dtype="float64")
    return frames.mean(axis=0, dtype="float64"), np.where(sd > 0, sd, 1.0)


def make_batches(dataset, numbers, batch_size, **options):
    """Return batches of (inputs, labels of each view), in order unless given a seed."""
    parts = dict(dataset.views)
    if dataset.representations is not None:
        parts["representation"] = dataset.representations
    sizes = [part.shape[1] for part in parts.values()]
    batches = pipelines.utterance_batches(
        dataset.frames,
        dataset.offsets,
        numbers,
        np.concatenate(list(parts.values()), axis=1)[numbers],
        n_frames=dataset.n_frames,
        batch_size=batch_size,
        **options,
    )

    @unconverted
    def separate(x, joined):
        labels = dict(zip(parts, tf.split(joined, sizes, axis=1), strict=True))
        inputs = {"log_mel": x}
        if "representation" in labels:
            inputs["representation"] = labels.pop("representation")
        return inputs, labels

    return batches.map(separate)


def extract_features(corpus, utterances, hp, make) -> None:
    """Call make(utterances, feature) for each feature that `train` loads; see `cli.extract`.

    The autoencoder trains on the corpus that `autoencoder.corpus` names.
    """
    layer, _ = make_input_layer(hp)
    pretraining.check_hparams(hp)
    settings, spectrogram = hp["autoencoder"], pretraining.make_spectrogram(hp)
    if settings["corpus"] == corpus:
        make(select_training_part("autoencoder", settings, utterances), spectrogram)
        if not any(u.emotion for u in utterances):
            return
    utterances = select_by_labels(utterances, **hp["labels"])
    framed = make(utterances, layer).utterances
    if settings["corpus"] == "tested":
        make(utterances, spectrogram)
    if settings["corpus"] or settings["weights"]:  # representations need log-mel frames beside them
        make(framed, spectrogram)
