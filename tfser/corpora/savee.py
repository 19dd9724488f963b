"""SAVEE, Surrey audio-visual expressed emotion (Haq & Jackson, AVSP 2009).

480 utterances, 4 male English speakers, 7 emotions, 44.1 kHz mono: 15 of each emotion and 30
neutral by each speaker. Licence: research only, on registration at kahlan.eps.surrey.ac.uk/savee.

Layout `AudioData/DC/a01.wav`: speaker, emotion, sentence; or flat: DC_a01.wav, DCa01.wav.
"""

import re
from pathlib import Path

from tfser.corpora.audio_folder import list_audio_files
from tfser.corpora.utterance import Utterance

EXPECTED = 480
OTHER_FILES = re.compile(r"(?!)")  # none that the reader leaves out by its name
LAYOUT = "AudioData/<DC|JE|JK|KL>/a01.wav, or DC_a01.wav"

EMOTIONS = {"a": "anger", "d": "disgust", "f": "fear", "h": "happiness", "n": "neutral",
            "sa": "sadness", "su": "surprise"}  # fmt: skip
SPEAKERS = ("DC", "JE", "JK", "KL")
# sa and su stand before the single letters, and there is no emotion s.
NAME = re.compile(r"(?:(DC|JE|JK|KL)[-_]?)?(sa|su|a|d|f|h|n)(\d\d)", re.IGNORECASE)


def read(root: Path) -> list[Utterance]:
    """Return the utterances in the order of speaker, emotion and sentence."""
    utterances = []
    audio_data = root / "AudioData"
    for path in list_audio_files(audio_data if audio_data.is_dir() else root):
        match = NAME.fullmatch(path.stem)
        if match is None:
            continue
        speaker = (match[1] or path.absolute().parent.name).upper()
        if speaker not in SPEAKERS:
            continue
        code = f"{match[2].lower()}{match[3]}"  # sentences are numbered per emotion
        utterances.append(
            Utterance(
                path,
                name=f"{speaker}_{code}",
                speaker=speaker,
                emotion=EMOTIONS[match[2].lower()],
                gender="male",
                text=code,
            )
        )
    return sorted(utterances, key=lambda utterance: utterance.name)
