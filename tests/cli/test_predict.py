"""tfser-predict: a row for whatever is asked, in order, and an exit code that says what failed."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from tfser.audio import decode
from tfser.cli import predict
from tfser.errors import DataError, UsageError
from tfser.inference import predictor
from tfser.inference.windows import check_window, split_into_windows

RATE = 16000


@pytest.fixture
def model(monkeypatch):
    """A predictor without a network: "loud" is a waveform's largest sample."""
    heard = []

    def answer(waveform, lengths):
        heard.append(lengths.numpy().tolist())
        loud = [np.abs(w[:n]).max() for w, n in zip(waveform.numpy(), lengths.numpy(), strict=True)]
        loud = np.array(loud)
        return {"probabilities": tf.constant(np.stack([loud, 1 - loud], axis=1))}

    made = predictor.Predictor(answer, ["loud", "soft"], RATE, None)
    monkeypatch.setattr(predictor, "load_predictor", lambda *_, **__: made)
    monkeypatch.setattr(predict, "check_folder", lambda folder: None)
    monkeypatch.setattr(predict, "load_run", lambda *_, **__: None)
    made.heard = heard
    return made


def wav(path, seconds=1.0, level=0.75, rate=RATE, channels=1):
    n = round(seconds * rate)
    waveform = np.full((n, channels), level) * np.sin(np.arange(n) * 0.3)[:, None]
    waveform[n // 2] = level
    soundfile.write(path, waveform, rate)
    return path


def rows_of(text):
    return list(csv.DictReader(text.splitlines()))


def test_windows():
    def windows(*values):
        return list(split_into_windows(*values))

    assert windows(59.0, None, None) == [(0.0, 59.0)]
    assert windows(61.0, None, None)[-1] == (60.0, 61.0)
    assert windows(2.5, 1.0, None) == [(0.0, 1.0), (1.0, 2.0), (2.0, 2.5)]
    assert windows(2.0, 1.0, 0.5) == [(0.0, 1.0), (0.5, 1.5), (1.0, 2.0)]
    assert windows(0.3, 1.0, 0.5) == [(0.0, 0.3)]
    assert len(windows(60.01, None, None)) == 6  # 10 ms are no sound
    assert len(windows(60.01, None, None, 60.0)) == 6
    assert windows(12.0, None, None, 7.5) == [(0.0, 7.5), (7.5, 12.0)]
    for n in range(1, 200):
        for window in (0.1, 0.3, 0.7, 1.1):
            assert len(windows(n * window, window, None)) == n, (n, window)


def test_windows_that_cannot_be():
    for window, hop in ((0.0, None), (0.01, None), (np.nan, None), (np.inf, None), (1.0, 2.0),
                        (None, 1.0), (1.0, 0.0)):  # fmt: skip
        with pytest.raises(UsageError):
            check_window(window, hop)


def test_one_row_each(model, tmp_path, capsys):
    files = [wav(tmp_path / "a.wav"), wav(tmp_path / "b.wav", 0.1, 0.25, 44100, 2)]
    assert predict.main(["--run", "r", *map(str, files)]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert [row["file"] for row in rows] == list(map(str, files))
    assert (rows[0]["start"], rows[0]["end"], rows[0]["predicted"]) == ("0.0", "1.0", "loud")
    assert float(rows[0]["confidence"]) == pytest.approx(0.75, abs=1e-3)
    assert (rows[1]["end"], rows[1]["predicted"]) == ("0.1", "soft")
    assert float(rows[1]["soft"]) == pytest.approx(0.75, abs=0.05)
    assert model.heard == [[16000, 1600]]


def test_long_recordings_are_cut(model, tmp_path):
    path = wav(tmp_path / "long.wav", 61.0)
    rows = model.predict([path])
    assert [(row["start"], row["end"]) for row in rows[-2:]] == [(50.0, 60.0), (60.0, 61.0)]
    assert max(map(len, model.heard)) <= predictor.BATCH
    rows = model.predict([path], window_seconds=20.0, hop_seconds=10.0)
    assert [row["start"] for row in rows] == [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]


def test_silence_within_a_recording_is_one_row(model, tmp_path):
    waveform = np.sin(np.arange(3 * RATE)) * 0.5
    waveform[RATE : 2 * RATE] = 0
    soundfile.write(tmp_path / "a.wav", waveform, RATE)
    for given in (tmp_path / "a.wav", waveform.astype("float32")):
        rows = model.predict(given, window_seconds=1.0)
        assert [row["start"] for row in rows] == [0.0, 1.0, 2.0]
        assert ["silent" in row["error"] for row in rows] == [False, True, False]
        assert rows[1]["end"] == 2.0 and rows[1]["loud"] is None


def test_files_whose_headers_do_not_know(model, tmp_path):
    """A wav that was streamed, and an mp3, whose length is an estimate."""
    whole = wav(tmp_path / "a.wav", 2.0).read_bytes()
    at = whole.index(b"data") + 4
    (tmp_path / "streamed.wav").write_bytes(whole[:at] + b"\0\0\0\0" + whole[at + 4 :])
    soundfile.write(tmp_path / "b.mp3", soundfile.read(tmp_path / "a.wav")[0], RATE)
    rows = model.predict([tmp_path / "streamed.wav", tmp_path / "b.mp3"])
    assert [row["error"] for row in rows] == ["", ""]
    assert rows[0]["end"] == 2.0
    assert rows[1]["end"] == pytest.approx(2.0, abs=0.15)  # its frames are of 36 ms, some padding


def test_the_end_of_a_table(model, tmp_path):
    wav(tmp_path / "a.wav", 2.0)
    rows = list(model.predict_rows([(tmp_path / "a.wav", t, end) for t, end in
                            ((0.0, 0.0), (0.5, 9.0), (3.0, None), (0.5, 2.05))]))  # fmt: skip
    assert [bool(row["error"]) for row in rows] == [True, True, True, False]
    assert rows[3]["end"] == 2.0


def test_broken_recordings_do_not_stop_the_others(model, tmp_path, capsys):
    good = [wav(tmp_path / f"{i}.wav") for i in range(3)]
    (tmp_path / "text.wav").write_text("not sound at all")
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    (tmp_path / "x.raw").write_bytes(bytes(range(256)) * 40)
    cut = (tmp_path / "0.wav").read_bytes()[:9000]
    (tmp_path / "cut.wav").write_bytes(cut)
    asked = [good[0], tmp_path / "text.wav", good[1], tmp_path / "silent.wav",
             tmp_path / "cut.wav", tmp_path / "none.wav", tmp_path, tmp_path / "x.raw",
             good[2]]  # fmt: skip
    assert predict.main(["--run", "r", *map(str, asked)]) == 3
    said = capsys.readouterr()
    rows = rows_of(said.out)
    assert [row["file"] for row in rows] == list(map(str, asked))
    assert [i for i, row in enumerate(rows) if row["error"]] == [1, 3, 4, 5, 6, 7]
    for row, reason in zip(rows[3:6], ("silent", "truncated", "No such file"), strict=True):
        assert reason in row["error"] and row["predicted"] == ""
    assert "6 of 9 recordings could not be used" in said.err
    # Before the first bad one, between, and after: nothing waits for a full batch in vain.
    assert sum(map(len, model.heard)) == 3


def test_jsonl_folder_and_table(model, tmp_path):
    (tmp_path / "x").mkdir()
    wav(tmp_path / "x" / "a.wav")
    (tmp_path / "x" / "notes.txt").write_text("no recording")
    (tmp_path / "t.csv").write_text("file,start,end\nx/a.wav,0.25,0.75\nx/a.wav,,\n")
    out = tmp_path / "o.jsonl"
    words = ["--folder", str(tmp_path / "x"), "--table", str(tmp_path / "t.csv"), "--out", str(out)]
    assert predict.main(["--run", "r", *words]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["start"], row["end"]) for row in rows] == [(0.0, 1.0), (0.25, 0.75), (0.0, 1.0)]
    assert rows[0]["predicted"] == "loud" and rows[0]["error"] == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.jsonl", "t.csv", "x"]


def test_waveforms(model):
    tone = 0.9 * np.sign(np.sin(np.arange(8000, dtype="float32")))
    bad = [np.zeros(800), np.array([0.1, np.nan]), np.zeros((3, 2)), np.zeros(0),
           np.ones(800, "int16")]  # fmt: skip
    rows = model.predict([tone, *bad])
    assert rows[0]["predicted"] == "loud" and rows[0]["end"] == 0.5
    reasons = "silent", "NaN", "one dimension", "no samples", "int16"
    for row, reason in zip(rows[1:], reasons, strict=True):
        assert reason in row["error"], row


def test_ratings_have_no_class():
    def answer(waveform, lengths):
        return {"ratings": tf.constant([[0.25, -0.5]] * len(lengths))}

    made = predictor.Predictor(answer, [], RATE, None)
    [row] = made.predict([0.1 * np.sin(np.arange(900))])
    assert (row["arousal"], row["valence"]) == (0.25, -0.5)
    assert made.columns == ["file", "start", "end", "arousal", "valence", "error"]


def test_pictures(model, tmp_path):
    good = wav(tmp_path / "a.wav", 2.0)
    (tmp_path / "other").mkdir()
    same = wav(tmp_path / "other" / "a.wav", 1.0)
    asked = [tmp_path / "none.wav", good, same]
    words = ["--run", "r", *map(str, asked), "--plot", str(tmp_path / "p")]
    assert predict.main(words) == 3
    pictures = sorted((tmp_path / "p").iterdir())
    assert [path.name for path in pictures] == ["a-2.png", "a.png"]
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in pictures)
    assert predict.main(words) == 4  # the folder holds pictures


def test_a_picture_decodes_its_recording_once(model, tmp_path, monkeypatch):
    loads = []
    monkeypatch.setattr(
        decode,
        "load_audio",
        lambda *a, load=decode.load_audio, **k: loads.append(k) or load(*a, **k),
    )
    assert model.draw_figure(wav(tmp_path / "a.wav", 3.0), 0.5, 2.5)
    assert [(k["start_seconds"], k["end_seconds"]) for k in loads] == [(0.5, 2.5)]
    assert sum(map(len, model.heard)) == 5  # windows of a second, four to a second
    assert model.draw_figure(wav(tmp_path / "long.wav", 601.0, rate=2000)) is None
    assert len(loads) == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "no recordings"),
        (["a.wav", "--window", "0"], 2, "give 0.025 or more"),
        (["a.wav", "--window", "nan"], 2, "give 0.025 or more"),
        (["a.wav", "--hop", "1"], 2, "a hop needs a window"),
        (["a.wav", "--window", "1", "--hop", "2"], 2, "a hop needs a window"),
        (["a.wav", "--out", "none/x.csv"], 2, "there is no folder"),
        (["a.wav", "--plot", "there.csv"], 4, "new or empty folder"),
        (["a.wav", "--out", "x.txt"], 2, ".csv or .jsonl"),
        (["a.wav", "--out", "there.csv"], 4, "exists"),
        (["--table", "none.csv"], 3, "there is no table none.csv"),
        (["--table", "there.csv"], 3, "there.csv: no column 'file'"),
        (["--table", "bad.csv"], 3, "line 2: start is 'soon', not a number; write seconds"),
        (["--table", "inf.csv"], 3, "line 2: start is 'inf', not a number; write seconds"),
        (["--table", "gap.csv"], 3, "line 3: the file is empty"),
    ],
)
def test_flags_that_cannot_be(words, code, said, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.csv").write_text("name\na\n")
    (tmp_path / "bad.csv").write_text("file,start\na.wav,soon\n")
    (tmp_path / "inf.csv").write_text("file,start\na.wav,inf\n")
    (tmp_path / "gap.csv").write_text("file,start\na.wav,1\n,2\n")
    assert predict.main(["--run", "r", *words]) == code
    assert said in capsys.readouterr().err


def test_an_interrupted_file_keeps_what_is_done(tmp_path):
    def rows():
        yield {"file": "a", "error": ""}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict.write_rows(rows(), ["file", "error"], tmp_path / "o.csv")
    assert (tmp_path / "o.csv.part").read_text() == "file,error\na,\n"
    assert not (tmp_path / "o.csv").exists()


def test_what_is_no_model(tmp_path):
    with pytest.raises(UsageError, match="there is no folder"):
        predictor.load_predictor(tmp_path / "none")
    whole = {"format": 1, "smile": None, "classes": [], "sample_rate_hz": 1, "heard_seconds": None}
    for text, said in (
        ("{", "damaged"),
        (json.dumps(whole | {"format": 99}), "another version"),
        (json.dumps({"format": 1}), "damaged"),
        (json.dumps(whole), "damaged"),  # no SavedModel is there
    ):
        (tmp_path / "tfser.json").write_text(text)
        with pytest.raises(DataError, match=said):
            predictor.load_predictor(tmp_path)
    with pytest.raises(UsageError, match="leave both out"):
        predictor.load_predictor(tmp_path, fold=2)


@pytest.mark.parametrize(
    "name", ["=cmd|' /C calc'!A0.wav", "+1.wav", "-1.wav", "@sum.wav", "a.wav"]
)
def test_file_names_are_no_formulas(tmp_path, name):
    rows = [{"file": name, "error": ""}]
    for suffix in (".csv", ".jsonl"):
        predict.write_rows(rows, ["file", "error"], tmp_path / f"out{suffix}")
    [row] = csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
    assert row["file"] == ("a.wav" if name == "a.wav" else f"./{name}")
    assert Path(row["file"]) == Path(name)  # the same file
    assert json.loads((tmp_path / "out.jsonl").read_text())["file"] == name


def test_a_long_name_of_the_output(tmp_path):
    out = tmp_path / ("n" * 251 + ".csv")
    predict.write_rows([{"file": "a", "error": ""}], ["file", "error"], out)
    assert list(tmp_path.iterdir()) == [out]
