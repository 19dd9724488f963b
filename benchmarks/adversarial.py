"""Cost of an update of the adversarial autoencoder against an update of its plain baseline.

    python benchmarks/adversarial.py [--utterances 8000] [--rounds 3] [--epochs 2] [--out FILE]

Both are AAE's utterance models at the paper's size on 8,000 x 6373 random functionals, batches of
64, through the run's own pipeline. A batch is one update of the baseline and four of the AAE
(reconstruction, discriminators, generator, classification); target: an update costs 1.3 times the
baseline's at most. Systems take turns; figures are medians, after a warm-up round. The traces of
the training step are counted: one, but two for the baseline, whose first trace creates the
variables of Keras' metrics.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
import turns

from tfser.config.hparams import load_hparams
from tfser.models.aae import experiment
from tfser.storage import run_directory

UPDATES = {"baseline": 1, "vanilla": 4, "optimized": 4}
N_FEATURES, N_CLASSES = 6373, 3


def main():
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--utterances", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--out", type=Path, help="writes the figures as JSON")
    args = parser.parse_args()

    n, rng = args.utterances, np.random.default_rng(0)
    x = rng.normal(size=(n, N_FEATURES)).astype("float32")
    y = rng.integers(0, N_CLASSES, n)
    classes, names = ["high", "low", "neutral"], [""] * N_FEATURES
    speech = experiment.Dataset("", [], classes, y, tf.constant(x), np.arange(n + 1), None, names)
    run = run_directory.Run(Path(), Path(), "", "paper", None, (0,), "none", 0)
    models, traces = {}, dict.fromkeys(UPDATES, 0)
    for system in UPDATES:
        hp = load_hparams("aae", "toy", overrides=[f"model.system={system}"])
        models[system] = model = experiment.compiled_network(speech, hp, run)

        def count_traces(data, step=model.train_step, system=system):
            traces[system] += 1  # Python runs only when the step is traced
            return step(data)

        model.train_step = count_traces

    def epoch(system, number):
        numbers, options = np.arange(n), {"seed": 0, "epoch": number}
        if system == "baseline":
            batches = experiment.make_labelled_batches(speech, numbers, 64, n // 64, **options)
        else:
            batches = experiment.make_autoencoder_batches(
                speech, numbers, numbers, 64, 100, **options
            )
        models[system].fit(batches, epochs=1, shuffle=False, verbose=0)

    seconds = {system: [] for system in UPDATES}
    for number in range(args.rounds + 1):
        for system in UPDATES:
            start = time.perf_counter()
            for i in range(args.epochs if number else 1):
                epoch(system, number * args.epochs + i)
            if number:
                seconds[system].append((time.perf_counter() - start) / args.epochs)
    medians = {system: statistics.median(times) for system, times in seconds.items()}
    of_update = {system: medians[system] / (n // 64 * UPDATES[system]) for system in UPDATES}
    ratios = {system: of_update[system] / of_update["baseline"] for system in UPDATES}
    print(f"{n:,} x {N_FEATURES}, batches of 64, {args.rounds} rounds of {args.epochs} epochs")
    for system in UPDATES:
        print(
            f"{system:10}{medians[system]:8.2f} s an epoch {1000 * of_update[system]:8.2f} ms an "
            f"update {ratios[system]:6.2f} of the baseline's, {traces[system]} traces"
        )
    if args.out:
        turns.write_figures(
            args.out,
            cores=len(os.sched_getaffinity(0)),
            utterances=n,
            seconds_an_epoch=seconds,
            seconds_an_update=of_update,
            ratio=ratios,
            traces=traces,
        )


if __name__ == "__main__":
    main()
