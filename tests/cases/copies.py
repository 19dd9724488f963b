"""Recordings that a corpus has twice."""

import os
import shutil

from cases.case import Case
from cases.tables import FILES, HEADER, extract, list_rows, results, train, write_tones

FIRST, COPY = FILES[0], "wav/Canger9.wav"


def copy(how, command=extract, target=COPY):
    """Return the arguments of a command on a table with a recording that `how` copies."""

    def arguments(folder):
        words = command(HEADER + list_rows() + f"{target},C,anger\n")(folder)
        (folder / target).parent.mkdir(exist_ok=True)
        how(folder / FIRST, folder / target)
        return words

    return arguments


def copy_ravdess(folder):
    """Return the arguments of tfser-extract on RAVDESS with a copy of a recording."""
    names = [f"Actor_01/03-01-0{e}-01-01-01-01.wav" for e in (4, 5)]
    write_tones(folder / "corpus", names)
    other = names[0].replace("-01-01.", "-02-01.")
    shutil.copy(folder / "corpus" / names[0], folder / "corpus" / other)
    corpus = ["--corpus", "ravdess", "--data-root", folder / "corpus", "--partial"]
    return ["--model", "epr", *corpus, "--cache", folder / "cache"]


def parts(*times):
    """Return the arguments of tfser-extract on parts of a recording and of its copy."""

    def arguments(folder):
        rows = "".join(f"{file},{file[4]},{file[5:-5]},{t}\n" for file, t in times)
        words = extract("file,speaker,emotion,start,end\n" + rows)(folder)
        shutil.copy(folder / FIRST, folder / COPY)
        return words

    return arguments


MESSAGE = f"the same recording under two names: .*{FIRST} and .*{COPY}; .* one of each pair"
JOY = "wav/Ajoy1.wav"
CASES = [
    Case("a copy of another speaker's name", "train", copy(shutil.copy, train), 3, MESSAGE),
    Case("a hard link", "extract", copy(os.link), 3, MESSAGE),
    Case("a symbolic link", "extract", copy(lambda a, b: b.symlink_to(a)), 3, MESSAGE),
    Case("another way to a file", "extract",
         copy(lambda a, b: None, target="wav/../wav/Aanger1.wav"), 3, "same recording under two"),
    Case("a copy in RAVDESS", "extract", copy_ravdess, 3, "the same recording under two names"),
    Case("parts of a recording", "extract", parts((FIRST, "0,0.5"), (FIRST, "0.5,"), (JOY, ",")),
         0, check=results(3, 1, anger=2, joy=1)),
    Case("parts of a recording and its copy", "extract",
         parts((FIRST, "0,0.5"), (COPY, "0.5,1"), (JOY, ",")), 0,
         check=results(3, 2, anger=2, joy=1)),
    Case("overlapping parts of a recording and its copy", "extract",
         parts((FIRST, "0,0.6"), (COPY, "0.5,1"), (JOY, ",")), 3, MESSAGE),
    *(
        Case(f"the same part of a recording twice: {times}", "extract",
             parts((FIRST, times), (FIRST, "0.1,0.9"), (JOY, ",")), 3,
             "1 parts of recordings are listed twice, the first is .*Aanger1.* and .*Aanger1")
        for times in ("0.1000001,0.9", "0.11,0.89")
    ),
    Case("a whole recording and its seconds", "extract",
         parts((FIRST, "0,1"), (FIRST, ","), (JOY, ",")), 3, "recordings are listed twice"),
    Case("overlapping parts of a recording", "extract",
         parts((FIRST, "0,0.6"), (FIRST, "0.5,1"), (JOY, ",")), 0,
         "1 pairs of utterances overlap in a recording", results(3, 1, anger=2, joy=1)),
]  # fmt: skip
