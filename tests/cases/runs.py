"""Files of runs, searches and hyperparameters that are lost, damaged, foreign or hostile."""

import atexit
import functools
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
from cases.case import Case
from cases.corpus import write_corpus
from running import called

from tfser.cli import train
from tfser.storage import atomic_files

ROWS = [
    "file,speaker,emotion",
    *(f"{i}.wav,{'abc'[i % 3]},{('joy', 'fear')[i // 3]}" for i in range(6)),
]
DEEP = "[" * 5_000 + "]" * 5_000
DAMAGED = {
    "empty": "",
    "truncated": '{"model": "ep',
    "a list": "[]",
    "nested 5,000 deep": DEEP,
    "an integer of 5,000 digits": "9" * 5_000,
    "of another kind": '{"model": 3}',
}


def command_on_table(folder, *flags):
    """Return flags of tfser-train or tfser-search: the SVM on a table of four tones."""
    table = write_corpus(folder, ROWS)
    words = ["--model", "svm", "--corpus", table, "--cache", folder / "cache"]
    return [*words, "--protocol", "loso", "--workdir", folder / "run", *flags]


def write_run(folder, **files):
    """Write files into the run directory `folder / "run"`; a name has _ for the dot."""
    (folder / "run" / "seed-0").mkdir(parents=True)
    for name, content in {"_lock": ""}.items() | files.items():
        (folder / "run" / name.replace("_", ".")).write_text(content)


def on_run(*flags, **files):
    """Return the arguments of a command on a table with a run directory of these files."""

    def arguments(folder):
        write_run(folder, **files)
        return command_on_table(folder, *flags)

    return arguments


def linked(name):
    """Return arguments with a run directory of which a file is a link to the user's thesis."""

    def arguments(folder):
        (folder / "run").mkdir()
        (folder / "run" / ".lock").touch()
        (folder / "thesis").write_text("years of work")
        (folder / "run" / name).unlink(missing_ok=True)
        (folder / "run" / name).symlink_to(folder / "thesis")
        return command_on_table(folder)

    return arguments


def thesis_is_kept(_, folder):
    assert (folder / "thesis").read_text() == "years of work"


def predict_with(spoil):
    """Return the arguments of tfser-predict with a run of which `spoil`(run) has spoilt a file."""

    def arguments(folder):
        run = folder / "run"
        shutil.copytree(folder / "made_before" / "runs" / "epr", run)
        spoil(run)
        return ["--run", run, folder / "a.wav"]

    return arguments


def replace_text(name, content):
    return lambda run: (run / name).write_text(content)


def edit_json(name, **entries):
    return lambda run: (run / name).write_text(
        json.dumps(json.loads((run / name).read_text()) | entries)
    )


def foreign_fold(run):
    (run / "seed-0" / "fold-00" / "fold.json").write_text('{"run": "0123456789abcdef"}')


def with_hparams(content):
    """Return the arguments of tfser-train with this file, text or bytes, as --hparams."""

    def arguments(folder):
        content_ = content if isinstance(content, bytes) else content.encode()
        (folder / "my.toml").write_bytes(content_)
        return command_on_table(folder, "--hparams", folder / "my.toml")

    return arguments


def with_set(text):
    return lambda folder: command_on_table(folder, "--set", text)


FAULTY_HPARAMS = {
    "nested 5,000 deep": (f"[svm]\nc = {DEEP}\n", "my.toml: .*nested too deep"),
    "nested 30 deep": (f"[svm]\nc = {'[' * 30}{']' * 30}\n", "my.toml: .*nested too deep"),
    "keys of 5,000 parts": (f"svm{'.c' * 5_000} = 1\n", "my.toml: .*nested too deep"),
    "an integer of 5,000 digits": (f"[svm]\nc = {'9' * 5_000}\n", "my.toml: .*digits"),
    "an integer of 400 digits": (
        f"[svm]\nc = {'9' * 400}\n",
        "my.toml: a whole number of 1329 bits",
    ),
    "binary": (b"\x7fELF\0\xff", "my.toml: .*utf-8"),
    "of 2 MB": (b"#" * 2_000_000, "my.toml: it has more than a million bytes"),
}


def on_copied_run(spoil):
    """Return the arguments of tfser-train on a copy of the SVM's run in which `spoil`(run) acts."""

    def arguments(folder):
        shutil.copytree(train_once(), folder, dirs_exist_ok=True)
        spoil(folder / "run" / "seed-0")
        return command_on_table(folder)

    return arguments


@functools.cache
def train_once():
    """Train the SVM on the table, and return the folder, which is deleted at the end."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    answer = called(train.main, *command_on_table(Path(folder.name)))
    assert answer.code == 0, answer.err
    return folder.name


def write_predicted(**arrays):
    """Return a function that replaces the predictions of the first fold."""
    return lambda seed: np.savez(seed / "fold-00" / "predicted.npz", **arrays)


def copy_fold_file(seed):
    shutil.copy(seed / "fold-01" / "predicted.npz", seed / "fold-00" / "predicted.npz")


def fold_is_trained_again(answer, folder):
    """The predictions of the first fold are those of two utterances again."""
    predicted = atomic_files.read_arrays(folder / "run/seed-0/fold-00/predicted.npz")["predicted"]
    assert len(predicted) == 2 and set(predicted) <= {0, 1}


def compare_with(spoil):
    """Return the arguments of tfser-compare with a run and its copy, which `spoil`(copy) spoils."""

    def arguments(folder):
        shutil.copytree(folder / "made_before/runs/epr", folder / "copy")
        spoil(folder / "copy")
        return [folder / "made_before/runs/epr", folder / "copy"]

    return arguments


def edit_text(name, old, new, count=-1):
    """Return a function that replaces text in a file of a run, which has it."""

    def edit(run):
        text = (run / name).read_text()
        assert old in text
        (run / name).write_text(text.replace(old, new, count))

    return edit


PREDICTIONS = [  # edits of predictions.csv, the message
    (edit_text("predictions.csv", ",anger,sadness,", ",anger,anger,"), "gives a UAR of .*changed"),
    (edit_text("predictions.csv", ",anger,", ",angry,"), "predictions.csv is damaged: KeyError"),
    (edit_text("predictions.csv", "\n0,", "\nzero,"), "is damaged: ValueError"),
    (edit_text("predictions.csv", ",", ";"), "is damaged: it has no column seed"),
    (edit_json("scores.json", systems={"VGG": {}}), "scores.json is damaged: it has no UAR of VGG"),
]
CASES = [
    Case("predictions of another fold", "train", on_copied_run(copy_fold_file), 4,
         "predicted.npz is of another fold, seed-0/fold-01/predicted.npz; copy the run whole"),
    Case("too few predictions", "train", on_copied_run(write_predicted(predicted=np.array([0]))), 3,
         "fold-00 has 1 predictions for 2 utterances; delete its folder"),
    *(Case(f"no predictions: {arrays}", "train", on_copied_run(write_predicted(**arrays)),
           0, check=fold_is_trained_again)
      for arrays in ({"x": np.array([0, 1])}, {"predicted": np.array([0, 7])})),
    *(Case(f"compare: edited, {message}", "compare", compare_with(spoil), 3, message)
      for spoil, message in PREDICTIONS),
    *(Case(f"predict: the classes {classes}", "predict",
           predict_with(edit_json("scores.json", classes=classes)), 3,
           "scores.json is damaged: its classes are not those of the run")
      for classes in (["sadness", "anger"], ["anger", "joy", "sadness"], [], ["anger", "anger"])),
    Case("predict: a folder of a run as --run", "predict",
         lambda folder: ["--run", folder / "made_before/runs/epr/seed-0", folder / "a.wav"], 2,
         "seed-0 is a part of the run .*epr; give that folder"),
    Case("results, no hparams.json", "train", on_run(), 4, "run has results without hparams.json"),
    Case("scores alone, no hparams.json", "train",
         on_run(scores_json="{}"), 4, "run has results without hparams.json"),
    Case("a search's results, no hparams.json", "search",
         on_run(trials_jsonl=""), 4, "run has results without hparams.json"),
    *(Case(f"hparams.json is {name}", "train", on_run(hparams_json=content),
           4 if name == "of another kind" else 3,
           "holds a run of other settings" if name == "of another kind" else
           "hparams.json is damaged: .*; copy the run whole, or train into another --workdir")
      for name, content in DAMAGED.items()),
    Case("the lock is a link", "train", linked(".lock"), 4, r"\.lock is a symbolic link; delete it",
         thesis_is_kept),
    Case("the log is a link", "train", linked("log.txt"), 4, "log.txt is a symbolic link",
         thesis_is_kept),
    Case("predict: no hparams.json", "predict",
         predict_with(lambda run: (run / "hparams.json").unlink()), 4, "without hparams.json"),
    *(Case(f"predict: {file} is {name}", "predict", predict_with(replace_text(file, content)), 3,
           f"(run|{file}) is damaged: |hparams.json is of model epr, scores.json of 3")
      for file in ("hparams.json", "scores.json") for name, content in DAMAGED.items()),
    Case("predict: scores.json of another run", "predict",
         predict_with(edit_json("scores.json", protocol="paper")), 3,
         "hparams.json is of protocol loso, scores.json of paper; copy the run whole"),
    Case("predict: scores.json lost", "predict",
         predict_with(lambda run: (run / "scores.json").unlink()), 4, "is not finished"),
    Case("predict: a fold of another run", "predict", predict_with(foreign_fold), 4,
         "fold-00 is of another run or fold, or hparams.json .*; copy the run whole, or delete"),
    *(Case(f"--hparams is {name}", "train", with_hparams(content), 2, message)
      for name, (content, message) in FAULTY_HPARAMS.items()),
    Case("--set nested 5,000 deep", "train", with_set(f"svm.c={DEEP}"), 2, "nested too deep"),
    Case("--set of 5,000 digits", "train", with_set(f"svm.c={'9' * 5_000}"), 2, "too many digits"),
    Case("--set of 400 digits", "train", with_set(f"svm.c={'9' * 400}"), 2, "1329 bits"),
]  # fmt: skip
