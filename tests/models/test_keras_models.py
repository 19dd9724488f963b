"""The papers' networks as Keras models: constructors, fit, evaluate, predict, files, summary."""

import doctest
import inspect
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfser
from tfser.config.hparams import load_hparams
from tfser.training import loop, mixed_precision
from tfser.training.nadam import Nadam

K = 3
RNG = np.random.default_rng(0)


def uniform(*shape):
    return RNG.uniform(0, 1, shape).astype("float32")


def one_hot(n, n_classes=K):
    return np.eye(n_classes, dtype="float32")[np.arange(n) % n_classes]


def make_epr():
    model = tfser.models.EPR(K, n_bands=32, width_multiplier=0.004)
    return model, (uniform(6, 32, 32), one_hot(6))


def make_acnn():
    model = tfser.models.ACNN(
        K, n_frames=40, n_bands=6, n_representation=4, views=["emotion", "arousal"], n_filters=8,
        kernel_frames=4, stride_frames=2, pool_steps=3,
    )  # fmt: skip
    x = {"log_mel": uniform(6, 40, 6), "representation": uniform(6, 4)}
    return model, (x, {"emotion": one_hot(6), "arousal": one_hot(6)})


def make_sequence_autoencoder():
    model = tfser.models.SequenceAutoencoder(7, 5, n_layers=1, units=4)
    return model, (uniform(6, 7, 5),)


def make_aae():
    model = tfser.models.AdversarialAutoencoder(K, shape=(12,), n_z=4, units=8)
    return model, (uniform(6, 12), one_hot(6))


def make_auxvae():
    return tfser.models.AuxVAE(5, n_latent=8, chunk_frames=4), (uniform(6, 12, 5),)


def make_began():
    model = tfser.models.BEGAN(17, 25, input_mode="crop512", n_filters=1, hidden=4)
    return model, (uniform(6, 17, 25),)


def make_head():
    model = tfser.models.EmotionHead((4, 2, 4), K, n_filters=2, n_units=8)
    return model, (uniform(6, 4, 2, 4), one_hot(6))


MODELS = {
    "EPR": make_epr,
    "ACNN": make_acnn,
    "SequenceAutoencoder": make_sequence_autoencoder,
    "AdversarialAutoencoder": make_aae,
    "AuxVAE": make_auxvae,
    "BEGAN": make_began,
    "EmotionHead": make_head,
}
every_model = pytest.mark.parametrize("name", MODELS)


def make(name, policy="float32"):
    keras.utils.set_random_seed(1)
    with mixed_precision.precision_policy(policy):
        model, data = MODELS[name]()
        model.compile()
    return model, data


# Numbers of the papers.


def defaults(function) -> dict:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty and p.name != "name"}


def hparams(model):
    """The values of a paper's file, without those of a corpus."""
    return load_hparams(model, "table.csv")


def test_constructors_have_the_numbers_of_hparams():
    hp = hparams("epr")
    sizes = {"n_frames": hp["segments"]["n_frames"], "n_bands": hp["features"]["n_bands"]}
    assert defaults(tfser.models.EPR) == hp["model"] | sizes

    hp = hparams("acnn")
    log_mel = tfser.features.LogMel(
        **{k: v for k, v in hp["features"].items() if k != "normalize"}, min_frames=1
    )
    samples = round(hp["input"]["seconds"] * log_mel.sample_rate_hz)
    n_frames = 1 + (samples - log_mel.window) // log_mel.hop
    rest = {"n_frames": n_frames, "n_bands": 26, "n_representation": 0,
            "views": ("emotion", "arousal", "valence")}  # fmt: skip
    assert defaults(tfser.models.ACNN) == hp["model"] | rest
    sizes = {"n_layers", "units", "bidirectional_encoder", "bidirectional_decoder", "dropout"}
    assert defaults(tfser.models.SequenceAutoencoder) == {
        "n_frames": tfser.features.Spectrogram().n_frames, "n_bands": hp["autoencoder"]["n_bands"],
    } | {name: hp["autoencoder"][name] for name in sizes}  # fmt: skip

    hp = hparams("aae")
    assert hp["model"]["system"] == "optimized"
    assert defaults(tfser.models.AdversarialAutoencoder) == {
        "shape": (6373,), "clip": hp["features"]["clip"],
        **{name: hp["model"][name] for name in ("n_z", "units", "dropout")},
        **{name: hp["optimized"][name] for name in ("batch_norm", "discriminator_dropout")},
    }  # fmt: skip

    hp = hparams("auxvae")
    weights = {name: hp["vae"][name] for name in ("alpha", "beta", "gamma")}
    assert defaults(tfser.models.AuxVAE) == {
        "n_bands": hp["features"]["n_bands"], "spectrogram": None, **hp["model"], **weights
    }  # fmt: skip

    hp, slices = hparams("began"), tfser.features.Slices()
    assert defaults(tfser.models.BEGAN) == {
        "n_frames": slices.n_frames, "n_bins": slices.n_features,
        "input_mode": hp["features"]["input_mode"], **hp["model"],
        **{name: hp["began"][name] for name in ("gamma", "lambda_k")},
    }  # fmt: skip
    head = {k: v for k, v in hp["head"].items() if k != "encoder"}
    assert defaults(tfser.models.EmotionHead) == head | {"activation": "softmax"}


def test_features_have_the_numbers_of_hparams():
    acnn = hparams("acnn")
    expected = {
        "LogMel": hparams("epr")["features"] | {"min_frames": 1},
        "Spectrogram": acnn["input"] | acnn["autoencoder"] | acnn["features"],
        "MelPieces": hparams("auxvae")["input"] | hparams("auxvae")["features"],
        "Slices": hparams("began")["features"],
        "OpenSmile": hparams("aae")["features"] | {"level": "functionals"},
    }
    for name, values in expected.items():
        found = defaults(getattr(tfser.features, name))
        if name == "Spectrogram":
            values |= {"n_bands": acnn["autoencoder"]["n_bands"]}
            values |= {k: acnn["autoencoder"][k] for k in ("window_seconds", "hop_seconds")}
        assert found == {k: values[k] for k in found}, name


def rates(model) -> list[float]:
    return [
        float(np.float32(optimizer.learning_rate)) for optimizer, _ in loop.list_optimizers(model)
    ]


def test_compile_gives_the_optimizers_of_hparams():
    epr, _ = make("EPR")
    schedule = epr.optimizer._learning_rate.get_config()
    del schedule["name"]
    assert schedule == hparams("epr")["schedule"]
    acnn, _ = make("ACNN")
    hp = hparams("acnn")
    assert defaults(tfser.models.ACNN.compile)["alpha"] == hp["train"]["alpha"]
    assert defaults(tfser.models.ACNN.compile)["beta"] == hp["train"]["beta"]
    assert rates(acnn) == pytest.approx([hp["train"]["learning_rate"]])
    autoencoder, _ = make("SequenceAutoencoder")
    assert rates(autoencoder) == pytest.approx([hp["autoencoder"]["learning_rate"]])
    assert autoencoder.optimizer.clipvalue == hp["autoencoder"]["clip_value"]
    aae, _ = make("AdversarialAutoencoder")
    hp = hparams("aae")
    rate, slow = hp["train"]["learning_rate"], hp["optimized"]["discriminator_ratio"]
    assert rates(aae) == pytest.approx([rate, slow * rate, rate, rate])
    for optimizer in aae.optimizers:
        assert type(optimizer) is Nadam
        assert optimizer.schedule_decay == hp["optimizer"]["schedule_decay"]
    auxvae, _ = make("AuxVAE")
    hp = hparams("auxvae")
    assert rates(auxvae) == pytest.approx([hp["vae"]["learning_rate"]])
    assert auxvae.clip_norm == hp["vae"]["clip_norm"]
    began, _ = make("BEGAN")
    assert rates(began) == pytest.approx([hparams("began")["began"]["learning_rate"]] * 2)
    head, _ = make("EmotionHead")
    assert rates(head) == pytest.approx([hparams("began")["train"]["learning_rate"]])
    for model in (epr, acnn, autoencoder, auxvae, began, head):
        for optimizer, _ in loop.list_optimizers(model):
            assert type(optimizer) is keras.optimizers.Adam


@every_model
def test_compile_takes_other_optimizers(name):
    model, _ = make(name)
    model.compile(optimizer=keras.optimizers.SGD(0.25))
    kinds = {type(optimizer) for optimizer, _ in loop.list_optimizers(model)}
    assert kinds <= {keras.optimizers.SGD, Nadam} and keras.optimizers.SGD in kinds
    assert rates(model)[0] == 0.25
    model.compile(optimizer="adagrad")
    assert type(loop.list_optimizers(model)[0][0]) is keras.optimizers.Adagrad


# In a notebook.


@every_model
@pytest.mark.usefixtures("eager")
def test_the_example_of_the_docstring(name):
    check_examples(getattr(tfser.models, name))


def check_examples(documented, **names):
    """Run the examples of a docstring; methods have none."""
    finder = doctest.DocTestFinder(recurse=False)
    [test] = finder.find(documented, documented.__name__, globs=names)
    assert test.examples, documented
    runner = doctest.DocTestRunner()
    report = []
    runner.run(test, out=report.append)
    assert not runner.failures, "".join(report)


@every_model
@pytest.mark.usefixtures("eager")
def test_arrays_and_datasets_train_alike(name):
    model, data = make(name)
    arrays = model.fit(
        *data, batch_size=3, shuffle=False, validation_data=data_of(data), verbose=0
    ).history
    assert {f"val_{key}" for key in arrays if not key.startswith("val_")} == {
        key for key in arrays if key.startswith("val_")
    }
    assert all(np.isfinite(values).all() for values in arrays.values())
    other, _ = make(name)
    batches = tf.data.Dataset.from_tensor_slices(data_of(data)).batch(3)
    assert other.fit(batches, validation_data=batches, verbose=0).history == arrays
    scores = model.evaluate(batches, return_dict=True, verbose=0)
    assert scores == pytest.approx({name: arrays[f"val_{name}"][0] for name in scores}, rel=1e-6)
    tf.nest.map_structure(
        np.testing.assert_array_equal,
        model.predict(data[0], batch_size=3, verbose=0),
        model.predict(batches, verbose=0),
    )


def data_of(data):
    """What Keras takes for arrays: x alone, or (x, y)."""
    return data if len(data) > 1 else data[0]


@every_model
@pytest.mark.usefixtures("eager")
def test_an_evaluation_moves_nothing(name):
    model, data = make(name)
    before = [v.numpy() for v in model.variables if "metric" not in v.path]
    model.evaluate(*data, batch_size=6, verbose=0)
    model.predict(data[0], batch_size=6, verbose=0)
    after = [v.numpy() for v in model.variables if "metric" not in v.path]
    assert len(before) == len(after)
    assert all(np.array_equal(one, two) for one, two in zip(before, after, strict=True))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    ("name", "policy"),
    # Only a loss scale differs from bfloat16: the AAE has one for each of its optimizers.
    [*((name, "mixed_bfloat16") for name in MODELS), ("AdversarialAutoencoder", "mixed_float16"),
     pytest.param("EPR", "mixed_float16", marks=pytest.mark.slow),
     pytest.param("AuxVAE", "float32", marks=pytest.mark.slow)],
)  # fmt: skip
def test_a_saved_training_goes_on_exactly(name, policy, tmp_path):
    """Weights, optimizers, BEGAN's k, and the seeds of dropout, priors and z."""
    model, data = make(name, policy)
    with mixed_precision.precision_policy(policy):
        model.fit(*data, batch_size=6, verbose=0, shuffle=False)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    found, expected = (
        each.fit(*data, batch_size=6, verbose=0, shuffle=False).history for each in (loaded, model)
    )
    assert found == expected
    for one, two in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    states = [
        [v.numpy() for optimizer, _ in loop.list_optimizers(each) for v in optimizer.variables]
        for each in (loaded, model)
    ]
    for one, two in zip(*states, strict=True):
        np.testing.assert_array_equal(one, two)


@every_model
def test_a_summary_has_the_layers_and_their_weights(name):
    model, _ = make(name)
    lines = []
    model.summary(print_fn=lambda line, **_: lines.append(line))
    text = "\n".join(lines)
    for layer in model.layers:
        assert layer.name[:10] in text
    total = int(re.search(r"Total params: ([\d,]+)", text)[1].replace(",", ""))
    optimizers = [] if model.optimizer is None else model.optimizer.variables
    built = sum(int(np.prod(v.shape)) for v in optimizers)
    assert total in (model.count_params(), model.count_params() + built)


@pytest.mark.usefixtures("eager")
def test_the_schedule_of_epr_counts_the_steps_of_an_epoch():
    model, (x, y) = make("EPR")
    model.fit(x, y, batch_size=2, epochs=2, verbose=0)
    assert int(model.optimizer._learning_rate.steps) == 3
    assert float(model.optimizer.learning_rate) == pytest.approx(0.8 * 3e-4)
    shape = tf.TensorSpec((2, 32, 32)), tf.TensorSpec((2, K))
    unknown = tf.data.Dataset.from_generator(
        lambda: iter([(x[:2], y[:2])] * 2), output_signature=shape
    )
    model, _ = make("EPR")
    model.fit(unknown, epochs=2, verbose=0)
    assert int(model.optimizer._learning_rate.steps) == 2


@pytest.mark.usefixtures("eager")
def test_utterances_without_a_label_train_two_phases_of_the_aae():
    """(features, (labelled features, labels)): a batch of its own for phase 3."""
    model, (x, y) = make("AdversarialAutoencoder")
    batches = tf.data.Dataset.from_tensors((x, (x[:3], y[:3])))
    unlabelled = model.fit(batches, verbose=0).history
    model, _ = make("AdversarialAutoencoder")
    labelled = model.fit(x, y, batch_size=6, shuffle=False, verbose=0).history
    assert unlabelled["reconstruction"] == labelled["reconstruction"]
    assert unlabelled["loss"] != labelled["loss"]


@pytest.mark.usefixtures("eager")
def test_the_priors_and_z_that_a_step_draws():
    model, (x, _) = make("AdversarialAutoencoder")
    prior_y, prior_z = model.draw_priors(np.zeros((3000, 12), "float32"))
    np.testing.assert_array_equal(np.sum(prior_y, axis=1), 1)
    np.testing.assert_allclose(np.mean(prior_y, axis=0), 1 / K, atol=0.03)
    assert prior_z.shape == (3000, 4)
    np.testing.assert_allclose(np.mean(prior_z, axis=0), 0, atol=0.1)
    np.testing.assert_allclose(np.std(prior_z, axis=0), 1, atol=0.1)
    model, _ = make("BEGAN")
    z_d, z_g = model.draw_z(np.zeros((3000, 17, 25), "float32"))
    for z in (z_d, z_g):
        assert z.shape == (3000, 4) and -1 <= np.min(z) < -0.99 and 0.99 < np.max(z) <= 1
        np.testing.assert_allclose(np.mean(z, axis=0), 0, atol=0.06)
    assert not np.allclose(z_d, z_g)


@pytest.mark.usefixtures("eager")
def test_metrics_of_the_aae():
    model, (x, y) = make("AdversarialAutoencoder")
    model.compile(metrics=["accuracy"])
    history = model.fit(x, y, batch_size=3, validation_data=(x, y), verbose=0).history
    right = model.predict(x, verbose=0).argmax(axis=1) == y.argmax(axis=1)
    assert history["val_accuracy"] == [pytest.approx(right.mean())]
    assert 0 <= history["accuracy"][0] <= 1


def test_adapt_is_the_z_score_of_the_rows_that_are_not_nan():
    model, (x, _) = make("ACNN")
    frames = x["log_mel"].copy()
    frames[0, 30:] = np.nan
    model.adapt(frames, x["representation"])
    rows = frames.reshape(-1, 6)[~np.isnan(frames).any(axis=-1).ravel()]
    layer = model.get_layer("standardize")
    np.testing.assert_allclose(layer.mean, rows.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(layer.sd, rows.std(axis=0), rtol=1e-5)
    layer = model.get_layer("standardize_representation")
    np.testing.assert_allclose(layer.mean, x["representation"].mean(axis=0), rtol=1e-5)
    model, (x, _) = make("EPR")
    model.adapt(x)
    layer = model.get_layer("standardize")
    np.testing.assert_allclose(layer.moving_variance, x.var(axis=(0, 1)), rtol=1e-5)
