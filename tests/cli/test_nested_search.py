"""tfser-search --nested: no test utterance decides a setting, and a kill changes nothing."""

import csv
import json
import re

import numpy as np
import pytest
import soundfile
from running import called, run_training_here

from tfser.cli import one_search, search
from tfser.config.hparams import load_hparams
from tfser.corpora.table.reader import read
from tfser.errors import UsageError
from tfser.evaluation import metrics
from tfser.evaluation.nested_folds import hold_out_speakers, list_speakers
from tfser.inference.finished_run import load_run
from tfser.models.aae import splits as aae
from tfser.models.acnn import splits as acnn
from tfser.models.auxvae import splits as auxvae
from tfser.models.began import splits as began
from tfser.models.epr import splits as epr
from tfser.models.svm import experiment
from tfser.models.svm import splits as svm
from tfser.search import trials as search_trials
from tfser.storage import atomic_files, run_directory

RATE = 16000
SPEAKERS = "abcde"
EMOTIONS = ("anger", "fear")


class Spectrum:
    """A feature of 12 numbers that extracts in no time."""

    n_features, sample_rate_hz, batch_samples, arguments = 12, RATE, 10**9, {}

    def settings(self):
        return {"feature": "spectrum"}

    def extract(self, waveforms):
        return [
            np.log(np.abs(np.fft.rfft(w)[:6000]).reshape(12, -1).sum(axis=1) + 1)[None].astype(
                "float32"
            )
            for w in waveforms
        ]


@pytest.fixture
def here(monkeypatch):
    """Children in this process, which extract the spectrum; returns the folders of the children."""
    folders = []

    def run(words, folder, stops=None):
        folders.append(folder)
        return run_training_here(words, folder)

    monkeypatch.setattr(one_search, "run_training", run)
    monkeypatch.setattr(search_trials, "run_training", run)
    monkeypatch.setattr(experiment, "make_opensmile", lambda settings: Spectrum())
    return folders


def write_table(folder, *, relabelled="", changed="", seed=0):
    """Write the noise of five speakers, coloured by the emotion and by the speaker.

    relabelled: the speaker whose labels are swapped; changed: the file of another noise.
    """
    folder.mkdir()
    rows = ["file,speaker,gender,emotion"]
    for s, speaker in enumerate(SPEAKERS):
        for e, emotion in enumerate(EMOTIONS):
            for take in range(3):
                name = f"{speaker}{emotion}{take}.wav"
                rng = np.random.default_rng([s, e, take, name == changed])
                sound = rng.normal(0, 0.1, RATE)
                mixed = sound + (0.05 * e + 0.1 * s) * np.roll(sound, 1)
                soundfile.write(folder / name, 0.1 * mixed, RATE)
                label = EMOTIONS[1 - e] if speaker == relabelled else emotion
                rows.append(f"{name},{speaker},{'fm'[s % 2]},{label}")
    (folder / "table.csv").write_text("\n".join(rows) + "\n")
    return folder / "table.csv"


def on_table(table, folder, *arguments):
    words = ["--model", "svm", "--corpus", table, "--protocol", "loso", "--evals", 3]
    words += ["--nested", 3, "--cache", table.parent / "cache", "--workdir", folder, *arguments]
    return called(search.main, *words)


def read_rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def trials_of(folder):
    lines = (folder / "trials.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(x).items() if k != "seconds"} for x in lines]


def test_a_nested_search(here, tmp_path):
    """Its cost, the speakers of each child, and a result of all outer folds."""
    table, folder = write_table(tmp_path / "corpus"), tmp_path / "search"
    answer = on_table(table, folder)
    assert answer.code == 0, answer.err
    assert (
        "5 outer folds x (3 trials x 3 inner folds + 1 of the best setting) = 50 tr" in answer.err
    )
    assert re.search(r"\n5 searches with trials like it: about \d+ minutes\n", answer.err)
    settings = read_rows(folder / "settings.csv")
    assert [row["test_speakers"] for row in settings] == list(SPEAKERS)
    for row, speaker in zip(settings, SPEAKERS, strict=True):
        of_fold = folder / f"fold-{int(row['fold']):02}"
        trials = trials_of(of_fold)
        assert len(trials) == 3
        best = max(trials, key=lambda trial: trial["score"])
        assert row["svm.c"] == repr(best["parameters"]["svm.c"])
        assert float(row["dev_uar"]) == best["score"]
        for trial in range(3):
            rows = read_rows(of_fold / f"trial-{trial:03}" / "splits.csv")
            assert {r["speaker"] for r in rows} == set(SPEAKERS) - {speaker}
            assert {r["fold"] for r in rows} == set("012")
        rows = read_rows(of_fold / "best" / "splits.csv")
        assert {r["speaker"] for r in rows if r["part"] == "test"} == {speaker}
        assert {r["speaker"] for r in rows if r["part"] == "train"} == set(SPEAKERS) - {speaker}
        scores = atomic_files.read_json(of_fold / "best" / "scores.json")
        assert "chosen_on" not in scores["flags"] and float(row["test_uar"]) == scores["uar"]
    rows = read_rows(folder / "predictions.csv")
    assert len(rows) == len({row["utterance"] for row in rows}) == 30
    assert {(row["fold"], row["speaker"], row["n_train"]) for row in rows} == {
        (str(i), speaker, "24") for i, speaker in enumerate(SPEAKERS)
    }
    # The pooled score is that of the folds' own predictions.
    own = {
        r["utterance"]: r["predicted"]
        for i in range(5)
        for r in read_rows(folder / f"fold-{i:02}" / "best" / "predictions.csv")
    }
    assert own == {row["utterance"]: row["predicted"] for row in rows}
    scores = atomic_files.read_json(folder / "scores.json")
    y, p = ([row[name] for row in rows] for name in ("emotion", "predicted"))
    assert scores["uar"] == pytest.approx(metrics.uar(y, p)) and scores["speaker_independent"]
    assert scores["flags"] == {"nested": 3, "evals": 3}
    assert "nested search, 3 trials of 3 inner folds a fold" in scores["facts"]
    *_, last = answer.out.splitlines()
    assert last.startswith("RESULT model=svm corpus=table protocol=loso speaker_independent=yes ")
    assert " folds=5 " in last and " uar_low=" in last and last.endswith(" nested=3 evals=3")
    assert answer.out.startswith("fold 00, tests a: svm.c=")
    assert scores["statistics"]["SVM, nested search"]["n_speakers"] == 5
    with pytest.raises(UsageError, match="is a nested search, .*fold-00/best"):
        load_run(folder)
    assert load_run(folder / "fold-03" / "best").classes == ["anger", "fear"]


def test_no_test_utterance_decides_its_fold(here, tmp_path):
    """Swapped labels and other audio of the tested speaker change no setting and no network."""
    plain = tmp_path / "plain"
    assert on_table(write_table(tmp_path / "a"), plain).code == 0
    relabelled = tmp_path / "relabelled"
    assert on_table(write_table(tmp_path / "b", relabelled="e"), relabelled).code == 0
    changed = tmp_path / "changed"
    assert on_table(write_table(tmp_path / "c", changed="eanger0.wav"), changed).code == 0

    def of_e(folder):
        """The fold that tests e: its trials, its SVM and its predictions."""
        fold = folder / "fold-04"
        svms = atomic_files.read_arrays(fold / "best" / "seed-0" / "fold-00" / "svm.npz")
        rows = read_rows(fold / "best" / "predictions.csv")
        kept = ("utterance", "predicted", "p_anger", "p_fear")
        predictions = {row["utterance"]: [row[name] for name in kept] for row in rows}
        return trials_of(fold), {k: v.tolist() for k, v in svms.items()}, predictions

    trials, svms, predictions = of_e(plain)
    assert of_e(relabelled) == (trials, svms, predictions)
    others, other_svms, other_predictions = of_e(changed)
    assert (others, other_svms) == (trials, svms)
    differ = {name for name in predictions if other_predictions[name] != predictions[name]}
    assert differ <= {name for name in predictions if "anger0" in name}
    # In the other folds e trains.
    assert trials_of(plain / "fold-00") != trials_of(relabelled / "fold-00")


def test_a_nested_search_that_is_killed(here, tmp_path, monkeypatch):
    """The same command continues, and its files are those of a search that was not killed."""
    table = write_table(tmp_path / "corpus")
    assert on_table(table, tmp_path / "whole").code == 0
    n_children = len(here)
    child, dies_at = one_search.run_training, {0, 2, 3, 5, n_children + 1}
    numbers = iter(range(10**6))

    def killed(words, folder, stops=None):
        if next(numbers) in dies_at:
            raise KeyboardInterrupt
        return child(words, folder)

    monkeypatch.setattr(one_search, "run_training", killed)
    monkeypatch.setattr(search_trials, "run_training", killed)
    codes = []
    while not codes or codes[-1] == 130:
        codes.append(on_table(table, tmp_path / "killed").code)
    assert codes == [130] * 5 + [0]
    for name in ("predictions.csv", "settings.csv", "scores.json", "seed-0/predictions.csv"):
        whole, resumed = ((tmp_path / run / name).read_bytes() for run in ("whole", "killed"))
        assert whole == resumed, name
    # Finished, it prints the same again, and has no further trials.
    again = on_table(table, tmp_path / "killed")
    assert again.code == 0 and "uar=" in again.out
    for more in (["--evals", 4], ["--nested", 4]):
        refused = on_table(table, tmp_path / "killed", *more)
        assert refused.code == 4 and f"{more[0][2:]}: 3 -> 4" in refused.err


@pytest.mark.parametrize("splits", [aae, acnn, auxvae, began, epr, svm])
def test_the_test_of_a_fold_is_that_of_leave_one_speaker_out(splits, tmp_path):
    """Train, dev and test of each model, whose test runs as the corpus's own split."""
    model = splits.__name__.split(".")[-2]
    utterances = read(write_table(tmp_path / "corpus"))
    hp = load_hparams(model, "table", overrides=["labels.keep=[]"] * (model == "acnn"))
    run = {"folder": tmp_path, "cache": tmp_path, "corpus": "table", "n_folds": None}
    run |= {"seeds": (0,), "strategy": "none", "max_bad": 0}
    loso = run_directory.Run(**run, protocol="loso")
    selected = splits.select_utterances(utterances, hp)
    of_loso = splits.make_splits(selected, hp, loso, 0)
    folds = list_speakers(selected, of_loso, 3)
    dev = [[], [], [], [], []] if model in ("auxvae", "svm") else [[s] for s in "bcdea"]
    assert [fold["dev"] for fold in folds] == dev
    for fold, expected in zip(folds, of_loso, strict=True):
        parts = hold_out_speakers(utterances, fold, "split")
        chosen = splits.select_utterances(parts, hp)
        [found] = splits.make_splits(chosen, hp, run_directory.Run(**run, protocol="split"), 0)
        assert [x.tolist() for x in found] == [x.tolist() for x in expected]
        kept = hold_out_speakers(utterances, fold, "loso")
        assert {u.speaker for u in kept} == set(SPEAKERS) - set(fold["test"])
