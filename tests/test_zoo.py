"""The zoo is whole: each model has hyperparameters and a card, each result is on a card."""

import pkgutil
from pathlib import Path

import pytest

from tfser import hparams, models, runs

ZOO = Path(__file__).resolve().parents[1] / "zoo"
MODELS = sorted(module.name for module in pkgutil.iter_modules(models.__path__))
RESULTS = sorted(ZOO.glob("*/*.json"))


def test_there_are_models():
    assert "epr" in MODELS


@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_hyperparameters(model):
    assert (Path(hparams.folder()) / f"{model}.toml").is_file()


@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_a_card(model):
    card = ZOO / model / "README.md"
    if not card.exists():
        pytest.skip(f"{card} is still to be written")
    text = card.read_text(encoding="utf-8")
    assert text.startswith("# ") and f"--model {model}" in text


def test_hyperparameters_and_cards_are_of_models():
    files = {path.name.split(".")[0] for path in Path(hparams.folder()).glob("*.toml")}
    assert files == set(MODELS)
    assert {path.parent.name for path in ZOO.glob("*/*")} <= set(MODELS)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_result_is_on_its_card(path):
    card = path.with_name("README.md")
    if not card.exists():
        pytest.skip(f"{card} is still to be written")
    assert path.name in card.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_result_says_how_it_came_about(path):
    entries = runs.read_json(path)
    assert entries
    for entry in entries:
        scores = entry["scores"]
        assert (scores["model"], scores["corpus"]) == (path.parent.name, path.stem)
        assert scores["speaker_independent"] is (scores["protocol"] == "loso")
        assert 0 <= scores["uar"] <= 1 and 0 <= scores["wa"] <= 1
        assert f"--model {scores['model']}" in entry["command"]
        assert entry["processes"][-1]["versions"]["keras"] and entry["settings"]["hparams"]
