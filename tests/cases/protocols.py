"""The protocol of a table: its own split, leave one speaker out, the folds of the paper.

Cases that end before TensorFlow is imported, and one training of an SVM for each choice.
"""

import csv
import json
import re

from cases.case import Case
from cases.corpus import train_on, write_corpus

EMOTIONS = ("anger", "sadness")
# Flags with which a system trains on the table alone.
ALONE = {
    "aae": (),
    "acnn": ("--set", "autoencoder.corpus="),
    "auxvae": ("--set", "vae.corpus=tested"),
    "began": ("--set", "head.encoder=untrained"),
    "encoder": (),
    "epr": (),
    "svm": (),
}


def list_rows(split=None, *, speakers="abcd", n_takes=2, emotion_of=None):
    """Return the lines of a table: two emotions x speakers x takes.

    split: function of (speaker, emotion, take) that returns the cell; None: no such column.
    emotion_of: function of (speaker, emotion) that returns the label.
    """
    lines = ["file,speaker,emotion" + ",split" * (split is not None)]
    for speaker in speakers:
        for emotion in EMOTIONS:
            for take in range(n_takes):
                label = emotion_of(speaker, emotion) if emotion_of else emotion
                line = f"{speaker}-{emotion}-{take}.wav,{speaker},{label}"
                lines.append(line + (f",{split(speaker, emotion, take)}" if split else ""))
    return lines


def by_speaker(**parts):
    """Return a split by the speaker's name."""
    return lambda speaker, emotion, take: parts[speaker]


OFFICIAL = by_speaker(a="Train", b="train", c="VAL", d="test")
NO_TEST = by_speaker(a="train", b="train", c="dev", d="dev")


def result_of(answer) -> str:
    """Return the RESULT line."""
    return answer.out.splitlines()[-1]


def check_tested(*speakers, result):
    """Return a check: the test set is that of these speakers, RESULT matches."""

    def check(answer, folder):
        with open(folder / "run" / "predictions.csv", newline="") as file:
            tested = {row["utterance"] for row in csv.DictReader(file)}
        assert tested == {f"{s}-{e}-{i}" for s in speakers for e in EMOTIONS for i in range(2)}
        assert re.search(result, result_of(answer)), result_of(answer)

    return check


def check_recorded(protocol):
    """Return a check: hparams.json has the protocol."""

    def check(answer, folder):
        settings = json.loads((folder / "run" / "hparams.json").read_text())
        assert settings["protocol"] == protocol

    return check


def refused(name, lines, message, *flags, exit_code=3, models=("svm",)):
    """Return a case for each model: the command ends with this message."""
    return [
        Case(
            f"{name} ({model})",
            "train",
            train_on(lines, *ALONE[model], *flags, model=model),
            exit_code,
            message,
        )
        for model in models
    ]


def is_not_extracted(answer, folder):
    """The command ends before it makes a cache, and describes no corpus."""
    assert not (folder / "cache").exists() and "utterances, 4 speakers" not in answer.err


def write_other(folder):
    """Write a second corpus with other recordings."""
    (folder / "other").mkdir()
    return write_corpus(folder / "other", list_rows(speakers="xyz", n_takes=1))


TRAINED = [
    Case(
        "a split is the protocol of a table that has one",
        "train",
        train_on(list_rows(OFFICIAL)),
        0,
        "split: train 8, dev 4, test 4 utterances",
        check_tested(
            "d", result=r"protocol=split speaker_independent=yes .* majority=0.5000 n=4 folds=1 "
        ),
    ),
    Case(
        "all utterances train, and the score is no result",
        "train",
        train_on(list_rows(), "--protocol", "all"),
        0,
        check=lambda answer, folder: re.search(
            "protocol=all speaker_independent=no .* n=2 folds=1 .* evaluate=none",
            result_of(answer),
        ).group(),
    ),
    Case(
        "speakers are left out where a table has no split",
        "train",
        train_on(list_rows()),
        0,
        "--protocol loso, the default of a table",
        check_tested(
            *"abcd", result=r"protocol=loso speaker_independent=yes .* n=16 folds=4 seeds=1"
        ),
    ),
    Case(
        "a speaker in train and in test",
        "train",
        train_on(list_rows(lambda s, e, i: "test" if s == "d" or (s, i) == ("c", 0) else "train")),
        0,
        "split: 1 of the 2 test speakers are in train or dev, too, the first is 'c'",
        lambda answer, folder: result_of(answer).index("protocol=split speaker_independent=no"),
    ),
    Case(
        "one speaker: the paper's folds, and the warning says so",
        "train",
        train_on(list_rows(speakers="a", n_takes=4), "--folds", "2"),
        0,
        r"as the table has 1 speaker, and (.*\n)*--protocol paper: test speakers train, too",
        lambda answer, folder: result_of(answer).index("protocol=paper speaker_independent=no"),
    ),
    Case(
        "the paper's folds stay available, and speaker and label go together",
        "train",
        train_on(
            list_rows(emotion_of=lambda s, _: EMOTIONS[s in "cd"]),
            *("--protocol", "paper", "--folds", "2"),
        ),
        0,
        r"speaker alone predicts 100 % of the labels \(the commonest class 50 %\)",
        lambda answer, folder: result_of(answer).index("protocol=paper speaker_independent=no"),
    ),
]
CASES = [
    *TRAINED[:2],  # tests/cli/test_task.py has the others
    *refused("another word", list_rows(by_speaker(a="train", b="train", c="dev", d="tset")),
             r"split: .tset. of utterance d-anger-0 is not .*\(did you mean .test.\?\)",
             models=ALONE),
    *refused("numbers of folds", list_rows(by_speaker(a="1", b="2", c="3", d="4")),
             "split: '1' of utterance a-anger-0 is not train, dev"),
    *refused("no test part", list_rows(NO_TEST), "train has 8 utterances and test 0", models=ALONE),
    *refused("one part", list_rows(by_speaker(a="test", b="test", c="test", d="TEST")),
             "train has 0 utterances and test 16"),
    *refused("train of one class", list_rows(
        lambda s, e, _: "test" if s == "d" else "train" if e == "anger" else "dev"),
        "train has one class, 'anger'"),
    *refused("--folds beside a split", list_rows(OFFICIAL), "--folds 3: the table has a column",
             "--folds", "3", exit_code=2, models=("auxvae", "svm")),
    *refused("--folds beside --protocol split", list_rows(OFFICIAL), "--protocol split is one fold",
             "--folds", "3", "--protocol", "split", exit_code=2),
    *refused("no split", list_rows(), "--protocol split: no utterance has a split", "--protocol",
             "split", exit_code=2, models=("began", "epr")),
    *refused("an empty column", list_rows(lambda *_: ""), "no utterance has a split", "--protocol",
             "split", exit_code=2),
    *refused("one class", list_rows(emotion_of=lambda *_: "anger"), "fewer than two classes",
             models=("aae", "epr")),
    *refused("one speaker", list_rows(speakers="a"), "leave one speaker out needs", "--protocol",
             "loso", models=ALONE),
    *refused("two folds of speakers", list_rows(), "--folds 2: .* use --folds 3", "--folds", "2",
             exit_code=2, models=("acnn", "svm")),
    *refused("more folds than speakers", list_rows(), "use --folds 4", "--folds", "5", exit_code=2,
             models=("auxvae", "epr")),
    *refused("two folds of one speaker", list_rows(speakers="a"), r"corpus has 1(?!.*--folds 1)",
             "--folds", "2", "--protocol", "paper", models=("aae", "acnn")),
    *refused("two folds of one speaker, left out", list_rows(speakers="a"),
             r"corpus has one(?!.*--folds 1)", "--folds", "2", "--protocol", "loso",
             models=("auxvae",)),
    Case("extract: one class", "extract",
         lambda folder: train_on(list_rows(emotion_of=lambda *_: "anger"), model="epr")(folder)[:6],
         3, "16 utterances with fewer than two classes", is_not_extracted),
    Case("--test-corpus of a model that has none", "train",
         lambda folder: train_on(list_rows(), "--test-corpus", write_other(folder), model="epr")(
             folder), 2, "epr has no test across corpora"),
    Case("--test-corpus with --protocol split", "train",
         train_on(list_rows(), "--test-corpus", "toy", "--protocol", "split"), 2,
         "--protocol split: with --test-corpus there are no folds"),
    *refused("--folds beside --protocol all", list_rows(), "--protocol all is one training",
             "--folds", "3", "--protocol", "all", exit_code=2),
    Case("several seeds of an SVM, for which nothing is random", "train",
         train_on(list_rows(OFFICIAL), "--seeds", "2"), 2, "under --protocol loso or split"),
    Case("speech without labels that has no folder", "train",
         train_on(list_rows(), "--set", "vae.corpus=tedlium", model="auxvae"), 2,
         "vae.corpus=tedlium: set TFSER_TEDLIUM_ROOT"),
    Case("speech without labels of an unknown name", "train",
         train_on(list_rows(), "--set", "train.unlabelled_corpus=libri", model="aae"), 2,
         r"'libri' is not known \(did you mean 'librispeech'\?\)"),
    Case("speakers as the target: the split is not used, and the warning says so", "train",
         train_on(list_rows(OFFICIAL, n_takes=1), "--target", "speaker", "--folds", "3",
                  *ALONE["auxvae"], model="auxvae"), 3,
         "--protocol paper, because of --target speaker; --protocol split takes"),
    *refused("weights of a property that there is not", list_rows(),
             "balance: 'age' is not one of class, gender", "--balance", "class,age", exit_code=2,
             models=("acnn", "encoder", "epr", "svm")),
    *refused("weights of unknown genders", list_rows(),
             "balance: .* has no gender; leave gender out", "--balance", "gender",
             models=("aae", "svm")),
    *refused("weights where a model has none", list_rows(),
             "--balance: the training of .* has no weights; leave it out", "--balance", "class",
             exit_code=2, models=("auxvae", "began")),
    *(Case(name, "search", train_on(lines, "--nested", *flags), 2, message)
      for name, lines, flags, message in (
          ("a nested search of the paper's folds", list_rows(),
           ("3", "--protocol", "paper", "--folds", "2"),
           "--protocol paper may not; give --protocol loso"),
          ("a nested search of the corpus's own split", list_rows(OFFICIAL), ("3",),
           "never looks at its test part before the best setting; leave --nested out"),
          ("two inner folds", list_rows(), ("2",), "has 3 speakers, and takes 3 inner folds"),
          ("more inner folds than speakers", list_rows(), ("4",), "--nested 4: a search inside"),
          ("a nested search in groups of speakers", list_rows(), ("3", "--folds", "3"),
           "--nested 3: a search inside an outer fold has 2 speakers"),
      )),
]  # fmt: skip
