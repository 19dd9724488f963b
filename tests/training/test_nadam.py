"""Nadam against its equations in NumPy: Dozat's momentum, in the steps of Keras and PyTorch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfser.training import mixed_precision, nadam
from tfser.training.nadam import Nadam

RATE, STEPS = 0.05, 40


def gradients():
    return np.random.default_rng(0).normal(0.3, 1.0, (STEPS, 3))


def expected_path(schedule_decay, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    """The weights [STEPS, 3] after each step, from zeros."""
    mu = beta_1 * (1 - 0.5 * 0.96 ** (schedule_decay * np.arange(1, STEPS + 2)))
    x, m, n, path = np.zeros(3), np.zeros(3), np.zeros(3), []
    for t, g in enumerate(gradients()):
        m = beta_1 * m + (1 - beta_1) * g
        n = beta_2 * n + (1 - beta_2) * g**2
        g_hat = g / (1 - np.prod(mu[: t + 1]))
        m_hat = m / (1 - np.prod(mu[: t + 2]))
        n_hat = n / (1 - beta_2 ** (t + 1))
        m_bar = (1 - mu[t]) * g_hat + mu[t + 1] * m_hat
        x = x - RATE * m_bar / (np.sqrt(n_hat) + epsilon)
        path.append(x)
    return np.array(path)


def run(optimizer):
    variable = keras.Variable(np.zeros(3, "float32"))
    mixed_precision.build_optimizer(optimizer, [variable])
    path = []
    for gradient in gradients():
        optimizer.apply([tf.constant(gradient, "float32")], [variable])
        path.append(variable.numpy())
    return np.array(path)


@pytest.mark.parametrize("schedule_decay", [0.004, 1.0, 0.1])
def test_the_steps_are_those_of_the_equations(schedule_decay):
    found = run(Nadam(RATE, schedule_decay=schedule_decay))
    np.testing.assert_allclose(found, expected_path(schedule_decay), rtol=2e-4, atol=1e-6)


def test_a_decay_of_1_is_keras_own():
    found = run(Nadam(RATE, schedule_decay=1.0))
    np.testing.assert_array_equal(found, run(keras.optimizers.Nadam(RATE)))
    dozat = expected_path(0.004)
    assert np.abs(found - dozat).max() > 0.02 * np.abs(dozat).max()


def test_the_momentum_of_step_600():
    for schedule_decay, momentum in ((0.004, 0.492), (1.0, 0.9)):
        optimizer = Nadam(RATE, schedule_decay=schedule_decay)
        assert 0.9 * float(optimizer._share(600)) == pytest.approx(momentum, abs=5e-4)


def test_it_is_made_anew_from_its_config():
    """As `loop.reinitialize` does, with a loss scale, too."""
    optimizer = nadam.Nadam(RATE, schedule_decay=0.004)
    again = type(optimizer).from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config() and again.schedule_decay == 0.004
    scaled = keras.optimizers.LossScaleOptimizer(optimizer)
    again = type(scaled).from_config(scaled.get_config())
    assert again.inner_optimizer.get_config() == optimizer.get_config()
