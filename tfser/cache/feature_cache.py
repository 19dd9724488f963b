"""The feature cache: computed once per corpus and setting, read from TFRecord shards after.

    <cache>/<feature>-<key>/shard-00000.tfrecord ... index.json

A shard (tfser/cache/tfrecord.py) holds up to SHARD_UTTERANCES utterances. It is written under a
temporary name and renamed, the index last: a killed extraction continues, and what is damaged
later is found by the checksums and made again.
"""

import dataclasses
import functools
import hashlib
import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tfser.audio import tfio_decoder
from tfser.cache import extraction, pipelines
from tfser.cache.tfrecord import read_shards, replace_shard, shard_path, utterance_names
from tfser.distributed import multi_worker
from tfser.errors import DataError, TfserError
from tfser.storage import s3

VERSION = 1  # part of the key: raise it when decoding or the format of a shard changes
SHARD_UTTERANCES = 64  # at most, and fewer where that makes fewer than MIN_SHARDS:
MIN_SHARDS = 32  # all cores should have work to the end
LONG = {"delay": 5.0, "leave": False}  # seconds: a bar of what is seldom slow
NAMED_FILES = 20  # in an error; the log names them all

logger = logging.getLogger("tfser")


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
    """The features of a corpus: utterance i is frames[offsets[i]:offsets[i + 1]]."""

    utterances: list
    frames: np.ndarray  # [total_frames, n_features], float32
    offsets: np.ndarray  # [utterances + 1], int64
    key: str  # digest of the settings and of the files' content


@dataclasses.dataclass(frozen=True, eq=False)
class StoredFeatures:
    """The features of a corpus that stay on the disk, see `pipelines.stream_pieces`."""

    utterances: list
    paths: list[str]  # of the shards
    n_frames: list[list[int]]  # of each shard's utterances
    n_features: int
    key: str  # as of Features


def load_features(utterances, feature, *, cache: Path, max_bad=0, decoder="soundfile") -> Features:
    """Reads the features of a corpus from the cache, after computing what is not in it.

    `feature` has settings(), n_features, sample_rate_hz, `arguments` of its constructor (for
    `stored` on a cluster) and extract(waveforms), which runs in a thread for each core, on
    `batch_samples` of audio at once, and gives an array [frames, n_features] for each waveform, or
    a DataError.
    Utterances without features, or that cannot be decoded, are left out, with a warning each; more
    than `max_bad` raise DataError. decoder: see `decode.load_waveforms`.
    Raises TfserError where the cache cannot be written.
    """
    frames = None

    def read(shards, folder):
        nonlocal frames
        n_frames = sum(n or 0 for shard in shards for n in shard["n_frames"])
        frames = pipelines.aligned_array((n_frames, feature.n_features), "float32")
        rest = frames.reshape(-1)
        for number, content in _read_checked(shards, feature, folder):
            if content is None:
                yield number
            size = _size_bytes(shards[number], feature) // 4
            rest[:size] = 0 if content is None else np.frombuffer(content, "<f4")
            rest = rest[size:]

    make = extraction.extract_in_threads
    key, _, shards = _complete_entry(utterances, feature, cache, max_bad, decoder, read, make)
    kept, n_frames = _usable_utterances(utterances, shards)
    return Features(kept, frames, np.cumsum([0, *n_frames], dtype="int64"), key)


def store_features(
    utterances,
    feature,
    *,
    cache: Path,
    max_bad=0,
    decoder="soundfile",
    make=extraction.extract_in_threads,
    contents=None,
) -> StoredFeatures:
    """As `load`, but the features stay where they are: memory does not grow with the corpus.

    make: who makes the shards that are missing, see `extraction.extract_in_threads`.
    contents: {path: of `content_of`} of files that were hashed for another feature and are not
        hashed again; those that are hashed now are put into it.
    """

    def read(shards, folder):
        checked = _read_checked(shards, feature, folder)
        return (number for number, content in checked if content is None)

    key, folder, shards = _complete_entry(
        utterances, feature, cache, max_bad, decoder, read, make, contents
    )
    kept, _ = _usable_utterances(utterances, shards)
    paths = [str(shard_path(folder, number)) for number in range(len(shards))]
    n_frames = [[n for n in shard["n_frames"] if n is not None] for shard in shards]
    return StoredFeatures(kept, paths, n_frames, feature.n_features, key)


def _complete_entry(utterances, feature, cache, max_bad, decoder, read, make, contents=None):
    """Makes what is missing until `read`(shards, folder) yields no number of a damaged shard.

    Returns (key, folder, the shards' JSON).
    """
    if not utterances:
        raise DataError("no utterances to extract features from")
    contents = _hash_contents(utterances, {} if contents is None else contents)
    key = _key(utterances, feature, contents, decoder)
    folder = s3.to_path(cache) / f"{type(feature).__name__}-{key[:16]}"
    size = max(1, min(SHARD_UTTERANCES, len(utterances) // MIN_SHARDS))
    groups = [utterances[first : first + size] for first in range(0, len(utterances), size)]
    work = extraction.ExtractionJob(groups, contents, feature, folder, decoder)
    shards = _read_index(folder, key, groups, decoder)
    indexed = shards is not None
    if not indexed:
        shards = _find_finished_shards(folder, groups, feature)
    for _ in range(3):
        missing = [number for number, shard in enumerate(shards) if shard is None]
        if missing:
            extraction.prepare_folder(folder)
            make(missing, shards, work)
        _refuse_bad(shards, groups, max_bad)
        if missing or not indexed:
            _write_index(folder, key, shards, work)
        damaged = list(read(shards, folder))
        if not damaged:
            _check_same_on_workers([key, [shard["n_frames"] for shard in shards]])
            return key, folder, shards
        for number in damaged:
            logger.warning("%s is damaged: made again", shard_path(folder, number))
            shards[number] = None
    raise TfserError(f"{folder}: shards cannot be read back; --cache on another disk")


def _check_same_on_workers(found) -> None:
    """Raises DataError where workers that train together hear different audio."""
    if multi_worker.broadcast_from_chief(found) != found:
        raise DataError(
            "the corpus's files are not those that the chief has, or others of them cannot be "
            "read; give all workers the same"
        )


def cache_key(utterances, feature, decoder="soundfile") -> str:
    """sha256 of all that decides the features; contents of files count, their folders do not."""
    return _key(utterances, feature, _hash_contents(utterances, {}), decoder)


def _key(utterances, feature, contents, decoder):
    listed = [
        [u.name, Path(u.path).name, u.start_seconds, u.end_seconds, *contents[u.path]]
        for u in utterances
    ]
    decisive = {"store": VERSION, "feature": feature.settings(), "utterances": listed}
    # Of lossless files the samples are the same, and so are the features.
    if decoder != "soundfile" and any(not tfio_decoder.is_lossless(u.path) for u in utterances):
        decisive["decoder"] = decoder
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _hash_contents(utterances, known):
    """{path: of `content_of`}: `known`, with the files added that are not in it."""
    paths = list({u.path: None for u in utterances if u.path not in known})
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = tqdm(pool.map(hash_content, paths), "key", len(paths), unit="file", **LONG)
        known.update(zip(paths, found, strict=True))
    return known


def hash_content(path) -> list:
    """Returns [size, hash], or for a file that cannot be opened [0, why]."""
    digest = hashlib.sha256()  # processors have instructions for it
    try:
        if isinstance(path, s3.S3Path):
            return _hash_s3_content(path)
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
            return [file.tell(), digest.hexdigest()]
    except OSError as error:
        return [0, str(error.strerror)]


@functools.cache
def _hash_s3_content(path) -> list:
    """Read once in a process: objects are replaced, not written to."""
    content = path.read_bytes()
    return [len(content), hashlib.sha256(content).hexdigest()]


def _find_finished_shards(folder, groups, feature):
    """What an extraction without an index left behind: one entry a shard, None where to do."""
    shards = [None] * len(groups)
    present = [n for n in range(len(groups)) if shard_path(folder, n).exists()]
    for number, shard, frames in read_shards(folder, present):
        # A file that failed is tried again: the reason may have been the machine's.
        if shard and shard["utterances"] == utterance_names(groups[number]) and not shard["bad"]:
            if len(frames) == _size_bytes(shard, feature):
                shards[number] = shard
    return shards


def _usable_utterances(utterances, shards):
    """The utterances that have features, and how many frames each."""
    n_frames = [n for shard in shards for n in shard["n_frames"]]
    kept = [u for u, n in zip(utterances, n_frames, strict=True) if n is not None]
    return kept, [n for n in n_frames if n is not None]


def _read_checked(shards, feature, folder):
    """Yields (number, bytes of the frames) of each shard, None for those of a damaged one."""
    contents = read_shards(folder, range(len(shards)))
    for number, shard, content in tqdm(contents, "check", len(shards), unit="shard", **LONG):
        whole = shard == shards[number] and len(content) == _size_bytes(shards[number], feature)
        yield number, content if whole else None


def _size_bytes(shard, feature):
    return 4 * feature.n_features * sum(n or 0 for n in shard["n_frames"])  # bytes


def _refuse_bad(shards, groups, max_bad):
    bad, total = _list_bad(shards, groups), sum(map(len, groups))
    if len(bad) > max_bad or len(bad) == total:
        named = "; ".join(reason for _, reason in bad[:NAMED_FILES])
        if len(bad) > NAMED_FILES:
            named += f"; and {len(bad) - NAMED_FILES} more, see the log"
            for utterance, reason in bad:
                logger.error("%s: %s", utterance.name, reason)
        fix = f", or leave them out with --max-bad {len(bad)}" if len(bad) < total else ""
        raise DataError(f"{len(bad)} of {total} utterances cannot be used: {named}; mend them{fix}")
    for utterance, reason in bad:
        logger.warning("left out: %s: %s", utterance.name, reason)


def _list_bad(shards, groups):
    """Lists (utterance, reason) of those that could not be decoded."""
    return [
        (group[position], reason)
        for shard, group in zip(shards, groups, strict=True)
        for position, reason in shard["bad"]
    ]


def _read_index(folder, key, groups, decoder):
    """Returns the shards' JSON records, or None where no extraction came to its end.

    Nor one that left files out which this decoder may read.
    """
    try:
        index = json.loads((folder / "index.json").read_text())
        shards = index["shards"]
        whole = [shard["utterances"] for shard in shards] == list(map(utterance_names, groups))
        same = index.get("decoder", "soundfile") == decoder or not any(s["bad"] for s in shards)
        return shards if index["key"] == key and whole and same else None
    except (OSError, ValueError, KeyError, TypeError):  # none, or damaged
        return None


def _write_index(folder, key, shards, work):
    index = {
        "key": key,
        "store": VERSION,
        "feature": work.feature.settings(),
        "decoder": work.decoder,
        "bad": [
            {"name": u.name, "path": str(u.path), "reason": reason}
            for u, reason in _list_bad(shards, work.groups)
        ],
        "shards": shards,
    }
    with replace_shard(folder / "index.json") as temporary:
        temporary.write_text(json.dumps(index, indent=1))
