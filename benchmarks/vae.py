"""Seconds a training step of the Aux-VAE takes, ours and PyTorch's; and what probes take.

    python benchmarks/vae.py [--rounds 7] [--torch TORCH_VENV/bin/python] [--out vae.json]

The paper's network, batches of 32 pieces of 176 frames, Adam with the gradient's norm clipped,
float32, one constant batch. Both take turns, a step each; medians after one step to warm up. The
probes: speaker, gender and emotion, of 1,000 utterances of one piece, three latent variables each.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

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

    def step():
        start = time.perf_counter()
        update().numpy()
        return time.perf_counter() - start

    return step


def torch_step(python, batch):
    """Returns a function that has PyTorch train one step, seconds."""
    script = Path(__file__).with_name("vae_torch.py")
    threads = os.environ.get("TF_NUM_INTRAOP_THREADS") or len(os.sched_getaffinity(0))
    process = subprocess.Popen(
        [python, script, str(batch), str(threads)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
    )  # fmt: skip

    def step():
        process.stdin.write("\n")
        return float(process.stdout.readline())

    return step


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
        probes.classify(latents, speech, split, HP, 0)
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
        steps["pytorch"] = torch_step(args.torch, args.batch)
    for step in steps.values():
        step()
    seconds = {name: [] for name in steps}
    for number in range(args.rounds):
        for name in list(steps)[:: 1 if number % 2 else -1]:
            seconds[name].append(steps[name]())
    median = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in median.items():
        print(f"{name:<8} {value:6.3f} s/step   {value / median['ours']:5.2f} of ours")
    of_probes = [probes_seconds() for _ in range(3)]
    print(f"nine probes {statistics.median(of_probes):6.1f} s")
    if args.out:
        result = {
            "command": " ".join(["python", *sys.argv]),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "batch": args.batch,
            "seconds": seconds,
            "median": median,
            "nine_probes_seconds": of_probes,
        }
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
