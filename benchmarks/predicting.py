"""Speed of tfser-predict on a folder: seconds to its first row, and hours of audio per hour.

    python benchmarks/predicting.py --folder WAVS --export DIR ... [--rounds 3] [--out FILE]

The complete command, with TensorFlow's start, runs in a process of its own; exports take turns.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import soundfile

from tfser.cli.predict import SUFFIXES
from tfser.corpora import audio_folder


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--export", type=Path, action="append", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    names = [export.name for export in args.export]
    if len(set(names)) < len(names):
        parser.error(f"--export: each needs a name of its own, not {' '.join(names)}; rename one")
    infos = [soundfile.info(path) for path in audio_folder.list_audio_files(args.folder, SUFFIXES)]
    hours = sum(info.duration for info in infos) / 3600
    print(f"{len(infos)} files, {hours:.2f} h")
    seconds = {name: [] for name in names}
    for _ in range(args.rounds):
        for export in args.export:
            seconds[export.name].append(time_export(export, args.folder, len(infos)))
    result = {"cores": len(os.sched_getaffinity(0)), "files": len(infos), "hours": hours}
    for name, runs in seconds.items():
        first, whole = (statistics.median(column) for column in zip(*runs, strict=True))
        print(
            f"{name:20} first row {first:.1f} s, all {whole:.1f} s: {3600 * hours / whole:.0f} h/h"
        )
        result[name] = {"seconds_to_first_row": first, "seconds": whole, "rounds": runs}
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


def time_export(export, folder, n_files) -> tuple[float, float]:
    """Return the seconds to the first row, and to the end."""
    command = [sys.executable, "-m", "tfser.cli.predict", "--export", export, "--folder", folder]
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1)
    process.stdout.readline()  # the header
    process.stdout.readline()
    first = time.monotonic() - started
    n_rows = 1 + sum(1 for _ in process.stdout)
    if process.wait() or n_rows < n_files:
        raise SystemExit(f"exit code {process.returncode}, {n_rows} rows of {n_files} files")
    return first, time.monotonic() - started


if __name__ == "__main__":
    main()
