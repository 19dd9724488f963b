"""Files that a table names."""

import contextlib
import os
import re
import unicodedata
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote

from tfser.errors import DataError
from tfser.storage import file_names, s3

ENCODINGS = ("gb18030", "big5", "shift_jis", "euc_kr", "cp1252", "cp1251", "cp437")


class MissingFiles(DataError):
    """Files that a table names and the folder lacks: `n` rows."""

    def __init__(self, message: str, n: int):
        super().__init__(message)
        self.n = n


def find_files(
    path: Path, folder: Path, rows: list[tuple[int, dict[str, str]]], elsewhere: str = ""
) -> tuple[list[str], MissingFiles | None]:
    r"""Return the name of each row's file, relative to the folder if the table has it so.

    A name as Windows writes it (wav\a.wav), in another Unicode form, as file:// or below ~ is
    turned into that of the file. The error, if any, names the first missing file.

    elsewhere: the advice for files outside the folder.
    """
    test, names, missing = s3.make_file_test(folder), [], []

    def is_file(file):
        try:
            return test(file)
        except (OSError, ValueError):  # a name too long, an unreadable folder, no UTF-8 on S3
            return False

    for line, row in rows:
        if row["file"] == "":
            raise DataError(f"{path}, line {line}: the file is empty")
        name = next((name for name in list_names(row["file"]) if is_file(folder / name)), None)
        if name is None:
            missing.append((line, row["file"]))
        names.append(name or row["file"])
    if not missing:
        return names, None
    line, name = missing[0]
    shown = repr(str(folder / name)) if "\r" in name or "\n" in name else folder / name
    more = f" and {len(missing) - 1:,} more are missing" if missing[1:] else ""
    return names, MissingFiles(
        f"{path}, line {line}: there is no file {shown}{more}; {explain(folder, name, elsewhere)}",
        len(missing),
    )


def list_names(cell: str):
    """Yield the names that a cell may mean, the likeliest first."""
    yield cell
    if cell.startswith("~"):
        yield os.path.expanduser(cell)
    if cell.lower().startswith("file://"):
        yield unquote(re.sub("^file://(localhost)?", "", cell, flags=re.IGNORECASE))
    if "\\x" in cell:  # as results have the bytes of a name that is not UTF-8
        yield file_names.unescape(cell)
    for encoding in ENCODINGS if not cell.isascii() else ():  # names of old archives
        with contextlib.suppress(UnicodeEncodeError):
            yield os.fsdecode(cell.encode(encoding))
    if "\\" in cell:
        cell = cell.replace("\\", "/")
        yield cell
    if not cell.isascii():
        yield unicodedata.normalize("NFC", cell)
        yield unicodedata.normalize("NFD", cell)


def explain(folder: Path, name: str, elsewhere: str) -> str:
    """Return the fix for a missing file, such as the name of a similar file."""
    if "\r" in name or "\n" in name:
        return "the cell has a line break: is a quote not closed?"
    if PureWindowsPath(name).drive and not name.startswith("//"):
        return (
            "a path of another machine, with a drive of Windows; write paths relative to the "
            "folder of the table"
        )
    if "://" in name and not name.lower().startswith("file:"):
        return "an address; download the files, and write their paths"
    try:
        if (folder / name).is_dir():
            return "it is a folder; write a row for each file"
        if (folder / name).exists():
            return "it is a pipe or device, not a file"
        similar = find_similar(folder / list(list_names(name))[-1])
    except OSError:  # a name that is too long, a folder that cannot be read
        similar = None
    if similar:
        return f"there is {similar!r}; write the names as those of the files"
    return f"files are looked for under {folder}{elsewhere}"


def find_similar(file: Path) -> str | None:
    """Return the path with parts that differ in case, spaces, quotes or Unicode form, or None."""
    if isinstance(file, s3.S3Path):
        return None
    found = Path(file.anchor)
    for part in file.parts[bool(file.anchor) :]:
        if not (found / part).exists():
            names = os.listdir(found) if found.is_dir() else []
            part = next((name for name in sorted(names) if fold(name) == fold(part)), None)
            if part is None:
                return None
        found /= part
    return str(found)


def fold(name: str) -> str:
    """Return a name without case, spaces, quotes and invisible characters."""
    name = unicodedata.normalize("NFKC", name).casefold()
    return "".join(c for c in name if c.isprintable() and c not in " '\"‘’“”")
