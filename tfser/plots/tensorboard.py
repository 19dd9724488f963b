"""Event files for TensorBoard: scalars and images."""

import contextlib
from pathlib import Path

import tensorflow as tf


@contextlib.contextmanager
def open_event_writer(folder: Path):
    """Yield write(step, scalars, pictures) for TensorBoard; pictures are PNG bytes."""
    writer = tf.summary.create_file_writer(str(folder))

    def write(step: int, scalars: dict, pictures: dict | None = None) -> None:
        with writer.as_default(step=step):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)
            for name, png in (pictures or {}).items():
                tf.summary.image(name, tf.io.decode_png(png)[None])

    try:
        yield write
    finally:
        writer.close()
