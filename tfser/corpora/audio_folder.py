"""The audio files of a corpus folder."""

import os
from collections.abc import Iterator
from pathlib import Path

from tfser.errors import DataError
from tfser.storage import s3

AUDIO_SUFFIXES = (".wav", ".flac", ".sph")
MAX_DEPTH = 6  # folders below the root: enough for every release, and quick for "/"


def list_audio_files(root: Path) -> Iterator[Path]:
    """Yield the audio files under a folder, in sorted order, without clutter.

    Raises DataError for a folder that cannot be read.
    """
    for path in list_files(root):
        if path.name.lower().endswith(AUDIO_SUFFIXES) and not is_clutter(path.name):
            yield path


def is_clutter(name: str) -> bool:
    """Return true for hidden files and folders, and those of macOS archives."""
    return name.startswith((".", "__MACOSX"))


def list_files(root: Path, passed_over=lambda folder: None) -> Iterator[Path]:
    """Yield the files under a folder, in sorted order.

    passed_over: called with each folder that is hidden or too deep.

    Raises DataError for a folder that cannot be read.
    """
    seen = set()
    walk = (
        root.walk()
        if isinstance(root, s3.S3Path)
        else (os.walk(root, onerror=raise_unreadable, followlinks=True))
    )
    for folder, folders, files in walk:
        depth = len(s3.to_path(folder).relative_to(root).parts)
        # Links to speaker folders are common, and so are links back to a folder above.
        is_seen = os.path.realpath(folder) in seen
        if is_seen or depth > MAX_DEPTH:
            if not is_seen:
                passed_over(folder)
            folders.clear()
            continue
        seen.add(os.path.realpath(folder))
        for name in filter(is_clutter, folders):
            passed_over(os.path.join(folder, name))
        folders[:] = sorted(name for name in folders if not is_clutter(name))
        for file in sorted(files):
            yield s3.to_path(folder) / file


def raise_unreadable(error: OSError) -> None:
    """Raise DataError for a folder that os.walk would silently leave out."""
    raise DataError(f"the folder {error.filename} cannot be read: {error.strerror}") from error


def check_folder(root: Path) -> Path:
    """Return the folder with ~ resolved; raise DataError if it is missing."""
    root = s3.to_path(root).expanduser()
    s3.check_folder(root, "the data folder")
    try:
        is_folder = root.is_dir()
    except OSError as error:
        raise DataError(f"the data folder {root} cannot be read: {error.strerror}") from None
    if not is_folder:
        what = "is a file, not a folder (unpack it)" if root.is_file() else "does not exist"
        raise DataError(f"the data folder {root} {what}")
    return root
