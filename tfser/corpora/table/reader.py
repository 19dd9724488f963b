"""Utterances and recordings of a table.

Columns: `file`, `speaker`, `emotion`; optional `start`, `end` (in seconds), `session`, `gender`,
`text`, `split`, `group`, `activation` (or `arousal`), `valence`, `dominance`. A table with one of
the last three needs no `emotion`. Other columns are not read. UTF-8 or UTF-16, separated by commas,
semicolons or tabs. Files are relative to the folder of the table, or to a given folder.

Databases of audformat are read by their header `db.yaml` or by a table beside it. Adjectives such
as angry become the nouns of the other corpora; every other label is used in lower case.
"""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from tfser.corpora.loader import log
from tfser.corpora.table import audformat_table
from tfser.corpora.table.cells import (
    GENDERS,
    MISSING,
    NOUNS,
    parse_label,
    parse_number,
    parse_seconds,
)
from tfser.corpora.table.files import find_files
from tfser.corpora.table.names import check_columns, check_names, require_columns, warn_of_unread
from tfser.corpora.table.text import ATTRIBUTES, read_rows
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError

WORDS = ("session", "text", "split", "group")
LONGEST = 100  # times the duration of a recording: an end beyond is in another unit


def read(path: Path, root: Path | None = None, max_missing: int = 0) -> list[Utterance]:
    """Return the utterances in the table's order; raise DataError with the line of an error.

    max_missing: so many files may be missing; the extraction leaves them out.
    """
    folder = root or path.parent
    rows = load_rows(path)
    check_columns(path, list(rows[0][1]))
    check_names(path, rows)
    elsewhere = ", give --data-root if they lie elsewhere"
    names, missing = find_files(path, folder, rows, elsewhere)
    utterances, lines = [], {}
    for (line, row), name in zip(rows, names, strict=True):
        where = f"{path}, line {line}"
        if row["speaker"].lower() in MISSING:
            what = f"{row['speaker']!r}, which names none" if row["speaker"] else "empty"
            raise DataError(f"{where}: the speaker is {what}; write a name for each speaker")
        start, end = parse_times(row, where)
        file = folder / name
        first = lines.setdefault((file, start, end), line)
        if first != line:
            raise DataError(f"{where}: the same file and times as in line {first}; remove one")
        utterances.append(
            Utterance(
                file,
                name=name,  # until set_names
                speaker=row["speaker"],
                emotion=parse_label(row, "emotion", NOUNS),
                start_seconds=start,
                end_seconds=end,
                gender=parse_label(row, "gender", GENDERS),
                **{word: row.get(word) or None for word in WORDS},
                **{attribute: parse_number(row, attribute, where) for attribute in ATTRIBUTES},
            )
        )
    if missing and missing.n > max_missing:
        raise missing
    check_unit(path, [line for line, _ in rows], utterances)
    return set_names(utterances)


def read_recordings(path: Path) -> list[tuple[Path, float | None, float | None]]:
    """Return (file, start, end) of each row; times are in seconds, None for the complete file.

    Warns of missing files. Raises DataError for a damaged table, with the line.
    """
    rows = load_rows(path)
    header = list(rows[0][1])
    require_columns(path, header, ("file",))
    warn_of_unread(path, header, ("start", "end"))
    names, missing = find_files(path, path.parent, rows)
    if missing:
        log.warning("%s", missing)
    return [
        (path.parent / name, *parse_times(row, f"{path}, line {line}"))
        for (line, row), name in zip(rows, names, strict=True)
    ]


def load_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Load (line, {column: cell}) of a table of text or of audformat."""
    if path.suffix.lower() in audformat_table.SUFFIXES:
        return audformat_table.read_rows(path)
    rows = read_rows(path)
    add_speakers(path, rows)
    return rows


def add_speakers(path: Path, rows: list[tuple[int, dict[str, str]]]) -> None:
    """Add the speakers to a label table of audformat, from db.files.csv."""
    files = path.with_name("db.files.csv")
    if "speaker" in rows[0][1] or not path.name.startswith("db.") or not files.is_file():
        return
    speakers = {row["file"]: row["speaker"] for _, row in read_rows(files) if "speaker" in row}
    if speakers:
        for _, row in rows:
            row["speaker"] = speakers.get(row.get("file", ""), "")


def parse_times(row: dict[str, str], where: str) -> tuple[float | None, float | None]:
    """Return start and end in seconds, None and None for the complete file."""
    start, end = (parse_seconds(row, column, where) for column in ("start", "end"))
    if end is not None and end <= (start or 0.0):
        raise DataError(f"{where}: the end, {end:g} s, is not after the start, {start or 0:g} s")
    return (None if end is None and not start else start), end


def check_unit(path: Path, lines: list[int], utterances: list[Utterance]) -> None:
    """Raise DataError if the latest time is in milliseconds or samples, by its recording's header.

    The decoder refuses every time beyond a recording; this check needs one file.
    """
    times = [
        (u.end_seconds or u.start_seconds or 0.0, line, u)
        for line, u in zip(lines, utterances, strict=True)
    ]
    time, line, latest = max(times, key=lambda item: item[0])
    if not time:
        return
    from tfser.audio import decode  # imports NumPy

    try:
        duration = decode.duration_seconds(latest.path)
    except DataError:  # the extraction says why
        return
    if time > LONGEST * duration:
        which = "start" if latest.end_seconds is None else "end"
        raise DataError(
            f"{path}, line {line}: the {which}, {time:g} s, is far beyond {latest.path}, which "
            f"lasts {duration:.2f} s; write start and end in seconds"
        )


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
