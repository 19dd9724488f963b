"""IEMOCAP, interactive emotional dyadic motion capture (Busso et al., LREC 42(4), 2008).

10,039 turns of scripted and improvised dialogues, 10 actors in 5 sessions, 12 hours, 16 kHz.
Licence: research, on request from the University of Southern California.

Layout `Session1/dialog/EmoEvaluation/Ses01F_impro01.txt`, a line for each turn, its raters below,

    [6.2901 - 8.2357]   Ses01F_impro01_F000   neu   [2.5000, 2.5000, 2.5000]
    C-E2:   Neutral;   ()
    A-E3:   val 3; act 2; dom  2;   ()

and `Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav`. The brackets hold valence,
activation and dominance, in this order, as means over raters. "Ses01F" is the actor with the
markers; the speaker is the letter in the last part of the turn's name.
"""

import logging
import re
from pathlib import Path
from typing import NamedTuple

from tfser.corpora.utterance import Utterance
from tfser.errors import DataError

EXPECTED = 10_039
SESSIONS = ["Session1", "Session2", "Session3", "Session4", "Session5"]
LAYOUT = (
    "Session<n>/dialog/EmoEvaluation/<dialog>.txt and Session<n>/sentences/wav/<dialog>/<turn>.wav"
)

# xxx: the raters did not agree.
EMOTIONS = {"ang": "anger", "hap": "happiness", "exc": "excitement", "sad": "sadness",
            "neu": "neutral", "fru": "frustration", "fea": "fear", "sur": "surprise",
            "dis": "disgust", "oth": "other", "xxx": None}  # fmt: skip
GENDERS = {"F": "female", "M": "male"}
NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
SUMMARY = re.compile(
    rf"\[{NUMBER}-{NUMBER}\]\s+(Ses\d\d[FM]_\w+_[FM][^\W_]+)\s+(\w+)\s+\[{NUMBER},{NUMBER},{NUMBER}\]\s*"
)
CATEGORIES = re.compile(r"C-(\w+):\s*(.*?)\s*\(.*")  # "C-E2:  Neutral; Sadness;  (a comment)"
ATTRIBUTES = re.compile(r"A-(\w+):\s*val\s*(\d*)\s*;\s*act\s*(\d*)\s*;\s*dom\s*(\d*)\s*;.*")
BYTES_PER_SECOND = 32_000  # of the release's wavs
SPARE_SECONDS = 0.1  # time stamps are rounded to the recogniser's frames

log = logging.getLogger(__name__)


class Turn(NamedTuple):
    """A turn in a file of EmoEvaluation.

    Raters are "E1" and on; "F1" and "M1" are the actors themselves, who are not in the means.
    """

    name: str
    label: str  # a key of EMOTIONS
    seconds: float
    valence: float  # means over raters, 1 to 5
    activation: float
    dominance: float
    categories: dict[str, list[str]]  # rater -> emotions, lower case
    attributes: dict[str, tuple]  # rater -> (valence, activation, dominance), None where missing


def read(root: Path) -> list[Utterance]:
    """Return the turns of all sessions sorted by name.

    Turns with a missing wav are included: extraction reports them.
    """
    utterances, odd, short = [], [], []
    files = root.glob("Session?/dialog/EmoEvaluation/Ses*.txt")
    for file in sorted(files) or sorted(root.glob("*/Session?/dialog/EmoEvaluation/Ses*.txt")):
        session = file.parents[2]
        for turn in load_turns(file):
            path = session / "sentences" / "wav" / file.stem / f"{turn.name}.wav"
            letter = turn.name.rpartition("_")[2][0]
            utterances.append(
                Utterance(
                    path,
                    name=turn.name,
                    speaker=turn.name[:5] + letter,
                    emotion=EMOTIONS[turn.label],
                    session=session.name,
                    gender=GENDERS[letter],
                    activation=turn.activation,
                    valence=turn.valence,
                    dominance=turn.dominance,
                    group="improvised" if "impro" in file.stem else "scripted",
                )
            )
            if not all(1 <= x <= 5 for x in (turn.valence, turn.activation, turn.dominance)):
                odd.append(turn.name)
            needed = (turn.seconds - SPARE_SECONDS) * BYTES_PER_SECOND
            if path.exists() and path.stat().st_size < needed:
                short.append(turn.name)
    missing = sorted(set(SESSIONS) - {u.session for u in utterances})
    if utterances and missing:
        log.warning("iemocap: no %s under %s; the corpus has five", ", ".join(missing), root)
    for names, what in (
        (odd, "an attribute outside 1 to 5, kept as it is"),
        (short, "a wav shorter than the time stamps (cut off? copy it again)"),
    ):
        if names:
            log.warning("iemocap: turns with %s: %d, the first is %s", what, len(names), names[0])
    return sorted(utterances, key=lambda utterance: utterance.name)


def load_turns(path: Path) -> list[Turn]:
    """Load the turns of one file of EmoEvaluation, with the votes of each rater.

    Raises DataError for a damaged line of a turn.
    """
    turns = []
    for number, line in enumerate(path.read_text(encoding="latin-1").splitlines(), 1):
        if line.startswith("["):
            match = SUMMARY.fullmatch(line)
            if match is None or match[4] not in EMOTIONS:
                raise DataError(
                    f"{path}, line {number}: {line!r} is not '[start - end] turn label [V, A, D]' "
                    f"with a label of {' '.join(EMOTIONS)}; copy the file again"
                )
            start, end, name, label, *attributes = match.groups()
            seconds = float(end) - float(start)
            turns.append(Turn(name, label, seconds, *map(float, attributes), {}, {}))
        elif turns and (match := CATEGORIES.fullmatch(line)):
            emotions = [word.strip().lower() for word in match[2].split(";") if word.strip()]
            turns[-1].categories[match[1]] = emotions
        elif turns and (match := ATTRIBUTES.fullmatch(line)):
            rater, *votes = match.groups()
            turns[-1].attributes[rater] = tuple(int(vote) if vote else None for vote in votes)
    return turns
