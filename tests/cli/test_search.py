"""tfser-search: the space, who proposes, what a trial is scored on, and how a search goes on."""

import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from forked import end, start_command
from running import REPOSITORY, called, run_training_here

from tfser.cli import one_search, search, train
from tfser.config import hparams, search_space
from tfser.config.hparams import format_overlay, format_toml, hparams_folder, load_hparams
from tfser.corpora import toy
from tfser.corpora.utterance import Utterance
from tfser.errors import ConflictError, DataError, UsageError
from tfser.evaluation import cross_validation, recorded_runs
from tfser.evaluation.splits import Split, select_evaluated_part
from tfser.models.aae import splits as aae
from tfser.models.acnn import splits as acnn
from tfser.models.epr import splits as epr
from tfser.models.svm import experiment
from tfser.plots.figures import draw_trials
from tfser.search import summary as outcomes
from tfser.search import trials as search_trials
from tfser.search.sampler import Sampler, decode_point
from tfser.search.summary import draw_search, format_outcome, format_summary, write_event
from tfser.storage import atomic_files, run_directory

CONDITIONAL = {
    "train.learning_rate": ["loguniform", 1e-5, 1e-2],
    "model.units": ["quniform", 64, 500, 64],
    "model.system": [
        "choice",
        "baseline",
        {"value": "vanilla", "model.n_z": ["choice", 10, 20]},
        {"value": "optimized", "model.n_z": ["quniform", 50, 60, 5],
         "optimized.discriminator_ratio": ["uniform", 0.1, 1.0]},
    ],
}  # fmt: skip


def error_line(answer) -> str:
    """The one line that says what is wrong, the last on stderr."""
    [line] = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert line == answer.err.splitlines()[-1] and "Traceback" not in answer.err
    assert not answer.out
    return line


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """One cache of features for all runs."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFSER_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def few(cache, tmp_path_factory):
    """A table of 12 utterances of toy: 3 speakers, 2 emotions."""
    toy.make(cache / "toy")
    path = tmp_path_factory.mktemp("table") / "few.csv"
    lines = [
        f"{cache}/toy/{toy.VERSION}/{speaker}-{emotion}-{take}.wav,{speaker},{emotion}"
        for speaker in ("f1", "f2", "m1")
        for emotion in ("anger", "sadness")
        for take in ("01", "02")
    ]
    path.write_text("\n".join(["file,speaker,emotion", *lines]) + "\n")
    return path


# The space.


def space_of(tmp_path, text, model="aae", overrides=()):
    path = tmp_path / "space.toml"
    path.write_text(text)
    return search_space.load_search_space(model, overlay=str(path), overrides=overrides)


@pytest.mark.parametrize("model", ["aae", "acnn", "epr", "svm"])
def test_the_space_of_a_model_is_in_no_run(model, tmp_path, monkeypatch):
    space = search_space.load_search_space(model)
    assert space and space == search_space.load_search_space(model, overlay=None)
    with_space = {corpus: load_hparams(model, corpus) for corpus in ("toy", "emodb", "table")}
    assert all("search" not in hp for hp in with_space.values())
    text = (Path(hparams_folder()) / f"{model}.toml").read_text(encoding="utf-8")
    without, n = re.subn(r"(?ms)^\[search\].*?(?=^\[)", "", text)
    assert n == 1
    (tmp_path / f"{model}.toml").write_text(without, encoding="utf-8")
    monkeypatch.setattr(hparams, "hparams_folder", lambda: tmp_path)
    assert with_space == {corpus: load_hparams(model, corpus) for corpus in with_space}
    with pytest.raises(UsageError, match=r"nothing to search: .* has no \[search\] table"):
        search_space.load_search_space(model)


def test_the_overlay_s_space_replaces_the_model_s(tmp_path):
    text = '[train]\nmax_epochs = 3\n[search]\n"model.units" = ["choice", 1, 2]\n'
    assert space_of(tmp_path, text) == {"model.units": ["choice", 1, 2]}
    hp = load_hparams("aae", "toy", overlay=str(tmp_path / "space.toml"))
    assert hp["train"]["max_epochs"] == 3 and "search" not in hp
    assert search_space.load_search_space(
        "epr", overlay="epr.small"
    ) == search_space.load_search_space("epr")


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "model.units: [] is none of"),
        ('"choice"', "a choice of nothing"),
        ('"chioce", 1', "[\"quniform\", low, high, step] (did you mean 'choice'?)"),
        ("3, 4", "[3, 4] is none of"),
        ('"choice", 1, 2, 1', "1 is there twice"),
        ('"choice", 1, 0', "model.units=0 is out of range 1 to 65536"),
        ('"choice", 1, 2.5', "model.units is a whole number such as 256, not 2.5"),
        ('"choice", {valu = 3}', "{'valu': 3} has no value"),
        ('"quniform", 64, 512', 'expected ["quniform", low, high, step]'),
        ('"quniform", 64, 512, 0', "a step of 0 leaves no two values"),
        ('"quniform", 64, 512, 500', "a step of 500 leaves no two values"),
        ('"quniform", 64, 512, 0.5', "the step of a whole number is one, not 0.5"),
        ('"quniform", 512, 64, 8', "512 is not below 64"),
        ('"quniform", 0, 64, 8', "out of range 1 to 65536"),
        ('"uniform", 64, 512', "is a whole number: use quniform or choice"),
        ('"loguniform", 64, 512', "is a whole number: use quniform or choice"),
        ('"uniform", 64, nan', 'expected ["uniform", low, high]'),
        ('"uniform", 64, inf', 'expected ["uniform", low, high]'),
        ('"uniform", true, false', 'expected ["uniform", low, high]'),
        ('"choice", {value = 1, "model.units" = ["choice", 2, 3]}', "chosen twice at once"),
        ('"choice", {value = 1, "model.n_z" = ["choice"]}', "model.n_z: a choice of nothing"),
    ],
)
def test_a_spec_that_is_none(tmp_path, text, message):
    with pytest.raises(UsageError) as caught:
        space_of(tmp_path, f'[search]\n"model.units" = [{text}]\n')
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("[search]\n", "nothing to search"),
        ("search = 3\n", "[search] is a table"),
        ('[search]\nmodel.units = ["choice", 1]\n', 'quote the whole name: "model.units"'),
        ('[search]\n"units" = ["choice", 1]\n', "expected section.key"),
        ('[search]\n"model.unit" = ["choice", 1]\n', "(did you mean 'model.units'?)"),
        ('[search]\n"modl.units" = ["choice", 1]\n', "(did you mean 'model'?)"),
        ('[search]\n"model.units" = 3\n', "3 is none of"),
        ('[search]\n"model.level" = ["uniform", 1, 2]\n', "model.level is a string"),
        ('[search]\n"model.level" = ["choice", "utterence"]\n', "(did you mean 'utterance'?)"),
        ('[search]\n"train.learning_rate" = ["loguniform", 0, 1]\n', "needs bounds above 0"),
        ('[search]\n"train.learning_rate" = ["uniform", 0.1, 2]\n', "out of range 1e-08 to 1.0"),
        ('[search]\n"labels.target" = ["choice", "valence"]\n', "scored on other utterances"),
        (
            '[search]\n"model.n_z" = ["choice", 1]\n'
            '"model.units" = ["choice", {value = 1, "model.n_z" = ["choice", 2]}]\n',
            "model.n_z would be chosen twice at once",
        ),
    ],
)
def test_a_space_that_is_none(tmp_path, text, message):
    with pytest.raises(UsageError) as caught:
        space_of(tmp_path, text)
    assert message in str(caught.value)


def test_a_key_that_is_set_and_searched():
    for override in ("svm.c=1.0", "svm.c = 1"):
        with pytest.raises(UsageError, match=r"--set .*: \[search\] chooses svm.c; leave one"):
            search_space.load_search_space("svm", overrides=[override])
    assert search_space.load_search_space("svm", overrides=["features.normalize=speaker"])


def test_a_conditional_space(tmp_path):
    text = """[search]
"train.learning_rate" = ["loguniform", 1e-5, 1e-2]
"model.units" = ["quniform", 64, 500, 64]
"model.system" = ["choice", "baseline",
    {value = "vanilla", "model.n_z" = ["choice", 10, 20]},
    {value = "optimized", "model.n_z" = ["quniform", 50, 60, 5], RATIO = ["uniform", 0.1, 1.0]}]
""".replace("RATIO", '"optimized.discriminator_ratio"')
    assert space_of(tmp_path, text) == CONDITIONAL
    assert search_space.flatten_space(CONDITIONAL) == {
        "train.learning_rate": ["loguniform", 1e-5, 1e-2],
        "model.units": ["quniform", 64, 500, 64],
        "model.system": ["choice", "baseline", "vanilla", "optimized"],
        "model.n_z": ["choice", 10, 20],
        "optimized.discriminator_ratio": ["uniform", 0.1, 1.0],
    }
    with pytest.raises(UsageError, match=r"\[search\] chooses optimized.discriminator_ratio"):
        space_of(tmp_path, text, overrides=["optimized.discriminator_ratio=0.5"])


def test_points_as_parameters():
    """By hand: the number of steps of a quniform, the number and the space of an option."""
    found = decode_point(
        {
            "a.int": ["quniform", 64, 500, 64],
            "a.float": ["quniform", 0.1, 0.7, 0.1],
            "a.rate": ["loguniform", 0.1, 0.7],
            "a.names": ["choice", ["x"], {"value": "y", "b.c": ["uniform", 0, 1]}],
        },
        {
            "a.int": 2,
            "a.float": 2,
            "a.rate": 0.7000000001,
            "a.names": (1, {"b.c": np.float64(0.5)}),
        },
    )
    assert found == {"a.int": 192, "a.float": 0.3, "a.rate": 0.7, "a.names": "y", "b.c": 0.5}
    types = {name: type(value) for name, value in found.items()}
    assert types == {"a.int": int, "a.float": float, "a.rate": float, "a.names": str, "b.c": float}


# Who proposes.


def told(space, algorithm, n, score, seed=0):
    proposals, found, scores = Sampler(space, algorithm, seed), [], {}
    for k in range(n):
        found.append(proposals.propose(scores))
        scores[k] = score(found[-1])
    return found


def test_what_is_proposed_at_random():
    found = told(CONDITIONAL, "random", 600, lambda _: None)
    units = [p["model.units"] for p in found]
    # 64, 128, .. 448: as far as the steps reach, the ends as likely as the rest.
    assert set(units) == set(range(64, 500, 64)) and all(type(u) is int for u in units)
    assert min(np.bincount(units)[64::64]) > 600 / 7 * 0.7
    logs = np.log10([p["train.learning_rate"] for p in found])
    assert -5 <= logs.min() and logs.max() <= -2 and abs(np.mean(logs) + 3.5) < 0.15
    keys = {"train.learning_rate", "model.units", "model.system"}
    more = {
        "baseline": set(),
        "vanilla": {"model.n_z"},
        "optimized": {"model.n_z", "optimized.discriminator_ratio"},
    }
    for p in found:
        assert p.keys() == keys | more[p["model.system"]]
    assert {p["model.n_z"] for p in found if p["model.system"] == "vanilla"} == {10, 20}
    assert {p["model.n_z"] for p in found if p["model.system"] == "optimized"} == {50, 55, 60}


@pytest.mark.parametrize("algorithm", ["tpe", "anneal"])
def test_good_scores_are_followed(algorithm):
    space = {"svm.c": ["loguniform", 1e-4, 1e4]}

    def distance(p):
        return abs(np.log10(p["svm.c"]) - 2)

    def far(algorithm, score):
        return np.mean([distance(p) for p in told(space, algorithm, 40, score)[10:]])

    # Every fourth one fails, and its point is no good one.
    numbers = iter(range(1000))
    followed = far(algorithm, lambda p: None if next(numbers) % 4 == 0 else -distance(p))
    assert followed < 0.6 * far("random", lambda _: None)


def test_other_seeds_propose_others():
    first, second = (told(CONDITIONAL, "tpe", 8, lambda p: p["model.units"], s) for s in (0, 1))
    assert first != second
    assert first == told(CONDITIONAL, "tpe", 8, lambda p: p["model.units"], 0)


@pytest.mark.parametrize("algorithm", ["tpe", "random", "anneal"])
def test_a_proposal_is_decided_by_the_scores_that_were_known(algorithm):
    """Told in any order; of the trials under way nothing is known but that they were proposed."""
    scores = {n: (n * 7 % 5) / 5 if n != 3 else None for n in range(12)}

    def proposed(*orders):
        proposals = Sampler(CONDITIONAL, algorithm, 0)
        return [proposals.propose({n: scores[n] for n in order}) for order in orders]

    before = [range(n) for n in range(11)]
    *first, plain = proposed(*before, range(11))
    assert proposed(*before, reversed(range(11))) == [*first, plain]
    [*_, fewer] = proposed(*before, range(10))
    *others, same = proposed(*[[] for _ in range(11)], range(10))
    if algorithm == "random":
        assert fewer == plain and [*others, same] == [*first, plain]
    else:
        assert fewer != plain and others[8:] != first[8:] and same != fewer


# A search, with stubs for its children.


def stub(monkeypatch, score, dies_at=()):
    """Trials whose score is a function of their parameters; those of `dies_at` stop the search."""
    calls, dies_at = [], set(dies_at)

    def child(arguments, folder, stops=None):
        sets = [b for a, b in zip(arguments, arguments[1:], strict=False) if a == "--set"]
        parameters = {s.partition("=")[0]: s.partition("=")[2] for s in sets}
        calls.append((folder.name, arguments))
        folder.mkdir(parents=True, exist_ok=True)
        if "--evaluate" not in arguments:
            return 0, "SVM ...\nRESULT model=svm uar=0.5000\n", ""
        assert arguments[arguments.index("--evaluate") + 1] == "dev"
        if (n := int(folder.name[-3:])) in dies_at:
            dies_at.remove(n)
            raise KeyboardInterrupt
        found = score(n, parameters)
        if isinstance(found, str):
            return 1, "", found
        (folder / "fold").mkdir()
        (folder / "fold" / "model.keras").touch()
        (folder / "scores.json").write_text(json.dumps({"uar": found, "wa": 1.0}))
        return 0, "", ""

    monkeypatch.setattr(one_search, "run_training", child)
    monkeypatch.setattr(search_trials, "run_training", child)
    monkeypatch.setattr(outcomes, "draw_search", lambda *_: None)
    return calls


def on_toy(folder, *arguments):
    command = ["--model", "svm", "--corpus", "toy", "--protocol", "loso", "--workdir", folder]
    return called(search.main, *command, *arguments)


def trials_of(folder):
    lines = (folder / "trials.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(x).items() if k != "seconds"} for x in lines]


def good(n, parameters):
    return (
        round(0.9 - abs(np.log10(float(parameters["svm.c"]))) / 10, 6)
        if n != 2
        else "epoch 1 gave nan"
    )


@pytest.mark.parametrize("algorithm", ["tpe", "random", "anneal"])
def test_a_search_that_is_killed_goes_on_as_if_it_were_not(algorithm, tmp_path, monkeypatch):
    stub(monkeypatch, good)
    answer = on_toy(tmp_path / "a", "--evals", 9, "--algorithm", algorithm, "--seed", 5)
    assert answer.code == 0, answer.err
    stub(monkeypatch, good, dies_at=(0, 3, 7))
    for code in (130, 130, 130, 0):
        again = on_toy(tmp_path / "b", "--evals", 9, "--algorithm", algorithm, "--seed", 5)
        assert again.code == code, again.err
    assert trials_of(tmp_path / "a") == trials_of(tmp_path / "b")
    assert [x for x in again.out.splitlines() if "/" not in x] == [
        x for x in answer.out.splitlines() if "/" not in x
    ]
    best, other = ((tmp_path / x / "best.toml").read_text() for x in "ab")
    assert best == other


def test_what_a_search_writes_and_prints(tmp_path, monkeypatch):
    calls = stub(monkeypatch, good)
    folder = tmp_path / "search"
    answer = on_toy(folder, "--evals", 4, "--set", "features.normalize=speaker", "--max-bad", 1)
    assert answer.code == 0, answer.err
    trials = trials_of(folder)
    assert [t["trial"] for t in trials] == [0, 1, 2, 3]
    assert [t["status"] for t in trials] == ["ok", "ok", "failed", "ok"]
    failed = trials[2]
    assert failed["score"] is None and failed["reason"] == "epoch 1 gave nan"
    best = max((t for t in trials if t["score"]), key=lambda t: t["score"])
    c = best["parameters"]["svm.c"]
    first, second, third, last = answer.out.splitlines()
    assert first == (
        f"best of 4 trials (1 failed): trial {best['trial']}: dev UAR {100 * best['score']:.1f} %"
    )
    assert second == f"svm.c = {c!r}" and str(folder) in third
    assert last == "RESULT model=svm uar=0.5000"
    # The test part was looked at once, by the best setting.
    assert [name for name, _ in calls] == [
        "trial-000",
        "trial-001",
        "trial-002",
        "trial-003",
        "best",
    ]
    _, arguments = calls[-1]
    assert arguments[arguments.index("--max-bad") + 1] == "1" and f"svm.c={c!r}" in arguments
    assert not list(folder.rglob("*.keras"))
    # The file alone is all of it.
    found = load_hparams("svm", "toy", overlay=str(folder / "best.toml"))
    overrides = ["features.normalize=speaker", f"svm.c={c!r}"]
    assert found == load_hparams("svm", "toy", overrides=overrides)
    settings = atomic_files.read_json(folder / "hparams.json")
    assert settings["search"] == {"svm.c": ["loguniform", 1e-4, 10.0]}
    assert "evals" not in settings and settings["algorithm"] == "tpe"
    [process] = atomic_files.read_json(folder / "environment.json")["processes"]
    assert process["versions"]["hyperopt"]


def test_trials_have_fewer_seeds_than_the_test_of_the_best(tmp_path, monkeypatch):
    calls = stub(monkeypatch, lambda n, _: 0.5)
    folder = tmp_path / "s"
    command = ["--model", "svm", "--corpus", "toy", "--seeds", 3, "--evals", 2]
    answer = called(search.main, *command, "--trial-seeds", 1, "--workdir", folder)
    assert answer.code == 0, answer.err
    seeds = {name: words[words.index("--seeds") + 1] for name, words in calls}
    assert seeds == {"trial-000": "1", "trial-001": "1", "best": "3"}
    assert atomic_files.read_json(folder / "hparams.json")["trial_seeds"] == 1
    answer = called(search.main, *command, "--workdir", folder)
    assert answer.code == 4 and "trial_seeds: 1 -> None" in error_line(answer)
    answer = called(search.main, *command, "--workdir", tmp_path / "all")
    assert {words[words.index("--seeds") + 1] for _, words in calls[3:]} == {"3"}
    assert "trial_seeds" not in atomic_files.read_json(tmp_path / "all" / "hparams.json")


def test_a_search_goes_on_with_the_groups_of_its_first_trials_alone(tmp_path, monkeypatch):
    stub(monkeypatch, good, dies_at=[1])
    folder = tmp_path / "s"
    assert on_toy(folder, "--evals", 2, "--folds", 3).code == 130
    settings = atomic_files.read_json(folder / "hparams.json")
    del settings["speaker_groups"]  # as of an earlier version
    atomic_files.write_json(folder / "hparams.json", settings)
    answer = on_toy(folder, "--evals", 2, "--folds", 3)
    assert answer.code == 4
    assert "speaker_groups: None -> even in gender and class" in error_line(answer)


def test_more_trials_are_added_until_the_test_part_was_seen(tmp_path, monkeypatch):
    calls = stub(monkeypatch, good, dies_at=[2])
    folder = tmp_path / "search"
    assert on_toy(folder, "--evals", 3).code == 130
    assert on_toy(folder, "--evals", 4).code == 0
    assert [name for name, _ in calls].count("trial-000") == 1
    answer = on_toy(folder, "--evals", 5)
    assert answer.code == 4 and "after a look at the test part" in error_line(answer)
    for flags in (["--algorithm", "random"], ["--seed", 1], ["--protocol", "paper"]):
        answer = on_toy(folder, "--evals", 4, *flags)
        assert answer.code == 4 and "holds a run of other settings" in error_line(answer)


def test_all_trials_fail(tmp_path, monkeypatch):
    stub(monkeypatch, lambda n, _: f"no {n}; do so")
    answer = on_toy(tmp_path / "s", "--evals", 3)
    assert answer.code == 1
    assert "all 3 trials failed, the last one: no 2; do so; correct [search]" in error_line(answer)


def test_a_score_that_is_not_a_number(tmp_path, monkeypatch):
    stub(monkeypatch, lambda n, _: float("nan") if n else 0.5)
    assert on_toy(tmp_path / "s", "--evals", 2).code == 0
    _, trial = trials_of(tmp_path / "s")
    assert (trial["status"], trial["reason"]) == ("failed", "the dev UAR is nan")


def test_a_setting_that_comes_again_is_not_trained_again(tmp_path, monkeypatch):
    overlay = tmp_path / "two.toml"
    overlay.write_text('[search]\n"svm.c" = ["choice", 0.1, 1.0]\n')
    calls = stub(monkeypatch, lambda n, p: float(p["svm.c"]) / 2)
    answer = on_toy(tmp_path / "s", "--evals", 6, "--hparams", overlay)
    assert answer.code == 0, answer.err
    trials = trials_of(tmp_path / "s")
    assert [t["score"] for t in trials] == [t["parameters"]["svm.c"] / 2 for t in trials]
    assert len(calls) == 2 + 1
    assert re.search(r"as trial \d, of the same parameters", trials[-1]["reason"])


def test_trials_that_do_not_belong(tmp_path, monkeypatch):
    stub(monkeypatch, good, dies_at=[2])
    folder = tmp_path / "s"
    assert on_toy(folder, "--evals", 3).code == 130
    path = folder / "trials.jsonl"
    text = path.read_text()
    path.write_text(text[:-20])
    answer = on_toy(folder, "--evals", 3)
    assert answer.code == 4 and "trials.jsonl is damaged" in error_line(answer)
    path.write_text(re.sub(r'"svm.c": [\d.e-]+', '"svm.c": 0.5', text))
    answer = on_toy(folder, "--evals", 3)
    assert answer.code == 4 and "is not what Hyperopt proposes" in error_line(answer)


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["--evals", 0], 2, "--evals 0: must be 1 or more"),
        (["--evals", "many"], 2, "invalid int value: 'many'"),
        (["--algorithm", "tpee"], 2, "invalid choice: 'tpee'"),
        (["--eval", 3], 2, "unknown argument --eval (did you mean '--evals'?)"),
        (["--model", "svn"], 2, "unknown model 'svn' (did you mean 'svm'?)"),
        (["--set", "svm.c=1.0"], 2, "[search] chooses svm.c; leave one of them out"),
        (["--set", "svm.trains=1"], 2, "(did you mean 'svm.trains_on_dev'?)"),
        (["--corpus", "toi"], 2, "no corpus 'toi' (did you mean 'toy'?)"),
        (["--seeds", 0], 2, "--seeds 0: must be 1 or more"),
        (["--trial-seeds", 0], 2, "--trial-seeds 0: must be 1 to --seeds"),
        (["--trial-seeds", 2], 2, "--trial-seeds 2: must be 1 to --seeds"),
        (["--stop-hopeless"], 2, "--stop-hopeless: svm has no dev score before its trial ends"),
    ],
)
def test_bad_commands(tmp_path, arguments, code, message):
    answer = on_toy(tmp_path / "s", *arguments)
    assert answer.code == code and message in error_line(answer)
    assert not (tmp_path / "s").exists()


def test_help_answers_without_what_is_slow():
    script = (
        "import sys; from tfser.cli import search\n"
        "try: search.main(['--help'])\n"
        "except SystemExit: pass\n"
        "slow = {'tensorflow', 'hyperopt', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for flag in (
        "--evals",
        "--algorithm",
        "--trial-seeds",
        "--stop-hopeless",
        "--workdir",
        "--model",
        "--set",
    ):
        assert re.search(rf"^  {flag} ", done.stdout, re.MULTILINE)
    assert "--evaluate" not in done.stdout


# The median rule.


def test_the_median_rule_by_hand():
    before = [{"a": x, "b": x, "c": x} for x in (0.1, 0.2, 0.3, 0.4, 0.5)]  # median 0.3
    assert search_trials.is_hopeless({"a": 0.29}, before)
    assert not search_trials.is_hopeless({"a": 0.3}, before)
    assert search_trials.is_hopeless({"a": 0.4, "b": 0.1}, before)  # a mean of 0.25
    assert not search_trials.is_hopeless({"a": 0.4, "b": 0.21}, before)
    assert not search_trials.is_hopeless({"a": 0.5, "b": 0.5, "c": 0.0}, before)  # it is through
    assert not search_trials.is_hopeless({"a": 0.0}, before[1:])  # a median of four
    assert not search_trials.is_hopeless({}, before)
    assert not search_trials.is_hopeless({"z": 0.0}, before)  # a network that they do not have


def histories(folder, scores, column="dev_uar"):
    for fold, score in enumerate(scores):
        path = folder / "seed-0" / f"fold-{fold:02}" / "history.csv"
        atomic_files.write_csv(path, [{"epoch": 1, column: 0.0}, {"epoch": 2, column: score}])
        os.utime(path, (0, fold + 1))


def test_dev_scores_of_the_files(tmp_path):
    histories(tmp_path, [0.5, 0.25], "dev_accuracy")
    expected = {"seed-0/fold-00/history.csv": 0.5, "seed-0/fold-01/history.csv": 0.25}
    assert search_trials.read_dev_scores(tmp_path) == expected
    histories(tmp_path / "ratings", [0.5, 0.25], "dev_ccc")
    assert search_trials.read_dev_scores(tmp_path / "ratings") == expected
    histories(tmp_path / "other", [0.5], "loss")
    assert (
        search_trials.read_dev_scores(tmp_path / "other")
        == search_trials.read_dev_scores(tmp_path / "none")
        == {}
    )


@pytest.mark.parametrize("column", ["dev_uar", "dev_ccc"])
@pytest.mark.parametrize("asked", [True, False])
def test_a_hopeless_trial_is_stopped_where_asked(tmp_path, monkeypatch, asked, column):
    stopped = []
    scores = {"dev_uar": {"uar": 0.5}, "dev_ccc": {"ccc_arousal": 0.4, "ccc_valence": 0.6}}

    def child(arguments, folder, stops):
        n = int(folder.name[-3:])
        histories(folder, [0.5 + n / 100] if n < 5 else [0.1], column)
        if stops():
            stopped.append(n)
            return 130, "", "interrupted"
        histories(folder, [0.5 + n / 100] * 2, column)
        atomic_files.write_json(folder / "scores.json", scores[column])
        return 0, "", ""

    monkeypatch.setattr(search_trials, "run_training", child)
    trials = []
    for n in range(6):
        trial = search_trials.run_trial(
            [], trials, n, {"svm.c": float(n)}, tmp_path, stop_hopeless=asked
        )
        trials.append({"trial": n, "parameters": {"svm.c": float(n)}} | trial)
    assert [t["status"] for t in trials] == ["ok"] * 5 + ["stopped" if asked else "ok"]
    assert stopped == [5] * asked
    if asked:
        assert trials[5]["score"] is None and "below the median" in trials[5]["reason"]
        assert format_summary(trials).startswith("best of 6 trials (1 stopped): trial 0")


def test_one_network_a_trial_leaves_nothing_to_stop(tmp_path, monkeypatch, caplog):
    stub(monkeypatch, lambda n, _: histories(tmp_path / "s" / f"trial-{n:03}", [0.5]) or 0.5)
    command = ["--model", "epr", "--corpus", "toy", "--stop-hopeless", "--evals", 2]
    assert called(search.main, *command, "--workdir", tmp_path / "s").code == 0
    log = (tmp_path / "s" / "log.txt").read_text()
    warned = "WARNING --stop-hopeless stops no trial: a trial of this command has one network"
    assert log.count(warned) == 1


# What is written.


@pytest.mark.parametrize(
    "value, text",
    [
        (3, "3"),
        (3.0, "3.0"),
        (1e-05, "1e-05"),
        (True, "true"),
        ('a "b" \\', '"a \\"b\\" \\\\"'),
        (["a", "ü"], '["a", "ü"]'),
        ([], "[]"),
    ],
)
def test_values_as_toml(value, text):
    assert format_toml(value) == text
    found = tomllib.loads(f"x = {text}")["x"]
    assert found == value and type(found) is type(value)


def test_the_difference_is_an_overlay(tmp_path):
    overrides = ["model.units=128", "model.dropout=0.5", "model.system=vanilla",
                 "train.unlabelled=true", 'labels.keep=["anger", "fear"]',
                 "train.learning_rate=1e-5"]  # fmt: skip
    before = load_hparams("aae", "toy")
    after = load_hparams("aae", "toy", overrides=overrides)
    path = tmp_path / "best.toml"
    path.write_text("# from a search\n" + format_overlay(before, after))
    assert load_hparams("aae", "toy", overlay=str(path)) == after
    assert "dropout" not in path.read_text()  # toy's own
    path.write_text(format_overlay(before, before))
    assert load_hparams("aae", "toy", overlay=str(path)) == before


TRIALS = [
    {"trial": 0, "parameters": {"a.rate": 1e-4, "a.kind": "x", "a.names": ["u"]}, "status": "ok",
     "score": 0.5, "measure": "UAR"},
    {"trial": 1, "parameters": {"a.rate": 1e-3, "a.kind": "y", "b.n": 3}, "status": "failed",
     "score": None, "measure": None, "reason": "no"},
    {"trial": 2, "parameters": {"a.rate": 1e-2, "a.kind": "y", "b.n": 4}, "status": "ok",
     "score": 0.75, "measure": "UAR"},
    {"trial": 3, "parameters": {"a.rate": 2e-2, "a.kind": "z"}, "status": "ok",
     "score": 0.25, "measure": "UAR"},
]  # fmt: skip


@pytest.mark.usefixtures("with_pictures")
def test_the_picture_shows_the_trials(tmp_path, monkeypatch):
    space = {
        "a.rate": ["loguniform", 1e-5, 1e-1],
        "a.kind": ["choice", "x", "y"],
        "b.n": ["quniform", 1, 5, 1],
    }
    figure = draw_trials(TRIALS, space, "title", "dev UAR")
    first, rate, kind, n, *unused = figure.axes
    assert not any(axes.get_visible() for axes in unused)
    trial, best, failed = first.lines
    assert list(trial.get_xdata()) == [0, 2, 3] and list(trial.get_ydata()) == [0.5, 0.75, 0.25]
    assert list(best.get_ydata()) == [0.5, 0.75, 0.75] and list(failed.get_xdata()) == [1, 1]
    assert rate.get_xscale() == "log" and rate.get_xlim()[0] < 1e-5 and rate.get_xlim()[1] > 1e-1
    assert list(rate.lines[0].get_xdata()) == [1e-4, 1e-2, 2e-2]
    assert [float(*line.get_xdata()) for line in (rate.lines[1], kind.lines[1], n.lines[1])] == [
        1e-2, 1, 4,
    ]  # fmt: skip
    assert [label.get_text() for label in kind.get_xticklabels()] == ["x", "y", "z"]
    assert list(n.lines[0].get_xdata()) == [4] and n.get_xlabel() == "b.n"
    assert first.get_ylabel() == "dev UAR" and first.get_xlabel() == "trial"

    drawn = []
    monkeypatch.setattr(outcomes, "save_figure", lambda figure, path: drawn.append(figure.axes[0]))
    draw_search(TRIALS, space, "svm", tmp_path / "x.png")
    draw_search(TRIALS[1:2], space, "svm", tmp_path / "x.png")
    ratings = [trial | {"measure": "CCC"} for trial in TRIALS]
    draw_search(ratings, space, "auxvae", tmp_path / "x.png")
    percent, _, ccc = drawn
    assert percent.get_ylabel() == "dev UAR (%)" and max(percent.lines[0].get_ydata()) == 75
    assert ccc.get_ylabel().startswith("dev CCC") and max(ccc.lines[0].get_ydata()) == 0.75
    assert format_outcome(ratings[2]) == "trial 2: dev CCC 0.750"


def test_tensorboard_has_the_trials(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

    for trial in TRIALS:
        write_event(trial, tmp_path)
    status = []
    for trial in TRIALS:
        events = EventAccumulator(str(tmp_path / f"trial-{trial['trial']:03}")).Reload()
        start, end = (
            plugin_data_pb2.HParamsPluginData.FromString(
                events.SummaryMetadata(f"_hparams_/session_{which}_info").plugin_data.content
            )
            for which in ("start", "end")
        )
        found = start.session_start_info.hparams
        assert found["a.rate"].number_value == trial["parameters"]["a.rate"]
        assert found["a.kind"].string_value == trial["parameters"]["a.kind"]
        assert found.keys() == trial["parameters"].keys()
        status.append(end.session_end_info.status)
        if trial["score"] is not None:
            assert [e.value for e in events.Scalars("dev UAR")] == [trial["score"]]
    success, failure = api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE
    assert status == [success, failure, success, success]


# --evaluate dev.


def voices(sessions="123"):
    return [
        Utterance(Path("x.wav"), f"{s}{who}-{e}-{i}", speaker=f"{s}{who}", session=s, emotion=e)
        for s in sessions
        for who in "fm"
        for e in ("anger", "fear")
        for i in range(12)
    ]


def run_on(part, protocol="paper", folder=Path(), n_folds=None):
    return run_directory.Run(
        folder, folder, "emodb", protocol, n_folds, (0,), "none", 0, evaluate=part
    )


PLANS = {
    "aae": lambda u, run: aae.make_splits(u, load_hparams("aae", "emodb"), run, 0),
    "acnn": lambda u, run: acnn.make_splits(u, load_hparams("acnn", "emodb"), run, 0),
    "acnn, across": lambda u, run: acnn.make_splits(u, load_hparams("acnn", "emodb"), run, 0, 48),
    "epr": lambda u, run: epr.make_splits(u, load_hparams("epr", "emodb"), run, 0),
    "svm": lambda u, run: experiment.make_splits(u, load_hparams("svm", "emodb"), run, 0),
    "svm, across": lambda u, run: experiment.make_splits(
        u, load_hparams("svm", "emodb"), run, 0, 48
    ),
    "svm, no dev": lambda u, run: experiment.make_splits(
        u, load_hparams("svm", "emodb", overrides=["svm.trains_on_dev=false"]), run, 0
    ),
}


@pytest.mark.parametrize("protocol", ["paper", "loso"])
@pytest.mark.parametrize("system", PLANS)
def test_dev_takes_the_place_of_the_test_part(system, protocol):
    utterances = voices()
    n_folds = 3 if system in ("epr", "svm", "svm, no dev") else None
    tested, on_dev = (
        PLANS[system](utterances, run_on(part, protocol, n_folds=n_folds))
        for part in ("test", "dev")
    )
    assert len(tested) == len(on_dev)
    for test, dev in zip(tested, on_dev, strict=True):
        np.testing.assert_array_equal(dev.dev, dev.test)
        assert len(dev.dev) and len(dev.train)
        assert not set(dev.train) & set(dev.dev)
        assert not set(test.test) & {*dev.train, *dev.dev}
        # Nobody else is missing: what an SVM trains on besides, its dev part, is what is scored.
        assert {*dev.train, *dev.dev} == {*test.train, *test.dev}
        if system not in ("svm", "svm, across"):
            np.testing.assert_array_equal(dev.train, test.train)


def test_folds_without_a_dev_part(tmp_path):
    train_part, test = np.arange(3), np.arange(3, 5)
    splits = [Split(train_part, test[:0], test)]
    assert select_evaluated_part("test", splits) is splits
    with pytest.raises(UsageError, match="--evaluate dev: the folds of this system have no dev"):
        select_evaluated_part("dev", splits)
    # A system that does not ask: nothing is scored on a test part by oversight.
    for dev in (test[:0], test[:1]):
        plans = {0: [Split(train_part, dev, test)]}
        with pytest.raises(UsageError, match="no dev part"):
            cross_validation.write_splits(run_on("dev", folder=tmp_path), voices()[:5], plans)
    assert not list(tmp_path.iterdir())


def test_evaluated_on_dev_end_to_end(few, tmp_path):
    folder = tmp_path / "run"
    command = ["--model", "svm", "--corpus", few, "--protocol", "loso", "--workdir", folder]
    answer = called(train.main, *command, "--evaluate", "dev")
    assert answer.code == 0, answer.err
    *_, result = answer.out.splitlines()
    assert " n=12 folds=3 seeds=1 uar_low=" in result and result.endswith(" evaluate=dev")
    rows, splits = (
        list(csv.DictReader((folder / f"{name}.csv").open())) for name in ("predictions", "splits")
    )
    for fold in "012":
        dev = {r["utterance"] for r in splits if (r["fold"], r["part"]) == (fold, "dev")}
        assert {r["utterance"] for r in rows if r["fold"] == fold} == dev and len(dev) == 4
        parts = [r["part"] for r in splits if r["fold"] == fold]
        assert [parts.count(part) for part in ("train", "dev", "test", "")] == [4, 4, 0, 4]
    assert atomic_files.read_json(folder / "scores.json")["facts"][-1] == "scored on the dev part"
    with pytest.raises(DataError, match="scored on its dev part"):
        recorded_runs.record_run(folder, tmp_path)
    answer = called(train.main, *command)
    assert answer.code == 4 and "(evaluate: dev -> None)" in error_line(answer)


def test_a_plain_run_is_known_by_the_settings_it_always_was(tmp_path, monkeypatch):
    seen = []

    @contextlib.contextmanager
    def opened(folder, settings, seeds):
        seen.append(settings)
        raise ConflictError("enough")
        yield

    monkeypatch.setattr(train.run_directory, "open_run", opened)
    for part in ([], ["--evaluate", "test"], ["--evaluate", "dev"]):
        called(train.main, "--model", "svm", "--corpus", "toy", *part)
    plain, test, dev = seen
    keys = ["model", "corpus", "protocol", "folds", "utterances", "hparams"]
    assert list(plain) == keys and plain == test and dev == plain | {"evaluate": "dev"}


# With children.


@pytest.mark.parametrize("when", ["at once", "later"])
def test_a_child_ends_with_its_parent(tmp_path, when):
    folder = tmp_path / "trial-000"
    program = (
        "from pathlib import Path; from tfser.distributed import subprocesses\n"
        f"subprocesses.run_training(['--model', 'svm', '--corpus', 'toy'], Path({str(folder)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=REPOSITORY)
    waited = folder.with_name("trial-000.txt") if when == "at once" else folder / "log.txt"
    deadline = time.monotonic() + 100
    try:
        while not waited.exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()

    def at_work():
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if os.fsencode(folder) in path.read_bytes():
                    return True
        return False

    while at_work():
        assert time.monotonic() < deadline, "the child of a killed search goes on"
        time.sleep(0.05)
    assert not (folder / "scores.json").exists()
    if when == "later":
        assert "ERROR KeyboardInterrupt" in (folder / "log.txt").read_text()


def test_the_orphan_of_a_killed_search_is_waited_for(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(run_directory, "wait_until_free", lambda folder: order.append(folder.name))
    popen = subprocess.Popen

    def start(command, **options):
        order.append("started")
        return popen([sys.executable, "-c", "import sys; sys.exit('error: x; do y')"], **options)

    monkeypatch.setattr(subprocess, "Popen", start)
    assert one_search.run_training([], tmp_path / "trial-000") == (1, "", "x; do y")
    assert order == ["trial-000", "started"]


@pytest.mark.parametrize(
    "program, code, reason",
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9, "killed by SIGKILL"),
        ("import sys; sys.exit(3)", 3, "exit code 3, see "),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", None, None),
    ],
)
def test_children_that_end_badly(tmp_path, monkeypatch, program, code, reason):
    popen = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda _, **options: popen([sys.executable, "-c", program], **options)
    )
    if code is None:  # whoever stops the child means the search
        with pytest.raises(KeyboardInterrupt):
            one_search.run_training([], tmp_path / "trial-000")
        return
    found = one_search.run_training([], tmp_path / "trial-000")
    assert found[0] == code and found[2].startswith(reason)


def test_a_folder_in_use_is_waited_for(tmp_path):
    run_directory.wait_until_free(tmp_path)  # of nobody
    script = f"""
import time
import tomllib
from pathlib import Path
from tfser.storage import run_directory

with run_directory.open_run(Path({str(tmp_path / "run")!r}), {{}}, [0]):
    print("in", flush=True)
    time.sleep(1.5)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    assert process.stdout.readline() == "in\n"
    started = time.monotonic()
    run_directory.wait_until_free(tmp_path / "run")
    assert time.monotonic() - started > 0.5
    process.communicate()


@pytest.mark.usefixtures("with_pictures")
def test_a_search_end_to_end(few, tmp_path, monkeypatch):
    """Stopped in its first trial, and continued; a trial that no model can be made of fails.

    The first trial is a process; what follows is trained in this process, which costs less.
    """
    monkeypatch.setattr(one_search, "run_training", run_training_here)
    run_training = search_trials.run_training

    def run_first_as_process(words, place, stops):
        first = place.name == "trial-000"
        return run_training(words, place, stops) if first else run_training_here(words, place)

    overlay = tmp_path / "space.toml"
    overlay.write_text(
        '[search]\n"svm.c" = ["loguniform", 1e-4, 1.0]\n'
        '"features.feature_set" = ["choice", "IS13", "IS99"]\n'
    )
    folder = tmp_path / "search"
    command = ["--model", "svm", "--corpus", few, "--protocol", "loso", "--folds", "3"]
    command += ["--evals", "2", "--hparams", overlay, "--seed", 1, "--workdir", folder]
    process = start_command("search", *command)
    try:
        deadline = time.monotonic() + 200
        while not (folder / "trial-000.txt").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
    finally:
        answer = end(process)
    assert answer.code == 130 and not answer.out, answer.err
    assert answer.err.splitlines()[-1].startswith("error: interrupted; ")
    [begun] = trials_of(folder)
    assert begun.keys() == {"trial", "parameters", "status"} and begun["status"] == "begun"

    monkeypatch.setattr(search_trials, "run_training", run_first_as_process)
    answer = called(search.main, *command)
    assert answer.code == 0, answer.err
    first, second = trials_of(folder)
    assert first["parameters"] == begun["parameters"]
    assert first["parameters"]["features.feature_set"] == "IS13" and first["status"] == "ok"
    assert second["status"] == "failed" and "IS99" in second["reason"]
    scores = atomic_files.read_json(folder / "trial-000" / "scores.json")
    assert scores["flags"] == {"evaluate": "dev"} and first["score"] == scores["uar"]
    tested = atomic_files.read_json(folder / "best" / "scores.json")
    [statistics] = tested["statistics"].values()
    low, high = statistics["uar_interval"]
    *_, result = answer.out.splitlines()
    assert result == (
        "RESULT model=svm corpus=few protocol=loso speaker_independent=yes "
        f"uar={tested['uar']:.4f} wa={tested['wa']:.4f} majority=0.5000 n=12 folds=3 "
        f"seeds=1 uar_low={low:.4f} uar_high={high:.4f} chosen_on=few/loso"
    )
    hp = atomic_files.read_json(folder / "best" / "hparams.json")["hparams"]
    assert hp == load_hparams("svm", "table", overlay=str(folder / "best.toml"))
    assert hp["svm"]["c"] == first["parameters"]["svm.c"]
    assert (folder / "search.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((folder / "events").rglob("*tfevents*"))) == 2
    assert not [*folder.glob("trial-*/**/*.npz"), *folder.glob("trial-*/**/*.keras")]
    assert "trial 1: failed: " in (folder / "log.txt").read_text()


TRIAL = {"trial": 0, "parameters": {"svm.c": 1.0}, "status": "ok", "score": 0.5, "measure": "UAR"}


@pytest.mark.parametrize("content", [
    '{"trial": 0', "[]", "[" * 5_000 + "]" * 5_000, "9" * 5_000, '{"trial": 0, "status": "ok"}',
    json.dumps(TRIAL | {"trial": 1}), json.dumps(TRIAL | {"score": "high"}),
    json.dumps(TRIAL | {"status": "good"}), json.dumps(TRIAL | {"measure": "WER"}),
    json.dumps(TRIAL | {"after": [0]}), json.dumps(TRIAL | {"parameters": [1]}),
])  # fmt: skip
def test_damaged_trials(tmp_path, content):
    path = tmp_path / "trials.jsonl"
    path.write_text(content + "\n")
    with pytest.raises(ConflictError, match="trials.jsonl is damaged .*; use another --workdir"):
        search_trials.read_trials(path)


def test_trials_that_are_lost(tmp_path):
    assert search_trials.read_trials(tmp_path / "trials.jsonl") == []
    trials = [TRIAL | {"reason": "two\u2028lines"}, TRIAL | {"trial": 1, "after": [0]}]
    search_trials.write_trials(tmp_path / "trials.jsonl", trials)
    assert search_trials.read_trials(tmp_path / "trials.jsonl") == trials
    (tmp_path / "trials.jsonl").unlink()
    (tmp_path / "trial-000").mkdir()
    with pytest.raises(ConflictError, match="trials.jsonl is missing, and .* has trials; copy the"):
        search_trials.read_trials(tmp_path / "trials.jsonl")


@pytest.mark.usefixtures("with_pictures")
def test_what_a_kill_after_the_last_trial_left_out_is_made(tmp_path, monkeypatch):
    draw = outcomes.draw_search
    stub(monkeypatch, good)
    monkeypatch.setattr(one_search, "draw_search", draw)
    assert on_toy(tmp_path, "--evals", 3).code == 0
    files = [tmp_path / "best.toml", tmp_path / "search.png"]
    files.append(tmp_path / "events" / "trial-001" / "events.out.tfevents.0")
    before = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
    (tmp_path / "trial-001" / "fold" / "model.keras").touch()
    assert on_toy(tmp_path, "--evals", 3).code == 0
    assert [file.read_bytes() for file in files[:2]] == before[:2] and files[2].exists()
    files[0].write_text("# of an older best")
    assert on_toy(tmp_path, "--evals", 3).code == 0
    assert files[0].read_bytes() == before[0] and not list(tmp_path.rglob("*.keras"))


def test_a_trial_in_a_folder_of_other_settings_ends_the_search(tmp_path, monkeypatch):
    monkeypatch.setattr(
        search_trials, "run_training", lambda *_: (4, "", "it holds a run of other settings")
    )
    answer = on_toy(tmp_path, "--evals", 2)
    assert answer.code == 4 and "trial 0: it holds a run of other settings" in error_line(answer)
    assert [trial["status"] for trial in trials_of(tmp_path)] == ["begun"]
