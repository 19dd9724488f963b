"""LibriSpeech: small trees under the real names, and a part of the corpus itself."""

import logging
from collections import Counter

import pytest

from tfser.audio import decode
from tfser.corpora import librispeech
from tfser.corpora.loader import describe_corpus, load_corpus
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError

SPEAKERS = """; Some pipe(|) separated metadata
;
;ID  |SEX| SUBSET           |MINUTES| NAME
19   | F | train-clean-100  | 25.19 | Kara Shallenberg
60   | M | train-clean-100  | 20.18 | |CBW|Simon
61   | M | test-clean       | 8.08  | Paul-Gabriel Wiener

8842 | F | dev-clean        | 8.10  | Mary J
"""


def flac(root, subset, name):
    speaker, chapter, _ = name.split("-")
    path = root / subset / speaker / chapter / f"{name}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.fixture
def tree(tmp_path):
    """The folder LibriSpeech; what else lies in it is there as well."""
    root = tmp_path / "LibriSpeech"
    for subset, name in (
        ("train-clean-100", "60-121082-0000"),
        ("train-clean-100", "19-198-0001"),
        ("test-clean", "61-70968-0000"),
    ):
        flac(root, subset, name)
    (root / "SPEAKERS.TXT").write_text(SPEAKERS)
    transcript = root / "train-clean-100/19/198/19-198.trans.txt"
    transcript.write_text("19-198-0001 A WORD\n")
    (root / "train-clean-100/19/198/._19-198-0001.flac").touch()
    return root


@pytest.mark.parametrize("levels_up", [0, 1])
def test_the_tree_of_the_release(tree, levels_up, caplog):
    root = tree if levels_up == 0 else tree.parent
    assert load_corpus("librispeech", root) == [
        Utterance(
            tree / "train-clean-100/19/198/19-198-0001.flac", "19-198-0001", "19",
            gender="female", split="train", group="train-clean-100",
        ),
        Utterance(
            tree / "train-clean-100/60/121082/60-121082-0000.flac", "60-121082-0000", "60",
            gender="male", split="train", group="train-clean-100",
        ),
        Utterance(
            tree / "test-clean/61/70968/61-70968-0000.flac", "61-70968-0000", "61",
            gender="male", split="test", group="test-clean",
        ),
    ]  # fmt: skip
    assert not caplog.records


def test_one_subset_finds_the_speakers_above_it(tree, monkeypatch, caplog):
    whole = {u.name: u for u in librispeech.read(tree)}
    subset = librispeech.read(tree / "train-clean-100")
    assert [u.name for u in subset] == ["19-198-0001", "60-121082-0000"]
    assert all(u == whole[u.name] for u in subset)
    monkeypatch.chdir(tree / "train-clean-100")
    here = load_corpus("librispeech", ".")
    assert [(u.name, u.gender, u.group) for u in here] == [
        (u.name, u.gender, u.group) for u in subset
    ]
    assert not caplog.records


def test_without_the_speakers_there_is_no_gender_and_one_warning(tree, caplog):
    (tree / "SPEAKERS.TXT").unlink()
    with caplog.at_level(logging.WARNING):
        utterances = load_corpus("librispeech", tree)
    [record] = caplog.records
    assert "no SPEAKERS.TXT in" in record.getMessage()
    assert {u.gender for u in utterances} == {None}


def test_speakers_who_are_not_in_the_list_are_counted(tree, caplog):
    for name in ("200-1-0000", "99-1-0000", "99-1-0001"):
        flac(tree, "train-clean-100", name)
    with caplog.at_level(logging.WARNING):
        utterances = load_corpus("librispeech", tree)
    [record] = caplog.records
    assert record.getMessage().endswith("no gender here: 2, the first is 99")
    assert Counter(u.gender for u in utterances) == {"male": 2, "female": 1, None: 3}


@pytest.mark.parametrize(
    "line",
    ["19   | F | train-clean-100", "19   | X | a | 1 | Kara", "Kara | F | a | 1 | 19", "<html>"],
)
def test_a_line_that_is_no_speaker(tree, line):
    (tree / "SPEAKERS.TXT").write_text(SPEAKERS + line + "\n")
    with pytest.raises(DataError, match="SPEAKERS.TXT, line 9: .*copy the file again") as error:
        load_corpus("librispeech", tree)
    assert error.value.exit_code == 3 and "\n" not in str(error.value)


def test_files_that_are_not_at_their_place_are_said(tree, caplog):
    (tree / "train-clean-100/19/198/20-198-0000.flac").touch()  # another speaker's
    (tree / "19-198-0002.flac").touch()
    with caplog.at_level(logging.WARNING):
        assert len(load_corpus("librispeech", tree)) == 3
    assert "2 of the 5 audio files" in caplog.text


def test_the_same_utterance_twice(tree):
    flac(tree, "copy", "19-198-0001")
    with pytest.raises(DataError, match="two files are utterance 19-198-0001"):
        load_corpus("librispeech", tree)


def test_other_subsets_have_no_split(tree):
    flac(tree, "mini", "19-198-0009")
    [utterance] = [u for u in librispeech.read(tree) if u.group == "mini"]
    assert utterance.split is None


def test_the_wrong_folder(tmp_path):
    with pytest.raises(DataError, match="no .flac under .*expected <subset>/<speaker>"):
        load_corpus("librispeech", tmp_path)


def test_the_corpus_itself(shared_data, caplog):
    root = shared_data / "LibriSpeech"
    utterances = load_corpus("librispeech", root)
    assert not caplog.records
    assert Counter(u.group for u in utterances) == {"train-clean-100": 251, "test-other": 100}
    genders = {u.speaker: u.gender for u in utterances}
    assert Counter(genders.values()) == {"male": 131, "female": 130}
    assert genders["60"] == "male"  # |CBW|Simon
    assert librispeech.load_genders(root / "SPEAKERS.TXT").keys() > genders.keys()
    assert describe_corpus("librispeech", utterances) == (
        "librispeech: 251 of the paper's 28,539 utterances and 100 others, 261 speakers, "
        "no emotion labels"
    )


def test_a_damaged_flac_of_the_corpus_is_one_line(shared_data, tmp_path, capfd):
    files = sorted((shared_data / "LibriSpeech").glob("test-other/*/*/*.flac"))
    content = min(files, key=lambda path: path.stat().st_size).read_bytes()
    path = tmp_path / "a.flac"

    def refused(damaged):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="truncated") as error:
            decode.load_audio(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)

    sound = content.index(b"\xff\xf8")  # the first frame; before it are headers and padding
    for part in range(1, 20):
        position = sound + part * (len(content) - sound) // 20
        refused(content[:position])
        refused(content[:position] + content[position + 1000 :])
        refused(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
    refused(content[:-1])
    assert capfd.readouterr() == ("", "")  # the decoder says nothing of its own
