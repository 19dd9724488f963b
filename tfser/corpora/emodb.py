"""Emo-DB, the Berlin database of emotional speech (Burkhardt et al., Interspeech 2005).

535 utterances, 10 speakers (5 female), 7 emotions, 10 German sentences, 16 kHz mono, 1.2 to 9 s.
The name carries the labels: 03a01Fa.wav is speaker 03, sentence a01, emotion F (Freude), take a.
Licence: free for research. Get it from emodb.bilderbar.info or Zenodo (record 17651657) and give
the folder that holds `wav/` or the files. Some copies hold files cut to 2 s: their labels are
right, but scores on them do not compare with published scores.
"""

import re
from pathlib import Path

from tfser.corpora.audio_folder import list_audio_files
from tfser.corpora.utterance import Utterance

EXPECTED = 535
OTHER_FILES = re.compile(r"(?!)")  # none that the reader leaves out by its name
LAYOUT = "wav/03a01Fa.wav"

EMOTIONS = {"W": "anger", "L": "boredom", "E": "disgust", "A": "fear",
            "F": "happiness", "N": "neutral", "T": "sadness"}  # fmt: skip
GENDERS = {"03": "male", "08": "female", "09": "female", "10": "male", "11": "male",
           "12": "male", "13": "female", "14": "female", "15": "male", "16": "female"}  # fmt: skip
NAME = re.compile(r"(\d\d)([ab]\d\d)([WLEAFNT])[a-z]", re.IGNORECASE)


def read(root: Path) -> list[Utterance]:
    """Return the utterances in the order of the file names."""
    utterances = []
    wav = root / "wav"
    for path in list_audio_files(wav if wav.is_dir() else root):
        match = NAME.fullmatch(path.stem)
        if match is None or match[1] not in GENDERS:
            continue
        speaker, text, letter = match.groups()
        text, letter = text.lower(), letter.upper()  # copies from other disks: 03A01FA.WAV
        utterances.append(
            Utterance(
                path,
                name=path.stem,
                speaker=speaker,
                emotion=EMOTIONS[letter],
                gender=GENDERS[speaker],
                text=text,
            )
        )
    return sorted(utterances, key=lambda utterance: utterance.name)
