"""Cells of a table: labels, numbers and times."""

import math
import re

from tfser.errors import DataError

# Words that programs write for an empty cell.
MISSING = ("", "nan", "nat", "<na>", "na", "n/a", "n.a.", "#n/a", "none", "null", "nil", "-", "?")
NOUNS = {"angry": "anger", "bored": "boredom", "disgusted": "disgust", "fearful": "fear",
         "happy": "happiness", "sad": "sadness", "surprised": "surprise"}  # fmt: skip
GENDERS = dict.fromkeys(("m", "man", "boy"), "male") | dict.fromkeys(
    ("f", "w", "woman", "girl"), "female"
)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
TIMEDELTA = re.compile(
    r"(?:(-?\d+) days?)?(?:(?:^| )\+?(\d+):(\d\d):(\d\d(?:\.\d+)?))?", re.ASCII | re.IGNORECASE
)


def parse_label(row: dict[str, str], column: str, nouns: dict[str, str]) -> str | None:
    """Return a category in lower case, as a noun of `nouns` if any; None for an empty cell."""
    cell = row.get(column, "").lower()
    return None if cell in MISSING else nouns.get(cell, cell)


def parse_number(row: dict[str, str], column: str, where: str) -> float | None:
    """Return a finite number, None for an empty cell; raise DataError for other cells."""
    cell = row.get(column, "")
    if cell.lower() in MISSING:
        return None
    value = float(cell) if NUMBER.fullmatch(cell) else math.nan
    if not math.isfinite(value):
        fix = ""
        if re.fullmatch(r"[+-]?[\d.]*,\d+", cell):
            fix = "; write the decimals with a point"
        elif column in ("start", "end"):
            fix = "; write seconds, such as 62.5, or hours:minutes:seconds, such as 0:01:02.5"
        raise DataError(f"{where}: {column} is {cell!r}, not a number{fix}")
    return value


def parse_seconds(row: dict[str, str], column: str, where: str) -> float | None:
    """Return a time in seconds from a number or a pandas timedelta; raise DataError below 0."""
    cell = row.get(column, "")
    match = TIMEDELTA.fullmatch(cell) if cell else None
    if match:
        days, hours, minutes, rest = (float(part or 0) for part in match.groups())
        value = ((days * 24 + hours) * 60 + minutes) * 60 + rest
    else:
        value = parse_number(row, column, where)
    if value is not None and value < 0:
        raise DataError(f"{where}: {column} is {value:g} s, before the file begins")
    return value
