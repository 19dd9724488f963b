"""Three fuzzers: damaged recordings, tables and run directories, a minute each, seeded."""

import csv
import io
import random
import re
import shutil
import time

import numpy as np
import pytest
import soundfile
from forked import Process, end
from running import called

from tfser.cli import predict, train
from tfser.corpora import table
from tfser.errors import TfserError

SECONDS = 60.0
RATE = 16000
# An error that no code foresees, see `tfser.cli.base`.
UNFORESEEN = re.compile(r"^error: \w+(Error|Exception): ", re.MULTILINE)


def mutate(data: bytes, draw: random.Random) -> tuple[str, bytes]:
    """Return the name of a random damage, and the damaged bytes."""
    kind = draw.choice(
        ["flip", "flip early", "truncate", "double", "drop", "zero", "extreme", "swap"]
    )
    changed = bytearray(data)
    at = draw.randrange(len(data))
    span = min(draw.choice([1, 4, 64, 1024]), len(data) - at)
    if kind == "flip":
        for _ in range(draw.choice([1, 8, 64])):
            changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif kind == "flip early":
        for _ in range(draw.choice([1, 4])):
            changed[draw.randrange(min(64, len(data)))] ^= 1 << draw.randrange(8)
    elif kind == "truncate":
        del changed[at:]
    elif kind == "double":
        changed[at:at] = changed[at : at + span]
    elif kind == "drop":
        del changed[at : at + span]
    elif kind == "zero":
        changed[at : at + span] = bytes(span)
    elif kind == "extreme":
        at = draw.randrange(min(128, len(data)))
        changed[at : at + 4] = draw.choice([b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"])
    else:
        other = draw.randrange(len(data))
        changed[at : at + span], changed[other : other + span] = (
            changed[other : other + span],
            changed[at : at + span],
        )
    return kind, bytes(changed)


FORMATS = {"wav": "PCM_16", "flac": "PCM_16", "ogg": "VORBIS", "mp3": "MPEG_LAYER_III",
           "aiff": "PCM_24", "au": "FLOAT", "caf": "PCM_16", "w64": "PCM_16"}  # fmt: skip
ENDS_WHERE_DATA_DO = {"wav", "flac", "aiff", "w64"}  # formats whose header tells the length


@pytest.mark.slow
def test_damaged_recordings(before, tmp_path):
    """Each file has a row; no crash, no hang; half a recording is not taken for the whole."""
    draw, until, n = random.Random(0), time.monotonic() + SECONDS, 0
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * RATE).astype("float32")
    valid = {}
    for suffix, subtype in FORMATS.items():
        file = io.BytesIO()
        kind = {"w64": "W64", "caf": "CAF"}.get(suffix, suffix.upper())
        soundfile.write(file, noise, RATE, format=kind, subtype=subtype)
        valid[suffix] = file.getvalue()
    while time.monotonic() < until:
        folder = tmp_path / "recordings"
        folder.mkdir()
        halves = set()
        for i in range(100):
            suffix = draw.choice(list(valid))
            kind, data = mutate(valid[suffix], draw)
            path = folder / f"{i:03}.{suffix}"
            path.write_bytes(data)
            whole = len(valid[suffix])
            if (
                kind == "truncate"
                and 200 < len(data) < 0.8 * whole
                and suffix in ENDS_WHERE_DATA_DO
            ):
                halves.add(str(path))
        files = sorted(folder.iterdir())
        process = Process(["-m", "tfser.cli.predict", "--run", before / "runs" / "epr", *files])
        answer = end(process, seconds=120)
        assert answer.code in (0, 3), (answer.code, answer.err)
        assert "Traceback" not in answer.err
        rows = list(csv.DictReader(answer.out.splitlines()))
        assert {row["file"] for row in rows} == set(map(str, files))
        for row in rows:
            assert bool(row["error"]) != bool(row["predicted"]), row
            assert row["error"] or row["file"] not in halves, f"half of it is used: {row}"
        n += len(files)
        shutil.rmtree(folder)
    print(f"{n} recordings")


WORDS = [
    "a.wav", "b,c.wav", '"', '""', "anger", "SAD", "nan", "", " ", "1", "01", "0 days", "-1",
    "1e400", "\t", ";", "é", "\u200b", "\ufeff", "2,5", "0:01", "\x00", "\r", "=1+1",
]  # fmt: skip


def mutate_table(text: str, draw: random.Random) -> bytes:
    """Return a table as somebody's editor, spreadsheet or script may have left it."""
    lines = text.split("\n")
    for _ in range(draw.choice([1, 1, 2, 5])):
        kind = draw.choice(["cell", "character", "double line", "drop line", "header", "separator"])
        at = draw.randrange(1, len(lines)) if len(lines) > 1 else 0
        if kind == "cell":
            cells = lines[at].split(",")
            cells[draw.randrange(len(cells))] = draw.choice(WORDS)
            lines[at] = ",".join(cells)
        elif kind == "character":
            where = draw.randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:where] + draw.choice(WORDS) + lines[at][where:]
        elif kind == "double line":
            lines.insert(at, lines[at])
        elif kind == "drop line":
            del lines[at]
        elif kind == "header":
            cells = lines[0].split(",")
            cells[draw.randrange(len(cells))] = draw.choice([*WORDS, "File", "label", "begin"])
            lines[0] = ",".join(cells)
        else:
            lines = [line.replace(",", draw.choice(";\t|")) for line in lines]
    text = draw.choice(["\n", "\n", "\r\n", "\r"]).join(lines)
    encoding = draw.choice(["utf-8"] * 6 + ["utf-8-sig", "latin-1", "utf-16"])
    data = text.encode(encoding, errors="replace")
    return mutate(data, draw)[1] if data and draw.random() < 0.2 else data


@pytest.mark.slow
def test_damaged_tables(tmp_path, caplog):
    """A table is read row by row, or refused in one line: no row is left out without a word."""
    draw, until, n, read = random.Random(0), time.monotonic() + SECONDS, 0, 0
    names = [f"{speaker}{i}.wav" for speaker in "abcd" for i in range(6)]
    for name in [*names, "b,c.wav"]:
        soundfile.write(tmp_path / name, np.full(RATE, 0.1), RATE)
    header = "file,speaker,emotion,start,end,split"
    rows = [f"{name},{name[0]},{'anger' if i % 2 else 'sadness'},0.1,0.9,train"
            for i, name in enumerate(names)]  # fmt: skip
    text = "\n".join([header, *rows])
    path = tmp_path / "table.csv"
    while time.monotonic() < until:
        data = mutate_table(text, draw)
        path.write_bytes(data)
        n += 1
        caplog.clear()
        try:
            utterances = table.read(path)
        except TfserError as error:
            assert str(path) in str(error) and "\n" not in str(error), (str(error), data)
            continue
        read += 1
        is_utf_16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
        decoded = data.decode("utf-16" if is_utf_16 else "utf-8-sig")
        lines = [line for line in re.split("\r\n|\r|\n", decoded) if line.strip(" \t,;|")]
        assert len(utterances) == len(lines) - 1 or caplog.records, data
    print(f"{n} tables, {read} of them read")
    assert read > n / 10


COMMANDS = ["train", "predict"]


@pytest.mark.slow
def test_damaged_run_directories(before, tmp_path):
    """A damaged file of a run is named, or written again; results stay what they were."""
    draw, until, n, refused = random.Random(0), time.monotonic() + SECONDS, 0, 0
    settings = {"epr": "model.width_multiplier=0.02 refinery.rounds=2 train.max_epochs=2 "
                "forest.n_estimators=3 segments.hop_seconds=0.05"}  # fmt: skip
    sets = [word for setting in settings["epr"].split() for word in ("--set", setting)]
    recording = before / "corpus" / "a-anger-0.flac"
    recording = recording if recording.exists() else next((before / "corpus").glob("*.flac"))
    results = {}
    run = tmp_path / "run"

    def run_command(command):
        if command == "predict":
            return called(predict.main, "--run", run, recording)
        corpus = before / "corpus" / "corpus.csv"
        return called(
            train.main, "--model", "epr", "--corpus", corpus, "--protocol", "loso",
            "--cache", before / "cache", "--workdir", run, *sets,
        )  # fmt: skip

    def copy_run():
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(before / "runs" / "epr", run)

    for command in COMMANDS:
        copy_run()
        answer = run_command(command)
        assert answer.code == 0, answer.err
        results[command] = answer.out.splitlines()[-1]
    while time.monotonic() < until:
        copy_run()
        file = draw.choice(sorted(path for path in run.rglob("*") if path.is_file()))
        kind, data = mutate(file.read_bytes() or b"\0", draw)
        if draw.random() < 0.2:
            kind = "delete"
            file.unlink()
        else:
            file.write_bytes(data)
        command = draw.choice(COMMANDS)
        answer = run_command(command)
        n += 1
        where = f"{command}, {kind} of {file.relative_to(run)}"
        assert answer.code in (0, 2, 3, 4), (where, answer.err)
        assert not UNFORESEEN.search(answer.err) and "Traceback" not in answer.err, where
        if answer.code:
            refused += 1
            [line] = [line for line in answer.err.splitlines() if line.startswith("error: ")]
            assert str(run) in line or file.name in line, (where, line)
        else:
            assert answer.out.splitlines()[-1] == results[command], (where, answer.err)
    print(f"{n} run directories, {refused} of them refused")
