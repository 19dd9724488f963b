"""Speed of openSMILE's functionals: the feature cache against opensmile's own worker processes.

    python benchmarks/functionals.py --root FOLDER_OF_SOUND [--rounds 3] [--out functionals.json]

Both compute the 6373 IS13 functionals of the same files, with a process for each core:
`feature_cache.load_features`, which also checks, hashes, clips and writes its output, and
`opensmile.Smile(num_workers=...).process_files`, which returns the values alone. Then the cache is
read again. Each runs in a process of its own, timed from the first call to the values without
imports; they take turns, figures are medians. Target: ratio 1.05, and 2 s from the cache.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import soundfile

OURS = """
import sys, time
from pathlib import Path
from tfser.cache import feature_cache
from tfser.features import opensmile
from tfser.corpora.utterance import Utterance
files = sorted(p for p in Path(sys.argv[1]).rglob("*") if p.suffix in (".wav", ".flac"))
utterances = [Utterance(path, str(i), "speaker") for i, path in enumerate(files)]
start = time.perf_counter()
feature = opensmile.OpenSmile(sample_rate_hz=16000, feature_set="IS13", level="functionals")
features = feature_cache.load_features(utterances, feature, cache=Path(sys.argv[2]))
print(time.perf_counter() - start, *features.frames.shape)
"""
THEIRS = """
import os, sys, time
from pathlib import Path
from pathlib import Path
import opensmile
files = sorted(str(p) for p in Path(sys.argv[1]).rglob("*") if p.suffix in (".wav", ".flac"))
start = time.perf_counter()
smile = opensmile.Smile(
    opensmile.FeatureSet.IS13, opensmile.FeatureLevel.Functionals,
    num_workers=len(os.sched_getaffinity(0)), multiprocessing=True,
)
values = smile.process_files(files)
print(time.perf_counter() - start, *values.shape)
"""


def run(code, *arguments):
    """Run code in a child process and return (seconds, shape) as the child measured them."""
    process = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=Path(__file__).resolve().parents[1],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
    )
    if process.returncode:
        raise SystemExit(process.stderr[-2000:])
    seconds, *shape = process.stdout.split()[-3:]
    return float(seconds), shape


def main():
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, required=True, help="a folder of .flac or .wav")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="writes the figures as JSON")
    args = parser.parse_args()

    seconds = {"store": [], "process_files": [], "from the cache": []}
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as cache:
            ours, shape = run(OURS, args.root.resolve(), cache)
            seconds["store"].append(ours)
            seconds["from the cache"].append(run(OURS, args.root.resolve(), cache)[0])
        theirs, their_shape = run(THEIRS, args.root.resolve())
        seconds["process_files"].append(theirs)
        assert shape == their_shape, (shape, their_shape)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    ratio = medians["store"] / medians["process_files"]
    print(f"{' x '.join(shape)} functionals, {args.rounds} rounds")
    for name, times in seconds.items():
        print(f"{name:16}{medians[name]:8.2f} s ({min(times):.2f} to {max(times):.2f})")
    print(f"store / process_files: {ratio:.3f}")
    if args.out:
        files = [p for p in args.root.rglob("*") if p.suffix in (".wav", ".flac")]
        hours = sum(soundfile.info(file).duration for file in files) / 3600
        figures = {
            "cores": len(os.sched_getaffinity(0)),
            "functionals": shape,
            "peer": "opensmile.Smile",
            "files": len(files),
            "hours": hours,
            "seconds": seconds,
            "median": medians,
            "files_a_second": len(files) / medians["store"],
            "hours_a_second": hours / medians["store"],
            "times_peer": 1 / ratio,
        }
        args.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
