"""What a case is: an input, the command that reads it, and how the command must end."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """A row of the table of cases, which `tests/test_cases.py` runs.

    Attributes:
        command: module of tfser.cli.
        arguments: function that writes the input into an empty folder and returns the command's
            arguments; `folder / "made_before"` holds the runs and exports of test_made_before.py.
        message: regular expression that stderr matches; "": not checked.
        check: function of the answer (code, out, err) and the folder that asserts the right value.
    """

    name: str
    command: str
    arguments: Callable[[Path], list]
    exit_code: int
    message: str = ""
    check: Callable | None = None
