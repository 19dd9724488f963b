"""What the input pipeline costs `fit`, and `fit` against the same network in PyTorch.

    python benchmarks/fit.py [--width 1.0] [--steps 4] [--rounds 3] [--out fit.json]
    python benchmarks/fit.py --torch TORCH_VENV/bin/python

EPR's VGG-E, compiled as tfser compiles it, is trained with `fit` on

- real input: tfser.data.segments over frames of CASIA's size (7,200 utterances of 198 frames x 64
  bands, a segment of 32 frames every 3), shuffled, in batches of 128 with soft labels;
- a constant batch: the same shapes, one batch repeated, so that the input costs nothing.

Input may lose 5 %. With --torch, an interpreter that has PyTorch 2.13.0 runs benchmarks/
vgg_torch.py: the same network, loss, optimizer, batch and number of threads, float32, a constant
batch, both layouts, of which the faster counts; it is held against `fit` on the constant batch.
All take turns, one round of --steps each, in an order that is reversed every other round, so that
other load on the machine meets all of them. Still, let nothing else run beside it: PyTorch's
threads wait for their slowest at every layer and suffer more. Figures are medians over the rounds,
after one to warm up. `fit` takes one step more in each, which is not counted: the start of an epoch
is in it, and an epoch of CASIA has 3,150 steps. Dropout is 0.5 on both sides; the accuracy that
Keras counts along is not taken off.
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

from tfser import data, training
from tfser.models.epr.network import vgg

UTTERANCES, FRAMES, BANDS, CLASSES = 7200, 198, 64, 6
SEGMENT_FRAMES, HOP_FRAMES = 32, 3


def network(width_multiplier):
    """Returns VGG-E as EPR trains it."""
    model = vgg(
        n_frames=SEGMENT_FRAMES,
        n_bands=BANDS,
        n_classes=CLASSES,
        width_multiplier=width_multiplier,
        batch_norm=False,
        initializer="he_normal",
        dropout=0.5,
    )
    loss = keras.losses.CategoricalCrossentropy()
    return training.compiled(model, keras.optimizers.Adam(1e-3), loss)


def inputs(batch_size):
    """Returns (function round -> dataset of the pipeline, dataset of one batch repeated)."""
    rng = np.random.default_rng(0)
    offsets = np.arange(UTTERANCES + 1) * FRAMES
    starts, _ = data.segment_index(offsets, n_frames=SEGMENT_FRAMES, hop_frames=HOP_FRAMES)
    labels = rng.dirichlet(np.ones(CLASSES), len(starts)).astype("float32")
    with tf.device("CPU:0"):
        frames = tf.convert_to_tensor(
            rng.standard_normal((UTTERANCES * FRAMES, BANDS), dtype="float32")
        )

    def pipeline(epoch):
        return data.segments(
            frames,
            starts,
            labels,
            n_frames=SEGMENT_FRAMES,
            batch_size=batch_size,
            seed=0,
            epoch=epoch,
            drop_remainder=True,
        )

    batch = next(iter(pipeline(0)))
    return pipeline, tf.data.Dataset.from_tensors(batch).repeat()


class Stopwatch(keras.callbacks.Callback):
    """When each step ended: the first one has the start of `fit` in it, once in an epoch."""

    def on_train_begin(self, logs=None):
        """Forgets the last round."""
        self.ends = []

    def on_train_batch_end(self, batch, logs=None):
        """Takes the time."""
        self.ends.append(time.perf_counter())


class Torch:
    """benchmarks/vgg_torch.py in a process of its own, which waits for its turns."""

    def __init__(self, python, args, threads):
        script = Path(__file__).with_name("vgg_torch.py")
        flags = ["--width", args.width, "--batch", args.batch, "--steps", args.steps]
        self.process = subprocess.Popen(
            [python, script, "--serve", *map(str, flags), "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.about = self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("benchmarks/vgg_torch.py ended; its error is above")
        return json.loads(line)

    def train(self, layout):
        """Runs one round; returns seconds per step."""
        print(layout, file=self.process.stdin, flush=True)
        return self._answer()

    def close(self):
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait()


def main():
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--width", type=float, default=1.0, help="as model.width_multiplier")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=4, help="a round; more where width is small")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter that has PyTorch")
    parser.add_argument("--out", type=Path, help="writes the figures as JSON")
    args = parser.parse_args()

    threads = len(os.sched_getaffinity(0))
    keras.utils.set_random_seed(0)
    model = network(args.width)
    pipeline, constant = inputs(args.batch)
    torch = Torch(args.torch, args, threads) if args.torch else None
    n_weights = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    if torch and torch.about["weights"] != n_weights:
        raise SystemExit(f"not the same network: PyTorch's has {torch.about['weights']:,} weights")

    def fit(batches):
        watch = Stopwatch()
        batches = batches.take(args.steps + 1)
        model.fit(batches, epochs=1, shuffle=False, verbose=0, callbacks=[watch])
        return (watch.ends[-1] - watch.ends[0]) / args.steps

    for batches in (constant, pipeline(0)):  # to warm up; vgg_torch.py has done so too
        fit(batches)
    turns = {
        "fit, constant batch": lambda number: fit(constant),
        "fit, real input": lambda number: fit(pipeline(number)),
    }
    for layout in torch.about["layouts"] if torch else ():
        turns[f"PyTorch, {layout}"] = lambda number, layout=layout: torch.train(layout)
    seconds = {name: [] for name in turns}
    for number in range(args.rounds):
        print(f"round {number + 1} of {args.rounds}", file=sys.stderr, flush=True)
        for name in list(turns) if number % 2 == 0 else list(turns)[::-1]:
            seconds[name].append(turns[name](number))
    if torch:
        torch.close()

    medians = {name: statistics.median(times) for name, times in seconds.items()}
    figures = {
        "width": args.width,
        "batch": args.batch,
        "steps": args.steps,
        "threads": threads,
        "weights": n_weights,
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__},
        "seconds_per_step": seconds,
        "median_seconds_per_step": medians,
        "input_loses": medians["fit, real input"] / medians["fit, constant batch"] - 1,
    }
    print(
        f"VGG-E, width {args.width:g}, {n_weights:,} weights, batch {args.batch}, "
        f"{threads} threads, {args.rounds} rounds of {args.steps} steps"
    )
    print(f"{'':28}{'s / step':>10}{'segments/s':>12}{'range s':>20}")
    for name, median in medians.items():
        spread = f"{min(seconds[name]):.4f}-{max(seconds[name]):.4f}"
        print(f"{name:28}{median:10.4f}{args.batch / median:12,.0f}{spread:>20}")
    print(f"input loses {figures['input_loses']:.1%} (target: less than 5 %)")
    if torch:
        best = min(medians[name] for name in medians if name.startswith("PyTorch"))
        figures["versions"]["torch"] = torch.about["torch"]
        figures["times_torch"] = best / medians["fit, constant batch"]
        print(
            f"fit is {figures['times_torch']:.2f} x as fast as PyTorch {torch.about['torch']} "
            "(target: 1 or more)"
        )
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
