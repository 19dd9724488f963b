"""Seconds a training step of the Aux-VAE takes, ours and PyTorch's; and what probes take.

    python benchmarks/vae.py [--rounds 7] [--torch TORCH_VENV/bin/python] [--out vae.json]

The paper's network, batches of 32 pieces of 176 frames, Adam with the gradient's norm clipped,
float32, one constant batch. Both take turns, a step each; medians after one step to warm up. The
probes: speaker, gender and emotion, of 1,000 utterances of one piece, three latent variables each.
"""

import argparse
import os
import statistics
import time
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
import turns

from tfser import folds, hparams
from tfser.models.auxvae import pretraining, probes
from tfser.models.auxvae.spectrogram import layer_of

HP = hparams.load("auxvae", "librispeech")


def our_step(batch):
    """Returns a function that trains one step, seconds."""
    model = pretraining.new_network(HP, layer_of(HP))
    model.prepare(learning_rate=1e-4, clip_norm=1.0)
    x = tf.constant(np.random.default_rng(0).uniform(0, 1, (batch, 176, 140)), "float32")
    update = tf.function(lambda: model.train_step(x)["loss"])

    return turns.timed(lambda: update().numpy())


def probes_seconds(n=1000):
    """Seconds of three tasks, each on three latent variables, trained on four fifths."""
    rng = np.random.default_rng(0)
    latents = {name: rng.normal(0, 1, (n, 512)).astype("float32") for name in "hmz"}
    split = folds.Split(np.arange(n * 4 // 5), np.empty(0, int), np.arange(n * 4 // 5, n))
    start = time.perf_counter()
    for n_classes in (24, 2, 8):  # speakers, genders, emotions
        speech = SimpleNamespace(
            classes=list(range(n_classes)), y=rng.integers(0, n_classes, n), utterance=np.arange(n)
        )
        network = probes.classify(latents, speech, HP)
        probes.trained(network, latents, speech, split, HP, 0)
    return time.perf_counter() - start


def main():
    """Prints the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--torch", help="an interpreter that has PyTorch")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    steps = {"ours": our_step(args.batch)}
    if args.torch:
        steps["pytorch"] = turns.torch_step(args.torch, "vae_torch.py", args.batch)
    result = turns.compare(steps, args.rounds)
    of_probes = [probes_seconds() for _ in range(3)]
    print(f"nine probes {statistics.median(of_probes):6.1f} s")
    if args.out:
        turns.write(args.out, batch=args.batch, **result, nine_probes_seconds=of_probes)


if __name__ == "__main__":
    main()
