"""Errors of the commands, each with its exit code."""

import difflib
import re


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


# Words of the field that tfser has another word for, where that word is a choice.
SYNONYMS = {
    "afraid": ("fear",), "angry": ("anger",), "arousal": ("activation", "ratings"),
    "bored": ("boredom",), "disgusted": ("disgust",), "excited": ("excitement", "happiness"),
    "fearful": ("fear",), "frustrated": ("frustration",), "happy": ("happiness",),
    "joy": ("happiness",), "normal": ("neutral",), "sad": ("sadness",),
    "surprised": ("surprise",), "vad": ("attributes", "ratings"),
}  # fmt: skip


def did_you_mean(word: str, choices) -> str:
    """Return " (did you mean 'epr'?)" for the nearest choice, or "" where no choice is near.

    The nearest is, in this order: the same letters ("EPR", "emo-db"), a synonym, a similar word, a
    choice that contains the word.
    """
    choices = list(choices)
    by_letters = {_letters(choice): choice for choice in choices}
    for name in (_letters(word), *SYNONYMS.get(word.lower(), ())):
        if name and name in by_letters:
            return f" (did you mean {by_letters[name]!r}?)"
    lower = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.5)
    if not near and len(word) > 2:
        near = sorted((name for name in lower if word.lower() in name), key=len)
    return f" (did you mean {lower[near[0]]!r}?)" if near else ""


def _letters(name: str) -> str:
    """Return a name in lower case without separators: "emodb" of "Emo-DB"."""
    return re.sub(r"[\W_]+", "", name.lower())
