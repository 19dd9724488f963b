"""Layers by their names: frozen ones keep their values, all others move."""

import keras
import numpy as np
import pytest

from tfser.errors import UsageError
from tfser.models.aae import network as of_aae
from tfser.models.aae.subnetworks import baseline
from tfser.models.acnn.network import ACNN
from tfser.models.epr import network as of_epr
from tfser.training.layer_names import freeze_layers, list_layers, list_weights

CONVOLUTIONS = [f"conv{block}_{n}" for block, most in enumerate((2, 2, 4, 4, 4), start=1)
                for n in range(1, most + 1)]  # fmt: skip
EYE = np.eye(3, dtype="float32")[[0, 1, 2, 0, 1, 2]]


def make_epr(**options):
    return of_epr.EPR(n_classes=3, n_bands=32, width_multiplier=0.02, dropout=0.0, **options)


def make_aae(shape=(12,)):
    return of_aae.AdversarialAutoencoder(n_classes=3, shape=shape, n_z=4, units=8)


def make_acnn():
    return ACNN(n_classes=3, n_frames=100, n_filters=8, pool_steps=5, dropout=0.0)


def make_data(make):
    rng = np.random.default_rng(0)
    if make is make_epr:
        return rng.normal(0, 1, (6, 32, 32)), EYE
    if make is make_acnn:
        return {"log_mel": rng.normal(0, 1, (6, 100, 26))}, dict.fromkeys(
            ("emotion", "arousal", "valence"), EYE
        )
    return rng.normal(0, 1, (6, 12)).astype("float32"), EYE


def values(network):
    return {name: keras.ops.convert_to_numpy(w) for name, w in list_weights(network).items()}


def test_the_names():
    assert list(list_layers(make_epr())) == [
        "standardize", *CONVOLUTIONS, "dense1", "dense2", "profile",
    ]  # fmt: skip
    assert {"conv1_1_norm", "dense2_norm"} <= list_layers(make_epr(batch_norm=True)).keys()
    names = list(list_layers(make_aae()))
    assert names == [
        "standardize", "encoder/dense1", "encoder/dense1_norm", "encoder/dense2",
        "encoder/dense2_norm", "encoder/y", "encoder/z", "encoder/latent_norm", "decoder/dense1",
        "decoder/dense1_norm", "decoder/dense2", "decoder/dense2_norm", "decoder/features",
        "decoder/features_norm", "d_y/dense1", "d_y/dense2", "d_y/logit", "d_z/dense1",
        "d_z/dense2", "d_z/logit",
    ]  # fmt: skip
    of_frames = make_aae(shape=(256, 12))
    assert {"encoder/conv5", "decoder/conv1_norm", "decoder/steps"} <= list_layers(of_frames).keys()
    plain = baseline((12,), n_classes=3, units=8, dropout=0.0, clip=10.0)
    assert list(list_layers(plain)) == ["standardize", "dense1", "dense2", "y"]


@pytest.mark.usefixtures("eager", "own_networks")
@pytest.mark.parametrize(
    ("make", "patterns", "frozen"),
    [
        (make_epr, ["conv[1-4]_*", "dense1"], [*CONVOLUTIONS[:12], "dense1"]),
        (make_epr, ["conv*", "dense?"], [*CONVOLUTIONS, "dense1", "dense2"]),
        (make_acnn, ["convolution", "attention"], ["convolution", "attention"]),
        (make_aae, ["encoder/dense1*", "d_z"],
         ["encoder/dense1", "encoder/dense1_norm", "d_z/dense1", "d_z/dense2", "d_z/logit"]),
        (make_aae, ["d_*"], [f"d_{x}/{name}" for x in "yz"
                             for name in ("dense1", "dense2", "logit")]),
    ],
)  # fmt: skip
def test_frozen_layers_do_not_move(make, patterns, frozen):
    check_frozen(make, patterns, frozen)


@pytest.mark.usefixtures("own_networks")
def test_frozen_layers_do_not_move_in_a_step_of_xla(monkeypatch):
    monkeypatch.setattr(of_aae, "_XLA_WEIGHTS", 0)
    check_frozen(make_aae, ["encoder/dense1*"], ["encoder/dense1", "encoder/dense1_norm"])


def check_frozen(make, patterns, frozen):
    keras.utils.set_random_seed(1)
    network = make()
    freeze_layers(network, patterns)
    network.compile(keras.optimizers.Adam(1e-2))  # in place of EPR's schedule
    before = values(network)
    x, y = make_data(make)
    network.fit(x, y, batch_size=3, epochs=2, verbose=0)
    after = values(network)
    still = {name for name in before if np.array_equal(before[name], after[name])}
    of_layers = {name for name in before if name.rpartition("/")[0] in [*frozen, "standardize"]}
    assert still == of_layers


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["conv6_*"], r"no layer 'conv6_\*' .*; the layers are conv1_1 conv1_2 .* dense2 profile$"),
        (["profil"], r"no layer 'profil' \(did you mean 'profile'\?\)"),
        (["conv*", "dense*", "profile"], "train.freeze leaves no layer to train"),
    ],
)
def test_patterns_that_make_no_sense(patterns, message):
    with pytest.raises(UsageError, match=message):
        freeze_layers(make_epr(), patterns)
