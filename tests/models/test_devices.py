"""A training on two devices equals the training on one, its noise and dropout included."""

import itertools
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from forked import run

TESTS = Path(__file__).resolve().parents[1]
# {case: (tolerances of the curves, epochs)}
NETWORKS = {
    "aae, of arrays": ({"rtol": 1e-5, "atol": 2e-6}, 5),
    "acnn, autoencoder": ({"rtol": 1e-5, "atol": 2e-6}, 3),
    "auxvae": ({"rtol": 2e-5, "atol": 1e-6}, 5),
    "dense, bfloat16": ({"rtol": 0.02}, 5),
    "epr": ({"rtol": 0, "atol": 1e-6}, 4),
}
# The baseline is compiled and shared as EPR is; the phases are those of the AAE of arrays above.
# ACNN and BEGAN, which have convolutions, too, are trained by the two workers of
# test_multi_worker.py. 16 bits are those of the dense network.
SLOW = {
    "aae, optimized": ({"rtol": 1e-5, "atol": 2e-6}, 3),
    "acnn": ({"rtol": 1e-5, "atol": 2e-6}, 3),
    "auxvae, medium": ({"rtol": 2e-5, "atol": 1e-6}, 5),
    "began": ({"rtol": 5e-5}, 5),
    "aae, baseline": ({"rtol": 1e-5, "atol": 2e-6}, 3),
    "aae, vanilla of frames": ({"rtol": 1e-5, "atol": 2e-6}, 3),
    "auxvae, bfloat16": ({"rtol": 0.02}, 5),
}


def train(folder, *cases):
    """In a process of its own: devices are made before TensorFlow starts."""
    path = [str(TESTS / "models"), str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")]
    environment = {"PYTHONPATH": os.pathsep.join(path), "CUDA_VISIBLE_DEVICES": "-1"}
    script = TESTS / "models" / "devices.py"
    done = run([sys.executable, script, folder, *cases], env=os.environ | environment, seconds=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((Path(folder) / "results.json").read_text())


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """One process for all networks, which takes longest to start."""
    return train(tmp_path_factory.mktemp("devices"), *NETWORKS, "batches", "draws")


@pytest.fixture(scope="module")
def slow_results(tmp_path_factory):
    return train(tmp_path_factory.mktemp("devices"), *SLOW)


def check(result, tolerances, n_epochs):
    (n_one, (names, one), outputs), (n_two, (names_two, two), outputs_two) = result
    assert (n_one, n_two) == (1, 2)
    assert names == names_two and np.shape(one) == np.shape(two) == (n_epochs, len(names))
    np.testing.assert_allclose(two, one, **tolerances)
    np.testing.assert_allclose(outputs_two, outputs, atol=1e-5)
    # Something is learnt: there is a curve.
    measured = [i for i, name in enumerate(names) if name != "epoch"]
    assert not np.allclose(np.array(one)[0, measured], np.array(one)[-1, measured], rtol=1e-3)
    return names, np.array(one)


@pytest.mark.parametrize("case", NETWORKS)
def test_two_devices_equal_one(results, case):
    names, curves = check(results[case], *NETWORKS[case])
    loss = curves[:, names.index("loss")]
    if case in ("epr", "dense, bfloat16"):
        assert loss[-1] < 0.9 * loss[0]


@pytest.mark.slow
@pytest.mark.parametrize("case", SLOW)
def test_two_devices_equal_one_of_other_networks(slow_results, case):
    check(slow_results[case], *SLOW[case])


def test_two_devices_share_every_batch(results):
    one, two = results["batches"]
    assert one["sizes"] == [[8]] * 12 + [[5]]
    assert two["sizes"][:-1] == [[4, 4]] * 12 and sum(two["sizes"][-1]) == 5
    for of_devices in (one, two):
        assert all(of_devices["matches"])
        assert sorted(of_devices["seen"]) == list(range(101))
        assert of_devices["predicted"] == [101, 1]


@pytest.mark.xdist_group("devices")
def test_two_devices_draw_the_noise_and_masks_of_one(results):
    one, two = results["draws"]
    assert [len(parts) for parts in one] == [1] * 4 and [len(parts) for parts in two] == [2] * 4
    for [complete], parts in zip(one, two, strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), complete)
    # No part repeats another part: of this draw, or of the next.
    for first, second in (two[:2], two[2:]):
        parts = [np.array(part) for part in (*first, *second)]
        assert not any(np.array_equal(a, b) for a, b in itertools.combinations(parts, 2))
    assert {0.0, 2.0} == set(np.ravel(two[2:]))
    # One device draws what it always drew: seed 0, then a counter.
    for number, [noise] in enumerate(one[:2]):
        expected = tf.random.stateless_normal([10, 3], [0, number])
        np.testing.assert_allclose(noise, expected, rtol=1e-6)
