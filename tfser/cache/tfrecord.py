"""The files of the feature cache: TFRecord shards with checksums, complete or missing.

A shard holds some utterances in two records: their frames as raw float32, and JSON with the number
of frames of each utterance.
"""

import contextlib
import json
import os
import tempfile
import uuid
from pathlib import Path

import tensorflow as tf

from tfser.audio.tf_data import disable_autotuning, unconverted
from tfser.errors import ConflictError, TfserError
from tfser.storage import atomic_files, s3


def shard_path(folder, number):
    """Return the path of a shard."""
    return folder / f"shard-{number:05d}.tfrecord"


def utterance_names(utterances):
    """Return the names of utterances, which identify them in a shard."""
    return [utterance.name for utterance in utterances]


def write_shard(path, shard, records):
    """Write a shard: `records`, the frames of each utterance as bytes, and `shard`, its JSON."""
    with replace_shard(path) as temporary, tf.io.TFRecordWriter(str(temporary)) as writer:
        writer.write(b"".join(records))
        writer.write(json.dumps(shard).encode())


def read_shards(folder, numbers):
    """Yield (number, JSON record, bytes of the frames) of shards, (number, None, b"") if damaged.

    One dataset over all shards: TensorFlow reads and checks the next shard during the copy of
    this one.
    """
    paths = [str(shard_path(folder, number)) for number in numbers]

    @unconverted
    def records(path):
        return tf.data.TFRecordDataset(path).batch(3).get_single_element()

    contents = tf.data.Dataset.from_tensor_slices(tf.constant(paths, tf.string)).map(
        records, num_parallel_calls=os.cpu_count()
    )
    iterator = iter(disable_autotuning(contents))
    for number in numbers:
        try:
            frames, shard = iterator.get_next().numpy()
            yield number, json.loads(shard), frames
        except (tf.errors.OpError, ValueError):  # checksum, no file, number of records, JSON
            yield number, None, b""


@contextlib.contextmanager
def replace_shard(path):
    """Yield a temporary path of this writer; at the end its file becomes `path`.

    A file for S3 is written on the disk and uploaded: tensorflow-io's writer hangs at records.
    Raises TfserError if the disk refuses.
    """
    if isinstance(path, s3.S3Path):
        with tempfile.TemporaryDirectory() as folder, translate_disk_errors(path.parent):
            yield Path(folder, path.name)
            s3.upload(Path(folder, path.name), path)
        return
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with translate_disk_errors(path.parent):
            yield temporary
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def translate_disk_errors(folder):
    """Raise errors of the disk, from Python or TensorFlow, in one line.

    A full disk is a TfserError, a folder that cannot be written a ConflictError.
    """
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        full = isinstance(error, tf.errors.ResourceExhaustedError)
        if full or getattr(error, "errno", None) in atomic_files.FULL:
            raise TfserError(
                f"disk full at {folder}: {error}; free space or pass --cache "
                "elsewhere (finished parts are kept)"
            ) from error
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise ConflictError(f"cannot write {folder}: {reason}; pass --cache elsewhere") from error
