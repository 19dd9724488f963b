"""Write docs/api.md from the docstrings: python docs/api.py."""

import inspect
from pathlib import Path

import tfser
import tfser.corpora
import tfser.evaluation
import tfser.features
import tfser.models

PAGE = Path(__file__).with_name("api.md")
HEAD = """# API reference

What a notebook needs of tfser, written from the docstrings by `python docs/api.py`. `import tfser`
takes no TensorFlow: the names below are imported when they are used.
"""
# Methods of keras.Model or Layer that are told there.
OF_KERAS = {
    "build", "call", "compile_from_config", "compute_loss", "compute_metrics",
    "compute_output_shape", "fit", "from_config", "get_compile_config", "get_config",
}  # fmt: skip


def list_names(package) -> list[str]:
    """Return the public names of a package in the order of the page."""
    return ["load", "load_audio"] if package is tfser else package.__all__


def write_page() -> str:
    """Return the page."""
    parts = [HEAD]
    for package in (tfser, tfser.corpora, tfser.features, tfser.models, tfser.evaluation):
        parts.append(f"## {package.__name__}\n")
        if package is not tfser:
            parts.append(format_docstring(package))
        for name in list_names(package):
            parts.append(describe(f"{package.__name__}.{name}", getattr(package, name)))
    return "\n".join(parts)


def describe(name: str, documented) -> str:
    """Return the section of a function or class, with its own methods."""
    parts = [f"### {name}\n", f"```text\n{name}{format_signature(documented)}\n```\n"]
    parts.append(format_docstring(documented))
    methods = vars(documented).items() if inspect.isclass(documented) else ()
    for method, function in methods:
        if method.startswith("_") or method in OF_KERAS or not inspect.isfunction(function):
            continue
        parts.append(f"**`{method}{format_signature(function)}`**\n")
        parts.append(format_docstring(function))
    return "\n".join(parts)


def format_signature(documented) -> str:
    """Return the arguments, without `self`."""
    signature = inspect.signature(documented)
    parameters = [
        p.replace(annotation=p.empty) for p in signature.parameters.values() if p.name != "self"
    ]
    return str(signature.replace(parameters=parameters, return_annotation=signature.empty))


def format_docstring(documented) -> str:
    """Return a docstring in Markdown: arguments as a list, examples as code."""
    lines, section = [], ""
    for line in inspect.getdoc(documented).splitlines():
        if line in ("Args:", "Raises:", "Returns:", "Example:"):
            section = line
            lines += ["```python"] if line == "Example:" else [line, ""]
        elif section == "Example:":
            lines.append(line.removeprefix("    "))
        elif section and line.startswith("    ") and not line.startswith("     "):
            name, colon, rest = line.strip().partition(": ")
            rest = rest.replace("<", "\\<")
            lines.append(f"- `{name}`: {rest}" if colon else f"- {name}")
        elif section and line.startswith("     "):
            lines.append("  " + line.strip())
        else:
            section = section if not line else ""
            lines.append(line.replace("<", "\\<"))
    return "\n".join([*lines, *["```"] * (section == "Example:"), ""])


if __name__ == "__main__":
    PAGE.write_text(write_page(), encoding="utf-8")
