"""Errors of the commands, each with its exit code."""

import difflib


class TfserError(Exception):
    """A run that failed; its message is one line that names the fix."""

    exit_code = 1


class UsageError(TfserError):
    """Wrong flag, name, key or value."""

    exit_code = 2


class DataError(TfserError):
    """A corpus or file that cannot be used."""

    exit_code = 3


class ConflictError(TfserError):
    """A file or folder that would be overwritten, or belongs to another run."""

    exit_code = 4


def error_of_exit_code(exit_code: int, message: str) -> TfserError:
    """Return the error that belongs to the exit code of another process."""
    kinds = {kind.exit_code: kind for kind in (UsageError, DataError, ConflictError)}
    return kinds.get(exit_code, TfserError)(message)


def did_you_mean(word: str, choices) -> str:
    """Return " (did you mean 'epr'?)" for the nearest choice, or "" where no choice is near."""
    near = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""
