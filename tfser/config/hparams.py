"""Hyperparameters: hparams/<model>.toml -> a dict of dicts, checked before any audio is touched.

Order: the model's file, its [corpus.<name>] tables, the overlay, then `--set section.key=value`.
[search] holds what tfser-search may choose from, and is in no run's hyperparameters.
"""

import json
import math
import tomllib
from importlib import resources
from pathlib import Path

from tfser.corpora import loader
from tfser.errors import UsageError, did_you_mean

SPECS = {"choice": "value, ..", "uniform": "low, high", "loguniform": "low, high",
         "quniform": "low, high, step"}  # fmt: skip
# What these choose is part of the question: trials would be scored on other utterances.
NEVER_SEARCHED = ("labels.", "protocol.", "train.dev_fraction")


def folder():
    """Where the hparams files are: beside the package in a checkout, inside it in a wheel."""
    root = Path(__file__).resolve().parents[2]
    # Only a checkout has the first: site-packages/hparams would be someone else's package.
    if (root / "pyproject.toml").is_file() and (root / "hparams").is_dir():
        return root / "hparams"
    return resources.files("tfser") / "_hparams"


def load(model: str, corpus: str, *, overlay: str | None = None, overrides=()) -> dict[str, dict]:
    """Returns the hyperparameters {section: {key: value}} of `model` on `corpus`.

    Args:
        overlay: a path, or a name such as "epr.small" for hparams/epr.small.toml.
        overrides: strings "section.key=value", the value in TOML or a bare word.

    Raises:
        UsageError: unknown section, key or file, wrong type, value out of range.
    """
    hp, allowed, _ = _files(model, corpus, overlay)
    for override in overrides:
        _lay(hp, _parse(override), f"--set {override}")
    for name, limits in allowed.items():
        section, key = name.split(".")
        _check(name, hp[section][key], limits)
    return hp


def search_space(model: str, *, overlay: str | None = None, overrides=()) -> dict[str, list]:
    """What a search chooses from, {"section.key": spec}: the overlay's [search], or the model's.

    A spec is ["choice", value, ..], ["uniform", low, high], ["loguniform", low, high] (the bounds
    themselves, not their logarithms) or ["quniform", low, high, step] (low, low + step, .. as far
    as high, each as likely). A value of a choice may be a table {value = .., "section.key" = spec},
    whose other keys are searched where it is chosen.

    Raises:
        UsageError: no [search], a spec that is none, a key that does not exist, a value that the
            key does not take, a key that is chosen twice, or also in `overrides`.
    """
    hp, allowed, space = _files(model, "", overlay)
    if not space:
        raise UsageError(
            f"nothing to search: {overlay or f'hparams/{model}.toml'} has no [search] table, such "
            'as "train.learning_rate" = ["loguniform", 1e-5, 1e-3]'
        )
    _check_space(space, hp, allowed, set())
    for override in overrides:
        for section, values in _parse(override).items():
            if (name := f"{section}.{next(iter(values))}") in flat(space):
                raise UsageError(
                    f"--set {override}: [search] chooses {name}; leave one of them out"
                )
    return space


def flat(space: dict[str, list]) -> dict[str, list]:
    """A space with the keys that exist under some choice, and the choices' values alone."""
    specs = {}
    for name, (kind, *options) in space.items():
        specs.setdefault(name, [kind, *(value_of(option) for option in options)])
        for option in options:
            for inner, spec in flat(more_of(option)).items():
                specs.setdefault(inner, spec)
    return specs


def value_of(option):
    """The value of a choice's option."""
    return option["value"] if isinstance(option, dict) else option


def more_of(option) -> dict[str, list]:
    """The space that exists where the option of a choice is chosen."""
    table = option if isinstance(option, dict) else {}
    return {name: spec for name, spec in table.items() if name != "value"}


def toml(value) -> str:
    """A hyperparameter as TOML has it: what `--set` and files read back as the same value."""
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    # JSON's strings, true and false are TOML's too; so are Python's numbers.
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else repr(value)


def difference(before: dict, after: dict) -> str:
    """The overlay that makes `after` of the hyperparameters `before`, as TOML."""
    lines = []
    for section, values in after.items():
        changed = [k for k, value in values.items() if value != before[section][k]]
        if changed:
            lines += ["", f"[{section}]", *(f"{key} = {toml(values[key])}" for key in changed)]
    return "\n".join(lines[1:]) + "\n"


def _files(model: str, corpus: str, overlay: str | None) -> tuple[dict, dict, dict]:
    """The hyperparameters of the files, [allowed], and [search]."""
    hp = _read(folder() / f"{model}.toml")
    allowed, space = hp.pop("allowed", {}), hp.pop("search", {})
    _lay(hp, hp.pop("corpus").get(corpus, {}), f"[corpus.{corpus}]")
    if overlay:
        path = Path(overlay) if overlay.endswith(".toml") else folder() / f"{overlay}.toml"
        tables = _read(path)
        space = tables.pop("search", space)
        if not isinstance(space, dict):
            raise UsageError(f"{overlay}: [search] is a table of names and what to choose from")
        per_corpus = _per_corpus(tables, overlay)
        _lay(hp, tables, overlay)
        _lay(hp, per_corpus.get(corpus, {}), overlay)
    return hp, allowed, space


def _read(path) -> dict:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        names = sorted(file.name[:-5] for file in folder().iterdir() if file.name.endswith(".toml"))
        hint = did_you_mean(path.name.removesuffix(".toml"), names)
        raise UsageError(
            f"no hyperparameter file {path}{hint}; there are: {' '.join(names)}"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read hyperparameters {path}: {error}") from None


def _per_corpus(tables: dict, source: str) -> dict[str, dict]:
    """Takes [corpus.<name>] out of an overlay's tables, after a look at the names."""
    per_corpus, known = tables.pop("corpus", {}), [*loader.names(), "table"]
    tables_of = per_corpus.values() if isinstance(per_corpus, dict) else [None]
    if not all(isinstance(table, dict) for table in tables_of):
        raise UsageError(f"{source}: [corpus] holds tables such as [corpus.casia.train]")
    for name in per_corpus:
        if name not in known:
            raise UsageError(f"{source}: unknown corpus {name!r}{did_you_mean(name, known)}")
    return per_corpus


def _parse(override: str) -> dict:
    """Turns "train.epochs=1" into {"train": {"epochs": 1}}; a word that is no TOML is a string."""
    name, equals, text = override.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and key):
        raise UsageError(
            f"--set {override}: expected section.key=value, such as train.max_epochs=5"
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        value = text.strip()
    return {section: {key: value}}


def _lay(hp: dict, tables: dict, source: str) -> None:
    """Lays `tables` over `hp`: names must exist and values keep their type."""
    for section, values in tables.items():
        if section not in hp:
            raise UsageError(f"{source}: unknown section {section!r}{did_you_mean(section, hp)}")
        if not isinstance(values, dict):
            raise UsageError(f"{source}: {section!r} is a section; give one of its keys")
        for key, value in values.items():
            if key not in hp[section]:
                everywhere = {k: s for s in hp for k in hp[s]}
                # Compared without the section, whose letters would make any two keys alike.
                hint = did_you_mean(key, hp[section]).replace("mean '", f"mean '{section}.")
                if key in everywhere:
                    hint = f" (did you mean '{everywhere[key]}.{key}'?)"
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
    # An empty list cannot show what it may hold: names.
    if default == [] and not all(isinstance(item, str) for item in value):
        raise UsageError(f"{source}: {name} is a list of strings, not {value!r}")
    return value


def _check(name: str, value, limits: list) -> None:
    if isinstance(value, str):
        if value not in limits:
            hint = did_you_mean(value, limits)
            raise UsageError(f"{name}={value!r} is not known{hint}; one of: {' '.join(limits)}")
    elif not (math.isfinite(value) and limits[0] <= value <= limits[1]):
        raise UsageError(f"{name}={value!r} is out of range {limits[0]} to {limits[1]}")


def _check_space(space: dict, hp: dict, allowed: dict, taken: set) -> set:
    """The names of a space, all of which may be chosen at once; `taken` are chosen besides."""
    names = set()
    for name, spec in space.items():
        # Of the options of a choice one holds: two of them may have the same key.
        own = {name}.union(
            *(
                _check_space(more_of(option), hp, allowed, {name})
                for option in _options(name, spec, hp, allowed)
            )
        )
        if twice := own & (names | taken):
            raise UsageError(f"[search] {name}: {min(twice)} would be chosen twice at once")
        names |= own
    return names


def _options(name: str, spec, hp: dict, allowed: dict) -> list:
    """The options of a choice, none of another spec; all values are checked."""
    if isinstance(spec, dict):
        inner = next(iter(spec), "key")
        raise UsageError(f'[search] {name} is a section; quote the whole name: "{name}.{inner}"')
    if name.startswith(NEVER_SEARCHED):
        raise UsageError(
            f"[search] {name}: trials would be scored on other utterances; use --set {name}=.."
        )
    kind, *values = spec if isinstance(spec, list) and spec else [None]
    if kind not in SPECS:
        hint = did_you_mean(kind, SPECS) if isinstance(kind, str) else ""
        forms = ", ".join(f'["{form}", {arguments}]' for form, arguments in SPECS.items())
        raise UsageError(f"[search] {name}: {spec!r} is none of {forms}{hint}")
    if kind == "choice":
        return _options_of_choice(name, values, hp, allowed)
    n_expected = SPECS[kind].count(",") + 1
    if len(values) != n_expected or not all(_is_number(value) for value in values):
        raise UsageError(f'[search] {name}: expected ["{kind}", {SPECS[kind]}], not {spec!r}')
    low, high, *step = values
    if low >= high:
        raise UsageError(f"[search] {name}: {low!r} is not below {high!r}, nothing is between them")
    if kind == "loguniform" and low <= 0:
        raise UsageError(f"[search] {name}: loguniform needs bounds above 0, not {low!r}")
    if step and not 0 < step[0] <= high - low:
        raise UsageError(f"[search] {name}: a step of {step[0]!r} leaves no two values")
    accepted = [_accepted(name, value, hp, allowed) for value in (low, high)]
    if isinstance(accepted[0], int):
        if kind != "quniform":
            raise UsageError(f"[search] {name} is a whole number: use quniform or choice")
        if not isinstance(step[0], int):
            raise UsageError(f"[search] {name}: the step of a whole number is one, not {step[0]!r}")
    return []


def _options_of_choice(name: str, options: list, hp: dict, allowed: dict) -> list:
    if not options:
        raise UsageError(f"[search] {name}: a choice of nothing")
    values = []
    for option in options:
        if isinstance(option, dict) and "value" not in option:
            raise UsageError(f"[search] {name}: {option!r} has no value, such as value = 1")
        value = _accepted(name, value_of(option), hp, allowed)
        if value in values:
            raise UsageError(f"[search] {name}: {value!r} is there twice")
        values.append(value)
    return options


def _accepted(name: str, value, hp: dict, allowed: dict):
    """The value as the key holds it."""
    section, dot, key = name.partition(".")
    if not dot:
        raise UsageError(f"[search] {name}: expected section.key, such as train.max_epochs")
    laid = {of: dict(values) for of, values in hp.items()}
    _lay(laid, {section: {key: value}}, "[search]")
    if name in allowed:
        _check(f"[search] {name}", laid[section][key], allowed[name])
    return laid[section][key]


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
