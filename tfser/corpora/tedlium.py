"""TED-LIUM release 2, English TED talks with transcripts (Rousseau et al., LREC 2014).

1,495 talks, 207 hours, 16 kHz: 92,973 segments in the training part. No emotions. Licence:
CC BY-NC-ND 3.0. Get TEDLIUM_release2.tar.gz from openslr.org/19.

Layout `dev/sph/AlGore_2009.sph`, a complete talk in NIST's sphere format, and
`dev/stm/AlGore_2009.stm`, a line for each segment of the talk; likewise for `train` and `test`:

    AlGore_2009 1 Al_Gore 23.46 40.05 <F0_M> but this understates the seriousness
    AlGore_2009 1 inter_segment_gap 40.05 41.2 <o,,unknown> ignore_time_segment_in_scoring
    AlGore_2009 1 Al_Gore 41.2 52.1 <o,f0,male> the arctic ice cap is in a sense

The columns are talk, channel, speaker, start and end in seconds, conditions, words. Segments may
overlap.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from tfser.corpora.utterance import Utterance
from tfser.errors import DataError, UsageError

EXPECTED = 92_973
PAPER_GROUP = "train"
LAYOUT = "<train, dev or test>/stm/<talk>.stm and <train, dev or test>/sph/<talk>.sph"

PARTS = ("train", "dev", "test")
GENDERS = {"male": "male", "female": "female", "f0_m": "male", "f0_f": "female"}
SECONDS = r"(\d+(?:\.\d*)?)"
SEGMENT = re.compile(rf"([^\s/]+)\s+\S+\s+(\S+)\s+{SECONDS}\s+{SECONDS}\s+<([^>]*)>\s+(\S.*)")
NO_SPEECH = ("ignore_time_segment_in_scoring", "inter_segment_gap")


def read(root: Path) -> list[Utterance]:
    """Return the segments of all parts sorted by name; `session` is the talk.

    Segments with a missing sph are included: extraction reports them.
    """
    top = "" if any((root / part / "stm").is_dir() for part in PARTS) else "*/"
    utterances = []
    for part in PARTS:
        for file in sorted(root.glob(f"{top}{part}/stm/[!.]*.stm")):
            utterances += load_segments(file, part)
    return sorted(utterances, key=lambda utterance: utterance.name)


def load_segments(file: Path, part: str) -> Iterator[Utterance]:
    """Yield the segments of one stm file; raise DataError for a damaged line."""
    text = file.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith(";;"):
            continue
        match = SEGMENT.fullmatch(line.strip())
        if match is None:
            raise DataError(
                f"{file}, line {number}: {line[:80]!r} is not 'talk channel speaker start end "
                "<conditions> words'; copy the file again"
            )
        talk, speaker, start, end, conditions, words = match.groups()
        if words.split()[0].lower() in NO_SPEECH or speaker.lower() in NO_SPEECH:
            continue
        if float(start) >= float(end):
            raise DataError(
                f"{file}, line {number}: the segment ends at {end} s, not after its start at "
                f"{start} s; copy the file again or remove the line"
            )
        yield Utterance(
            file.parents[1] / "sph" / f"{talk}.sph",
            name=f"{talk}-{float(start) * 100:07.0f}-{float(end) * 100:07.0f}",  # as in Kaldi
            speaker=speaker,
            start_seconds=float(start),
            end_seconds=float(end),
            session=talk,
            gender=GENDERS.get(conditions.lower().rpartition(",")[2]),
            split=part,
            group=part,
        )


def select_first_talks(utterances: list[Utterance], n_talks: int) -> list[Utterance]:
    """Return the segments of the first talks of the training part, by name.

    The ACNN paper, section 3, uses 400 talks without their names.

    Raises UsageError for fewer than one talk, or more than the training part has.
    """
    training = [utterance for utterance in utterances if utterance.split == "train"]
    talks = sorted({utterance.session for utterance in training})
    if not 1 <= n_talks <= len(talks):
        raise UsageError(
            f"tedlium: the first {n_talks} talks are asked for, but the training part here has "
            f"{len(talks):,}; ask for fewer, at least 1, or get the whole of it"
        )
    first_talks = set(talks[:n_talks])
    return [utterance for utterance in training if utterance.session in first_talks]
