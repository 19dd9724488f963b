"""Weights of utterances by hand and against scikit-learn's "balanced", and in each loss."""

from dataclasses import replace
from math import log
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import test_aae
import test_acnn
import test_epr
from running import called
from sklearn.utils.class_weight import compute_sample_weight

from tfser.cli.options import Options, format_flags, load_hyperparameters
from tfser.cli.train import main
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError, UsageError
from tfser.models.aae import experiment as aae
from tfser.models.acnn import experiment as acnn
from tfser.models.epr import experiment as epr
from tfser.training import loop
from tfser.training.balance import SECTIONS, balance_weights

SPOKEN = [
    Utterance(Path(f"{i}.wav"), str(i), gender[0], emotion=emotion, gender=gender)
    for i, (emotion, gender) in enumerate(
        [("x", "female"), ("x", "female"), ("x", "male"), ("y", "female"), ("y", "male")]
    )
]


def test_groups_count_alike():
    assert balance_weights(SPOKEN, []) is None
    assert balance_weights(SPOKEN, ["class"]) == pytest.approx([5 / 6, 5 / 6, 5 / 6, 5 / 4, 5 / 4])
    assert balance_weights(SPOKEN, ["gender"]) == pytest.approx([5 / 6, 5 / 6, 5 / 4, 5 / 6, 5 / 4])
    both = balance_weights(SPOKEN, ["class", "gender"])
    assert both == pytest.approx([5 / 8, 5 / 8, 5 / 4, 5 / 4, 5 / 4]) and both.mean() == 1.0
    expected = compute_sample_weight("balanced", [u.emotion for u in SPOKEN])
    np.testing.assert_allclose(balance_weights(SPOKEN, ["class"]), expected)


def test_bad_input():
    with pytest.raises(UsageError, match="balance: 'age' is not one of class, gender"):
        balance_weights(SPOKEN, ["age"])
    nameless = [*SPOKEN, Utterance(Path("a.wav"), "a", "s", emotion="x")]
    with pytest.raises(DataError, match="balance: a has no gender; leave gender out"):
        balance_weights(nameless, ["gender"])


def test_a_run_with_balance(before, tmp_path):
    """Its name says so, and it is not the run without."""
    words = ["--model", "svm", "--corpus", before / "corpus" / "corpus.csv", "--cache", tmp_path]
    words += ["--protocol", "loso", "--set", 'svm.balance=["class"]', "--workdir", tmp_path / "run"]
    answer = called(main, *words)
    assert answer.code == 0, answer.err
    assert answer.out.startswith("SVM, balanced by class ")
    changed = [*words[:-4], "--set", "svm.balance=[]", *words[-2:]]
    answer = called(main, *changed)
    assert answer.code == 4 and "svm.balance" in answer.err


# In the losses of the networks.


class EpochError(Exception):
    """Ends a training at its first epoch."""


def skewed(utterances):
    """Without most of the first class of the first speakers: classes of two sizes."""
    first = utterances[0].emotion
    return [u for u in utterances if u.emotion != first or u.speaker not in "ab"]


def batches_of(paper, folder, monkeypatch, *overrides):
    """Return (batches of an epoch, of dev, utterances that train) as the training makes them."""
    found = {}

    def stop(model, make_batches, *arguments, **options):
        found["batches"] = list(make_batches(0))
        raise EpochError

    module = {"aae": test_aae, "acnn": test_acnn, "epr": test_epr}[paper]
    hp = module.hyperparameters(*overrides)
    utterances = skewed(module.voices(speakers="abcd"))
    corpus = module.speech_of(utterances)
    lab = module.experiment(folder, hp, corpus)
    train = np.flatnonzero([u.speaker != "d" for u in utterances])
    dev = np.setdiff1d(np.arange(len(utterances)), train)
    monkeypatch.setattr("tfser.training.fold.train_epochs", stop)
    monkeypatch.setattr(loop, "fit", stop)
    with pytest.raises(EpochError):
        if paper == "epr":
            epr.train_network(lab, train, dev, corpus.one_hot, folder / "seed-0", [0])
        else:
            experiment = {"aae": aae, "acnn": acnn}[paper]
            split = experiment.make_splits(utterances, hp, module.run_in(folder, "loso"), 0)[0]
            split = split._replace(train=train, dev=dev)
            experiment.train_network(lab, split, folder / "seed-0", [0, 0])
    return found["batches"], lab.model, [utterances[i] for i in train]


@pytest.mark.parametrize(
    ("paper", "overrides"),
    [("aae", ["model.system=baseline"]), ("aae", ["model.system=vanilla"]),
     ("aae", ["model.system=vanilla", "train.labelled_fraction=0.5"]), ("acnn", []), ("epr", [])],
)  # fmt: skip
def test_the_weights_of_a_batch_are_those_of_its_utterances(
    paper, overrides, tmp_path, monkeypatch
):
    """n / (K * n of the class) of the examples that train, in the place of each example's label."""
    balance = 'train.balance=["class"]'
    plain, *_ = batches_of(paper, tmp_path / "a", monkeypatch, *overrides)
    weighted, _, known = batches_of(paper, tmp_path / "b", monkeypatch, *overrides, balance)
    assert len(plain) == len(weighted) > 0
    ratios = set()
    for before, (*batch, weights) in zip(plain, weighted, strict=True):
        # The same examples and labels.
        tf.nest.map_structure(np.testing.assert_array_equal, tuple(before), tuple(batch))
        labels = batch[1]
        labels = labels["emotion"] if paper == "acnn" else labels
        labels = labels[1] if isinstance(labels, tuple) else labels
        numbers = np.argmax(labels, axis=1)
        assert weights.dtype == tf.float32
        ratios |= set(zip(numbers.tolist(), np.round(weights.numpy(), 6).tolist(), strict=True))
    of_class = dict(ratios)
    assert len(of_class) == len(ratios)  # one weight for each class
    emotions = sorted({u.emotion for u in known})
    counts = np.array([sum(u.emotion == name for u in known) for name in emotions], float)
    if paper == "epr":  # of segments
        corpus = test_epr.speech_of(skewed(test_epr.voices(speakers="abcd")))
        owners = [corpus.utterances[i] for i in corpus.owner]
        counts = np.array(
            [sum(u.emotion == name and u.speaker != "d" for u in owners) for name in emotions]
        )
    if "train.labelled_fraction=0.5" in overrides:
        counts = np.maximum(1, np.round(counts / 2))
    expected = counts.sum() / (len(counts) * counts)
    assert [of_class[k] for k in range(len(counts))] == pytest.approx(expected, rel=1e-5)


def test_keras_averages_weighted_losses_over_the_examples():
    """Of the AAE's baseline, ACNN and EPR: sum(w * loss) / n, not / sum(w)."""
    x, labels, weights = np.eye(2), np.eye(2)[[0, 0]], np.array([0.5, 3.0])
    inputs = keras.Input([2])
    probabilities = keras.layers.Softmax(name="emotion")(inputs)  # e / (e + 1), 1 / (e + 1)
    model = keras.Model(inputs, probabilities)
    loss = keras.losses.CategoricalCrossentropy()
    loop.compile_model(model, "sgd", loss)
    right, wrong = log(1 + np.exp(-1)), log(1 + np.exp(1))
    expected = (0.5 * right + 3 * wrong) / 2
    found = model.evaluate(x, labels, sample_weight=weights, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(expected, rel=1e-6)


def test_the_weights_are_in_the_loss_of_each_view(tmp_path):
    """Eq. (2): the cross-entropies of an utterance have its weight, whatever the view."""
    corpus = test_acnn.speech_of(test_acnn.voices("ab"))
    lab = test_acnn.experiment(tmp_path, test_acnn.hyperparameters(), corpus)
    weights = np.linspace(0.5, 1.5, len(corpus.y))
    [(inputs, labels, own)] = test_acnn.corpus_of.make_batches(
        corpus, np.arange(len(corpus.y)), 256, weights
    )
    np.testing.assert_allclose(own, weights, rtol=1e-6)
    outputs = lab.model.predict(inputs, verbose=0)
    views = {"emotion": 0.6 / 0.8, "arousal": 0.2 / 0.8}
    expected = sum(
        share * np.mean(weights * -np.sum(labels[name] * np.log(outputs[name] + 1e-12), axis=1))
        for name, share in views.items()
    )
    found = lab.model.evaluate(inputs, labels, sample_weight=own, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(expected, rel=1e-4)


def test_chance_with_weights():
    # Classes of weights 3 and 1: their entropy; labels that are certain have none.
    at_chance, learnt = loop.chance_loss(np.eye(2)[[0, 1]], np.array([1.5, 0.5]))
    entropy = -0.75 * log(0.75) - 0.25 * log(0.25)
    assert at_chance == pytest.approx(entropy) and learnt == pytest.approx(0.95 * entropy)


# The flag.


@pytest.mark.parametrize("model", ["aae", "acnn", "auxvae", "began", "encoder", "epr", "svm"])
def test_the_flag_sets_the_setting_of_the_model(model):
    options = Options(model=model, corpus="emodb", balance="class,gender")
    if model in ("auxvae", "began"):
        with pytest.raises(UsageError, match=f"--balance: the training of {model} has no weights"):
            load_hyperparameters(options, "emodb")
        return
    hp = load_hyperparameters(options, "emodb")
    assert hp[SECTIONS[model]]["balance"] == ["class", "gender"]
    assert load_hyperparameters(replace(options, balance=None), "emodb")[SECTIONS[model]][
        "balance"
    ] == []  # fmt: skip
    words = format_flags(options, {})
    assert words[words.index("--balance") + 1] == "class,gender"
