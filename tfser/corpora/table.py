"""A corpus of the user: a table with a row for each utterance.

Columns: `file`, `speaker`, `emotion`; optional `start`, `end` (in seconds), `session`, `gender`,
`text`, `split`, `group`, `activation` (or `arousal`), `valence`, `dominance`. A table with one of
the last three needs no `emotion`. Other columns are ignored. UTF-8, separated by commas, semicolons
or tabs. Files are relative to the folder of the table, or to a given folder.

Tables of audformat are read unchanged: times such as `0 days 00:00:01.500000`, NaT for the complete
file; the speakers of `db.emotion.csv` are in `db.files.csv` beside it. Adjectives such as angry
become the nouns of the other corpora; every other label is used in lower case.
"""

import csv
import difflib
import io
import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from tfser.corpora.loader import log
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError, did_you_mean
from tfser.storage import s3

ATTRIBUTES = ("activation", "valence", "dominance")
WORDS = ("session", "text", "split", "group")
COLUMNS = ("file", "speaker", "emotion", "start", "end", "gender", *WORDS, *ATTRIBUTES)
MISSING = ("", "nan", "nat", "<na>")
NOUNS = {"angry": "anger", "bored": "boredom", "disgusted": "disgust", "fearful": "fear",
         "happy": "happiness", "sad": "sadness", "surprised": "surprise"}  # fmt: skip
GENDERS = {"m": "male", "f": "female"}
TIMEDELTA = re.compile(r"(?:(\d+) days? )?\+?(\d+):(\d\d):(\d\d(?:\.\d+)?)")


def read(path: Path, root: Path | None = None) -> list[Utterance]:
    """Return the utterances in the table's order; raise DataError with the line of an error."""
    folder = root or path.parent
    rows = read_rows(path)
    add_speakers(path, rows)
    check_columns(path, list(rows[0][1]))
    utterances, lines, missing, is_file = [], {}, [], s3.make_file_test(folder)
    for line, row in rows:
        where = f"{path}, line {line}"
        if row["file"] == "":
            raise DataError(f"{where}: the file is empty")
        if row["speaker"] == "":
            raise DataError(f"{where}: the speaker is empty")
        start, end = (parse_seconds(row, column, where) for column in ("start", "end"))
        if end is not None and end <= (start or 0.0):
            raise DataError(
                f"{where}: the end, {end:g} s, is not after the start, {start or 0:g} s"
            )
        if not start and end is None:
            start = None
        file = folder / row["file"]
        first = lines.setdefault((file, start, end), line)
        if first != line:
            raise DataError(f"{where}: the same file and times as in line {first}; remove one")
        if not is_file(file):
            missing.append((line, file))
        utterances.append(
            Utterance(
                file,
                name=row["file"],  # until set_names
                speaker=row["speaker"],
                emotion=parse_label(row, "emotion", NOUNS),
                start_seconds=start,
                end_seconds=end,
                gender=parse_label(row, "gender", GENDERS),
                **{word: row.get(word) or None for word in WORDS},
                **{attribute: parse_number(row, attribute, where) for attribute in ATTRIBUTES},
            )
        )
    if missing:
        line, file = missing[0]
        more = f" and {len(missing) - 1:,} more are missing" if missing[1:] else ""
        raise DataError(
            f"{path}, line {line}: there is no file {file}{more}; files are looked for under "
            f"{folder}, give --data-root if they lie elsewhere"
        )
    return set_names(utterances)


def read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Load a table as (line, {column: cell}), cells stripped.

    Raises DataError for a missing table, other text than UTF-8, and damaged rows or columns.
    """
    if not path.is_file():
        raise DataError(f"there is no table {path}")
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")  # spreadsheets put a mark in front
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: not UTF-8; save the table as UTF-8") from None
    header_line = next((line for line in text.splitlines() if line.strip()), "")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header_line.count))
    header, rows = None, []
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if header is None:
                header = [column_name(cell) for cell in cells]
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"{path}, line {reader.line_num}: {len(cells)} cells, but the header has "
                    f"{len(header)}; quote cells that contain the separator"
                )
            rows.append((reader.line_num, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from None
    if header is None or not rows:
        raise DataError(f"{path}: the table has no rows; expected columns file, speaker, emotion")
    twice = [name for name, n in Counter(header).items() if n > 1 and name in COLUMNS]
    if twice:
        raise DataError(f"{path}, line 1: two columns are called {twice[0]!r}")
    return rows


def column_name(cell: str) -> str:
    """Return the name of a column in lower case, "activation" for arousal."""
    return {"arousal": "activation"}.get(cell.lower(), cell.lower())


def add_speakers(path: Path, rows: list[tuple[int, dict[str, str]]]) -> None:
    """Add the speakers to a label table of audformat, from db.files.csv."""
    files = path.with_name("db.files.csv")
    if "speaker" in rows[0][1] or not path.name.startswith("db.") or not files.is_file():
        return
    speakers = {row["file"]: row["speaker"] for _, row in read_rows(files) if "speaker" in row}
    if speakers:
        for _, row in rows:
            row["speaker"] = speakers.get(row.get("file", ""), "")


def check_columns(path: Path, header: list[str]) -> None:
    """Raise DataError for a missing column; warn of a column that may be misspelt."""
    has_attributes = any(attribute in header for attribute in ATTRIBUTES)
    for column in ("file", "speaker") if has_attributes else ("file", "speaker", "emotion"):
        if column not in header:
            raise DataError(
                f"{path}, line 1: no column {column!r}{did_you_mean(column, header)}; "
                f"there are {', '.join(header)}"
            )
    for column in header:
        near = difflib.get_close_matches(column, COLUMNS, n=1, cutoff=0.8)
        if near and column not in COLUMNS and near[0] not in header:
            log.warning("%s: column %r is not read; did you mean %r?", path, column, near[0])


def parse_label(row: dict[str, str], column: str, nouns: dict[str, str]) -> str | None:
    """Return a category in lower case, as a noun of `nouns` if any; None for an empty cell."""
    cell = row.get(column, "").lower()
    return None if cell in MISSING else nouns.get(cell, cell)


def parse_number(row: dict[str, str], column: str, where: str) -> float | None:
    """Return a finite number, None for an empty cell; raise DataError for other cells."""
    cell = row.get(column, "")
    if cell.lower() in MISSING:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        comma = "; write the decimals with a point" if re.fullmatch(r"-?\d+,\d+", cell) else ""
        raise DataError(f"{where}: {column} is {cell!r}, not a number{comma}")
    return value


def parse_seconds(row: dict[str, str], column: str, where: str) -> float | None:
    """Return a time in seconds from a number or a pandas timedelta; raise DataError below 0."""
    match = TIMEDELTA.fullmatch(row.get(column, ""))
    if match:
        days, hours, minutes, rest = (float(part or 0) for part in match.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + rest
    value = parse_number(row, column, where)
    if value is not None and value < 0:
        raise DataError(f"{where}: {column} is {value:g} s, before the file begins")
    return value


def make_name(parts: tuple[str, ...], utterance: Utterance) -> str:
    """Join the parts of a path and the times into a file name: "turn_1.500-2.750"."""
    start, end = utterance.start_seconds, utterance.end_seconds
    times = "" if start is None and end is None else f"_{start or 0:.3f}-"
    times += "" if end is None else f"{end:.3f}"
    path = "-".join([*parts[:-1], Path(parts[-1]).stem])
    return re.sub(r"[^\w.-]+", "-", path + times).strip("-")


def set_names(utterances: list[Utterance]) -> list[Utterance]:
    """Return the utterances with unique names: of the file, else of its path, else with the row."""
    paths = [Path(utterance.name).parts for utterance in utterances]
    names = [make_name(path[-1:], u) for path, u in zip(paths, utterances, strict=True)]
    shared = Counter(names)
    names = [
        make_name(path, u) if shared[name] > 1 else name
        for name, path, u in zip(names, paths, utterances, strict=True)
    ]
    shared = Counter(names)
    return [
        replace(u, name=f"{name}_row{row}" if shared[name] > 1 or not name else name)
        for row, (name, u) in enumerate(zip(names, utterances, strict=True), start=1)
    ]
