"""The AAE without a dev part: what choosing the epoch costs, and what the dev speaker would add.

    python benchmarks/last_epoch.py last|dev-trains FLAGS OF tfser-train

Trains like `tfser-train --model aae FLAGS`, with two changes to the protocol. Of every network the
last epoch is kept ("last"); with "dev-trains" each fold's dev part is in its training part, too,
and its dev score is one of training. Neither sees the test part. A control for the card, no row of
it: the folder is runs/aae-last or runs/aae-dev-trains, or a --workdir of its own, for
`benchmarks/trainings.py` to read.
"""

import argparse
import sys

import numpy as np

from tfser import train, training
from tfser.models import aae


def last(history):
    """The number (from 0) of the epoch to keep."""
    return len(history) - 1


def main():
    """Runs the command and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("control", choices=("last", "dev-trains"))
    args, flags = parser.parse_known_args()
    training.best_uar_epoch = last
    if args.control == "dev-trains":
        plan = aae.plan

        def with_dev(utterances, run):
            return [
                split._replace(train=np.sort(np.concatenate([split.train, split.dev])))
                for split in plan(utterances, run)
            ]

        aae.plan = with_dev
    # Not the folder of a run, whose command would take these networks for its own.
    return train.main(["--model", "aae", "--workdir", f"runs/aae-{args.control}", *flags])


if __name__ == "__main__":
    sys.exit(main())
