"""[search] of a file: which specs are taken, and what is said of the others."""

import pytest

from tfser.config import hparams, search_space
from tfser.errors import UsageError

MODEL = """\
[net]
width = 1.0
layers = 2
norm = false
kind = "deep"
names = []
[train]
rate = 0.1
dev_fraction = 0.1
[labels]
target = "emotion"
[protocol]
n_folds = 5

[corpus]

[allowed]
"net.width" = [0.25, 4.0]
"net.layers" = [1, 9]
"net.kind" = ["deep", "shallow"]
"""
FORMS = (
    '["choice", value, ..], ["uniform", low, high], ["loguniform", low, high], '
    '["quniform", low, high, step]'
)
SUCH_AS = 'has no [search] table, such as "train.learning_rate" = ["loguniform", 1e-5, 1e-3]'


@pytest.fixture
def load(tmp_path, monkeypatch):
    """The space that an overlay of the model "m" has, by the lines of its [search]."""
    (tmp_path / "m.toml").write_text(MODEL)
    monkeypatch.setattr(hparams, "hparams_folder", lambda: tmp_path)
    overlay = tmp_path / "overlay.toml"

    def call(*lines, overrides=()):
        overlay.write_text("\n".join(["[search]", *lines, ""]))
        return search_space.load_search_space("m", overlay=str(overlay), overrides=overrides)

    return call


@pytest.mark.parametrize(
    "name, spec",
    [
        ("net.width", ["uniform", 0.25, 4]),
        ("net.width", ["loguniform", 0.25, 4.0]),
        ("train.rate", ["loguniform", 1e-9, 1e9]),  # not in [allowed]
        ("net.width", ["quniform", 0.5, 2.0, 0.25]),
        ("net.width", ["quniform", 0.5, 2.0, 1.5]),  # both ends alone
        ("net.layers", ["quniform", 1, 9, 2]),
        ("net.layers", ["choice", 9]),
        ("net.kind", ["choice", "deep", "shallow"]),
        ("net.norm", ["choice", True, False]),
        ("net.names", ["choice", [], ["a"]]),
    ],
)
def test_a_spec(load, name, spec):
    assert load(f'"{name}" = {hparams.format_toml(spec)}') == {name: spec}


@pytest.mark.parametrize(
    "line, message",
    [
        ('width = ["choice", 1.0]', "width: expected section.key, such as train.max_epochs"),
        ('net.width = ["choice", 1.0]', 'net is a section; quote the whole name: "net.width"'),
        ("net = {}", 'net is a section; quote the whole name: "net.key"'),
        ('"net.width" = 3', f"net.width: 3 is none of {FORMS}"),
        ('"net.width" = []', f"net.width: [] is none of {FORMS}"),
        ('"net.width" = [3, 4]', f"net.width: [3, 4] is none of {FORMS}"),
        ('"net.width" = ["unifrom", 1, 2]',
         f"net.width: ['unifrom', 1, 2] is none of {FORMS} (did you mean 'uniform'?)"),
        ('"net.width" = ["uniform", 1]',
         """net.width: expected ["uniform", low, high], not ['uniform', 1]"""),
        ('"net.width" = ["uniform", 1, 2, 3]',
         """net.width: expected ["uniform", low, high], not ['uniform', 1, 2, 3]"""),
        ('"net.width" = ["quniform", 1, 2]',
         """net.width: expected ["quniform", low, high, step], not ['quniform', 1, 2]"""),
        ('"net.width" = ["uniform", 1, nan]',
         """net.width: expected ["uniform", low, high], not ['uniform', 1, nan]"""),
        ('"net.width" = ["uniform", 1, "2"]',
         """net.width: expected ["uniform", low, high], not ['uniform', 1, '2']"""),
        ('"net.width" = ["uniform", true, 2]',
         """net.width: expected ["uniform", low, high], not ['uniform', True, 2]"""),
        ('"net.width" = ["uniform", 1, 1.0]',
         "net.width: 1 is not below 1.0, nothing is between them"),
        ('"train.rate" = ["loguniform", 0, 1]',
         "train.rate: loguniform needs bounds above 0, not 0"),
        ('"net.width" = ["quniform", 1, 2, 0]', "net.width: a step of 0 leaves no two values"),
        ('"net.width" = ["quniform", 1, 2, -1]', "net.width: a step of -1 leaves no two values"),
        ('"net.width" = ["quniform", 1, 2, 1.5]', "net.width: a step of 1.5 leaves no two values"),
        ('"net.width" = ["uniform", 0, 2]', "net.width=0.0 is out of range 0.25 to 4.0"),
        ('"net.width" = ["uniform", 1, 5]', "net.width=5.0 is out of range 0.25 to 4.0"),
        ('"net.layers" = ["uniform", 1, 5]',
         "net.layers is a whole number: use quniform or choice"),
        ('"net.layers" = ["quniform", 1, 5, 2.0]',
         "net.layers: the step of a whole number is one, not 2.0"),
        ('"net.width" = ["choice"]', "net.width: a choice of nothing"),
        ('"net.width" = ["choice", 1, 1.0]', "net.width: 1.0 is there twice"),
        ('"net.width" = ["choice", {valu = 3}]',
         "net.width: {'valu': 3} has no value, such as value = 1"),
        ('"net.width" = ["choice", 9]', "net.width=9.0 is out of range 0.25 to 4.0"),
    ],
)  # fmt: skip
def test_a_spec_that_is_refused(load, line, message):
    with pytest.raises(UsageError) as caught:
        load(line)
    assert str(caught.value) == f"[search] {message}"


@pytest.mark.parametrize(
    "line, message",
    [
        ('"net.norm" = ["uniform", 0, 1]', "net.norm is true or false such as False, not 0"),
        ('"net.layers" = ["choice", 2.5]', "net.layers is a whole number such as 2, not 2.5"),
        ('"net.widht" = ["choice", 1]', "unknown key 'net.widht' (did you mean 'net.width'?)"),
        ('"net.width.x" = ["choice", 1]', "unknown key 'net.width.x' (did you mean 'net.width'?)"),
    ],
)
def test_a_spec_that_the_key_does_not_take(load, line, message):
    with pytest.raises(UsageError) as caught:
        load(line)
    assert str(caught.value) == f"[search]: {message}"


@pytest.mark.parametrize("name", ["labels.target", "protocol.n_folds", "train.dev_fraction"])
def test_the_question_is_not_searched(load, name):
    with pytest.raises(UsageError) as caught:
        load(f'"{name}" = ["choice", 1]')
    assert str(caught.value) == (
        f"[search] {name}: trials would be scored on other utterances; use --set {name}=.."
    )


def test_no_space(load, tmp_path):
    with pytest.raises(UsageError) as caught:
        load()
    assert str(caught.value) == f"nothing to search: {tmp_path / 'overlay.toml'} {SUCH_AS}"
    with pytest.raises(UsageError) as caught:
        search_space.load_search_space("m")
    assert str(caught.value) == f"nothing to search: hparams/m.toml {SUCH_AS}"
    (tmp_path / "scalar.toml").write_text("search = 3\n")
    with pytest.raises(UsageError) as caught:
        search_space.load_search_space("m", overlay="scalar")
    assert str(caught.value) == "scalar: [search] is a table of names and what to choose from"


WIDTHS = '"net.width" = ["uniform", 1, 2]'
TWO_OPTIONS = """"net.kind" = ["choice", {value = "deep", "net.layers" = ["choice", 2, 3]},
    {value = "shallow", "net.layers" = ["quniform", 1, 5, 1]}]"""
TWO_KEYS = """"net.kind" = ["choice", "deep",
    {value = "shallow", "net.width" = ["choice", 1], "net.layers" = ["choice", 2]}]"""


def test_options_may_have_the_same_key(load):
    space = load(TWO_OPTIONS, WIDTHS)
    assert search_space.flatten_space(space) == {
        "net.kind": ["choice", "deep", "shallow"],
        "net.layers": ["choice", 2, 3],  # of the first
        "net.width": ["uniform", 1, 2],
    }


@pytest.mark.parametrize(
    "lines, name, twice",
    [
        ((WIDTHS, TWO_KEYS), "net.kind", "net.width"),
        ((WIDTHS, '"train.rate" = ["choice", 0.1]', TWO_KEYS), "net.kind", "net.width"),
        ((TWO_KEYS, WIDTHS), "net.width", "net.width"),
        ((TWO_OPTIONS, TWO_KEYS.replace("kind", "norm").replace('"shallow"', "true")
          .replace('"deep"', "false")), "net.norm", "net.layers"),
        ((WIDTHS, '"net.layers" = ["choice", 2]', TWO_KEYS), "net.kind", "net.layers"),
        (('"net.kind" = ["choice", {value = "deep", "net.kind" = ["choice", "deep"]}]',),
         "net.kind", "net.kind"),
    ],
)  # fmt: skip
def test_a_key_that_would_be_chosen_twice(load, lines, name, twice):
    with pytest.raises(UsageError) as caught:
        load(*lines)
    assert str(caught.value) == f"[search] {name}: {twice} would be chosen twice at once"


@pytest.mark.parametrize(
    "override, name", [("net.kind=deep", "net.kind"), ("net.layers = 2", "net.layers")]
)
def test_a_key_that_is_also_set(load, override, name):
    with pytest.raises(UsageError) as caught:
        load(TWO_OPTIONS, overrides=["train.rate=0.5", override])
    assert str(caught.value) == f"--set {override}: [search] chooses {name}; leave one of them out"
    assert list(load(TWO_OPTIONS, overrides=["train.rate=0.5"])) == ["net.kind"]


def test_the_value_and_space_of_an_option():
    option = {"value": 1, "net.width": ["choice", 1]}
    assert search_space.option_value(option) == search_space.option_value(1) == 1
    assert search_space.option_space(option) == {"net.width": ["choice", 1]}
    assert search_space.option_space(1) == {}
