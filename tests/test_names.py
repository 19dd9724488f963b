"""`import tfser` in a notebook, its lazy names, and the page that describes them."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_keras_models import check_examples

import tfser

REPOSITORY = Path(__file__).parents[1]

LAZY = """
import sys, time
start = time.perf_counter()
import tfser
seconds = time.perf_counter() - start
assert seconds < 0.05, seconds
for package in (tfser.corpora, tfser.evaluation, tfser.features, tfser.models):
    assert set(package.__all__) <= set(dir(package))
assert {"corpora", "evaluation", "features", "models"} <= set(dir(tfser))
assert tfser.evaluation.uar([0, 1], [0, 0]) == 0.5
assert tfser.corpora.load and tfser.corpora.Utterance and tfser.features.OpenSmile
assert not {"keras", "tensorflow"} & set(sys.modules)
"""


def test_the_import_takes_no_tensorflow():
    done = subprocess.run(
        [sys.executable, "-c", LAZY],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_names_that_are_missing():
    for module in (tfser, tfser.models, tfser.features):
        with pytest.raises(AttributeError, match="has no attribute 'EPRR'"):
            _ = module.EPRR


def test_a_table_without_pandas(tmp_path, monkeypatch):
    from tfser.errors import UsageError

    monkeypatch.setenv("TFSER_TOY_ROOT", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert len(tfser.corpora.load("toy")) == 160
    with pytest.raises(UsageError, match="pip install pandas, or leave out table=True"):
        tfser.corpora.load("toy", table=True)


def test_the_examples_of_what_a_notebook_needs(tmp_path, monkeypatch):
    monkeypatch.setenv("TFSER_TOY_ROOT", str(tmp_path))
    pytest.importorskip("pandas")
    for documented in (
        tfser.load_audio, tfser.corpora.load, tfser.evaluation, tfser.evaluation.ccc,
        tfser.evaluation.uar, tfser.evaluation.wa, tfser.evaluation.macro_f1,
        tfser.evaluation.confusion_matrix, tfser.features.LogMel, tfser.features.MelPieces,
        tfser.features.Slices, tfser.features.Spectrogram,
    ):  # fmt: skip
        check_examples(documented)


def test_the_example_of_opensmile():
    pytest.importorskip("opensmile")
    check_examples(tfser.features.OpenSmile)


def test_the_notebook_of_the_readme(tmp_path, monkeypatch, eager, capsys):
    """On the toy corpus, one epoch of a narrower network."""
    monkeypatch.setenv("TFSER_TOY_ROOT", str(tmp_path))
    section = (REPOSITORY / "README.md").read_text().split("## In a notebook")[1]
    code = section.split("```python\n")[1].split("```")[0]
    for old, new in (
        ('"emodb", "~/corpora/EmoDB"', '"toy"'), ("multiplier=0.125", "multiplier=0.01"),
        ("epochs=20", "epochs=1, verbose=0"),
    ):  # fmt: skip
        assert old in code
        code = code.replace(old, new)
    exec(code, {})
    assert 0 <= float(capsys.readouterr().out) <= 1


def test_the_api_page_is_current():
    specification = importlib.util.spec_from_file_location("api", REPOSITORY / "docs" / "api.py")
    api = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(api)
    page = api.PAGE.read_text(encoding="utf-8")
    assert page == api.write_page(), "python docs/api.py writes it anew"
