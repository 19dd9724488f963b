"""RAVDESS, audio-visual emotional speech and song (Livingstone & Russo, PLoS ONE 13(5), 2018).

Its speech: 1,440 utterances, 24 actors (12 female) x 60, 8 emotions, 2 English sentences, 48 kHz.
Neutral has 4 utterances per actor, in normal intensity only; the other emotions have 8.
Licence: CC BY-NC-SA 4.0. Get Audio_Speech_Actors_01-24.zip from Zenodo (record 1188976).

Layout `Actor_12/03-01-06-01-02-01-12.wav`: modality (03 audio alone), channel (01 speech, 02 song),
emotion, intensity, statement, repetition, actor (odd: male). Of files with the same name one is
read: the most popular download has a second copy of the tree in audio_speech_actors_01-24/.
"""

import re
from pathlib import Path

from tfser.corpora.audio_folder import list_audio_files
from tfser.corpora.utterance import Utterance

EXPECTED = 1_440
OTHER_FILES = re.compile(r"0[123]-0[12]-.*")  # songs, and the sound of videos
LAYOUT = "Actor_<nn>/03-01-<emotion>-<intensity>-<statement>-<repetition>-<actor>.wav"

EMOTIONS = {"01": "neutral", "02": "calm", "03": "happiness", "04": "sadness",
            "05": "anger", "06": "fear", "07": "disgust", "08": "surprise"}  # fmt: skip
INTENSITIES = {"01": "normal", "02": "strong"}
STATEMENTS = {"01": "kids are talking by the door", "02": "dogs are sitting by the door"}
NAME = re.compile(r"03-01-(0[1-8])-(0[12])-(0[12])-0[12]-(0[1-9]|1\d|2[0-4])")


def read(root: Path) -> list[Utterance]:
    """Return the utterances in the order of emotion, intensity, statement, take and actor."""
    utterances = {}
    # Nearest to the root first, so that the second copy is left out.
    for path in sorted(list_audio_files(root), key=lambda path: (len(path.parts), path)):
        match = NAME.fullmatch(path.stem)
        if match is None:
            continue
        emotion, intensity, statement, actor = match.groups()
        utterance = Utterance(
            path,
            name=path.stem,
            speaker=actor,
            emotion=EMOTIONS[emotion],
            gender="male" if int(actor) % 2 else "female",
            text=STATEMENTS[statement],
            group=INTENSITIES[intensity],
        )
        utterances.setdefault(path.stem, utterance)
    return sorted(utterances.values(), key=lambda utterance: utterance.name)
