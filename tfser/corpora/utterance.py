"""The class of labelled utterances."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Utterance:
    """A labelled part of an audio file; times are None for the complete file."""

    path: Path
    name: str  # unique in its corpus and safe as a file name: "03a01Fa", "wangzhe-fear-201"
    speaker: str  # a string: "03" and "3" are two speakers
    emotion: str | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    session: str | None = None
    gender: str | None = None  # "male", "female"
    text: str | None = None  # equal for utterances with the same words
    activation: float | None = None
    valence: float | None = None
    dominance: float | None = None
    split: str | None = None
    group: str | None = None
