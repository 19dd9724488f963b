"""Peak memory of tfser-predict: 100 and 2,000 files, recordings of 10 minutes and of 3 hours.

    python benchmarks/prediction_memory.py --run DIR [--out prediction_memory.json]

Writes noise: files of 3 s, and two long recordings. A process of its own predicts each input; its
peak is that of the kernel's accounts. Memory is flat where both peaks of a pair are the same.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000
FILE_SECONDS = 3


def main():
    """Measure and print a row for each input."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--run", type=Path, required=True, help="run directory of tfser-train")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, n_files, seconds in (
            ("100 files", 100, FILE_SECONDS),
            ("2,000 files", 2000, FILE_SECONDS),
            ("10 minutes", 1, 600),
            ("3 hours", 1, 3 * 3600),
        ):
            recordings = Path(folder, name.replace(" ", "-"))
            write_noise(recordings, n_files, seconds)
            wall, peak, n_rows = predict(args.run, recordings)
            rows.append({"input": name, "rows": n_rows, "seconds": wall, "peak_mib": peak})
            print(f"{name:12} {n_rows:6} rows  {wall:6.1f} s  {peak:6.0f} MiB", flush=True)
    if args.out:
        args.out.write_text(json.dumps({"run": args.run.name, "inputs": rows}, indent=1) + "\n")


def write_noise(folder: Path, n_files: int, seconds: int) -> None:
    """Write files of noise, second by second."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(n_files):
        with soundfile.SoundFile(folder / f"{i:04}.wav", "w", RATE, 1, subtype="PCM_16") as file:
            for _ in range(seconds):
                file.write(rng.normal(0, 0.1, RATE).astype("float32"))


def predict(run: Path, folder: Path) -> tuple[float, float, int]:
    """Return the seconds, the peak in MiB and the rows of tfser-predict on a folder."""
    words = [sys.executable, "-m", "tfser.cli.predict", "--run", run, "--folder", folder]
    words += ["--out", folder / "rows.csv"]
    started = time.monotonic()
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"tfser-predict on {folder.name} ended with {status}")
    n_rows = len((folder / "rows.csv").read_text().splitlines()) - 1
    return time.monotonic() - started, usage.ru_maxrss / 1024, n_rows


if __name__ == "__main__":
    main()
