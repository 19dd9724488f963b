"""tfser-embed: rows of each layer, the forms of its file, what an interruption leaves."""

import csv

import numpy as np
import pytest
import soundfile
from running import called

import tfser
from tfser.cli import embed
from tfser.errors import ConflictError, DataError
from tfser.inference import embedder as embedders
from tfser.inference.embedding_file import EmbeddingFile
from tfser.inference.finished_run import load_run
from tfser.inference.served_model import load_inference_function

RATE = 16000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three recordings of 1, 1.5 and 2 s."""
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    for n in range(3):
        noise = rng.normal(0, 0.1, RATE + n * RATE // 2)
        soundfile.write(folder / f"{n}.wav", noise, RATE)
    return folder


@pytest.fixture(scope="module")
def of_epr(before):
    return embedders.Embedder(before / "runs" / "epr", "profile")


@pytest.fixture
def shared(of_epr, monkeypatch):
    """tfser-embed with one network for all tests."""
    monkeypatch.setattr(embedders, "Embedder", lambda *_, **__: of_epr)


def test_the_profile_of_a_recording(of_epr, folder, before):
    times, profile = of_epr.embed(folder / "1.wav")
    waveform, _ = soundfile.read(folder / "1.wav", dtype="float32")
    run = load_run(before / "runs" / "epr")
    outputs = load_inference_function(run).function(waveform[None], np.array([len(waveform)]))
    n = int(outputs["segments"][0])
    np.testing.assert_allclose(profile, outputs["profile"][0, :n], atol=1e-6)
    hop = run.hp["segments"]["hop_seconds"]
    np.testing.assert_allclose(times[:, 0], np.arange(n) * hop, atol=1e-3)
    assert times[0, 1] == pytest.approx(0.335) and times[-1, 1] <= 1.5
    np.testing.assert_allclose(profile.sum(axis=1), 1, atol=1e-5)


def test_windows_begin_where_they_are(of_epr, folder):
    times, _ = of_epr.embed(folder / "2.wav", window_seconds=0.5, hop_seconds=1.0)
    assert times[0, 0] == 0 and {0.0, 1.0} <= {round(t, 3) for t in times[:, 0]}
    assert not ((times[:, 0] > 0.5) & (times[:, 0] < 1.0)).any()


def test_the_layers_of_each_system(before):
    """By the names of their outputs, at the sizes of the run's networks."""
    waveform = np.random.default_rng(1).normal(0, 0.1, (1, RATE)).astype("float32")
    sizes = {}
    for model in ("acnn", "began"):
        found = load_inference_function(load_run(before / "runs" / model))
        outputs = found.embed(waveform, np.array([RATE], "int32"))
        assert found.embeddings.keys() <= outputs.keys()
        for name, embedding in found.embeddings.items():
            assert np.isfinite(outputs[name].numpy()).all()
            assert outputs[name].shape.rank == (2 if embedding.step_seconds is None else 3)
            assert embedding.counts is None or embedding.counts in outputs
        sizes[model] = {name: outputs[name].shape[-1] for name in found.embeddings}
    assert set(sizes["acnn"]) == {"attention", "hidden", "representation"}
    assert sizes["acnn"]["hidden"] > sizes["acnn"]["representation"]
    assert set(sizes["began"]) == {"maps"}


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_the_forms_of_a_file(shared, folder, tmp_path):
    for suffix in ("csv", "npz"):
        words = ["--run", "any", "--folder", folder, "--out", tmp_path / f"out.{suffix}"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(embed, "check_folder", lambda _: None)
            patch.setattr(embed, "load_run", lambda *_, **__: None)
            answer = called(embed.main, *words)
        assert answer.code == 0, answer.err
    rows, arrays = read_csv(tmp_path / "out.csv"), np.load(tmp_path / "out.npz")
    assert answer.out == f"{tmp_path / 'out.npz'}: {len(rows)} rows of 2 numbers, profile\n"
    assert [row["file"] for row in rows] == arrays["file"].tolist()
    for name in ("start", "end"):
        assert [float(row[name]) for row in rows] == arrays[name].tolist()
    values = [[float(row["e0"]), float(row["e1"])] for row in rows]
    np.testing.assert_allclose(values, arrays["embedding"], rtol=1e-5)
    assert not list(tmp_path.glob("*.part")) and not list(tmp_path.glob("*.tmp"))


def rows_of(name, n, size=3):
    return [(name, float(i), i + 1.0, np.full(size, i + len(name))) for i in range(n)]


@pytest.mark.parametrize("suffix", ["csv", "npz"])
@pytest.mark.parametrize("spoils", ["nothing", "more", "half a line"])
def test_an_interrupted_file_is_continued(tmp_path, suffix, spoils):
    """What was written after the last finished recording is written again."""
    names, out = ["a", "bb", "ccc"], tmp_path / f"out.{suffix}"
    with EmbeddingFile(tmp_path / f"whole.{suffix}", {}) as file:
        for name in names:
            file.write(rows_of(name, 2))
    with pytest.raises(KeyboardInterrupt), EmbeddingFile(out, {}) as file:
        file.write(rows_of("a", 2))
        raise KeyboardInterrupt
    part = tmp_path / f"out.{suffix}.part"
    if spoils != "nothing":
        with open(part / "values.f32", "ab") as values, open(part / "index.csv", "a") as index:
            values.write(b"12345")
            index.write("bb,0.0")
    if spoils == "half a line":
        with open(part / "done.jsonl", "a") as done:
            done.write("[2")
    with EmbeddingFile(out, {}) as file:
        assert file.n_done == 1
        for name in names[1:]:
            file.write(rows_of(name, 2))
    if suffix == "csv":
        assert out.read_text() == (tmp_path / "whole.csv").read_text()
    else:
        found, whole = np.load(out), np.load(tmp_path / "whole.npz")
        assert found.keys() == whole.keys() == {"file", "start", "end", "embedding"}
        for name in whole:
            np.testing.assert_array_equal(found[name], whole[name])


def test_a_part_of_another_command_is_a_conflict(tmp_path):
    with pytest.raises(KeyboardInterrupt), EmbeddingFile(tmp_path / "a.csv", {"layer": "h"}):
        raise KeyboardInterrupt
    with pytest.raises(ConflictError, match="a.csv.part is of another command; delete it"):
        EmbeddingFile(tmp_path / "a.csv", {"layer": "m"}).__enter__()


def test_a_file_without_a_usable_recording(tmp_path):
    with EmbeddingFile(tmp_path / "a.csv", {}) as file:
        file.write([])
    assert (tmp_path / "a.csv").read_text() == "file,start,end\n"


def test_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    with EmbeddingFile(tmp_path / "a.parquet", {}) as file:
        file.write(rows_of("a", 2))
    table = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    assert table[1] == {"file": "a", "start": 1.0, "end": 2.0, "e0": 2.0, "e1": 2.0, "e2": 2.0}


def test_an_unusable_recording_is_named(shared, folder, tmp_path, monkeypatch):
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    monkeypatch.setattr(embed, "check_folder", lambda _: None)
    monkeypatch.setattr(embed, "load_run", lambda *_, **__: None)
    words = ["--run", "any", folder / "0.wav", tmp_path / "bad.wav", "--out", tmp_path / "out.csv"]
    answer = called(embed.main, *words)
    assert answer.code == DataError.exit_code and "bad.wav, from 0 s: " in answer.err
    assert {row["file"] for row in read_csv(tmp_path / "out.csv")} == {str(folder / "0.wav")}


def test_bad_words(before, folder, tmp_path):
    run = before / "runs" / "epr"
    recording = folder / "0.wav"
    for words, code, says in (
        (["--run", run, recording], 2, "--out is missing"),
        (["--run", run, recording, "--out", tmp_path / "a.txt"], 2, "ends in .csv, .npz, .parquet"),
        (["--run", run, "--out", tmp_path / "a.csv"], 2, "no recordings: give files"),
        (["--run", tmp_path, recording, "--out", tmp_path / "a.csv"], 2, "is no run directory"),
        (["--run", run, recording, "--out", tmp_path / "a.csv", "--channel=-1"], 2,
         "--channel -1: give 1 or more"),
        (["--preset", "x", recording, "--out", tmp_path / "a.csv"], 2, "no preset 'x'"),
        (["--run", run, recording, "--out", recording.with_suffix(".csv"), "--layer", "hiden"], 2,
         "layer hiden: epr has profile, hidden (did you mean 'hidden'?)"),
    ):  # fmt: skip
        answer = called(embed.main, *words)
        assert (answer.code, says in answer.err) == (code, True), answer.err


def test_the_layers_are_listed(before):
    answer = called(embed.main, "--run", before / "runs" / "epr", "--layer", "help")
    assert answer.code == 0 and [line.split(":")[0] for line in answer.out.splitlines()] == [
        "profile", "hidden",
    ]  # fmt: skip


def test_the_class_is_an_attribute():
    assert tfser.Embedder is embedders.Embedder


def test_no_channel_is_taken_for_a_negative_one(folder):
    with pytest.raises(DataError, match="none of number -1"):
        tfser.load_audio(folder / "0.wav", RATE, channel=-1)
