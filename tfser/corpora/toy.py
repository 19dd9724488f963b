"""Toy, a corpus of synthetic voices for demonstrations, synthesized without a download.

160 utterances of about 1.2 to 1.6 s, 16 kHz mono: 4 speakers (2 female) x 4 emotions x 10 takes.
Speakers differ in vocal-tract length and pitch; emotions in the level and movement of the pitch,
loudness, tempo and spectral tilt, each with large random variation, and a random gain.
On unseen speakers a linear SVM on log-mel means and deviations has a UAR of 0.87, on the mean
energy 0.42 (chance 0.25; tests/corpora/test_toy.py).
Scores on it test the code, and are no measure of emotion recognition in speech.

Source-filter synthesis (Fant 1960): glottal pulses, tilted, through three formant resonators.
"""

import os
import shutil
import tempfile
import wave
from pathlib import Path

import numpy as np

from tfser.corpora.utterance import Utterance
from tfser.errors import DataError

EXPECTED = 160
LAYOUT = "v1/f1-anger-01.wav"

VERSION = "v1"  # raise it when the sound changes, so that old files are not used
SAMPLE_RATE_HZ = 16_000
N_TAKES = 10
# speaker: gender, pitch in Hz, formants relative to those of an average male vocal tract
SPEAKERS = {
    "f1": ("female", 195.0, 1.13),
    "f2": ("female", 220.0, 1.19),
    "m1": ("male", 105.0, 0.97),
    "m2": ("male", 125.0, 1.03),
}
# emotion: pitch level, pitch movement (both relative), loudness in dB, syllables per second,
# pole of the source's low passes (nearer to 1: duller voice)
EMOTIONS = {
    "anger": (1.30, 0.20, 4.0, 5.4, 0.45),
    "happiness": (1.45, 0.38, 2.0, 5.0, 0.67),
    "neutral": (1.00, 0.10, 0.0, 4.4, 0.76),
    "sadness": (0.85, 0.06, -4.0, 3.0, 0.89),
}
VOWELS_HZ = ((730, 1090, 2440), (530, 1840, 2480), (270, 2290, 3010), (570, 840, 2410),
             (300, 870, 2240))  # fmt: skip
BANDWIDTHS_HZ = (80.0, 110.0, 170.0)


def read(root: Path) -> list[Utterance]:
    """Return the utterances in the order of file names; raise DataError for missing files."""
    utterances = [
        Utterance(
            root / VERSION / f"{name}.wav",
            name=name,
            speaker=speaker,
            emotion=emotion,
            gender=SPEAKERS[speaker][0],
        )
        for speaker, emotion, _, name in list_takes()
    ]
    n_missing = sum(not utterance.path.is_file() for utterance in utterances)
    if n_missing:
        raise DataError(
            f"toy: {n_missing} of the {EXPECTED} files are missing from {root / VERSION}; remove "
            "that folder, and it is made again"
        )
    return utterances


def list_takes() -> list[tuple[str, str, int, str]]:
    """Return (speaker, emotion, take, name) of each utterance in the order of the names."""
    return [
        (speaker, emotion, take, f"{speaker}-{emotion}-{take:02d}")
        for speaker in SPEAKERS
        for emotion in EMOTIONS
        for take in range(1, N_TAKES + 1)
    ]


def make(root: Path) -> None:
    """Write the corpus under a folder unless it is there: complete or not at all."""
    if (root / VERSION).is_dir():
        return
    root.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{VERSION}-", dir=root))
    try:
        for speaker, emotion, take, name in list_takes():
            write_wav(partial / f"{name}.wav", synthesise(speaker, emotion, take))
        partial.chmod(0o755)  # mkdtemp's folders are private
        try:
            os.rename(partial, root / VERSION)
        except OSError:
            if not (root / VERSION).is_dir():  # no other process has written it
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def synthesise(speaker: str, emotion: str, take: int) -> np.ndarray:
    """Synthesize an utterance, [samples] in -1..1; a pure function of its arguments."""
    from scipy.signal import lfilter  # slow to import, and seldom needed

    seed = [list(SPEAKERS).index(speaker), list(EMOTIONS).index(emotion), take]
    random = np.random.RandomState(seed)  # NumPy keeps the stream of this generator
    _, pitch_hz, tract = SPEAKERS[speaker]
    level, movement, loudness_db, tempo, pole = EMOTIONS[emotion]
    level *= np.exp(random.normal(0, 0.07))
    movement *= np.exp(random.normal(0, 0.25))
    loudness_db += random.normal(0, 2.0)
    tempo *= np.exp(random.normal(0, 0.08))
    pole = 1 - (1 - pole) * np.exp(random.normal(0, 0.15))

    n = int(random.uniform(1.2, 1.6) * SAMPLE_RATE_HZ)
    t = np.arange(n) / SAMPLE_RATE_HZ  # [samples]
    n_syllables = max(2, round(tempo * n / SAMPLE_RATE_HZ))
    edges = np.cumsum(random.uniform(0.7, 1.3, n_syllables))
    edges = np.concatenate([[0], edges / edges[-1] * n]).astype(int)
    syllable = np.searchsorted(edges[1:-1], np.arange(n), side="right")  # [samples]
    position = (np.arange(n) - edges[syllable]) / np.diff(edges)[syllable]  # 0..1 in the syllable

    # Pitch: declination, an accent on each syllable, a slow wave, and jitter.
    accents = movement * random.normal(0, 1, n_syllables)
    contour = accents[syllable] * np.sin(np.pi * position) - 0.15 * t / t[-1]
    contour += 0.5 * movement * np.sin(2 * np.pi * (random.uniform(1, 3) * t + random.uniform()))
    f0_hz = pitch_hz * level * np.exp(contour + 0.01 * random.normal(size=n))

    # Source: a pulse at each wrap of the phase, low-pass filtered, and breath.
    pulses = np.diff(np.floor(np.cumsum(f0_hz / SAMPLE_RATE_HZ)), prepend=0.0)
    source = pulses - f0_hz / SAMPLE_RATE_HZ
    for _ in range(2):  # 12 dB per octave, as at the glottis
        source = lfilter([1 - pole], [1, -pole], source)
    source += 0.001 * random.normal(size=n)

    # Loudness rises and falls with each syllable; some begin with a hiss.
    envelope = np.sin(np.pi * np.clip(position, 0, 1)) ** 0.6
    envelope *= np.exp(0.2 * random.normal(size=n_syllables))[syllable]
    hiss = np.diff(random.normal(size=n), prepend=0.0) * np.clip(1 - 6 * position, 0, 1)
    hiss *= (random.uniform(size=n_syllables) < 0.4)[syllable]

    samples = np.empty(n)
    order = random.permutation(len(VOWELS_HZ))  # in turn: random vowels would mask the tilt
    states = [np.zeros(2)] * len(BANDWIDTHS_HZ)  # of the resonators, from syllable to syllable
    for i in range(n_syllables):
        part = slice(edges[i], edges[i + 1])
        vowel_hz = VOWELS_HZ[order[i % len(order)]]
        x = source[part] * envelope[part]
        for j, bandwidth_hz in enumerate(BANDWIDTHS_HZ):
            centre_hz = vowel_hz[j] * tract * np.exp(random.normal(0, 0.03))
            a = design_resonator(centre_hz, bandwidth_hz)
            x, states[j] = lfilter([sum(a)], a, x, zi=states[j])
        samples[part] = x
    samples = samples / np.sqrt(np.mean(samples**2)) + 0.2 * hiss

    gain_db = -32 + loudness_db + random.uniform(-8, 8)  # random gain of the microphone
    samples = samples * 10 ** (gain_db / 20) + 3e-4 * random.normal(size=n)
    return np.clip(samples, -1, 1)


def design_resonator(centre_hz: float, bandwidth_hz: float) -> list[float]:
    """Return the denominator of a two-pole filter; its sum, as the numerator, gives 1 at 0 Hz."""
    radius = np.exp(-np.pi * bandwidth_hz / SAMPLE_RATE_HZ)
    return [1.0, -2 * radius * np.cos(2 * np.pi * centre_hz / SAMPLE_RATE_HZ), radius**2]


def write_wav(path: Path, samples: np.ndarray) -> None:
    """Write [samples] in -1..1 as 16-bit PCM."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(np.round(samples * 32767).astype("<i2").tobytes())
