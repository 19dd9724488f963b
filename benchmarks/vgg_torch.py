"""Seconds per training step of EPR's network in PyTorch: what benchmarks/fit.py is held against.

    python benchmarks/vgg_torch.py [--width 1.0] [--steps 4] [--rounds 3] [--out vgg_torch.json]

It needs PyTorch alone, no tfser and no TensorFlow; measured with 2.13.0 (`pip install torch==2.13.0
numpy`). The network is tfser.models.epr.network.vgg: VGG configuration E on segments of 32 frames x
64 bands after a z-score, two hidden dense layers with dropout 0.5, float32, cross-entropy against
soft labels, Adam, one constant batch of 128.

PyTorch gets its best plain form: in-place ReLU, Adam in one fused kernel, gradients dropped and not
zeroed, no number read back within a round, the loss from logits. Both layouts of the convolutions
(NCHW and channels_last) take turns and the faster counts. torch.compile is left out, as is XLA on
the other side.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import nn

BLOCKS = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))  # convolutions, filters
DENSE_UNITS = (4096, 4096)
FRAMES, BANDS, CLASSES = 32, 64, 6
LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


def vgg(width_multiplier):
    """VGG-E: [batch, 1, FRAMES, BANDS] -> logits [batch, CLASSES]."""
    modules = [nn.BatchNorm2d(1, eps=1e-6, affine=False).eval()]  # the z-score, never in training
    previous = 1
    for n_convolutions, filters in BLOCKS:
        for _ in range(n_convolutions):
            units = max(1, round(filters * width_multiplier))
            modules += [nn.Conv2d(previous, units, 3, padding=1), nn.ReLU(inplace=True)]
            previous = units
        modules.append(nn.MaxPool2d(2))
    modules.append(nn.Flatten())
    previous *= (FRAMES // 32) * (BANDS // 32)
    for units in DENSE_UNITS:
        units = max(1, round(units * width_multiplier))
        modules += [nn.Linear(previous, units), nn.ReLU(inplace=True), nn.Dropout(0.5)]
        previous = units
    modules.append(nn.Linear(previous, CLASSES))
    for module in modules:
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            nn.init.zeros_(module.bias)
    return nn.Sequential(*modules)


def trainer(layout, width_multiplier, batch_size):
    """Returns (number of weights, function steps -> seconds per step)."""
    torch.manual_seed(0)
    model = vgg(width_multiplier).to(memory_format=LAYOUTS[layout])
    x = torch.randn(batch_size, 1, FRAMES, BANDS).to(memory_format=LAYOUTS[layout])
    y = torch.distributions.Dirichlet(torch.ones(CLASSES)).sample((batch_size,))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7, fused=True)
    loss_of = nn.CrossEntropyLoss()

    def train(steps):
        start = time.perf_counter()
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(model(x), y)
            loss.backward()
            optimizer.step()
        loss.item()
        return (time.perf_counter() - start) / steps

    return sum(p.numel() for p in model.parameters()), train


def main():
    """Measures, or takes turns with another process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--width", type=float, default=1.0, help="as model.width_multiplier")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=4, help="a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, help="writes the figures as JSON")
    parser.add_argument(
        "--serve",
        action="store_true",
        help="for fit.py: a round for each layout read from stdin, answered in JSON",
    )
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    trainers, n_weights = {}, 0
    for layout in LAYOUTS:
        n_weights, trainers[layout] = trainer(layout, args.width, args.batch)
        trainers[layout](1)  # oneDNN makes its kernels, Adam its moments
    if args.serve:
        about = {"torch": torch.__version__, "weights": n_weights, "layouts": list(LAYOUTS)}
        print(json.dumps(about), flush=True)
        for line in sys.stdin:
            print(json.dumps(trainers[line.strip()](args.steps)), flush=True)
        return

    seconds = {layout: [] for layout in LAYOUTS}
    for _ in range(args.rounds):
        for layout, train in trainers.items():
            seconds[layout].append(train(args.steps))
    medians = {layout: statistics.median(times) for layout, times in seconds.items()}
    print(
        f"VGG-E, width {args.width:g}, {n_weights:,} weights, batch {args.batch}, "
        f"{args.threads} threads, {args.rounds} rounds of {args.steps} steps"
    )
    for layout, median in medians.items():
        print(f"torch {torch.__version__}, {layout:16}{median:9.4f} s a step")
    if args.out:
        figures = {
            **{"torch": torch.__version__, "weights": n_weights, "width": args.width},
            **{"batch": args.batch, "steps": args.steps, "threads": args.threads},
            **{"seconds_per_step": seconds, "median_seconds_per_step": medians},
        }
        args.out.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
