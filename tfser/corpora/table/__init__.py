"""A corpus of the user: a table with a row for each utterance."""

from tfser.corpora.table.cells import MISSING, parse_number
from tfser.corpora.table.reader import read, read_recordings
from tfser.corpora.table.text import column_name, read_rows

__all__ = ["MISSING", "column_name", "parse_number", "read", "read_recordings", "read_rows"]
