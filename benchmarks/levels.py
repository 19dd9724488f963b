"""Distance of two corpora at ACNN's input: bands of one by the statistics of the other.

    python benchmarks/levels.py --corpora ravdess emodb --roots RAVDESS EMODB [--out levels.json]

For utterances whose class is in ACNN's [labels]: the mean over frames of each band's z-score with
the other corpus's mean and standard deviation, which is the input of a network trained there, and
the distance of the 90th percentiles of the frames' energy in dB.
"""

import argparse
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from tfser.audio import decode
from tfser.config.hparams import load_hparams
from tfser.corpora.loader import load_corpus
from tfser.models.acnn.dataset import make_input_layer


def load_frames(corpus, root):
    """Load the log-mel frames [n, n_bands] of a corpus."""
    hp = load_hparams("acnn", corpus)
    layer, _ = make_input_layer(hp)
    utterances = [u for u in load_corpus(corpus, root) if u.emotion in hp["labels"]["keep"]]
    return np.concatenate(layer.extract([decode.load_audio(u.path) for u in utterances]))


def main():
    """Print and write the distances."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--corpora", nargs=2, required=True)
    parser.add_argument("--roots", nargs=2, type=Path, required=True)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    frames = dict(zip(args.corpora, map(load_frames, args.corpora, args.roots), strict=True))
    result = {"command": " ".join(["python", *sys.argv])}
    for first, second in (args.corpora, args.corpora[::-1]):
        z = (frames[second] - frames[first].mean(axis=0)) / frames[first].std(axis=0)
        loud = [np.percentile(np.exp(frames[c]).sum(axis=1), 90) for c in (first, second)]
        result[f"{second} as {first} has it"] = {
            "mean_z": float(z.mean()),
            "mean_z_of_bands": [float(value) for value in z.mean(axis=0)],
            "louder_db": float(10 * np.log10(loud[1] / loud[0])),
        }
        print(f"{second} as {first} has it: mean z {z.mean():+.2f}", end=", ")
        print(f"louder by {10 * np.log10(loud[1] / loud[0]):.1f} dB")
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
