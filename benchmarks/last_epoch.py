"""AAE without a dev set: the cost of selecting the epoch, and the gain of training on dev.

    python benchmarks/last_epoch.py last|dev-trains FLAGS OF tfser-train

Trains like `tfser-train --model aae FLAGS`, with two changes to the protocol. "last" takes the last
epoch of every network; "dev-trains" also adds each fold's dev set to its training set, so that its
dev score is a training score. Neither uses the test set. The run is a control for the card, not a
row of the card: its folder, for `benchmarks/trainings.py` to read, is the --workdir (default:
runs/aae) with "-last" or "-dev-trains" at its end, so that no run or other control resumes its
networks.
"""

import argparse
import sys

import numpy as np

from tfser.cli import train
from tfser.models.aae import experiment
from tfser.training import loop


def last_epoch(history):
    """Return the number (from 0) of the last epoch."""
    return len(history) - 1


def main():
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("control", choices=("last", "dev-trains"))
    parser.add_argument("--workdir", default="runs/aae", help="the control's name is added to it")
    args, flags = parser.parse_known_args()
    loop.best_uar_epoch = last_epoch
    if args.control == "dev-trains":
        make_splits = experiment.make_splits

        def make_splits_with_dev(*arguments):
            return [
                split._replace(train=np.sort(np.concatenate([split.train, split.dev])))
                for split in make_splits(*arguments)
            ]

        experiment.make_splits = make_splits_with_dev
    folder = f"{args.workdir.rstrip('/')}-{args.control}"
    return train.main(["--model", "aae", "--workdir", folder, *flags])


if __name__ == "__main__":
    sys.exit(main())
