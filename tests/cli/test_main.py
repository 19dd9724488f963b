"""tfser: one command in front of all others."""

import subprocess
import sys
from importlib.metadata import version

import pytest
from running import REPOSITORY, called

import tfser
from tfser.cli import compare, main, train


def scripts():
    text = (REPOSITORY / "setup.cfg").read_text()
    lines = [line.split(" = ")[0].strip() for line in text.splitlines() if ":main" in line]
    return {name.removeprefix("tfser-") for name in lines} - {"tfser"}


def test_every_command_is_there_and_told(capsys):
    assert set(main.COMMANDS) == scripts()
    assert main.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out for name in main.COMMANDS)
    assert main.main([]) == 2 and capsys.readouterr().out == out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("word", ["--version", "version"])
def test_the_version(word, capsys):
    assert main.main([word]) == 0
    assert capsys.readouterr().out == f"tfser {version('tfser')}\n"
    assert tfser.__version__ == version("tfser")


@pytest.mark.parametrize(
    "word, says",
    [
        ("trian", "unknown command trian (did you mean 'train'?); see tfser --help"),
        ("--model", "unknown argument --model; see tfser --help"),
    ],
)
def test_unknown_words(word, says, capsys):
    assert main.main([word]) == 2
    assert capsys.readouterr().err == f"error: {says}\n"


def test_a_command_is_the_one_of_its_own_name(monkeypatch):
    monkeypatch.setattr(train, "main", lambda argv: ("train", argv))
    assert main.main(["train", "--model", "epr"]) == ("train", ["--model", "epr"])
    monkeypatch.setattr(sys, "argv", ["/usr/bin/tfser", "train", "--seed", "1"])
    assert main.main() == ("train", ["--seed", "1"])
    assert sys.argv == ["tfser-train", "--seed", "1"]  # what the run records
    for words in ([], ["a"], ["--flag"]):
        answers = called(compare.main, *words), called(main.main, "compare", *words)
        assert answers[0] == answers[1] and answers[0].code == 2


def test_as_a_module_of_python():
    answer = subprocess.run(
        [sys.executable, "-m", "tfser", "train", "--model", "nothing"],
        capture_output=True, text=True, timeout=60, cwd=REPOSITORY,
    )  # fmt: skip
    assert answer.returncode == 2 and answer.stderr.startswith("error: ")
    assert len(answer.stderr.splitlines()) == 1


def test_nothing_else_is_an_attribute():
    with pytest.raises(AttributeError, match="module 'tfser' has no attribute 'nothing'"):
        _ = tfser.nothing
