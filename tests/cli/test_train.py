"""tfser-train, end to end on toy: what it writes and prints, resumes, refuses and survives."""

import csv
import errno
import functools
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from forked import Process, end
from pictures import drawn
from running import REPOSITORY, called, started
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from tfser import tensorflow_startup
from tfser.cli import options, train
from tfser.corpora import toy
from tfser.evaluation import recorded_runs
from tfser.storage import atomic_files

TINY = [
    "model.width_multiplier=0.015625", "train.max_epochs=2", "refinery.rounds=2",
    "segments.hop_seconds=0.3", "forest.n_estimators=10",
]  # fmt: skip
ONE_EPOCH = "train.max_epochs=1"
RESULT = re.compile(
    r"RESULT model=epr corpus=(\w+) protocol=(paper|loso) speaker_independent=(yes|no) "
    r"uar=(\d\.\d{4}) wa=(\d\.\d{4}) majority=\d\.\d{4} n=(\d+) folds=(\d+) seeds=(\d+) "
    r"uar_low=\d\.\d{4} uar_high=\d\.\d{4}"
)


def tfser_train(*arguments, overrides=()):
    """The answer of the command, run in this process."""
    return called(train.main, *arguments, *sets(overrides))


def sets(overrides):
    return [word for override in overrides for word in ("--set", override)]


def on_toy(workdir, *arguments, overrides=(), **options):
    command = ["--model", "epr", "--corpus", "toy", "--workdir", workdir, *arguments]
    return tfser_train(*command, overrides=[*TINY, *overrides], **options)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """One cache of features for all runs, and none of the user's settings."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFSER_CACHE", str(folder))
        for name in os.environ:
            if name.startswith("TFSER_") and name.endswith("_ROOT"):
                patch.delenv(name)
        yield folder


@pytest.fixture(scope="module")
def paper_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "paper"
    with drawn():
        return folder, on_toy(folder, "--folds", 2)


@pytest.fixture(scope="module")
def few_run(cache, tmp_path_factory):
    """A function that trains on 12 utterances of toy: (folder, answer)."""
    path = write_few(cache, tmp_path_factory.mktemp("table") / "few.csv")

    def run(name, *arguments, labels):
        folder = tmp_path_factory.mktemp("runs") / name
        return folder, on_few(path, folder, *arguments, labels=labels)

    run.path = path
    return run


def on_few(path, workdir, *arguments, labels):
    command = ["--model", "epr", "--corpus", path, "--workdir", workdir, "--protocol", "paper"]
    overrides = [*TINY, ONE_EPOCH, f"refinery.labels={labels}"]
    return tfser_train(*command, *arguments, overrides=overrides)


@pytest.fixture(scope="module")
def loso_run(few_run):
    return few_run("loso", "--folds", 3, "--protocol", "loso", labels="soft")


@pytest.fixture(scope="module")
def seeds_run(few_run):
    """Seeds 4 and 5; hard dynamic labels."""
    return few_run("seeds", "--folds", 2, "--seed", 4, "--seeds", 2, labels="hard")


@pytest.fixture(scope="module")
def static_run(few_run):
    return few_run("static", "--folds", 2, "--seed", 4, labels="static")


@pytest.fixture
def without_networks(monkeypatch):
    """Profiles are the labels: no network is trained."""
    from tfser.models.epr import experiment, refinery

    def train_rounds(lab, *_):
        return np.stack([lab.dataset.one_hot] * len(refinery.list_networks(**lab.hp["refinery"])))

    monkeypatch.setattr(experiment, "train_rounds", train_rounds)


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def error_line(answer) -> str:
    """The one line that says what is wrong, the last on stderr."""
    [line] = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert line == answer.err.splitlines()[-1] and "Traceback" not in answer.err
    assert not answer.out
    return line


# What a run writes and prints.


@pytest.mark.parametrize(
    "which, corpus, n, protocol, independent, networks, folds",
    [
        ("paper_run", "toy", "160", "paper", "no", "VGG*2", "2"),
        ("loso_run", "few", "12", "loso", "yes", "VGG2", "3"),
    ],
)
def test_result_line(request, which, corpus, n, protocol, independent, networks, folds):
    folder, answer = request.getfixturevalue(which)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    match = RESULT.fullmatch(lines[-1])
    assert match, lines[-1]
    scores = atomic_files.read_json(folder / "scores.json")
    uar, wa = f"{scores['uar']:.4f}", f"{scores['wa']:.4f}"
    assert match.groups() == (corpus, protocol, independent, uar, wa, n, folds, "1")
    assert [line.startswith("RESULT") for line in lines].count(True) == 1
    assert lines[0].startswith("VGG ") and lines[1].startswith(f"{networks} ")
    assert lines[2].startswith("UAR, 95 % interval: ")
    last = scores["systems"][networks]
    assert (
        f"UAR {100 * last['uar']['mean']:5.1f} %  WA {100 * last['wa']['mean']:5.1f} %" in lines[1]
    )
    confusion = np.array(atomic_files.read_json(folder / "seed-0" / "scores.json")["confusion"])
    majority = confusion.sum(axis=1).max() / confusion.sum()  # what a constant answer reaches
    assert lines[1].endswith(f"  commonest class {100 * majority:.1f} %")
    assert (
        scores["majority"] == pytest.approx(majority) and f" majority={majority:.4f} " in lines[-1]
    )
    assert str(folder) in lines[-2]
    assert scores["speaker_independent"] is (independent == "yes")
    assert scores["facts"][0] == {"paper": "labels assisted", "loso": "labels soft"}[protocol]


@pytest.mark.parametrize("which", ["paper_run", "loso_run"])
def test_files_of_a_run(request, which):
    folder, _ = request.getfixturevalue(which)
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    forests, folds = ("forests/fold", 2) if which == "paper_run" else ("fold", 3)
    expected = {"hparams.json", "environment.json", "splits.csv", "scores.json", "log.txt",
                "data.json", "predictions.csv", "confusion.png", "confusion.csv", "reliability.png",
                "seed-0/scores.json",
                "seed-0/predictions.csv", ".lock"}  # fmt: skip
    for fold in range(folds):
        expected |= {f"seed-0/{forests}-{fold:02}/forest-{t}.npz" for t in (1, 2)}
        expected.add(f"seed-0/fold-{fold:02}/fold.json")
        for t in (1, 2):
            place = f"seed-0/fold-{fold:02}/round-{t}"
            expected |= {f"{place}/{f}" for f in ("profiles.npz", "history.csv", "history.png")}
        expected.add(f"seed-0/fold-{fold:02}/round-2/model.keras")
    second = "VGG-star-2" if which == "paper_run" else "VGG2"
    expected |= {"confusion-VGG.png", f"confusion-{second}.png"}
    emotions = toy.EMOTIONS if which == "paper_run" else ["anger", "sadness"]
    pictures = {f"profiles/f1-{e}-01.png" for e in emotions}
    events = {f for f in files if f.startswith("events/")}
    assert files - events == expected | pictures
    assert len({str(Path(f).parent) for f in events}) == folds * 2 + 1
    for path in folder.rglob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 3000 or which == "loso_run"


@pytest.mark.parametrize("which", ["paper_run", "loso_run", "seeds_run"])
def test_scores_are_those_of_the_predictions(request, which):
    folder, _ = request.getfixturevalue(which)
    scores, rows = atomic_files.read_json(folder / "scores.json"), table(folder / "predictions.csv")
    seeds = {"seeds_run": ["4", "5"]}.get(which, ["0"])
    n = 160 if which == "paper_run" else 12
    assert len(rows) == len(seeds) * 2 * n
    classes = scores["classes"]
    assert classes == (sorted(toy.EMOTIONS) if which == "paper_run" else ["anger", "sadness"])
    for row in rows:
        p = [float(row[f"p_{c}"]) for c in classes]
        assert sum(p) == pytest.approx(1, abs=3e-6)
        assert p[classes.index(row["predicted"])] == max(p)
    for name in scores["systems"]:
        found = {"uar": [], "wa": [], "macro_f1": [], "fold_uar": [], "fold_wa": []}
        for seed in seeds:
            own = [r for r in rows if (r["seed"], r["system"]) == (seed, name)]
            assert len({r["utterance"] for r in own}) == n
            y, p = ([r[k] for r in own] for k in ("emotion", "predicted"))
            found["uar"].append(recall_score(y, p, average="macro"))
            found["wa"].append(accuracy_score(y, p))
            found["macro_f1"].append(f1_score(y, p, average="macro"))
            column = "forest_fold" if which in ("paper_run", "seeds_run") else "fold"
            for fold in sorted({r[column] for r in own}):
                of_fold = [r for r in own if r[column] == fold]
                y_fold, p_fold = ([r[k] for r in of_fold] for k in ("emotion", "predicted"))
                found["fold_uar"].append(
                    recall_score(y_fold, p_fold, average="macro", labels=sorted(set(y_fold)))
                )
                found["fold_wa"].append(accuracy_score(y_fold, p_fold))
        for key, values in found.items():
            sd = statistics.stdev(values) if len(values) > 1 else None
            expected = [statistics.mean(values), min(values), max(values)]
            summary = scores["systems"][name][key]
            assert summary["sd"] == (None if sd is None else pytest.approx(sd, abs=1e-12))
            assert [summary[k] for k in ("mean", "min", "max")] == pytest.approx(
                expected, abs=1e-12
            )
    matrix = confusion_matrix(y, p, labels=classes)  # of the last seed and round
    own = atomic_files.read_json(folder / f"seed-{seed}" / "scores.json")
    assert own["confusion"] == matrix.tolist()


def test_the_svm_s_run(cache, tmp_path, with_pictures):
    path = write_few(cache, tmp_path / "some.csv", speakers=toy.SPEAKERS, emotions=toy.EMOTIONS,
                     n_takes=4)  # fmt: skip
    folder = tmp_path / "run"
    command = ["--model", "svm", "--corpus", path, "--protocol", "loso", "--workdir", folder]
    answer = tfser_train(*command, overrides=["features.normalize=speaker"])
    assert answer.code == 0, answer.err
    scores, rows = atomic_files.read_json(folder / "scores.json"), table(folder / "predictions.csv")
    y, p = ([row[key] for row in rows] for key in ("emotion", "predicted"))
    assert scores["uar"] == pytest.approx(recall_score(y, p, average="macro"))
    assert scores["uar"] > 0.5  # of four emotions, by a stranger's voice
    [statistics] = scores["statistics"].values()
    low, high = statistics["uar_interval"]
    assert low <= scores["uar"] <= high
    *_, result = answer.out.splitlines()
    assert result == (
        "RESULT model=svm corpus=some protocol=loso speaker_independent=yes "
        f"uar={scores['uar']:.4f} wa={scores['wa']:.4f} majority=0.2500 n=64 folds=4 "
        f"seeds=1 uar_low={low:.4f} uar_high={high:.4f} normalize=speaker(transductive)"
    )
    assert (
        f"UAR, 95 % interval: {100 * low:.1f} to {100 * high:.1f} % (bootstrap over 4 speakers)"
        in (answer.out)
    )
    counts = [[int(n) for n in list(row.values())[2:]] for row in table(folder / "confusion.csv")]
    assert counts == statistics["confusion"]
    assert sum(float(v) for k, v in rows[0].items() if k.startswith("p_")) == pytest.approx(
        1, abs=1e-5
    )
    assert (folder / "confusion.png").stat().st_size > 3000
    again = tfser_train(*command, overrides=["features.normalize=corpus"])
    assert again.code == 4 and "features.normalize: speaker -> corpus" in error_line(again)


def test_splits_of_the_paper(paper_run):
    rows = table(paper_run[0] / "splits.csv")
    assert len(rows) == 2 * 160
    predictions = table(paper_run[0] / "predictions.csv")
    for part, column in (("part", "network_fold"), ("forest_part", "forest_fold")):
        tested_in = {r["utterance"]: r["fold"] for r in rows if r[part] == "test"}
        assert all(r[column] == tested_in[r["utterance"]] for r in predictions)
    for fold in "01":
        parts = [r["part"] for r in rows if r["fold"] == fold]
        # Of each emotion's 40: 20, and a tenth of the other 20.
        assert [parts.count(p) for p in ("test", "dev", "train")] == [4 * 20, 4 * 2, 4 * 18]
    tested = [r["utterance"] for r in rows if r["part"] == "test"]
    assert len(tested) == len(set(tested)) == 160
    train_speakers = {r["speaker"] for r in rows if (r["fold"], r["part"]) == ("0", "train")}
    assert train_speakers == set(toy.SPEAKERS)  # speaker-dependent, as in the paper


def test_splits_of_loso(loso_run):
    rows = table(loso_run[0] / "splits.csv")
    tested = [r["utterance"] for r in rows if r["part"] == "test"]
    assert len(tested) == len(set(tested)) == 12
    predictions = table(loso_run[0] / "predictions.csv")
    for fold in "012":
        train, dev, test = (
            {r["speaker"] for r in rows if (r["fold"], r["part"]) == (fold, part)}
            for part in ("train", "dev", "test")
        )
        assert train and dev and test and not (train & dev or train & test or dev & test)
        assert {r["speaker"] for r in predictions if r["fold"] == fold} == test


def test_seeds_are_reported(seeds_run):
    folder, answer = seeds_run
    assert answer.code == 0, answer.err
    scores = atomic_files.read_json(folder / "scores.json")
    each = [
        atomic_files.read_json(folder / f"seed-{s}" / "scores.json")["systems"]["VGG2"]["uar"]
        for s in (4, 5)
    ]
    assert scores["seeds"] == 2
    mean, sd = statistics.mean(each), statistics.stdev(each)
    assert scores["uar"] == pytest.approx(mean)
    assert RESULT.fullmatch(answer.out.splitlines()[-1])[8] == "2"
    spread = f"{100 * sd:.1f}, {100 * min(each):.1f} to {100 * max(each):.1f}"
    assert f"(2 seeds: UAR sd {spread}; WA sd " in answer.out
    histories = [folder / f"seed-{s}/fold-00/round-1/history.csv" for s in (4, 5)]
    assert histories[0].read_bytes() != histories[1].read_bytes()
    text = (folder / "predictions.csv").read_text()
    parts = [(folder / f"seed-{s}" / "predictions.csv").read_text() for s in (4, 5)]
    assert text == parts[0] + parts[1].split("\n", 1)[1]


def test_labellings_differ_from_the_second_round_on(seeds_run, static_run):
    folders = [seeds_run[0], static_run[0]]
    assert static_run[1].code == 0, static_run[1].err
    labellings = [atomic_files.read_json(f / "scores.json")["facts"][0] for f in folders]
    assert labellings == ["labels hard", "labels static"]
    first, second = (
        [(f / f"seed-4/fold-00/round-{t}/history.csv").read_bytes() for f in folders]
        for t in (1, 2)
    )
    assert first[0] == first[1] and second[0] != second[1]
    assert list(atomic_files.read_json(folders[0] / "scores.json")["systems"]) == ["VGG", "VGG2"]


@pytest.mark.parametrize("evaluate", ["test", "dev"])
def test_one_command_prints_every_row_of_tables_2_to_4(
    few_files, tmp_path, without_networks, evaluate
):
    rows = [
        "VGG",
        "VGG2",
        "VGG3",
        "Soft Static",
        "Hard Dynamic",
        "VGG*2",
        "VGG*3",
        "VGG*4",
        "VGG*5",
    ]
    overrides = ["refinery.labels=all", "refinery.rounds=5", "train.dev_fraction=0.4"]
    answer = on_table(few_files(), "--folds", 2, "--evaluate", evaluate, overrides=overrides)
    assert answer.code == 0, answer.err
    *printed, _, result = answer.out.splitlines()
    assert [line.partition(" UAR ")[0].strip() for line in printed[: len(rows)]] == rows
    assert result.startswith("RESULT model=epr corpus=few protocol=paper ")
    run = tmp_path / "run"
    scores = atomic_files.read_json(run / "scores.json")
    assert list(scores["systems"]) == rows and scores["facts"][0] == "labels all"
    assert {row["system"] for row in table(run / "predictions.csv")} == set(rows)
    names = ["VGG", "VGG2", "VGG3", "Soft-Static", "Hard-Dynamic"]
    names += [f"VGG-star-{t}" for t in (2, 3, 4, 5)]
    files = {f"confusion-{name}.png" for name in names}  # figure 3, of every row
    assert {path.name for path in run.glob("confusion-*.png")} == files
    forests = {path.name for path in (run / "seed-0/forests/fold-00").iterdir()}
    keys = ["1", "2-soft", "3-soft", "2-static", "2-hard", "2", "3", "4", "5"]
    assert forests == {f"forest-{key}.npz" for key in keys}
    card = tmp_path / "zoo" / "epr" / "README.md"
    atomic_files.write_bytes(card, b"<!-- few -->\n<!-- end -->\n")
    if evaluate == "test":
        recorded_runs.record_run(run, tmp_path / "zoo")
        assert all(f"| {name} | " in card.read_text() for name in rows)


def test_environment(paper_run):
    [process] = atomic_files.read_json(paper_run[0] / "environment.json")["processes"]
    assert process["seeds"] == [0] and {"keras", "numpy", "librosa"} <= process["versions"].keys()
    assert process["wall_seconds"] > 0.5


# Resuming.


def test_the_same_command_again_trains_nothing(paper_run, monkeypatch, tmp_path):
    from tfser.training import loop

    # A copy: other tests look at the original's environment.json.
    folder = tmp_path / "copy"
    shutil.copytree(paper_run[0], folder)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.suffix in (".csv", ".npz", ".json")}
    monkeypatch.setattr(loop, "fit", lambda *_, **__: pytest.fail("trained again"))
    answer = on_toy(folder, "--folds", 2)
    assert answer.code == 0, answer.err
    original = paper_run[1].out.splitlines()
    assert [x for x in answer.out.splitlines() if "results" not in x] == [
        x for x in original if "results" not in x
    ]
    for path, content in before.items():
        if path.name != "environment.json":
            assert path.read_bytes() == content, path
    assert len(atomic_files.read_json(folder / "environment.json")["processes"]) == 2


def test_fewer_seeds_in_the_same_directory(few_run, seeds_run, tmp_path, monkeypatch):
    from tfser.training import loop

    folder = tmp_path / "copy"
    shutil.copytree(seeds_run[0], folder)
    monkeypatch.setattr(loop, "fit", lambda *_, **__: pytest.fail("trained again"))
    answer = on_few(few_run.path, folder, "--folds", 2, "--seed", 5, labels="hard")
    assert answer.code == 0, answer.err
    scores = atomic_files.read_json(folder / "scores.json")
    [seed_4, seed_5] = (atomic_files.read_json(folder / f"seed-{s}/scores.json") for s in (4, 5))
    assert scores["seeds"] == 1 and scores["uar"] == seed_5["systems"]["VGG2"]["uar"]
    assert seed_4 == atomic_files.read_json(seeds_run[0] / "seed-4" / "scores.json")


def wait_for(folder, pattern, process, n=1, seconds=400):
    """Waits until a running process has written n files."""
    deadline = time.monotonic() + seconds
    while len(list(folder.rglob(pattern))) < n:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"no {pattern} in {folder}"
        time.sleep(0.01)


class Loudness:
    """A feature that starts no openSMILE."""

    sample_rate_hz, n_features, batch_samples = 16000, 2, 0
    arguments: dict = {}

    def settings(self):
        return {"feature": "Loudness"}

    def extract(self, waveforms):
        return [np.float32([[wave.std(), np.abs(np.diff(wave)).mean()]]) for wave in waveforms]


SLOW_SVM = """
import os, sys, time
from sklearn.svm import SVC
from test_train import Loudness, train
from tfser.models.svm import experiment

os.cpu_count = lambda: 1  # one fold after the other
experiment.make_opensmile = lambda settings: Loudness()
fit, fitted = SVC.fit, []

def slow_fit(*arguments):
    if fitted:
        time.sleep(0.5)
    fitted.append(1)
    return fit(*arguments)

SVC.fit = slow_fit
sys.exit(train.main(sys.argv[1:]))
"""
PATH = os.pathsep.join(map(str, [Path(__file__).parent, REPOSITORY / "tests", REPOSITORY]))


def started_slowly(*arguments):
    """The command in a process of its own, half a second between an SVM and the next."""
    return Process(["-c", SLOW_SVM, *arguments], env=os.environ | {"PYTHONPATH": PATH})


def test_interrupted_and_killed_and_continued(few_files, tmp_path, monkeypatch):
    """In one directory: refused to a second process, SIGINT, kill -9; then as if never stopped."""
    from tfser.models.svm import experiment

    monkeypatch.setattr(experiment, "make_opensmile", lambda settings: Loudness())
    command = ["--model", "svm", "--corpus", few_files(), "--protocol", "paper", "--folds", 6]
    command += ["--workdir"]
    reference, folder = tmp_path / "reference", tmp_path / "run"
    answer = tfser_train(*command, reference)
    assert answer.code == 0, answer.err
    process = started_slowly(*command, folder)
    try:
        wait_for(folder, "predicted.npz", process)
        process.send_signal(signal.SIGSTOP)  # else it may be through before it is interrupted
        second = tfser_train(*command, folder)
        assert second.code == 4 and "in use by another process" in error_line(second)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
    finally:
        first = end(process)
    assert first.code == 130 and not first.out
    assert first.err.splitlines()[-1] == (
        "error: interrupted; what is finished is kept, the same command continues"
    )
    assert "Traceback" not in first.err and "cuda" not in first.err.lower()
    n_done = len(list(folder.rglob("predicted.npz")))
    assert 1 <= n_done < 4 and not (folder / "scores.json").exists()

    process = started_slowly(*command, folder)
    try:
        wait_for(folder, "predicted.npz", process, n=n_done + 1)
    finally:
        process.kill()
        killed = end(process)
    assert killed.code == -signal.SIGKILL and not (folder / "scores.json").exists()

    before = {path: path.stat().st_mtime_ns for path in folder.rglob("predicted.npz")}
    assert n_done < len(before) < 6
    answer = tfser_train(*command, folder)
    assert answer.code == 0, answer.err
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    for name in ("predictions.csv", "scores.json"):
        assert (folder / name).read_bytes() == (reference / name).read_bytes()
    interrupted, killed, last = atomic_files.read_json(folder / "environment.json")["processes"]
    assert "finished" in interrupted and "finished" not in killed and "finished" in last


@pytest.mark.slow
def test_networks_interrupted_and_killed_and_continued(paper_run, tmp_path):
    """In one directory: refused to a second process, SIGINT, kill -9; then as if never stopped."""
    folder = tmp_path / "run"
    command = ["train", "--model", "epr", "--corpus", "toy", "--workdir", folder, "--folds", 2]
    command += sets(TINY)
    process = started(*command)
    try:
        wait_for(folder, "state.npz", process)
        process.send_signal(signal.SIGSTOP)  # else it may be through before it is interrupted
        second = on_toy(folder, "--folds", 2)
        assert second.code == 4 and "in use by another process" in error_line(second)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        out, err = process.communicate(timeout=200)
    finally:
        process.kill()
    assert process.returncode == 130 and not out
    assert err.splitlines()[-1] == (
        "error: interrupted; what is finished is kept, the same command continues"
    )
    assert "Traceback" not in err and "cuda" not in err.lower()
    n_done = len(list(folder.rglob("profiles.npz")))
    assert n_done < 3 and not (folder / "scores.json").exists()

    process = started(*command)
    try:
        wait_for(folder, "profiles.npz", process, n=n_done + 1)
        wait_for(folder, "state.npz", process)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL and not (folder / "scores.json").exists()

    answer = on_toy(folder, "--folds", 2)
    assert answer.code == 0, answer.err
    reference = paper_run[0]
    assert (folder / "predictions.csv").read_bytes() == (reference / "predictions.csv").read_bytes()
    assert (folder / "scores.json").read_bytes() == (reference / "scores.json").read_bytes()
    for path in reference.rglob("history.csv"):
        assert (folder / path.relative_to(reference)).read_bytes() == path.read_bytes()
    interrupted, killed, last = atomic_files.read_json(folder / "environment.json")["processes"]
    assert "finished" in interrupted and "finished" not in killed and "finished" in last
    assert not [p for p in folder.rglob("*") if p.name in ("state.npz", "best.npz")]


def test_sigterm_is_an_interrupt(tmp_path, monkeypatch):
    def stopped(*_):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr(options, "load_corpus", stopped)
    answer = on_toy(tmp_path / "run")
    assert answer.code == 130 and "interrupted" in error_line(answer)


@pytest.mark.parametrize(
    "arguments, overrides, changed",
    [
        (["--folds", 2], ["train.patience=4"], "hparams.train.patience: 3 -> 4"),
        (["--folds", 4], [], "folds: 2 -> 4"),
        ([], [], "folds: 2 -> None"),
        (["--folds", 3, "--protocol", "loso"], [], "folds: 2 -> 3, protocol: paper -> loso"),
    ],
)
def test_another_run_in_the_same_directory(paper_run, arguments, overrides, changed):
    folder, _ = paper_run

    def times():
        files = (p for p in folder.rglob("*") if p.name != ".lock")
        return {path: path.stat().st_mtime_ns for path in files}

    before = times()
    answer = on_toy(folder, *arguments, overrides=overrides)
    assert answer.code == 4
    line = error_line(answer)
    assert f"({changed})" in line and "--workdir" in line
    assert times() == before


def test_a_directory_of_something_else(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    answer = on_toy(tmp_path)
    assert answer.code == 4 and "holds other files" in error_line(answer)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


# Tables of anybody's files.


def write_few(cache, path, *rows, speakers=("f1", "f2", "m1"), emotions=("anger", "sadness"),
              n_takes=2):  # fmt: skip
    """Write a table of 2 emotions x 3 speakers x 2 takes of toy, and more rows."""
    toy.make(cache / "toy")
    folder = cache / "toy" / toy.VERSION
    lines = ["file,speaker,emotion"]
    lines += [
        f"{folder}/{speaker}-{emotion}-{take:02}.wav,{speaker},{emotion}"
        for speaker in speakers
        for emotion in emotions
        for take in range(1, n_takes + 1)
    ]
    lines += [row.format(folder) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def few_files(cache, tmp_path):
    """A function that writes few.csv, see `write_few`."""
    return functools.partial(write_few, cache, tmp_path / "few.csv")


def on_table(path, *arguments, overrides=()):
    overrides = [*TINY, ONE_EPOCH, "refinery.rounds=1", *overrides]
    command = ["--model", "epr", "--corpus", path, "--workdir", path.with_name("run")]
    command += ["--protocol", "paper"]  # of two --protocol the last one counts
    return tfser_train(*command, *arguments, overrides=overrides)


def test_a_table_with_an_unreadable_file(few_files, tmp_path):
    (tmp_path / "bad.wav").write_text("version https://git-lfs.github.com/spec/v1\n")
    path = few_files("bad.wav,m1,anger")
    answer = on_table(path, "--folds", 2)
    assert answer.code == 3
    line = error_line(answer)
    assert "bad.wav: a git-LFS pointer" in line and "--max-bad 1" in line
    assert not (tmp_path / "run" / "scores.json").exists()

    answer = on_table(path, "--folds", 2, "--max-bad", 1)
    assert answer.code == 0, answer.err
    match = RESULT.fullmatch(answer.out.splitlines()[-1])
    assert match[1] == "few" and match[6] == "12"
    assert "left out: bad: " in answer.err
    assert len({r["utterance"] for r in table(tmp_path / "run" / "predictions.csv")}) == 12


def test_a_corrected_command_may_use_the_directory_of_a_refused_one(
    few_files, tmp_path, without_networks
):
    path = few_files()
    refused = on_table(path, "--folds", 2, overrides=['plots.utterances=["f1-anger-1"]'])
    assert refused.code == 2
    assert "did you mean 'f1-anger-01'" in (tmp_path / "run" / "log.txt").read_text()
    assert on_table(path, "--folds", 2).code == 0
    [process] = atomic_files.read_json(tmp_path / "run" / "environment.json")["processes"]
    assert process["versions"]
    assert on_table(path, "--folds", 3).code == 4


def test_audio_that_changes_is_not_resumed(few_files, tmp_path, without_networks):
    for seed, name in enumerate("abc"):
        noise = np.random.default_rng(seed).normal(size=16000) / 10
        soundfile.write(tmp_path / f"{name}.wav", noise, 16000)
    path = few_files("a.wav,m1,anger", "b.wav,m1,sadness")
    assert on_table(path, "--folds", 2).code == 0
    before = (tmp_path / "run" / "scores.json").read_bytes()
    (tmp_path / "c.wav").rename(tmp_path / "a.wav")  # of the same size
    answer = on_table(path, "--folds", 2)
    assert answer.code == 4 and "the audio has changed" in error_line(answer)
    assert (tmp_path / "run" / "scores.json").read_bytes() == before


def test_an_emotion_of_one_speaker_is_told(few_files, without_networks):
    path = few_files("{0}/f1-neutral-01.wav,f1,neutral", "{0}/f1-neutral-02.wav,f1,neutral")
    answer = on_table(path, "--protocol", "loso")
    assert answer.code == 0
    assert "fold-00: no training speaker has neutral, which is tested" in answer.err


def test_a_link_to_nothing_is_a_bad_file(few_files, tmp_path):
    (tmp_path / "gone.wav").symlink_to(tmp_path / "annex" / "object.wav")
    answer = on_table(few_files("gone.wav,m1,anger"), "--folds", 2)
    assert answer.code == 3 and "gone.wav" in error_line(answer)


def test_an_unexpected_error_is_one_line(few_files, monkeypatch):
    from tfser.models.epr import experiment

    def broken(*_):
        raise ZeroDivisionError("by zero\nmore")

    monkeypatch.setattr(experiment, "load_dataset", broken)
    answer = on_table(few_files(), "--folds", 2)
    assert answer.code == 1
    assert error_line(answer) == "error: ZeroDivisionError: by zero; --debug shows where"


def test_default_names_of_run_directories(few_files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []

    def opened(folder, settings, seeds):
        seen.append((str(folder), settings["corpus"]))
        raise KeyboardInterrupt

    monkeypatch.setattr(train.run_directory, "open_run", opened)
    path = few_files()
    other = path.rename(path.with_suffix(".tsv")).with_name("few.tsv")
    other.write_text(other.read_text().replace(",", "\t"))
    few_files()
    for corpus in ("toy", path, other):
        answer = tfser_train("--model", "epr", "--corpus", corpus, "--protocol", "loso")
        assert answer.code == 130
    assert seen == [("runs/epr-toy-loso", "toy")] + [("runs/epr-few-loso", "few")] * 2


@pytest.mark.parametrize(
    "table_of, arguments, overrides, code, message",
    [
        ({"emotions": ["anger"]}, [], [], 3, "fewer than two classes"),
        ({"speakers": ["f1"]}, ["--protocol", "loso"], [], 3, "needs at least 3 speakers"),
        ({"speakers": ["f1", "m1"]}, ["--protocol", "loso"], [], 3, "corpus has 2"),
        ({}, ["--folds", 7], [], 3, "fewer than the 7 folds; use --folds 6"),
        (
            {},
            ["--folds", 2],
            ['labels.keep=["angr"]'],
            2,
            "no 'angr' in this corpus (did you mean 'anger'?)",
        ),
        ({}, ["--folds", 2], ["labels.group=x"], 2, "no 'x' in this corpus; it has no groups"),
        ({}, ["--folds", 2], ["forest.profiles=inner"], 2, "is for --protocol loso"),
        ({}, ["--folds", 2], ['plots.utterances=["f1-anger-1"]'], 2, "did you mean 'f1-anger-01'"),
        ({}, ["--folds", 2], ["segments.hop_seconds=0.025"], 2, "is no multiple of"),
        ({}, ["--folds", 2], ["features.n_fft=256"], 2, "window <= n_fft does not hold"),
        ({}, ["--folds", 2], ["features.high_hz=9000"], 2, "set high_hz to 8000 or less"),
        ({}, ["--folds", 4, "--protocol", "loso"], [], 2, "use --folds 3"),
        ({}, ["--folds", 2, "--strategy", "mirrored"], [], 2, "needs two devices"),
        ({}, ["--target", "valence"], [], 3, "no utterance has a rating of valence"),
        (
            {},
            ["--target", "valense"],
            [],
            2,
            "labels.target='valense' is not known (did you mean 'valence'?)",
        ),
    ],
)
def test_a_corpus_that_does_not_do(few_files, tmp_path, table_of, arguments, overrides, code,
                                   message):  # fmt: skip
    answer = on_table(few_files(**table_of), *arguments, overrides=overrides)
    assert answer.code == code, answer.err
    assert message in error_line(answer)
    assert not list((tmp_path / "run").rglob("profiles.npz"))


def test_a_full_disk(few_files, tmp_path, monkeypatch):
    fsync = os.fsync

    def full(descriptor):
        if "state.npz" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    path = few_files()
    answer = on_table(path, "--folds", 2)
    assert answer.code == 1
    assert error_line(answer) == (
        f"error: disk full while writing {tmp_path / 'run/seed-0/fold-00/round-1/state.npz'}; "
        "free space, then the same command continues"
    )
    assert not [p for p in (tmp_path / "run").rglob(".*") if p.name != ".lock"]
    assert not list((tmp_path / "run").rglob("profiles.npz"))


def test_a_full_disk_at_the_start(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(atomic_files, "write_bytes", full)
    answer = on_toy(tmp_path / "run")
    assert answer.code == 1
    assert f"disk full while writing {tmp_path / 'run' / 'hparams.json'};" in error_line(answer)


def test_a_loss_that_is_not_a_number(few_files, monkeypatch):
    from tfser.models.epr import experiment

    load_dataset = experiment.load_dataset

    def broken(*arguments):
        speech = load_dataset(*arguments)
        return speech._replace(one_hot=speech.one_hot * np.float32(np.nan))

    monkeypatch.setattr(experiment, "load_dataset", broken)
    answer = on_table(few_files(), "--folds", 2)
    assert answer.code == 1
    assert re.search("epoch 1 gave loss nan, dev_loss nan, .*initial_learning_rate", answer.err)
    assert "Traceback" not in answer.err


def test_debug_shows_the_traceback(few_files):
    answer = on_table(few_files(emotions=["anger"]), "--folds", 2, "--debug")
    assert answer.code == 3 and "Traceback" in answer.err
    assert answer.err.splitlines()[-1].startswith("error: 6 utterances")


# What is refused at once.

WRONG = {
    "no model": (["--corpus", "toy"], "the following arguments are required: --model"),
    "model": (["--model", "erp", "--corpus", "toy"], "unknown model 'erp' (did you mean 'epr'?)"),
    "corpus": (
        ["--model", "epr", "--corpus", "casai"],
        "no corpus 'casai' (did you mean 'casia'?)",
    ),
    "flag": ("--protocl loso", "unknown argument --protocl (did you mean '--protocol'?)"),
    "flag with =": ("--sead=3", "unknown argument --sead (did you mean '--seed'?)"),
    "abbreviated flag": ("--work x", "unknown argument --work (did you mean '--workdir'?)"),
    "protocol": ("--protocol lose", "invalid choice: 'lose' (choose from"),
    "key": (
        "--set train.epochs=3",
        "unknown key 'train.epochs' (did you mean 'train.max_epochs'?)",
    ),
    "key's section": (
        "--set trian.max_epochs=3",
        "unknown section 'trian' (did you mean 'train'?)",
    ),
    "key's type": ("--set train.max_epochs=few", "train.max_epochs is a whole number"),
    "key's range": ("--set refinery.rounds=0", "refinery.rounds=0 is out of range 1 to 20"),
    "no value": ("--set train.max_epochs", "expected section.key=value"),
    "overlay": ("--hparams epr.smal", "(did you mean 'epr.small'?)"),
    "seeds": ("--seeds 0", "--seeds 0: must be 1 or more"),
    "seed": ("--seed -1", "--seed -1: must be 0 or more"),
    "seed's type": ("--seed one", "invalid int value: 'one'"),
    "folds": ("--folds 1", "--folds 1: must be 2 or more"),
    "max-bad": ("--max-bad -1", "--max-bad -1: must be 0 or more"),
    "no root": (["--model", "epr", "--corpus", "emodb"], "give --data-root DIR or set TFSER_EMODB"),
}


@pytest.fixture(scope="module")
def wrong_commands(tmp_path_factory):
    """All of WRONG in one process that has to do without TensorFlow: {name: (code, stderr)}."""
    program = """
import contextlib, io, json, sys
from tfser.cli import options, train

answers = {}
for name, arguments in json.loads(sys.stdin.read()).items():
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        try:
            code = train.main(arguments)
        except SystemExit as exit:
            code = exit.code
    train.log.handlers.clear()
    answers[name] = code, err.getvalue()
heavy = sorted({"tensorflow", "keras", "sklearn", "matplotlib"} & set(sys.modules))
print(json.dumps([answers, heavy]))
"""
    import json

    commands = {
        name: words
        if isinstance(words, list)
        else ["--model", "epr", "--corpus", "toy", *words.split()]
        for name, (words, _) in WRONG.items()
    }
    folder = tmp_path_factory.mktemp("wrong")
    done = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(commands), capture_output=True, text=True,
        cwd=folder, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers, heavy = json.loads(done.stdout)
    return answers, heavy, list(folder.iterdir())


@pytest.mark.parametrize("name", WRONG)
def test_wrong_commands(wrong_commands, name):
    code, err = wrong_commands[0][name]
    assert code == 2
    [line] = err.splitlines()
    assert line.startswith("error: ") and WRONG[name][1] in line


def test_wrong_commands_load_no_tensorflow_and_write_nothing(wrong_commands):
    assert wrong_commands[1:] == ([], [])


@pytest.mark.parametrize("name", ["emodb", "casia", "savee", "ravdess"])
def test_roots_without_a_corpus(tmp_path, name):
    command = ["--model", "epr", "--corpus", name, "--workdir", tmp_path / "run", "--data-root"]
    answer = tfser_train(*command, tmp_path / "nowhere")
    assert answer.code == 3 and f"{tmp_path / 'nowhere'} does not exist" in error_line(answer)
    (tmp_path / "empty").mkdir()
    answer = tfser_train(*command, tmp_path / "empty")
    assert answer.code == 3 and "no .wav under" in error_line(answer)
    assert not (tmp_path / "run").exists()


def test_the_root_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TFSER_EMODB_ROOT", str(tmp_path / "nowhere"))
    answer = tfser_train("--model", "epr", "--corpus", "emodb")
    assert answer.code == 3 and f"{tmp_path / 'nowhere'} does not exist" in error_line(answer)


def test_a_table_that_is_missing(tmp_path):
    answer = tfser_train("--model", "epr", "--corpus", tmp_path / "none.csv")
    assert answer.code == 3 and "there is no table" in error_line(answer)


def test_help():
    answer = tfser_train("--help")
    assert answer.code == 0 and not answer.err
    flags = (
        "--model --corpus --data-root --protocol --hparams --set --seed --seeds --folds --workdir"
    )
    for flag in [*flags.split(), "--cache", "--strategy", "--max-bad", "--debug"]:
        assert re.search(rf"^  {flag} ", answer.out, re.MULTILINE), flag
    assert "130 interrupted" in answer.out and "emodb" in answer.out and "epr" in answer.out


def test_keras_leaves_out_what_is_slow_and_what_comes_later_still_finds_it():
    script = (
        "import sys; from tfser import tensorflow_startup as t; t.import_keras();"
        "assert not {'sklearn', 'matplotlib'} & set(sys.modules), 'imported';"
        "import matplotlib.figure, sklearn.ensemble, keras, tensorflow;"
        "t.import_keras(); assert sys.modules['sklearn'] is sklearn"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("asked, found", [(None, "1"), ("0", "0")])
def test_tensorflow_starts_with_onednn_but_where_it_is_switched_off(monkeypatch, asked, found):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    if asked:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", asked)
    tensorflow_startup.import_keras()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == found
