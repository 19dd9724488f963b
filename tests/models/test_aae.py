"""AAE: its networks, the losses of each phase, what they move, and what may not leak."""

import csv
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from running import called, slow

from tfser.cache import feature_cache
from tfser.cli import search, train
from tfser.cli.train import main
from tfser.config.hparams import load_hparams
from tfser.corpora import toy
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError, UsageError
from tfser.evaluation import cross_validation
from tfser.inference.finished_run import load_run
from tfser.models.aae import dataset as corpus_of
from tfser.models.aae import experiment as aae
from tfser.models.aae import figures, network, subnetworks
from tfser.storage import atomic_files, run_directory
from tfser.training import loop, nadam

K, N_FEATURES, N_Z = 3, 12, 5
TABLE_2 = subnetworks._FILTERS
NARROW = (4, 6)  # two convolutions of five: a graph of all takes half a minute to compile
EMOTIONS = ("anger", "fear", "joy")


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """Table 2 as it is would take minutes."""
    monkeypatch.setattr(subnetworks, "_FILTERS", NARROW)


def hyperparameters(*overrides):
    small = ["model.units=8", f"model.n_z={N_Z}", "train.batch_size=8", "train.max_epochs=4"]
    return load_hparams("aae", "emodb", overrides=[*small, *overrides])


def voices(speakers="abcd", n_takes=4, **more):
    return [
        Utterance(Path(f"{s}{e}{i}.wav"), f"{s}-{e}-{i}", s, e, **more)
        for s in speakers
        for e in EMOTIONS
        for i in range(n_takes)
    ]


def speech_of(utterances, *, n_frames=None, spoilt=None):
    """A corpus whose first features say the emotion, on another level for each speaker."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(90, 300, len(utterances)) if n_frames else np.ones(len(utterances), int)
    y = np.array([EMOTIONS.index(u.emotion) if u.emotion else -1 for u in utterances])
    frames = rng.normal(0, 1, (lengths.sum(), N_FEATURES)).astype("float32")
    owner = np.repeat(np.arange(len(y)), lengths)
    frames[np.arange(len(owner)), np.maximum(y[owner], 0)] += np.where(y[owner] < 0, 0, 5)
    frames += np.array([0.5 * (ord(u.speaker[-1]) - ord("a")) for u in utterances])[owner][:, None]
    for i, utterance in enumerate(utterances):
        if utterance.speaker == spoilt:
            frames[owner == i] = 1e6
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    names = [f"feature {i}" for i in range(N_FEATURES)]
    return aae.Dataset(
        "key", utterances, list(EMOTIONS), y, tf.constant(frames), offsets, n_frames, names
    )


def run_in(folder, protocol="paper", n_folds=None, seeds=(0,), strategy="none"):
    return run_directory.Run(
        folder, folder / "cache", "emodb", protocol, n_folds, seeds, strategy, 0
    )


class Bar:
    where = place = ""

    def at(self, name):
        pass

    epoch = network_done = lambda self, *_: None


def experiment(folder, hp, speech, strategy="none"):
    run = run_in(folder, strategy=strategy)
    return aae.Experiment(speech, hp, run, aae.compiled_network(speech, hp, run), Bar())


def autoencoder(*, optimized, dropout=0.0, rate=1e-3, shape=(N_FEATURES,), **options):
    keras.utils.set_random_seed(1)
    model = network.AdversarialAutoencoder(
        shape=shape, n_classes=K, n_z=N_Z, units=16, dropout=dropout, clip=10.0,
        batch_norm=optimized, discriminator_dropout=dropout if optimized else 0.0,
    )  # fmt: skip
    nadams = (nadam.Nadam(each, schedule_decay=0.004) for each in (rate, 0.1 * rate))
    model.compile(*nadams, **options)
    return model


def batch(n=8, seed=0, n_labelled=None):
    """A batch of phases 1 and 2, and of phase 3 the first `n_labelled` of its utterances."""
    rng = np.random.default_rng(seed)
    labels, prior_y = (np.eye(K, dtype="float32")[rng.integers(0, K, n)] for _ in range(2))
    x = rng.normal(size=(n, N_FEATURES)).astype("float32")
    prior_z = rng.normal(size=(n, N_Z)).astype("float32")
    return x, (x[:n_labelled], labels[:n_labelled], prior_y, prior_z)


def dataset(*data):
    return tf.data.Dataset.from_tensors(data)


# Networks.


def layers_of(model, kind):
    found = []
    for layer in model.layers:
        found += layers_of(layer, kind) if isinstance(layer, keras.Model) else [layer]
    return [layer for layer in found if isinstance(layer, kind)]


def n_weights(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def test_networks_of_utterances_are_the_paper_s():
    """Section 5.1 and 5.2: 2 x 256, y and z = 100; two layers of 256 in each discriminator."""
    inner = 256 * 256 + 256
    base = subnetworks.baseline((6373,), 3, units=256, dropout=0.5, clip=10.0)
    assert n_weights(base) == 6373 * 256 + 256 + inner + 256 * 3 + 3
    [dropout] = layers_of(base, keras.layers.Dropout)
    assert dropout.rate == 0.5 and base.layers[-1].activation is keras.activations.softmax
    encoder = subnetworks.encoder((6373,), 3, n_z=100, units=256, dropout=0.5, norm=False)
    assert n_weights(encoder) == n_weights(base) + 256 * 100 + 100
    decoder = subnetworks.decoder((6373,), 3, n_z=100, units=256, norm=False)
    assert n_weights(decoder) == 103 * 256 + 256 + inner + 256 * 6373 + 6373
    assert not layers_of(decoder, keras.layers.Dropout)
    d_z = network.discriminator(100, units=256, dropout=0.5, name="d_z")
    assert n_weights(d_z) == 100 * 256 + 256 + inner + 257
    assert [layer.rate for layer in layers_of(d_z, keras.layers.Dropout)] == [0.5, 0.5]


def test_networks_of_frames_are_table_2(monkeypatch):
    monkeypatch.setattr(subnetworks, "_FILTERS", TABLE_2)
    encoder = subnetworks.encoder((1024, 65), 3, n_z=100, units=256, dropout=0.5, norm=False)
    convolutions = layers_of(encoder, keras.layers.Conv1D)
    assert [c.filters for c in convolutions] == [128, 128, 256, 256, 256]
    assert all((c.kernel_size, c.strides) == ((4,), (1,)) for c in convolutions)
    pools = layers_of(encoder, keras.layers.MaxPooling1D)
    assert [p.pool_size for p in pools] == [(4,)] * 4
    assert convolutions[-1].output.shape == (None, 4, 256)
    assert [d.units for d in layers_of(encoder, keras.layers.Dense)] == [256, 256, 3, 100]

    decoder = subnetworks.decoder((1024, 65), 3, n_z=100, units=256, norm=False)
    transposed = layers_of(decoder, keras.layers.Conv1DTranspose)
    assert [c.filters for c in transposed] == [256, 256, 256, 128, 128, 65]
    assert all((c.kernel_size, c.strides) == ((4,), (1,)) for c in transposed)
    assert [u.size for u in layers_of(decoder, keras.layers.UpSampling1D)] == [4] * 4
    assert [d.units for d in layers_of(decoder, keras.layers.Dense)] == [256, 256, 1024]
    assert decoder.output.shape == (None, 1024, 65)


def test_optimized_normalizes_all_layers_and_drops_out_in_the_discriminators(monkeypatch):
    """Section 5.2: "including the softmax and linear layer ... at the end of the decoder"."""
    plain, optimized = (
        autoencoder(optimized=False, dropout=0.5),
        autoencoder(optimized=True, dropout=0.5),
    )
    norm = keras.layers.BatchNormalization
    for model in (plain.encoder, plain.decoder, optimized.d_y, optimized.d_z):
        assert not layers_of(model, norm)
    sizes = [layer.gamma.shape[0] for layer in layers_of(optimized.encoder, norm)]
    assert sizes == [16, 16, K + N_Z]
    assert [v.gamma.shape[0] for v in layers_of(optimized.decoder, norm)] == [16, 16, N_FEATURES]
    for y, z in (optimized.encoder.output, plain.encoder.output):
        assert y.shape == (None, K) and z.shape == (None, N_Z)
    assert isinstance(optimized.decoder.layers[-1], norm)
    monkeypatch.setattr(subnetworks, "_FILTERS", TABLE_2)
    frames = subnetworks.encoder((256, 4), K, n_z=N_Z, units=16, dropout=0.5, norm=True)
    assert len(layers_of(frames, norm)) == 5 + 3
    rates = [
        [layer.rate for layer in layers_of(d, keras.layers.Dropout)]
        for model in (plain, optimized)
        for d in (model.d_y, model.d_z)
    ]
    assert rates == [[0, 0], [0, 0], [0.5, 0.5], [0.5, 0.5]]


def test_standardize():
    layer = network.Standardize(clip=2.0)
    layer.build((None, 3))
    layer.set_statistics(np.array([1.0, 1e9, 0.5]), np.array([2.0, 1e8, 1.0]))
    x = np.array([[2.0, 1.1e9, 0.5], [-9.0, np.nan, 3.0]], "float32")
    np.testing.assert_allclose(layer(x), [[0.5, 1.0, 0.0], [-2.0, 0.0, 2.0]], atol=1e-6)
    assert not layer.trainable_variables


@pytest.mark.usefixtures("eager")
def test_a_saved_network_gives_the_same(tmp_path):
    model = autoencoder(optimized=True, dropout=0.5)
    x, rest = batch()
    model.fit(dataset(x, rest), verbose=0)
    model.standardize.set_statistics(np.full(N_FEATURES, 0.3), np.full(N_FEATURES, 2.0))
    model.save_for_prediction(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        assert b"nadam" not in file.read("model.weights.h5")
    assert len(model.optimizers) == 4
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    np.testing.assert_array_equal(loaded.decoder(rest[2:]), model.decoder(rest[2:]))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("optimized", [False, True])
def test_a_network_of_an_earlier_version_is_read(tmp_path, optimized):
    """Its file has "optimized" in place of the two changes that it stood for."""
    model = autoencoder(optimized=optimized, dropout=0.5)
    x, _ = batch()
    model.save_for_prediction(tmp_path / "model.keras")
    changes = f'"batch_norm": {"true" if optimized else "false"}, "discriminator_dropout": ' + (
        "0.5" if optimized else "0.0"
    )
    with zipfile.ZipFile(tmp_path / "model.keras") as new:
        with zipfile.ZipFile(tmp_path / "old.keras", "w") as old:
            for name in new.namelist():
                content = new.read(name)
                if name == "config.json":
                    assert changes in content.decode()
                    earlier = f'"optimized": {"true" if optimized else "false"}'
                    content = content.decode().replace(changes, earlier).encode()
                old.writestr(name, content)
    loaded = keras.saving.load_model(tmp_path / "old.keras")
    assert loaded.settings == model.settings
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


# The training step.


def softplus(x):
    return np.log1p(np.exp(x))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("optimized", [False, True])
def test_the_losses_of_the_three_phases(optimized):
    """Against the equations in NumPy, with a rate at which nothing moves between the phases."""
    model = autoencoder(optimized=optimized, rate=1e-30)
    x, (_, labels, prior_y, prior_z) = batch()
    labelled_x = np.random.default_rng(9).normal(size=(5, N_FEATURES)).astype("float32")
    labels = labels[:5]
    found = model.fit(dataset(x, (labelled_x, labels, prior_y, prior_z)), verbose=0).history

    def run(part, *inputs):  # as in training: batch statistics
        out = part(*inputs, training=True)
        return [o.numpy() for o in out] if isinstance(out, (list, tuple)) else out.numpy()

    def softmax(logits):
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    logits, z = run(model.encoder, x)
    y, labelled_y = softmax(logits), softmax(run(model.encoder, labelled_x)[0])
    decoded = run(model.decoder, [y, z])
    real_y, fake_y = run(model.d_y, prior_y), run(model.d_y, y)
    real_z, fake_z = run(model.d_z, prior_z), run(model.d_z, z)
    expected = {
        "reconstruction": np.mean((x - decoded) ** 2),
        "discriminators": sum(
            np.mean(softplus(-real)) + np.mean(softplus(fake))
            for real, fake in ((real_y, fake_y), (real_z, fake_z))
        ),
        "generator": np.mean(softplus(-fake_y)) + np.mean(softplus(-fake_z)),
        "loss": -np.mean(np.sum(labels * np.log(labelled_y), axis=1)),
    }
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == [pytest.approx(value, rel=1e-5)]


@pytest.mark.usefixtures("eager")
def test_without_regularization_there_are_phases_1_and_3():
    """The experiment at the end of section 5.2; the discriminators stay as they are."""
    model = autoencoder(optimized=True, regularization=False)
    discriminators = [v.numpy() for v in model.d_y.variables + model.d_z.variables]
    assert [optimizer.name for optimizer, _ in model.updates] == [
        model.optimizers[0].name, model.optimizers[3].name
    ]  # fmt: skip
    x, rest = batch()
    found = model.fit(dataset(x, rest), verbose=0).history
    assert set(found) == {"reconstruction", "loss"}
    whole = autoencoder(optimized=True).fit(dataset(x, rest), verbose=0).history
    assert found["reconstruction"] == whole["reconstruction"]  # the first update
    assert found["loss"] != whole["loss"]
    after = model.d_y.variables + model.d_z.variables
    for before, variable in zip(discriminators, after, strict=True):
        np.testing.assert_array_equal(variable.numpy(), before)


def test_each_phase_moves_its_own_weights_in_the_paper_s_order(monkeypatch):
    model = autoencoder(optimized=True)
    parts = {
        "body": [v for v in model.encoder.trainable_variables if v.shape[-1] not in (K, N_Z)],
        "y": [v for v in model.encoder.trainable_variables if v.shape[-1] == K],
        "z": [v for v in model.encoder.trainable_variables if v.shape[-1] == N_Z],
        "decoder": model.decoder.trainable_variables,
        "d_y": model.d_y.trainable_variables,
        "d_z": model.d_z.trainable_variables,
    }
    assert sum(map(len, parts.values())) == len(model.trainable_variables)
    moved = []

    def watched(loss, variables, optimizer):
        before = {name: [v.numpy() for v in part] for name, part in parts.items()}
        value = loop.minimize(loss, variables, optimizer)
        moved.append(
            {
                name
                for name, part in parts.items()
                if any((v.numpy() != old).any() for v, old in zip(part, before[name], strict=True))
            }
        )
        return value

    monkeypatch.setattr(network, "loop", SimpleNamespace(minimize=watched))
    model.run_eagerly = True
    x, rest = batch()
    model.train_step((tf.constant(x), tuple(map(tf.constant, rest))))
    encoder = {"body", "y", "z"}
    assert moved == [encoder | {"decoder"}, {"d_y", "d_z"}, encoder, {"body", "y"}]


def test_the_rates_and_optimizers():
    """Nadam; section 5.2: the discriminators' rate is a tenth, in the optimized AAE alone."""
    speech = speech_of(voices())
    for ratio, *overrides in (
        (1.0, "model.system=vanilla"),
        (0.1, "model.system=optimized"),
        (0.3, "model.system=vanilla", "vanilla.discriminator_ratio=0.3"),
        (1.0, "model.system=optimized", "optimized.discriminator_ratio=1"),
    ):
        hp = hyperparameters(*overrides)
        model = aae.compiled_network(speech, hp, run_in(Path("unused")))
        rates = [float(optimizer.learning_rate) for optimizer, _ in model.updates]
        assert rates == pytest.approx([1e-4, ratio * 1e-4, 1e-4, 1e-4])
        for optimizer, _ in model.updates:
            assert type(optimizer) is nadam.Nadam and optimizer.schedule_decay == 0.004
    hp = hyperparameters("model.system=baseline", "optimizer.schedule_decay=1")
    model = aae.compiled_network(speech, hp, run_in(Path("unused")))
    assert type(model.optimizer) is nadam.Nadam and model.optimizer.schedule_decay == 1
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-4)


ABLATIONS = {  # of section 5.2: [batch norm, dropout of the discriminators, updates of phase 2]
    "UTT + Base": ["baseline"],
    "UTT + Base + batch norm": ["baseline", "batch_norm=true"],
    "UTT + AAE": ["vanilla"],
    "UTT + AAE + batch norm": ["vanilla", "batch_norm=true"],
    "UTT + AAE + discriminator dropout 0.5": ["vanilla", "discriminator_dropout=0.5"],
    "UTT + AAE + discriminator ratio 0.1": ["vanilla", "discriminator_ratio=0.1"],
    "UTT + AAE + batch norm + discriminator dropout 0.5": ["optimized", "discriminator_ratio=1"],
    "UTT + AAE Optimized": ["optimized"],
    "UTT + AAE Optimized, no regularization": ["optimized", "regularization=false"],
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_each_change_of_section_5_2_by_itself(name):
    system, *changes = ABLATIONS[name]
    hp = hyperparameters(f"model.system={system}", *(f"{system}.{change}" for change in changes))
    assert aae.name_row(hp) == name
    assert aae.name_row(hp | {"model": hp["model"] | {"level": "frame"}}) == (
        name.replace("UTT", "FR").replace("AAE", "AAE vanilla" * ("Optimized" not in name) or "AAE")
    )
    speech = speech_of(voices())
    model = aae.compiled_network(speech, hp, run_in(Path("unused")))
    normalized = "batch norm" in name or "Optimized" in name
    norm = keras.layers.BatchNormalization
    if system == "baseline":
        sizes = [layer.gamma.shape[0] for layer in layers_of(model, norm)]
        assert sizes == ([8, 8, K] if normalized else [])  # of the softmax's layer, too
        for layer in layers_of(model, norm):  # as fast as in the encoder, which runs four times
            assert layer.momentum == pytest.approx(0.975**4)
        assert model.layers[-1].activation is keras.activations.softmax
        return
    for part, n_layers in ((model.encoder, 3), (model.decoder, 3), (model.d_y, 0), (model.d_z, 0)):
        momenta = [layer.momentum for layer in layers_of(part, norm)]
        assert momenta == [0.975] * n_layers * normalized
    dropped = 0.5 if "dropout" in name or "Optimized" in name else 0
    for part in (model.d_y, model.d_z):
        assert [layer.rate for layer in layers_of(part, keras.layers.Dropout)] == [dropped] * 2
    assert len(model.updates) == (2 if "no regularization" in name else 4)


@pytest.mark.usefixtures("eager")
def test_padding_is_not_reconstructed():
    """Frames after an utterance's end are NaN; the utterances weigh the same."""
    x = np.random.default_rng(0).normal(size=(4, 256, 3)).astype("float32")
    x[0, 100:] = x[2, 7:] = np.nan
    _, rest = batch(4)
    found = {}
    for masks in (True, False):
        model = autoencoder(optimized=False, rate=1e-30, shape=(256, 3), masks_padding=masks)
        history = model.fit(dataset(x, (x, *rest[1:])), verbose=0).history
        found[masks] = history["reconstruction"][0]
    own = np.nan_to_num(x)
    errors = (own - model.decoder(model.encode(own)).numpy()) ** 2
    lengths = [100, 256, 7, 256]
    means = [errors[i, :n].mean() for i, n in enumerate(lengths)]
    assert found[True] == pytest.approx(np.mean(means), rel=1e-5)
    assert found[False] == pytest.approx(errors.mean(), rel=1e-5)
    assert found[True] > 1.1 * found[False]


@pytest.mark.usefixtures("eager")
def test_phase_3_has_a_batch_of_its_own():
    """Utterances of the other phases alone change neither its loss nor what it moves."""
    x, (_, labels, prior_y, prior_z) = batch()
    labelled_x, labels = batch(seed=3)[0][:5], labels[:5]
    changed = []
    for features in (x, x + 1):
        model = autoencoder(optimized=True)
        before = [v.numpy() for v in model.encoder.trainable_variables]
        for optimizer, _ in model.updates[:3]:
            optimizer.learning_rate = 0.0
        data = dataset(features, (labelled_x, labels, prior_y, prior_z))
        losses = model.fit(data, verbose=0).history
        after = [v.numpy() for v in model.encoder.trainable_variables]
        changed.append((losses, [b - a for a, b in zip(after, before, strict=True)]))
    (losses, step), (other_losses, other_step) = changed
    assert losses["loss"] == pytest.approx(other_losses["loss"], rel=1e-6)
    assert losses["reconstruction"] != pytest.approx(other_losses["reconstruction"], rel=1e-3)
    for a, b in zip(step, other_step, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)
    assert any(np.abs(a).max() > 1e-4 for a in step)


def numbered_speech(n, n_labelled):
    """Utterances whose feature is their number; the first `n_labelled` have a label."""
    y = np.where(np.arange(n) < n_labelled, np.arange(n) % K, -1)
    frames = tf.constant(np.arange(n, dtype="float32")[:, None])
    return aae.Dataset("", [None] * n, list(EMOTIONS), y, frames, np.arange(n + 1), None, ["i"])


def test_the_batches_of_the_phases():
    """Phases 1 and 2 have each utterance once; phase 3 has passes over those with a label."""
    speech, known, labelled = numbered_speech(50, 6), np.arange(50), np.arange(6)
    options = {"batch_size": 8, "n_z": N_Z, "seed": 7, "epoch": 0}
    batches = list(
        aae.make_autoencoder_batches(speech, known, labelled, **options).as_numpy_iterator()
    )
    assert len(batches) == 6
    x = np.concatenate([x for x, _ in batches]).ravel()
    assert len(set(x)) == 48
    labelled_x, labels = (np.concatenate([rest[i] for _, rest in batches]) for i in (0, 1))
    counts = np.bincount(labelled_x.ravel().astype(int), minlength=6)
    assert list(counts) == [8] * 6  # in 6 batches of 8
    np.testing.assert_array_equal(labels.argmax(axis=1), labelled_x.ravel() % K)
    # Where all utterances have a label, the batches are the same; and those of the baseline.
    speech = numbered_speech(50, 50)
    batches = list(
        aae.make_autoencoder_batches(speech, known, known, **options).as_numpy_iterator()
    )
    alone = aae.make_labelled_batches(speech, known, 8, 6, seed=7, epoch=0).as_numpy_iterator()
    for (x, (labelled_x, labels, *_)), (own_x, own_labels) in zip(batches, alone, strict=True):
        np.testing.assert_array_equal(x, labelled_x)
        np.testing.assert_array_equal(x, own_x)
        np.testing.assert_array_equal(labels, own_labels)


def test_samples_of_the_priors():
    numbers = np.arange(6400)
    speech = numbered_speech(len(numbers), len(numbers))

    def samples(epoch):
        batches = aae.make_autoencoder_batches(
            speech, numbers, numbers, 64, N_Z, seed=7, epoch=epoch
        )
        batches = list(batches.as_numpy_iterator())
        return [np.concatenate([rest[i] for _, rest in batches]) for i in (2, 3)]

    (y, z), again, other = samples(0), samples(0), samples(1)
    assert set(map(tuple, y)) == set(map(tuple, np.eye(K)))
    np.testing.assert_allclose(y.mean(axis=0), 1 / K, atol=0.03)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(np.cov(z.T), np.eye(N_Z), atol=0.06)
    assert (y == again[0]).all() and (z == again[1]).all()
    assert (y != other[0]).any() and (z != other[1]).all()
    assert len(np.unique(z)) > 0.99 * z.size  # batches are not each other's copies


# Folds and labels.


def test_the_two_speakers_of_a_session_validate_and_test_in_turn(tmp_path):
    utterances = [
        u for session in "123" for u in voices((f"{session}F", f"{session}M"), session=session)
    ]
    splits = aae.make_splits(utterances, hyperparameters(), run_in(tmp_path), 0)
    parts = [[sorted({utterances[i].speaker for i in part}) for part in split] for split in splits]
    first = [["2F", "2M", "3F", "3M"], ["1M"], ["1F"]]
    assert len(parts) == 6 and parts[0] == first
    assert parts[1] == [first[0], ["1F"], ["1M"]]
    assert parts[5] == [["1F", "1M", "2F", "2M"], ["3F"], ["3M"]]
    with pytest.raises(UsageError, match="--folds 3: the folds of --protocol paper are"):
        aae.make_splits(utterances, hyperparameters(), run_in(tmp_path, n_folds=3), 0)
    loso = aae.make_splits(utterances, hyperparameters(), run_in(tmp_path, "loso", n_folds=3), 0)
    assert len(loso) == 3
    alone = [u for u in utterances if u.speaker != "3M"]
    with pytest.raises(DataError, match="session '3' is the only one or has one speaker"):
        aae.make_splits(alone, hyperparameters(), run_in(tmp_path), 0)


def test_without_sessions_one_speaker_is_left_out(tmp_path):
    utterances = voices()
    for protocol in ("paper", "loso"):
        splits = aae.make_splits(utterances, hyperparameters(), run_in(tmp_path, protocol), 0)
        for i, split in enumerate(splits):
            assert {utterances[j].speaker for j in split.test} == {"abcd"[i]}
            assert {utterances[j].speaker for j in split.dev} == {"abcd"[(i + 1) % 4]}
            assert len(split.train) == 24


def test_utterances_without_a_label_train_unless_their_speaker_is_held_out(tmp_path):
    utterances = voices()
    utterances += [Utterance(Path(f"{s}.wav"), f"{s}-none", s, None) for s in "abe"]
    splits = aae.make_splits(utterances, hyperparameters(), run_in(tmp_path, "loso"), 0)
    names = [[{utterances[i].name for i in part} for part in split] for split in splits]
    train, dev, test = names[0]  # tests a, dev b
    assert "e-none" in train and not {"a-none", "b-none"} & (train | dev | test)
    assert {"a-none", "b-none", "e-none"} <= names[2][0]  # tests c, dev d
    assert len(splits) == 4  # nothing of e can be tested


@pytest.mark.usefixtures("eager")
def test_a_share_of_the_labels(tmp_path, monkeypatch):
    """The same labels and as many updates for all systems; of dev as small a share."""
    speech = speech_of(voices(n_takes=10))
    made = []
    real = corpus_of.make_batches

    def recorded(speech, numbers, one_hot, batch_size, **options):
        made.append((numbers, one_hot is not None, batch_size))
        return real(speech, numbers, one_hot, batch_size, **options)

    monkeypatch.setattr(corpus_of, "make_batches", recorded)
    monkeypatch.setattr(aae, "make_batches", recorded)
    split = aae.make_splits(speech.utterances, hyperparameters(), run_in(tmp_path, "loso"), 0)[0]
    labels, dev_sets = {}, {}
    for system in ("vanilla", "baseline"):
        made.clear()
        hp = hyperparameters(
            f"model.system={system}", "train.labelled_fraction=0.2", "train.max_epochs=1"
        )
        lab = experiment(tmp_path / system, hp, speech)
        aae.train_network(lab, split, tmp_path / system / "seed-0" / "fold-00", [0, 0])
        (dev, *_), (labelled, has_labels, size), *others, (tested, *_) = made
        assert has_labels and size == 8 and len(tested) == 30
        used, passes = np.unique(labelled, return_counts=True)
        assert set(passes) == {5}  # 60 // 8 batches of 8 of 12 utterances
        assert [int(np.sum(speech.y[used] == k)) for k in range(K)] == [4, 4, 4]
        assert [int(np.sum(speech.y[dev] == k)) for k in range(K)] == [2, 2, 2]
        assert set(dev) < set(split.dev)
        assert [len(numbers) for numbers, *_ in others] == {"vanilla": [60], "baseline": []}[system]
        labels[system], dev_sets[system] = list(used), list(dev)
        model = lab.model
        steps = (model.updates[0][0] if system == "vanilla" else model.optimizer).iterations
        assert int(steps) == 7
    assert labels["vanilla"] == labels["baseline"] and dev_sets["vanilla"] == dev_sets["baseline"]


@pytest.mark.usefixtures("eager")
def test_speech_of_another_corpus_trains_phases_1_and_2(corpus, tmp_path, monkeypatch):
    # Of the same names: speakers are told apart by the corpus.
    others = [Utterance(Path(f"x{i}.flac"), f"x{i}", s, "joy") for i, s in enumerate("aabz")]
    others[-1] = replace(others[-1], group="noisy")
    others[:3] = [replace(u, group="clean") for u in others[:3]]
    monkeypatch.setattr(corpus_of, "load_corpus", lambda name, root, cache: others)
    settings = ["train.unlabelled_corpus=librispeech", "train.unlabelled_group=clean"]
    hp = hyperparameters(
        *settings, "train.max_epochs=1", "model.system=vanilla", "model.units=4",
        "train.batch_size=24",
    )  # fmt: skip
    corpus = voices("abc", 1)
    scores = aae.train(corpus, hp, run_in(tmp_path, "loso"))
    assert scores["n"] == 9 and scores["folds"] == 3
    assert scores["flags"] == {"unlabelled": 3, "unlabelled_corpus": "librispeech"}
    rows = list(csv.DictReader((tmp_path / "splits.csv").open()))
    parts = {(row["fold"], row["speaker"], row["part"]) for row in rows if row["utterance"] < "y"}
    assert {("0", "librispeech-a", "train"), ("0", "librispeech-b", "train")} <= parts
    assert {part for _, speaker, part in parts if speaker.startswith("libri")} == {"train"}
    data = atomic_files.read_json(tmp_path / "data.json")
    assert data["features"] == "key key"  # a cache entry of each corpus
    with pytest.raises(UsageError, match="the baseline has no loss for an utterance without"):
        aae.train(corpus, hyperparameters(*settings, "model.system=baseline"), run_in(tmp_path))
    monkeypatch.setattr(corpus_of, "load_corpus", lambda name, root, cache: [
        replace(corpus[0], group="clean")
    ])  # fmt: skip
    with pytest.raises(UsageError, match="librispeech: some of its recordings are tested"):
        aae.train(corpus, hp, run_in(tmp_path))


def test_the_features_of_the_other_corpus_are_extracted():
    wanted = []
    hp = hyperparameters("train.unlabelled_corpus=librispeech", "train.unlabelled_group=clean")
    speech = [Utterance(Path(g), g, "s", None, group=g) for g in ("clean", "noisy")]
    corpus_of.extract_features("librispeech", speech, hp, lambda u, feature: wanted.append(u))
    assert wanted == [speech[:1]]
    hp["train"]["unlabelled_group"] = "cleen"
    with pytest.raises(UsageError) as caught:
        corpus_of.extract_features("librispeech", speech, hp, lambda u, feature: None)
    assert str(caught.value) == (
        "train.unlabelled_group: no 'cleen' in librispeech (did you mean 'clean'?); it has clean "
        "noisy: take one of them, or --set train.unlabelled_group= for all"
    )
    rated = [
        Utterance(Path(n), n, "s", "joy", activation=a, valence=a, dominance=a)
        for n, a in (("a", 1.0), ("b", 5.0))
    ]
    wanted.clear()
    hp = load_hparams("aae", "iemocap")
    corpus_of.extract_features("iemocap", rated, hp, lambda u, feature: wanted.append(u))
    assert [[u.name for u in of_attribute] for of_attribute in wanted] == [["a", "b"]] * 3


# Training.


def test_the_epoch_with_the_highest_dev_uar_then_the_lowest_loss():
    rows = [(0.5, 1.0), (0.6, 0.9), (0.6, 0.7), (0.6, 0.7), (0.4, 0.1)]
    history = [
        {"epoch": i + 1, "dev_uar": uar, "dev_loss": loss} for i, (uar, loss) in enumerate(rows)
    ]
    assert loop.best_uar_epoch(history) == 2
    assert loop.best_uar_epoch(history[:1]) == 0


def outcome(folder):
    found = atomic_files.read_arrays(folder / "test.npz")
    return (folder / "history.csv").read_text(), {k: v.tolist() for k, v in found.items()}


@pytest.mark.parametrize(
    ("optimized", "optimizer"),
    [
        (False, nadam.Nadam),
        # Nadam moves by the sign of what batch normalization leaves of a gradient: rounding.
        (True, lambda rate, schedule_decay: keras.optimizers.SGD(rate)),
    ],
)
def test_updates_by_xla_are_those_without_it(monkeypatch, optimized, optimizer):
    monkeypatch.setattr(nadam, "Nadam", optimizer)
    x, rest = batch()
    batches = tf.data.Dataset.from_tensors((x, rest)).repeat(2)
    histories, weights = [], []
    for at_least in (0, np.inf):
        monkeypatch.setattr(network, "_XLA_WEIGHTS", at_least)
        model = autoencoder(optimized=optimized, rate=1e-2)
        by_xla = at_least == 0
        assert hasattr(model.run_phases, "get_concrete_function") == by_xla
        model.run_eagerly = not by_xla
        history = model.fit(batches, shuffle=False, verbose=0).history
        histories.append([history[name] for name in sorted(history)])
        weights.append(np.concatenate([w.ravel() for w in model.get_weights()]))
    np.testing.assert_allclose(*histories, rtol=1e-4)
    np.testing.assert_allclose(*weights, atol=1e-4)


def test_xla_for_large_dense_networks_on_one_device_alone(monkeypatch):
    assert not hasattr(autoencoder(optimized=True).run_phases, "get_concrete_function")  # small
    monkeypatch.setattr(network, "_XLA_WEIGHTS", 0)
    assert hasattr(autoencoder(optimized=True).run_phases, "get_concrete_function")
    of_frames = autoencoder(optimized=True, shape=(256, N_FEATURES))
    assert not hasattr(of_frames.run_phases, "get_concrete_function")
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        assert not hasattr(autoencoder(optimized=True).run_phases, "get_concrete_function")


@pytest.mark.usefixtures("own_networks")
@pytest.mark.slow  # by XLA, test_resume has it, too
@pytest.mark.parametrize("by_xla", [False, True])
def test_networks_share_one_trace_and_leave_nothing_in_each_other(tmp_path, monkeypatch, by_xla):
    monkeypatch.setattr(network, "_XLA_WEIGHTS", 0 if by_xla else np.inf)
    speech = speech_of(voices())
    split = aae.make_splits(speech.utterances, hyperparameters(), run_in(tmp_path, "loso"), 0)[0]
    lab = experiment(tmp_path, hyperparameters("train.learning_rate=1e-2"), speech)
    traces, minimize = [0], loop.minimize

    def counted(*arguments):
        traces[0] += 1  # Python runs when the step is traced
        return minimize(*arguments)

    monkeypatch.setattr(loop, "minimize", counted)
    found = [
        aae.train_network(lab, split, tmp_path / "seed-0" / f"fold-{i:02}", [seed, 0])
        for i, seed in enumerate((0, 1, 0))
    ]
    first, second, third = (f["probabilities"] for f in found)
    np.testing.assert_array_equal(first, third)
    assert np.abs(first - second).max() > 1e-3
    assert traces == [4]  # a step's updates, once
    kept = aae.train_network(lab, split, tmp_path / "seed-0" / "fold-00", [5, 5])
    np.testing.assert_array_equal(kept["probabilities"], first)  # finished: not trained again


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    ("system", "n_frames"), [("baseline", None), ("optimized", None), ("optimized", 256)]
)
def test_nothing_of_the_test_speaker_reaches_a_network(tmp_path, system, n_frames):
    hp = hyperparameters(f"model.system={system}", "train.max_epochs=2")
    histories = []
    for spoilt in (None, "a"):
        speech = speech_of(voices("abc", 2), n_frames=n_frames, spoilt=spoilt)
        split = aae.make_splits(speech.utterances, hp, run_in(tmp_path, "loso"), 0)[0]
        folder = tmp_path / str(spoilt)
        aae.train_network(
            experiment(folder, hp, speech), split, folder / "seed-0" / "fold-00", [0, 0]
        )
        histories.append(outcome(folder / "seed-0" / "fold-00"))
    (clean, found), (also, spoilt) = histories
    assert clean == also
    assert found["probabilities"] != spoilt["probabilities"]


# A whole run.


class FakeSmile:
    """Features that say the emotion, without openSMILE."""

    names = [f"feature {i}" for i in range(N_FEATURES)]

    def __init__(self, **settings):
        self.settings = settings


@pytest.fixture
def corpus(monkeypatch):
    utterances = voices()

    def load(chosen, feature, **_):
        speech = speech_of(chosen, n_frames=256 if feature.settings["level"] == "lld" else None)
        return feature_cache.Features(chosen, speech.frames.numpy(), speech.offsets, "key")

    monkeypatch.setattr(corpus_of.opensmile, "OpenSmile", FakeSmile)
    monkeypatch.setattr(corpus_of.feature_cache, "load_features", load)
    return utterances


ROWS = {
    "UTT + Base": ["model.system=baseline"],
    "UTT + AAE": ["model.system=vanilla"],
    "UTT + AAE Optimized": ["model.system=optimized"],
    "FR + Base": ["model.system=baseline", "model.level=frame"],
    "FR + AAE Optimized": ["model.system=optimized", "model.level=frame"],
}


@pytest.mark.parametrize(
    ("name", "seeds", "epochs"),
    [
        ("UTT + Base", (0,), 6),  # of several seeds: test_train and test_cross_validation
        pytest.param("UTT + AAE", (0,), 6, marks=pytest.mark.slow),
        ("UTT + AAE Optimized", (0,), 6),
        ("FR + Base", (0,), 6),
        # An autoencoder of frames is trained by the test of what reaches a network, above.
        pytest.param("FR + AAE Optimized", (0, 1), 6, marks=pytest.mark.slow),
    ],
)
def test_a_row_of_table_1(corpus, tmp_path, name, seeds, epochs):
    """A problem with speakers on other levels is learned, and everything is written."""
    overrides = ROWS[name]
    hp = hyperparameters(
        *overrides, "frames.n_frames=256", "model.units=16", "train.learning_rate=3e-2",
        f"train.max_epochs={epochs}",
    )  # fmt: skip
    scores = aae.train(corpus, hp, run_in(tmp_path, seeds=seeds))
    assert list(scores["systems"]) == [name] and scores["speaker_independent"] is True
    assert (scores["n"], scores["folds"], scores["seeds"]) == (48, 4, len(seeds))
    assert scores["uar"] > 0.55  # chance: 0.33
    rows = list(csv.DictReader((tmp_path / "predictions.csv").open()))
    assert len(rows) == 48 * len(seeds) and {row["system"] for row in rows} == {name}
    right = [row["emotion"] == row["predicted"] for row in rows]
    assert np.mean(right) == pytest.approx(scores["wa"])
    files = {path.name for path in tmp_path.iterdir()}
    assert {"scores.json", "splits.csv", "confusion.png"} <= files
    assert ("generation.csv" in files) is ("baseline" not in overrides[0])
    fold = tmp_path / f"seed-{seeds[-1]}" / "fold-03"
    assert {p.name for p in fold.iterdir()} == {
        "fold.json", "history.csv", "history.png", "model.keras", "test.npz"
    }  # fmt: skip
    assert aae.train(corpus, hp, run_in(tmp_path, seeds=seeds)) == scores  # nothing is left to do


@pytest.fixture
def iemocap(tmp_path, monkeypatch):
    """Write two sessions in the release's layout; each of 4 speakers has three turns.

    Returns (the folder, the utterances whose features are loaded).
    """
    turns = [  # of session and letter; each rating in each place
        f"[0.0 - 1.0]\tSes0{{0}}F_impro01_{{1}}00{i}\tneu\t[{ratings}]\n"
        for i, ratings in enumerate(["1.5, 3.0, 4.5", "3.5, 4.5, 1.5", "4.5, 1.5, 3.0"])
    ]
    for session in "12":
        folder = tmp_path / "corpus" / f"Session{session}" / "dialog" / "EmoEvaluation"
        folder.mkdir(parents=True)
        text = "".join(turn.format(session, letter) for letter in "FM" for turn in turns)
        (folder / f"Ses0{session}F_impro01.txt").write_text("% [START\n\n" + text)
    loaded = []

    def load(chosen, feature, **_):
        loaded.append(list(chosen))
        frames = np.random.default_rng(0).normal(size=(len(chosen), N_FEATURES)).astype("float32")
        return feature_cache.Features(chosen, frames, np.arange(len(chosen) + 1), "key")

    monkeypatch.setattr(corpus_of.opensmile, "OpenSmile", FakeSmile)
    monkeypatch.setattr(corpus_of.feature_cache, "load_features", load)
    return tmp_path / "corpus", loaded


def on_iemocap(root, workdir, *arguments, command=main):
    settings = ["model.system=baseline", "model.units=4", "train.max_epochs=1"]
    return called(
        command, "--model", "aae", "--corpus", "iemocap", "--data-root", root, "--workdir", workdir,
        "--partial", *arguments, *(word for setting in settings for word in ("--set", setting)),
    )  # fmt: skip


@pytest.mark.usefixtures("eager")
def test_a_row_of_table_1_is_one_command(iemocap, tmp_path):
    """The release's files, three attributes in three classes, folds by session."""
    root, loaded = iemocap
    answer = on_iemocap(root, tmp_path / "run")
    assert answer.code == 0, answer.err
    results = [line for line in answer.out.splitlines() if line.startswith("RESULT ")]
    facts = [re.sub(r"uar_(low|high)=\S+ ", "", result) for result in results]
    assert [result.partition(" n=12 ")[2] for result in facts] == [
        f"folds=4 seeds=1 target={attribute} rounding=ties-to-neutral"
        for attribute in ("activation", "valence", "dominance")
    ]
    # The brackets hold valence, activation, dominance; of valence 3.5 is a tie, too.
    assert [[u.emotion for u in utterances[:3]] for utterances in loaded] == [
        ["neutral", "high", "low"], ["low", "neutral", "high"], ["high", "low", "neutral"],
    ]  # fmt: skip
    for attribute, result in zip(("activation", "valence", "dominance"), results, strict=True):
        folder = tmp_path / "run" / attribute
        scores = atomic_files.read_json(folder / "scores.json")
        assert f" uar={scores['uar']:.4f} wa={scores['wa']:.4f} majority=0.3333 " in result
        labels = atomic_files.read_json(folder / "hparams.json")["hparams"]["labels"]
        assert labels["target"] == attribute
    # Who validates in one fold tests in the next.
    rows = list(csv.DictReader((tmp_path / "run" / "valence" / "splits.csv").open()))
    parts = {}
    for row in rows:
        parts.setdefault(int(row["fold"]), {}).setdefault(row["part"], set()).add(row["speaker"])
    tested = [parts[fold]["test"] for fold in range(4)]
    assert tested == [{"Ses01F"}, {"Ses01M"}, {"Ses02F"}, {"Ses02M"}]
    for fold, part in parts.items():
        assert part["dev"] == tested[fold ^ 1] and len(part["train"]) == 2
    # The same command trains nothing; commands that take one network name the runs.
    networks = [path.stat().st_mtime_ns for path in tmp_path.glob("run/*/seed-0/*/model.keras")]
    again = on_iemocap(root, tmp_path / "run")
    assert again.out == answer.out and len(networks) == 12
    assert networks == [
        path.stat().st_mtime_ns for path in tmp_path.glob("run/*/seed-0/*/model.keras")
    ]
    with pytest.raises(UsageError, match="holds several runs; give one of them: .*run/activation "):
        load_run(tmp_path / "run")
    assert load_run(tmp_path / "run" / "valence").classes == ["high", "low", "neutral"]


def test_the_flags_are_those_of_each_run(iemocap, tmp_path, monkeypatch):
    runs = []
    monkeypatch.setattr(train, "train_in_folder", lambda folder, options, task: runs.append(
        (folder, options.target, task.hp["labels"]["target"], options.spark, options.evaluate)
    ))  # fmt: skip
    flags = ["--spark", "local[2]", "--evaluate", "dev"]
    assert on_iemocap(iemocap[0], tmp_path / "run", *flags).code == 0
    assert runs == [
        (tmp_path / "run" / name, name, name, "local[2]", "dev")
        for name in ("activation", "valence", "dominance")
    ]


def test_what_three_runs_at_once_do_not_do(iemocap, tmp_path):
    root, _ = iemocap
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "hparams.json").write_text("{}")
    for workdir, flags, code, message, command in (
        ("run", [], 4, "run holds another run; use another --workdir, or delete it", main),
        ("new", ["--strategy", "multiworker"], 2, "multiworker trains one target; give", main),
        ("new", [], 2, "a search compares one; give --target activation, valence", search.main),
    ):
        answer = on_iemocap(root, tmp_path / workdir, *flags, command=command)
        assert (answer.code, answer.out) == (code, "") and message in answer.err


@pytest.mark.usefixtures("eager")
def test_what_a_result_says_of_its_labels(corpus, tmp_path):
    unlabelled = [Utterance(Path(f"{i}.wav"), f"n{i}", "e", None) for i in range(6)]
    hp = hyperparameters(
        "train.labelled_fraction=0.5", "train.unlabelled=true", "features.normalize=speaker",
        "train.max_epochs=1", "model.system=vanilla", "model.units=4", "train.batch_size=24",
    )  # fmt: skip
    scores = aae.train(voices("abc", 2) + unlabelled, hp, run_in(tmp_path, "loso"))
    assert scores["n"] == 18
    assert scores["flags"] == {
        "labelled_fraction": 0.5, "unlabelled": 6, "normalize": "speaker(transductive)"
    }  # fmt: skip
    assert scores["facts"] == [
        "IS13, 12 functionals", "schedule_decay 0.004", "labelled_fraction 0.5", "unlabelled 6",
        "z-score per speaker (transductive)",
    ]  # fmt: skip


@pytest.mark.usefixtures("eager")
# Functionals of sound train an AAE in test_export, too.
@pytest.mark.parametrize("level", slow(["utterance", "frame"], but=["frame"]))
def test_the_command_on_sound(tmp_path, capsys, level, monkeypatch):
    """openSMILE's features of the toy corpus, from the files to the RESULT line."""
    few = [take for take in toy.list_takes() if take[2] <= 2]
    monkeypatch.setattr(toy, "list_takes", lambda: few)
    arguments = [
        "--model", "aae", "--corpus", "toy", "--cache", str(tmp_path / "cache"),
        "--workdir", str(tmp_path / "run"), "--target", "emotion",
    ]  # fmt: skip
    settings = [
        f"model.level={level}", "model.system=baseline", "train.max_epochs=1", "model.units=8",
        'labels.keep=["anger", "sadness"]',
    ]  # fmt: skip
    assert main([*arguments, *(part for s in settings for part in ("--set", s))]) == 0
    *_, where, result = capsys.readouterr().out.splitlines()
    assert result.startswith(
        "RESULT model=aae corpus=toy protocol=paper speaker_independent=yes uar="
    )
    assert "n=16 folds=4 seeds=1 uar_low=" in result
    [name] = atomic_files.read_json(tmp_path / "run" / "scores.json")["systems"]
    assert name == {"utterance": "UTT + Base", "frame": "FR + Base"}[level]
    model = keras.saving.load_model(tmp_path / "run" / "seed-0" / "fold-00" / "model.keras")
    assert model.input_shape == {"utterance": (None, 6373), "frame": (None, 256, 65)}[level]


def test_frames_that_cannot_be_pooled(tmp_path):
    with pytest.raises(UsageError, match="frames.n_frames=300 is no multiple of 256, .* take 512"):
        aae.train(
            voices(), hyperparameters("frames.n_frames=300", "model.level=frame"), run_in(tmp_path)
        )


def test_a_batch_of_one(tmp_path):
    few = [u for u in voices("abc", 1) if u.speaker != "b" or u.emotion == "joy"]
    with pytest.raises(DataError, match="fold-02 would train on 1 utterance, and batch"):
        aae.make_splits(few, hyperparameters(), run_in(tmp_path, "loso"), 0)
    with pytest.raises(UsageError, match="train.batch_size=1 is out of range 2 to"):
        load_hparams("aae", "emodb", overrides=["train.batch_size=1"])


# Generation.


def test_what_a_class_shifts(tmp_path):
    class Model:
        settings = {"n_classes": 3, "n_z": 2}

        class decoder:
            distribute_strategy = None

            @staticmethod
            def predict(latent, verbose):
                y, z = latent
                assert (z == 0).all() and z.shape == (3, 2)
                return y @ np.array([[3.0, 0, 1], [0, -6, 1], [0, 0, 1]])

    moved = figures.class_shifts(Model())
    np.testing.assert_allclose(moved, [[2, 2, 0], [-1, -4, 0], [-1, 2, 0]])
    figures.write_generation(run_in(tmp_path), "UTT + AAE", list(EMOTIONS), ["a", "b", "c"], moved)
    rows = list(csv.DictReader((tmp_path / "generation.csv").open()))
    assert [row["feature"] for row in rows[3:6]] == ["b", "a", "c"]
    assert rows[3] == {"class": "fear", "rank": "1", "feature": "b", "shift_sd": "-4.0"}
    assert (tmp_path / "generation.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("eager")
def test_frames_are_averaged_over_time():
    model = autoencoder(optimized=False, shape=(256, 4))
    moved = figures.class_shifts(model)
    decoded = model.decoder.predict([np.eye(K), np.zeros((K, N_Z))], verbose=0)
    assert decoded.shape == (K, 256, 4)
    np.testing.assert_allclose(moved, decoded.mean(axis=1) - decoded.mean(axis=(0, 1)), atol=1e-6)


def test_progress_is_that_of_report():
    """The stub used here has the bar's methods."""
    assert all(hasattr(cross_validation.Progress, name) for name in ("at", "epoch", "network_done"))
