"""Seconds a training step of BEGAN takes (D, G and k), ours and PyTorch's.

    python benchmarks/began.py [--batch 16] [--mode crop512] [--rounds 5]
        [--torch TORCH_VENV/bin/python] [--out began.json]

64 filters, pictures of 520 x 96 (or, cropped, 512 x 32), L1 losses, two Adams, float32, one
constant batch. Both take turns, a step each; medians after one step to warm up.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
import turns

from tfser import hparams
from tfser.models.began import pretraining
from tfser.models.began.spectrogram import layer_of


def our_step(batch, mode, n_filters):
    """Returns a function that trains one step, seconds."""
    hp = hparams.load(
        "began",
        "librispeech",
        overrides=[f'features.input_mode="{mode}"', f"model.n_filters={n_filters}"],
    )
    layer = layer_of(hp)
    model = pretraining.new_network(hp, layer)
    model.prepare(learning_rate=hp["began"]["learning_rate"])
    model.picture.scale.assign(1.0)
    rng = np.random.default_rng(0)
    x = tf.constant(rng.uniform(0, 1, (batch, layer.n_frames, layer.n_features)), "float32")
    z = tf.constant(rng.uniform(-1, 1, (2, batch, hp["model"]["hidden"])), "float32")
    update = tf.function(lambda: model.train_step((x, (z[0], z[1])))["loss"])
    return turns.timed(lambda: update().numpy())


def main():
    """Prints the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--mode", choices=("resize520", "crop512"), default="resize520")
    parser.add_argument("--filters", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--torch", help="an interpreter that has PyTorch")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    settings = args.batch, args.mode, args.filters
    steps = {"ours": our_step(*settings)}
    if args.torch:
        steps["pytorch"] = turns.torch_step(args.torch, "began_torch.py", *settings)
    result = turns.compare(steps, args.rounds)
    if args.out:
        of = {"batch": args.batch, "input_mode": args.mode, "n_filters": args.filters}
        turns.write(args.out, **of, **result)


if __name__ == "__main__":
    main()
