"""Finding a corpus, and what is said where there is none."""

import os
import subprocess
import sys

import pytest

from tfser.corpora import utterance
from tfser.corpora.loader import corpus_names, describe_corpus, load_corpus
from tfser.errors import DataError, UsageError


def test_names():
    assert {"casia", "emodb", "librispeech", "ravdess", "savee", "toy"} <= set(corpus_names())
    assert "table" not in corpus_names()


def test_nothing_heavy_is_imported():
    code = (
        "import sys, tfser.corpora.loader as c; c.corpus_names(); "
        "import tfser.corpora.emodb, tfser.corpora.table; "
        "print(sorted({'tensorflow', 'keras', 'librosa', 'numpy', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


@pytest.mark.parametrize("corpus", ["emobd", "table", "", "../emodb"])
def test_unknown_corpus(corpus, tmp_path):
    with pytest.raises(UsageError, match="no corpus .*casia, emodb.*table.csv") as error:
        load_corpus(corpus, tmp_path)
    assert error.value.exit_code == 2
    assert ("did you mean 'emodb'" in str(error.value)) == ("em" in corpus)


def test_no_root(monkeypatch):
    monkeypatch.delenv("TFSER_EMODB_ROOT", raising=False)
    with pytest.raises(UsageError, match="--data-root DIR or set TFSER_EMODB_ROOT") as error:
        load_corpus("emodb")
    assert error.value.exit_code == 2


def test_root_from_the_environment(monkeypatch, tmp_path):
    for folder, name in (("environment", "03a01Fa"), ("argument", "03a01Wa")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.wav").touch()
    monkeypatch.setenv("TFSER_EMODB_ROOT", str(tmp_path / "environment"))
    assert [u.name for u in load_corpus("emodb")] == ["03a01Fa"]
    assert [u.name for u in load_corpus("emodb", tmp_path / "argument")] == ["03a01Wa"]


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("missing", "missing does not exist"),
        ("file.zip", "is a file, not a folder"),
        ("empty", "no .wav under .*empty; expected wav/03a01Fa.wav"),
        (
            "other",
            r"none of the 2 audio files under .*other \(the first is DC/a01.wav\); expected wav",
        ),
    ],
)
def test_wrong_root(tmp_path, root, message):
    (tmp_path / "file.zip").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "other" / "DC").mkdir(parents=True)
    for name in ("a01", "a02"):
        (tmp_path / "other" / "DC" / f"{name}.wav").touch()
    with pytest.raises(DataError, match=message) as error:
        load_corpus("emodb", tmp_path / root)
    assert error.value.exit_code == 3
    assert "\n" not in str(error.value)


def test_linked_folders_are_followed_once(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "03a01Fa.wav").touch()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "wav").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "up").symlink_to(tmp_path / "root")
    assert [u.name for u in load_corpus("emodb", tmp_path / "root")] == ["03a01Fa"]


def test_folders_far_below_are_not_searched(tmp_path):
    deep = tmp_path / "a/b/c/d/e/f"
    (deep / "g").mkdir(parents=True)
    (deep / "03a01Fa.wav").touch()
    (deep / "g" / "03a01Wa.wav").touch()
    assert [u.name for u in load_corpus("emodb", tmp_path)] == ["03a01Fa"]


def test_describe_counts_what_has_no_label(tmp_path):
    utterances = [
        utterance.Utterance(tmp_path / "a.wav", "a", "1", "joy"),
        utterance.Utterance(tmp_path / "b.wav", "b", "1"),
    ]
    assert describe_corpus("x.csv", utterances) == (
        "x.csv: 2 utterances, 1 speaker, 1 emotion: joy 1, unlabelled 1"
    )


def test_describe_says_that_nothing_has_a_label(tmp_path):
    utterances = [utterance.Utterance(tmp_path / f"{i}.wav", str(i), str(i)) for i in range(2)]
    assert describe_corpus("x.csv", utterances) == (
        "x.csv: 2 utterances, 2 speakers, no emotion labels"
    )


def test_an_unreadable_folder_is_not_left_out(tmp_path, monkeypatch):
    (tmp_path / "wav").mkdir()

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match="wav cannot be read: Permission denied"):
        load_corpus("emodb", tmp_path)
