"""Names in tables: speakers, labels and scales of ratings."""

import re

from cases.case import Case
from cases.tables import FILES, HEADER, extract, list_rows, results, train


def with_speakers(*names):
    """Return a table whose utterances have these speakers in turn."""
    rows = [(file, names[i % len(names)], file[5:-5]) for i, file in enumerate(FILES)]
    return HEADER + "".join(",".join(row) + "\n" for row in rows)


def with_labels(*labels):
    """Return a table of which the last utterances have these labels."""
    lines = list_rows().splitlines()
    lines[-len(labels) :] = [
        f"{line.rpartition(',')[0]},{label}"
        for line, label in zip(lines[-len(labels) :], labels, strict=True)
    ]
    return HEADER + "\n".join(lines) + "\n"


def with_ratings(*ratings, column="valence"):
    """Return a table whose utterances have these ratings in turn."""
    rows = [(file, file[4], ratings[i % len(ratings)]) for i, file in enumerate(FILES)]
    return f"file,speaker,{column}\n" + "".join(",".join(row) + "\n" for row in rows)


LOOK_ALIKE = (  # speakers, the start of the warning
    ("Anna", "\u0410nna", r"'Anna' (line 2) and '\u0410nna' (line 3)"),
    ("B", "\u0392", "'B' (line 2)"),
    ("spk_1", "spk-1", "'spk_1' (line 2)"),
)
NO_NAMES = ("nan", "none", " ", "NULL", "N/A", "<NA>", "?", "\u200b", "\u00a0")
ONE_LABEL = (("1", "1.0"), ("01", "1"), ("ﬂat", "flat"), ("class 01", "class 1"))
SCALES = {  # ratings, the advice
    ("1", "6.5", "7"): r"valence is 6.5, outside 1 to 5; .* --set labels.scale=\[1,7\]",
    ("0", "0.5", "1"): r"valence is 0, .* labels.scale=\[0,1\]",
    ("-1", "0.5", "1"): r"valence is -1, .* labels.scale=\[-1,1\]",
    ("20", "50", "80"): r"valence is 20, .* labels.scale=\[0,100\]",
    ("-300", "50", "80"): r"valence is -300, .* labels.scale=\[-300,80\]",
}
CASES = [
    *(
        Case(f"a speaker {name!r}", "train", train(with_speakers("A", name)), 3,
             "line 3: the speaker is .*; write a name for each speaker")
        for name in NO_NAMES
    ),
    *(
        Case(f"labels {one!r} and {other!r}", "train", train(with_labels(one, other)), 3,
             f"emotion is '{one}' in line 12 and '{other}' in line 13; write one label in one way")
        for one, other in ONE_LABEL
    ),
    Case("speakers 01, 1 and 1.0", "extract", extract(with_speakers("01", "1", "1.0")), 0,
         r"2 speakers|3 speakers have names that differ only in zeros, case, separators or letters "
         r"that look alike, and are taken as different; the first are '01' \(line 2\) and '1' \(",
         results(12, 3, anger=6, joy=6)),
    Case("a speaker in two Unicode forms, with a no-break space and invisible", "extract",
         extract(with_speakers("Jürg", "Ju\u0308rg", "Jürg\u00a0", "\u200bJürg", "B")), 0,
         "names of column 'speaker' .* read as one: 1, the first is 'Jürg' in lines 2 and 3",
         results(12, 2, anger=6, joy=6)),
    Case("labels in other cases and forms", "extract",
         extract(with_labels("Joy", "JOY ", "jo\u200by", "\u00a0joy")), 0,
         "names of column 'emotion'", results(12, anger=4, joy=8)),
    *(
        Case(f"speakers {ascii(one)} and {ascii(other)}", "extract",
             extract(with_speakers(one, other, "C")), 0,
             f"2 speakers have names that .*; the first are {re.escape(shown)}",
             results(12, 3, anger=6, joy=6))
        for one, other, shown in LOOK_ALIKE
    ),
    Case("a speaker of two genders", "extract",
         extract("file,speaker,emotion,gender\n" + list_rows(more=",m").replace("y,m", "y,w", 1)),
         0, "1 speakers have two genders, the first is 'A': male in line 2, female in line 4"),
    Case("a speaker for each utterance", "extract", extract(with_speakers(*map(str, range(12)))), 0,
         "12 speakers in 12 rows: is 'speaker' the column of speakers"),
    Case("a label with a Cyrillic letter", "train", train(with_labels("аnger", "anger")), 3,
         r"emotion is 'anger' in line 2 and '\\u0430nger' in line 12; write one label in one way"),
    Case("labels with other separators", "train", train(with_labels("very_sad", "very sad")), 3,
         "emotion is 'very_sad' in line 12 and 'very sad' in line 13"),
    Case("labels -1 and 1", "extract", extract(with_labels("-1", "1")), 0,
         check=results(12, **{"-1": 1, "1": 1, "anger": 6, "joy": 4})),
    *(
        Case(f"a label {label!r}", "train", train(with_labels(label, label)), 3,
             f"a class is called '{label}', as a column of predictions is")
        for label in ("error", "file", "confidence")
    ),
    Case("ratings outside the scale, of the views of ACNN", "train",
         train("file,speaker,emotion,valence\n" + list_rows(more=",7"), "--set",
               "autoencoder.corpus=", model="acnn"), 3, "valence is 7, outside 1 to 5"),
    Case("a label of a slip", "extract", extract(with_labels("angyr")), 0,
         "emotion is 'angyr' in 1 row; did you mean 'anger', as in 6 rows",
         results(12, anger=6, angyr=1, joy=5)),
    Case("a slip of an adjective", "extract", extract(with_labels("joy", "agnry")), 0,
         "emotion is 'agnry' in 1 row; did you mean 'anger'"),
    Case("words for no label", "extract", extract(with_labels("None", "N/A", "null")), 0,
         "read as no label: 'None' in 1 rows, 'N/A' in 1 rows, 'null' in 1 rows; write another"),
    *(
        Case(f"ratings {' '.join(ratings)}", "train",
             train(with_ratings(*ratings), "--target", "valence"), 3, message)
        for ratings, message in SCALES.items()
    ),
    Case("a scale that is none", "train",
         train(with_ratings("1", "7"), "--target", "valence", "--set", "labels.scale=[7,1]"), 2,
         r"labels.scale: \[7, 1\] is not of the form \[1, 5\]"),
    Case("ratings of a table that are not used", "extract",
         extract("file,speaker,emotion,valence\n" + list_rows(more=",7")), 0,
         check=results(12, anger=6, joy=6)),
]  # fmt: skip
