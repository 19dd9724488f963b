"""Shards of the feature cache as tasks of Spark (`tfser-extract --spark`).

The cache and the corpus lie in folders that all workers share: Spark carries the names of files to
them, and the numbers of frames back. A task writes one shard, the bytes of which are those that
`extraction.extract_in_threads` writes.
"""

import contextlib
import functools
import os
import socket
import time
import uuid
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib import metadata
from pathlib import Path

import tensorflow as tf

from tfser.audio import decode
from tfser.cache import extraction, feature_cache
from tfser.cache.tfrecord import shard_path, translate_disk_errors, write_shard
from tfser.distributed import spark_session
from tfser.errors import TfserError, UsageError

QUEUED = 2  # tasks for each that can run: a worker does not wait while an answer is taken


def extract_on_spark(master: str, missing, shards, work) -> None:
    """Makes the missing shards as `extraction.extract_in_threads` does, on the workers of `master`.

    A shard whose worker dies again and again is left out, and named in the TfserError that is
    raised once all others are made. UsageError where a worker does not see what it must share.
    """
    errors = work.folder.absolute().parent / _log_name()
    seen = work.folder.absolute() / f"shared-{uuid.uuid4().hex}.tmp"
    lost = []
    with contextlib.ExitStack() as stack:
        with translate_disk_errors(work.folder):
            seen.touch()
        stack.callback(seen.unlink, missing_ok=True)
        session, n_at_once = stack.enter_context(
            spark_session.open_session(master, len(missing), "shards", errors)
        )
        bar = stack.enter_context(extraction.progress_bar(missing, work))
        place = spark_session.current_place()
        # The arguments of a Keras layer are a dict of Keras's own, which cannot be unpickled.
        arguments = dict(work.feature.arguments)
        described = type(work.feature), arguments, _versions(work.feature), work.decoder

        def make(number):
            group = work.groups[number]
            contents = {utterance.path: work.contents[utterance.path] for utterance in group}
            path = shard_path(seen.parent, number)
            task = functools.partial(_task, place, seen, described, group, contents, path)
            try:
                [(shard, error)] = (
                    session.sparkContext.parallelize([0], 1).map(lambda _: task()).collect()
                )
            except Exception as failed:
                if not spark_session.is_alive(session):
                    raise TfserError(
                        f"Spark has ended, or no master answers at {master}, see {errors}; the "
                        "same command continues"
                    ) from None
                why = spark_session.failure_reason(failed)
                if spark_session.RAISED.search(str(failed)):  # before `_task` could answer
                    raise TfserError(
                        f"Spark's workers cannot run tfser: {why}; install it there as it is "
                        f"here, see {errors}"
                    ) from None
                if not spark_session.is_worker_loss(failed):
                    raise TfserError(
                        f"Spark cannot make {path.name}: {why}; see {errors}; the same command "
                        "continues"
                    ) from None
                lost.append(f"{path.name} ({group[0].name} to {group[-1].name})")
                return None
            if error:
                raise error
            return shard

        pool = ThreadPoolExecutor(QUEUED * n_at_once)
        try:
            futures = {pool.submit(make, number): number for number in missing}
            for future in as_completed(futures):
                number = futures[future]
                shards[number] = future.result()
                bar.update(len(work.groups[number]))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            spark_session.stop_session(session)
            raise
    if lost:
        raise TfserError(
            f"{len(lost)} of {len(missing)} shards are not made, the others are kept: the workers "
            f"of {', '.join(sorted(lost)[: feature_cache.NAMED_FILES])} were lost "
            f"{spark_session.ATTEMPTS} times, as where memory is used up; see {errors}; the "
            "same command tries them again"
        )


@functools.cache
def _log_name() -> str:
    """A command's own, since others may fill the same cache; of all its folders: Java goes on."""
    return f"spark-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"


def _versions(feature) -> dict:
    """What must be the same on all machines: {what: its version or setting}."""
    name = type(feature).__name__
    versions = {
        "tfser's cache": feature_cache.VERSION,
        "TensorFlow": tf.__version__,
        **decode.decoder_versions(),
    }
    versions["librosa"] = metadata.version("librosa")  # its mel bands
    return versions | {f"{name}'s {key}": value for key, value in feature.settings().items()}


def _task(place, seen, described, group, contents, path) -> tuple:
    """What a worker does: (the JSON of the shard it has written, the error it raises)."""
    of_command = Path(place[0])  # relative paths of the corpus start there
    for folder, there, fix in (
        (of_command, of_command, "run the command elsewhere"),
        (seen.parent, seen, "give another --cache"),
    ):
        if not there.exists():
            return None, UsageError(
                f"Spark's worker on {socket.gethostname()} does not see the folder {folder} of "
                f"this machine, which all workers must share; {fix}, or mount it there"
            )
    return spark_session.run_in_place(place, _shard, described, group, contents, path)


def _shard(described, group, contents, path) -> dict:
    """Writes a shard, after it is sure that this machine would write what the others do."""
    kind, arguments, versions, decoder = described
    feature = _feature(kind, tuple(arguments.items()))
    host = socket.gethostname()
    if differing := _differing(_versions(feature), versions):
        raise UsageError(
            f"Spark's worker on {host} would make other features: it has {differing}; install "
            "there what is here"
        )
    for file, content in contents.items():
        # [0, why] of a file that could not be read here either.
        if content[0] and (found := feature_cache.hash_content(file)) != content:
            reason = "it has other content" if found[0] else found[1]
            raise UsageError(
                f"Spark's worker on {host} does not see the {file} of this machine ({reason}); "
                "the corpus must lie in a folder that all workers share"
            )
    shard, records = extraction.compute_shard(group, feature, decoder)
    write_shard(path, shard, records)
    return shard


def _differing(there: dict, here: dict) -> str:
    """What two machines' `_versions` have not in common."""
    return ", ".join(
        f"{what} {there.get(what)} instead of {here.get(what)}"
        for what in here | there
        if there.get(what) != here.get(what)
    )


@functools.cache
def _feature(kind, arguments):
    """Once in a worker: openSMILE takes a second to start."""
    return kind(**dict(arguments))
