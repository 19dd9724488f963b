"""Extraction of features into the shards of the feature cache, in threads of this process.

tfser/cache/spark_extraction.py extracts on a Spark cluster.
"""

import contextlib
import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfser.audio import decode
from tfser.cache.tfrecord import shard_path, translate_disk_errors, utterance_names, write_shard
from tfser.errors import DataError, TfserError
from tfser.storage import s3

MACHINE_ERRORS = (TfserError, MemoryError, OSError, tf.errors.ResourceExhaustedError)
STALE_SECONDS = 3600  # older temporary files are from a killed extraction

logger = logging.getLogger("tfser")


class ExtractionJob(NamedTuple):
    """The input of the shards of a cache entry."""

    groups: list[list]  # utterances of each shard
    contents: dict  # path -> `content_hash.hash_content(path)`
    feature: object  # see `feature_cache.load_features`
    folder: Path
    decoder: str = "soundfile"  # see `decode.load_waveforms`
    channel: int = 0  # see `decode.load_audio`


def prepare_folder(folder: Path) -> None:
    """Create the folder of a cache entry, and delete stale temporary files in it."""
    with translate_disk_errors(folder):
        if isinstance(folder, s3.S3Path):  # S3 has no folders and no incomplete files
            return
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another process may delete them too
            for path in folder.glob("*.*.tmp"):  # not the shared-*.tmp of Spark
                if time.time() - path.stat().st_mtime > STALE_SECONDS:
                    path.unlink()


def progress_bar(missing, work) -> tqdm:
    """Return a progress bar over the utterances of the shards `missing`."""
    bar = tqdm(desc=type(work.feature).__name__, unit="file", mininterval=0.5)
    bar.reset(total=sum(len(work.groups[number]) for number in missing))
    return bar


def extract_in_threads(missing, shards, work) -> None:
    """Extract the missing shards, one thread each: decoding and TensorFlow release the GIL.

    missing: numbers of shards. The JSON of each goes into `shards`.
    """
    stop, pool = threading.Event(), ThreadPoolExecutor(os.cpu_count())
    with progress_bar(missing, work) as bar:

        def one_done():
            with bar.get_lock():
                bar.update()

        def extract_shard(number):
            try:
                shard, records = compute_shard(
                    work.groups[number], work.feature, work.decoder, work.channel,
                    one_done, stop.is_set,
                )  # fmt: skip
                if not stop.is_set():
                    write_shard(shard_path(work.folder, number), shard, records)
            except BaseException:
                stop.set()
                raise
            return shard

        futures = {pool.submit(extract_shard, number): number for number in missing}
        try:
            for future in as_completed(futures):
                shards[futures[future]] = future.result()
        finally:  # after an error or Ctrl-C, each thread ends after its current file
            stop.set()
            pool.shutdown(cancel_futures=True)


def compute_shard(
    utterances, feature, decoder, channel=0, one_done=lambda: None, stops=lambda: False
) -> tuple[dict, list]:
    """Return the JSON of a shard (n_frames is null for a bad file) and its frames as bytes.

    one_done: called after each utterance. stops: true if the other utterances are to be skipped.
    """
    n_frames, bad, records = [None] * len(utterances), [], []
    waveforms, n_samples = {}, 0
    outputs = decode.load_waveforms(
        utterances, sample_rate_hz=feature.sample_rate_hz, decoder=decoder, channel=channel
    )
    for position, waveform in enumerate(outputs):
        if stops():
            break
        if isinstance(waveform, DataError):
            bad.append([position, str(waveform)])
        else:
            waveforms[position] = waveform
            n_samples += len(waveform)
        if waveforms and (n_samples > feature.batch_samples or position == len(utterances) - 1):
            features = _extract(list(waveforms.values()), feature)
            for i, frames in zip(waveforms, features, strict=True):
                if not isinstance(frames, DataError) and not np.isfinite(frames).all():
                    frames = DataError("its features are not finite; is it a recording?")
                if isinstance(frames, DataError):
                    bad.append([i, f"{utterances[i].path}: {frames}"])
                else:
                    n_frames[i] = len(frames)
                    records.append(np.asarray(frames, "<f4").tobytes())
            waveforms, n_samples = {}, 0
        one_done()
    return {
        "utterances": utterance_names(utterances),
        "n_frames": n_frames,
        "bad": sorted(bad),
    }, records


def _extract(waveforms, feature) -> list:
    """Return feature.extract(waveforms), with a DataError for a waveform that makes it fail.

    An unexpected error in one file must not stop the extraction of the others. Errors of the
    machine are raised: a DataError would leave the file out of the cache for good.
    """
    try:
        return feature.extract(waveforms)
    except MACHINE_ERRORS:
        raise
    except Exception as error:
        if len(waveforms) > 1:
            return [_extract([waveform], feature)[0] for waveform in waveforms]
        logger.debug("unexpected error in extract", exc_info=True)
        first_line = str(error).partition("\n")[0]
        return [DataError(f"{type(error).__name__}: {first_line}")]
