"""The wheel is whole: installed into an empty folder, it finds all of its data, and trains."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import forked
import numpy as np
import pytest
import soundfile

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that holds the wheel's content and nothing else."""
    wheels = tmp_path_factory.mktemp("wheels")
    # setuptools leaves build/ and *.egg-info in its source folder: it is given a copy.
    source = tmp_path_factory.mktemp("source")
    for name in ["setup.cfg", "setup.py", "pyproject.toml", "LICENSE", "README.md"]:
        shutil.copy(REPOSITORY / name, source)
    for name in ["tfser", "hparams", "zoo"]:
        shutil.copytree(REPOSITORY / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    no_network = ["--no-deps", "--no-index"]
    build = ["wheel", *no_network, "--no-build-isolation", "--wheel-dir", wheels, source]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = wheels.glob("tfser-*.whl")
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([*pip, "install", *no_network, "--target", folder, wheel], check=True)
    return folder


def python(*args, installed, cwd):
    """Runs Python elsewhere than in the checkout, with the installed wheel before all else."""
    environment = os.environ | {"PYTHONPATH": str(installed), "TFSER_CACHE": str(cwd / "cache")}
    return subprocess.run(
        [sys.executable, *args], cwd=cwd, env=environment, timeout=120,
        capture_output=True, text=True,
    )  # fmt: skip


def test_wheel_holds_every_module_and_every_data_file(installed):
    def relative(folder, pattern):
        return {file.relative_to(folder).as_posix() for file in folder.rglob(pattern)}

    assert relative(installed / "tfser", "*.py") == relative(REPOSITORY / "tfser", "*.py")
    hparams, zoo = installed / "tfser" / "_hparams", installed / "tfser" / "_zoo"
    assert relative(hparams, "*") == relative(REPOSITORY / "hparams", "*.toml")
    cards = {
        card
        for pattern in ("README.md", "*.json", "*.conf", "*.toml")
        for card in relative(REPOSITORY / "zoo", pattern)
        if "saved_model" not in card
    }
    assert {file for file in relative(zoo, "*") if "." in file} == cards


def test_wheel_holds_no_tests(installed):
    tops = {entry.name for entry in installed.iterdir()} - {"bin"}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"tfser"}


def test_metadata_names_the_licence_and_the_command(installed):
    (information,) = installed.glob("tfser-*.dist-info")
    metadata = (information / "METADATA").read_text(encoding="utf-8")
    assert "Name: tfser" in metadata and "Apache-2.0" in metadata
    assert "Requires-Python: >=3.11" in metadata
    assert list(information.rglob("LICENSE"))
    commands = (information / "entry_points.txt").read_text(encoding="utf-8")
    assert "tfser-train = tfser.cli.train:main" in commands


def test_hyperparameters_and_card_are_found_in_the_wheel(installed, tmp_path):
    program = """
import tfser
from importlib import resources
from tfser.config.hparams import hparams_folder, load_hparams

folder = hparams_folder()
print(tfser.__file__)
print(folder)
assert (folder / "epr.toml").read_text(encoding="utf-8")
card = resources.files("tfser") / "_zoo" / "epr" / "README.md"
assert card.read_text(encoding="utf-8")
assert load_hparams("epr", "toy")
"""
    done = python("-c", program, installed=installed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    package, folder = done.stdout.splitlines()
    assert package.startswith(str(installed)) and folder.startswith(str(installed))


def test_help_answers_without_tensorflow(installed, tmp_path):
    program = """
import sys
from tfser.cli import train

sys.argv = ["tfser-train", "--help"]
try:
    train.main()
except SystemExit as exit:
    assert not exit.code, exit.code
heavy = {"tensorflow", "keras", "librosa", "sklearn", "scipy", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""
    done = python("-c", program, installed=installed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "--model" in done.stdout and "epr" in done.stdout


def test_trains_from_the_wheel(installed, tmp_path):
    rows, noise = ["file,speaker,emotion"], np.random.default_rng(0)
    for speaker in "abcd":
        for emotion in ("anger", "sadness"):
            name = f"{speaker}-{emotion}.wav"
            soundfile.write(tmp_path / name, noise.normal(0, 0.1, 8000), 16000)
            rows.append(f"{name},{speaker},{emotion}")
    (tmp_path / "noise.csv").write_text("\n".join(rows) + "\n")
    command = ["-m", "tfser.cli.train", "--model", "svm", "--corpus", "noise.csv"]
    command += ["--protocol", "loso"]
    done = forked.end(
        forked.Process(
            command,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(installed), "TFSER_CACHE": str(tmp_path / "cache")},
        )
    )
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1].startswith("RESULT model=svm corpus=noise ")
    assert list((tmp_path / "runs").rglob("scores.json"))
