"""Cost of extraction of LibriSpeech (1,000 h) and Libri-Light (60,000 h), from a small sample.

    python benchmarks/scale.py --root LIBRISPEECH [--rounds 3] [--out benchmarks/results/scale.json]

Measured on the speech under --root, for the features of each system: the seconds of one core to
hash, decode, extract, write and read back an hour of speech and to find its duration, file after
file, from memory; the seconds of the complete job of tfser-extract, on all cores into an empty
cache (median of the rounds), for log-mel frames also by Spark on this machine, with its start; the
bytes of the files and of the shards; and the write and read speed of the temporary folder's disk,
past the system's memory.

Extrapolated by multiplication alone: all figures for 1,000 and 60,000 hours. They assume utterances
as long as those of the sample, a disk of the same speed for any size, and cores that do not
slow each other down more than those of this machine.
"""

import argparse
import collections
import functools
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from tfser.audio import decode
from tfser.cache import content_hash, extraction, feature_cache, spark_extraction
from tfser.cache.tfrecord import read_shards, shard_path, write_shard
from tfser.cli import extract
from tfser.config.hparams import load_hparams
from tfser.corpora.loader import load_corpus
from tfser.features.magnitude_slices import make_magnitude_slices
from tfser.features.mel_pieces import make_mel_pieces
from tfser.models.aae.dataset import make_opensmile
from tfser.models.acnn.dataset import make_input_layer
from tfser.models.acnn.pretraining import make_spectrogram
from tfser.models.epr.dataset import make_log_mel

PLANNED_HOURS = {"LibriSpeech": 1_000, "Libri-Light": 60_000}
CORES = len(os.sched_getaffinity(0))
DISK_BYTES = 2**30
BLOCK_BYTES = 2**24
READS = 10


def make_features():
    """Return {"system, input": feature}, with the hyperparameters of LibriSpeech."""

    def of(model, make, *overrides):
        return make(load_hparams(model, "librispeech", overrides=list(overrides)))

    return {
        "epr, log-mel": of("epr", make_log_mel),
        "acnn, log-mel": of("acnn", lambda hp: make_input_layer(hp)[0]),
        "acnn, autoencoder": of("acnn", make_spectrogram),
        "auxvae": of("auxvae", make_mel_pieces),
        "began": of("began", make_magnitude_slices),
        "aae and svm, functionals": of("aae", make_opensmile),
        "aae, descriptors": of("aae", make_opensmile, 'model.level="frame"'),
    }


def time_parts(utterances, feature, folder) -> dict[str, float]:
    """Return the seconds of one core for each part of the work."""
    parts = "hash", "decode", "extract", "write", "read back", "durations"
    seconds = dict.fromkeys(parts, 0.0)

    def time_part(part, function, *arguments):
        start = time.perf_counter()
        stored = function(*arguments)
        seconds[part] += time.perf_counter() - start
        return stored

    size = feature_cache.SHARD_UTTERANCES
    groups = [utterances[first : first + size] for first in range(0, len(utterances), size)]
    feature.extract([decode.load_audio(groups[0][0].path, sample_rate_hz=feature.sample_rate_hz)])
    for number, group in enumerate(groups):
        waveforms = []
        for u in group:
            time_part("hash", content_hash.hash_content, u.path)
            load = functools.partial(decode.load_audio, sample_rate_hz=feature.sample_rate_hz)
            waveforms.append(time_part("decode", load, u.path))
            time_part("durations", decode.duration_seconds, u.path)
        frames = time_part("extract", feature.extract, waveforms)
        records = [part.astype("<f4").tobytes() for part in frames]
        time_part("write", write_shard, shard_path(folder, number), {}, records)
    # READS times: its start takes a tenth of a second, whatever the size.
    numbers = [*range(len(groups))] * READS
    time_part("read back", collections.deque, read_shards(folder, numbers), 0)
    seconds["read back"] /= READS
    return seconds


def time_job(utterances, feature, make) -> tuple[float, int]:
    """Return the seconds of the complete job into an empty cache, and the bytes of the shards."""
    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        stored = feature_cache.store_features(utterances, feature, cache=Path(cache), make=make)
        extract.duration_seconds.cache_clear()
        extract.count_hours(stored.utterances)  # tfser-extract prints the hours
        seconds = time.perf_counter() - start
        return seconds, sum(os.path.getsize(path) for path in stored.paths)


def measure_disk() -> dict[str, float]:
    """Return the bytes per second that the disk of the temporary folder writes and reads."""
    block = os.urandom(BLOCK_BYTES)
    with tempfile.NamedTemporaryFile(buffering=0) as file:
        start = time.perf_counter()
        for _ in range(DISK_BYTES // BLOCK_BYTES):
            file.write(block)
        os.fsync(file)
        written = time.perf_counter() - start
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        start = time.perf_counter()
        while file.read(BLOCK_BYTES):
            pass
        return {"write": DISK_BYTES / written, "read": DISK_BYTES / (time.perf_counter() - start)}


def plan_extraction(hours: int, measured: dict, disk_speed: dict, sample: dict) -> dict:
    """Return the cost of `hours` of speech, from the figures of an hour; all times in hours."""
    utterances = round(hours * sample["utterances"] / sample["hours"])
    shard_bytes = hours * measured["bytes_per_hour"]
    audio_bytes = hours * sample["bytes"] / sample["hours"]
    cpu = {part: hours * s / 3600 for part, s in measured["core_seconds_per_hour"].items()}
    # Files are read for the key and again to decode them, shards to check them.
    seconds = (2 * audio_bytes + shard_bytes) / disk_speed["read"]
    seconds += shard_bytes / disk_speed["write"]
    # On all cores, but one thread checks the shards.
    by_part = {part: of_core / CORES for part, of_core in cpu.items()}
    by_part |= {"read back": cpu["read back"], "disk": seconds / 3600}
    return {
        "utterances": utterances,
        "shards": -(-utterances // feature_cache.SHARD_UTTERANCES),
        "shard_bytes": round(shard_bytes),
        "audio_bytes": round(audio_bytes),
        "core_hours": hours * measured["whole_core_seconds_per_hour"] / 3600,
        "hours_on_this_machine": hours * measured["whole_core_seconds_per_hour"] / 3600 / CORES,
        "hours_of_one_disk": seconds / 3600,
        "hours_by_part": by_part,
        "hours_of_all_parts": sum(by_part.values()),  # in sequence
        "bottleneck_here": max(by_part, key=by_part.get),
        "cores_that_keep_one_disk_busy": sum(cpu.values()) / (seconds / 3600),
        # Spark's workers share the rest.
        "hours_not_shared_by_workers": sum(
            by_part[part] for part in ("hash", "read back", "durations")
        ),
    }


def main():
    """Measure, print the plan, write both."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", type=Path, required=True, help="a folder of LibriSpeech")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--first", type=int, help="of the utterances alone: to try it out")
    parser.add_argument("--out", type=Path, help="writes the figures as JSON")
    args = parser.parse_args()

    utterances = load_corpus("librispeech", args.root)[: args.first]
    sample = {
        "utterances": len(utterances),
        "hours": extract.count_hours(utterances),
        "bytes": sum(u.path.stat().st_size for u in utterances),
    }
    disk_speed, measured, features = measure_disk(), {}, make_features()
    by_spark = functools.partial(spark_extraction.extract_on_spark, f"local[{CORES}]")
    spark_seconds, _ = time_job(utterances, features["epr, log-mel"], by_spark)
    for name, feature in features.items():
        with tempfile.TemporaryDirectory() as folder:
            parts = time_parts(utterances, feature, Path(folder))
        jobs = [
            time_job(utterances, feature, extraction.extract_in_threads) for _ in range(args.rounds)
        ]
        seconds = statistics.median(seconds for seconds, _ in jobs)
        measured[name] = {
            "core_seconds_per_hour": {k: s / sample["hours"] for k, s in parts.items()},
            "whole_seconds": [seconds for seconds, _ in jobs],
            "whole_core_seconds_per_hour": seconds * CORES / sample["hours"],
            "audio_seconds_per_core_second": 3600 * sample["hours"] / (seconds * CORES),
            "bytes_per_hour": jobs[0][1] / sample["hours"],
        }
    plans = {
        corpus: {
            name: plan_extraction(hours, of, disk_speed, sample) for name, of in measured.items()
        }
        for corpus, hours in PLANNED_HOURS.items()
    }
    print_report(sample, disk_speed, measured, plans)
    print(f"measured: epr, log-mel by Spark in {spark_seconds:.1f} s, its start included")
    if args.out:
        figures = {
            "cores": CORES,
            "measured": {
                "sample": sample,
                "disk_bytes_per_second": disk_speed,
                "features": measured,
                "epr_log_mel_by_spark_seconds": spark_seconds,
            },
            "extrapolated": plans,
        }
        args.out.write_text(json.dumps(figures, indent=1) + "\n")


def print_report(sample, disk_speed, measured, plans) -> None:
    """Print the tables."""
    print(
        f"measured: {sample['utterances']} utterances, {sample['hours']:.3f} h, "
        f"{sample['bytes'] / 1e6:.0f} MB; {CORES} cores; disk writes "
        f"{disk_speed['write'] / 1e6:.0f} MB/s, reads {disk_speed['read'] / 1e6:.0f} MB/s"
    )
    for name, of in measured.items():
        parts = ", ".join(f"{part} {s:.2f}" for part, s in of["core_seconds_per_hour"].items())
        print(
            f"{name:25} {of['audio_seconds_per_core_second']:6.0f} s of speech a core-second, "
            f"{of['bytes_per_hour'] / 1e6:6.1f} MB an hour; core-seconds an hour: {parts}"
        )
    for corpus, features in plans.items():
        print(f"extrapolated: {corpus}, {PLANNED_HOURS[corpus]:,} h")
        for name, of in features.items():
            print(
                f"{name:25} {of['shards']:8,} shards {of['shard_bytes'] / 1e9:9,.1f} GB "
                f"{of['core_hours']:8,.1f} core-hours, here {of['hours_on_this_machine']:8,.1f} h "
                f"(its parts and one disk in turn {of['hours_of_all_parts']:,.1f} h), "
                f"one disk {of['hours_of_one_disk']:7,.1f} h, busy from "
                f"{of['cores_that_keep_one_disk_busy']:.0f} cores on; not shared by workers "
                f"{of['hours_not_shared_by_workers']:.1f} h; slowest here: {of['bottleneck_here']}"
            )


if __name__ == "__main__":
    main()
