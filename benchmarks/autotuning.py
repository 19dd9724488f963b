"""Cost of TensorFlow's autotuning of the pipeline, see `tf_data.disable_autotuning`.

    python benchmarks/autotuning.py [--rounds 15] [--out FILE]

Epochs of the AAE of utterances by `fit`, of 10, 20 and 30 batches, with and without, in turns.
"""

import argparse
import statistics
from pathlib import Path

from tfser import tensorflow_startup

tensorflow_startup.import_keras()

import networks  # noqa: E402
import tensorflow as tf  # noqa: E402
import turns  # noqa: E402

from tfser.training.epoch import train_epoch  # noqa: E402


def main():
    """Print medians and means of an epoch's seconds: some autotuned epochs wait, some do not."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, help="writes the figures as JSON")
    args = parser.parse_args()
    model, batches, *_ = networks.aae_network(Path())
    autotune = tf.data.Options()
    autotune.autotune.enabled = True

    def time_epochs(dataset):
        return turns.time_call(lambda: train_epoch(model, dataset))

    figures = {}
    for n in (10, 20, 30):
        print(f"epochs of {n} batches")
        ours = batches(0).take(n)
        steps = {"ours": time_epochs(ours), "tuned": time_epochs(ours.with_options(autotune))}
        times = turns.compare(steps, args.rounds)
        mean = {name: statistics.mean(values) for name, values in times["seconds"].items()}
        print(
            f"means: {mean['ours']:.3f} and {mean['tuned']:.3f} s, tuned has "
            f"{mean['tuned'] / mean['ours']:.2f} of ours"
        )
        figures[f"{n} batches"] = times | {"mean": mean}
    if args.out:
        turns.write_figures(args.out, **figures)


if __name__ == "__main__":
    main()
