"""A training that is killed and started again ends as the training that nothing interrupts."""

import contextlib
import csv
import functools
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import test_aae
import test_acnn
import test_auxvae
import test_began
import test_epr
from running import slow

from tfser.models.aae import experiment as aae
from tfser.models.aae import network as of_aae
from tfser.models.aae import subnetworks as aae_parts
from tfser.models.acnn import experiment as acnn
from tfser.models.acnn import pretraining as acnn_pretraining
from tfser.models.auxvae import pretraining as auxvae_pretraining
from tfser.models.began import dataset as began_dataset
from tfser.models.began import experiment as began
from tfser.models.began import pretraining as began_pretraining
from tfser.models.epr import experiment as epr
from tfser.models.epr import network as of_epr
from tfser.plots import tensorboard
from tfser.storage import atomic_files
from tfser.training import layer_names, loop, mixed_precision

KILLED_AFTER, EPOCHS = 2, 3


# Trainings: functions of a folder.


def train_aae(folder, wavs, *, system, n_frames, seed=0):
    speech = test_aae.speech_of(test_aae.voices("abc", 2), n_frames=n_frames)
    hp = test_aae.hyperparameters(
        f"model.system={system}", "train.learning_rate=1e-2", f"train.max_epochs={EPOCHS}"
    )
    run = test_aae.run_in(folder, "loso")
    split = aae.make_splits(speech.utterances, test_aae.hyperparameters(), run, 0)[0]
    lab = test_aae.experiment(folder, hp, speech)
    return aae.train_network(lab, split, folder / "seed-0" / "fold-00", [seed, 0])


def train_acnn(folder, wavs):
    speech = test_acnn.speech_of(test_acnn.voices("abc", 1))
    hp = test_acnn.hyperparameters(f"train.max_epochs={EPOCHS}", "train.dev_fraction=0.5")
    split = acnn.make_splits(speech.utterances, hp, test_acnn.run_in(folder, "loso"), 0)[0]
    lab = test_acnn.experiment(folder, hp, speech)
    acnn.train_network(lab, split, folder / "seed-0" / "fold-00", [0, 0])


def train_autoencoder(folder, wavs):
    hp = test_acnn.hyperparameters(
        "autoencoder.units=4", "autoencoder.n_bands=6", "autoencoder.n_layers=1",
        f"autoencoder.max_epochs={EPOCHS}", "autoencoder.batch_size=4", "input.seconds=0.4",
    )  # fmt: skip
    layer, stored = test_acnn.sounds(wavs, hp, n=6)
    folder.mkdir(parents=True, exist_ok=True)
    acnn_pretraining.train_autoencoder(stored, layer, hp["autoencoder"], folder, "none")


def train_auxvae(folder, wavs):
    hp = test_auxvae.hyperparameters(f"vae.max_epochs={EPOCHS}")
    utterances = test_auxvae.sounds(wavs, n_takes=1, speakers="ab")
    run = test_auxvae.run_in(folder)
    auxvae_pretraining.pretrained_network(utterances, hp, run, max_epochs=EPOCHS)


def train_began(folder, wavs):
    hp = test_began.hyperparameters(
        f"began.max_epochs={EPOCHS}", "began.lambda_k=0.1", "features.scaling=max"
    )
    utterances = test_began.sounds(wavs, n_takes=1, speakers="ab")
    began_pretraining.pretrained_network(utterances, hp, test_began.run_in(folder))


def train_head(folder, wavs, *, encoder):
    hp = test_began.hyperparameters(f"head.encoder={encoder}", f"train.max_epochs={EPOCHS}")
    run = test_began.run_in(folder, "loso")
    utterances = test_began.sounds(wavs, n_takes=2)
    speech = began_dataset.load_dataset(utterances, hp, run)
    bar = SimpleNamespace(epoch=lambda row: None, place="")
    network = began.compiled_network(None, speech, hp, run)
    lab = began.Experiment(speech, hp, run, None, network, bar)
    split = began.make_splits(utterances, hp, run, 0)[0]
    began.train_head(lab, split, folder / "seed-0" / "fold-00", [0, 0])


def train_epr(folder, wavs, *, is_continued=False):
    hp = test_epr.hyperparameters(f"train.max_epochs={EPOCHS}", "train.epoch_share=0.2")
    corpus = test_epr.speech_of(test_epr.voices(1))
    weights = {}
    if is_continued:
        hp["train"]["freeze"] = ["conv1_*"]
        keras.utils.set_random_seed(5)
        network = epr.new_network(corpus, hp)
        weights = {name: np.array(w) for name, w in layer_names.list_weights(network).items()}
    lab = test_epr.experiment(folder, hp, corpus)._replace(initial_weights=weights)
    fold = folder / "seed-0" / "fold-00"
    epr.train_network(lab, np.arange(4), np.arange(4, 8), corpus.one_hot, fold, [0])


CASES = {
    "aae, baseline": functools.partial(train_aae, system="baseline", n_frames=None),
    "aae, baseline of frames": functools.partial(train_aae, system="baseline", n_frames=256),
    "aae, vanilla": functools.partial(train_aae, system="vanilla", n_frames=None),
    "aae, optimized": functools.partial(train_aae, system="optimized", n_frames=None),
    "aae, optimized of frames": functools.partial(train_aae, system="optimized", n_frames=256),
    "acnn": train_acnn,
    "acnn, autoencoder": train_autoencoder,
    "auxvae": train_auxvae,
    "began": train_began,
    "began, head": functools.partial(train_head, encoder="untrained"),
    "began, end to end": functools.partial(train_head, encoder="end-to-end"),
    "epr": train_epr,
    "epr, continued": functools.partial(train_epr, is_continued=True),
}
# Under mixed_float16 optimizers hold a loss scale; an AAE has four optimizers, BEGAN two.
HALVES = [
    ("aae, optimized", "mixed_float16", True),
    ("aae, optimized", "mixed_bfloat16", False),
    ("began", "mixed_float16", False),
    ("began", "mixed_bfloat16", False),
]
FILES = {  # of a finished training, besides those of TensorBoard
    "aae": {"history.csv", "history.png", "model.keras", "test.npz"},
    "acnn": {"history.csv", "history.png", "model.keras", "test.npz"},
    "acnn, autoencoder": {"autoencoder.keras", "encoder.keras", "history.csv", "history.png"},
    "auxvae": {"vae.keras", "history.csv", "history.png", "reconstruction.png"},
    "began": {"began.keras", "history.csv", "history.png", "pictures.png"},
    "began, head": {"history.csv", "history.png", "model.keras", "test.npz"},
    "began, end to end": {"history.csv", "history.png", "model.keras", "test.npz"},
    "epr": {"history.csv", "history.png", "model.keras", "profiles.npz"},
}


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    """A state after each epoch, and networks of few layers."""
    monkeypatch.setattr(loop, "SAVING_SHARE", np.inf)
    monkeypatch.setattr(aae_parts, "_FILTERS", (4, 4))
    monkeypatch.setattr(of_epr, "_VGG_E_BLOCKS", ((1, 64),) * 5)
    make = began_pretraining.new_network

    def halfway(*arguments):
        model = make(*arguments)
        model.k.assign(0.5)  # from 0 such a small training does not move it
        return model

    monkeypatch.setattr(began_pretraining, "new_network", halfway)


def check_resume(case, folder, monkeypatch, policy="float32"):
    """Compare all files of a training with those of a training that is killed after two epochs."""
    events, epochs = tensorboard.open_event_writer, {"complete": [], "killed": [], "resumed": []}

    @contextlib.contextmanager
    def open_event_writer(of_events, name):
        with events(of_events) as write:

            def counted(step, *arguments):
                write(step, *arguments)
                epochs[name].append(step)
                if name == "killed" and step == KILLED_AFTER:
                    raise KeyboardInterrupt

            yield counted

    for name, of_run in (("complete", "complete"), ("killed", "killed"), ("resumed", "killed")):
        writer = functools.partial(open_event_writer, name=name)
        monkeypatch.setattr(tensorboard, "open_event_writer", writer)
        kills = pytest.raises(KeyboardInterrupt) if name == "killed" else contextlib.nullcontext()
        with kills, mixed_precision.precision_policy(policy):
            CASES[case](folder / of_run, folder / "wavs")
        states = list((folder / of_run).rglob("state.npz"))
        assert len(states) == (name == "killed"), name
        assert bool(list((folder / of_run).rglob("history.csv"))) == (name != "killed")
    assert epochs == {"complete": [1, 2, 3], "killed": [1, 2], "resumed": [3]}
    [complete, killed] = ({p.parent for p in (folder / name).rglob("history.csv")}
                          for name in ("complete", "killed"))  # fmt: skip
    [complete], [killed] = complete, killed
    files = FILES.get(case) or FILES[case.partition(",")[0]]
    assert files <= {path.name for path in killed.iterdir()}
    for file in files:
        assert_equal(complete / file, killed / file)
    return complete


def assert_equal(one, other):
    if one.suffix == ".keras":
        networks = (keras.saving.load_model(path, compile=False) for path in (one, other))
        for a, b in zip(*(network.weights for network in networks), strict=True):
            np.testing.assert_array_equal(a, b, err_msg=a.path)
    elif one.suffix == ".npz":
        arrays, others = atomic_files.read_arrays(one), atomic_files.read_arrays(other)
        assert arrays.keys() == others.keys()
        for name in arrays:
            np.testing.assert_array_equal(arrays[name], others[name], err_msg=name)
    else:
        assert one.read_bytes() == other.read_bytes(), one.name


@pytest.mark.usefixtures("eager", "own_networks")
@pytest.mark.parametrize(  # below an optimized AAE is trained in 16 bits, which has all of it
    "case",
    slow(CASES, but=["aae, baseline", "acnn", "auxvae", "began", "began, head", "epr"]),
)
def test_killed_and_resumed_equals_uninterrupted(case, tmp_path, monkeypatch):
    """Optimizers, dropout, batch normalization and noise go on where they were."""
    folder = check_resume(case, tmp_path, monkeypatch)
    if case == "began":
        network = keras.saving.load_model(folder / "began.keras")
        assert float(network.k.numpy()) not in (0.0, 0.5)
        assert float(network.picture.scale.numpy()) > 0
        rows = list(csv.DictReader((folder / "history.csv").open()))
        assert set(rows[0]) == {"epoch", "loss", "real", "generated", "m_global", "k"}


@pytest.mark.usefixtures("eager", "own_networks")
@pytest.mark.parametrize(
    ("case", "policy"),
    [
        pytest.param(case, policy, marks=[] if quick else pytest.mark.slow)
        for case, policy, quick in HALVES
    ],
)
def test_killed_and_resumed_in_16_bits(case, policy, tmp_path, monkeypatch):
    check_resume(case, tmp_path, monkeypatch, policy)


@pytest.mark.slow  # of XLA's updates: test_aae
def test_killed_and_resumed_by_xla(tmp_path, monkeypatch):
    """Also that networks share a graph, and leave nothing in each other."""
    monkeypatch.setattr(of_aae, "_XLA_WEIGHTS", 0)
    traces, minimize = [0], loop.minimize

    def counted(*arguments):
        traces[0] += 1  # Python runs when the step is traced
        return minimize(*arguments)

    monkeypatch.setattr(loop, "minimize", counted)
    folder = check_resume("aae, vanilla", tmp_path, monkeypatch)
    outputs = atomic_files.read_arrays(folder / "test.npz")["probabilities"]
    other = CASES["aae, vanilla"](tmp_path / "other", tmp_path / "wavs", seed=1)
    assert np.abs(outputs - other["probabilities"]).max() > 1e-3
    assert traces == [4]  # a step's updates, once


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("case", CASES)
def test_killed_and_resumed_in_graphs(case, policy, tmp_path, monkeypatch):
    """The same without eager mode, and with networks whose graphs are there already."""
    check_resume(case, tmp_path, monkeypatch, policy)
