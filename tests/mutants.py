"""Mutation testing: a plugin for pytest, and the score of the last run of `make mutants`."""

import gc
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path

KILLED = {1: "killed", 3: "killed", 36: "killed", 24: "killed", -24: "killed", 152: "killed"}
NAMES = KILLED | {0: "survived", 33: "survived"}  # 33: no test calls the function


def pytest_configure():
    """Take all imported objects from the garbage collector, which costs more than the tests."""
    gc.disable()
    gc.freeze()


def print_scores() -> None:
    """Print killed, survived and total of each module, then the mutants that survived."""
    counts, survivors = defaultdict(Counter), []
    for path in sorted(Path("mutants/tfser").rglob("*.meta")):
        module = str(path.relative_to("mutants")).removesuffix(".py.meta").replace("/", ".")
        for name, code in json.loads(path.read_text())["exit_code_by_key"].items():
            if code is not None:
                status = NAMES.get(code, "killed" if code < 0 else f"exit {code}")
                counts[module][status] += 1
                survivors += [name] if status == "survived" else []
    print("| module | killed | survived | total |\n| --- | ---: | ---: | ---: |")
    for module, of in counts.items():
        print(f"| `{module}` | {of['killed']} | {of['survived']} | {of.total()} |")
    print(*survivors, sep="\n", file=sys.stderr)


if __name__ == "__main__":
    print_scores()
