"""The baseline: the figures of an independent program, and what may not leak."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from running import called
from sklearn.svm import SVC

from tfser.cache import feature_cache
from tfser.cli.train import main
from tfser.config.hparams import load_hparams
from tfser.corpora.loader import load_corpus
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError, UsageError
from tfser.models.began.splits import make_splits as plan_of_began
from tfser.models.svm import experiment
from tfser.storage import run_directory

EMOTIONS = ("anger", "fear")


def run_in(folder, protocol="loso", n_folds=None, seeds=(0,)):
    return run_directory.Run(folder, folder / "cache", "emodb", protocol, n_folds, seeds, "none", 0)


def voices(speakers="abcd", n_takes=4):
    return [
        Utterance(Path(f"{s}{e}{i}.wav"), f"{s}-{e}-{i}", s, e)
        for s in speakers
        for e in EMOTIONS
        for i in range(n_takes)
    ]


@pytest.fixture(scope="module")
def functionals(tmp_path_factory):
    """A cache of openSMILE's functionals."""
    return tmp_path_factory.mktemp("functionals")


@pytest.fixture
def corpus(monkeypatch):
    """Functionals that say the emotion, on another level for each speaker."""
    utterances = voices()
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (len(utterances), 5)).astype("float32")
    for i, u in enumerate(utterances):
        x[i, 0] += 3 * EMOTIONS.index(u.emotion)
        x[i] += 10 * "abcd".index(u.speaker)
    features = feature_cache.Features(utterances, x, np.arange(len(x) + 1), "key")
    monkeypatch.setattr(experiment, "make_opensmile", lambda settings: None)
    monkeypatch.setattr(experiment.feature_cache, "load_features", lambda *_, **__: features)
    return utterances, x


@pytest.mark.parametrize(
    ("overrides", "flags", "uar", "wa"),
    [
        ([], {}, 0.4647, 43 / 73),
        (["features.normalize=speaker"], {"normalize": "speaker(transductive)"}, 0.4994, 45 / 73),
    ],
)
def test_figures_of_an_independent_program(
    shared_data, functionals, tmp_path, overrides, flags, uar, wa
):
    """Every third recording of four speakers of Emo-DB, one speaker out.

    The figures are those of openSMILE and scikit-learn alone, by the recipe of reference.json. A
    scaler fitted to all speakers gives 46 of 73, random folds 47, C = 0.0001 36.
    """
    run = dataclasses.replace(run_in(tmp_path), cache=functionals)
    utterances = sorted(load_corpus("emodb", shared_data / "emodb"), key=lambda u: u.path)
    some = [
        u for s in ("03", "08", "09", "13") for u in [u for u in utterances if u.speaker == s][::3]
    ]
    scores = experiment.train(some, load_hparams("svm", "emodb", overrides=overrides), run)
    assert (scores["n"], scores["folds"]) == (73, 4) and scores["flags"] == flags
    assert scores["wa"] == pytest.approx(wa, abs=1.5 / 73)  # one decision may be another
    assert scores["uar"] == pytest.approx(uar, abs=0.03)
    assert scores["speaker_independent"] is True


@pytest.mark.slow
def test_the_figures_of_the_reference(shared_data, tmp_path):
    """Emo-DB, one speaker out, as an independent program computed them on the same audio."""
    rows = json.loads((shared_data / "reference.json").read_text())["rows"]
    utterances = load_corpus("emodb", shared_data / "emodb")
    for name, overrides in (
        ("emodb (2 s copy)/loso", []),
        ("emodb (2 s copy)/loso/speaker-normalised (transductive)", ["features.normalize=speaker"]),
    ):
        folder = tmp_path / str(len(overrides))
        run = run_directory.Run(folder, tmp_path / "cache", "emodb", "loso", None, (0,), "none", 0)
        scores = experiment.train(
            utterances, load_hparams("svm", "emodb", overrides=overrides), run
        )
        assert scores["n"] == rows[name]["n"] and scores["folds"] == 10
        assert scores["uar"] == pytest.approx(rows[name]["uar"], abs=0.005)
        assert scores["wa"] == pytest.approx(rows[name]["wa"], abs=0.005)
        assert scores["speaker_independent"] is True
        assert scores["flags"] == ({"normalize": "speaker(transductive)"} if overrides else {})


def test_scaler_and_svm_see_the_training_part_alone(corpus, tmp_path, monkeypatch):
    utterances, x = corpus
    seen = []

    class Recorded(SVC):
        def fit(self, x, y):
            seen.append((x, y))
            return super().fit(x, y)

    monkeypatch.setattr(experiment, "SVC", Recorded)
    experiment.train(utterances, load_hparams("svm", "emodb"), run_in(tmp_path))
    y = np.array([EMOTIONS.index(u.emotion) for u in utterances])
    speakers = np.array([u.speaker for u in utterances])
    assert len(seen) == 4
    seen.sort(key=lambda pair: pair[0][0, 1])  # folds end in any order
    expected = [x[speakers != speaker] for speaker in "abcd"]
    expected = [(known - known.mean(axis=0)) / known.std(axis=0) for known in expected]
    expected.sort(key=lambda known: known[0, 1])
    for (found, labels), known in zip(seen, expected, strict=True):
        np.testing.assert_allclose(found, known, rtol=1e-4, atol=1e-5)
        assert len(labels) == 24 and sorted(labels) == sorted(y[:24])


def test_finished_folds_are_kept(corpus, tmp_path, monkeypatch):
    utterances, _ = corpus
    hp = load_hparams("svm", "emodb")
    scores = experiment.train(utterances, hp, run_in(tmp_path))
    (tmp_path / "seed-0" / "fold-02" / "predicted.npz").unlink()
    fitted = []
    monkeypatch.setattr(experiment, "SVC", lambda **options: fitted.append(1) or SVC(**options))
    assert experiment.train(utterances, hp, run_in(tmp_path)) == scores
    assert len(fitted) == 1


def test_random_folds_are_speaker_dependent_and_differ_by_seed(corpus, tmp_path):
    utterances, _ = corpus
    hp = load_hparams("svm", "emodb")
    run = run_in(tmp_path, "paper", n_folds=4, seeds=(0, 1))
    scores = experiment.train(utterances, hp, run)
    assert scores["speaker_independent"] is False and (scores["folds"], scores["seeds"]) == (4, 2)
    plans = [experiment.make_splits(utterances, hp, run, seed) for seed in (0, 1)]
    for plan in plans:
        tested = np.concatenate([split.test for split in plan])
        assert sorted(tested) == list(range(32))
        for split in plan:
            assert not set(split.train) & set(split.test) and not len(split.dev)
            assert len(split.train) + len(split.test) == 32
    assert any(list(a.test) != list(b.test) for a, b in zip(*plans, strict=True))


def test_an_svm_for_each_speaker_is_tested_as_began_is(corpus, tmp_path):
    utterances, _ = corpus
    hp = load_hparams("svm", "emodb", overrides=["protocol.kind=per-speaker"])
    run = run_in(tmp_path, "paper")
    scores = experiment.train(utterances, hp, run)
    assert scores["speaker_independent"] is False
    assert (scores["folds"], scores["n"]) == (4, 16)  # of 4 takes 2.4 train
    assert list(scores["systems"]) == ["SVM, each speaker's own"]
    of_began = load_hparams("began", "ravdess")
    assert of_began["protocol"] == {"kind": "per-speaker", "train_fraction": 0.6}
    for seed in (0, 1):
        theirs = plan_of_began(utterances, of_began, run, seed)
        ours = experiment.make_splits(utterances, hp, run, seed)
        for own, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(own.test, other.test)
            np.testing.assert_array_equal(own.train, np.sort([*other.train, *other.dev]))
            assert len({utterances[i].speaker for part in own for i in part}) == 1
    with pytest.raises(UsageError, match="--folds 3: per-speaker has a fold for each"):
        experiment.make_splits(utterances, hp, run_in(tmp_path, "paper", n_folds=3), 0)
    with pytest.raises(UsageError, match="--seeds 2: nothing is random in an SVM for each speaker"):
        experiment.make_splits(utterances, hp, run_in(tmp_path, "paper", seeds=(0, 1)), 0)


def test_without_the_other_systems_dev_part(corpus, tmp_path):
    utterances, _ = corpus
    hp = load_hparams("svm", "emodb", overrides=["svm.trains_on_dev=false"])
    scores = experiment.train(utterances, hp, run_in(tmp_path / "loso"))
    assert list(scores["systems"]) == ["SVM, without dev"]
    assert scores["facts"][-1] == "the other systems' dev part left out"
    for protocol, n_dev in (("loso", 8), ("paper", 2)):
        run = run_in(tmp_path, protocol, n_folds=4)
        for split in experiment.make_splits(utterances, hp, run, 0):
            assert (len(split.train), len(split.dev), len(split.test)) == (24 - n_dev, n_dev, 8)


def test_trained_on_one_corpus_and_tested_on_another(corpus, tmp_path):
    utterances, x = corpus
    mine, theirs = utterances[:24], utterances[24:]  # speaker d is the other corpus
    stranger = Utterance(Path("x.wav"), "x", "x", "joy")
    scores = experiment.train(
        [*mine, stranger], load_hparams("svm", "emodb"), run_in(tmp_path, "paper"), theirs
    )
    assert scores["speaker_independent"] is True and (scores["n"], scores["folds"]) == (8, 1)
    scaled = (x - x[:24].mean(axis=0)) / x[:24].std(axis=0)
    y = np.array([EMOTIONS.index(u.emotion) for u in utterances])
    expected = SVC(kernel="linear", C=0.01).fit(scaled[:24], y[:24]).predict(scaled[24:])
    assert scores["wa"] == np.mean(expected == y[24:])
    with pytest.raises(DataError, match="share 1 emotions.*anger fear and anger"):
        experiment.train(mine, load_hparams("svm", "emodb"), run_in(tmp_path, "paper"), theirs[:4])


def test_seeds_of_what_is_not_random(tmp_path):
    words = ["--model", "svm", "--corpus", "emodb", "--protocol", "loso", "--seeds", 2]
    answer = called(main, *words, "--cache", tmp_path)  # refused before the corpus is looked for
    assert answer.code == 2
    assert answer.err.startswith("error: --seeds 2: nothing is random in an SVM under --protocol")


def test_the_target_is_in_every_result(corpus, tmp_path, monkeypatch):
    utterances = [
        dataclasses.replace(u, valence=1.0 + 2 * (i % 3)) for i, u in enumerate(corpus[0])
    ]
    features = feature_cache.Features(utterances, corpus[1], np.arange(33), "key")
    hp = load_hparams("svm", "emodb", overrides=["labels.target=valence"])
    chosen = []

    def load(utterances, *_, **__):
        chosen.extend(utterances)
        return dataclasses.replace(features, utterances=chosen)

    monkeypatch.setattr(experiment.feature_cache, "load_features", load)
    scores = experiment.train(utterances, hp, run_in(tmp_path))
    assert scores["classes"] == ["high", "low", "neutral"]
    assert scores["flags"] == {"target": "valence", "rounding": "between"}
    assert scores["facts"] == ["IS13", "target valence", "rounding between"]


def test_a_class_too_small_for_the_folds():
    hp = load_hparams("svm", "emodb")
    with pytest.raises(DataError, match="class 'anger' has 8 utterances, fewer than the 10 folds"):
        experiment.make_splits(voices("ab"), hp, run_in(Path(), "paper"), 0)
