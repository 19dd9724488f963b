"""Predictions of recorded runs: small .npz files in zoo/, against which anybody can test.

A prediction is one byte; names of utterances and speakers are stored once a run.
"""

import hashlib
import io
import json
from pathlib import Path

import numpy as np

from tfser.errors import DataError
from tfser.evaluation.run_predictions import Predictions, load_predictions
from tfser.storage import atomic_files

FIX = "restore it, or record its run again by tfser-card"


def pack_run(folder: Path) -> bytes:
    """Return the content of a .npz file with the predictions of all systems of a finished run.

    Arrays: "y" [n] and "p" [systems, seeds, n], uint8 or uint16; "text", the bytes of JSON with the
    names of utterances, speakers and systems, the folds and the scores that a comparison needs.
    """
    scores = atomic_files.read_dict(folder / "scores.json")
    systems = [load_predictions(folder, name) for name in scores["systems"]]
    first = systems[0]
    text = {
        "run": folder.name,
        "utterances": first.utterances.tolist(),
        "speakers": first.speakers.tolist(),
        "folds": first.folds.tolist(),
        "scores": {
            key: scores[key]
            for key in ("model", "corpus", "protocol", "classes", "seed_numbers", "flags")
        }
        | {"systems": dict.fromkeys(scores["systems"])},
    }
    smallest = np.min_scalar_type(max(len(scores["classes"]) - 1, 1))
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        y=first.y.astype(smallest),
        p=np.stack([system.p for system in systems]).astype(smallest),
        text=np.frombuffer(json.dumps(text, ensure_ascii=False).encode(), np.uint8),
    )
    return stream.getvalue()


def digest(packed: bytes) -> str:
    """Return a name for the content of `pack_run`, which does not depend on the time."""
    with np.load(io.BytesIO(packed)) as arrays:
        content = b"".join(arrays[name].tobytes() for name in ("y", "p", "text"))
    return hashlib.sha256(content).hexdigest()[:8]


def load_stored(file: Path, system: str | None = None) -> Predictions:
    """Load the predictions of a system of a recorded run, by default of its result.

    Raises DataError where the file is damaged or has no such system.
    """
    arrays = atomic_files.read_arrays_if_complete(file)
    if arrays is None or not {"y", "p", "text"} <= arrays.keys():
        raise DataError(f"{file} is damaged; {FIX}")
    try:
        text = json.loads(arrays["text"].tobytes())
        names = list(text["scores"]["systems"])
        system = system or names[-1]
        if system not in names:
            raise DataError(f"{file} has no system {system!r}; it has {', '.join(names)}")
        return Predictions(
            text["run"],
            text["scores"],
            system,
            np.array(text["utterances"]),
            np.array(text["speakers"]),
            arrays["y"].astype(int),
            arrays["p"][names.index(system)].astype(int),
            None,
            np.array(text["folds"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise atomic_files.damaged_error(file, error, FIX) from None
