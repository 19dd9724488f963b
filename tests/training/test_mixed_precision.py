"""Mixed precision: what computes in 16 bits and what does not, and steps that equal float32's."""

import hashlib
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from running import called

from tfser.cli import options, train
from tfser.errors import UsageError
from tfser.inference import served_model
from tfser.models.aae import network as of_aae
from tfser.models.aae import subnetworks as aae_parts
from tfser.models.acnn import autoencoder as of_autoencoder
from tfser.models.acnn import network as of_acnn
from tfser.models.auxvae import network as of_auxvae
from tfser.models.began import heads
from tfser.models.began import network as of_began
from tfser.models.epr import network as of_epr
from tfser.storage import run_directory
from tfser.training import loop, mixed_precision, nadam
from tfser.training.pretraining import cached_network

HALVES = {"mixed_bfloat16": "bfloat16", "mixed_float16": "float16"}
K, N_Z = 3, 4


def aae(optimized):
    return of_aae.AdversarialAutoencoder(
        shape=(12,), n_classes=K, n_z=N_Z, units=16, dropout=0.0, clip=10.0, batch_norm=optimized,
        discriminator_dropout=0.0,
    )  # fmt: skip


def auxvae():
    return of_auxvae.AuxVAE(
        spectrogram={}, n_bands=6, n_latent=8, chunk_frames=5, dropout=0.0, legacy_dropout=False,
        medium=True, predictive=False, alpha=0.01, beta=0.01, gamma=0.01,
    )  # fmt: skip


def began():
    return of_began.BEGAN(
        n_frames=17, n_bins=25, input_mode="crop512", n_filters=2, hidden=5, gamma=0.7, lambda_k=0.5
    )


def recurrent():
    return of_autoencoder.SequenceAutoencoder(
        7, 6, n_layers=2, units=4, bidirectional_encoder=False, bidirectional_decoder=True,
        dropout=0.0,
    )  # fmt: skip


def acnn():
    return of_acnn.ACNN(
        K, n_frames=40, n_bands=6, n_representation=8, views=["emotion", "arousal"], n_filters=8,
        kernel_frames=4, stride_frames=2, pool_steps=3, attends_padding=False, dropout=0.0,
        clip=10.0, standardizes_representation=True,
    )  # fmt: skip


NETWORKS = {
    "aae": lambda: aae(True),
    "aae, vanilla": lambda: aae(False),
    "aae, baseline": lambda: aae_parts.baseline((12,), K, units=16, dropout=0.0, clip=10.0),
    "aae, frames": lambda: aae_parts.baseline((256, 5), K, units=16, dropout=0.0, clip=10.0),
    "acnn": acnn,
    "acnn, autoencoder": recurrent,
    "auxvae": auxvae,
    "began": began,
    "began, head": lambda: heads.EmotionHead(
        (8, 8, 6), K, n_layers=1, n_filters=4, n_units=8, dropout=0.0, activation="softmax"
    ),
    "epr": lambda: of_epr.EPR(
        n_frames=32, n_bands=32, n_classes=K, width_multiplier=0.05, batch_norm=False,
        initializer="he_normal", dropout=0.0,
    ),
}  # fmt: skip
# Those that hold something per utterance, or statistics: in float32 whatever the policy.
SINGLE = (of_acnn.AttentionPooling, of_aae.Standardize, of_began.Picture)


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setattr(aae_parts, "_FILTERS", (8, 16))


def made(name, policy):
    with mixed_precision.precision_policy(policy):
        keras.utils.set_random_seed(1)
        return NETWORKS[name]()


def inputs(network, seed=0):
    """A batch of four."""
    rng = np.random.default_rng(seed)
    shapes = {"AuxVAE": (10, 6), "BEGAN": (17, 25), "AdversarialAutoencoder": (12,)}
    if shape := shapes.get(type(network).__name__):
        return rng.uniform(0, 1, (4, *shape)).astype("float32")
    return tf.nest.map_structure(
        lambda x: rng.normal(size=(4, *x.shape[1:])).astype("float32"), network.input
    )


def functional(network) -> list:
    """A network, or those that one of a class of its own consists of."""
    if isinstance(network, (of_aae.AdversarialAutoencoder, of_auxvae.AuxVAE, of_began.BEGAN)):
        return [part for part in network.layers if isinstance(part, keras.Model)]
    return [network]


@pytest.mark.parametrize("policy", HALVES)
@pytest.mark.parametrize("name", NETWORKS)
def test_products_are_in_16_bits_weights_and_outputs_are_not(name, policy):
    network = made(name, policy)
    weighted = [
        layer
        for layer in network._flatten_layers()
        if layer.weights and not isinstance(layer, keras.Model)
    ]
    of_products = [layer for layer in weighted if not isinstance(layer, SINGLE)]
    halves = [layer for layer in of_products if layer.compute_dtype == HALVES[policy]]
    assert len(halves) >= len(of_products) / 3  # of ACNN's three two are outputs
    assert {layer.compute_dtype for layer in weighted if layer not in halves} <= {"float32"}
    assert {variable.dtype for variable in network.weights} == {"float32"}
    for part in functional(network):
        said = tf.nest.flatten(part(tf.nest.map_structure(ones, part.input)))
        assert {x.dtype for x in said} == {tf.float32}, part.name
    said = tf.nest.flatten(network(inputs(network)))
    assert {x.dtype for x in said} == {tf.float32}
    assert all(np.isfinite(x).all() for x in said)
    assert mixed_precision.current_policy() == "float32"


def ones(x):
    return np.ones([2, *(n or 9 for n in x.shape[1:])], "float32")


@pytest.mark.parametrize("policy", HALVES)
@pytest.mark.parametrize("name", NETWORKS)
def test_in_float32_it_says_what_its_weights_say(name, policy, tmp_path):
    network, expected = made(name, policy), made(name, "float32")
    x = inputs(network)
    if name == "auxvae":  # the noise of samples

        def ask(network):
            return network.encode(x, sampled=False).samples

    else:

        def ask(network):
            return network(x, training=False)

    with mixed_precision.precision_policy(policy):  # as at the end of a training
        precise = mixed_precision.copy_in_float32(network)
    single = of_aae.Standardize, keras.Model  # a model's own dtype is of no account
    dtypes = {y.compute_dtype for y in precise._flatten_layers() if not isinstance(y, single)}
    assert dtypes == {"float32"}
    network.save(tmp_path / "model.keras")
    loaded = served_model.load_network(tmp_path / "model.keras")
    own, *others = (tf.nest.flatten(ask(n)) for n in (expected, precise, loaded, network))
    for said in others[:2]:
        for one, two in zip(own, said, strict=True):
            np.testing.assert_allclose(one, two, atol=1e-6)
    assert max(np.max(np.abs(a - b)) for a, b in zip(own, others[2], strict=True)) > 1e-5
    assert mixed_precision.copy_in_float32(expected) is expected


def step_of(name, policy):
    """One step from the same weights: (network before it, its metrics)."""
    network = made(name, policy)
    rng = np.random.default_rng(0)
    x, labels = inputs(network), np.eye(K, dtype="float32")[[0, 1, 2, 0]]
    with mixed_precision.precision_policy(policy):
        if isinstance(network, of_aae.AdversarialAutoencoder):
            network.compile(
                nadam.Nadam(1e-3, schedule_decay=0.004), nadam.Nadam(1e-4, schedule_decay=0.004)
            )
            prior_z = rng.normal(size=(4, N_Z)).astype("float32")
            data = x, (x, labels, labels[::-1].copy(), prior_z)
        elif name == "auxvae":
            network.compile(keras.optimizers.Adam(1e-3))
            data = tf.constant(x)
        elif name == "began":
            network.compile(keras.optimizers.Adam(1e-3))
            data = x, tuple(rng.uniform(-1, 1, (2, 4, 5)).astype("float32"))
        else:
            losses, data = "categorical_crossentropy", (x, labels)
            if name == "acnn":
                data = x, {"emotion": labels, "arousal": labels}
                losses = dict.fromkeys(data[1], of_acnn.cross_entropy)
            if name == "acnn, autoencoder":
                losses, data = of_autoencoder.rmse, (x, x[:, ::-1].copy())
            loop.compile_model(network, keras.optimizers.Adam(1e-3), losses, metrics=())
    batches = tf.data.Dataset.from_tensors(tf.nest.map_structure(tf.constant, data))
    return network, network.fit(batches, verbose=0).history


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_s_losses_are_those_of_float32(name):
    _, expected = step_of(name, "float32")
    for policy, atol in (("mixed_bfloat16", 0.03), ("mixed_float16", 0.005)):
        network, found = step_of(name, policy)
        assert found.keys() == expected.keys()
        for key in found:
            np.testing.assert_allclose(found[key], expected[key], rtol=atol, atol=atol)
        for optimizer, _ in loop.list_optimizers(network):
            scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
            assert scaled == (policy == "mixed_float16")
            assert not scaled or not isinstance(optimizer.inner_optimizer, type(optimizer))


def weights_of(parts):
    return {part.name: [w.numpy() for w in part.trainable_weights] for part in parts}


def flat(arrays):
    return np.concatenate([array.ravel() for array in arrays])


def test_each_phase_of_float16_moves_its_own_weights(monkeypatch):
    """By what float32 moves them, and not at all where a gradient is no number."""
    minimize, deltas = loop.minimize, {}
    for policy in ("float32", "mixed_float16"):
        keras.utils.set_random_seed(1)
        deltas[policy] = []

        with mixed_precision.precision_policy(policy):
            model = aae(False)
            model.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1))
        parts = [model.encoder, model.decoder, model.d_y, model.d_z]

        def noted(loss, variables, optimizer, policy=policy, parts=parts):
            before = weights_of(parts)
            value = minimize(loss, variables, optimizer)
            after = weights_of(parts)
            deltas[policy].append({n: flat(after[n]) - flat(before[n]) for n in before})
            return value

        monkeypatch.setattr(loop, "minimize", noted)
        labels = np.eye(K, dtype="float32")[[0, 1, 2, 0]]
        z = np.random.default_rng(3).normal(size=(4, N_Z)).astype("float32")
        x = inputs(model)
        data = x, (x, labels, labels[::-1].copy(), z)
        for optimizer in model.optimizers if policy == "mixed_float16" else []:
            optimizer.dynamic_scale.assign(1024.0)
        model.train_step(data)
    moved = [{n for n, d in phase.items() if d.any()} for phase in deltas["mixed_float16"]]
    assert moved == [{"encoder", "decoder"}, {"d_y", "d_z"}, {"encoder"}, {"encoder"}]
    for one, two in zip(deltas["float32"], deltas["mixed_float16"], strict=True):
        for name in one:
            np.testing.assert_allclose(two[name], one[name], atol=0.05 * np.abs(one[name]).max())

    for optimizer in model.optimizers:
        optimizer.dynamic_scale.assign(2.0**60)  # no float16 holds such gradients
    model.train_step(data)
    assert all(not d.any() for phase in deltas["mixed_float16"][4:] for d in phase.values())
    assert [float(o.dynamic_scale.numpy()) for o in model.optimizers] == [2.0**59] * 4


def test_gradients_of_float16_are_clipped_to_their_norm():
    with mixed_precision.precision_policy("mixed_float16"):
        variable = keras.Variable(np.zeros(4, "float32"))
        optimizer = mixed_precision.scale_optimizer(keras.optimizers.SGD(1.0))
        optimizer.build([variable])
    loss = lambda: tf.reduce_sum(variable.value * [3.0, 0.0, 4.0, 0.0])  # noqa: E731
    loop.minimize(loss, [variable], optimizer, clip_norm=0.5)
    np.testing.assert_allclose(variable.numpy(), [-0.3, 0, -0.4, 0], rtol=1e-5)


def test_the_recurrence_of_16_bits_has_the_gradients_of_32():
    rng = np.random.default_rng(0)
    x, first = rng.normal(size=(3, 50, 6)).astype("float32"), np.zeros((3, 8), "float32")
    found = {}
    for policy in ("float32", *HALVES):
        with mixed_precision.precision_policy(policy):
            keras.utils.set_random_seed(0)
            layer = of_autoencoder.GRU(8)
            layer.build(x.shape, first.shape)
        with tf.GradientTape() as tape:
            states, last = layer(x, first)
            loss = tf.reduce_mean(tf.square(tf.cast(states, "float32")))
        gradients = tape.gradient(loss, [w.value for w in layer.weights])
        assert states.dtype == last.dtype == layer.compute_dtype
        found[policy] = [tf.cast(x, "float32").numpy() for x in (states, *gradients)]
    for policy, share in (("mixed_bfloat16", 0.03), ("mixed_float16", 0.01)):
        for one, two in zip(found["float32"], found[policy], strict=True):
            np.testing.assert_allclose(two, one, atol=share * np.abs(one).max())


def test_a_loss_scale_is_not_made_anew(tmp_path):
    """It is a state of the optimizer, which a killed training goes on with."""
    with mixed_precision.precision_policy("mixed_float16"):
        model = began()
        model.compile()
    n = len(loop._state(model))
    model.optimizers[0].dynamic_scale.assign(8.0)
    saved = loop._arrays(loop._state(model)) | {"history": np.frombuffer(b"[]", np.uint8)}
    model.optimizers[0].dynamic_scale.assign(2.0)
    assert loop._restore(model, saved, tmp_path) == []
    assert float(model.optimizers[0].dynamic_scale.numpy()) == 8.0
    assert len(loop._state(model)) == n


# Settings.


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["aae", "--precision", "mixed_bfloat61"], "(did you mean 'mixed_bfloat16'?)"),
        (["auxvae", "--precision", "bfloat16"], "one of: float32 mixed_bfloat16 mixed_float16"),
        (["epr", "--set", "train.precision=float16"], "train.precision='float16' is not known"),
        (["svm", "--precision", "mixed_bfloat16"], "--precision: an SVM is no network"),
        (["encoder", "--precision", "float32"], "--precision: an SVM is no network"),
        (["acnn", "--precison", "float32"], "(did you mean '--precision'?)"),
    ],
)
def test_what_is_no_precision(words, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = called(train.main, "--corpus", "toy", "--model", *words)
    assert done.code == 2 and says in done.err
    assert not list(tmp_path.iterdir())


def test_the_flag_is_the_hyperparameter():
    words = ["--model", "began", "--corpus", "toy"]
    flag = train.parser().parse_args([*words, "--precision", "mixed_float16"])
    key = train.parser().parse_args([*words, "--set", "train.precision=mixed_float16"])
    assert options.load_hyperparameters(flag, "toy") == options.load_hyperparameters(key, "toy")
    assert options.load_hyperparameters(flag, "toy")["train"]["precision"] == "mixed_float16"
    none = train.parser().parse_args(words)
    assert options.load_hyperparameters(none, "toy")["train"]["precision"] == "float32"


def test_networks_of_another_precision_are_others(tmp_path):
    run, made = SimpleNamespace(local_cache=tmp_path), []
    paths = []
    for policy in ("float32", *HALVES, "float32"):
        with mixed_precision.precision_policy(policy):
            paths.append(cached_network("vae", {"version": 1}, run, 0, lambda f: write(f, made)))
    assert len(set(paths)) == len(made) == 3 and paths[0] == paths[3]
    # That of float32 is the one from before there was a choice.
    digest = hashlib.sha256(b'{"version": 1}').hexdigest()[:16]
    assert paths[0].parent.name == f"vae-{digest}"


def write(folder, made):
    made.append(folder)
    (folder / "vae.keras").touch()


def test_runs_from_before_there_was_a_choice_go_on(tmp_path):
    before = {"model": "aae", "hparams": {"train": {"max_epochs": 5}}}
    with run_directory.open_run(tmp_path / "run", before, (0,)):
        (tmp_path / "run" / "seed-0").mkdir()
    now = {"model": "aae", "hparams": {"train": {"max_epochs": 5, "precision": "float32"}}}
    with run_directory.open_run(tmp_path / "run", now, (0,)):
        pass
    now["hparams"]["train"]["precision"] = "mixed_bfloat16"
    with pytest.raises(run_directory.ConflictError, match="precision: float32 -> mixed_bfloat16"):
        with run_directory.open_run(tmp_path / "run", now, (0,)):
            pass


# Several devices.


def test_float16_on_several_devices_is_refused(monkeypatch):
    two = SimpleNamespace(num_replicas_in_sync=2)
    monkeypatch.setattr(loop, "_find_strategy", lambda name: two)
    with mixed_precision.precision_policy("mixed_bfloat16"):
        assert loop.select_strategy("mirrored") is two
    with mixed_precision.precision_policy("mixed_float16"):
        with pytest.raises(UsageError, match="use mixed_bfloat16, or --strategy none"):
            loop.select_strategy("mirrored")
