"""File names in tables of predictions."""

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # of a spreadsheet: the first character of its cell


def format_file_name(name: str) -> str:
    """Return a file's name that no spreadsheet takes for a formula: "./=a.wav" of "=a.wav"."""
    return f"./{name}" if name.startswith(FORMULA) else name
