"""The loss functions of the papers against values computed by hand, without a network."""

import functools
from math import log
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tfser.models.aae import network as aae
from tfser.models.acnn import autoencoder
from tfser.models.acnn import network as acnn
from tfser.models.auxvae import network as auxvae
from tfser.models.auxvae import probes
from tfser.models.began import network as began
from tfser.training import loop


@pytest.fixture
def evaluated(monkeypatch):
    """(variables, optimizer, loss) of each update; nothing moves."""
    updates = []

    def minimize(loss, variables, optimizer):
        updates.append((variables, optimizer, loss()))
        return updates[-1][2]

    monkeypatch.setattr(loop, "minimize", minimize)
    return updates


def set_replica(monkeypatch, n_replicas, **totals):
    """Make this process one of several replicas: `totals` maps an operation to its result."""

    def all_reduce(operation, value):
        return totals[operation.name](value)

    context = SimpleNamespace(num_replicas_in_sync=n_replicas, all_reduce=all_reduce)
    monkeypatch.setattr(tf.distribute, "get_replica_context", lambda: context)


# AAE: section 4.1.


def test_a_discriminator_s_cross_entropy():
    # ln(1 + e^-x) for a real input and ln(1 + e^x) for another: of ln 3 they are ln 4/3 and ln 4.
    logits = tf.constant([[log(3.0)], [0.0]])
    assert float(aae.cross_entropy(1, logits)) == pytest.approx((log(4 / 3) + log(2)) / 2)
    assert float(aae.cross_entropy(0, logits)) == pytest.approx((log(4) + log(2)) / 2)


def aae_parts(x, y, z, labelled_x, logits):
    """Networks that give these outputs to these inputs, in training alone."""

    def network(outputs, variables):
        def call(value, training):
            assert training is True
            [output] = [output for given, output in outputs if given is value]
            return tf.constant(output)

        call.trainable_variables = variables
        return call

    def encode(value, training):
        assert value is x and training is True
        return y, z

    def encoder(value, training):
        assert value is labelled_x and training is True
        return logits, None

    def decoder(latents, training):
        assert training is True
        return latents[0] + latents[1]

    encoder.trainable_variables, decoder.trainable_variables = ["encoder"], ["decoder"]
    return network, SimpleNamespace(encode=encode, encoder=encoder, decoder=decoder)


@pytest.mark.parametrize("regularization", [True, False])
def test_the_losses_of_the_phases_and_the_weights_that_they_move(regularization):
    x = tf.constant([[1.0, 2.0], [3.0, 5.0], [0.0, 0.0]])
    y = tf.constant([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    z = tf.constant([[0.0, 0.0], [3.0, 3.0], [0.0, 0.0]])
    logits = tf.Variable([[0.0, log(3.0)], [log(7.0), 0.0]])
    labelled_x, labels = tf.constant([[7.0]]), tf.constant([[0.0, 1.0], [0.0, 1.0]])
    prior_y, prior_z = tf.constant([[1.0]]), tf.constant([[2.0]])
    network, model = aae_parts(x, y, z, labelled_x, logits)
    model.d_y = network([(prior_y, log(3.0)), (y, log(4.0))], ["d_y"])
    model.d_z = network([(prior_z, log(7.0)), (z, log(15.0))], ["d_z"])
    model.optimizers = [f"optimizer {i}" for i in range(4)]
    model.regularization = regularization
    batch = x, 1.0, labelled_x, labels, prior_y, prior_z
    phases = aae.AdversarialAutoencoder.phases(model, *batch)
    kept = [0, 1, 2, 3] if regularization else [0, 3]
    with tf.GradientTape() as tape:
        losses = [loss() for loss, _, _ in phases]
    expected = [
        (0 + 4 + 0 + 1 + 0 + 0) / 6,
        log(4 / 3) + log(5) + log(8 / 7) + log(16),
        log(5 / 4) + log(16 / 15),
        (log(4 / 3) + log(8)) / 2,
    ]
    assert [float(loss) for loss in losses] == pytest.approx([expected[i] for i in kept])
    moved = [
        (["encoder", "decoder"], "optimizer 0"), (["d_y", "d_z"], "optimizer 1"),
        (["encoder"], "optimizer 2"), (["encoder"], "optimizer 3"),
    ]  # fmt: skip
    assert [(variables, optimizer) for _, variables, optimizer in phases] == [
        moved[i] for i in kept
    ]
    # d loss / d logits = (softmax - labels) / 2.
    gradient = [[1 / 8, -1 / 8], [7 / 16, -7 / 16]]
    np.testing.assert_allclose(tape.gradient(losses[-1], logits), gradient, atol=1e-6)
    # Weights of the utterances with a label are in the last phase alone.
    phases = aae.AdversarialAutoencoder.phases(model, *batch, tf.constant([0.5, 1.5]))
    *losses, weighted = [float(loss()) for loss, _, _ in phases]
    assert losses == pytest.approx([expected[i] for i in kept[:-1]])
    assert weighted == pytest.approx((0.5 * log(4 / 3) + 1.5 * log(8)) / 2)
    model.optimizers = model.optimizers[:3]
    with pytest.raises(ValueError, match="not enough values"):
        aae.AdversarialAutoencoder.phases(model, *batch)


def test_the_mean_over_the_frames_of_an_utterance():
    values = tf.constant([[[1.0, 3.0], [9.0, 9.0]], [[2.0, 4.0], [6.0, 8.0]]])
    inside = tf.constant([[[1.0], [0.0]], [[1.0], [1.0]]])
    assert float(aae.mean_inside(values, inside)) == pytest.approx((2 + 5) / 2)
    assert float(aae.mean_inside(values, 1.0)) == pytest.approx(42 / 8)
    assert float(aae.mean_inside(values[0], inside)) == pytest.approx(22 / 4)  # functionals


# ACNN: Eq. (2), and the autoencoder's.


def test_the_weights_of_the_views():
    assert acnn.view_weights(0.25, 0.125, ["emotion"]) == {"emotion": 1.0}
    # The views that are there keep their ratio, 5 to 1, and have all of the weight.
    assert acnn.view_weights(0.25, 0.125, ["emotion", "valence"]) == {
        "emotion": 0.625 / 0.75, "valence": 0.125 / 0.75
    }  # fmt: skip
    assert acnn.view_weights(0.25, 0.125, ["emotion", "arousal", "valence"]) == {
        "emotion": 0.625, "arousal": 0.25, "valence": 0.125
    }  # fmt: skip


def test_the_cross_entropy_of_an_utterance_without_a_label():
    labels = tf.constant([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    probabilities = tf.Variable([[0.25, 0.5, 0.25], [0.2, 0.2, 0.6], [0.25, 0.5, 0.25]])
    with tf.GradientTape() as tape:
        losses = acnn.cross_entropy(labels, probabilities)
    np.testing.assert_allclose(losses, [log(2), 0, log(4)], atol=1e-6)
    gradient = tape.gradient(losses, probabilities).numpy()
    assert gradient[0, 1] < 0 and not gradient[1].any()


def rmse_and_gradient(error):
    """The losses of two samples, and the gradient of their mean, for these errors."""
    reconstruction = tf.Variable(tf.zeros_like(error))
    with tf.GradientTape() as tape:
        losses = autoencoder.rmse(error, reconstruction)
        mean = tf.reduce_mean(losses)
    assert losses.shape == (2,)
    return losses.numpy(), tape.gradient(mean, reconstruction).numpy()


@pytest.mark.parametrize("context", ["replica", "cross-replica"])
def test_the_root_of_the_mean_squared_error(monkeypatch, context):
    if context == "cross-replica":
        monkeypatch.setattr(tf.distribute, "get_replica_context", lambda: None)
    error = tf.constant([[[0.3], [0.1]], [[0.1], [0.5]]])
    root = 0.3  # sqrt((0.09 + 0.01 + 0.01 + 0.25) / 4)
    losses, gradient = rmse_and_gradient(error)
    np.testing.assert_allclose(losses, [root, root], rtol=1e-6)
    np.testing.assert_allclose(gradient, -error / (4 * root), rtol=1e-6)  # -e / (n root)
    losses, gradient = rmse_and_gradient(0 * error)
    assert not losses.any() and not gradient.any()


def test_the_root_of_the_mean_over_replicas(monkeypatch):
    # The mean squares are 0.09 here and 0.41 on the other replica: the root is 0.5.
    set_replica(monkeypatch, 2, SUM=lambda mean: mean + 0.41)
    error = tf.constant([[[0.3], [0.1]], [[0.1], [0.5]]])
    losses, gradient = rmse_and_gradient(error)
    np.testing.assert_allclose(losses, [0.5, 0.5], rtol=1e-6)
    np.testing.assert_allclose(gradient, -error / (4 * 0.5), rtol=1e-6)


# Aux-VAE: Eq. (5), and the probes' loss.


def test_a_log_density_is_a_mean():
    # N(2; 1, 4) and N(3; 3, 1).
    x = tf.constant([[[2.0], [3.0]]])
    distribution = auxvae.Normal(tf.constant([[[1.0], [3.0]]]), tf.constant([[[log(4)], [0.0]]]))
    expected = -0.5 * (log(2 * np.pi) + (log(4) + 1 / 4) / 2)
    assert float(auxvae.log_density(x, distribution)) == pytest.approx(expected)


@pytest.mark.parametrize("predictive", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_the_terms_of_the_bound(predictive, training):
    x = tf.constant([[[1.0, 2.0], [3.0, 4.0]]])
    network_input, decoded = object(), object()
    at_zero = tf.zeros((1, 1, 1))
    sample = {"h": at_zero + 3, "z": at_zero + 2}
    q = {"h": auxvae.Normal(at_zero, at_zero), "z": auxvae.Normal(at_zero + 1, at_zero + log(4))}
    # Squared errors 4, 9 and, of the frame of ones after the last, 1.
    x_hat = tf.constant([[[1.0, 0.0], [0.0, 4.0], [1.0, 0.0]]])[:, : 2 + predictive]

    def given(frames):
        assert frames is x
        return network_input

    def encode(frames, in_training):
        assert frames is network_input and in_training is training
        return q, sample

    def decoder(z, training):
        assert z is sample["z"]
        return decoded, training

    def predict_latents(samples, reconstruction, in_training):
        assert samples is sample and reconstruction == (decoded, training)
        assert in_training is training
        return x_hat, {"h": auxvae.Normal(at_zero + 1, at_zero)}

    model = SimpleNamespace(
        predictive=predictive, add_silence=given, encode=encode, decoder=decoder,
        predict_latents=predict_latents, weights_of_terms={"h": 2.0, "z": 0.5, "m": 9.0},
    )  # fmt: skip
    # Without an argument: as outside of training.
    terms = auxvae.AuxVAE.bound(model, x, *([True] if training else []))
    reconstruction = 14 / 3 if predictive else 13 / 2
    kl_h = (-9 + 4) / 2  # ln N(3; 0, 1) - ln N(3; 1, 1)
    kl_z = (-log(4) - 1 / 4 + 4) / 2  # ln N(2; 1, 4) - ln N(2; 0, 1)
    assert {name: float(term) for name, term in terms.items()} == pytest.approx({
        "loss": reconstruction + 2 * kl_h + 0.5 * kl_z, "reconstruction": reconstruction,
        "kl_h": kl_h, "kl_z": kl_z,
    })  # fmt: skip


def test_concordance_by_hand():
    def concordance(y, p):
        return float(probes.concordance(np.float32(y)[:, None], np.float32(p)[:, None]))

    # Unbiased variances 1 and 1, covariance 1, means 1 apart: 2 / (1 + 1 + 1).
    assert concordance([1, 2, 3], [2, 3, 4]) == pytest.approx(2 / 3)
    # Variances and covariance 1 / 2: 1 / (1 + 1).
    assert concordance([0, 1], [1, 2]) == pytest.approx(1 / 2)
    assert concordance([0, 0.1], [0, 0.1]) == pytest.approx(1)  # a spread of 0.01
    assert concordance([0, 0.1], [0.1, 0]) == pytest.approx(-1)
    assert concordance([1], [2]) == concordance([1, 1], [1, 1]) == 0


# BEGAN: the balance of Eq. (4) to (6).


def test_the_distance_is_a_mean_absolute_difference():
    pictures = tf.constant([[1.0, -2.0], [3.0, 4.0]])
    model = SimpleNamespace(discriminate=lambda v: v + tf.constant([[0.0, 1.0], [2.0, -5.0]]))
    assert float(began.BEGAN.distance(model, pictures)) == 2


@pytest.mark.parametrize(
    ("gamma", "lambda_k", "k", "m_global"),
    [
        (0.75, 0.5, 0.3, 0.9),  # the balance is 0.75 * 0.8 - 0.5 = 0.1
        (0.5, 0.5, 0.2, 0.9),  # 0.5 * 0.8 - 0.5 = -0.1
        (0.75, 10.0, 1.0, 0.9),
        (0.5, 10.0, 0.0, 0.9),
    ],
)
def test_the_update_of_k(evaluated, gamma, lambda_k, k, m_global):
    weight = tf.Variable(1.0)
    noted = {}

    def mean(name):
        return SimpleNamespace(update_state=lambda value: noted.update({name: float(value)}))

    names = ("loss", "real", "generated", "m_global", "k")
    model = SimpleNamespace(
        picture=lambda magnitudes: 2 * magnitudes, generator=lambda z: weight * z,
        distance=tf.reduce_mean, k=tf.Variable(0.25), gamma=gamma, lambda_k=lambda_k,
        updates=[("optimizer 0", "variables 0"), ("optimizer 1", "variables 1")],
        means={name: mean(name) for name in names}, get_metrics_result=lambda: "result",
    )  # fmt: skip
    model._update_metrics = functools.partial(began.BEGAN._update_metrics, model)
    data = tf.constant([0.4]), (tf.constant([0.5]), tf.constant([0.3]))
    with tf.GradientTape(persistent=True) as tape:
        assert began.BEGAN.train_step(model, data) == "result"
    (*of_d, loss_of_d), (*of_g, loss_of_g) = evaluated
    assert of_d == ["variables 0", "optimizer 0"] and of_g == ["variables 1", "optimizer 1"]
    assert tape.gradient(loss_of_d, weight) is None  # D's update leaves the generator alone
    assert float(loss_of_g) == float(tape.gradient(loss_of_g, weight)) == pytest.approx(0.3)
    assert float(model.k.numpy()) == pytest.approx(k)
    # The loss is D's: 0.8 - 0.25 * 0.5.
    expected = {"loss": 0.675, "real": 0.8, "generated": 0.5, "m_global": m_global, "k": k}
    assert noted == pytest.approx(expected)
    model.updates = model.updates[:1]
    with pytest.raises(ValueError, match="not enough values"):
        began.BEGAN.train_step(model, data)


def test_the_mean_of_the_replicas(monkeypatch):
    values = [0.8, 0.5]
    assert began.mean_of_replicas(values) is values
    strategy = SimpleNamespace(num_replicas_in_sync=2)
    monkeypatch.setattr(tf.distribute, "get_strategy", lambda: strategy)
    set_replica(monkeypatch, 2, MEAN=lambda values: [value / 2 for value in values])
    assert began.mean_of_replicas(values) == [0.4, 0.25]
