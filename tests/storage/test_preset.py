"""Presets: written from a run, found by name, loaded as runs are, refused when damaged."""

import csv
import doctest
import json
import shutil

import numpy as np
import pytest
import yaml
from running import called

import tfser
from tfser.cli import export, main, predict, serve
from tfser.errors import ConflictError, DataError, UsageError
from tfser.inference import finished_run, predictor, served_model
from tfser.storage import preset

ABOUT = {
    "model": "epr", "description": "EPR of a test.", "corpus": "toy", "audio": "synthetic speech",
    "licence": "CC-BY-4.0", "attribution": "Nobody.", "command": "tfser-train", "commit": "abc",
    "score": {"uar": 0.5, "wa": 0.6, "interval": [0.4, 0.6], "protocol": "loso", "folds": 3,
              "n": 18, "command": "tfser-train --protocol loso"},
}  # fmt: skip


@pytest.fixture(scope="module")
def zoo(before, tmp_path_factory):
    """A zoo with a preset of each system, of the runs of an older commit."""
    folder = tmp_path_factory.mktemp("zoo")
    for model in ("auxvae", "epr"):
        run = finished_run.load_run(before / "runs" / model)
        if model == "auxvae":  # its run probes samples, which are others each time
            run = run._replace(hp=run.hp | {"probe": run.hp["probe"] | {"latents": "means"}})
        with finished_run.record_files() as paths:
            served_model.load_inference_function(run)
        about = ABOUT | {
            "name": f"{model}_toy", "model": model, "classes": run.classes, "seed": run.seed,
            "hparams": run.hp, "scores": run.scores,
        }  # fmt: skip
        preset.write_preset(folder / model / f"{model}_toy", run.folder, paths, about)
    return folder


@pytest.fixture
def installed(zoo, monkeypatch):
    monkeypatch.setattr(preset, "zoo_folder", lambda: zoo)
    return zoo


def test_a_preset_predicts_what_its_run_does(before, installed):
    noise = np.random.default_rng(0).normal(0, 0.1, 16000).astype("float32")
    of_run = predictor.load_predictor(before / "runs" / "epr").predict(noise)
    assert tfser.load("epr_toy").predict(noise) == of_run


def test_its_files(installed):
    folder = installed / "epr" / "epr_toy"
    assert {path.name for path in folder.iterdir()} == {
        "preset.json", "config.json", "model.weights.h5", "forest-2.npz", "README.md",
    }  # fmt: skip
    assert {path.name for path in (installed / "auxvae" / "auxvae_toy").iterdir()} == {
        "preset.json", "config.json", "model.weights.h5", "README.md", "probes.config.json",
        "probes.model.weights.h5",
    }  # fmt: skip
    front = (folder / "README.md").read_text().split("---\n")[1]
    assert yaml.safe_load(front) == {
        "license": "cc-by-4.0", "library_name": "keras", "pipeline_tag": "audio-classification",
        "tags": ["speech-emotion-recognition", "tfser", "epr"], "datasets": ["toy"],
    }  # fmt: skip
    text = (folder / "README.md").read_text()
    assert "UAR 50.0 % (95 % interval 40.0 to 60.0), WA 60.0 %, protocol loso" in text


def test_they_are_listed(installed, capsys):
    assert main.main(["presets"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split("  ")[0] == "name" and len(rows) == 2
    size = sum(p.stat().st_size for p in (installed / "epr" / "epr_toy").iterdir()) / 1e6
    row = rows[-1]
    assert row.startswith("epr_toy") and "CC-BY-4.0" in row and "50.0" in row
    assert float(row.split()[-1]) == pytest.approx(size, abs=0.1)


def test_names(installed, capsys):
    with pytest.raises(UsageError) as error:
        preset.find_preset("epr_toi")
    assert str(error.value) == (
        "there is no folder and no preset 'epr_toi' (did you mean 'epr_toy'?); there are the "
        "presets auxvae_toy, epr_toy"
    )
    for command, words in (
        (predict, ["--preset", "nothing", "a.wav"]),
        (export, ["--preset", "nothing", "--out", "new"]),
        (serve, ["--preset", "nothing"]),
    ):
        answer = called(command.main, *words)
        assert answer.code == 2 and "no preset 'nothing'" in answer.err
    answer = called(serve.main)
    assert answer.code == 2 and "nothing to serve" in answer.err
    answer = called(predict.main, "--preset", "epr_toy", "--fold", "1", "a.wav")
    assert answer.code == 2 and "epr_toy is a preset, of one seed and fold" in answer.err


def test_predictions_of_a_recording(installed, before):
    recording = next((before / "corpus").glob("*.flac"))
    answer = called(predict.main, "--preset", "epr_toy", recording)
    assert answer.code == 0, answer.err
    [row] = csv.DictReader(answer.out.splitlines())
    [expected] = tfser.load("epr_toy").predict(recording)
    assert row == {k: "" if v is None else str(v) for k, v in expected.items()}


def test_an_export_of_a_preset(installed, tmp_path):
    words = ["--out", tmp_path / "out", "--format", "keras"]  # the format without another process
    answer = called(export.main, "--preset", "epr_toy", *words)
    assert answer.code == 0, answer.err
    assert "predictions of the preset for a second of noise" in answer.out


def copied(installed, tmp_path):
    return shutil.copytree(installed / "epr" / "epr_toy", tmp_path / "copy")


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5", "forest-2.npz"])
def test_a_damaged_file_is_named(installed, tmp_path, name):
    folder = copied(installed, tmp_path)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DataError, match=f"{name} is damaged: its SHA-256 is another; copy"):
        finished_run.load_run(folder)
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"{name} is missing"):
        finished_run.load_run(folder)


@pytest.mark.parametrize(
    "change, says",
    [
        ({"format": 9}, "is of another version of tfser"),
        ({"files": None}, "it has no files"),
        ({"classes": None}, "it has no 'classes'"),
    ],
)
def test_a_damaged_preset_json(installed, tmp_path, change, says):
    folder = copied(installed, tmp_path)
    about = json.loads((folder / "preset.json").read_text()) | change
    about = {key: value for key, value in about.items() if value is not None}
    (folder / "preset.json").write_text(json.dumps(about))
    with pytest.raises(DataError, match=says):
        finished_run.load_run(folder)


def test_no_file_outside_its_folder_is_written(installed, tmp_path):
    folder = copied(installed, tmp_path)
    about = json.loads((folder / "preset.json").read_text())
    about["files"]["../../escaped.npz"] = ["forest-2.npz"]
    (folder / "preset.json").write_text(json.dumps(about))
    run = finished_run.load_run(folder)
    with pytest.raises(DataError, match="it names ../../escaped.npz"):
        served_model.load_inference_function(run)


def test_an_existing_folder_is_not_replaced(tmp_path):
    with pytest.raises(ConflictError, match="exists; give another folder"):
        preset.write_preset(tmp_path, tmp_path, [], ABOUT)


def test_a_network_of_a_notebook(tmp_path):
    model = tfser.models.EPR(2, n_bands=32, width_multiplier=0.004)
    model.save_to_preset(tmp_path / "mine", description="Mine.", licence="CC-BY-4.0")
    again = tfser.models.EPR.from_preset(tmp_path / "mine")
    assert isinstance(again, tfser.models.EPR) and not again.compiled
    with pytest.raises(UsageError, match="mine has no ACNN, it is of epr"):
        tfser.models.ACNN.from_preset(tmp_path / "mine")
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    about = json.loads((tmp_path / "mine" / "preset.json").read_text())
    assert (about["name"], about["model"]) == ("mine", "epr")
    assert "attribution" in (tmp_path / "mine" / "README.md").read_text()
    with pytest.raises(UsageError, match="has a network alone, .* load it by from_preset"):
        finished_run.load_run(tmp_path / "mine")


def test_the_licence_is_shown(installed):
    found = preset.describe_preset(preset.find_preset("epr_toy"))
    assert found == (
        "preset epr_toy: epr, trained on synthetic speech; licence of the weights: CC-BY-4.0 "
        "(attribution; https://creativecommons.org/licenses/by/4.0/)"
    )


@pytest.mark.parametrize("documented", [tfser.Embedder, tfser.models.EPR.from_preset])
def test_the_examples_with_a_preset(documented):
    [test] = doctest.DocTestFinder(recurse=False).find(documented, "example", globs={})
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0
