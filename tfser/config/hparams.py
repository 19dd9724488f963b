"""Hyperparameters: hparams/<model>.toml -> a dict of dicts, checked before any audio is read.

Order: the model's file, its [corpus.<name>] tables, the overlay, then `--set section.key=value`.
[corpus.<name>-to-<tested>] is of a training on one corpus and a test on another.
[search] holds the search space of tfser-search, and is in no run's hyperparameters.
"""

import json
import math
import re
import tomllib
from importlib import resources
from pathlib import Path

from tfser.errors import UsageError, did_you_mean

LARGEST_FILE = 10**6  # bytes
DEEPEST = 20  # tables and lists in each other
SEARCH_TITLE = re.compile(r"# tfser-search: \S+ on (.+), (\w+), by ")  # of a search's best.toml
DEEP = "tables or lists are nested too deep"


def hparams_folder():
    """Return the folder of the hparams files: beside the package, or inside it in a wheel."""
    root = Path(__file__).resolve().parents[2]
    # A wheel has no pyproject.toml: site-packages/hparams would be someone else's package.
    if (root / "pyproject.toml").is_file() and (root / "hparams").is_dir():
        return root / "hparams"
    return resources.files("tfser") / "_hparams"


def zoo_folder() -> Path:
    """Return the folder of the cards: beside hparams/ in a checkout, in the package in a wheel."""
    folder = Path(hparams_folder())
    return folder.with_name("_zoo" if folder.name == "_hparams" else "zoo")


def hparams_names() -> list[str]:
    """List the names of the hyperparameter files: models, and overlays such as "epr.small"."""
    files = hparams_folder().iterdir()
    return sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml"))


def load_hparams(
    model: str,
    corpus: str,
    *,
    tested: str | None = None,
    overlay: str | None = None,
    overrides=(),
    corpora=None,
) -> dict[str, dict]:
    """Return the hyperparameters {section: {key: value}} of `model` on `corpus`.

    Args:
        tested: the corpus of --test-corpus; None: tests are within `corpus`.
        overlay: a path, or a name such as "epr.small" for hparams/epr.small.toml.
        overrides: strings "section.key=value", the value in TOML or a bare word.
        corpora: names that [corpus.<name>] of an overlay may have; None: do not check them.

    Raises:
        UsageError: unknown section, key or file, wrong type, value out of range.
    """
    hp, allowed, _ = read_files(model, corpus, overlay, corpora, tested)
    for override in overrides:
        lay_over(hp, parse_override(override), f"--set {override}")
    for name, limits in allowed.items():
        section, key = name.split(".")
        check_value(name, hp[section][key], limits)
    return hp


def format_toml(value) -> str:
    """Format a hyperparameter as TOML that `--set` and files read back as the same value."""
    if isinstance(value, list):
        return f"[{', '.join(map(format_toml, value))}]"
    # JSON's strings, true and false are valid TOML, and so are Python's numbers.
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else repr(value)


def format_overrides(parameters: dict) -> list[str]:
    """Return parameters {"section.key": value} in the form of `--set`."""
    return [f"{name}={format_toml(value)}" for name, value in parameters.items()]


def format_overlay(before: dict, after: dict) -> str:
    """Format as TOML the overlay that turns the hyperparameters `before` into `after`."""
    lines = []
    for section, values in after.items():
        changed = [k for k, value in values.items() if value != before[section][k]]
        if changed:
            lines += [
                "",
                f"[{section}]",
                *(f"{key} = {format_toml(values[key])}" for key in changed),
            ]
    return "\n".join(lines[1:]) + "\n"


def read_files(
    model: str, corpus: str, overlay: str | None, corpora=None, tested: str | None = None
) -> tuple[dict, dict, dict]:
    """Read the hyperparameters, [allowed] and [search] of the model's file and an overlay."""
    names = [corpus, *([f"{corpus}-to-{tested}"] if tested else [])]
    hp = _read(hparams_folder() / f"{model}.toml")
    allowed, space = hp.pop("allowed", {}), hp.pop("search", {})
    per_corpus = hp.pop("corpus")
    for name in names:
        lay_over(hp, per_corpus.get(name, {}), f"[corpus.{name}]")
    if overlay:
        path = Path(overlay) if overlay.endswith(".toml") else hparams_folder() / f"{overlay}.toml"
        tables = _read(path)
        space = tables.pop("search", space)
        if not isinstance(space, dict):
            raise UsageError(f"{overlay}: [search] is a table of names and what to choose from")
        per_corpus = _take_corpus_tables(tables, overlay, corpora)
        lay_over(hp, tables, overlay)
        for name in names:
            lay_over(hp, per_corpus.get(name, {}), overlay)
    return hp, allowed, space


def searched_task(overlay: str | None) -> str:
    """Return "corpus/protocol" of the search that wrote an overlay, "" for other overlays."""
    if not overlay or not overlay.endswith(".toml"):
        return ""
    with open(overlay, encoding="utf-8") as file:
        found = SEARCH_TITLE.match(file.readline())
    return "{}/{}".format(*found.groups()) if found else ""


def _read(path) -> dict:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise ValueError("it has more than a million bytes, which no such file has")
        tables = tomllib.loads(content.decode("utf-8-sig"))
        _check_content(tables)
        return tables
    except FileNotFoundError:
        names = hparams_names()
        hint = did_you_mean(path.name.removesuffix(".toml"), names)
        raise UsageError(
            f"no hyperparameter file {path}{hint}; there are: {' '.join(names)}"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise UsageError(f"cannot read hyperparameters {path}: {reason}; correct it") from None
    except RecursionError:
        raise UsageError(f"cannot read hyperparameters {path}: {DEEP}; correct it") from None


def _check_content(tables: dict) -> None:
    """Raise ValueError for tables nested too deep, and for numbers that no computer word holds."""
    pending = [(tables, 0)]
    while pending:
        value, depth = pending.pop()
        if depth > DEEPEST:
            raise ValueError(DEEP)
        if isinstance(value, int) and abs(value) >= 2**63:
            raise ValueError(f"a whole number of {value.bit_length()} bits, 64 are the most")
        if isinstance(value, dict | list):
            inner = value.values() if isinstance(value, dict) else value
            pending += [(item, depth + 1) for item in inner]


def _take_corpus_tables(tables: dict, source: str, corpora) -> dict[str, dict]:
    """Take [corpus.<name>] out of an overlay's tables and check the names."""
    per_corpus = tables.pop("corpus", {})
    contents = per_corpus.values() if isinstance(per_corpus, dict) else [None]
    if not all(isinstance(table, dict) for table in contents):
        raise UsageError(f"{source}: [corpus] holds tables such as [corpus.casia.train]")
    known = None if corpora is None else [*corpora, "table"]
    for table in per_corpus if known else ():
        for name in table.split("-to-", 1):
            if name not in known:
                raise UsageError(f"{source}: unknown corpus {name!r}{did_you_mean(name, known)}")
    return per_corpus


def parse_override(override: str) -> dict:
    """Turn "train.epochs=1" into {"train": {"epochs": 1}}; a word that is not TOML is a string."""
    name, equals, text = override.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and key):
        raise UsageError(
            f"--set {override}: expected section.key=value, such as train.max_epochs=5"
        )
    try:
        tables = tomllib.loads(f"value = {text}")
        value = tables["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        value, tables = text.strip(), {}
    except (ValueError, RecursionError):
        raise UsageError(f"--set {name}: {DEEP}, or a number of too many digits") from None
    try:
        _check_content(tables)
    except ValueError as error:
        raise UsageError(f"--set {name}: {error}") from None
    return {section: {key: value}}


def lay_over(hp: dict, tables: dict, source: str) -> None:
    """Overwrite values of `hp` with those of `tables`: keys must exist, values keep their type."""
    for section, values in tables.items():
        if section not in hp:
            raise UsageError(f"{source}: unknown section {section!r}{did_you_mean(section, hp)}")
        if not isinstance(values, dict):
            raise UsageError(f"{source}: {section!r} is a section; give one of its keys")
        for key, value in values.items():
            if key not in hp[section]:
                section_of = {k: s for s in hp for k in hp[s]}
                # Compared without the section, whose letters would make any two keys alike.
                hint = did_you_mean(key, hp[section]).replace("mean '", f"mean '{section}.")
                if key in section_of:
                    hint = f" (did you mean '{section_of[key]}.{key}'?)"
                raise UsageError(f"{source}: unknown key '{section}.{key}'{hint}")
            hp[section][key] = _cast(f"{section}.{key}", value, hp[section][key], source)


def _cast(name: str, value, default, source: str):
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not type(default):
        expected = {
            str: "a string",
            bool: "true or false",
            int: "a whole number",
            float: "a number",
            list: "a list",
        }[type(default)]
        raise UsageError(f"{source}: {name} is {expected} such as {default!r}, not {value!r}")
    # The items of an empty list have no type to compare with: such lists hold names.
    if default == [] and not all(isinstance(item, str) for item in value):
        raise UsageError(f"{source}: {name} is a list of strings, not {value!r}")
    return value


def check_value(name: str, value, limits: list) -> None:
    """Raise UsageError for a value outside its [lowest, highest] or its list of choices."""
    if isinstance(value, str):
        if value not in limits:
            hint = did_you_mean(value, limits)
            raise UsageError(f"{name}={value!r} is not known{hint}; one of: {' '.join(limits)}")
    elif not (math.isfinite(value) and limits[0] <= value <= limits[1]):
        raise UsageError(f"{name}={value!r} is out of range {limits[0]} to {limits[1]}")
