"""Atomic reading and writing of JSON, CSV and arrays: files are complete or missing."""

import contextlib
import csv
import errno
import fcntl
import hashlib
import io
import json
import logging
import os
import re
import shutil
import uuid
from pathlib import Path

import numpy as np

from tfser.errors import ConflictError, DataError

log = logging.getLogger("tfser")
FULL = (errno.ENOSPC, errno.EDQUOT)  # of a disk, of a quota
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
LONGEST_NAME = 255  # bytes, of Linux' file systems
TEMPORARY = re.compile(r"\.\d+-[0-9a-f]{8}\..*", re.DOTALL)  # the names of `replace_file`
REPAIR = "copy the run whole, or train into another --workdir"


def read_json(path: Path, fix: str = REPAIR):
    """Load the content of a JSON file.

    Raises DataError with the `fix` where the file is damaged, OSError where it is missing.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, MemoryError) as error:
        raise damaged_error(path, error, fix) from None


def read_dict(path: Path, fix: str = REPAIR) -> dict:
    """Load the object of a JSON file as `read_json`; other content is damage too."""
    content = read_json(path, fix)
    if not isinstance(content, dict):
        raise damaged_error(path, "it holds no object", fix)
    return content


def read_csv(path: Path, columns, fix: str = REPAIR) -> list[dict]:
    """Load the rows {column: text} of a CSV file that has at least these columns and one row.

    Raises DataError with the `fix` where the file is damaged, OSError where it is missing.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            rows = list(reader)
            names = reader.fieldnames or []
    except (ValueError, csv.Error) as error:
        raise damaged_error(path, error, fix) from None
    if missing := [column for column in columns if column not in names]:
        raise damaged_error(path, f"it has no column {missing[0]}", fix)
    if not rows:
        raise damaged_error(path, "it has no rows", fix)
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise damaged_error(path, f"row {number} has not {len(names)} fields", fix)
    return rows


def damaged_error(path: Path, reason, fix: str = REPAIR) -> DataError:
    """Return the DataError of a damaged file."""
    reason = str(reason).partition("\n")[0] or type(reason).__name__
    return DataError(f"{path} is damaged: {reason}; {fix}")


def write_json(path: Path, content) -> None:
    """Write indented JSON."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def write_csv(path: Path, rows: list[dict]) -> None:
    """Write rows with the same keys; the keys are the header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_arrays(path: Path, **arrays) -> None:
    """Write an .npz without pickle."""
    data = io.BytesIO()
    np.savez(data, **arrays)
    write_bytes(path, data.getbuffer())


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Load the arrays of an .npz without pickle.

    Raises DataError where the file is damaged, OSError where it is missing.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged archive makes zipfile and NumPy raise a dozen kinds
        raise damaged_error(path, error) from None


def read_arrays_if_complete(path: Path) -> dict[str, np.ndarray] | None:
    """Load the arrays of an .npz; return None if it is missing, or damaged, with a warning."""
    if not path.exists():
        return None
    try:
        return read_arrays(path)
    except DataError as error:
        reason = str(error).removeprefix(f"{path} is damaged: ").removesuffix(f"; {REPAIR}")
        log.warning("%s is damaged (%s): made again", path, reason)
        return None


def write_text(path: Path, text: str) -> None:
    r"""Write text as UTF-8 whatever the locale; bytes of a file name that are none as "\udcff"."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: Path, content) -> None:
    """Write a file that is complete or missing, even after kill -9 or on a full disk."""
    with replace_file(path) as temporary, open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def replace_file(path: Path):
    """Yield a temporary path; its file becomes `path` at the end of the block without an error.

    Raises ConflictError where the folder cannot be written; the OSError of a full disk names it.
    """
    temporary = temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.filename is None:  # of a write
            error.filename = str(path)
        own = str(error.filename).startswith(str(path.parent))
        if own and error.errno in READ_ONLY:
            raise ConflictError(
                f"cannot write {path} ({error.strerror}); make its folder writable, or give another"
            ) from None
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def temporary_path(path: Path) -> Path:
    """Return a path beside `path` for its content until that is complete, of a name that fits."""
    # Keras needs the suffix. In containers many processes have the id 1, hence the uuid.
    head = f".{os.getpid()}-{uuid.uuid4().hex[:8]}."
    return path.with_name(head + fit_name(path.name, LONGEST_NAME - len(head)))


@contextlib.contextmanager
def replace_folder(path: Path):
    """Yield a new temporary folder, which becomes `path` at the end of the block without an error.

    Temporary folders of killed processes for the same path are deleted first: a process holds a
    lock on its own.
    """
    name = temporary_path(path).name
    ending = name[name.index(".", 1) :]
    for leftover in path.parent.iterdir():
        if TEMPORARY.fullmatch(leftover.name) and leftover.name.endswith(ending):
            with contextlib.suppress(OSError), _locked_folder(leftover):
                shutil.rmtree(leftover, ignore_errors=True)
    temporary = path.with_name(name)
    temporary.mkdir()
    try:
        with _locked_folder(temporary):
            yield temporary
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _locked_folder(folder: Path):
    """Hold the lock of a folder; raise OSError where another process holds it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def fit_name(name: str, n_bytes: int = LONGEST_NAME) -> str:
    """Return a file name that fits a file system: a longer name keeps its start and its suffix.

    A digest in place of the rest tells two long names apart.
    """
    content = os.fsencode(name)
    if len(content) <= n_bytes:
        return name
    stem, dot, suffix = content.rpartition(b".")
    end = b"-%s" % hashlib.sha256(content).hexdigest()[:8].encode()
    if dot and len(suffix) < 20:
        end += dot + suffix
    else:
        stem = content
    return stem[: n_bytes - len(end)].decode("utf-8", "ignore") + os.fsdecode(end)


def delete_temporary_files(folder: Path) -> None:
    """Delete what a killed process left of `replace_file` under a folder, and nothing else."""
    for path in folder.rglob(".*"):
        if TEMPORARY.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            path.unlink()


def open_log(path: Path, mode: str, newline: str | None = None):
    """Open a text file to write ("w") or append ("a"), never the target of a symbolic link.

    Raises ConflictError for a link: its target is another file than tfser's. A named pipe is an
    OSError: it would wait for its reader.
    """

    def open_no_link(name, flags):
        return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)

    try:
        return open(
            path,
            mode,
            encoding="utf-8",
            errors="backslashreplace",
            newline=newline,
            opener=open_no_link,
        )
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ConflictError(f"{path} is a symbolic link; delete it") from None
        raise
