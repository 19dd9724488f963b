"""LibriSpeech, read English speech from audiobooks (Panayotov et al., ICASSP 2015).

Of 1,000 hours, 2,484 speakers, 16 kHz, the papers take train-clean-100: 28,539 utterances, 251
speakers, 100 hours. No emotions. Licence: CC BY 4.0. Get the subsets from openslr.org/12.

Layout `train-clean-100/19/198/19-198-0000.flac`: subset, speaker, chapter, utterance. Speakers'
genders are in `SPEAKERS.TXT`, beside the subsets:

    ;ID  |SEX| SUBSET           |MINUTES| NAME
    19   | F | train-clean-100  | 25.19 | Kara Shallenberg
    60   | M | train-clean-100  | 20.18 | |CBW|Simon

The root is `LibriSpeech/`, the folder above it, or one of its subsets.
"""

import logging
import re
from pathlib import Path

from tfser.corpora.audio_folder import list_audio_files
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError

EXPECTED = 28_539
PAPER_GROUP = "train-clean-100"
LAYOUT = "<subset>/<speaker>/<chapter>/<speaker>-<chapter>-<utterance>.flac"

NAME = re.compile(r"(\d+)-(\d+)-\d+")
SPLITS = ("train", "dev", "test")
GENDERS = {"F": "female", "M": "male"}

log = logging.getLogger(__name__)


def read(root: Path) -> list[Utterance]:
    """Return the utterances sorted by name; `group` is the subset.

    The gender of a speaker without a line in SPEAKERS.TXT is None.
    """
    table = find_speakers_file(root)
    genders = load_genders(table) if table else {}
    utterances = []
    for path in list_audio_files(root):
        match = NAME.fullmatch(path.stem)
        folder = path.absolute().parent  # the root itself may be a subset, even "."
        if match is None or match.groups() != (folder.parent.name, folder.name):
            continue
        speaker, subset = match[1], folder.parents[1].name
        split = subset.partition("-")[0]
        utterances.append(
            Utterance(
                path,
                name=path.stem,
                speaker=speaker,
                gender=genders.get(speaker),
                split=split if split in SPLITS else None,
                group=subset,
            )
        )
    unknown = sorted({u.speaker for u in utterances} - set(genders), key=int)
    if utterances and table is None:
        log.warning("librispeech: no SPEAKERS.TXT in %s or above, so genders are not known", root)
    elif unknown:
        log.warning(
            "librispeech: speakers who are not in %s, and have no gender here: %d, the first is %s",
            *(table, len(unknown), unknown[0]),
        )
    return sorted(utterances, key=lambda utterance: utterance.name)


def find_speakers_file(root: Path) -> Path | None:
    """Return SPEAKERS.TXT in the root, in a folder of it, or above a root that is a subset."""
    above = root.absolute().parents[:2]
    paths = [*sorted(root.glob("*/SPEAKERS.TXT")), *(folder / "SPEAKERS.TXT" for folder in above)]
    return next((path for path in (root / "SPEAKERS.TXT", *paths) if path.is_file()), None)


def load_genders(path: Path) -> dict[str, str]:
    """Load {speaker: gender}; raise DataError for a line without a speaker or a comment."""
    genders = {}
    text = path.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith(";"):
            continue
        cells = [cell.strip() for cell in line.split("|", 4)]  # one name has a | of its own
        if len(cells) != 5 or not cells[0].isdigit() or cells[1] not in GENDERS:
            raise DataError(
                f"{path}, line {number}: {line!r} is not 'ID | F or M | SUBSET | MINUTES | NAME'; "
                "copy the file again"
            )
        genders[cells[0]] = GENDERS[cells[1]]
    return genders
