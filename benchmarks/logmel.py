"""Speed of LogMel.extract, as the feature cache calls it, against librosa.

    python benchmarks/logmel.py [--root FOLDER_OF_WAVS] [--rounds 7] [--out logmel.json]

Both get the same decoded waveforms (decoding is not timed) and compute the same 64 log mel bands.
LogMel runs as in the cache: shards of 64 utterances, one thread a core. librosa runs one file after
another, as usual, and again with a thread a core. Its matrix product may use all cores or, where
that is faster for such small products, a single core: both are measured, and the ratio is taken to
the faster. The candidates take turns, so that other load on the machine meets all of them; figures
are medians over the rounds. Where another program keeps the other cores busy, the ratio of CPU
seconds is still valid for one core, but does not include the gain of a second core.
"""

import argparse
import json
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import librosa
import numpy as np
from threadpoolctl import threadpool_limits

from tfser.audio import decode
from tfser.cache.feature_cache import SHARD_UTTERANCES
from tfser.features.log_mel import LogMel

RATE = 16000
FLOOR = 1e-6


def extract_by_librosa(waveform):
    """Compute the bands by librosa: [samples] -> [frames, 64]."""
    power = librosa.feature.melspectrogram(
        y=waveform, sr=RATE, n_fft=512, win_length=400, hop_length=160, center=False, n_mels=64
    )
    return np.log(np.maximum(power, FLOOR)).T


def load_waveforms(root, n_files):
    """Decode the files below a folder, or make noise of 1 to 5 s where there is none."""
    if root is None:
        rng = np.random.default_rng(0)
        lengths = rng.integers(RATE, 5 * RATE, n_files)
        return [rng.uniform(-0.5, 0.5, length).astype("float32") for length in lengths]
    files = sorted(p for p in root.rglob("*") if p.suffix in (".wav", ".flac"))[:n_files]
    with ThreadPoolExecutor() as pool:
        return list(pool.map(decode.load_audio, files))


def main():
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, help="folder of .wav or .flac; default: noise")
    parser.add_argument("--files", type=int, default=512, help="at most so many")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, help="writes the figures as JSON")
    args = parser.parse_args()

    waveforms = load_waveforms(args.root, args.files)
    hours = sum(map(len, waveforms)) / RATE / 3600
    shards = [
        waveforms[i : i + SHARD_UTTERANCES] for i in range(0, len(waveforms), SHARD_UTTERANCES)
    ]
    layer = LogMel(
        sample_rate_hz=RATE,
        window_seconds=0.025,
        hop_seconds=0.010,
        taper="hann",
        n_fft=512,
        mel="slaney",
        n_bands=64,
        low_hz=0.0,
        high_hz=RATE / 2,
        floor=FLOOR,
        min_frames=1,
    )

    def in_threads(work, items):
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(work, items))

    def single_threaded_blas(work):
        with threadpool_limits(1):
            return work()

    candidates = {
        "LogMel.extract, thread a core": lambda: in_threads(layer.extract, shards),
        "LogMel.extract, one thread": lambda: list(map(layer.extract, shards)),
        "librosa, loop": lambda: list(map(extract_by_librosa, waveforms)),
        "librosa, loop, BLAS on 1 core": lambda: single_threaded_blas(
            lambda: list(map(extract_by_librosa, waveforms))
        ),
        "librosa, thread a core, BLAS on 1": lambda: single_threaded_blas(
            lambda: in_threads(extract_by_librosa, waveforms)
        ),
    }
    wall = {name: [] for name in candidates}
    cpu = {name: [] for name in candidates}
    for _ in range(args.rounds + 1):  # the first warms up
        for name, work in candidates.items():
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            work()
            wall[name].append(time.perf_counter() - wall_start)
            cpu[name].append(time.process_time() - cpu_start)
    wall = {name: statistics.median(times[1:]) for name, times in wall.items()}
    cpu = {name: statistics.median(times[1:]) for name, times in cpu.items()}

    def times_faster(seconds, names):
        return min(seconds[name] for name in names) / seconds["LogMel.extract, thread a core"]

    loops = ["librosa, loop", "librosa, loop, BLAS on 1 core"]
    ratios = {
        "wall, to the loop": times_faster(wall, loops),
        "wall, to librosa in threads": times_faster(wall, ["librosa, thread a core, BLAS on 1"]),
        "cpu, to the loop": times_faster(cpu, loops),
    }
    print(
        f"{len(waveforms)} files, {hours:.2f} h, {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f}, medians of {args.rounds} rounds"
    )
    print(f"{'':36}{'wall s':>8}{'CPU s':>8}{'h of audio / s':>16}")
    for name in candidates:
        print(f"{name:36}{wall[name]:8.3f}{cpu[name]:8.3f}{hours / wall[name]:16.2f}")
    for name, ratio in ratios.items():
        print(f"LogMel.extract is {ratio:.1f} x as fast: {name}")
    if args.out:
        args.out.write_text(
            json.dumps(
                {
                    "files": len(waveforms),
                    "hours": hours,
                    "cores": os.cpu_count(),
                    "root": args.root.name if args.root else "noise",
                    "wall_seconds": wall,
                    "cpu_seconds": cpu,
                    "ratios": ratios,
                },
                indent=1,
            )
        )


if __name__ == "__main__":
    main()
