"""Search spaces: the values that tfser-search may select for each hyperparameter."""

import math

from tfser.config.hparams import check_value, lay_over, parse_override, read_files
from tfser.errors import UsageError, did_you_mean

SPECS = {"choice": "value, ..", "uniform": "low, high", "loguniform": "low, high",
         "quniform": "low, high, step"}  # fmt: skip
# These keys select the utterances: trials would be scored on different ones.
NEVER_SEARCHED = ("labels.", "protocol.", "train.dev_fraction")


def load_search_space(model: str, *, overlay: str | None = None, overrides=()) -> dict[str, list]:
    """Load the search space {"section.key": spec}: the overlay's [search], or the model's.

    A spec is ["choice", value, ..], ["uniform", low, high], ["loguniform", low, high] (the bounds
    themselves, not their logarithms) or ["quniform", low, high, step] (low, low + step, .. up to
    high, each equally likely). A value of a choice may be a table {value = .., "section.key" =
    spec}: its other keys are searched where that value is selected.

    Raises:
        UsageError: no [search], an invalid spec, an unknown key, a value that the key does not
            accept, a key that is searched twice, or is also in `overrides`.
    """
    hp, allowed, space = read_files(model, "", overlay)
    if not space:
        raise UsageError(
            f"nothing to search: {overlay or f'hparams/{model}.toml'} has no [search] table, such "
            'as "train.learning_rate" = ["loguniform", 1e-5, 1e-3]'
        )
    _check_space(space, hp, allowed, set())
    for override in overrides:
        for section, values in parse_override(override).items():
            if (name := f"{section}.{next(iter(values))}") in flatten_space(space):
                raise UsageError(
                    f"--set {override}: [search] chooses {name}; leave one of them out"
                )
    return space


def flatten_space(space: dict[str, list]) -> dict[str, list]:
    """Return a space with the keys of all branches, and the plain values of each choice."""
    specs = {}
    for name, (kind, *options) in space.items():
        specs.setdefault(name, [kind, *(option_value(option) for option in options)])
        for option in options:
            for inner, spec in flatten_space(option_space(option)).items():
                specs.setdefault(inner, spec)
    return specs


def option_value(option):
    """Return the value of an option of a choice."""
    return option["value"] if isinstance(option, dict) else option


def option_space(option) -> dict[str, list]:
    """Return the space that exists where an option of a choice is selected."""
    table = option if isinstance(option, dict) else {}
    return {name: spec for name, spec in table.items() if name != "value"}


def _check_space(space: dict, hp: dict, allowed: dict, taken: set) -> set:
    """Check a space and return its names; `taken` are names selected at the same time."""
    names = set()
    for name, spec in space.items():
        # One option of a choice is selected at a time: two options may have the same key.
        own = {name}.union(
            *(
                _check_space(option_space(option), hp, allowed, {name})
                for option in _list_options(name, spec, hp, allowed)
            )
        )
        if twice := own & (names | taken):
            raise UsageError(f"[search] {name}: {min(twice)} would be chosen twice at once")
        names |= own
    return names


def _list_options(name: str, spec, hp: dict, allowed: dict) -> list:
    """Return the options of a choice, [] for any other spec, after checking all values."""
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
        return _list_choice_options(name, values, hp, allowed)
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
    bounds = [_cast_value(name, value, hp, allowed) for value in (low, high)]
    if isinstance(bounds[0], int):
        if kind != "quniform":
            raise UsageError(f"[search] {name} is a whole number: use quniform or choice")
        if not isinstance(step[0], int):
            raise UsageError(f"[search] {name}: the step of a whole number is one, not {step[0]!r}")
    return []


def _list_choice_options(name: str, options: list, hp: dict, allowed: dict) -> list:
    if not options:
        raise UsageError(f"[search] {name}: a choice of nothing")
    values = []
    for option in options:
        if isinstance(option, dict) and "value" not in option:
            raise UsageError(f"[search] {name}: {option!r} has no value, such as value = 1")
        value = _cast_value(name, option_value(option), hp, allowed)
        if value in values:
            raise UsageError(f"[search] {name}: {value!r} is there twice")
        values.append(value)
    return options


def _cast_value(name: str, value, hp: dict, allowed: dict):
    """Return the value with the type of its key."""
    section, dot, key = name.partition(".")
    if not dot:
        raise UsageError(f"[search] {name}: expected section.key, such as train.max_epochs")
    copy = {section_name: dict(values) for section_name, values in hp.items()}
    lay_over(copy, {section: {key: value}}, "[search]")
    if name in allowed:
        check_value(f"[search] {name}", copy[section][key], allowed[name])
    return copy[section][key]


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
