"""Protocols: the split of a corpus in all systems, the default of a table, confounded speakers."""

import importlib
import itertools
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tfser.config.hparams import load_hparams
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError, UsageError
from tfser.evaluation import protocols
from tfser.evaluation.splits import is_speaker_independent
from tfser.storage import run_directory

MODELS = ("aae", "acnn", "auxvae", "began", "encoder", "epr", "svm")
SETTINGS = {"began": ["protocol.kind=per-speaker"], "acnn": ["labels.keep=[]"]}
PARTS = {"a": "train", "b": "Train", "c": "TRAIN ", "d": "valid", "e": "test", "f": "Test"}


def voices(parts=PARTS, emotions=("anger", "joy"), n_takes=5, **more):
    """Utterances of each speaker, whose part of the split is in `parts`; others have none."""
    return [
        Utterance(Path(f"{s}-{e}-{i}.wav"), f"{s}-{e}-{i}", s, e, split=parts.get(s), **more)
        for s, e, i in itertools.product("abcdef", emotions, range(n_takes))
    ]


def run_in(protocol="split", n_folds=None, evaluate="test"):
    return run_directory.Run(
        Path(), Path(), "table", protocol, n_folds, (0,), "none", 0, evaluate=evaluate
    )


def make_splits(model, utterances, overrides=(), **options):
    module = importlib.import_module(f"tfser.models.{model}.splits")
    hp = load_hparams(model, "table", overrides=[*SETTINGS.get(model, []), *overrides])
    utterances = module.select_utterances(utterances, hp)
    return utterances, module.make_splits(utterances, hp, run_in(**options), 0)


def speakers_of(utterances, split):
    return ["".join(sorted({utterances[i].speaker for i in part})) for part in split]


# The corpus's own split


@pytest.mark.parametrize("model", MODELS)
def test_the_test_set_is_what_the_corpus_has_for_it(model):
    utterances, [split] = make_splits(model, voices())
    tested = [i for i, u in enumerate(utterances) if u.speaker in "ef"]
    assert split.test.tolist() == tested
    # The dev part of an SVM trains, too: it has no epoch to choose.
    expected = ["abcd", "", "ef"] if model in ("encoder", "svm") else ["abc", "d", "ef"]
    assert speakers_of(utterances, split) == expected
    assert sum(map(len, split)) == len(utterances) == 60
    assert is_speaker_independent([u.speaker for u in utterances], [split])


@pytest.mark.parametrize("model", MODELS)
def test_the_dev_part_is_scored_with_evaluate_dev(model):
    utterances, [split] = make_splits(model, voices(), evaluate="dev")
    assert speakers_of(utterances, split) == ["abc", "d", "d"]
    assert len(split.dev) == 10 and split.test.tolist() == split.dev.tolist()


@pytest.mark.parametrize("model", MODELS)
def test_all_utterances_train_but_the_dev_set(model):
    """A random tenth of each class chooses the epoch, and is scored; SVM and probes need none."""
    utterances, [split] = make_splits(model, voices(), protocol="all")
    of_test = [utterances[i].emotion for i in split.test]
    assert sorted(of_test) == ["anger"] * 3 + ["joy"] * 3  # 0.1 of 30
    if model in ("auxvae", "encoder", "svm"):
        assert split.train.tolist() == list(range(60)) and not len(split.dev)
    else:
        assert split.dev.tolist() == split.test.tolist()
        assert sorted([*split.train, *split.dev]) == list(range(60))
    _, [other] = make_splits(model, voices({}), protocol="all")  # the corpus's parts do not matter
    assert [part.tolist() for part in other] == [part.tolist() for part in split]


@pytest.mark.parametrize("model", MODELS)
def test_without_a_dev_part_a_tenth_of_each_class_of_train_is_dev(model):
    parts = PARTS | {"d": "train", "f": "none"}  # f is in no part
    utterances, [split] = make_splits(model, voices(parts))
    assert speakers_of(utterances, split)[2] == "e" and len(split.test) == 10
    assert sorted([*split.train, *split.dev]) == list(range(40))
    of_dev = [utterances[i].emotion for i in split.dev]
    share = {"encoder": 0, "svm": 0, "auxvae": 0}.get(model, 2)  # 0.1 of 20
    assert sorted(of_dev) == ["anger"] * share + ["joy"] * share


@pytest.mark.parametrize("model", MODELS)
def test_what_no_system_takes_for_a_split(model):
    with pytest.raises(DataError, match="'holdout' of utterance f-anger-0 is not train, dev"):
        make_splits(model, voices(PARTS | {"f": "holdout"}))
    with pytest.raises(DataError, match="train has 40 utterances and test 0; use --protocol loso"):
        make_splits(model, voices(dict.fromkeys("abcd", "train") | dict.fromkeys("ef", "dev")))


@pytest.mark.parametrize("model", ["aae", "acnn", "svm"])
def test_a_rating_has_the_split_too(model):
    rated = [replace(u, valence=1.0 + 4 * (u.emotion == "joy")) for u in voices()]
    utterances, [split] = make_splits(model, rated, ["labels.target=valence"])
    assert {u.emotion for u in utterances} == {"low", "high"}
    assert speakers_of(utterances, split)[2] == "ef"


@pytest.mark.parametrize("model", ["auxvae", "began"])
def test_ratings_of_the_split(model):
    rated = [replace(u, activation=0.5, valence=0.1) for u in voices()]
    utterances, [split] = make_splits(model, rated, ["labels.target=ratings"])
    assert speakers_of(utterances, split) == ["abc", "d", "ef"]


def test_a_split_of_speakers_whose_voices_are_known():
    """Speaker recognition: each speaker is in train and in test."""
    parts = ["train", "train", "train", "dev", "test"]
    utterances = [replace(u, split=parts[int(u.name[-1])]) for u in voices()]
    utterances, [split] = make_splits("auxvae", utterances, ["labels.target=speaker"])
    assert speakers_of(utterances, split) == ["abcdef"] * 3
    assert [len(part) for part in split] == [36, 12, 12]
    assert not is_speaker_independent([u.speaker for u in utterances], [split])


def test_utterances_without_a_label_train_but_for_those_of_dev_and_test():
    unlabelled = [
        Utterance(Path(f"{s}.wav"), f"{s}-none", s, None, split=part)
        for s, part in (("a", "train"), ("x", None), ("d", "train"), ("y", "test"), ("z", "train"))
    ]
    other = [Utterance(Path("o.wav"), "o", "libri-1", None, split="test")]
    module = importlib.import_module("tfser.models.aae.splits")
    hp = load_hparams("aae", "table")
    utterances = voices() + unlabelled + other
    [split] = module.make_splits(utterances, hp, run_in(), 0, other)
    trained = {utterances[i].name for i in split.train if utterances[i].emotion is None}
    # Not d-none, whose speaker is dev; not y-none, which is of the test part.
    assert trained == {"a-none", "x-none", "z-none", "o"}
    assert speakers_of(utterances, split)[1:] == ["d", "ef"]


@pytest.mark.parametrize("protocol, folds", [("paper", 5), ("loso", 6)])
def test_other_protocols_do_not_read_the_split(protocol, folds):
    words = PARTS | {"f": "holdout"}
    assert len(make_splits("svm", voices(words), ["protocol.n_folds=5"], protocol=protocol)[1]) == (
        folds
    )


@pytest.mark.parametrize("word", ["dev", "val", "Valid", "VALIDATION", "devel", " development "])
def test_words_for_dev(word):
    [utterance, *_] = voices({"a": word})
    assert protocols.read_parts([utterance]) == ["dev"]


@pytest.mark.parametrize("word", [None, "", " ", "NaN", "none", "N/A", "-", "<NA>"])
def test_words_for_no_part(word):
    [utterance, *_] = voices({"a": word})
    assert protocols.read_parts([utterance]) == [None]


@pytest.mark.parametrize("word, hint", [("tset", "test"), ("training", "train"), ("vald", "valid")])
def test_another_word_is_refused(word, hint):
    with pytest.raises(DataError, match=rf"'{word}' of utterance a-anger-0 .*mean '{hint}'\?"):
        protocols.read_parts(voices({"a": word}))


def test_a_train_part_of_one_class():
    utterances = [u for u in voices() if u.speaker not in "abc" or u.emotion == "joy"]
    with pytest.raises(DataError, match="train has one class, 'joy'; see"):
        make_splits("epr", utterances)


def test_a_class_of_one_utterance_makes_no_dev_part():
    parts = {"a": "train", "b": "test"}
    with pytest.raises(DataError, match="one utterance to train on, and dev would be empty"):
        make_splits("epr", voices(parts, n_takes=1))


def test_what_is_said_of_a_split(caplog):
    caplog.set_level(logging.INFO, "tfser")
    protocols.check_split(voices(), None)
    assert caplog.messages == ["split: train 30, dev 10, test 20 utterances"]
    caplog.clear()
    mixed = [
        replace(u, speaker="a", split="test") if u.name == "f-joy-4" else u
        for u in voices({"a": "train"})
    ]
    protocols.check_split(mixed, None)
    assert caplog.messages == [
        "split: train 10, dev 0, test 1 utterances",
        "split: 49 of 60 utterances are in no part and left out, the first is b-anger-0",
        "split: no dev part; where the system chooses an epoch, a random share of each class of "
        "train is dev",
        "split: no test utterance of anger: the score leaves it out",
        "split: 1 of the 1 test speakers are in train or dev, too, the first is 'a': the score is "
        "of known speakers (speaker_independent=no)",
    ]
    caplog.clear()
    shared = voices({"a": "train", "b": "dev", "c": "test"})
    shared = [replace(u, speaker="a") if u.speaker == "c" else u for u in shared]
    protocols.check_split(shared, None)
    assert "1 of the 1 test speakers are in train or dev, too, the first is 'a'" in caplog.text
    with pytest.raises(UsageError, match="--folds 5: --protocol split is one fold"):
        protocols.check_split(voices(), 5)


def test_a_dev_speaker_is_a_known_speaker():
    utterances = voices({"a": "train", "b": "dev", "c": "test"})
    known = [replace(u, speaker="b") if u.speaker == "c" else u for u in utterances]
    for of_test, independent in ((utterances, True), (known, False)):
        _, splits = make_splits("epr", of_test)
        assert is_speaker_independent([u.speaker for u in of_test], splits) is independent


# The default of a table


def choose(utterances, *, target="emotion", folds=None, is_set=False):
    return protocols.choose_protocol(
        utterances, model="svm", target=target, folds=folds, is_set=is_set
    )


def test_the_default_of_a_table(caplog):
    caplog.set_level(logging.INFO, "tfser")
    assert choose(voices()) == "split"
    assert choose(voices({"a": "tset"})) == "split"  # which is then refused
    assert choose(voices({})) == choose(voices(dict.fromkeys("abcdef", "nan"))) == "loso"
    assert choose(voices({}), folds=3) == "loso"
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    two = [u for u in voices({}) if u.speaker in "ab"]
    assert choose(two) == "paper"
    assert "as the table has 2 speakers, and leave one" in caplog.messages[-1]
    assert choose(voices({}), target="speaker") == "paper"
    assert choose(voices({}), is_set=True) == "paper"
    caplog.clear()
    assert choose(voices(), is_set=True) == "paper"
    assert (
        "--protocol paper, because of [protocol] of the hyperparameters; --protocol split"
        in caplog.text
    )
    with pytest.raises(UsageError, match="--folds 5: the table has a column split"):
        choose(voices(), folds=5)


def test_many_speakers_are_many_folds(caplog):
    caplog.set_level(logging.WARNING, "tfser")
    many = [replace(u, speaker=f"s{i}") for i, u in enumerate(voices({}))]
    assert choose(many, folds=10) == "loso" and not caplog.messages
    assert choose(many) == "loso"
    assert "60 speakers are as many folds, each a training of svm; --folds 10" in caplog.text


def test_known_speakers_are_told(caplog):
    for protocol, target, n_told in (
        ("paper", "emotion", 1), ("paper", "speaker", 0), ("loso", "emotion", 0)
    ):  # fmt: skip
        caplog.clear()
        utterances, splits = make_splits("svm", voices({}), protocol=protocol)
        protocols.warn_of_known_speakers(utterances, splits, protocol, target)
        assert len(caplog.messages) == n_told
    _, independent = make_splits("svm", voices({}), protocol="loso")
    protocols.warn_of_known_speakers(voices({}), independent, "paper", "emotion")
    assert not caplog.messages


# Speaker and label


def speech(*counts):
    """Utterances of speakers with these counts of classes: speech({"x": 3}, {"y": 2})."""
    return [
        Utterance(Path(), "", str(speaker), label)
        for speaker, of_speaker in enumerate(counts)
        for label, n in of_speaker.items()
        for _ in range(n)
    ]


@pytest.mark.parametrize(
    "utterances, right, majority",
    [
        (speech({"x": 10}, {"y": 10}), 100, 50),
        (speech({"x": 8, "y": 2}, {"y": 8, "x": 2}), 80, 50),
        (speech({"x": 24}, {"y": 12}, {"z": 11, "x": 1}), 98, 52),
        # Many speakers of few utterances: each other utterance has the speaker's class.
        (speech(*[{"x": 2}] * 20, *[{"y": 2}] * 20), 100, 50),
    ],
)
def test_a_speaker_who_tells_the_label(caplog, utterances, right, majority):
    protocols.warn_if_confounded(utterances)
    [message] = caplog.messages
    assert f"predicts {right} % of the labels (the commonest class {majority} %)" in message


@pytest.mark.parametrize(
    "utterances",
    [
        speech(*[{"x": 5, "y": 5}] * 4),
        speech(*[{"x": 9, "y": 1}] * 4),  # the commonest class is as right
        speech(*[{"x": 1}] * 30, *[{"y": 1}] * 30),  # one utterance each: nobody is known
        speech(*[{"x": 6, "y": 4}] * 5, *[{"x": 4, "y": 6}] * 5),
        speech({"x": 2}, {"y": 2}),  # four utterances show nothing
    ],
)
def test_a_speaker_who_does_not(caplog, utterances):
    protocols.warn_if_confounded(utterances)
    assert not caplog.messages


def test_the_accuracy_is_that_of_the_speaker_s_other_utterances(caplog):
    rng = np.random.default_rng(0)
    labels, speakers = rng.integers(0, 3, 300), rng.integers(0, 6, 300)
    labels = np.where(rng.random(300) < 0.6, speakers % 3, labels)
    utterances = [
        Utterance(Path(), "", str(s), str(k)) for s, k in zip(speakers, labels, strict=True)
    ]
    right = 0.0
    for i in range(300):
        others = labels[(speakers == speakers[i]) & (np.arange(300) != i)]
        counts = np.bincount(others, minlength=3)
        best = np.flatnonzero(counts == counts.max())
        right += (labels[i] in best) / len(best)
    protocols.warn_if_confounded(utterances)
    majority = np.bincount(labels).max() / 300
    assert f"predicts {100 * right / 300:.0f} % of the labels" in caplog.text
    assert f"class {100 * majority:.0f} %" in caplog.text


@pytest.mark.parametrize("corpus", ["emodb", "ravdess"])
def test_real_corpora_are_not_confounded(shared_data, caplog, corpus):
    module = importlib.import_module(f"tfser.corpora.{corpus}")
    folder = {"emodb": "emodb", "ravdess": "RAVDESS"}[corpus]
    protocols.warn_if_confounded(module.read(shared_data / folder))
    assert not caplog.messages
