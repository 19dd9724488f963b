"""MSP-IMPROV, emotions in improvised dialogues (Busso et al., IEEE Trans. Affect. Comput. 2017).

8,438 turns of 12 actors in 6 sessions, a woman and a man in each, 9 hours, 48 kHz: 20 sentences,
each in 4 emotions, and the dialogue around them. Licence: research, on request from the
University of Texas at Dallas.

Layout `session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav`, in some copies below `Audio/`: sentence 01
in anger, actress of session 1, condition P, turn 1. Its labels are in `Evaluation.txt`, which
some copies call `Evalution.txt`, a line for each turn and its raters below:

    UTD-IMPROV-S01A-F01-P-FM01.avi; A; A:2.333333; V:3.166667; D:2.500000 ; N:3.200000;
    ANON-p1; Angry; Frustrated; A:2.000000; V:3.000000; D:2.000000; N:NaN;

The emotion is the vote of most raters; A, V, D and N (natural or acted) are means over raters, from
1 to 5. A is 1 for very active: activation here is 6 - A, 5 for very active as in other corpora.
"""

import logging
import re
from pathlib import Path

from tfser.corpora.audio_folder import list_audio_files
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError

EXPECTED = 8_438
SESSIONS = [f"session{number}" for number in range(1, 7)]
LABEL_FILES = ("Evaluation.txt", "Evalution.txt")
LAYOUT = "Evaluation.txt and session<n>/<sentence>/<condition>/MSP-IMPROV-<turn>.wav"

# X: the raters did not agree.
EMOTIONS = {"A": "anger", "H": "happiness", "S": "sadness", "N": "neutral",
            "O": "other", "X": None}  # fmt: skip
CONDITIONS = {"T": "target-improvised", "R": "target-read", "S": "other-improvised",
              "P": "natural"}  # fmt: skip
GENDERS = {"F": "female", "M": "male"}
MEAN = r"\s*(\d+(?:\.\d+)?|NaN)\s*"
TURN = re.compile(
    r"UTD-IMPROV-((S\d\d[AHSN])-([FM]0[1-6])-([PRST])-[FM][FM]\d+)\.avi\s*;"
    rf"\s*([AHSNOX])\s*;\s*A:{MEAN};\s*V:{MEAN};\s*D:{MEAN};\s*N:{MEAN};\s*"
)

log = logging.getLogger(__name__)


def read(root: Path) -> list[Utterance]:
    """Return the turns of the evaluation file sorted by name.

    Turns with a missing wav are included: extraction reports them.
    """
    files = [root / name for name in LABEL_FILES]
    files += sorted(file for name in LABEL_FILES for file in root.glob(f"*/{name}"))
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        return []
    # By name, since the folders of copies differ. The file nearest to the root is used.
    nearest_last = sorted(list_audio_files(root), key=lambda path: (-len(path.parts), path))
    paths = {path.stem: path for path in nearest_last}
    utterances = load_turns(file, paths)
    missing = sorted(set(SESSIONS) - {u.session for u in utterances})
    if utterances and missing:
        log.warning("improv: no %s in %s; the corpus has six", ", ".join(missing), file)
    odd = [
        u.name
        for u in utterances
        if not all(x is None or 1 <= x <= 5 for x in (u.activation, u.valence, u.dominance))
    ]
    if odd:
        log.warning(
            "improv: turns with an attribute outside 1 to 5, kept as it is: %d, the first is %s",
            *(len(odd), odd[0]),
        )
    return sorted(utterances, key=lambda utterance: utterance.name)


def load_turns(file: Path, paths: dict[str, Path]) -> list[Utterance]:
    """Load the turns of the evaluation file; `paths` has the audio by name.

    Raises DataError for a damaged line of a turn, and for a turn with two different labels.
    """
    lines, utterances = {}, []
    text = file.read_text(encoding="utf-8-sig", errors="replace")
    for number, line in enumerate(text.split("\n"), 1):
        if "-IMPROV-" not in line:
            continue  # a rater, whose votes are in the means, or an empty line
        where = f"{file}, line {number}"
        match = TURN.fullmatch(line.strip())
        if match is None:
            raise DataError(
                f"{where}: {line!r} is not 'UTD-IMPROV-<turn>.avi; label; A:1.0; V:1.0; D:1.0; "
                f"N:1.0;' with a label of {' '.join(EMOTIONS)}; copy the file again"
            )
        turn, sentence, speaker, condition, label, *means = match.groups()
        first, content = lines.setdefault(turn, (number, match.groups()))
        if content != match.groups():
            raise DataError(f"{where}: {turn} has other labels in line {first}; remove one")
        if first != number:
            continue  # the same line twice
        activation, valence, dominance, _ = (None if x == "NaN" else float(x) for x in means)
        name, session = f"MSP-IMPROV-{turn}", f"session{speaker[2]}"
        path = file.parent / session / sentence / condition / f"{name}.wav"
        utterances.append(
            Utterance(
                paths.get(name, path),
                name=name,
                speaker=speaker,
                emotion=EMOTIONS[label],
                session=session,
                gender=GENDERS[speaker[0]],
                activation=None if activation is None else 6 - activation,
                valence=valence,
                dominance=dominance,
                group=CONDITIONS[condition],
            )
        )
    return utterances
