"""Seconds of a training step of ACNN's autoencoder: our GRU, Keras' two, and PyTorch's.

    python benchmarks/recurrent.py [--batch 64] [--rounds 7] [--torch TORCH_VENV/bin/python]
        [--out recurrent.json]

2 x 256 GRUs, a bidirectional decoder, clips of 186 frames x 128 bands, dropout 0.2, RMSE, Adam with
gradients clipped by value, float32, one constant batch. Ours and Keras' GRU(reset_after=False) are
auDeep's cell; reset_after=True (Keras' default) and PyTorch's nn.GRU are a different cell of the
same size. All take turns, a step each; figures are medians after one warm-up step.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import turns

from tfser.models.acnn import autoencoder
from tfser.training import loop

SHAPE = (186, 128)
SETTINGS = {
    "n_layers": 2, "units": 256, "bidirectional_encoder": False, "bidirectional_decoder": True,
    "dropout": 0.2,
}  # fmt: skip


def make_keras_gru(reset_after):
    """Return a function that builds Keras' layer in place of ours."""

    def gru(units):
        layer = keras.layers.GRU(
            units, reset_after=reset_after, return_sequences=True, return_state=True
        )
        return lambda x, first: layer(x, initial_state=first)

    return gru


def make_step(gru, x):
    """Return a function that trains one step and returns its seconds."""
    ours, autoencoder.GRU = autoencoder.GRU, gru
    model = autoencoder.SequenceAutoencoder(*SHAPE, **SETTINGS)
    autoencoder.GRU = ours
    optimizer = keras.optimizers.Adam(1e-3, clipvalue=2.0)
    loop.compile_model(model, optimizer, autoencoder.rmse, metrics=())
    y = x[:, ::-1].copy()

    return turns.time_call(lambda: model.train_on_batch(x, y))


def main():
    """Print the medians and their ratios to ours."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--torch", help="an interpreter that has PyTorch")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    x = np.random.default_rng(0).uniform(-1, 1, (args.batch, *SHAPE)).astype("float32")
    steps = {
        "ours": make_step(autoencoder.GRU, x),
        "keras, reset_after=False": make_step(make_keras_gru(False), x),
        "keras, reset_after=True": make_step(make_keras_gru(True), x),
    }
    if args.torch:
        steps["pytorch, nn.GRU"], _ = turns.start_torch(
            args.torch, "recurrent_torch.py", args.batch
        )
    result = turns.compare(steps, args.rounds)
    if args.out:
        turns.write_figures(args.out, batch=args.batch, **result)


if __name__ == "__main__":
    main()
