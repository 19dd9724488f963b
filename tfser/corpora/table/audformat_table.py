"""Tables of an audformat database, by the header `db.yaml` or by a Parquet table beside it."""

import tempfile
from pathlib import Path

from tfser.errors import DataError, UsageError, did_you_mean

SUFFIXES = (".yaml", ".parquet")
STORED = (".parquet", ".csv")  # audformat reads the first that exists


def read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return (number, {column: cell}) of the rows of a table, as `text.read_rows`.

    path: `db.yaml`, for the table "emotion" or the only one with a column emotion, or
        `db.<table>.parquet`.

    Speakers and their gender come from the table "files" if the table lacks them.

    Raises DataError for a missing or damaged database, UsageError without audformat.
    """
    if not path.is_file():
        raise DataError(f"there is no table {path}")
    try:
        import audformat
        import yaml
    except ImportError:
        raise UsageError(
            f"{path}: reading audformat needs pip install 'tfser[audformat]'; or save the "
            "database as CSV, by db.save(folder, storage_format='csv')"
        ) from None
    name, _, table_id = path.name.removesuffix(path.suffix).partition(".")
    header = path.with_name(f"{name}.yaml")
    try:
        # audformat's own loader runs programs that a header names.
        content = yaml.safe_load(header.read_text(encoding="utf-8"))
        database = audformat.Database.load_header_from_yaml(content)
    except FileNotFoundError:
        raise DataError(
            f"{path}: no header {header.name} beside it; give an audformat database, or CSV"
        ) from None
    except Exception as error:  # of any content of the header
        raise DataError(f"{header}: no header of audformat ({_describe(error)})") from None
    table_id = table_id or find_table(header, database)
    if table_id not in database.tables:
        raise DataError(
            f"{path}: {header.name} has no table {table_id!r}"
            f"{did_you_mean(table_id, database.tables)}; it has {' '.join(database.tables)}"
        )
    try:
        frame = load_frame(database, header, table_id)
    except Exception as error:  # of any content of the tables
        raise DataError(f"{path}: the table cannot be read ({_describe(error)})") from None
    return [
        (number, {column: format_cell(cell) for column, cell in zip(frame, cells, strict=True)})
        for number, cells in enumerate(frame.itertuples(index=False), start=1)
    ]


def find_table(header: Path, database) -> str:
    """Return "emotion", or else the only table with a column emotion; raise DataError."""
    tables = [name for name, table in database.tables.items() if "emotion" in table.columns]
    if "emotion" in tables or len(tables) == 1:
        return "emotion" if "emotion" in tables else tables[0]
    example = header.with_suffix(f".{next(iter(tables or database.tables), 'emotion')}.parquet")
    if not example.exists():
        example = example.with_suffix(".csv")
    raise DataError(
        f"{header}: {len(tables)} tables have a column emotion, of {' '.join(database.tables)}; "
        f"give one of the tables, such as {example.name}"
    )


def load_frame(database, header: Path, table_id: str):
    """Return a table as pandas.DataFrame with columns file, start, end and its own."""
    import audformat

    with tempfile.TemporaryDirectory() as folder:
        # audformat prefers a pickle, which is a program: the folder has none.
        for suffix in STORED:
            for file in header.parent.glob(f"{header.stem}.*{suffix}"):
                Path(folder, file.name).symlink_to(file.absolute())
        for name in (*database.misc_tables, *{table_id: None, "files": None}):
            if name in database.misc_tables or name in database.tables:
                database[name].load(str(Path(folder, f"{header.stem}.{name}")))
        frame = database[table_id].get()
        if database[table_id].split_id and "split" not in frame:
            frame["split"] = database[table_id].split_id
        speakers = find_speakers(database, table_id)
        frame = audformat.utils.to_segmented_index(frame).reset_index()
        for column in speakers:
            if column not in frame:
                frame[column] = frame["file"].map(speakers[column])
        frame.columns = [column.lower() for column in frame]
        return frame.rename(columns={"arousal": "activation"})


def find_speakers(database, table_id: str):
    """Return the speaker, and the gender if known, of each file or row as pandas.DataFrame."""
    for name in (table_id, "files"):
        if name in database.tables and "speaker" in database[name].columns:
            table = database[name]
            speakers = table.get()[["speaker"]]
            scheme = table.columns["speaker"].scheme_id
            labels = database.schemes[scheme].labels if scheme else None
            if isinstance(labels, str):
                labels = database[labels].get().to_dict("index")
            if isinstance(labels, dict):
                known = {key: value["gender"] for key, value in labels.items()
                         if isinstance(value, dict) and "gender" in value}  # fmt: skip
                if known:
                    speakers = speakers.assign(gender=speakers["speaker"].map(known))
            speakers = speakers.reset_index().drop_duplicates("file").set_index("file")
            return speakers[[c for c in ("speaker", "gender") if c in speakers]]
    return database[table_id].get().iloc[:0, :0]


def format_cell(value) -> str:
    """Return a cell as text, seconds for times, "" for a missing value."""
    import pandas

    if pandas.isna(value):
        return ""
    return str(value.total_seconds() if isinstance(value, pandas.Timedelta) else value).strip()


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
