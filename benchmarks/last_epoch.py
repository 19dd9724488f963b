"""The AAE without a dev part: what choosing the epoch costs, and what the dev speaker would add.

    python benchmarks/last_epoch.py last|dev-trains FLAGS OF tfser-train

Trains like `tfser-train --model aae FLAGS`, with two changes to the protocol. Of every network the
last epoch is kept ("last"); with "dev-trains" each fold's dev part is in its training part, too,
and its dev score is one of training. Neither sees the test part. A control for the card, no row of
it: the folder, for `benchmarks/trainings.py` to read, is the --workdir (default: runs/aae) with
"-last" or "-dev-trains" at its end, so that no run or other control takes its networks for its own.
"""

import argparse
import sys

import numpy as np

from tfser.cli import train
from tfser.models.aae import experiment
from tfser.training import loop


def last(history):
    """The number (from 0) of the epoch to keep."""
    return len(history) - 1


def main():
    """Runs the command and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("control", choices=("last", "dev-trains"))
    parser.add_argument("--workdir", default="runs/aae", help="the control's name is added to it")
    args, flags = parser.parse_known_args()
    loop.best_uar_epoch = last
    if args.control == "dev-trains":
        plan = experiment.make_splits

        def with_dev(utterances, run):
            return [
                split._replace(train=np.sort(np.concatenate([split.train, split.dev])))
                for split in plan(utterances, run)
            ]

        experiment.make_splits = with_dev
    folder = f"{args.workdir.rstrip('/')}-{args.control}"
    return train.main(["--model", "aae", "--workdir", folder, *flags])


if __name__ == "__main__":
    sys.exit(main())
