"""Speed of auDeep's spectrograms: ours against its recipe in NumPy and SciPy.

    python benchmarks/spectrograms.py --root FOLDER_OF_SOUND [--rounds 5] [--out spectrograms.json]

Both from waveforms in memory to [186, 128], a thread for each core; the recipe's mel bank is
computed once, as ours is. They take turns; figures are medians. Target: three times the recipe's
speed.
"""

import argparse
import json
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import scipy.signal

from tfser.audio import decode
from tfser.features.audeep import Spectrogram

LAYER = Spectrogram(
    sample_rate_hz=16000, window_seconds=0.08, hop_seconds=0.04, n_bands=128, pre_emphasis=0.95,
    floor_db=-60.0, seconds=7.5,
)  # fmt: skip
BANK = LAYER.bands.T.astype("float64")
HANN = scipy.signal.get_window("hann", LAYER.window)


def extract_by_recipe(waveform):
    """Compute auDeep's spectrogram of a clip (preprocessing.py, spectral.py), in its order."""
    x = waveform[: LAYER.n_samples].astype("float64")
    x = np.pad(x, (0, LAYER.n_samples - len(x)))
    x = np.append(x[0], x[1:] - 0.95 * x[:-1])
    _, _, magnitude = scipy.signal.spectrogram(
        x, 16000, window=HANN, nperseg=LAYER.window, noverlap=LAYER.window - LAYER.hop,
        mode="magnitude",
    )  # fmt: skip
    power = np.dot(BANK, magnitude**2 / LAYER.window)
    power[power == 0] = power[power > 0].min()
    db = 10 * np.log10(power / power.max())
    db[db < -60] = -60
    db -= db.mean()
    low, high = db.min(), db.max()
    return (2 * (db - low) / (high - low) - 1).T


def main():
    """Print clips per second and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    files = sorted(p for p in args.root.rglob("*") if p.suffix in (".wav", ".flac"))
    waveforms = [decode.load_audio(file) for file in files]
    candidates = {
        "ours": lambda waveform: LAYER.extract([waveform])[0],
        "recipe": extract_by_recipe,
    }
    for waveform in waveforms[:: max(1, len(waveforms) // 20)]:
        np.testing.assert_allclose(
            candidates["ours"](waveform), extract_by_recipe(waveform), atol=2e-5
        )
    seconds = {name: [] for name in candidates}
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for number in range(args.rounds + 1):  # the first to warm up
            for name, extract in list(candidates.items())[:: 1 if number % 2 else -1]:
                start = time.perf_counter()
                list(pool.map(extract, waveforms))
                seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    for name, value in median.items():
        print(f"{name:<7} {len(waveforms) / value:7.0f} clips/s")
    print(f"ratio   {median['recipe'] / median['ours']:7.2f}")
    if args.out:
        result = {
            "command": " ".join(["python", *sys.argv]),
            "clips": len(waveforms),
            "seconds": seconds,
            "ratio": median["recipe"] / median["ours"],
        }
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
