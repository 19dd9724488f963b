"""The checks of a command that need no TensorFlow."""

import json
import os
import subprocess
import sys

import pytest
from running import REPOSITORY

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
