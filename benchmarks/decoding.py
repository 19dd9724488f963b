"""Decoding speed per core of soundfile and tensorflow-io, from files to mono waveforms.

    python benchmarks/decoding.py --data LibriSpeech [--files 128] [--rounds 5] [--out PATH]

Takes the first FLAC files of a folder and converts them to the other formats with soundfile, in a
temporary folder. Both decoders have all cores, as in the feature cache: a thread for each core, and
a shard's files at once. A second is a second of processor time of all threads, which other programs
on the machine change little. The decoders take turns; the first round of each does not count.
Prints the differences of the samples, too. Needs tensorflow-io: .venv-io.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import soundfile

from tfser.audio import decode
from tfser.corpora.audio_folder import list_audio_files
from tfser.corpora.utterance import Utterance
from tfser.storage import s3

FORMATS = [
    ("wav", "PCM_16"),
    ("wav", "PCM_24"),
    ("flac", "PCM_16"),
    ("mp3", "MPEG_LAYER_III"),
    ("ogg", "VORBIS"),
]
DECODERS = ("soundfile", "tensorflow-io")
SHARD = 32  # files


def convert_files(files, suffix, subtype, folder):
    """Convert the files to a format and return utterances."""
    utterances = []
    for number, path in enumerate(files):
        target = folder / f"{number:03}-{subtype}.{suffix}"
        if suffix == "flac":  # the corpus's own format
            target.write_bytes(path.read_bytes())
        else:
            samples, rate_hz = soundfile.read(path)
            soundfile.write(target, samples, rate_hz, subtype)
        utterances.append(Utterance(target, target.stem, "s"))
    return utterances


def time_decoding(utterances, decoder):
    """Decode groups of files in a thread for each core: (seconds of processor time, waveforms)."""

    def load_group(group):
        return list(decode.load_waveforms(group, sample_rate_hz=16000, decoder=decoder))

    groups = [utterances[first : first + SHARD] for first in range(0, len(utterances), SHARD)]
    start = time.process_time()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waveforms = list(pool.map(load_group, groups))
    return time.process_time() - start, [waveform for group in waveforms for waveform in group]


def measure(utterances, n_rounds) -> dict:
    """Return medians of files per core and second, and the largest difference of the samples."""
    rates, waveforms = {decoder: [] for decoder in DECODERS}, {}
    for number in range(n_rounds + 1):
        for decoder in DECODERS:
            seconds, waveforms[decoder] = time_decoding(utterances, decoder)
            rates[decoder] += [len(utterances) / seconds] * (number > 0)
    medians = {decoder: statistics.median(values) for decoder, values in rates.items()}
    pairs = zip(*waveforms.values(), strict=True)
    return {
        "files_per_core_second": medians,
        "rounds": rates,
        "soundfile_is_faster_by": medians["soundfile"] / medians["tensorflow-io"],
        "largest_difference": max(float(np.abs(a - b).max()) for a, b in pairs),
    }


def main():
    """Print and write a row for each format."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder of FLAC files")
    parser.add_argument("--files", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    tf = s3.import_decoder("tensorflow-io")
    files = sorted(list_audio_files(args.data, (".flac",)))[: args.files]
    seconds = [decode.duration_seconds(path) for path in files]
    result = {
        "files": len(files),
        "mean_seconds": statistics.mean(seconds),
        "cores": os.cpu_count(),
        "tensorflow": tf.__version__,
        "soundfile": f"{soundfile.__version__} with {soundfile.__libsndfile_version__}",
        "formats": {},
    }
    mean_seconds = result["mean_seconds"]
    print(f"{len(files)} files of {mean_seconds:.1f} s in the mean, files a core and second:")
    with tempfile.TemporaryDirectory() as folder:
        for suffix, subtype in FORMATS:
            row = measure(convert_files(files, suffix, subtype, Path(folder)), args.rounds)
            result["formats"][f"{suffix} {subtype}"] = row
            soundfiles, others = row["files_per_core_second"].values()
            print(
                f"{suffix:5}{subtype:15} soundfile {soundfiles:6.0f}, tensorflow-io {others:6.0f}: "
                f"soundfile x {row['soundfile_is_faster_by']:.2f}; samples differ by "
                f"{row['largest_difference']:.1g}"
            )
    if args.out:
        words = [word if word != str(args.data) else args.data.name for word in sys.argv]
        result = {"command": " ".join(["python", *words]), **result}
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
