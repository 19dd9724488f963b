"""The table of cases: inputs that users have, the command's exit code, message and right value."""

import importlib
import os
import re
from pathlib import Path

import pytest
from running import called

MODULES = sorted(path.stem for path in (Path(__file__).parent / "cases").glob("[!_]*.py"))
CASES = [
    pytest.param(case, id=f"{name}: {case.name}")
    for name in MODULES
    for case in getattr(importlib.import_module(f"cases.{name}"), "CASES", [])
]


@pytest.mark.parametrize("case", CASES)
def test_case(case, tmp_path, monkeypatch, before):
    (tmp_path / "made_before").symlink_to(before)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.environ["PATH"])  # cases may change it
    command = importlib.import_module(f"tfser.cli.{case.command}")
    answer = called(command.main, *case.arguments(tmp_path))
    assert answer.code == case.exit_code, answer.err
    assert re.search(case.message, answer.err), answer.err
    assert "Traceback" not in answer.err
    if case.check:
        case.check(answer, tmp_path)
