"""Names of files that are not UTF-8: read as they are, written as UTF-8."""

import os

from tfser.corpora.loader import check_unique_names
from tfser.corpora.utterance import Utterance
from tfser.storage import atomic_files, file_names

GBK = os.fsdecode(b"\xb0\xa1")


def test_escape():
    assert file_names.escape(f"a/{GBK}.wav") == r"a/\xb0\xa1.wav"
    assert file_names.escape("ängstlich.wav") == "ängstlich.wav"
    assert file_names.is_utf8("ä") and not file_names.is_utf8(GBK)


def test_utterances_have_names_in_utf8(tmp_path, caplog):
    path = tmp_path / f"{GBK}.wav"
    first = Utterance(tmp_path / "a.wav", "a", "s")
    utterances = check_unique_names("c", [first, Utterance(path, GBK, GBK, emotion="joy")])
    assert utterances[0] is first
    assert (utterances[1].name, utterances[1].speaker) == (r"\xb0\xa1", r"\xb0\xa1")
    assert utterances[1].path == path


def test_json_gives_a_path_back(tmp_path):
    atomic_files.write_json(tmp_path / "a.json", {"root": GBK, "ä": 1})
    (tmp_path / "a.json").read_bytes().decode("utf-8")
    assert atomic_files.read_json(tmp_path / "a.json") == {"root": GBK, "ä": 1}
