"""The shards of the feature cache are made here, by the threads of this process.

By processes of a cluster: tfser/cache/spark_extraction.py.
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

OF_THE_MACHINE = (TfserError, MemoryError, OSError, tf.errors.ResourceExhaustedError)
STALE_SECONDS = 3600  # temporary files older than that were left by a killed extraction

logger = logging.getLogger("tfser")


class ExtractionJob(NamedTuple):
    """What the shards of a folder are made of."""

    groups: list[list]  # the utterances of each shard
    contents: dict  # path -> of `feature_cache.hash_content`
    feature: object  # see `feature_cache.load_features`
    folder: Path
    decoder: str = "soundfile"  # see `decode.load_waveforms`


def prepare_folder(folder: Path) -> None:
    """Makes the folder of the shards, and sweeps up what a killed extraction has left there."""
    with translate_disk_errors(folder):
        if isinstance(folder, s3.S3Path):  # S3 has no folders, and nothing half written
            return
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another process does the same
            for path in folder.glob("*.*.tmp"):  # not what Spark's workers look for
                if time.time() - path.stat().st_mtime > STALE_SECONDS:
                    path.unlink()


def progress_bar(missing, work) -> tqdm:
    """A bar over the utterances of the shards `missing`."""
    bar = tqdm(desc=type(work.feature).__name__, unit="file", mininterval=0.5)
    bar.reset(total=sum(len(work.groups[number]) for number in missing))
    return bar


def extract_in_threads(missing, shards, work) -> None:
    """Makes the missing shards, one thread each: decoding and TensorFlow release the GIL.

    missing: their numbers; the JSON of each is put into `shards`.
    """
    stop, pool = threading.Event(), ThreadPoolExecutor(os.cpu_count())
    with progress_bar(missing, work) as bar:

        def one_done():
            with bar.get_lock():
                bar.update()

        def make(number):
            try:
                shard, records = compute_shard(
                    work.groups[number], work.feature, work.decoder, one_done, stop.is_set
                )
                if not stop.is_set():
                    write_shard(shard_path(work.folder, number), shard, records)
            except BaseException:
                stop.set()
                raise
            return shard

        futures = {pool.submit(make, number): number for number in missing}
        try:
            for future in as_completed(futures):
                shards[futures[future]] = future.result()
        finally:  # after an error or Ctrl-C, threads end with the file they are at
            stop.set()
            pool.shutdown(cancel_futures=True)


def compute_shard(
    utterances, feature, decoder, one_done=lambda: None, stops=lambda: False
) -> tuple[dict, list]:
    """What a shard holds: its JSON (n_frames is null for a bad file), and the frames' bytes.

    one_done: called after each utterance; stops: whether to leave the rest.
    """
    n_frames, bad, records = [None] * len(utterances), [], []
    waveforms, n_samples = {}, 0
    heard = decode.load_waveforms(
        utterances, sample_rate_hz=feature.sample_rate_hz, decoder=decoder
    )
    for position, waveform in enumerate(heard):
        if stops():
            break
        if isinstance(waveform, DataError):
            bad.append([position, str(waveform)])
        else:
            waveforms[position] = waveform
            n_samples += len(waveform)
        if waveforms and (n_samples > feature.batch_samples or position == len(utterances) - 1):
            frames = _extract(list(waveforms.values()), feature)
            for done, part in zip(waveforms, frames, strict=True):
                if isinstance(part, DataError):
                    bad.append([done, f"{utterances[done].path}: {part}"])
                else:
                    n_frames[done] = len(part)
                    records.append(np.asarray(part, "<f4").tobytes())
            waveforms, n_samples = {}, 0
        one_done()
    return {
        "utterances": utterance_names(utterances),
        "n_frames": n_frames,
        "bad": sorted(bad),
    }, records


def _extract(waveforms, feature) -> list:
    """feature.extract(waveforms), where the waveform it fails on becomes a DataError.

    One file that nobody has foreseen must not end the extraction of all others. What the machine
    lacks is no fault of a file, which would be left out of the cache for good.
    """
    try:
        return feature.extract(waveforms)
    except OF_THE_MACHINE:
        raise
    except Exception as error:
        if len(waveforms) > 1:
            return [_extract([waveform], feature)[0] for waveform in waveforms]
        logger.debug("an error that nobody has foreseen", exc_info=True)
        first_line = str(error).partition("\n")[0]
        return [DataError(f"{type(error).__name__}: {first_line}")]
