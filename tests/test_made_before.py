"""Runs, cache entries, exports and pre-trained networks of an older commit are read."""

import csv
import importlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from running import called

from tfser.cli import predict, train

MADE_BEFORE = Path(__file__).parent / "made_before"
README = (MADE_BEFORE / "README.md").read_text().splitlines()
# {model: the flags behind "--model M $C --workdir DIR"}
SETTINGS = {line.split()[2]: line.split()[6:] for line in README if line.startswith("tfser-train")}
# Settings whose defaults have changed since, with their values of that time.
DEFAULTS = {"acnn": ["protocol.dev=utterances", "model.standardizes_representation=false"]}
RESULTS = {
    "epr": "uar=0.5000 wa=0.5000 majority=0.5000 n=18 folds=3 seeds=1",
    "acnn": "uar=0.6111 wa=0.6111 majority=0.5000 n=18 folds=3 seeds=1 autoencoder=transductive",
    "auxvae": "uar=0.6667 wa=0.6667 majority=0.5000 n=18 folds=3 seeds=1",
    "began": "uar=0.6667 wa=0.6667 majority=0.5000 n=18 folds=3 seeds=1 "
    "macro_f1=0.6494 f0_5_of_batches=0.6667",
}


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def again(model, folder, workdir):
    """Gives the command of README.md in `folder`, with another --workdir."""
    defaults = [word for setting in DEFAULTS.get(model, []) for word in ("--set", setting)]
    return called(
        train.main, "--model", model, "--corpus", folder / "corpus" / "corpus.csv",
        "--protocol", "loso", "--cache", folder / "cache", "--workdir", workdir, *SETTINGS[model],
        *defaults,
    )  # fmt: skip


@pytest.mark.parametrize("model", RESULTS)
def test_a_finished_run_and_its_cache_entries_are_read(before, tmp_path, model):
    run, cache = tmp_path / "run", contents(before / "cache")
    shutil.copytree(before / "runs" / model, run)
    folds = contents(run / "seed-0")
    answer = again(model, before, run)
    assert answer.code == 0, answer.err
    head = f"RESULT model={model} corpus=corpus protocol=loso speaker_independent=yes "
    result = re.sub(r" uar_low=\S+ uar_high=\S+", "", answer.out.splitlines()[-1])  # not then
    assert result == head + RESULTS[model]
    assert contents(before / "cache") == cache
    changed = {name for name, content in contents(run / "seed-0").items()
               if folds.get(name) != content}  # fmt: skip
    assert {name.name for name in changed} <= {"predictions.csv", "scores.json", "vae.keras"}


@pytest.mark.parametrize(
    "model, trains", [("acnn", "train_autoencoder"), ("auxvae", "train_autoencoder"),
                      ("began", "train_began")],
)  # fmt: skip
def test_pre_trained_networks_are_read(before, tmp_path, monkeypatch, model, trains):
    pretraining = importlib.import_module(f"tfser.models.{model}.pretraining")
    monkeypatch.setattr(pretraining, trains, lambda *_, **__: pytest.fail("it is trained again"))
    names = {path.name for path in (before / "cache").iterdir()}
    answer = again(model, before, tmp_path / "run")
    assert answer.code == 0, answer.err
    assert {path.name for path in (before / "cache").iterdir()} == names


@pytest.mark.parametrize("source", ["run", "export"])
def test_a_run_and_its_export_predict_as_the_run_did(before, source):
    rows = list(csv.DictReader(open(before / "runs" / "epr" / "seed-0" / "predictions.csv")))
    expected = {
        row["utterance"]: [float(row["p_anger"]), float(row["p_sadness"])]
        for row in rows if (row["fold"], row["system"]) == ("0", "VGG*2")
    }  # fmt: skip
    files = [before / "corpus" / f"{name}.flac" for name in expected]
    answer = called(predict.main, f"--{source}", before / f"{source}s" / "epr", *files)
    assert answer.code == 0, answer.err
    found = list(csv.DictReader(answer.out.splitlines()))
    np.testing.assert_allclose(
        [[float(row["anger"]), float(row["sadness"])] for row in found],
        list(expected.values()), atol=1e-4,
    )  # fmt: skip
