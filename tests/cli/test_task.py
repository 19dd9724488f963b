"""The checks of a command that need no TensorFlow."""

import json
import os
import re
import subprocess
import sys

import pytest
from cases import protocols
from running import REPOSITORY, called

from tfser.cli import train
from tfser.cli.options import Options, resolve_protocol
from tfser.config.hparams import load_hparams
from tfser.corpora.utterance import Utterance

LONGEST_SECONDS = 2
# The cases of a table that fail, in one process that imports neither TensorFlow nor the like.
PROGRAM = """
import contextlib, importlib, io, json, os, sys, tempfile, time
from pathlib import Path

from cases import flags, protocols

answers = []
for case in [*flags.FLAGS, *protocols.CASES]:
    if not case.exit_code:
        continue
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        arguments = [str(word) for word in case.arguments(Path(folder))]
        command, start = importlib.import_module(f"tfser.cli.{case.command}"), time.monotonic()
        with contextlib.redirect_stderr(io.StringIO()):
            try:
                code = command.main(arguments)
            except SystemExit as exit:
                code = exit.code
        answers.append((case.name, code == case.exit_code, time.monotonic() - start))
heavy = {"tensorflow", "keras", "librosa", "sklearn", "matplotlib", "opensmile"}
print(json.dumps([answers, sorted(heavy & set(sys.modules))]))
"""


def test_wrong_commands_end_before_tensorflow_is_imported():
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_ROOT")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=200,
        env=environment | {"PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers, heavy = json.loads(done.stdout)
    assert heavy == [] and len(answers) > 50
    assert [name for name, as_expected, _ in answers if not as_expected] == []
    slow = [(name, seconds) for name, _, seconds in answers if seconds > LONGEST_SECONDS]
    if slow:
        pytest.fail(f"slower than {LONGEST_SECONDS} s: {slow}")


@pytest.mark.slow  # test_cases.py has the first one, test_protocols.py the splits of all
@pytest.mark.parametrize("case", protocols.TRAINED[2:], ids=lambda case: case.name)
def test_the_protocol_of_a_table(case, tmp_path):
    answer = called(train.main, *case.arguments(tmp_path))
    assert answer.code == 0, answer.err
    assert re.search(case.message, answer.err), answer.err
    case.check(answer, tmp_path)


def resolve(corpus="table.csv", *, split=None, more=(), **options):
    utterances = [Utterance(f"{s}.wav", s, s, "joy", split=split) for s in "abc"]
    hp = load_hparams("svm", "table", overrides=more)
    options = {"overrides": tuple(more)} | options
    return resolve_protocol(Options(model="svm", corpus=corpus, **options), utterances, hp)


def test_the_protocol_of_a_command(tmp_path):
    assert resolve() == "loso" and resolve(split="train") == "split"
    assert resolve(protocol="paper") == "paper" and resolve(split="test", protocol="loso") == "loso"
    assert resolve("emodb") == resolve("omg", split="train") == "paper"
    assert resolve(test_corpus="emodb", split="train") == "paper"
    # A setting that the folds of the paper read alone.
    assert resolve(more=["protocol.kind=per-speaker"]) == "paper"
    assert resolve(more=["svm.c=0.1"]) == "loso"


def test_a_run_of_before_goes_on_with_its_protocol(tmp_path, caplog):
    """The default of a table was paper; a run that was begun with it stays so."""
    caplog.set_level("INFO", "tfser")
    settings = tmp_path / "hparams.json"
    settings.write_text('{"model": "svm", "protocol": "paper"}')
    assert resolve(workdir=tmp_path) == "loso"  # nothing is trained yet
    (tmp_path / "seed-0").mkdir()
    assert resolve(workdir=tmp_path) == resolve(workdir=tmp_path, split="test") == "paper"
    assert f"--protocol paper, as of the run in {tmp_path}" in caplog.text
    assert resolve(workdir=tmp_path, protocol="loso") == "loso"  # which the run then refuses
