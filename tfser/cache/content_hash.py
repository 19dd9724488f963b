"""Hashes of audio files, for the cache key."""

import functools
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from tfser.storage import s3

LONG = {"delay": 5.0, "leave": False}  # bars of steps that are seldom slow appear after 5 s


def hash_contents(utterances, known: dict) -> dict:
    """Return `known`, {path: `hash_content(path)`}, after adding the files it lacks."""
    paths = list({u.path: None for u in utterances if u.path not in known})
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        contents = tqdm(pool.map(hash_content, paths), "key", len(paths), unit="file", **LONG)
        known.update(zip(paths, contents, strict=True))
    return known


def hash_content(path) -> list:
    """Return [size, sha256] of a file, or [0, reason] for a file that cannot be opened."""
    digest = hashlib.sha256()  # processors have instructions for it
    try:
        if isinstance(path, s3.S3Path):
            return _hash_s3_content(path)
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
            return [file.tell(), digest.hexdigest()]
    except OSError as error:
        return [0, str(error.strerror)]


@functools.cache
def _hash_s3_content(path) -> list:
    """Read an object once per process: objects are replaced, never modified."""
    content = path.read_bytes()
    return [len(content), hashlib.sha256(content).hexdigest()]
