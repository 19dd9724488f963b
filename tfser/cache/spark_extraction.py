"""Extraction of the feature cache on Spark (`tfser-extract --spark`), one task per shard.

The cache and the corpus are in folders that all workers share: Spark sends the workers names of
files, and receives numbers of frames. A task writes the same bytes as
`extraction.extract_in_threads`.
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
from tfser.cache import content_hash, extraction, feature_cache
from tfser.cache.tfrecord import shard_path, translate_disk_errors, write_shard
from tfser.distributed import spark_session
from tfser.errors import TfserError, UsageError

QUEUED = 2  # tasks per slot: a worker has its next task when it returns a result


def extract_on_spark(master: str, missing, shards, work) -> None:
    """Extract the missing shards on the workers of `master`, as `extraction.extract_in_threads`.

    missing: numbers of shards. The JSON of each goes into `shards`.

    Raises:
        TfserError: Spark fails, or the workers of some shards died repeatedly; the other shards
            are extracted first.
        UsageError: a worker lacks a shared folder or a file, or has another version of tfser.
    """
    errors = work.folder.absolute().parent / _log_name()
    probe = work.folder.absolute() / f"shared-{uuid.uuid4().hex}.tmp"
    lost = []
    with contextlib.ExitStack() as stack:
        with translate_disk_errors(work.folder):
            probe.touch()
        stack.callback(probe.unlink, missing_ok=True)
        session, n_at_once = stack.enter_context(
            spark_session.open_session(master, len(missing), "shards", errors)
        )
        bar = stack.enter_context(extraction.progress_bar(missing, work))
        place = spark_session.current_place()
        # The arguments of a Keras layer are a dict of Keras's own, which cannot be unpickled.
        arguments = dict(work.feature.arguments)
        decoding = work.decoder, work.channel
        feature = type(work.feature), arguments, _versions(work.feature), decoding

        def extract_shard(number):
            group = work.groups[number]
            contents = {utterance.path: work.contents[utterance.path] for utterance in group}
            path = shard_path(probe.parent, number)
            task = functools.partial(_run_task, place, probe, feature, group, contents, path)
            try:
                [(shard, error)] = (
                    session.sparkContext.parallelize([0], 1).map(lambda _: task()).collect()
                )
            except Exception as spark_error:
                if not spark_session.is_alive(session):
                    raise TfserError(
                        f"Spark has ended, or no master answers at {master}, see {errors}; the "
                        "same command continues"
                    ) from None
                why = spark_session.failure_reason(spark_error)
                if spark_session.RAISED.search(str(spark_error)):  # `_run_task` did not return
                    raise TfserError(
                        f"Spark's workers cannot run tfser: {why}; install it there as it is "
                        f"here, see {errors}"
                    ) from None
                if not spark_session.is_worker_loss(spark_error):
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
            futures = {pool.submit(extract_shard, number): number for number in missing}
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
    """Return the name of Spark's log in this process, one per command of a shared cache.

    All cache entries of the command share the log: one Java process serves them.
    """
    return f"spark-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"


def _versions(feature) -> dict:
    """Return {name: version or setting} of all that must be the same on all machines."""
    name = type(feature).__name__
    versions = {
        "tfser's cache": feature_cache.VERSION,
        "TensorFlow": tf.__version__,
        **decode.decoder_versions(),
    }
    versions["librosa"] = metadata.version("librosa")  # for its mel bands
    return versions | {f"{name}'s {key}": value for key, value in feature.settings().items()}


def _run_task(place, probe, feature, group, contents, path) -> tuple:
    """Write a shard on a worker; return (JSON of the shard, None) or (None, the error)."""
    command_folder = Path(place[0])  # relative paths of the corpus start here
    for folder, shared, fix in (
        (command_folder, command_folder, "run the command elsewhere"),
        (probe.parent, probe, "give another --cache"),
    ):
        if not shared.exists():
            return None, UsageError(
                f"Spark's worker on {socket.gethostname()} does not see the folder {folder} of "
                f"this machine, which all workers must share; {fix}, or mount it there"
            )
    return spark_session.run_in_place(place, _write_shard, feature, group, contents, path)


def _write_shard(feature, group, contents, path) -> dict:
    """Write a shard and return its JSON.

    Raises UsageError if this worker has other versions or other files than the command.
    """
    feature_class, arguments, versions, decoding = feature
    layer = _create_feature(feature_class, tuple(arguments.items()))
    host = socket.gethostname()
    if differences := _describe_differences(_versions(layer), versions):
        raise UsageError(
            f"Spark's worker on {host} would make other features: it has {differences}; install "
            "there what is here"
        )
    for file, content in contents.items():
        # The command has [0, reason] for a file that it could not read either.
        if content[0] and (local := content_hash.hash_content(file)) != content:
            reason = "it has other content" if local[0] else local[1]
            raise UsageError(
                f"Spark's worker on {host} does not see the {file} of this machine ({reason}); "
                "the corpus must lie in a folder that all workers share"
            )
    shard, records = extraction.compute_shard(group, layer, *decoding)
    write_shard(path, shard, records)
    return shard


def _describe_differences(local: dict, expected: dict) -> str:
    """Return the differences of two machines' `_versions` as text, "" for none."""
    return ", ".join(
        f"{name} {local.get(name)} instead of {expected.get(name)}"
        for name in expected | local
        if local.get(name) != expected.get(name)
    )


@functools.cache
def _create_feature(feature_class, arguments):
    """Create a feature once per worker: openSMILE takes a second to start."""
    return feature_class(**dict(arguments))
