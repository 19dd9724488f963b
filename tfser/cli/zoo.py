"""The systems of the zoo by name: the folders of `tfser.models`."""

import ast
import pkgutil
from pathlib import Path

from tfser import models
from tfser.errors import UsageError, did_you_mean

SVMS = ("encoder", "svm")  # models whose trained part is an SVM


def model_names() -> list[str]:
    """List the systems of the zoo: the folders of `tfser.models`."""
    return sorted(module.name for module in pkgutil.iter_modules(models.__path__))


def describe_models() -> str:
    """Describe each system in a line, from the docstring of its package."""
    folder = Path(models.__path__[0])
    lines = []
    for name in model_names():
        source = (folder / name / "__init__.py").read_text(encoding="utf-8")
        docstring = (ast.get_docstring(ast.parse(source)) or "").splitlines()
        needs = next((line for line in docstring if line.startswith("Needs: ")), None)
        title = docstring[0].rstrip(".")
        needs = f"; needs {needs.removeprefix('Needs: ').rstrip('.')}" if needs else ""
        lines.append(f"  {name:<7} {title}{needs}")
    return "\n".join(lines)


def check_model(name: str) -> None:
    """Raise UsageError for a name that no system of the zoo has."""
    names = model_names()
    if name not in names:
        raise UsageError(
            f"unknown model {name!r}{did_you_mean(name, names)}; one of: {' '.join(names)}"
        )
