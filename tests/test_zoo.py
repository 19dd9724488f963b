"""The zoo is whole: each model has hyperparameters and a card, each result is on a card."""

import ast
import pkgutil
import re
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from tfser import models
from tfser.config.hparams import hparams_folder
from tfser.evaluation import card_rows, model_card, recorded_runs, results_table
from tfser.storage import atomic_files, preset

ZOO = Path(__file__).resolve().parents[1] / "zoo"
MODELS = sorted(module.name for module in pkgutil.iter_modules(models.__path__))
PAGES = [ZOO.parent / "README.md", *ZOO.parent.glob("benchmarks/*.md"), *sorted(ZOO.glob("*/*.md"))]
STUDIES = sorted(ZOO.glob("*/variants.*.json"))  # by benchmarks/variants.py
RESULTS = sorted(set(ZOO.glob("*/*.json")) - set(STUDIES))  # by tfser-card


def test_there_are_models():
    assert "epr" in MODELS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ZOO.parent)))
def test_no_heading_of_a_page_is_inside_a_block_of_code(page):
    """A fence that is missing turns all that follows inside out."""
    inside = False
    for line in page.read_text(encoding="utf-8").splitlines():
        inside ^= line.startswith("```")
        assert not (inside and line.startswith("## ")), line
    assert not inside


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ZOO.parent)))
def test_the_code_that_a_page_names_exists(page):
    """Paths such as `tfser/corpora/labels.py`, and names as in "`vgg` and `fit` in `path.py`"."""
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"(?:tfser|tests|benchmarks)/[\w/]+\.py", text):
        assert (ZOO.parent / path).is_file(), path
    for names, path in re.findall(r"((?:`[\w.]+`(?: and )?)+) in `([\w/]+\.py)`", text):
        tree = ast.parse((ZOO.parent / path).read_text(encoding="utf-8"))
        defined = {n.name for n in ast.walk(tree) if isinstance(n, ast.ClassDef | ast.FunctionDef)}
        assert set(re.findall(r"\w+", names.replace(" and ", " "))) <= defined, (names, path)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_hyperparameters(model):
    assert (Path(hparams_folder()) / f"{model}.toml").is_file()


@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_a_card(model):
    text = (ZOO / model / "README.md").read_text(encoding="utf-8")
    assert text.startswith("# ") and f"--model {model}" in text


def test_hyperparameters_and_cards_are_of_models():
    files = {path.name.split(".")[0] for path in Path(hparams_folder()).glob("*.toml")}
    assert files == set(MODELS)
    assert {path.parent.name for path in ZOO.glob("*/*")} <= set(MODELS)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_result_is_on_its_card(path):
    text = path.with_name("README.md").read_text(encoding="utf-8")
    model, corpus = path.parent.name, path.stem
    runs = recorded_runs.load_runs(ZOO, model, corpus)
    table = model_card.format_table(runs, recorded_runs.load_runs(ZOO, "svm", corpus))
    assert f"<!-- {corpus} -->\n{table}<!-- end -->" in text
    tests = path.with_name(f"{corpus}.tests.csv")
    expected = model_card.list_t_tests(card_rows.list_rows(runs))
    assert tests.exists() == bool(expected)
    if expected:
        assert atomic_files.read_csv(tests, expected[0]) == expected


def test_every_result_is_in_the_table_of_all():
    found = atomic_files.read_csv(ZOO / "results.csv", results_table.COLUMNS)
    expected = results_table.list_results(ZOO)
    assert found == [{k: str(v) for k, v in row.items()} for row in expected]
    assert {(row["model"], row["corpus"]) for row in found} == {
        (path.parent.name, path.stem) for path in RESULTS
    }
    assert sum(row["paper"] != "" for row in found) >= 5
    text = (ZOO.parent / "README.md").read_text(encoding="utf-8")
    table = results_table.format_overview(expected)
    assert results_table.START + table + results_table.END in text


def test_every_kept_prediction_is_of_a_row():
    named = {
        path.parent / entry["predictions"]
        for path in RESULTS
        for entry in atomic_files.read_json(path)
        if "predictions" in entry
    }
    assert named == set(ZOO.glob("*/predictions/*"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_variant_is_a_row_of_the_card(path):
    lines = path.with_name("README.md").read_text(encoding="utf-8").splitlines()
    entries = atomic_files.read_json(path)["entries"]
    assert entries
    for variant, of_variant in groupby(entries, key=lambda entry: entry["variant"]):
        folds = list(of_variant)
        epochs = ", ".join(str(fold["left_chance_in_epoch"] or "never") for fold in folds)
        dev_loss = np.mean([fold["dev_loss"] for fold in folds])
        dev_uar = np.mean([fold["dev_uar"] for fold in folds])
        row = f" | {epochs} | {dev_loss:.3f} | {100 * dev_uar:.1f} |"
        name = f"`{variant}`" if variant else "the default"
        assert [line for line in lines if line.startswith(f"| {name}") and line.endswith(row)]


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_result_says_how_it_came_about(path):
    entries = atomic_files.read_json(path)
    assert entries
    for entry in entries:
        scores = entry["scores"]
        assert (scores["model"], scores["corpus"]) == (path.parent.name, path.stem)
        # Papers that leave out speakers or sessions; and speakers of another corpus are strangers.
        strict = scores["model"] in ("aae", "acnn") or "tested" in entry["settings"]
        if scores["model"] == "began":
            strict = entry["settings"]["hparams"]["protocol"]["kind"] == "loso"
        seen = "seen_speakers" in scores.get("flags", {}).values()  # by the network it starts from
        assert scores["speaker_independent"] is (
            (strict or scores["protocol"] == "loso") and not seen
        )
        assert 0 <= scores["uar"] <= 1 and 0 <= scores["wa"] <= 1
        assert f"--model {scores['model']}" in entry["command"]
        assert all(process["versions"]["keras"] for process in entry["processes"])
        assert entry["settings"]["hparams"]


def test_every_preset_is_whole_and_may_be_shared():
    presets = preset.list_presets()
    assert {"svm_emodb", "acnn_ravdess", "aae_emodb", "epr_emodb"} <= {p.name for p in presets}
    for found in presets:
        preset.check_files(found)
        assert found.folder == ZOO / found.about["model"] / found.name
        assert found.about["licence"] in preset.LICENCES and found.about["attribution"]
        assert found.about["corpus"] in ("emodb", "ravdess", "librispeech")
        assert preset.format_card(found.about) == (found.folder / "README.md").read_text("utf-8")
        assert found.about["command"].endswith(
            f"--protocol all --workdir runs/presets/{found.name}"
        )
        score = found.about["score"]
        assert 0 < score["uar"] < 1 and score["command"] in (ZOO / "results.csv").read_text("utf-8")
    assert sum(found.n_bytes for found in presets) < 60e6
