"""Tables: text, separators, times and files."""

import csv
import os
import re

import numpy as np
import soundfile
from cases.case import Case

RATE = 16000
HEADER = "file,speaker,emotion\n"
FILES = tuple(f"wav/{speaker}{emotion}{take}.wav" for speaker in "ABC"
              for emotion in ("anger", "joy") for take in "12")  # fmt: skip


def write_tones(folder, files):
    """Write a second of an own tone for each file."""
    for i, file in enumerate(files):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        tone = 0.3 * np.sin(np.arange(RATE) * (0.05 + 0.01 * i))
        soundfile.write(folder / file, tone, RATE)


def list_rows(files=FILES, separator=",", more=""):
    """Return a row for each of the files, with the speaker and emotion of its name."""
    rows = [(file, file[4], file[5:-5]) for file in files]
    return "".join(separator.join(row) + more + "\n" for row in rows)


def train(text, *flags, files=FILES, name="table.csv", model="svm", encoding="utf-8"):
    """Return the arguments of tfser-train on a table with this text."""

    def arguments(folder):
        write_tones(folder, files)
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return ["--model", model, "--corpus", folder / name, "--cache", folder / "cache",
                "--workdir", folder / "run", "--protocol", "loso", *flags]  # fmt: skip

    return arguments


def extract(text, **options):
    """Return the arguments of tfser-extract, which takes less time, on a table with this text."""

    def arguments(folder):
        return train(text, model="epr", **options)(folder)[:6]

    return arguments


def predict(text, files=("a.wav", "b.wav"), encoding="utf-8"):
    """Return the arguments of tfser-predict on a table with this text."""

    def arguments(folder):
        write_tones(folder, files)
        (folder / "table.csv").write_bytes(text.encode(encoding))
        return ["--run", folder / "made_before/runs/epr", "--table", folder / "table.csv",
                "--out", folder / "out.csv"]  # fmt: skip

    return arguments


def read_out(folder):
    """Read the rows of tfser-predict."""
    with open(folder / "out.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def results(n, speakers=3, **counts):
    """Return a check of the number of utterances, speakers and labels that are extracted."""

    def check(answer, folder):
        labels = ", ".join(f"{label} {count}" for label, count in counts.items())
        people = f"{speakers} speakers" if speakers > 1 else "1 speaker"
        assert re.search(f"{n} utterances, {people}, {len(counts)} emotions: {labels}", answer.err)
        assert f" utterances={sum(counts.values())} left_out=0 " in answer.out, answer.out

    return check


def times(*expected):
    """Return a check of the files, starts and ends of tfser-predict."""

    def check(answer, folder):
        rows = read_out(folder)
        assert [row["error"] for row in rows] == [""] * len(expected)
        read = [(row["file"], float(row["start"]), float(row["end"])) for row in rows]
        assert read == [(str(folder / file), start, end) for file, start, end in expected]

    return check


def make_pipe(path):
    """Make a named pipe, and return no arguments."""
    os.mkfifo(path)
    return []


def predict_gbk(name):
    """Return the arguments of tfser-predict on a table of a file whose name on the disk is GBK."""

    def arguments(folder):
        words = predict(f"file\n{name}\n", files=("wav/a.wav",))(folder)
        (folder / "wav/a.wav").rename(folder / "wav" / os.fsdecode(b"\xb0\xa1.wav"))
        return words

    return arguments


def gbk_is_read(answer, folder):
    """Check that there is one row, with the bytes of the name."""
    [row] = read_out(folder)
    assert row["file"] == str(folder / r"wav/\xb0\xa1.wav") and row["predicted"], row


def check_errors(answer, folder):
    """Check that the second row alone has an error."""
    assert [bool(row["error"]) for row in read_out(folder)] == [False, True]


# Text that ends the training: name, text, message.
REFUSED = [
    ("an empty table", "", "table.csv: the table has no rows"),
    ("only comments", "# nothing\n#\n", "the table has no rows"),
    ("an open quote", HEADER + 'wav/Aanger1.wav,A,"anger\nwav/Ajoy1.wav,A,joy\n',
     r"line 2: a quote .* is not closed"),
    ("an open quote that a later one closes", HEADER + 'wav/Aanger1.wav,A,"anger\n'
     'wav/Ajoy1.wav,A,joy"\n', "line 2: the cell of 'emotion' goes on in the next line"),
    ("an open quote in a text", "file,speaker,emotion,text\nwav/Aanger1.wav,A,anger,\"Well\n"
     "wav/Ajoy1.wav,A,joy,No\"\n", "line 2: the cell of 'text' goes on"),
    ("an open quote in a column that is not read", "file,speaker,emotion,x\n"
     'wav/Aanger1.wav,A,anger,"Well\nwav/Ajoy1.wav,A,joy,No"\n', "line 2: the cell of 'x' goes on"),
    ("an open quote of a file", HEADER + '"wav/Aanger1.wav,A,anger\nwav/Ajoy1.wav",A,joy\n',
     r"line 2: there is no file '.*\\n.*is a quote not closed"),
    ("a quote that is not doubled", HEADER + 'wav/Aanger1.wav,A,"an"ger"\n', "line 2: a quote"),
    ("too few cells", HEADER + "wav/Aanger1.wav,A\n", "line 2: 2 cells, but the header has 3"),
    ("too many cells", HEADER + "wav/Aanger1.wav,A,anger,loud\n", "line 2: 4 cells"),
    ("a carriage return in a name", HEADER + "wav/Aan\rger1.wav,A,anger\n",
     "line 2: 1 cells.*break"),
    ("NUL bytes", HEADER + "wav/Aanger1.wav,A,an\0ger\n", "line 2: a NUL byte.*UTF-8"),
    ("UTF-16 without a mark", (HEADER + list_rows()).encode("utf-16-le"), "line 1: a NUL byte"),
    ("latin-1", (HEADER + "wav/Aanger1.wav,Jürgen,anger\n").encode("latin-1"),
     "line 2: not UTF-8; save the table as UTF-8"),
    ("an Excel workbook", b"PK\x03\x04\x14\0", "is an Excel workbook"),
    ("no header", list_rows(), "no column 'file'.*first line must be the names"),
    ("spaces between the cells", (HEADER + list_rows()).replace(",", " "), "separate the cells by"),
    ("another header", "path,speaker,emotion\n" + list_rows(),
     r"no column 'file' \(did you mean 'path'"),
    ("labels in another column", "file,speaker,label\n" + list_rows(), "did you mean 'label'"),
    ("two columns of a name", "file,speaker,Emotion,emotion \n" + list_rows(more=",x"),
     "two columns are called 'emotion'"),
    ("a second header", HEADER + list_rows() + HEADER, "line 14: the names of the columns again"),
    ("an error of a spreadsheet", HEADER + "wav/Aanger1.wav,#REF!,anger\n", "speaker is #REF!"),
    ("lost letters", HEADER + "wav/Aanger1.wav,J\ufffdrgen,anger\n", "lost letters"),
    ("a Windows drive", HEADER + "C:\\data\\wav\\a.wav,A,anger\n", "drive of Windows; write paths"),
    ("an address", HEADER + "https://a.example/a.wav,A,anger\n", "download the files"),
    ("a name in another case", HEADER + "WAV/AANGER1.wav,A,anger\n",
     r"there is '.*wav/Aanger1.wav'; write the names"),
    ("quotes around a name", HEADER + "‘wav/Aanger1.wav’,A,anger\n",
     "there is '.*wav/Aanger1.wav'"),
    ("a folder", HEADER + "wav,A,anger\n", "line 2: there is no file .*it is a folder"),
    ("a comment between the rows", HEADER + "# noisy, left out\nwav/Aanger1.wav,A,anger\n",
     "line 2: 2 cells, .* comments stand above the header"),
    ("a long name", HEADER + "a" * 300 + ".wav,A,anger\n", "line 2: there is no file"),
    ("a name with quotes", HEADER + 'wav/A"x".wav,A,anger\n', 'there is no file .*A"x".wav'),
    ("points and a comma", "file;speaker;emotion;end\nwav/Aanger1.wav;A;anger;1.000,5\n",
     "line 2: end is '1.000,5', not a number; write the decimals with a point"),
    ("a device", HEADER + "/dev/zero,A,anger\n", "/dev/zero; it is a pipe or device, not a file"),
    ("a start in samples", "file,speaker,emotion,start\nwav/Aanger1.wav,A,anger,8000\n",
     "line 2: the start, 8000 s, is far beyond .*, which lasts 1.00 s; write start and end"),
    ("an end after the recording's", "file,speaker,emotion,end\nwav/Aanger1.wav,A,anger,1.5\n"
     "wav/Ajoy1.wav,A,joy,\nwav/Bjoy1.wav,B,joy,\nwav/Cjoy1.wav,C,joy,\n",
     "the part from 0.0 to 1.5 s passes the end at 1.00 s; are the times in seconds"),
    ("a decimal comma beside points", "file;speaker;emotion;start\nwav/Aanger1.wav;A;anger;0,5\n"
     "wav/Ajoy1.wav;A;joy;0.5\n", "line 2: start is '0,5', and other rows have a decimal point"),
]  # fmt: skip
TIMES = [  # start, end, message
    ("01:30", "", "start is '01:30', not a number; write seconds"),
    ("0.5 s", "", "start is '0.5 s', not a number; write seconds"),
    ("1_0", "", "start is '1_0', not a number"),
    ("-0.5", "", "start is -0.5 s, before the file begins"),
    ("-1 days +23:59:59", "", "start is -1 s, before the file begins"),
    ("0.5", "0.25", "the end, 0.25 s, is not after the start, 0.5 s"),
    ("0.5", "0 days 00:00:00.5", "the end, 0.5 s, is not after"),
    ("250", "750", "the end, 750 s, is far beyond .*, which lasts 1.00 s; write .* seconds"),
]
ODD = (
    "\ufeff# recorded in May\nsep=;\n\nFile ;SPEAKER;Emotion; Start;end;\n"
    "wav\\Aanger1.wav;A;Angry;0,25;0,75;\n"
    "./wav/Aanger1.wav;A;anger;0 days 00:00:00.75;NaT;\n"
    "wav/Aanger2.wav ;A;ANGER;0 days;0:00:01;;\n"
    "wav/Ajoy1.wav;A;joy;;0 days 00:00:00.5;\n"
    'wav/Banger1.wav;"B";"anger";;;\n'
    "wav/Bjoy1.wav;B\u200b;jo\u200by;;nan;\n"
)
CASES = [
    *(Case(name, "train", train(text), 3, message) for name, text, message in REFUSED),
    *(
        Case(f"times {start} to {end}", "train",
             train(f"file,speaker,emotion,start,end\nwav/Aanger1.wav,A,anger,{start},{end}\n"),
             3, f"line 2: {message}")
        for start, end, message in TIMES
    ),
    *(
        Case(f"predict: {name}", "predict", predict(text), 3, message)
        for name, text, message in (
            ("an open quote", 'file,start\na.wav,"0\nb.wav,0\n', "line 2: a quote"),
            ("no column file", "path\na.wav\n", r"no column 'file' \(did you mean 'path'"),
            ("mm:ss", "file;start\na.wav;00:30\n", "start is '00:30', not a number"),
        )
    ),
    Case("a semicolon, a comment and times of pandas", "extract", extract(ODD), 0,
         "names of column 'speaker' .* the first is 'B' in lines 9 and 10",
         results(6, 2, anger=4, joy=2)),
    Case("UTF-16 with tabs and old line ends", "extract",
         extract((HEADER.replace(",", "\t") + list_rows(separator="\t")).replace("\n", "\r"),
               encoding="utf-16"), 0, check=results(12, anger=6, joy=6)),
    Case("predict: semicolons, capitals, decimal commas, NaT", "predict",
         predict("sep=;\nFILE;Start;End\na.wav;0,25;0,75\n.\\b.wav;0 days 00:00:00.1;NaT\n"),
         0, check=times(("a.wav", 0.25, 0.75), ("b.wav", 0.1, 1.0))),
    Case("predict: tabs, a carriage return in a name, UTF-16", "predict",
         predict('file\tbegin\n"a\rb.wav"\t0.5\n', files=("a\rb.wav",), encoding="utf-16"), 0,
         r"not read: 'begin' \(did you mean 'start'\?\)", times(("a\rb.wav", 0.0, 1.0))),
    Case("times in other units", "extract",
         extract("file,speaker,emotion,start_ms,end_sample\n" + list_rows(more=",0,8000")), 0,
         r"not read: 'start_ms' \(write the times .*in seconds\), 'end_sample' \(write"),
    Case("a name in the encoding of an old archive", "predict",
         predict_gbk("wav/啊.wav"), 0, "is not UTF-8", gbk_is_read),
    Case("a name as results have it", "predict", predict_gbk("wav/\\xb0\\xa1.wav"), 0,
         "is not UTF-8", gbk_is_read),
    Case("predict: a pipe", "predict",
         lambda folder: predict("file\na.wav\npipe.wav\n")(folder) + make_pipe(folder / "pipe.wav"),
         3, "line 3: .*; it is a pipe or device, not a file", check_errors),
    Case("predict: the table is a pipe", "predict",
         lambda folder: [*predict("file\n")(folder)[:3], folder / "pipe.csv",
                         *make_pipe(folder / "pipe.csv")], 3, "pipe.csv is a pipe or device, not"),
    Case("predict: a missing file", "predict", predict("file\na.wav\nA.WAV\n"), 3,
         "line 3: there is no file .*A.WAV; there is '.*a.wav'", check_errors),
    Case("a missing file that --max-bad allows", "extract",
         lambda folder: [*extract(HEADER + list_rows() + "wav/x.wav,A,joy\n")(folder), "--max-bad",
                         1], 0, "left out: x: .*x.wav: No such file or directory",
         lambda answer, _: answer.out.index(" utterances=12 left_out=1 ")),
    Case("columns that are not read", "extract",
         extract("file,speaker,emotion,begin,end_time,speaker_id,label,onset,offset,duration,subset,"
               "partition,fold,age\n" + list_rows(more=",0,1,1,1,0,1,1,a,b,1,44")), 0,
         r"not read: 'begin' \(did you mean 'start'\?\), 'end_time' \(did you mean 'end'\?\), "
         r"'onset' \(did .*'start'\?\), 'offset' \(write .*, 'duration' \(write .*, 'subset' "
         r"\(did you mean 'split'\?\), 'partition' .*, 'fold' [^,]*'split'\?\)\n"),
]  # fmt: skip
