"""Atomic reading and writing of JSON, CSV and arrays: files are complete or missing."""

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
FULL = (errno.ENOSPC, errno.EDQUOT)  # of a disk, of a quota


def read_json(path: Path):
    """Load the content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, content) -> None:
    """Write indented JSON; a path that is not UTF-8 is read back as it was."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_csv(path: Path, rows: list[dict]) -> None:
    """Write rows with the same keys; the keys are the header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode(errors="backslashreplace"))


def write_arrays(path: Path, **arrays) -> None:
    """Write an .npz without pickle."""
    data = io.BytesIO()
    np.savez(data, **arrays)
    write_bytes(path, data.getbuffer())


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Load the arrays of an .npz without pickle."""
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def read_arrays_if_complete(path: Path) -> dict[str, np.ndarray] | None:
    """Load the arrays of an .npz; return None if it is missing, or damaged, with a warning."""
    if not path.exists():
        return None
    try:
        return read_arrays(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s is damaged (%s): made again", path, error)
        return None


def write_bytes(path: Path, content) -> None:
    """Write a file that is complete or missing, even after kill -9 or on a full disk."""
    with replace_file(path) as temporary, open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def replace_file(path: Path):
    """Yield a temporary path; its file becomes `path` at the end of the block without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Keras needs the suffix. In containers many processes have the id 1, hence the uuid.
    temporary = path.with_name(f".{os.getpid()}-{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
