"""Seconds a training step takes in float32 and in 16 bits (`--precision`), for each network.

    python benchmarks/precision.py [--networks NAME ..] [--float16] [--rounds 7] [--out FILE]

The papers' networks and batches (EPR: epr.small's width), random input, one constant batch. The
precisions take turns, a step each; figures are medians after one step to warm up. float16 is for
GPUs: few processors have products of it.
"""

import argparse
import os
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
import turns

from tfser import hparams, precision, runs, training
from tfser.models import aae, acnn, epr
from tfser.models.acnn import autoencoder
from tfser.models.auxvae import pretraining as of_auxvae
from tfser.models.auxvae.spectrogram import layer_of as pieces_of
from tfser.models.began import pretraining as of_began
from tfser.models.began.spectrogram import layer_of as slices_of

RUN = runs.Run(Path(), Path(), "", "paper", None, (0,), "none", 0)
RNG = np.random.default_rng(0)
CLASSES = ["anger", "fear", "joy", "sadness"]


def normal(*shape):
    """Random numbers."""
    return RNG.normal(size=shape).astype("float32")


def labels(n):
    """One-hot."""
    return np.eye(len(CLASSES), dtype="float32")[RNG.integers(0, len(CLASSES), n)]


def of_fit(model, x, y):
    """The step of a model that Keras trains."""
    return turns.timed(lambda: model.train_on_batch(x, y))


def own(model, *data):
    """The step of a model that brings its own."""
    data = tf.nest.map_structure(tf.constant, data)
    update = tf.function(lambda: model.train_step(data if len(data) > 1 else data[0])["loss"])
    return turns.timed(lambda: update().numpy())


def of_aae(level, shape):
    """AAE, optimized, on utterances or frames."""
    hp = hparams.load("aae", "", overrides=[f"model.level={level}"])
    speech = SimpleNamespace(
        names=[""] * shape[-1], n_frames=shape[0] if shape[1:] else None, classes=CLASSES
    )
    model, n = aae.compiled_network(speech, hp, RUN), hp["train"]["batch_size"]
    return own(model, normal(n, *shape), (labels(n), labels(n), normal(n, hp["model"]["n_z"])))


def of_acnn():
    """ACNN without representations."""
    hp = hparams.load("acnn", "")
    shape = acnn.input_of(hp)[1], hp["features"]["n_bands"]
    speech = SimpleNamespace(
        n_frames=shape[0], frames=normal(1, shape[1]), classes=CLASSES, views={"emotion": None},
        representations=None,
    )  # fmt: skip
    model, n = acnn.compiled_network(speech, hp, RUN), hp["train"]["batch_size"]
    return of_fit(model, {"log_mel": normal(n, *shape)}, {"emotion": labels(n)})


def of_autoencoder():
    """ACNN's recurrent autoencoder."""
    hp = hparams.load("acnn", "")
    settings = {name: hp["autoencoder"][name] for name in acnn.pretraining.NETWORK}
    layer = acnn.pretraining.spectrogram(hp)
    shape = layer.n_frames, layer.n_features
    optimizer = keras.optimizers.Adam(1e-3, clipvalue=hp["autoencoder"]["clip_value"])
    model = autoencoder.autoencoder(shape, **settings)
    training.compiled(model, optimizer, autoencoder.rmse, metrics=())
    x = RNG.uniform(-1, 1, (hp["autoencoder"]["batch_size"], *shape)).astype("float32")
    return of_fit(model, x, x[:, ::-1].copy())


def of_vae():
    """The Aux-VAE."""
    hp = hparams.load("auxvae", "")
    layer = pieces_of(hp)
    model = of_auxvae.new_network(hp, layer)
    model.prepare(learning_rate=1e-4, clip_norm=1.0)
    shape = hp["vae"]["batch_size"], layer.n_frames, layer.n_features
    return own(model, RNG.uniform(0, 1, shape).astype("float32"))


def of_gan():
    """BEGAN."""
    hp = hparams.load("began", "")
    layer = slices_of(hp)
    model = of_began.new_network(hp, layer)
    model.prepare(learning_rate=1e-4)
    model.picture.scale.assign(1.0)
    n = hp["began"]["batch_size"]
    x = RNG.uniform(0, 1, (n, layer.n_frames, layer.n_features)).astype("float32")
    return own(model, x, tuple(RNG.uniform(-1, 1, (2, n, hp["model"]["hidden"])).astype("f")))


def of_vgg():
    """EPR's network."""
    hp = hparams.load("epr", "", overlay="epr.small")
    model = epr.compiled_network(SimpleNamespace(classes=CLASSES), hp, RUN)
    training.restart(model, epr.new_network(SimpleNamespace(classes=CLASSES), hp))
    n = hp["train"]["batch_size"]
    shape = n, hp["segments"]["n_frames"], hp["features"]["n_bands"]
    return of_fit(model, normal(*shape), labels(n))


NETWORKS = {
    "aae, utterances": lambda: of_aae("utterance", (6373,)),
    "aae, frames": lambda: of_aae("frame", (512, 65)),
    "acnn": of_acnn,
    "acnn, autoencoder": of_autoencoder,
    "auxvae": of_vae,
    "began": of_gan,
    "epr": of_vgg,
}


def main():
    """Prints the medians and their ratios to float32's."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--float16", action="store_true", help="mixed_float16 too")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    policies = ["float32", "mixed_bfloat16", *["mixed_float16"] * args.float16]
    result = {}
    for name in args.networks:
        print(name)
        steps = {}
        for policy in policies:
            with precision.policy(policy):
                steps[policy] = NETWORKS[name]()
                steps[policy]()  # traced here, where its layers have their policy
        result[name] = turns.compare(steps, args.rounds, of="float32")
        median = result[name]["median"]
        result[name]["ratio"] = {p: median[p] / median["float32"] for p in policies}
    if args.out:
        turns.write(args.out, cores=len(os.sched_getaffinity(0)), **result)


if __name__ == "__main__":
    main()
