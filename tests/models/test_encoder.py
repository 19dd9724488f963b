"""The SVM on an encoder: its data, and an encoder of the user's own from training to prediction."""

import shutil

import numpy as np
import pytest
import soundfile
from onnx_files import write_encoder
from running import called
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import tfser
from tfser.audio import decode
from tfser.cache import feature_cache
from tfser.cli import export, predict, train
from tfser.config.hparams import load_hparams
from tfser.corpora.loader import load_corpus
from tfser.models.encoder import dataset, experiment
from tfser.storage import atomic_files, run_directory


@pytest.fixture
def needs_onnx():
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")


def write_table(folder):
    """Twelve recordings of three speakers: sadness is lower and quieter than anger."""
    rng, rows = np.random.default_rng(0), ["file,speaker,emotion"]
    for i in range(12):
        speaker, emotion = "abc"[i % 3], ("anger", "sadness")[i // 3 % 2]
        t = np.arange(9600) / 16000
        tone = np.sin(2 * np.pi * (300 if emotion == "anger" else 150) * t)
        level = 0.3 if emotion == "anger" else 0.1
        soundfile.write(folder / f"{i}.wav", level * tone + rng.normal(0, 0.01, len(t)), 16000)
        rows.append(f"{i}.wav,{speaker},{emotion}")
    (folder / "table.csv").write_text("\n".join(rows) + "\n")
    return folder / "table.csv"


def test_an_svm_on_the_layers_of_the_encoder(shared_data, tmp_path):
    """Three emotions of three speakers of Emo-DB, one speaker out, by scikit-learn alone."""
    utterances, emotions = load_corpus("emodb", shared_data / "emodb"), ("anger", "fear", "sadness")
    some = [u for u in utterances if u.speaker in ("03", "08", "09") and u.emotion in emotions][::3]
    run = run_directory.Run(
        tmp_path / "run", tmp_path / "cache", "emodb", "loso", None, (0,), "none", 0
    )
    scores = experiment.train(some, load_hparams("encoder", "emodb"), run)
    encoder = dataset.make_encoder(load_hparams("encoder", "emodb")["encoder"])
    x = feature_cache.load_features(some, encoder, cache=tmp_path / "cache").frames
    for i in (0, 7):
        waveform = decode.load_audio(some[i].path, sample_rate_hz=16000)
        np.testing.assert_allclose(x[i], encoder.extract([waveform])[0][0], atol=1e-6)
    y, speakers = np.array([u.emotion for u in some]), np.array([u.speaker for u in some])
    predicted = np.empty_like(y)
    for speaker in set(speakers):
        svm = make_pipeline(StandardScaler(), SVC(kernel="linear", C=0.01))
        svm.fit(x[speakers != speaker], y[speakers != speaker])
        predicted[speakers == speaker] = svm.predict(x[speakers == speaker])
    assert scores["wa"] == pytest.approx(np.mean(predicted == y), abs=1.5 / len(y))
    assert scores["wa"] > 0.6 and scores["model"] == "encoder"
    assert list(scores["systems"]) == ["encoder"] and scores["facts"] == ["Resemblyzer 0.1.4"]
    assert scores["flags"] == {} and scores["speaker_independent"] is True


def test_without_the_wheel(tmp_path, monkeypatch):
    from tfser.features import resemblyzer

    monkeypatch.setattr(resemblyzer.metadata, "files", lambda name: None)
    resemblyzer.load_weights.cache_clear()
    command = ["--model", "encoder", "--corpus", write_table(tmp_path)]
    answer = called(train.main, *command, "--workdir", tmp_path / "run", "--cache", tmp_path)
    assert answer.code == 2 and answer.out == ""
    assert answer.err.splitlines()[-1].startswith("error: Resemblyzer, which holds the encoder's")
    assert "pip install --no-deps resemblyzer==0.1.4" in answer.err


def test_an_encoder_of_ones_own(tmp_path, needs_onnx):
    path = write_encoder(tmp_path / "tiny.onnx")
    run, table = tmp_path / "run", write_table(tmp_path)
    command = ["--model", "encoder", "--corpus", table, "--protocol", "loso", "--workdir", run]
    command += ["--cache", tmp_path / "cache", "--set", f"encoder.path={path}"]
    answer = called(train.main, *command)
    assert answer.code == 0, answer.err
    result = answer.out.splitlines()[-1]
    assert " uar=1.0000 " in result and " encoder=tiny.onnx-" in result

    paths = sorted(tmp_path.glob("*.wav"))
    rows = tfser.load(run).predict(paths)
    expected = {row["utterance"]: row for row in read_rows(run / "predictions.csv")}
    for file, row in zip(paths, rows, strict=True):
        if expected[file.stem]["fold"] == "0":
            assert row["predicted"] == expected[file.stem]["predicted"]
    assert {row["confidence"] for row in rows} == {1.0}  # one pair of classes

    answer = called(export.main, "--run", run, "--out", tmp_path / "out", "--data-root", table)
    assert answer.code == 2 and "which TensorFlow cannot hold; predict by the run" in answer.err

    again = called(train.main, *command)
    assert again.code == 0 and again.out.splitlines()[-1] == result
    shutil.copy(write_encoder(tmp_path / "other.onnx", outputs=["tanh"]), path)
    answer = called(predict.main, "--run", run, paths[0])
    assert answer.code == 4 and "is now tiny.onnx-" in answer.err and "put the" in answer.err
    answer = called(train.main, *command)
    assert answer.code == 4, answer.err


def read_rows(path):
    return atomic_files.read_csv(path, ("utterance", "predicted", "fold"))


def test_an_onnx_file_that_is_no_encoder(tmp_path, needs_onnx):
    path = write_encoder(tmp_path / "tiny.onnx", outputs=["waveform"])
    command = ["--model", "encoder", "--corpus", write_table(tmp_path), "--workdir", tmp_path / "r"]
    for value, code, said in (
        (path, 3, "[[1, 16000]], not [1, frames, dims] each; export the encoder again"),
        (str(tmp_path / "none.onnx"), 2, "none.onnx cannot be read: No such file"),
        (str(tmp_path / "0.wav"), 3, "0.wav is no ONNX model of one file"),
    ):
        answer = called(train.main, *command, "--set", f"encoder.path={value}")
        assert (answer.code, answer.out) == (code, ""), answer.err
        assert said in answer.err.splitlines()[-1]


def test_the_cache_holds_a_row_for_each_utterance(tmp_path, needs_onnx):
    hp = load_hparams(
        "encoder", "table", overrides=[f"encoder.path={write_encoder(tmp_path / 'tiny.onnx')}"]
    )
    utterances, made = load_corpus(str(write_table(tmp_path))), []
    dataset.extract_features("table", utterances, hp, lambda *made_of: made.append(made_of))
    [(selected, feature)] = made
    features = feature_cache.load_features(selected, feature, cache=tmp_path / "cache")
    assert features.frames.shape == (12, 16) and features.offsets.tolist() == list(range(13))
