"""Names in a table that may be misspelt: of columns, speakers and labels."""

import difflib
import re
import unicodedata
from collections import Counter
from pathlib import Path

from tfser.corpora.loader import log
from tfser.corpora.table.cells import GENDERS, MISSING, NOUNS
from tfser.corpora.table.text import ATTRIBUTES, COLUMNS
from tfser.errors import DataError, did_you_mean

# Words in the names of other tables' columns, by the column that they may mean.
OTHER_NAMES = {
    "file": ("path", "filename", "filepath", "wav", "audio", "recording"),
    "speaker": ("spk", "spkr", "spkid", "subject", "actor", "participant", "talker", "person"),
    "emotion": ("label", "class", "emo", "category", "target"),
    "start": ("begin", "onset", "from", "tmin", "xmin"),
    "end": ("stop", "to", "finish", "tmax", "xmax"),
    "split": ("subset", "partition", "fold", "set", "usage"),
    "session": ("sess", "dialog", "dialogue"),
    "gender": ("sex",),
    "activation": ("aro",),
    "valence": ("pleasure",),
    "dominance": ("dom",),
}
UNITS = ("ms", "msec", "millis", "millisecond", "milliseconds", "sample", "samples", "frame",
         "frames", "us", "ns", "min", "minutes", "tick", "ticks")  # fmt: skip
DURATIONS = ("duration", "dur", "offset")  # offset: the end of onset, or the start of duration
LOOK_ALIKE = str.maketrans("авекмнорстухіјѕԁԛԝαβεικνορτυχ", "abekmhopctyxijsdqwabeikvoptux")
FEWEST_ROWS = 4  # of which each has a speaker of its own: the column may be another
RARE_SHARE = 0.01  # of a label beside one that it resembles
MOST_LABELS = 100  # that are compared with each other


def check_columns(path: Path, header: list[str]) -> None:
    """Raise DataError for a missing column; warn of columns that are not read."""
    has_attributes = any(attribute in header for attribute in ATTRIBUTES)
    require_columns(
        path, header, ("file", "speaker") if has_attributes else ("file", "speaker", "emotion")
    )
    warn_of_unread(path, header)


def require_columns(path: Path, header: list[str], columns) -> None:
    """Raise DataError unless the header has the columns."""
    for column in columns:
        if column in header:
            continue
        fix = did_you_mean(column, header) or next(
            (f" (did you mean {other!r}?)" for other in header if meant_column(other) == column), ""
        )
        there = f"there are {', '.join(header)}"
        if len(header) == 1:
            there += "; separate the cells by commas, semicolons or tabs"
        elif any(re.fullmatch(r".*\.\w{2,4}", name) for name in header):
            there += "; the first line must be the names of the columns"
        raise DataError(f"{path}: no column {column!r}{fix}; {there}")


def warn_of_unread(path: Path, header: list[str], columns=COLUMNS) -> None:
    """Warn of columns that may be meant as one of `columns` that the table lacks."""
    slips = []
    for name in header:
        column = None if name in COLUMNS else meant_column(name)
        words = get_words(name)
        is_other_unit = column in ("start", "end") and words & set(UNITS)
        if column in columns and column not in header and not is_other_unit:
            slips.append(f"{name!r} (did you mean {column!r}?)")
        elif (is_other_unit or words & set(DURATIONS)) and not {"start", "end"} <= set(header):
            slips.append(f"{name!r} (write the times as 'start' and 'end', in seconds)")
    if slips:
        log.warning("%s: columns that are not read: %s", path, ", ".join(slips))


def get_words(name: str) -> set[str]:
    """Return the words of a column's name: {"end", "time"} of end_time."""
    return set(re.findall(r"[^\W\d_]+", name))


def meant_column(name: str) -> str | None:
    """Return the column that another name may mean: "end" for end_time; None for other names."""
    words = get_words(name)
    if words & set(DURATIONS):
        return None
    for column, others in OTHER_NAMES.items():
        # The start of a word is enough for longer ones: subjectid, labels.
        longer = tuple(other for other in (column, *others) if len(other) > 4)
        if any(w in (column, *others) or w.startswith((*longer, f"{column}time")) for w in words):
            return column
    near = difflib.get_close_matches(name, COLUMNS, n=1, cutoff=0.8)
    return near[0] if near else None


def check_names(path: Path, rows: list[tuple[int, dict[str, str]]]) -> None:
    """Raise DataError for two spellings of a label; warn of those of a speaker, and of slips."""
    warn_of_missing_words(path, rows)
    labels = list_names(rows, "emotion", str.lower)
    for same in group_spellings(labels):
        (one, line), (other, second) = [(name, labels[name]) for name in same[:2]]
        raise DataError(
            f"{path}: emotion is {show(one)} in line {line} and {show(other)} in line {second}; "
            "write one label in one way"
        )
    warn_of_slips(path, rows)
    warn_of_speakers(path, rows)
    speakers = list_names(rows, "speaker")
    pairs = group_spellings(speakers)
    if pairs:
        one, other = pairs[0][:2]
        log.warning(
            "%s: %d speakers have names that differ only in zeros, case, separators or letters "
            "that look alike, and are taken as different; the first are %s (line %d) and %s (line "
            "%d)",
            *(path, sum(map(len, pairs)), show(one), speakers[one], show(other), speakers[other]),
        )


def warn_of_speakers(path: Path, rows) -> None:
    """Warn of speakers of two genders, and of a table in which no speaker has two utterances."""
    genders = {}
    for line, row in rows:
        gender = row.get("gender", "").lower()
        if gender not in MISSING:
            gender = GENDERS.get(gender, gender)
            genders.setdefault(row["speaker"], {}).setdefault(gender, line)
    both = {speaker: lines for speaker, lines in genders.items() if len(lines) > 1}
    if both:
        speaker, lines = next(iter(both.items()))
        (one, line), (other, second) = list(lines.items())[:2]
        log.warning(
            "%s: %d speakers have two genders, the first is %r: %s in line %d, %s in line %d",
            *(path, len(both), speaker, one, line, other, second),
        )
    n_speakers = len({row["speaker"] for _, row in rows})
    if n_speakers == len(rows) >= FEWEST_ROWS:
        log.warning(
            "%s: %d speakers in %d rows: is 'speaker' the column of speakers? a test on unseen "
            "speakers needs it",
            *(path, n_speakers, len(rows)),
        )


def show(name: str) -> str:
    """Return a name in quotes, Greek and Cyrillic letters that look like Latin ones as numbers."""
    return "".join(ascii(c)[1:-1] if ord(c.lower()) in LOOK_ALIKE else c for c in repr(name))


def list_names(rows, column: str, spell=str) -> dict[str, int]:
    """Return {name: its first line} of a column, without missing names."""
    lines = {}
    for line, row in rows:
        name = spell(row.get(column, ""))
        if name.lower() not in MISSING:
            lines.setdefault(name, line)
    return lines


def group_spellings(names) -> list[list[str]]:
    """Return the groups of names that differ only in spelling.

    Spelling is case, zeros, ".0", Unicode form, separators of words, and letters of the Greek and
    Cyrillic alphabets that look like Latin ones.
    """
    groups = {}
    for name in names:
        key = unicodedata.normalize("NFKC", name).casefold().translate(LOOK_ALIKE)
        key = re.sub(r"(?<=\w)(?:[\s-]|_)+(?=\w)|_+", " ", key)
        key = re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"(?<=\d)\.0+$", "", key))
        groups.setdefault(key, []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def warn_of_missing_words(path: Path, rows) -> None:
    """Warn of labels such as "none", which are read as no label."""
    words = Counter(row.get("emotion", "") for _, row in rows)
    words = {w: n for w, n in words.items() if w and w.lower() in MISSING[4:]}
    if words:
        log.warning(
            "%s: read as no label: %s; write another word if it is an emotion",
            *(path, ", ".join(f"{word!r} in {n:,} rows" for word, n in words.items())),
        )


def warn_of_slips(path: Path, rows) -> None:
    """Warn of a rare label beside a frequent one that it resembles."""
    cells = Counter(row.get("emotion", "").lower() for _, row in rows)
    counts, first = Counter(), {}
    for cell, n in cells.items():
        if cell not in MISSING:
            counts[NOUNS.get(cell, cell)] += n
            first.setdefault(NOUNS.get(cell, cell), cell)
    for label, n in counts.items() if len(counts) <= MOST_LABELS else ():
        frequent = {m for m in counts if counts[m] > 1 and n <= max(1, RARE_SHARE * counts[m])}
        known = {a: noun for a, noun in NOUNS.items() if noun in frequent}
        known |= {m: m for m in frequent - {label} if letters(m) != letters(label)}
        near = difflib.get_close_matches(first[label], known, n=1, cutoff=0.75)
        other = known[near[0]] if near else label
        if other != label:
            log.warning(
                "%s: emotion is %r in %d row%s; did you mean %r, as in %d rows?",
                *(path, first[label], n, "s" * (n != 1), first[other], counts[other]),
            )


def letters(name: str) -> str:
    """Return a name without its digits: "class 1" and "class 2" do not resemble by a slip."""
    return re.sub(r"\d+", "", name)
