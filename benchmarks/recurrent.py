"""Seconds a training step of ACNN's autoencoder takes: our GRU, Keras' two, and PyTorch's.

    python benchmarks/recurrent.py [--batch 64] [--rounds 7] [--torch TORCH_VENV/bin/python]
        [--out recurrent.json]

2 x 256 GRUs, a bidirectional decoder, clips of 186 frames x 128 bands, dropout 0.2, RMSE, Adam with
gradients clipped by value, float32, one constant batch. Ours and Keras' GRU(reset_after=False) are
auDeep's cell; reset_after=True (Keras' default) and PyTorch's nn.GRU are another one of the same
size. All take turns, a step each; figures are medians after one step to warm up.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from tfser import training
from tfser.models.acnn import autoencoder

SHAPE = (186, 128)
SETTINGS = {
    "n_layers": 2, "units": 256, "bidirectional_encoder": False, "bidirectional_decoder": True,
    "dropout": 0.2,
}  # fmt: skip


def keras_gru(reset_after):
    """Keras' layer in the place of ours."""

    def gru(units):
        layer = keras.layers.GRU(
            units, reset_after=reset_after, return_sequences=True, return_state=True
        )
        return lambda x, first: layer(x, initial_state=first)

    return gru


def step_of(gru, x):
    """Returns a function that trains one step, seconds."""
    ours, autoencoder.GRU = autoencoder.GRU, gru
    model = autoencoder.autoencoder(SHAPE, **SETTINGS)
    autoencoder.GRU = ours
    optimizer = keras.optimizers.Adam(1e-3, clipvalue=2.0)
    training.compiled(model, optimizer, autoencoder.rmse, metrics=())
    y = x[:, ::-1].copy()

    def step():
        start = time.perf_counter()
        model.train_on_batch(x, y)
        return time.perf_counter() - start

    return step


def torch_step(python, batch):
    """Returns a function that has PyTorch train one step, seconds."""
    script = Path(__file__).with_name("recurrent_torch.py")
    threads = os.environ.get("TF_NUM_INTRAOP_THREADS") or len(os.sched_getaffinity(0))
    process = subprocess.Popen(
        [python, script, str(batch), str(threads)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
    )  # fmt: skip

    def step():
        process.stdin.write("\n")
        return float(process.stdout.readline())

    return step


def main():
    """Prints the medians and their ratios to ours."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--torch", help="an interpreter that has PyTorch")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    x = np.random.default_rng(0).uniform(-1, 1, (args.batch, *SHAPE)).astype("float32")
    steps = {
        "ours": step_of(autoencoder.GRU, x),
        "keras, reset_after=False": step_of(keras_gru(False), x),
        "keras, reset_after=True": step_of(keras_gru(True), x),
    }
    if args.torch:
        steps["pytorch, nn.GRU"] = torch_step(args.torch, args.batch)
    for step in steps.values():
        step()
    seconds = {name: [] for name in steps}
    for number in range(args.rounds):
        for name in list(steps)[:: 1 if number % 2 else -1]:
            seconds[name].append(steps[name]())
    median = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in median.items():
        print(f"{name:<26} {value:6.3f} s/step   {value / median['ours']:5.2f} of ours")
    if args.out:
        result = {
            "command": " ".join(["python", *sys.argv]),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "batch": args.batch,
            "seconds": seconds,
            "median": median,
        }
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
