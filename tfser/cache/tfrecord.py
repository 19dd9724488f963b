"""The files of the feature cache: whole or not there, with checksums.

A shard holds some utterances in two records of TensorFlow's format: their frames as raw float32,
and JSON that says how many each has.
"""

import contextlib
import json
import os
import tempfile
import uuid
from pathlib import Path

import tensorflow as tf

from tfser.audio.tf_data import disable_autotuning, unconverted
from tfser.errors import TfserError
from tfser.storage import atomic_files, s3


def shard_path(folder, number):
    """The file of a shard."""
    return folder / f"shard-{number:05d}.tfrecord"


def utterance_names(utterances):
    """By which a shard knows its utterances."""
    return [utterance.name for utterance in utterances]


def write_shard(path, shard, records):
    """Writes the frames of a shard, bytes of each utterance, and its JSON."""
    with replace_shard(path) as temporary, tf.io.TFRecordWriter(str(temporary)) as writer:
        writer.write(b"".join(records))
        writer.write(json.dumps(shard).encode())


def read_shards(folder, numbers):
    """Yields (number, JSON record, bytes of the frames), (number, None, b"") where damaged.

    One dataset over all shards: TensorFlow reads and checks the next while this one is copied.
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
    """Gives a temporary path of this writer's own; what was written there then becomes `path`.

    An object of S3 is there once its upload is complete: tensorflow-io's own writing to it does
    not come back from records.
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
    """Turns what the disk refuses, by Python or by TensorFlow, into one line with its fix."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        full = isinstance(error, tf.errors.ResourceExhaustedError)
        if full or getattr(error, "errno", None) in atomic_files.FULL:
            raise TfserError(
                f"disk full at {folder}: {error}; free space or pass --cache "
                "elsewhere (finished parts are kept)"
            ) from error
        raise TfserError(f"cannot write {folder}: {error}; pass --cache elsewhere") from error
