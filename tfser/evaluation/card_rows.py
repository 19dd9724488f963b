"""Rows of a card: a system of a recorded run, with its name, cost, interval and counterparts."""

import re
from typing import NamedTuple

from tfser.evaluation import intervals
from tfser.evaluation.comparison import group_by_speaker
from tfser.evaluation.earlier_training import SEEN
from tfser.storage import run_directory

# The row that a row improves on in its paper: the first that was run. EPR's rounds follow each
# other in one run.
PREDECESSORS = {
    "aae": {
        "UTT + AAE": ("UTT + Base",),
        "UTT + AAE Optimized": ("UTT + AAE", "UTT + Base"),
        "FR + AAE vanilla": ("FR + Base",),
        "FR + AAE Optimized": ("FR + AAE vanilla", "FR + Base"),
    },
    "acnn": {"C": ("BL",), "sT": ("C", "BL"), "Li": ("C", "BL"), "fT": ("Li", "C", "BL")},
    "auxvae": dict.fromkeys(("h", "m", "z"), ("mel",))
    | {f"one auxiliary: {name}": ("mel",) for name in ("h", "z")},
    "began": {
        "BEGAN + head": ("untrained encoder + head",),
        "encoder and head, end to end": ("untrained encoder + head",),
    },
}
TASK_FLAGS = ("target", "rounding", "normalize", "splits")  # of RESULT: rows differ in their task
N_FLAGS = len(TASK_FLAGS)


class Row(NamedTuple):
    """A system of a recorded run.

    Attributes:
        name: unique on the card among rows of one protocol, target and number of utterances.
        system: its name in the run.
        entry: the run, see `recorded_runs`.
    """

    name: str
    system: str
    entry: dict

    @property
    def scores(self) -> dict:
        """The run's scores.json."""
        return self.entry["scores"]

    @property
    def values(self) -> dict:
        """The system's scores: {name: summary}."""
        return self.scores["systems"][self.system]

    @property
    def predictions(self):
        """The system's `Predictions`, None where they were not kept."""
        return (self.entry.get("predictions_of") or {}).get(self.system)

    @property
    def task(self) -> tuple:
        """Return what rows must share to be compared: speakers, folds, utterances, classes, flags.

        One division has several names: BEGAN's protocol "paper" can leave one speaker out, too.
        """
        flags = self.scores.get("flags", {})
        return (
            *(self.scores["speaker_independent"], self.scores["folds"], self.scores["n"]),
            *self.scores.get("classes", ()),
            *(flags.get(name) for name in TASK_FLAGS),
        )


def list_rows(entries: list[dict]) -> list[Row]:
    """Return the rows of joined runs; rows of one name have the settings in which they differ."""
    rows = [(entry, system) for entry in entries for system in entry["scores"]["systems"]]
    groups = {}
    for entry, system in rows:
        groups.setdefault((*place_of(entry["scores"]), system), []).append(entry)
    return [
        Row(
            system + _describe_settings(entry, groups[*place_of(entry["scores"]), system]),
            system,
            entry,
        )
        for entry, system in rows
    ]


def place_of(scores: dict) -> tuple[str, str, str]:
    """Return protocol, target and utterances of a run, which have columns where they differ."""
    flags = scores.get("flags", {})
    protocol = f"{scores['protocol']}, {scores['folds']} folds"
    if "splits" in flags:
        protocol += f" {flags['splits']}"
    return protocol, flags.get("target", ""), f"{scores['n']:,}"


def _describe_settings(entry: dict, group: list[dict]) -> str:
    """Return ", key=value" of the settings that tell an entry from its group.

    Of settings that tell the same entries apart the first one is named. A setting that earlier
    versions did not have differs in nothing. Runs of the same settings, such as on two machines,
    are numbered.
    """
    if len(group) == 1:
        return ""
    flat = [run_directory.flatten_settings(e["settings"]) for e in group]
    keys = sorted(set(flat[0]).intersection(*flat[1:]) - {"utterances"})
    names = [""] * len(group)
    for key in keys:
        longer = [
            f"{name}, {key.removeprefix('hparams.')}={settings[key]}"
            for name, settings in zip(names, flat, strict=True)
        ]
        if len(set(longer)) > len(set(names)):
            names = longer
    number = next(i for i, e in enumerate(group) if e is entry)
    earlier = names[:number].count(names[number])
    return names[number] + f", run {earlier + 1}" * (names.count(names[number]) > 1)


def find_predecessor(row: Row, rows: list[Row]) -> Row | None:
    """Return the row that a row improves on in its paper, None where there is none.

    Of several rows with that name the one that differs in no other setting comes first.
    """
    model = row.scores["model"]
    if model == "epr":
        systems = list(row.scores["systems"])
        names = systems[: systems.index(row.system)][-1:]
        rows = [other for other in rows if other.entry is row.entry]
    else:
        names = PREDECESSORS.get(model, {}).get(row.system, ())
    found = [
        other for name in names for other in rows if other.system == name and other.task == row.task
    ]
    return min(found, key=lambda other: other.entry is not row.entry, default=None)


def find_baseline(row: Row, rows: list[Row]) -> Row | None:
    """Return the SVM's row of the same task, None where there is none.

    rows: of the SVM's card, for the same corpus. Networks choose an epoch on a dev part, so for
    them the SVM "without dev", which trains on what they train on, comes first. A probe of another
    network is no baseline; a row whose network knows the test speakers is compared with none.
    """
    if SEEN in row.scores.get("flags", {}).values():
        return None
    rows = [other for other in rows if "earlier_training" not in other.scores]
    if row.scores["model"] == "svm":  # its other rows differ from the plain one on purpose
        if row.system == "SVM":
            return None
        found = [o for o in rows if o.system == "SVM" and o.task[:-N_FLAGS] == row.task[:-N_FLAGS]]
    else:
        found = [other for other in rows if other.task == row.task]
    has_dev = row.scores["model"] not in ("encoder", "svm")
    return min(found, key=lambda o: ("without dev" in o.system) != has_dev, default=None)


def score_interval(row: Row) -> list[float] | None:
    """Return the ends of the 95 % interval of the main score, None where it cannot be known."""
    found = row.predictions
    if found is not None:
        _, groups = group_by_speaker(found.speakers, found.utterances)
        return list(intervals.uar_interval(found.y, found.p, groups, len(found.classes)))
    statistics = row.scores.get("statistics", {}).get(row.system, {})
    if "ccc" in statistics.get("arousal", {}):
        return statistics["arousal"]["ccc"]["interval"]
    return statistics.get("uar_interval")


def find_majority(row: Row, others: list[Row]) -> float | None:
    """Return the share of the commonest class, counted by this run or one of the same utterances.

    None where no run has counted it, and for ratings.
    """

    def key(scores):
        flags = scores.get("flags", {})
        return scores["n"], scores.get("classes"), flags.get("target"), flags.get("rounding")

    same = [row, *(other for other in others if key(other.scores) == key(row.scores))]
    return next((o.scores["majority"] for o in same if "majority" in o.scores), None)


def count_minutes(row: Row) -> float | None:
    """Return the wall-clock minutes of all processes of a run; None where one was killed."""
    seconds = [process.get("wall_seconds") for process in row.entry["processes"]]
    return None if None in seconds else sum(seconds) / 60


def machine_of(row: Row) -> str:
    """Return the devices of a run: "2 cores"; those of a killed process are not known."""
    devices = [p["device"] for p in row.entry["processes"] if "device" in p]
    return ", ".join(dict.fromkeys(re.sub(r"^CPU \S+, ", "", device) for device in devices))
