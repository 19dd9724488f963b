"""Speed and memory of the segment pipeline on a corpus of CASIA's size.

    python benchmarks/segments.py [--epochs 3] [--out segments.json]

7,200 utterances of 198 frames x 64 bands (365 MB), segments of 32 frames every 3 frames, batches
of 128, shuffled, with soft labels of 6 classes: 403,200 segments, which would be 3.3 GB as
copies. The pipeline alone is measured: nothing is trained.
"""

import argparse
import json
import os
import resource
import statistics
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from tfser.cache import pipelines

UTTERANCES, FRAMES, BANDS, CLASSES = 7200, 198, 64, 6


def peak_gb():
    """Return the peak memory of this process in GB (Linux counts in KB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main():
    """Run the epochs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--out", type=Path, help="writes the figures as JSON")
    args = parser.parse_args()

    rng = np.random.default_rng(0)
    frames = rng.standard_normal((UTTERANCES * FRAMES, BANDS), dtype="float32")
    offsets = np.arange(UTTERANCES + 1) * FRAMES
    starts, utterance = pipelines.index_segments(offsets, n_frames=32, hop_frames=3)
    labels = rng.dirichlet(np.ones(CLASSES), len(starts)).astype("float32")
    before_gb = peak_gb()
    frames = pipelines.as_tensor(frames)  # frees the array

    rates = []
    for epoch in range(args.epochs):
        start = time.perf_counter()
        n_seen = 0
        for x, _ in pipelines.segment_batches(
            frames, starts, labels, n_frames=32, batch_size=128, seed=0, epoch=epoch
        ):
            n_seen += x.shape[0]
        rates.append(n_seen / (time.perf_counter() - start))
        assert n_seen == len(starts)

    print(f"{len(starts):,} segments of 32 x {BANDS} frames, batch 128, {os.cpu_count()} cores")
    print(
        f"segments/s    median {statistics.median(rates):10,.0f}   "
        f"epochs {', '.join(f'{rate:,.0f}' for rate in rates)}"
    )
    print(
        f"peak memory   {peak_gb():.2f} GB, of it {before_gb:.2f} GB before the pipeline "
        f"(frames {frames.shape.num_elements() * 4 / 1e9:.2f} GB)"
    )
    if args.out:
        args.out.write_text(
            json.dumps(
                {
                    "segments": len(starts),
                    "cores": os.cpu_count(),
                    "segments_per_second": rates,
                    "peak_gb": peak_gb(),
                    "before_gb": before_gb,
                },
                indent=1,
            )
        )


if __name__ == "__main__":
    main()
