"""The wheel is whole: installed into an empty folder, it finds all of its data, and trains."""

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import forked
import numpy as np
import pytest
import soundfile

import tfser
from tfser import keras_classes

REPOSITORY = Path(__file__).resolve().parents[1]
MADE_BEFORE = REPOSITORY / "tests" / "made_before" / "df458cb.tar.xz"
WITH_CHECKOUT = os.environ | {"PYTHONPATH": str(REPOSITORY)}


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
        for pattern in ("*.md", "*.json", "*.conf", "*.toml", "*.csv", "*.npz", "*.h5", "*.flac")
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


def test_presets_are_found_in_the_wheel(installed, tmp_path):
    done = python("-m", "tfser", "presets", installed=installed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = {line.split()[0] for line in done.stdout.splitlines()[1:]}
    assert names == {path.parent.name for path in (REPOSITORY / "zoo").glob("*/*/preset.json")}


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


# Classes of saved networks.


def test_every_saved_class_has_a_stand_in():
    """Those with keras.saving.register_keras_serializable, by the source."""
    found = {}
    for path in sorted((REPOSITORY / "tfser").rglob("*.py")):
        module = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            decorators = [ast.unparse(d) for d in getattr(node, "decorator_list", [])]
            if any("register_keras_serializable" in d for d in decorators):
                assert decorators in (
                    ["keras.saving.register_keras_serializable('tfser')"],
                    ["keras.saving.register_keras_serializable(package='tfser')"],
                )
                found.setdefault(module, []).append(node.name)
    assert found
    found["tfser.models.began.network"].append("Began")  # the name in files of earlier versions
    assert {m: sorted(n) for m, n in found.items()} == {
        m: sorted(n) for m, n in keras_classes.CLASSES.items()
    }


def test_a_function_is_called_after_the_import_of_a_module(tmp_path, monkeypatch):
    """As of Keras, where a program imports tfser first; looking for a module is no import."""
    (tmp_path / "late_module.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    calls = []
    finder = keras_classes.CallAfterImport(
        "late_module", lambda: calls.append(sys.modules["late_module"].value)
    )
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    assert importlib.util.find_spec("late_module") and importlib.util.find_spec("json")
    assert not calls
    module = importlib.import_module("late_module")
    try:
        assert calls == [1] and module.__spec__.name == "late_module"
        importlib.reload(module)
        assert calls == [1, 1]
    finally:
        del sys.modules["late_module"]
    assert finder.find_spec("late_module_that_is_missing") is None


SAVED = """
import sys
import keras
import numpy as np
{first}
names = {{"AdversarialAutoencoder", "AuxVAE", "BEGAN", "Picture", "ACNN", "GRU", "EPR"}}
registered = keras.saving.get_custom_objects()
assert {{f"tfser>{{name}}" for name in names}} <= registered.keys()
assert not [name for name in sys.modules if name.startswith("tfser.models")]
for path in {paths}:
    network = keras.saving.load_model(path)
    assert type(network).__module__.startswith("tfser.models."), network
    if path.endswith(("epr.keras", "compiled.keras")):
        assert network.compiled and (network.optimizer or network.optimizers)
    weights = [w for w in network.get_weights() if w.size]
    assert len(weights) > 3 and all(np.isfinite(w).all() for w in weights)
    print(type(network).__name__, network.count_params())
"""


@pytest.fixture(scope="module")
def saved_networks(tmp_path_factory):
    """Networks of the three papers that are classes of their own, saved as a training does."""
    from tfser.config.hparams import load_hparams
    from tfser.features.magnitude_slices import make_magnitude_slices
    from tfser.features.mel_pieces import make_mel_pieces
    from tfser.models.aae import experiment as aae
    from tfser.models.auxvae import pretraining as auxvae
    from tfser.models.began import pretraining as began

    folder = tmp_path_factory.mktemp("networks")
    hp = load_hparams("began", "toy", overrides=["model.n_filters=1", "model.hidden=2"])
    began.new_network(hp, make_magnitude_slices(hp)).save_for_prediction(folder / "began.keras")
    hp = load_hparams("auxvae", "toy", overrides=["model.n_latent=4"])
    auxvae.new_network(hp, make_mel_pieces(hp)).save(folder / "vae.keras")
    hp = load_hparams("aae", "toy", overrides=["model.system=optimized", "model.units=3"])
    features = SimpleNamespace(names=list("ab"), n_frames=None, classes=["anger", "fear"])
    aae.new_network(features, hp).save_for_prediction(folder / "aae.keras")
    # With their optimizers, as a notebook saves them.
    for name, model in (
        ("epr", tfser.models.EPR(2, n_bands=32, width_multiplier=0.002)),
        ("compiled", tfser.models.AdversarialAutoencoder(2, shape=(3,), units=3, n_z=2)),
    ):
        model.compile()
        model.save(folder / f"{name}.keras")
    with tarfile.open(MADE_BEFORE) as archive:
        members = [m for m in archive if m.name.endswith(("/vae.keras", "/began.keras"))]
        archive.extractall(folder, members=members, filter="data")
    return sorted(folder.rglob("*.keras"))


def test_keras_loads_saved_networks_once_tfser_is_imported(saved_networks, tmp_path):
    """Networks of this version and of an earlier one, in a process that imports nothing else."""
    program = SAVED.format(first="import tfser", paths=[str(path) for path in saved_networks])
    done = forked.end(forked.Process(["-c", program], cwd=tmp_path, env=WITH_CHECKOUT))
    assert done.code == 0, done.err
    kinds = [line.split()[0] for line in done.out.splitlines()]
    assert len(kinds) == len(saved_networks)
    assert set(kinds) == {"AdversarialAutoencoder", "AuxVAE", "BEGAN", "EPR"}


@pytest.mark.slow
def test_keras_loads_saved_networks_where_tfser_was_imported_first(saved_networks, tmp_path):
    program = SAVED.format(first="", paths=[str(path) for path in saved_networks])
    done = subprocess.run(
        [sys.executable, "-c", f"import tfser\n{program}"],
        cwd=tmp_path, env=WITH_CHECKOUT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(saved_networks)


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
