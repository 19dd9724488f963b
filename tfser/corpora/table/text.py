"""Text of a table: encoding, separator, header and rows."""

import csv
import io
import re
import unicodedata
from collections import Counter
from pathlib import Path, PurePath

from tfser.corpora.loader import log
from tfser.errors import DataError

ATTRIBUTES = ("activation", "valence", "dominance")
NAMES = ("speaker", "emotion", "session", "gender", "split", "group")
COLUMNS = ("file", *NAMES, "start", "end", "text", *ATTRIBUTES)
SEPARATORS = ",;\t"
MARKS = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16",
         b"\xfe\xff": "utf-16"}  # fmt: skip
OTHER_FORMATS = {
    b"PK\x03\x04": "an Excel workbook or a zip archive",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "compressed by gzip",
    b"<": "a web page or XML",
    b"RIFF": "a recording",
}
SPREADSHEET_ERROR = re.compile(r"#(REF|VALUE|NAME|DIV/0|NUM|NULL|SPILL|CALC)[!?]")
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d+")


def read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Load a table as (line, {column: cell}); cells without invisible characters, text as it is.

    The line is the first of the row. A cell of numbers has a decimal point.

    Raises DataError for a missing table, other text than Unicode with a known encoding, and
    damaged rows or columns.
    """
    lines = split_lines(decode(path))
    separator, first = None, 0
    while first < len(lines) and not is_header(lines[first]):
        if match := re.fullmatch(r'"?sep=(.)"?', lines[first].strip("\r\n"), re.IGNORECASE):
            separator = match[1]
        first += 1
    if first == len(lines):
        raise no_rows(path)
    lines[first] = lines[first].lstrip("# ")
    separator = separator or find_separator(lines[first])
    rows = list(split_rows(path, lines[first:], first, separator))
    header, rows = [column_name(cell) for cell in rows[0][1]], rows[1:]
    if not rows:
        raise no_rows(path)
    twice = [name for name, n in Counter(header).items() if n > 1 and name in COLUMNS]
    if twice:
        raise DataError(f"{path}, line {first + 1}: two columns are called {twice[0]!r}")
    table = []
    for line, cells in rows:
        where = f"{path}, line {line}"
        if len(cells) > len(header) and not any(cells[len(header) :]):
            cells = cells[: len(header)]
        if len(cells) != len(header):
            fix = "quote cells that contain the separator or a line break"
            if cells[0].startswith("#"):
                fix = "comments stand above the header"
            raise DataError(f"{where}: {len(cells)} cells, but the header has {len(header)}; {fix}")
        row = dict(zip(header, cells, strict=True))
        check_cells(row, where, separator)
        table.append((line, row))
    clean_names(path, table)
    if separator != ",":
        convert_decimal_commas(path, table)
    return table


def no_rows(path: Path) -> DataError:
    """Return the error for a table without rows."""
    return DataError(f"{path}: the table has no rows; expected columns file, speaker, emotion")


def decode(path: Path) -> str:
    """Return the text of a table: UTF-8, or UTF-16 or UTF-32 with a byte order mark."""
    if not path.is_file():
        what = f"there is no table {path}"
        if path.exists():
            what = f"{path} is a {'folder' if path.is_dir() else 'pipe or device'}, not a table"
        raise DataError(what)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    for start, what in OTHER_FORMATS.items():
        if data.startswith(start):
            raise DataError(f"{path} is {what}, not a table of text; save it as CSV UTF-8")
    encoding = next((name for mark, name in MARKS.items() if data.startswith(mark)), "utf-8-sig")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        name = encoding.removesuffix("-sig").upper()
        raise DataError(f"{path}, line {line}: not {name}; save the table as UTF-8") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(
            f"{path}, line {line}: a NUL byte; the table is damaged, or UTF-16 without a mark: "
            "save it as UTF-8"
        )
    return text


def split_lines(text: str) -> list[str]:
    r"""Split at \n, \r\n and \r, which stay."""
    return list(io.StringIO(text, newline=""))


def is_header(line: str) -> bool:
    """Tell the header from blank lines, comments and Excel's line "sep=;"."""
    line = line.strip()
    if line.startswith("#"):
        cells = re.split(f"[{SEPARATORS}]", line.lower().strip("# "))
        return len(cells) > 1 and "file" in [cell.strip(' "') for cell in cells]
    return bool(line.strip(SEPARATORS + '" ')) and not re.match('"?sep=', line, re.IGNORECASE)


def find_separator(line: str) -> str:
    """Return the separator that makes most columns of a header known, or most columns."""

    def count(separator):
        cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
        return sum(column_name(cell) in COLUMNS for cell in cells), len(cells)

    return max(SEPARATORS, key=count)


def split_rows(path: Path, lines: list[str], skipped: int, separator: str):
    """Yield (number of the first line, cells) of each row that is not blank.

    skipped: number of lines before `lines`.
    """
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    while True:
        line = skipped + reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise DataError(
                f'{path}, line {line}: a quote (") is not closed, or not doubled within a quoted '
                f"cell ({error})"
            ) from None
        if cells is None:
            return
        cells = [cell.strip() for cell in cells]
        if any(cells):
            yield line, cells


def column_name(cell: str) -> str:
    """Return the name of a column in lower case, "activation" for arousal."""
    name = clean(cell).lower()
    return {"arousal": "activation"}.get(name, name)


def check_cells(row: dict[str, str], where: str, separator: str) -> None:
    """Raise DataError for lost letters, errors of a spreadsheet, and rows inside a cell."""
    suffix = PurePath(row.get("file", "")).suffix
    for column, cell in row.items():
        if "\n" in cell or "\r" in cell:
            inner = re.split("[\r\n]+", cell)[1:]
            names_files = suffix and any(suffix in line and separator in line for line in inner)
            if names_files or column in COLUMNS and column not in ("file", "text"):
                raise DataError(
                    f"{where}: the cell of {column!r} goes on in the next line; is a quote not "
                    "closed?"
                )
        if column not in COLUMNS or column == "text":
            continue
        if "\ufffd" in cell:
            raise DataError(
                f"{where}: {column} is {cell!r}, in which a conversion has lost letters; save the "
                "original table as UTF-8"
            )
        if SPREADSHEET_ERROR.fullmatch(cell):
            raise DataError(f"{where}: {column} is {cell}, an error of the spreadsheet")
    if column_name(row.get("file", "")) == "file":
        raise DataError(f"{where}: the names of the columns again; remove this line")


def clean(cell: str) -> str:
    """Return a name in Unicode's composed form, with plain spaces and no invisible characters."""
    if cell.isascii() and cell.isprintable() and "  " not in cell:
        return cell.strip()
    cell = " ".join(unicodedata.normalize("NFC", cell).split())
    return "".join(c for c in cell if unicodedata.category(c) not in ("Cc", "Cf")).strip()


def clean_names(path: Path, table: list[tuple[int, dict[str, str]]]) -> None:
    """Clean all cells but files and text; warn of names that differed only invisibly."""
    for column in table[0][1]:
        if column not in COLUMNS or column in ("file", "text"):
            continue
        spellings = {}
        for line, row in table:
            cell = row[column]
            row[column] = clean(cell)
            spellings.setdefault(row[column], {}).setdefault(cell, line)
        merged = {name: lines for name, lines in spellings.items() if len(lines) > 1}
        if merged and column in NAMES:
            name, lines = next(iter(merged.items()))
            one, other = list(lines.values())[:2]
            log.warning(
                "%s: names of column %r with other spaces, invisible characters or Unicode forms "
                "are read as one: %d, the first is %r in lines %d and %d",
                *(path, column, len(merged), name, one, other),
            )


def convert_decimal_commas(path: Path, table: list[tuple[int, dict[str, str]]]) -> None:
    """Write 1,5 as 1.5 in columns of numbers; raise DataError for a column with both."""
    for column in ("start", "end", *ATTRIBUTES):
        commas = [
            (line, row) for line, row in table if DECIMAL_COMMA.fullmatch(row.get(column, ""))
        ]
        if commas and any(DECIMAL_POINT.fullmatch(row[column]) for _, row in table):
            line, row = commas[0]
            raise DataError(
                f"{path}, line {line}: {column} is {row[column]!r}, and other rows have a decimal "
                "point; write all decimals with a point"
            )
        for _, row in commas:
            row[column] = row[column].replace(",", ".")
