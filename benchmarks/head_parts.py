"""Seconds of the parts of a training step of BEGAN's head, and of faster candidates.

    python benchmarks/head_parts.py [--rounds 9] [--torch TORCH_VENV/bin/python] [--out FILE]

The step of benchmarks/run.py, on one batch: as tfser-train runs it, compiled by XLA, and eight
steps per call. Its parts alone: the convolution, the gradient of its filters, the same gradient as
one matrix product, and the update of all weights by Adam. PyTorch's step beside them. All take
turns; figures are medians after two warm-up turns.
"""

import argparse
from pathlib import Path

from tfser import tensorflow_startup

tensorflow_startup.import_keras()

import keras  # noqa: E402
import networks  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import turns  # noqa: E402

STEPS = 8  # per turn
BATCH, HEIGHT, WIDTH, CHANNELS, N_FILTERS = SHAPE = 16, 65, 12, 256, 32


def time_step(steps):
    """Return a function: seconds of one of the STEPS steps that `steps` runs."""
    call = turns.time_call(steps)
    return lambda: call() / STEPS


def time_fit(xla=False, steps_per_execution=1):
    """Return a function: seconds of a step by `fit`."""
    keras.utils.set_random_seed(0)
    model, batches, *_ = networks.began_head(Path())
    model.jit_compile = xla
    model.steps_per_execution = steps_per_execution
    constant = batches(0).take(1).cache().repeat(STEPS)
    constant = constant.apply(tf.data.experimental.assert_cardinality(STEPS))
    return time_step(lambda: model.fit(constant, epochs=1, shuffle=False, verbose=0))


def filters_gradient(maps, result_gradient):
    """Compute the gradient [3, 3, channels, K] of the filters.

    maps: [batch, height, width, channels]; of_result: [batch, height, width, K].
    """
    return tf.raw_ops.Conv2DBackpropFilter(
        input=maps,
        filter_sizes=(3, 3, CHANNELS, N_FILTERS),
        out_backprop=result_gradient,
        strides=[1, 1, 1, 1],
        padding="SAME",
    )


def multiply_shifts(maps, result_gradient):
    """Compute the same gradient as one matrix product of the maps and nine shifts of the result."""
    padded = tf.pad(result_gradient, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = [(i, j) for i in (2, 1, 0) for j in (2, 1, 0)]
    shifts = tf.stack([padded[:, i : i + HEIGHT, j : j + WIDTH] for i, j in taps], axis=3)
    rows, columns = tf.reshape(maps, (-1, CHANNELS)), tf.reshape(shifts, (-1, 9 * N_FILTERS))
    product = tf.reshape(tf.matmul(rows, columns, transpose_a=True), (CHANNELS, 3, 3, N_FILTERS))
    return tf.transpose(product, (1, 2, 0, 3))


def trace(function, *arguments):
    """Return a traced function without arguments that calls `function` with these arguments."""
    return tf.function(lambda: function(*arguments), autograph=False)


def make_update():
    """Return a function that updates all weights of the head by Adam."""
    model, *_ = networks.began_head(Path())
    gradients = [tf.random.normal(weight.shape) for weight in model.trainable_weights]
    return trace(model.optimizer.apply, gradients, model.trainable_weights)


def time_repeated(function):
    """Return a function: seconds of a call of `function`."""

    def call_all():
        for _ in range(STEPS):
            function()

    return time_step(call_all)


def main():
    """Check that both gradients are equal, then print the medians and their ratios to ours."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter that has PyTorch")
    parser.add_argument("--out", type=Path, help="writes the figures as JSON")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    maps, filters, result_gradient = (
        tf.constant(rng.standard_normal(shape, dtype="float32"))
        for shape in (SHAPE[:4], (3, 3, CHANNELS, N_FILTERS), (*SHAPE[:3], N_FILTERS))
    )
    gradients = (way(maps, result_gradient) for way in (filters_gradient, multiply_shifts))
    np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-2)

    steps = {
        "step": time_fit(),
        "step, XLA": time_fit(xla=True),
        "step, eight in a call": time_fit(steps_per_execution=STEPS),
        "convolution": time_repeated(trace(tf.nn.conv2d, maps, filters, 1, "SAME")),
        "its filters' gradient": time_repeated(trace(filters_gradient, maps, result_gradient)),
        "the same as one product": time_repeated(trace(multiply_shifts, maps, result_gradient)),
        "Adam": time_repeated(make_update()),
    }
    if args.torch:
        for layout in ("NCHW", "channels_last"):
            step, _ = turns.start_torch(args.torch, "head_torch.py", *SHAPE[:4], layout)
            steps[f"PyTorch's step, {layout}"] = step
    for step in steps.values():
        step()
    figures = turns.compare(steps, args.rounds)
    if args.out:
        turns.write_figures(args.out, shape=SHAPE, **figures)


if __name__ == "__main__":
    main()
