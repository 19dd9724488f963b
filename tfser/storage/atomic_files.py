"""Reads and writes JSON, CSV and arrays: files that are whole or not there."""

import contextlib
import csv
import errno
import io
import json
import logging
import os
import uuid
import zipfile
from pathlib import Path

import numpy as np

log = logging.getLogger("tfser")
FULL = (errno.ENOSPC, errno.EDQUOT)  # errors of a disk, or of a quota


def read_json(path: Path):
    """The content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, content) -> None:
    """Writes indented JSON."""
    write_bytes(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def write_csv(path: Path, rows: list[dict]) -> None:
    """Writes rows of one shape; the first one's keys are the header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def write_arrays(path: Path, **arrays) -> None:
    """Writes an .npz without pickle."""
    data = io.BytesIO()
    np.savez(data, **arrays)
    write_bytes(path, data.getbuffer())


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz, never unpickled."""
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def read_arrays_if_complete(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of an .npz, or None where there is none or it is damaged, which is logged."""
    if not path.exists():
        return None
    try:
        return read_arrays(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s is damaged (%s): made again", path, error)
        return None


def write_bytes(path: Path, content) -> None:
    """Writes a file that is whole or not there, also after kill -9 or on a full disk."""
    with replace_file(path) as temporary, open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def replace_file(path: Path):
    """Yields a temporary path that becomes `path` once the block has ended well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Keeps the ending, which Keras looks at. In containers many processes have the number 1.
    temporary = path.with_name(f".{os.getpid()}-{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
