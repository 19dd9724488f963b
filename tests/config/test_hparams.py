"""Hyperparameters: what lies over what, what is refused, and the papers' numbers."""

import tomllib
from importlib import resources
from pathlib import Path

import pytest

from tfser.cli.options import Options, load_hyperparameters
from tfser.config import hparams
from tfser.config.hparams import hparams_folder, load_hparams
from tfser.corpora.loader import corpus_names
from tfser.errors import UsageError

MODEL = """\
[net]
width = 1.0
layers = 2
norm = false
kind = "deep"
names = []
[train]
epochs = 5

[corpus.casia.net]
width = 0.5
layers = 3
[corpus.table.net]
layers = 7
[corpus.casia-to-savee.net]
layers = 8

[allowed]
"net.width" = [0.25, 4.0]
"net.layers" = [1, 9]
"net.kind" = ["deep", "shallow"]
"""
OVERLAY = """\
[net]
layers = 4
norm = true

[corpus.casia.train]
epochs = 6
[corpus.emodb.train]
epochs = 7
"""
FILES = sorted(hparams_folder().glob("*.toml"))
MODELS = [path.stem for path in FILES if "." not in path.stem]
OVERLAYS = [path.stem for path in FILES if "." in path.stem]
ALL_CORPORA = [*corpus_names(), "table"]


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Loads the model "m" of this file's texts, instead of the project's."""
    (tmp_path / "m.toml").write_text(MODEL)
    (tmp_path / "m.light.toml").write_text(OVERLAY)
    monkeypatch.setattr(hparams, "hparams_folder", lambda: tmp_path)

    def call(corpus="casia", *overrides, overlay=None, tested=None):
        return load_hparams(
            "m", corpus, tested=tested, overlay=overlay, overrides=overrides,
            corpora=corpus_names(),
        )  # fmt: skip

    return call


def refused(load, *overrides, overlay=None) -> str:
    with pytest.raises(UsageError) as caught:
        load("casia", *overrides, overlay=overlay)
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)
    return str(caught.value)


def test_the_model_alone_for_a_corpus_without_a_table(load):
    net = {"width": 1.0, "layers": 2, "norm": False, "kind": "deep", "names": []}
    assert load("savee") == {"net": net, "train": {"epochs": 5}}


def test_each_layer_lies_over_the_one_before(load):
    assert load("casia")["net"]["layers"] == 3  # corpus over model
    assert load("casia", overlay="m.light")["net"]["layers"] == 4  # overlay over corpus
    assert load("casia", "net.layers=5", overlay="m.light")["net"]["layers"] == 5  # --set over all
    assert load("casia", "net.layers=5", "net.layers=6")["net"]["layers"] == 6  # the later over it


def test_a_pair_of_corpora_lies_over_the_training_corpus(load, tmp_path):
    assert load("casia", tested="savee")["net"] == load("casia")["net"] | {"layers": 8}
    assert load("casia", tested="emodb") == load("casia")
    assert load("savee", tested="casia") == load("savee")
    assert load("casia", tested="savee", overlay="m.light")["net"]["layers"] == 4
    path = tmp_path / "pair.toml"
    path.write_text("[corpus.casia-to-savee.net]\nlayers = 2\n[corpus.casia.net]\nlayers = 1\n")
    assert load("casia", tested="savee", overlay=str(path))["net"]["layers"] == 2
    assert load("casia", overlay=str(path))["net"]["layers"] == 1


def test_a_layer_leaves_alone_what_it_does_not_name(load):
    hp = load("casia", "net.layers=5", overlay="m.light")
    net = {"width": 0.5, "layers": 5, "norm": True, "kind": "deep", "names": []}
    assert hp == {"net": net, "train": {"epochs": 6}}
    assert load("emodb", overlay="m.light")["train"]["epochs"] == 7
    assert load("savee", overlay="m.light")["train"]["epochs"] == 5


def test_an_overlay_by_path(load, tmp_path):
    path = tmp_path / "elsewhere" / "mine.toml"
    path.parent.mkdir()
    path.write_text("[train]\nepochs = 9\n")
    assert load("casia", overlay=str(path))["train"]["epochs"] == 9


@pytest.mark.parametrize(
    "override, section, key, value",
    [
        ("net.width=2.5", "net", "width", 2.5),
        ("net.width=2", "net", "width", 2.0),  # a whole number is a number too
        ("net.width=1e0", "net", "width", 1.0),
        ("net.norm=true", "net", "norm", True),
        ("net.kind=shallow", "net", "kind", "shallow"),  # a bare word is a string
        ('net.kind="shallow"', "net", "kind", "shallow"),
        (" net.layers = 8", "net", "layers", 8),
        ('net.names=["a", "b"]', "net", "names", ["a", "b"]),
        ('net.names=["a=b"]', "net", "names", ["a=b"]),
    ],
)
def test_values_of_set(load, override, section, key, value):
    found = load("casia", override)[section][key]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "override, message",
    [
        ("net.layers=2.0", "net.layers is a whole number such as 3, not 2.0"),
        ("net.layers=two", "net.layers is a whole number such as 3, not 'two'"),
        ("net.layers=true", "net.layers is a whole number such as 3, not True"),
        ("net.width=true", "net.width is a number such as 0.5, not True"),
        ("net.width=wide", "net.width is a number such as 0.5, not 'wide'"),
        ("net.norm=1", "net.norm is true or false such as False, not 1"),
        ("net.norm=True", "net.norm is true or false such as False, not 'True'"),
        ("net.kind=3", "net.kind is a string such as 'deep', not 3"),
        ("net.names=a", "net.names is a list such as [], not 'a'"),
        ("net.names=[1]", "net.names is a list of strings, not [1]"),
    ],
)
def test_a_value_of_another_type(load, override, message):
    assert refused(load, override) == f"--set {override}: {message}"


@pytest.mark.parametrize(
    "override, message",
    [
        ("net.widht=1.0", "unknown key 'net.widht' (did you mean 'net.width'?)"),
        ("trian.epochs=3", "unknown section 'trian' (did you mean 'train'?)"),
        ("net.epochs=3", "unknown key 'net.epochs' (did you mean 'train.epochs'?)"),
        ("net.xyz=1", "unknown key 'net.xyz'"),
        ("net.width.x=1", "unknown key 'net.width.x' (did you mean 'net.width'?)"),
        ("allowed.x=1", "unknown section 'allowed'"),
        ("corpus.casia=1", "unknown section 'corpus'"),
    ],
)
def test_an_unknown_name(load, override, message):
    assert refused(load, override) == f"--set {override}: {message}"


@pytest.mark.parametrize("override", ["net.layers", "layers=3", "net.=3", "", "=", "net layers 3"])
def test_no_section_key_value(load, override):
    assert refused(load, override) == (
        f"--set {override}: expected section.key=value, such as train.max_epochs=5"
    )


@pytest.mark.parametrize("value", ["0.25", "4.0", "4", "0.3"])
def test_the_limits_are_allowed(load, value):
    assert load("casia", f"net.width={value}")["net"]["width"] == float(value)


@pytest.mark.parametrize(
    "value, shown",
    [
        ("0.2499", "0.2499"),
        ("4.0001", "4.0001"),
        ("-1", "-1.0"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("-inf", "-inf"),
    ],
)
def test_out_of_range(load, value, shown):
    message = f"net.width={shown} is out of range 0.25 to 4.0"
    assert refused(load, f"net.width={value}") == message


def test_not_one_of_the_choices(load):
    message = "net.kind='shalow' is not known (did you mean 'shallow'?); one of: deep shallow"
    assert refused(load, "net.kind=shalow") == message


def test_an_unknown_overlay(load):
    message = refused(load, overlay="m.lite")
    assert "no hyperparameter file" in message and "(did you mean 'm.light'?)" in message
    assert "there are: m m.light" in message


@pytest.mark.parametrize(
    "text, message",
    [
        ("[net]\nwidht = 1.0\n", "unknown key 'net.widht' (did you mean 'net.width'?)"),
        ("[nett]\nwidth = 1.0\n", "unknown section 'nett' (did you mean 'net'?)"),
        ("[net]\nlayers = 2.5\n", "net.layers is a whole number such as 3, not 2.5"),
        ("[corpus.casia.net]\nlayers = 2.5\n", "net.layers is a whole number such as 3, not 2.5"),
        ("[net]\nlayers = 100\n", "net.layers=100 is out of range 1 to 9"),
        ("net = 3\n", "'net' is a section; give one of its keys"),
        ("[corpus.casai.net]\nlayers = 2\n", "unknown corpus 'casai' (did you mean 'casia'?)"),
        ("[corpus.casia-to-savve.net]\nlayers = 2\n", "'savve' (did you mean 'savee'?)"),
        ("[corpus]\ncasia = 2\n", "[corpus] holds tables such as [corpus.casia.train]"),
        ("corpus = 2\n", "[corpus] holds tables such as [corpus.casia.train]"),
        ("[net\n", "cannot read hyperparameters"),
        ("[net]\nlayers = \n", "cannot read hyperparameters"),
        ("[net]\nlayers = 2\nlayers = 3\n", "cannot read hyperparameters"),
    ],
)
def test_a_faulty_overlay(load, tmp_path, text, message):
    path = tmp_path / "faulty.toml"
    path.write_text(text)
    found = refused(load, overlay=str(path))
    assert message in found
    if "out of range" not in message:
        assert str(path) in found


def test_overlays_that_are_no_text(load, tmp_path):
    path = tmp_path / "picture.toml"
    path.write_bytes(b"\x89PNG\xff\xfe")
    assert f"cannot read hyperparameters {path}" in refused(load, overlay=str(path))
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    assert f"cannot read hyperparameters {folder}" in refused(load, overlay=str(folder))


def test_a_load_leaves_nothing_for_the_next(load):
    before = load("casia")
    load("casia", "net.layers=9", overlay="m.light")
    assert load("casia") == before


@pytest.mark.parametrize("checkout", [True, False])
def test_a_folder_hparams_beside_the_package_counts_in_a_checkout_only(
    checkout, tmp_path, monkeypatch
):
    (tmp_path / "hparams").mkdir()  # in site-packages: the package of that name on PyPI
    if checkout:
        (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(hparams, "__file__", str(tmp_path / "tfser" / "config" / "hparams.py"))
    inside = resources.files("tfser") / "_hparams"
    assert hparams_folder() == (tmp_path / "hparams" if checkout else inside)


# The project's own files.


@pytest.mark.parametrize("corpus", ALL_CORPORA)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_loads_for_every_corpus(model, corpus):
    hp = load_hparams(model, corpus)
    assert not {"allowed", "corpus", "search"} & set(hp)
    for overlay in OVERLAYS:
        if overlay.split(".")[0] == model:
            assert load_hparams(model, corpus, overlay=overlay).keys() == hp.keys()


@pytest.mark.parametrize("model", MODELS)
def test_limits_are_of_keys_that_exist_and_every_number_has_some(model):
    tables = tomllib.loads((Path(hparams_folder()) / f"{model}.toml").read_text())
    allowed = tables.pop("allowed")
    tables.pop("search", None)
    names = [name.split("-to-") for name in tables.pop("corpus")]
    assert set(sum(names, [])) <= set(ALL_CORPORA) and max(map(len, names), default=1) <= 2
    keys = {f"{s}.{k}": value for s, section in tables.items() for k, value in section.items()}
    assert allowed.keys() <= keys.keys()
    numbers = {k for k, v in keys.items() if isinstance(v, int | float) and type(v) is not bool}
    assert numbers <= allowed.keys()
    for name, limits in allowed.items():
        if isinstance(keys[name], str):
            assert all(isinstance(choice, str) for choice in limits)
        else:
            assert len(limits) == 2 and limits[0] < limits[1]


def test_epr_holds_the_numbers_of_the_paper():
    hp = load_hparams("epr", "emodb")
    features = hp["features"]
    # Section 2.1.1: 64 bands, windows of 25 ms every 10 ms, an FFT of 512.
    assert (features["n_bands"], features["window_seconds"]) == (64, 0.025)
    assert (features["hop_seconds"], features["n_fft"]) == (0.010, 512)
    # Section 4.1: segments of 32 frames, 335 ms.
    assert hp["segments"]["n_frames"] == 32
    length = features["window_seconds"] + (32 - 1) * features["hop_seconds"]
    assert length == pytest.approx(0.335)
    assert hp["segments"]["hop_seconds"] == 0.010
    # Adam at 0.001, times 0.8 every 2 epochs; batches of 128; patience 3; at most 20 epochs.
    # The rate is ours at full width, the staircase one of two readings; no warm-up.
    assert hp["schedule"] == {
        "initial_learning_rate": 3e-4, "decay_rate": 0.8, "decay_epochs": 2, "staircase": True,
        "warmup_epochs": 0.0,
    }  # fmt: skip
    assert load_hparams("epr", "emodb", overlay="epr.small")["schedule"] == hp["schedule"] | {
        "initial_learning_rate": 0.001
    }
    assert (hp["train"]["batch_size"], hp["train"]["patience"]) == (128, 3)
    assert hp["train"]["max_epochs"] == 20
    # VGG configuration E: no batch normalization, dropout of 0.5, full width.
    assert not hp["model"]["batch_norm"] and hp["model"]["dropout"] == 0.5
    assert hp["model"]["width_multiplier"] == 1.0
    # Ten-fold cross-validation; pEPR for five rounds (table 4); scikit-learn's 100 trees.
    assert hp["protocol"]["n_folds"] == 10
    assert hp["refinery"] == {"labels": "assisted", "rounds": 5}
    assert hp["forest"]["n_estimators"] == 100
    labels = hp["labels"]  # "all of the emotion categories"
    assert (labels["keep"], labels["group"], labels["merge"]) == ([], "", [])
    assert labels["target"] == "emotion"


def test_aae_has_the_numbers_of_the_paper():
    hp = load_hparams("aae", "iemocap")
    # Sections 5.1 and 5.2.
    assert hp["model"]["units"] == 256 and hp["model"]["dropout"] == 0.5
    assert hp["model"]["n_z"] == 100
    assert hp["train"]["learning_rate"] == 1e-4 and hp["train"]["max_epochs"] == 100
    assert hp["optimized"] == {
        "batch_norm": True, "discriminator_dropout": 0.5, "discriminator_ratio": 0.1,
        "regularization": True,
    }  # fmt: skip
    assert hp["vanilla"] == {
        "batch_norm": False, "discriminator_dropout": 0.0, "discriminator_ratio": 1.0,
        "regularization": True,
    }  # fmt: skip
    assert hp["baseline"] == {"batch_norm": False}
    assert hp["optimizer"]["schedule_decay"] == 0.004  # Dozat 2016
    assert hp["labels"]["target"] == "attributes"  # section 3.1
    assert load_hparams("aae", "emodb")["labels"]["target"] == "emotion"
    assert hp["features"]["feature_set"] == "IS13"
    assert hp["train"]["labelled_fraction"] == 1.0 and hp["train"]["unlabelled"] is False
    assert hp["labels"]["merge"] == ["excitement=happiness"]
    assert load_hparams("aae", "table")["train"]["unlabelled"] is True


def test_acnn_has_the_dropout_of_the_tested_corpus():
    """Section 4.2: 0.8 for IEMOCAP and 0.7 for MSP-IMPROV, which the paper tests alone."""
    rates = {
        (corpus, tested): load_hparams("acnn", corpus, tested=tested)["model"]["dropout"]
        for corpus, tested in (
            ("iemocap", None), ("improv", None), ("iemocap", "improv"), ("improv", "iemocap"),
            ("iemocap", "emodb"),
        )
    }  # fmt: skip
    assert list(rates.values()) == [0.8, 0.7, 0.7, 0.8, 0.8]
    # As the commands load them; the tested corpus has its own [labels].
    options = Options(model="acnn", corpus="iemocap", test_corpus="improv")
    assert load_hyperparameters(options, "iemocap")["model"]["dropout"] == 0.7
    assert load_hyperparameters(options, "iemocap")["labels"]["merge"]
    assert not load_hyperparameters(options, "improv")["labels"]["merge"]
    chosen = Options(
        model="acnn", corpus="iemocap", test_corpus="improv", overrides=("model.dropout=0.5",)
    )
    assert load_hyperparameters(chosen, "iemocap")["model"]["dropout"] == 0.5
    mine = Options(model="acnn", corpus="a.csv", test_corpus="b.tsv")
    assert load_hyperparameters(mine, "a.csv")["model"]["dropout"] == 0.8


def test_epr_per_corpus():
    casia = load_hparams("epr", "casia")
    assert casia["segments"]["hop_seconds"] == 0.030  # section 4.1
    assert casia["labels"]["group"] == "same-text"  # section 3: 7,200 of 9,600
    # Section 4.1 says 10 ms and 51,027 segments. The 480 files give 168,446 segments at 10 ms and
    # 56,310 at 30 ms: the paper contradicts itself, and 30 ms is the nearer of the two.
    assert load_hparams("epr", "savee")["segments"]["hop_seconds"] == 0.030
    stated = load_hparams("epr", "savee", overrides=["segments.hop_seconds=0.010"])
    assert stated["segments"]["hop_seconds"] == 0.010
    for corpus in ("casia", "savee"):
        hp = load_hparams("epr", corpus)
        assert hp["model"]["width_multiplier"] == 1.0 and hp["train"]["max_epochs"] == 20


@pytest.mark.parametrize(
    "override",
    ["model.dropout=1.0", "model.width_multiplier=0", "train.batch_size=0", "train.patience=0",
     "refinery.rounds=0", "refinery.labels=sepr", "schedule.initial_learning_rate=0",
     "segments.n_frames=31", "features.n_bands=31", "forest.profiles=outer", "protocol.n_folds=1"],
)  # fmt: skip
def test_epr_refuses(override):
    with pytest.raises(UsageError):
        load_hparams("epr", "toy", overrides=[override])


@pytest.mark.parametrize(
    "value, text",
    [(True, "true"), (3, "3"), (0.5, "0.5"), (float("inf"), "inf"), ('a"ß', '"a\\"ß"'),
     ([1, ["a", False]], '[1, ["a", false]]'), ([], "[]")],
)  # fmt: skip
def test_a_value_in_toml(value, text):
    assert hparams.format_toml(value) == text
    assert tomllib.loads(f"value = {text}") == {"value": value}


def test_parameters_as_flags_of_set():
    parameters = {"net.width": 2.0, "net.kind": "deep"}
    assert hparams.format_overrides(parameters) == ["net.width=2.0", 'net.kind="deep"']


def test_an_overlay_of_what_has_changed():
    before = {"net": {"width": 1.0, "kind": "deep"}, "data": {"n": 1}, "train": {"epochs": 5}}
    after = {"net": {"width": 2.0, "kind": "deep"}, "data": {"n": 1}, "train": {"epochs": 6}}
    assert hparams.format_overlay(before, after) == "[net]\nwidth = 2.0\n\n[train]\nepochs = 6\n"
    both = {**before, "net": {"width": 2.0, "kind": "flat"}}
    assert hparams.format_overlay(before, both) == '[net]\nwidth = 2.0\nkind = "flat"\n'


def test_a_model_without_limits_or_corpora_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "m.toml").write_text("[net]\nwidth = 1.0\n[corpus]\n")
    (tmp_path / "m.x.toml").write_text(
        "[corpus.mine.net]\nwidth = 2\n[corpus.table.net]\nwidth = 3"
    )
    (tmp_path / "notes.md").touch()
    monkeypatch.setattr(hparams, "hparams_folder", lambda: tmp_path)
    assert load_hparams("m", "mine") == {"net": {"width": 1.0}}
    # Without `corpora` the names of an overlay's corpora are not checked.
    assert load_hparams("m", "mine", overlay="m.x") == {"net": {"width": 2.0}}
    known = {"overlay": "m.x", "corpora": ["mine"]}
    assert load_hparams("m", "table", **known) == {"net": {"width": 3.0}}
    assert hparams.read_files("m", "mine", None) == ({"net": {"width": 1.0}}, {}, {})
    (tmp_path / "faulty.toml").write_text("[net]\nwidth = 1.0\n[corpus.mine.net]\nwide = 1\n")
    with pytest.raises(UsageError) as caught:
        load_hparams("faulty", "mine")
    assert str(caught.value) == "[corpus.mine]: unknown key 'net.wide' (did you mean 'net.width'?)"
    (tmp_path / "faulty.toml").unlink()
    with pytest.raises(UsageError) as caught:
        load_hparams("n", "mine")
    assert str(caught.value) == (f"no hyperparameter file {tmp_path / 'n.toml'}; there are: m m.x")
    with pytest.raises(UsageError) as caught:
        load_hparams("m", "mine", overlay="m.x", corpora=["emodb"])
    assert str(caught.value) == "m.x: unknown corpus 'mine'"
    with pytest.raises(UsageError) as caught:
        load_hparams("m", "mine", overlay="m.y")
    assert str(caught.value) == (
        f"no hyperparameter file {tmp_path / 'm.y.toml'} (did you mean 'm.x'?); there are: m m.x"
    )


@pytest.mark.parametrize(
    "text, found",
    [
        ("# tfser-search: began on a, b.csv, loso, by tpe, seed 0\n[train]\n", "a, b.csv/loso"),
        ("[train]\n", ""),
        ("", ""),
    ],
)
def test_an_overlay_says_what_its_search_was_on(tmp_path, text, found):
    file = tmp_path / "best.toml"
    file.write_text(text)
    assert hparams.searched_task(str(file)) == found
    assert hparams.searched_task("epr.small") == hparams.searched_task(None) == ""
