"""Seconds of the probes of the Aux-VAE.

    python benchmarks/probes.py [--rounds 3] [--out probes.json]

Speaker, gender and emotion, of 1,000 utterances of one piece, three latent variables each: nine
probes, trained on four fifths and tested on the rest.
"""

import argparse
import os
import statistics
import time
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import turns

from tfser.config.hparams import load_hparams
from tfser.evaluation.splits import Split
from tfser.models.auxvae import probes

HP = load_hparams("auxvae", "librispeech")


def time_probes(n=1000):
    """Return the seconds of three tasks, each on three latent variables, trained on four fifths."""
    rng = np.random.default_rng(0)
    latents = {name: rng.normal(0, 1, (n, 512)).astype("float32") for name in "hmz"}
    split = Split(np.arange(n * 4 // 5), np.empty(0, int), np.arange(n * 4 // 5, n))
    start = time.perf_counter()
    for n_classes in (24, 2, 8):  # speakers, genders, emotions
        speech = SimpleNamespace(
            classes=list(range(n_classes)), y=rng.integers(0, n_classes, n), utterance=np.arange(n)
        )
        network = probes.make_classifiers(latents, speech, HP)
        probes.train_probes(network, latents, speech, split, HP, 0)
    return time.perf_counter() - start


def main():
    """Print the median."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    seconds = [time_probes() for _ in range(args.rounds)]
    print(f"nine probes {statistics.median(seconds):6.1f} s")
    if args.out:
        turns.write_figures(args.out, seconds=seconds, median=statistics.median(seconds))


if __name__ == "__main__":
    main()
