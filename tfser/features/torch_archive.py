"""Tensors of a PyTorch archive of the old format, read as bytes, without PyTorch.

Such an archive holds five pickles (magic number, version, sizes of the machine's types, the saved
object, the keys of the storages), and then of each storage its number of elements in 8 bytes and
the elements. A pickle is a program. `pickletools` lists its operations without running any.
"""

import io
import pickletools
from typing import NamedTuple

import numpy as np

from tfser.errors import DataError

ITEM_BYTES = 4  # of float32
NUMBERS = ("BININT", "BININT1", "BININT2")


class StoredTensor(NamedTuple):
    """The place of a tensor in an archive."""

    storage: str  # key of the storage
    offset: int  # elements before the tensor in its storage
    shape: tuple


def read_tensors(content: bytes, names) -> dict[str, np.ndarray]:
    """Read float32 tensors {name: array} from the content of an archive.

    Raises DataError where a tensor is missing, or the content is not of the format.
    """
    try:
        _, _, _, saved, keys, position = split_pickles(content)
        places = find_tensors(saved, names)
        storages = read_storages(content, list_strings(keys), position)
        return {name: take_tensor(storages, places[name]) for name in names}
    except (ValueError, LookupError, OverflowError) as error:
        raise DataError(f"no archive of PyTorch's old format: {error}") from None


def split_pickles(content: bytes) -> list:
    """Return the operations [(name, argument)] of each of the five pickles, and their size."""
    stream = io.BytesIO(content)
    pickles = [
        [(operation.name, argument) for operation, argument, _ in pickletools.genops(stream)]
        for _ in range(5)
    ]
    return [*pickles, stream.tell()]


def list_strings(operations) -> list[str]:
    """List the strings of a pickle in their order."""
    return [argument for name, argument in operations if name == "BINUNICODE"]


def find_tensors(operations, names) -> dict[str, StoredTensor]:
    """Find the tensors with these names in the operations of the saved object.

    Behind a tensor's name stand the storage's key, its device and size, then the tensor's offset,
    shape and strides, and False (no gradient).
    """
    places, rest = {}, iter(operations)
    for operation, name in rest:
        if operation != "BINUNICODE" or name not in names or name in places:
            continue
        key, numbers = None, []
        for operation, argument in rest:
            if operation == "NEWFALSE":
                break
            if operation == "BINUNICODE" and argument.isdigit():
                key = argument
            elif operation in NUMBERS:
                numbers.append(argument)
        _, offset, *sizes = numbers
        shape, strides = sizes[: len(sizes) // 2], sizes[len(sizes) // 2 :]
        if key is None or strides != [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]:
            raise ValueError(f"{name} is not stored row by row")
        places[name] = StoredTensor(key, offset, tuple(shape))
    return places


def read_storages(content: bytes, keys, position: int) -> dict[str, np.ndarray]:
    """Read the storages {key: elements} that follow each other to the end of the content."""
    storages = {}
    for key in keys:
        [n] = np.frombuffer(content, "<i8", 1, position)
        storages[key] = np.frombuffer(content, "<f4", n, position + 8)
        position += 8 + ITEM_BYTES * int(n)
    if position != len(content):
        raise ValueError(f"{len(content) - position} bytes after the last storage")
    return storages


def take_tensor(storages, place: StoredTensor) -> np.ndarray:
    """Return a tensor of its storage; raise ValueError where the storage is too small."""
    storage = storages[place.storage]
    n = int(np.prod(place.shape))
    return storage[place.offset : place.offset + n].reshape(place.shape)
