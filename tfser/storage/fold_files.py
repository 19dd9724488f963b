"""The folders of folds in a run directory, and what tells one of them from a copy of another."""

import contextlib
import hashlib
from pathlib import Path

import numpy as np

from tfser.errors import ConflictError
from tfser.storage import atomic_files


def mark_fold(folder: Path, fold: Path) -> None:
    """Record in the folder of a fold of which run it is, before training; see `check_fold`."""
    if fold.exists():
        check_fold(folder, fold)
    else:
        atomic_files.write_json(fold / "fold.json", {"run": digest_fold(folder, fold)})


def check_fold(folder: Path, fold: Path) -> None:
    """Raise ConflictError where the folder of a fold was copied from another run or another fold.

    Folds of older runs have no record, and are not checked.
    """
    path = fold / "fold.json"
    if path.exists() and atomic_files.read_dict(path) != {"run": digest_fold(folder, fold)}:
        raise ConflictError(
            f"{fold} is of another run or fold, or hparams.json or data.json was changed; copy the "
            "run whole, or delete that folder, and the same tfser-train command trains it again"
        )


def stamp_place(file: Path) -> dict[str, np.ndarray]:
    """Return {"place": the file's path below the run directory} for the arrays of a fold."""
    parts = file.parts
    seeds = [i for i, part in enumerate(parts[:-1]) if part.startswith("seed-")]
    first = seeds[-1] if seeds else len(parts) - 1
    return {"place": np.array("/".join(parts[first:]))}


def take_place(file: Path, arrays: dict) -> dict:
    """Return the arrays of a fold without their place; arrays of older runs have none.

    Raises ConflictError where the file was copied from another fold.
    """
    arrays = dict(arrays)
    place = arrays.pop("place", None)
    if place is not None and str(place) != str(stamp_place(file)["place"]):
        raise ConflictError(
            f"{file} is of another fold, {place}; copy the run whole, or delete {file.parent}, and "
            "the same tfser-train command trains it again"
        )
    return arrays


def digest_fold(folder: Path, fold: Path) -> str:
    """Return a digest of a run's settings and data, which stay the same, and of a fold's place."""
    digest = hashlib.sha256(str(fold.relative_to(folder)).encode())
    for name in ("hparams.json", "data.json"):
        with contextlib.suppress(FileNotFoundError):
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:16]
