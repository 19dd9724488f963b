"""The feature cache: one entry of TFRecord shards per corpus and feature setting.

    <cache>/<feature>-<key>/shard-00000.tfrecord ... index.json

A shard (tfser/cache/tfrecord.py) holds up to SHARD_UTTERANCES utterances. Each shard is written
under a temporary name and renamed, the index last: a killed extraction continues. Checksums find
shards that are damaged later, and these shards are extracted again.
"""

import dataclasses
import hashlib
import json
import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from tfser.audio import ffmpeg, tfio_decoder
from tfser.cache import extraction, pipelines
from tfser.cache.content_hash import LONG, hash_contents
from tfser.cache.copies import check_copies, warn_of_equal_features
from tfser.cache.tfrecord import read_shards, replace_shard, shard_path, utterance_names
from tfser.distributed import multi_worker
from tfser.errors import DataError, TfserError
from tfser.storage import s3

VERSION = 1  # part of the key: raise it when decoding or the format of a shard changes
# As VERSION, for files of these suffixes, of which some were cut, or had no header, length or rate.
VERSION_OF = {
    "mp3": (1, (".mp3",)),
    "rare": (1, (".au", ".avr", ".gsm", ".mpc", ".sds", ".snd", ".vox", ".wve", ".xi")),
}
SHARD_UTTERANCES = 64  # at most; fewer in a corpus of fewer than MIN_SHARDS full shards
MIN_SHARDS = 32  # keeps all cores busy to the end
NAMED_FILES = 20  # at most in an error; the log names all

logger = logging.getLogger("tfser")


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
    """The features of a corpus: utterance i is frames[offsets[i]:offsets[i + 1]]."""

    utterances: list
    frames: np.ndarray  # [total_frames, n_features], float32
    offsets: np.ndarray  # [utterances + 1], int64
    key: str  # digest of the settings and of the content of the files


@dataclasses.dataclass(frozen=True, eq=False)
class StoredFeatures:
    """The features of a corpus on the disk, see `pipelines.stream_pieces`."""

    utterances: list
    paths: list[str]  # of the shards
    n_frames: list[list[int]]  # of each shard's utterances
    n_features: int
    key: str  # as in Features


def load_features(
    utterances, feature, *, cache: Path, max_bad=0, decoder="soundfile", channel=0
) -> Features:
    """Load the features of a corpus from the cache, after extraction of missing shards.

    Args:
        feature: has settings(), n_features, sample_rate_hz, `arguments` of its constructor (for
            Spark) and extract(waveforms), which runs in one thread per core, on `batch_samples` of
            audio at once, and returns an array [frames, n_features] or a DataError per waveform.
        max_bad: number of utterances without features to leave out, with a warning each.
        decoder, channel: see `decode.load_waveforms`.

    Raises:
        DataError: more than `max_bad` utterances have no features.
        ConflictError: the cache cannot be written.
        TfserError: its disk is full.
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
            size = _size_bytes(shards[number], feature) // 4  # float32
            rest[:size] = 0 if content is None else np.frombuffer(content, "<f4")
            rest = rest[size:]

    make = extraction.extract_in_threads
    decoding = decoder, channel
    key, _, shards = _complete_entry(utterances, feature, cache, max_bad, decoding, read, make)
    utterances, n_frames = _usable_utterances(utterances, shards)
    offsets = np.cumsum([0, *n_frames], dtype="int64")
    warn_of_equal_features(utterances, frames, offsets)
    return Features(utterances, frames, offsets, key)


class Pieces(NamedTuple):
    """The features of a corpus in pieces of one size; an utterance has one piece or more."""

    utterances: list  # those with a piece
    pieces: np.ndarray  # [n_pieces, layer.n_frames, layer.n_features]
    utterance: np.ndarray  # [n_pieces], the number of each piece's utterance
    n_left_out: int  # utterances without a piece
    key: str  # as of Features


def load_pieces(utterances, layer, **options) -> Pieces:
    """Load the features of a layer that cuts recordings into pieces; see `load_features`."""
    features = load_features(utterances, layer, **options)
    counts = np.diff(features.offsets) // layer.n_frames
    kept = [u for u, n in zip(features.utterances, counts, strict=True) if n]
    return Pieces(
        utterances=kept,
        pieces=features.frames.reshape(-1, layer.n_frames, layer.n_features),
        utterance=np.repeat(np.arange(len(kept)), counts[counts > 0]),
        n_left_out=len(counts) - len(kept),
        key=features.key,
    )


def store_features(
    utterances,
    feature,
    *,
    cache: Path,
    max_bad=0,
    decoder="soundfile",
    channel=0,
    make=extraction.extract_in_threads,
    contents=None,
) -> StoredFeatures:
    """Extract missing shards as `load_features`, without loading the features into memory.

    make: extracts missing shards, see `extraction.extract_in_threads`.
    contents: {path: `hash_content(path)`} of files hashed for another feature. Files hashed now
        are added.
    """

    def read(shards, folder):
        records = _read_checked(shards, feature, folder)
        return (number for number, content in records if content is None)

    key, folder, shards = _complete_entry(
        utterances, feature, cache, max_bad, (decoder, channel), read, make, contents
    )
    utterances, _ = _usable_utterances(utterances, shards)
    paths = [str(shard_path(folder, number)) for number in range(len(shards))]
    n_frames = [[n for n in shard["n_frames"] if n is not None] for shard in shards]
    return StoredFeatures(utterances, paths, n_frames, feature.n_features, key)


def _complete_entry(utterances, feature, cache, max_bad, decoding, read, make, contents=None):
    """Extract missing shards until `read`(shards, folder) yields no number of a damaged shard.

    decoding: (decoder, channel).

    Returns (key, folder, JSON of each shard).
    """
    if not utterances:
        raise DataError("no utterances to extract features from")
    contents = hash_contents(utterances, {} if contents is None else contents)
    check_copies(utterances, contents)
    key = _key(utterances, feature, contents, *decoding)
    folder = s3.to_path(cache) / f"{type(feature).__name__}-{key[:16]}"
    size = max(1, min(SHARD_UTTERANCES, len(utterances) // MIN_SHARDS))
    groups = [utterances[first : first + size] for first in range(0, len(utterances), size)]
    work = extraction.ExtractionJob(groups, contents, feature, folder, *decoding)
    shards = _read_index(folder, key, groups, work.decoder)
    is_indexed = shards is not None
    if not is_indexed:
        shards = _find_finished_shards(folder, groups, feature)
    for _ in range(3):
        missing = [number for number, shard in enumerate(shards) if shard is None]
        if missing:
            extraction.prepare_folder(folder)
            make(missing, shards, work)
        _refuse_bad(shards, groups, max_bad)
        if missing or not is_indexed:
            _write_index(folder, key, shards, work)
        damaged = list(read(shards, folder))
        if not damaged:
            _check_same_on_workers([key, [shard["n_frames"] for shard in shards]])
            return key, folder, shards
        for number in damaged:
            logger.warning("%s is damaged: made again", shard_path(folder, number))
            shards[number] = None
    raise TfserError(f"{folder}: shards cannot be read back; --cache on another disk")


def _check_same_on_workers(contents) -> None:
    """Raise DataError unless all workers of a training have the same audio files."""
    if multi_worker.broadcast_from_chief(contents) != contents:
        raise DataError(
            "the corpus's files are not those that the chief has, or others of them cannot be "
            "read; give all workers the same"
        )


def cache_key(utterances, feature, decoder="soundfile", channel=0) -> str:
    """Return the sha256 of all that decides the features, including the content of the files.

    The folders of the files do not count.
    """
    return _key(utterances, feature, hash_contents(utterances, {}), decoder, channel)


def _key(utterances, feature, contents, decoder, channel):
    described = [
        [u.name, Path(u.path).name, u.start_seconds, u.end_seconds, *contents[u.path]]
        for u in utterances
    ]
    decisive = {"store": VERSION, "feature": feature.settings(), "utterances": described}
    # Both decoders give the same samples of lossless files.
    if decoder != "soundfile" and any(not tfio_decoder.is_lossless(u.path) for u in utterances):
        decisive["decoder"] = decoder
    if channel:
        decisive["channel"] = channel
    for name, (version, suffixes) in VERSION_OF.items():
        if any(str(u.path).lower().endswith(suffixes) for u in utterances):
            decisive[name] = version
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _find_finished_shards(folder, groups, feature):
    """Return the JSON of each shard of an unfinished extraction, None for a missing shard."""
    shards = [None] * len(groups)
    present = [n for n in range(len(groups)) if shard_path(folder, n).exists()]
    for number, shard, frames in read_shards(folder, present):
        # A failed file is tried again: the reason may be an error of the machine.
        if shard and shard["utterances"] == utterance_names(groups[number]) and not shard["bad"]:
            if len(frames) == _size_bytes(shard, feature):
                shards[number] = shard
    return shards


def _usable_utterances(utterances, shards):
    """Return the utterances with features, and the number of frames of each."""
    n_frames = [n for shard in shards for n in shard["n_frames"]]
    usable = [u for u, n in zip(utterances, n_frames, strict=True) if n is not None]
    return usable, [n for n in n_frames if n is not None]


def _read_checked(shards, feature, folder):
    """Yield (number, bytes of the frames) of each shard, (number, None) of a damaged shard."""
    contents = read_shards(folder, range(len(shards)))
    for number, shard, content in tqdm(contents, "check", len(shards), unit="shard", **LONG):
        size = _size_bytes(shards[number], feature)
        is_complete = shard == shards[number] and len(content) == size
        yield number, content if is_complete else None


def _size_bytes(shard, feature):
    return 4 * feature.n_features * sum(n or 0 for n in shard["n_frames"])


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
    """Return (utterance, reason) of each utterance without features."""
    return [
        (group[position], reason)
        for shard, group in zip(shards, groups, strict=True)
        for position, reason in shard["bad"]
    ]


def _read_index(folder, key, groups, decoder):
    """Return the JSON of each shard, or None unless the index is of a complete extraction.

    An index with bad files of another decoder, or for want of ffmpeg, is not complete: they may be
    readable now.
    """
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        shards = index["shards"]
        names = [shard["utterances"] for shard in shards]
        reasons = [reason for shard in shards for _, reason in shard["bad"]]
        is_complete = names == list(map(utterance_names, groups)) and (
            index.get("decoder", "soundfile") == decoder or not reasons
        )
        if any(ffmpeg.INSTALL in reason for reason in reasons) and ffmpeg.is_installed():
            return None
        return shards if index["key"] == key and is_complete else None
    # Missing or damaged.
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
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
        temporary.write_text(json.dumps(index, indent=1), encoding="utf-8")
