"""EPR: the paper's network and equations, and that no test speaker is heard before the test."""

import csv
import dataclasses
import itertools
import logging
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from running import called
from sklearn.ensemble import RandomForestClassifier

from tfser.cache import pipelines
from tfser.cli.train import main
from tfser.config.hparams import load_hparams
from tfser.corpora import casia
from tfser.corpora.utterance import Utterance
from tfser.errors import UsageError
from tfser.evaluation import classification_report, cross_validation, result_files
from tfser.evaluation.splits import Split
from tfser.models.epr import dataset, figures, forest, network, refinery, schedule, splits
from tfser.models.epr import experiment as epr
from tfser.storage import atomic_files, run_directory
from tfser.training import loop

N_BANDS = 32
TINY = [
    f"features.n_bands={N_BANDS}",
    "model.width_multiplier=0.015625",
    "schedule.initial_learning_rate=1e-3",
    "train.batch_size=16",
    "train.max_epochs=2",
    "refinery.rounds=2",
    "forest.n_estimators=10",
    "forest.inner_folds=2",
]


def hyperparameters(*overrides):
    return load_hparams("epr", "toy", overrides=[*TINY, *overrides])


def run_in(folder, **changes):
    return run_directory.Run(
        **{"folder": folder, "cache": folder, "corpus": "voices", "protocol": "loso",
           "n_folds": None, "seeds": (0,), "strategy": "none", "max_bad": 0} | changes
    )  # fmt: skip


def voices(n_takes=3, emotions=("anger", "fear"), speakers="abcd"):
    """Utterances without files: 4 speakers x 2 emotions x n_takes."""
    return [
        Utterance(Path(f"{s}-{e}-{i}.wav"), name=f"{s}-{e}-{i}", speaker=s, emotion=e)
        for s in speakers
        for e in emotions
        for i in range(n_takes)
    ]


def recording(utterance, noise=()):
    """Frames [n_frames, N_BANDS] whose level says the emotion; noise for those named in `noise`."""
    rng = np.random.default_rng(list(utterance.name.encode()))
    frames = rng.normal(-3, 1, (40 + int(rng.integers(30)), N_BANDS))
    if utterance.name in noise:
        return rng.normal(5, 3, frames.shape).astype("float32")
    band = 20 if utterance.name.split("-")[1] == "anger" else 4  # whatever the label says
    frames[:, band : band + 8] += 3
    return frames.astype("float32")


def speech_of(utterances, noise=()):
    """What `load_dataset` makes of a corpus, without audio."""
    recordings = [recording(u, noise) for u in utterances]
    frames = np.concatenate(recordings)
    offsets = np.cumsum([0, *map(len, recordings)])
    starts, owner = pipelines.index_segments(offsets, n_frames=32, hop_frames=5)
    classes, y = np.unique([u.emotion for u in utterances], return_inverse=True)
    sums = [[part(r.astype("float64")).sum(axis=0) for r in recordings]
            for part in (np.array, np.square)]  # fmt: skip
    return epr.Dataset(
        key="voices",
        utterances=list(utterances), classes=[str(c) for c in classes], y=y,
        frames=tf.constant(frames), offsets=offsets, band_sums=np.array(sums), starts=starts,
        owner=owner, one_hot=np.eye(len(classes), dtype="float32")[y[owner]],
    )  # fmt: skip


def experiment(folder, hp, corpus=None, model=None, **changes):
    """The stage of a corpus: what `train` gives to the functions that it calls."""
    corpus = corpus or speech_of(voices())
    run = run_in(folder, **changes)
    bar = cross_validation.Progress(total=1, disable=True)
    if model is None:
        return epr.make_experiment(corpus, hp, run, bar)
    return epr.Experiment(corpus, hp, run, model, model, bar)


def without_network(speech, hp, run, bar):
    return epr.Experiment(speech, hp, run, model=None, precise=None, bar=bar)


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def in_segments(corpus, utterances):
    return np.isin(corpus.owner, utterances)


@pytest.fixture(scope="module")
def shallow():
    """Five convolutions in place of sixteen, one in each block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "_VGG_E_BLOCKS", ((1, 64), (1, 128), (1, 256), (1, 512), (1, 512)))
        yield


@pytest.fixture(scope="module")
def tiny(shallow):
    """One compiled network for the tests whose results do not depend on its size."""
    return epr.compiled_network(speech_of(voices()), hyperparameters(), run_in(Path()))


# The network: section 4.1.


CONFIGURATION_E = network._VGG_E_BLOCKS


@pytest.fixture
def configuration_e(monkeypatch):
    """All sixteen convolutions, whatever `shallow` has left."""
    monkeypatch.setattr(network, "_VGG_E_BLOCKS", CONFIGURATION_E)


@pytest.fixture
def full_size(configuration_e):
    """VGG-E for Emo-DB's 7 emotions, as published; its weights are zeros."""
    settings = load_hparams("epr", "emodb")["model"] | {"initializer": "zeros"}
    return epr.EPR(n_frames=32, n_bands=64, n_classes=7, **settings)


def test_vgg_is_configuration_e(full_size):
    kinds = {"Conv2D": "c", "MaxPooling2D": "P", "Dense": "d", "Dropout": "D", "ReLU": "r"}
    order = "".join(kinds.get(type(layer).__name__, "") for layer in full_size.layers)
    assert order.replace("r", "") == "ccPccPccccPccccPccccPdDdDd"
    assert order == order.replace("r", "").replace("c", "cr").replace("dD", "drD")
    convolutions = [x for x in full_size.layers if isinstance(x, keras.layers.Conv2D)]
    assert [x.filters for x in convolutions] == [64] * 2 + [128] * 2 + [256] * 4 + [512] * 8
    assert {(x.kernel_size, x.strides, x.padding) for x in convolutions} == {
        ((3, 3), (1, 1), "same")
    }
    pools = [x for x in full_size.layers if isinstance(x, keras.layers.MaxPooling2D)]
    assert {(x.pool_size, x.strides, x.padding) for x in pools} == {((2, 2), (2, 2), "valid")}
    dense = [x for x in full_size.layers if isinstance(x, keras.layers.Dense)]
    assert [x.units for x in dense] == [4096, 4096, 7]
    assert dense[-1].activation is keras.activations.softmax
    assert {x.activation for x in [*convolutions, *dense[:-1]]} == {keras.activations.linear}
    assert {x.rate for x in full_size.layers if isinstance(x, keras.layers.Dropout)} == {0.5}


def test_vgg_has_the_weights_of_the_paper(full_size):
    def count(kind):
        return sum(x.count_params() for x in full_size.layers if isinstance(x, kind))

    # 9 (1x64 + 64x64 + 64x128 + 128x128 + 128x256 + 3x256x256 + 256x512 + 7x512x512) = 20,017,728
    # and a bias for each of 2x64 + 2x128 + 4x256 + 8x512 = 5,504 filters.
    assert count(keras.layers.Conv2D) == 20_017_728 + 5_504
    # 64 x 32 pooled five times is 2 x 1, with 512 filters 1,024 inputs.
    assert count(keras.layers.Dense) == 1024 * 4096 + 4096 * 4096 + 4096 * 7 + 4096 + 4096 + 7
    assert full_size.count_params() == 20_023_232 + 21_008_391 + 2 * 64  # and the z-score's


@pytest.mark.parametrize(
    "width, filters, units", [(0.125, [8, 16, 32, 64], 512), (0.015625, [1, 2, 4, 8], 64)]
)
def test_a_narrower_vgg(configuration_e, width, filters, units):
    hp = hyperparameters(f"model.width_multiplier={width}")
    model = epr.EPR(n_frames=32, n_bands=N_BANDS, n_classes=4, **hp["model"])
    convolutions = [x.filters for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    a, b, c, d = filters
    assert convolutions == [a] * 2 + [b] * 2 + [c] * 4 + [d] * 8
    dense = [x.units for x in model.layers if isinstance(x, keras.layers.Dense)]
    assert dense == [units, units, 4]  # the last one has the corpus' emotions, whatever the width


def test_batch_normalization_is_an_option(full_size):
    def normalizations(model):
        return [
            x.name for x in model.layers if isinstance(x, keras.layers.BatchNormalization)
        ]  # fmt: skip

    assert normalizations(full_size) == ["standardize"]
    hp = hyperparameters("model.batch_norm=true")
    model = epr.EPR(n_frames=32, n_bands=N_BANDS, n_classes=4, **hp["model"])
    assert len(normalizations(model)) == 1 + 16 + 2
    assert not any(x.use_bias for x in model.layers if isinstance(x, keras.layers.Conv2D))


def test_standardize_is_a_z_score(tiny):
    rng = np.random.default_rng(0)
    x = rng.normal(-8, 3, (5, 32, N_BANDS)).astype("float32")
    mean, variance = rng.normal(-8, 1, N_BANDS), rng.uniform(1, 9, N_BANDS)
    epr.standardize(tiny, mean, variance)
    score = keras.Model(tiny.input, tiny.get_layer("standardize").output)
    expected = (x - mean) / np.sqrt(variance)
    for is_training in (False, True):  # in training too: not the batch's own statistics
        np.testing.assert_allclose(score(x, training=is_training), expected, atol=2e-5)


def test_band_statistics_are_those_of_the_given_utterances():
    corpus = speech_of(voices())
    chosen = [3, 7, 8]
    frames = np.concatenate([recording(corpus.utterances[i]) for i in chosen])
    mean, variance = dataset.band_statistics(corpus, chosen)
    np.testing.assert_allclose(mean, frames.mean(axis=0, dtype="float64"), atol=1e-9)
    np.testing.assert_allclose(variance, frames.var(axis=0, dtype="float64"), atol=1e-6)


def test_band_sums_are_those_of_each_utterance():
    corpus = speech_of(voices())
    features = SimpleNamespace(
        utterances=corpus.utterances, frames=corpus.frames.numpy(), offsets=corpus.offsets
    )
    np.testing.assert_allclose(dataset.band_sums(features), corpus.band_sums, rtol=1e-12)


def test_a_band_without_energy_has_a_variance_of_zero():
    """Telephone speech has nothing above 4 kHz: those bands lie at the floor in every frame."""
    at_floor = np.full((1000, 1), np.log(np.float32(1e-10)), "float32")
    sums = [np.add.reduceat(f, [0], dtype="float64") for f in (at_floor, at_floor**2)]
    corpus = speech_of(voices())._replace(band_sums=np.array(sums), offsets=np.array([0, 1000]))
    mean, variance = dataset.band_statistics(corpus, [0])
    assert 0 <= variance[0] < 1e-4 and mean[0] == pytest.approx(-23.02585, abs=1e-5)


# The equations.


def test_assisted_labels_are_the_paper_s_example():
    # Section 4.4: [0.6, 0.1, 0.1, 0.2] and [1, 0, 0, 0] give [0.8, 0.05, 0.05, 0.1].
    labels = epr.refine(
        "assisted", np.array([[0.6, 0.1, 0.1, 0.2]]), np.array([[1.0, 0, 0, 0]]), np.array([0])
    )
    np.testing.assert_allclose(labels, [[0.8, 0.05, 0.05, 0.1]], atol=1e-12)


PROFILES = np.array(
    [[0.6, 0.1, 0.1, 0.2], [0.2, 0.5, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]], dtype="float32"
)
ONE_HOT = np.eye(4, dtype="float32")[[0, 0, 2]]
OWNER = np.array([0, 0, 1])  # two segments of one utterance, one of another


@pytest.mark.parametrize(
    "labelling, expected",
    [
        ("soft", PROFILES),
        ("assisted", [[0.8, 0.05, 0.05, 0.1], [0.6, 0.25, 0.1, 0.05], [0.05, 0.1, 0.65, 0.2]]),
        ("hard", [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]),
        ("static", [[0.4, 0.3, 0.15, 0.15], [0.4, 0.3, 0.15, 0.15], [0.1, 0.2, 0.3, 0.4]]),
    ],
)
def test_refine(labelling, expected):
    labels = epr.refine(labelling, PROFILES, ONE_HOT, OWNER)
    np.testing.assert_allclose(labels, expected, atol=1e-7)
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
    assert labels.dtype == np.float32


def test_refine_knows_no_other_labels():
    with pytest.raises(ValueError, match="'sepr'"):
        epr.refine("sepr", PROFILES, ONE_HOT, OWNER)


def test_the_loss_is_equation_4(tiny):
    y = np.array([[0.8, 0.2], [0.3, 0.7]], "float32")  # p^(t-1)
    p = np.array([[0.7, 0.3], [0.4, 0.6]], "float32")  # p^t
    loss = float(tiny.compute_loss(x=None, y=tf.constant(y), y_pred=tf.constant(p)))
    # -(0.8 ln 0.7 + 0.2 ln 0.3) = 0.5261345; -(0.3 ln 0.4 + 0.7 ln 0.6) = 0.6324652; their mean
    assert loss == pytest.approx(0.5792999, abs=1e-6)
    # Eq. (3), the KL divergence, is less by the labels' entropy, 0.5004024 and 0.6108643.
    kl = np.mean(np.sum(y * np.log(y / p), axis=1))
    assert loss - kl == pytest.approx((0.5004024 + 0.6108643) / 2, abs=1e-6)


def test_the_optimizer_is_adam_with_tensorflow_s_defaults(tiny):
    config = tiny.optimizer.get_config()
    assert type(tiny.optimizer) is keras.optimizers.Adam
    assert (config["beta_1"], config["beta_2"], config["epsilon"]) == (0.9, 0.999, 1e-7)
    assert not config["weight_decay"] and not config["amsgrad"] and not config["clipnorm"]
    assert config["use_ema"] is False


def test_a_train_step_moves_the_trainable_weights_alone(shallow):
    corpus = speech_of(voices(1))
    for batch_norm in ("false", "true"):
        hp = hyperparameters("model.width_multiplier=0.0625", f"model.batch_norm={batch_norm}")
        model = epr.compiled_network(corpus, hp, run_in(Path()))
        keras.utils.set_random_seed(0)
        loop.reinitialize(model, epr.new_network(corpus, hp))
        epr.standardize(model, *dataset.band_statistics(corpus, np.arange(5)))
        model.run_eagerly = True  # a step is no reason for a graph
        before = {v.path: v.numpy() for v in model.weights}
        batches = pipelines.segment_batches(
            corpus.frames, corpus.starts, corpus.one_hot, n_frames=32, batch_size=64
        )
        model.fit(batches, verbose=0)
        moved = {v.path for v in model.weights if (v.numpy() != before[v.path]).any()}
        statistics = {v.path for v in model.weights if "moving_" in v.path}
        standardize = {path for path in statistics if "standardize" in path}
        assert (
            len(standardize) == 2
            and len(model.trainable_weights) == {"false": 16, "true": 23}[batch_norm]
        )
        assert moved == {v.path for v in model.trainable_weights} | (statistics - standardize)


# Statistics and the forest: section 2.


def test_statistics():
    profiles = np.array([[0.1, 0.9], [0.5, 0.5], [0.25, 0.75], [0.2, 0.8]], "float32")
    x = forest.statistics(profiles, np.array([0, 0, 1, 1]), 0.2)
    # maximum, minimum, mean, share above 0.2 (0.2 itself is not): two emotions each
    np.testing.assert_allclose(
        x,
        [
            [0.5, 0.9, 0.1, 0.5, 0.3, 0.7, 0.5, 1.0],
            [0.25, 0.8, 0.2, 0.75, 0.225, 0.775, 0.5, 1.0],
        ],
        atol=1e-7,
    )


def test_statistics_of_utterances_of_one_segment_and_of_many():
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(5), [1, 7, 1, 30, 2])
    profiles = rng.dirichlet(np.ones(3), len(owner)).astype("float32")
    x = forest.statistics(profiles, owner, 0.4)
    for i in range(5):
        p = profiles[owner == i]
        expected = [*p.max(0), *p.min(0), *p.mean(0), *(p > 0.4).mean(0)]
        np.testing.assert_allclose(x[i], expected, atol=1e-6)
    np.testing.assert_array_equal(forest.utterance_means(profiles, owner), x[:, 6:9])


@pytest.mark.parametrize("missing", [None, 0, 2, 4])
def test_forest_equals_scikit_learn(missing):
    rng = np.random.default_rng(1)
    x, y = rng.uniform(size=(120, 8)).astype("float32"), rng.integers(0, 5, 120)
    x[:, 7] = np.round(x[:, 7], 1)  # ties, and thresholds that test values can equal
    if missing is not None:
        x, y = x[y != missing], y[y != missing]
    arrays = forest.fit_forest(x, y, 5, n_estimators=20, seed=3)
    assert all(a.dtype != object for a in arrays.values())
    new = np.concatenate([rng.uniform(size=(300, 8)).astype("float32"), x])
    new[:50, 7] = np.round(new[:50, 7], 2)
    p = forest.forest_probabilities(arrays, new)
    reference = RandomForestClassifier(n_estimators=20, random_state=3).fit(x, y)
    expected = np.zeros((len(new), 5))
    expected[:, reference.classes_] = reference.predict_proba(new)
    np.testing.assert_allclose(p, expected, rtol=0, atol=1e-12)
    assert missing is None or not p[:, missing].any()


def test_a_forest_of_one_class_and_one_tree():
    x = np.zeros((4, 3), "float32")
    arrays = forest.fit_forest(x, np.full(4, 1), 3, n_estimators=1, seed=0)
    np.testing.assert_array_equal(forest.forest_probabilities(arrays, x), [[0, 1, 0]] * 4)


def test_a_forest_depends_on_its_seed():
    rng = np.random.default_rng(1)
    x, y = rng.uniform(size=(60, 4)), rng.integers(0, 2, 60)
    a, b, c = (forest.fit_forest(x, y, 2, n_estimators=3, seed=s) for s in (0, 0, 1))
    assert all(np.array_equal(a[k], b[k]) for k in a)
    assert not np.array_equal(a["threshold"], c["threshold"])


# Folds.


def test_plan_leaves_speakers_out():
    corpus = voices(speakers="dbac")
    speakers = np.array([u.speaker for u in corpus])
    plan = epr.make_splits(corpus, hyperparameters(), run_in(Path()), seed=0)
    parts = [["".join(sorted(set(speakers[part]))) for part in split] for split in plan]
    assert parts == [["cd", "b", "a"], ["ad", "c", "b"], ["ab", "d", "c"], ["bc", "a", "d"]]
    for split in plan:
        assert sorted(np.concatenate(split)) == list(range(len(corpus)))
    three = epr.make_splits(corpus, hyperparameters(), run_in(Path(), n_folds=3), seed=0)
    assert len(three) == 3
    for split in three:
        train, dev, test = (set(speakers[part]) for part in split)
        assert not (test & train or test & dev or dev & train) and train | dev | test == set("abcd")


def test_plan_of_the_paper():
    corpus = voices(20)
    emotions = np.array([u.emotion for u in corpus])
    hp = load_hparams("epr", "emodb")
    plan = epr.make_splits(corpus, hp, run_in(Path(), protocol="paper"), seed=0)
    assert len(plan) == 10
    assert sorted(np.concatenate([s.test for s in plan])) == list(range(160))
    for split in plan:
        assert sorted(np.concatenate(split)) == list(range(160))
        for part, n in zip(split, (65, 7, 8), strict=True):  # a tenth of 72 is 7
            assert [sum(emotions[part] == e) for e in ("anger", "fear")] == [n, n]
    assert (
        len(epr.make_splits(corpus, hp, run_in(Path(), protocol="paper", n_folds=4), seed=0)) == 4
    )

    def tests(seed):
        return [
            list(s.test)
            for s in epr.make_splits(corpus, hp, run_in(Path(), protocol="paper"), seed)
        ]

    assert tests(0) == tests(0) and tests(0) != tests(1)


def test_the_forest_s_folds_are_others_and_have_no_dev_part():
    corpus = speech_of(voices(20))
    run = run_in(Path(), protocol="paper")
    networks = epr.make_splits(corpus.utterances, hyperparameters(), run, seed=5)
    forests = epr.make_forest_splits(corpus, networks, seed=5)
    assert len(forests) == len(networks) == 4
    assert sorted(np.concatenate([s.test for s in forests])) == list(range(160))
    for ours, theirs in zip(forests, networks, strict=True):
        assert len(ours.dev) == 0 and len(ours.train) == 120
        assert list(ours.test) != list(theirs.test)


def test_segments_that_do_not_begin_with_a_frame(tmp_path):
    hp = hyperparameters("segments.hop_seconds=0.025")
    with pytest.raises(UsageError, match="hop_seconds=0.025 is no multiple of .*hop_seconds=0.01"):
        dataset.load_dataset([], hp, run_in(tmp_path))


# The stages of `train`, with a network that is not trained.


def test_a_network_learns_the_labels_that_the_one_before_refined(tmp_path, monkeypatch):
    lab = experiment(tmp_path, hyperparameters("refinery.rounds=3"), model="none")
    given, rng = [], np.random.default_rng(0)
    profiles = rng.dirichlet([1, 1], (3, len(lab.dataset.owner))).astype("float32")

    def train_network(lab, train, dev, labels, folder, seed):
        given.append((labels.copy(), folder.name, seed, list(train), list(dev)))
        return profiles[len(given) - 1]

    monkeypatch.setattr(epr, "train_network", train_network)
    out = epr.train_rounds(lab, [0, 1, 5], [2], tmp_path, [7, 4])
    np.testing.assert_array_equal(out, profiles)
    np.testing.assert_array_equal(given[0][0], lab.dataset.one_hot)
    np.testing.assert_allclose(given[1][0], (profiles[0] + lab.dataset.one_hot) / 2, atol=1e-7)
    np.testing.assert_allclose(given[2][0], (profiles[1] + lab.dataset.one_hot) / 2, atol=1e-7)
    assert [g[1] for g in given] == ["round-1", "round-2", "round-3"]
    assert [g[2] for g in given] == [[7, 4, 0], [7, 4, 1], [7, 4, 2]]
    assert all(g[3:] == ([0, 1, 5], [2]) for g in given)


def test_inner_profiles_come_from_networks_that_did_not_hear_the_speaker(tmp_path, monkeypatch):
    hp = hyperparameters()
    lab = experiment(tmp_path, hp, speech_of(voices(speakers="abcde")), model="none")
    split = epr.make_splits(lab.dataset.utterances, hp, lab.run, seed=0)[0]
    speakers = np.array([u.speaker for u in lab.dataset.utterances])
    shape = (2, *lab.dataset.one_hot.shape)
    heard = {}

    def refinery(lab, train, dev, folder, seed):
        i = int(folder.name.removeprefix("inner-"))
        heard[i] = set(speakers[train])
        assert seed == [0, 0, 1000 + i] and list(dev) == list(split.dev)
        return np.full(shape, 10 + i, "float32")

    monkeypatch.setattr(epr, "train_rounds", refinery)
    outer = np.zeros(shape, "float32")
    out = epr.inner_profiles(lab, split, outer, tmp_path, [0, 0])
    assert not outer.any()
    for i, utterance in enumerate(lab.dataset.utterances):
        [values] = np.unique(out[:, lab.dataset.owner == i])[None]
        if i in split.train:  # c, d, e
            assert utterance.speaker not in heard[int(values[0]) - 10]
        else:
            assert values.tolist() == [0]
    assert heard == {0: set("d"), 1: set("ce")}


@pytest.mark.parametrize("protocol", ["paper", "loso"])
def test_on_dev_nothing_knows_what_is_scored(tmp_path, monkeypatch, protocol):
    """Profiles are of dev parts alone, and no forest is fitted to what it predicts."""
    corpus, hp = speech_of(voices(12)), hyperparameters()
    run = run_in(tmp_path, protocol=protocol, n_folds=3, evaluate="dev")
    plan = epr.make_splits(corpus.utterances, hp, run, 0)
    on_dev = {i for split in plan for i in split.dev}
    scored, classified = {}, []

    def train_network(lab, train, dev, labels, folder, seed):
        folder.mkdir(parents=True, exist_ok=True)
        fold = seed[1]
        np.testing.assert_array_equal(train, plan[fold].train)
        profiles = np.full(corpus.one_hot.shape, np.nan, "float32")
        profiles[in_segments(corpus, train)] = -1 - fold  # known to the network
        profiles[in_segments(corpus, dev)] = fold
        return profiles  # the test part's are never looked at

    def fit_forest(x, y, n_classes, **_):
        classified.append(x)
        assert np.isfinite(x).all()
        return {"n": np.array(n_classes)}

    def forest_probabilities(_, x):
        assert np.isfinite(x).all() and (x >= 0).all()
        return np.full((len(x), 2), 0.5)

    def seed_scores(run, seed, utterances, classes, systems, fold_of, splits, fold_columns):
        scored.update(names=[u.name for u in utterances], fold_of=fold_of, systems=systems)

    monkeypatch.setattr(epr, "load_dataset", lambda *_: corpus)
    monkeypatch.setattr(epr, "make_experiment", without_network)
    monkeypatch.setattr(epr, "train_network", train_network)
    monkeypatch.setattr(forest, "fit_forest", fit_forest)
    monkeypatch.setattr(forest, "forest_probabilities", forest_probabilities)
    monkeypatch.setattr(figures, "draw_profiles", lambda *_: None)
    monkeypatch.setattr(classification_report, "score_seed", seed_scores)
    monkeypatch.setattr(classification_report, "finish_run", lambda *_, **__: None)
    epr.train(corpus.utterances, hp, run)
    assert scored["names"] == [corpus.utterances[i].name for i in sorted(on_dev)]
    for system in scored["systems"].values():
        assert len(system["predicted"]) == len(on_dev)
    sizes = [len(x) for x in classified[::2]]  # two rounds
    if protocol == "loso":
        assert len(on_dev) == len(corpus.y)
        assert sizes == [len(split.train) for split in plan]
        for x, fold in zip(classified[::2], range(3), strict=True):
            assert set(x[:, 0]) == {-1 - fold}
        for fold, split in enumerate(plan):
            assert (scored["fold_of"][split.dev] == fold).all()
    else:  # other folds of them, each forest without its own test part
        assert len(on_dev) < len(corpus.y)
        assert sum(len(on_dev) - size for size in sizes) == len(on_dev)
        assert all((x >= 0).all() for x in classified)


@pytest.mark.parametrize("protocol", ["paper", "loso"])
def test_profiles_and_forests_of_held_out_utterances(tmp_path, monkeypatch, protocol):
    """Networks answer with their fold, so that it shows whose profiles are used for whom."""
    corpus, hp = speech_of(voices(4)), hyperparameters()
    run = run_in(tmp_path, protocol=protocol, seeds=(3,))
    plan = epr.make_splits(corpus.utterances, hp, run, 3)
    classified, scored = [], {}

    def train_network(lab, train, dev, labels, folder, seed):
        (tmp_path / "x").mkdir(exist_ok=True)
        assert seed[0] == 3 and folder.parent == tmp_path / "seed-3" / f"fold-{seed[1]:02}"
        return np.full(corpus.one_hot.shape, seed[1] + seed[2] / 10, "float32")

    def classify(lab, profiles, known, test, folder, seed):
        classified.append((profiles.copy(), sorted(known), sorted(test)))
        return np.full((2, len(test), 2), len(classified))

    def systems(hp, corpus, profiles, predicted):
        scored.update(profiles=profiles, predicted=predicted)

    def seed_scores(run, seed, utterances, classes, systems, fold_of, splits, fold_columns):
        scored.update(fold_of=fold_of, splits=splits, columns=fold_columns)

    monkeypatch.setattr(epr, "load_dataset", lambda *_: corpus)
    monkeypatch.setattr(epr, "make_experiment", without_network)
    monkeypatch.setattr(epr, "train_network", train_network)
    monkeypatch.setattr(epr, "classify", classify)
    monkeypatch.setattr(figures, "collect_systems", systems)
    monkeypatch.setattr(figures, "draw_profiles", lambda *_: None)
    monkeypatch.setattr(classification_report, "score_seed", seed_scores)
    monkeypatch.setattr(classification_report, "finish_run", lambda *_, **__: None)
    epr.train(corpus.utterances, hp, run)

    fold_of = np.zeros(len(corpus.y), int)
    for fold, split in enumerate(plan):
        fold_of[split.test] = fold
    for t in range(2):
        expected = fold_of[corpus.owner] + np.float32(t) / 10
        np.testing.assert_allclose(scored["profiles"][t, :, 0], expected, rtol=1e-6)
    assert len(classified) == 4
    everybody = list(range(len(corpus.y)))
    for fold, (profiles, known, test) in enumerate(classified):
        assert sorted(known + test) == everybody
        if protocol == "loso":  # the fold's own networks, for the speaker they never heard
            assert test == list(plan[fold].test)
            np.testing.assert_allclose(profiles[0], fold)
        else:  # everybody's held-out profiles, and other folds
            assert test != list(plan[fold].test)
            np.testing.assert_array_equal(profiles, scored["profiles"])
        assert (scored["predicted"][:, test] == fold + 1).all()
        assert set(scored["fold_of"][test]) == {fold}
    # Each column is the test part of its column in splits.csv.
    rows = read_csv(tmp_path / "splits.csv")
    columns = {"part": "fold"}
    if protocol == "paper":
        columns = {"part": "network_fold", "forest_part": "forest_fold"}
    assert set(rows[0]) == {"seed", "fold", "utterance", "speaker", *columns}
    assert set(scored["columns"]) == set(columns.values())
    for part, column in columns.items():
        tested_in = {r["utterance"]: int(r["fold"]) for r in rows if r[part] == "test"}
        assert list(scored["columns"][column]) == [tested_in[u.name] for u in corpus.utterances]
    if protocol == "paper":
        assert {r["forest_part"] for r in rows} == {"train", "test"}
        assert (scored["columns"]["network_fold"] == fold_of).all()
        assert (scored["columns"]["forest_fold"] != fold_of).any()


def test_classify(tmp_path):
    lab = experiment(tmp_path, hyperparameters(), model="none")
    corpus = lab.dataset
    rng = np.random.default_rng(0)
    profiles = rng.dirichlet([1, 1], (2, len(corpus.owner))).astype("float32")
    known, test = np.arange(5, 24), np.arange(5)
    p = epr.classify(lab, profiles, known, test, tmp_path, 6)
    for t in range(2):
        x = forest.statistics(profiles[t], corpus.owner, 0.2)
        reference = RandomForestClassifier(n_estimators=10, random_state=6)
        reference.fit(x[known], corpus.y[known])
        np.testing.assert_allclose(p[t], reference.predict_proba(x[test]), atol=1e-12)
        kept = atomic_files.read_arrays(tmp_path / f"forest-{t + 1}.npz")
        np.testing.assert_array_equal(forest.forest_probabilities(kept, x[test]), p[t])


def test_inner_folds_that_a_corpus_does_not_allow_are_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(epr, "load_dataset", lambda *_: pytest.fail("audio is read"))
    hp = hyperparameters("forest.profiles=inner", "forest.inner_folds=3")
    with pytest.raises(UsageError, match="3 inner folds need as many training speakers.* are 2"):
        epr.train(voices(), hp, run_in(tmp_path))


# Networks that are trained.


def test_a_network_has_the_paper_s_learning_rates(tmp_path, own_networks, eager, monkeypatch):
    """Also a second network, on another number of segments, after the first one."""
    monkeypatch.setattr(network, "_VGG_E_BLOCKS", ((1, 64),) * 5)
    hp = hyperparameters("train.batch_size=8", "schedule.staircase=false")
    lab = experiment(tmp_path, hp, speech_of(voices(1)))
    for name, n_train in (("first", 6), ("second", 3)):
        train, dev, folder = np.arange(n_train), np.arange(6, 8), tmp_path / name
        epr.train_network(lab, train, dev, lab.dataset.one_hot, folder, [0])
        rates = [float(row["learning_rate"]) for row in read_csv(folder / "history.csv")]
        # 1e-3, times 0.8 every two epochs (section 4.1): the root of 0.8 an epoch.
        assert rates == pytest.approx([1e-3, 8.944271909999159e-4], rel=1e-12)


def decay(**changes):
    settings = {
        "initial_learning_rate": 1e-3, "decay_rate": 0.8, "decay_epochs": 2, "staircase": True,
        "warmup_epochs": 0.0,
    }  # fmt: skip
    return schedule.EpochDecay(**settings | changes)


@pytest.mark.parametrize("staircase", [True, False])
def test_the_rate_of_each_step(staircase):
    """830 steps an epoch, as of Emo-DB: 0.8 ** (step / 1660), or of the whole part of that."""
    rates = decay(staircase=staircase)
    rates.steps.assign(830)
    for step in (0, 1, 829, 830, 1659, 1660, 1661, 8300, 16599):
        exponent = step // 1660 if staircase else step / 1660
        assert float(rates(step)) == pytest.approx(1e-3 * 0.8**exponent, rel=1e-14)
    # "every 2 epochs" to the end of epoch 20: 0.8 ** 9 in the last two of the staircase, 0.8 ** 10.
    last = rates(16599) if staircase else rates(16600)
    assert float(last) == pytest.approx(1.34217728e-4 if staircase else 1.073741824e-4, rel=1e-14)


def test_the_continuous_decay_is_keras_own():
    rates = decay(staircase=False)
    rates.steps.assign(830)
    keras_own = keras.optimizers.schedules.ExponentialDecay(1e-3, 2 * 830, 0.8)
    for step in (0, 7, 1000, 4000):
        assert float(rates(step)) == pytest.approx(float(keras_own(step)), rel=1e-6)


def test_a_warm_up_rises_to_the_rate_of_the_decay():
    rates = decay(warmup_epochs=1.0)
    rates.steps.assign(10)
    found = [float(rates(step)) for step in (0, 4, 8, 9, 10, 19, 20)]
    assert found == pytest.approx([1e-4, 5e-4, 9e-4, 1e-3, 1e-3, 1e-3, 8e-4], rel=1e-12)


def test_an_optimizer_keeps_its_schedule():
    """Its configuration gives the same rates, and a graph follows the number of steps."""
    optimizer = keras.optimizers.Adam(decay(staircase=False, warmup_epochs=0.5))
    again = keras.optimizers.Adam.from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
    rate = tf.function(lambda step: optimizer._learning_rate(step))
    for steps in (10, 7):
        schedule.set_steps(SimpleNamespace(optimizer=optimizer), steps)
        assert float(rate(tf.constant(14))) == pytest.approx(1e-3 * 0.8 ** (7 / steps), rel=1e-12)


def test_a_network_is_given_its_training_segments_and_z_score(tmp_path, tiny, monkeypatch):
    lab = experiment(tmp_path, hyperparameters(), model=tiny)
    corpus, given = lab.dataset, {}

    def fit(model, batches, dev, *, folder, learnt_loss, **options):
        given["train"] = [next(iter(batches(epoch).unbatch().batch(10**6))) for epoch in (0, 0, 1)]
        given["dev"] = next(iter(dev.unbatch().batch(10**6)))
        given["learnt_loss"] = learnt_loss
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "fit", fit)
    labels = epr.refine("assisted", np.full_like(corpus.one_hot, 0.5), corpus.one_hot, None)
    train, dev = np.array([0, 4, 9, 10]), np.array([2, 3])
    with pytest.raises(KeyboardInterrupt):
        epr.train_network(lab, train, dev, labels, tmp_path, [0])

    def rows(x, y):
        return sorted(map(bytes, np.concatenate([x.numpy().reshape(len(x), -1), y], axis=1)))

    def expected(utterances):
        own = in_segments(corpus, utterances)
        x = np.stack([corpus.frames[s : s + 32] for s in corpus.starts[own]])
        return rows(tf.constant(x), labels[own])

    (first, first_y), (again, _), (second, second_y) = given["train"]
    whole = expected(train)
    assert rows(*given["dev"]) == expected(dev)
    # Whole batches of 16 in another order each epoch, the same for the same epoch.
    assert len(first) == len(whole) // 16 * 16 < len(whole)
    assert set(rows(first, first_y)) <= set(whole) and set(rows(second, second_y)) <= set(whole)
    np.testing.assert_array_equal(first, again)
    assert (first.numpy() != second.numpy()).any()
    # Balanced labels (3/4, 1/4): chance is ln 2, the entropy of a label 0.5623351.
    own_labels = labels[in_segments(corpus, train)]
    assert given["learnt_loss"] == loop.chance_loss(own_labels)[1]
    layer = tiny.get_layer("standardize")
    frames = np.concatenate([recording(corpus.utterances[i]) for i in train])
    np.testing.assert_allclose(layer.moving_mean, frames.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, frames.var(axis=0), rtol=1e-4)


def test_an_epoch_may_be_a_share_of_the_segments(tmp_path, tiny, monkeypatch):
    lab = experiment(tmp_path, hyperparameters("train.epoch_share=0.6"), model=tiny)
    epochs = []

    def fit(model, batches, dev, **options):
        for epoch in (0, 1, 1):
            epochs.append([row.tobytes() for x, _ in batches(epoch) for row in x.numpy()])
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "fit", fit)
    train = np.arange(20)
    with pytest.raises(KeyboardInterrupt):
        epr.train_network(lab, train, np.arange(20, 24), lab.dataset.one_hot, tmp_path, [0])
    n_steps = int(0.6 * (in_segments(lab.dataset, train).sum() // 16))
    first, second, again = epochs
    assert n_steps > 1 and len(first) == len(set(first)) == n_steps * 16  # none of them twice
    assert set(first) != set(second) and second == again


def test_a_toy_problem_is_learned(tmp_path, shallow):
    hp = hyperparameters("model.width_multiplier=0.0625", "train.max_epochs=8")
    lab = experiment(tmp_path, hp, speech_of(voices(6)))
    train, dev, test = epr.make_splits(lab.dataset.utterances, hp, lab.run, 0)[0]
    labels = lab.dataset.one_hot
    profiles = epr.train_network(lab, train, dev, labels, tmp_path, [0])
    held_out = in_segments(lab.dataset, test)
    right = profiles[held_out].argmax(axis=1) == labels[held_out].argmax(axis=1)
    assert right.mean() > 0.95
    np.testing.assert_allclose(profiles.sum(axis=1), 1, atol=1e-5)
    assert (tmp_path / "history.csv").read_text().splitlines()[-1].endswith("True")


def test_a_finished_network_is_not_trained_again(tmp_path, tiny, monkeypatch):
    lab = experiment(tmp_path, hyperparameters("train.max_epochs=1"), model=tiny)
    arguments = (lab, np.arange(20), np.arange(20, 24), lab.dataset.one_hot, tmp_path, [0])
    profiles = epr.train_network(*arguments)
    assert sorted(p.name for p in tmp_path.glob("*.*")) == [
        "history.csv", "history.png", "model.keras", "profiles.npz"
    ]  # fmt: skip
    monkeypatch.setattr(loop, "fit", lambda *_, **__: pytest.fail("trained again"))
    np.testing.assert_array_equal(epr.train_network(*arguments), profiles)


def test_networks_share_one_trace(tmp_path, own_networks):
    """Folds of other sizes, other labels and other rounds: one graph for train, dev and predict."""
    hp = hyperparameters("train.max_epochs=1")
    lab = experiment(tmp_path, hp)
    calls = []

    def counted(x, call=lab.model.layers[2].call):
        calls.append(1)  # Python runs when a graph is traced, not when it is executed
        return call(x)

    lab.model.layers[2].call = counted
    traced = []
    for i, n_train in enumerate((20, 15, 11)):
        labels = lab.dataset.one_hot if i < 1 else lab.dataset.one_hot * 0.8 + 0.1
        train, dev = np.arange(n_train), np.arange(n_train, 24 - i)
        before = len(calls)
        epr.train_network(lab, train, dev, labels, tmp_path / str(i), [i])
        traced.append(len(calls) - before)
    assert traced[0] >= 3 and traced[1:] == [0, 0]


# Strictness: the faults of design.md, section 5.


@pytest.fixture(scope="module")
def clean_and_spoilt(tmp_path_factory, tiny):
    """Fold 0 of protocol loso, whole, and again with a test speaker of noise and wrong labels."""
    hp = hyperparameters("forest.profiles=inner", "refinery.labels=static", "train.max_epochs=1")
    corpus = voices(2)
    turned = {"anger": "fear", "fear": "anger"}
    spoilt = [
        dataclasses.replace(u, emotion=turned[u.emotion]) if u.speaker == "a" else u for u in corpus
    ]
    noise = {u.name for u in corpus if u.speaker == "a"}
    folders = []
    for utterances, names in ((corpus, set()), (spoilt, noise)):
        folder = tmp_path_factory.mktemp("run")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(epr, "make_splits", lambda *a: splits.make_splits(*a)[:1])
            patch.setattr(epr, "load_dataset", lambda u, *_, names=names: speech_of(u, names))
            patch.setattr(epr, "compiled_network", lambda *_: tiny)
            epr.train(utterances, hp, run_in(folder))
        folders.append(folder)
    return folders


def files_of(folder, name):
    return sorted(path.relative_to(folder) for path in folder.rglob(name))


def test_nothing_of_the_test_speaker_reaches_a_network(clean_and_spoilt):
    clean, spoilt = clean_and_spoilt
    histories = files_of(clean, "history.csv")
    assert [str(path.parent.relative_to("seed-0/fold-00")) for path in histories] == [
        "inner-0/round-1", "inner-0/round-2", "inner-1/round-1", "inner-1/round-2",
        "round-1", "round-2",
    ]  # fmt: skip
    for path in histories:  # losses of train and dev, to the last digit
        assert (clean / path).read_bytes() == (spoilt / path).read_bytes()
    models = files_of(clean, "model.keras")
    assert len(models) == 3  # of the last rounds
    for path in models:
        a, b = (keras.saving.load_model(folder / path) for folder in (clean, spoilt))
        for v, w in zip(a.weights, b.weights, strict=True):
            np.testing.assert_array_equal(v.numpy(), w.numpy())


def test_nothing_of_the_test_speaker_reaches_labels_or_forests(clean_and_spoilt):
    clean, spoilt = clean_and_spoilt
    corpus = speech_of(voices(2))
    heard = np.array([corpus.utterances[i].speaker != "a" for i in corpus.owner])
    for path in files_of(clean, "profiles.npz"):
        a, b = (atomic_files.read_arrays(folder / path)["profiles"] for folder in (clean, spoilt))
        np.testing.assert_array_equal(a[heard], b[heard])
        assert (a[~heard] != b[~heard]).any()
    forests = files_of(clean, "forest-*.npz")
    assert len(forests) == 2
    for path in forests:
        a, b = (atomic_files.read_arrays(folder / path) for folder in (clean, spoilt))
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_the_test_speaker_s_predictions_are_of_its_own_audio(clean_and_spoilt):
    a, b = (
        [row.split(",")[7:] for row in (folder / "predictions.csv").read_text().splitlines()
         if ",a," in row]
        for folder in clean_and_spoilt
    )  # fmt: skip
    assert len(a) == len(b) == 2 * 4 and a != b


def test_a_saved_network_gives_the_same_profiles(clean_and_spoilt):
    """Also after a load by Keras alone, without anything of ours."""
    folder = clean_and_spoilt[0] / "seed-0" / "fold-00" / "round-2"
    corpus = speech_of(voices(2))
    model = keras.saving.load_model(folder / "model.keras")
    segments = pipelines.segment_batches(
        corpus.frames, corpus.starts, None, n_frames=32, batch_size=512
    )
    expected = atomic_files.read_arrays(folder / "profiles.npz")["profiles"]
    np.testing.assert_array_equal(model.predict(segments, verbose=0), expected)
    assert np.ptp(expected, axis=0).max() > 1e-4  # not the same for all segments


def test_held_out_utterances_of_the_paper_s_folds_reach_no_network(tmp_path, tiny):
    hp = hyperparameters("train.max_epochs=1")
    corpus = voices()
    split = epr.make_splits(corpus, hp, run_in(tmp_path, protocol="paper"), 0)[0]
    noise = {corpus[i].name for i in split.test}
    profiles = []
    for folder, names in ((tmp_path / "clean", set()), (tmp_path / "spoilt", noise)):
        lab = experiment(folder, hp, speech_of(corpus, names), tiny, protocol="paper")
        profiles.append(epr.train_rounds(lab, split.train, split.dev, folder, [0, 0]))
    for t in (1, 2):
        a, b = (tmp_path / f / f"round-{t}" / "history.csv" for f in ("clean", "spoilt"))
        assert a.read_bytes() == b.read_bytes()
    test = in_segments(speech_of(corpus), split.test)
    np.testing.assert_array_equal(profiles[0][:, ~test], profiles[1][:, ~test])
    assert (profiles[0][:, test] != profiles[1][:, test]).any()


def test_names_of_networks_are_the_paper_s():
    def names(labels, rounds=3):
        return [network.name for network in refinery.list_networks(labels, rounds)]

    assert names("assisted") == ["VGG", "VGG*2", "VGG*3"]
    assert names("soft") == ["VGG", "VGG2", "VGG3"]
    assert names("hard", 2) == names("static", 2) == ["VGG", "VGG2"]
    # Tables 2, 3 and 4: the nine networks that differ.
    assert names("all", 5) == [
        "VGG", "VGG2", "VGG3", "Soft Static", "Hard Dynamic", "VGG*2", "VGG*3", "VGG*4", "VGG*5"
    ]  # fmt: skip
    assert names("all", 2) == ["VGG", "VGG2", "Soft Static", "Hard Dynamic", "VGG*2"]
    assert names("all", 1) == ["VGG"]


def test_networks_of_all_tables():
    networks = refinery.list_networks("all", 5)
    assert [network[1:] for network in networks] == [
        (1, "1", None, None),
        (2, "2-soft", "soft", 0),
        (3, "3-soft", "soft", 1),
        (2, "2-static", "static", 0),
        (2, "2-hard", "hard", 0),
        (2, "2", "assisted", 0),
        (3, "3", "assisted", 5),
        (4, "4", "assisted", 6),
        (5, "5", "assisted", 7),
    ]
    files = {result_files.file_name(network.name) for network in networks}
    assert len(files) == 9 and "VGG-star-2" in files and "Soft-Static" in files


@pytest.mark.parametrize("labels", ["soft", "static", "hard", "assisted"])
def test_a_network_of_all_tables_is_that_of_the_single_labelling(tmp_path, monkeypatch, labels):
    """The same labels, seed and utterances, for each of its rounds: so the same network."""
    rounds = {"soft": 3, "assisted": 4}.get(labels, 2)

    def train_network(lab, train, dev, labels, folder, seed):
        # Profiles that depend on the labels and the seed, as of a network that learns them.
        rng = np.random.default_rng(seed)
        profiles = (labels + rng.dirichlet([1, 1], len(labels))).astype("float32") / 2
        given[folder.name] = labels.copy(), seed, list(train), list(dev), profiles
        return profiles

    monkeypatch.setattr(epr, "train_network", train_network)
    networks = {}
    for name in ("all", labels):
        given = {}
        hp = hyperparameters(f"refinery.labels={name}", "refinery.rounds=4")
        hp["refinery"]["rounds"] = 4 if name == "all" else rounds
        profiles = epr.train_rounds(
            experiment(tmp_path, hp, model="none"), [0, 1, 5], [2], tmp_path, [7, 4]
        )
        networks[name] = {
            (network.labelling, network.t): (*given[f"round-{network.key}"], of_network)
            for network, of_network in zip(
                refinery.list_networks(**hp["refinery"]), profiles, strict=True
            )
        }
    assert len(networks["all"]) == 8 and len(networks[labels]) == rounds
    for key, single in networks[labels].items():
        for one, other in zip(networks["all"][key], single, strict=True):
            np.testing.assert_array_equal(one, other)


def test_of_all_networks_the_last_one_is_kept(tmp_path, monkeypatch):
    def train_network(lab, train, dev, labels, folder, seed):
        atomic_files.write_bytes(folder / "model.keras", b"")
        return labels

    monkeypatch.setattr(epr, "train_network", train_network)
    lab = experiment(tmp_path, hyperparameters("refinery.labels=all"), model="none")
    epr.train_rounds(lab, [0, 1, 5], [2], tmp_path, [7, 4])
    assert [str(path) for path in files_of(tmp_path, "model.keras")] == ["round-2/model.keras"]


def test_profiles_of_all_tables_are_drawn_by_labelling(tmp_path, monkeypatch, caplog):
    drawn = {}

    def write(profiles, classes, path, title, **_):
        drawn[path.name] = list(profiles)

    monkeypatch.setattr(figures, "write_emotion_profile", write)
    corpus = speech_of(voices(1))
    hp = hyperparameters("refinery.labels=all", "refinery.rounds=3")
    profiles = np.zeros((7, *corpus.one_hot.shape), "float32")
    figures.draw_profiles(run_in(tmp_path), corpus, hp, profiles, ["b-fear-0", "held-out"])
    assert "plots.utterances: held-out: in no test set, no picture" in caplog.text
    assert drawn == {
        "b-fear-0-soft.png": ["VGG", "VGG2", "VGG3"],  # figure 2
        "b-fear-0-static.png": ["VGG", "Soft Static"],
        "b-fear-0-hard.png": ["VGG", "Hard Dynamic"],
        "b-fear-0-assisted.png": ["VGG", "VGG*2", "VGG*3"],  # figure 4
    }
    drawn.clear()
    figures.draw_profiles(run_in(tmp_path), corpus, hyperparameters(), profiles[:2], [])
    assert drawn == dict.fromkeys(["a-anger-0.png", "a-fear-0.png"], ["VGG", "VGG*2"])


def test_networks_at_chance_are_named(tmp_path, caplog):
    for place, learnt in (("fold-00/round-1", True), ("fold-03/inner-0/round-2", False)):
        rows = [{"epoch": 1, "learnt": False}, {"epoch": 2, "learnt": learnt}]
        atomic_files.write_csv(tmp_path / "seed-0" / place / "history.csv", rows)
    with caplog.at_level(logging.WARNING, logger="tfser"):
        stuck = figures.list_networks_at_chance(run_in(tmp_path))
    assert stuck == ["seed-0/fold-03/inner-0/round-2"]
    assert caplog.messages == ["1 of the networks never left chance: " + stuck[0]]
    hp = hyperparameters("refinery.labels=hard")
    corpus = SimpleNamespace(starts=range(1234))
    assert figures.list_facts(hp, corpus, stuck) == [
        "labels hard",
        "1,234 segments",
        "1 networks never left chance",
    ]
    assert figures.list_facts(hp, corpus, []) == ["labels hard", "1,234 segments"]


def test_names_of_plots_are_checked():
    assert figures.find_names(voices(1), ["a-anger-0"]) == ["a-anger-0"]
    with pytest.raises(UsageError, match=r"no utterance 'a-angr-0' \(did you mean 'a-anger-0'\?\)"):
        figures.find_names(voices(1), ["a-anger-0", "a-angr-0"])
    assert figures.find_names(voices(1), []) == []


def test_names_of_plots_may_be_spelled_as_in_the_paper(tmp_path):
    """Figures 2 and 4 are of CASIA's "Happy_liuchanhg_440.wav"."""
    for file in ("liuchanhg/happy/440.wav", "wangzhe/happy/440.wav", "wangzhe/sad/440.wav"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    corpus = casia.read(tmp_path)
    names = ["Happy_liuchanhg_440.wav", "440-sad-wangzhe", "wangzhe-happy-440"]
    found = figures.find_names(corpus, names)
    assert found == ["liuchanhg-happy-440", "wangzhe-sad-440", "wangzhe-happy-440"]
    twins = [dataclasses.replace(corpus[0], name=name) for name in ("a-b", "b-a")]
    assert figures.find_names(twins, ["b-a"]) == ["b-a"]
    with pytest.raises(UsageError, match="no utterance 'A_b'; there are a-b b-a"):
        figures.find_names(twins, ["A_b"])


def test_scores_of_a_seed(tmp_path):
    """Hand-computed: 4 utterances, two folds, one round."""
    corpus = SimpleNamespace(
        utterances=voices(2, speakers="a"), classes=["anger", "fear"], y=np.array([0, 0, 1, 1]),
        owner=np.array([0, 0, 1, 2, 3]),
    )  # fmt: skip
    profiles = np.array([[[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]]], "float32")
    predicted = np.array([[[0.8, 0.2], [0.3, 0.7], [0.1, 0.9], [0.0, 1.0]]])
    hp = {"refinery": {"labels": "soft", "rounds": 1}}
    systems = figures.collect_systems(hp, corpus, profiles, predicted)
    scores = classification_report.score_seed(
        run_in(tmp_path), 0, corpus.utterances, corpus.classes, systems, np.array([0, 1, 0, 1]),
        [Split(np.arange(3), [], []), Split(np.arange(2), [], [])],
    )  # fmt: skip
    assert list(scores["systems"]) == ["VGG"]
    row = scores["systems"]["VGG"]
    assert row["uar"] == row["wa"] == 0.75
    assert row["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert row["fold_uar"] == [1.0, 0.5] and row["fold_wa"] == [1.0, 0.5]
    assert row["segment_accuracy"] == pytest.approx(2 / 5)
    assert row["mean_profile_uar"] == 0.5  # means: .65 .35, .2 .8, .3 .7, .6 .4
    assert scores["confusion"] == [[1, 1], [0, 2]] == scores["confusions"]["VGG"]
    assert (tmp_path / "seed-0" / "predictions.csv").read_text().splitlines()[:3] == [
        "seed,system,fold,n_train,utterance,speaker,gender,session,emotion,predicted,p_anger,p_fear",
        "0,VGG,0,3,a-anger-0,a,,,anger,anger,0.8,0.2",
        "0,VGG,1,2,a-anger-1,a,,,anger,fear,0.3,0.7",
    ]


# The commands of the card.

CARD = (Path(__file__).parents[2] / "zoo" / "epr" / "README.md").read_text(encoding="utf-8")


def card_commands():
    """(corpus, arguments) of the card's commands for every row of tables 2 to 4."""
    lines = re.findall(r"^tfser-train (.* refinery.labels=all.*)$", CARD.replace("\\\n", ""), re.M)
    commands = [shlex.split(line) for line in lines]
    return [(words[words.index("--corpus") + 1], words) for words in commands]


def test_the_card_has_a_command_for_each_corpus_of_the_paper():
    assert [corpus for corpus, _ in card_commands()] == ["casia", "emodb", "savee"]


def write_trees(root):
    """Write small trees in the official layouts."""
    names = [
        f"casia/{speaker}/{emotion}/{number}.wav"
        for speaker, emotion, number in itertools.product(
            ("liuchanhg", "wangzhe", "zhaoquanyin", "ZhaoZuoxiang"),
            ("angry", "fear", "happy", "neutral", "sad", "surprise"),
            (440, 441),
        )
    ]
    names += [
        f"emodb/wav/{s}a0{take}{letter}a.wav"
        for s, letter, take in itertools.product(("03", "08"), "WLEAFTN", (1, 2))
    ]
    names += [
        f"savee/AudioData/{s}/{code}0{take}.wav"
        for s, code, take in itertools.product(
            ("DC", "JE"), ("a", "d", "f", "h", "n", "sa", "su"), (1, 2)
        )
    ]
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(i).normal(0, 0.1, 8000)
        soundfile.write(root / name, noise, 16000)


@pytest.mark.slow
@pytest.mark.parametrize(("corpus", "arguments"), card_commands())
def test_the_commands_of_the_card(corpus, arguments, tmp_path, without_pictures):
    """With small networks, two folds and one epoch."""
    write_trees(tmp_path)
    small = [s for s in TINY if not s.startswith(("refinery.", "train.max_epochs"))]
    answer = called(
        main, *arguments, "--folds", 2, "--data-root", tmp_path / corpus, "--cache",
        tmp_path / "cache", "--workdir", tmp_path / "run", "--set=train.max_epochs=1",
        *(f"--set={setting}" for setting in small),
    )  # fmt: skip
    assert answer.code == 0, answer.err
    *rows, _, result = answer.out.splitlines()
    assert result.startswith(f"RESULT model=epr corpus={corpus} protocol=paper ")
    # The columns of the card's tables: the line of each row, the files of the figures.
    lines = re.findall(r"^\| tables? [^|]*\| ([^|`]*?) \| [\d.]+/", CARD, re.M)
    assert [row.partition(" UAR ")[0].strip() for row in rows] == lines and len(lines) == 9
    of_figures = "".join(re.findall(r"^\| figure .*$", CARD, re.M))
    files = re.findall(r"`([\w/*-]+\.png)`", of_figures)
    assert len(files) == 4
    for file in files:
        assert (tmp_path / "run" / file).exists() == ("liuchanhg" not in file or corpus == "casia")
