"""Mixing of channels to mono, and checks of the samples of a waveform."""

import numpy as np

from tfser.audio.notices import warn_once
from tfser.errors import DataError

LARGEST = 16.0  # 24 dB above full scale: no recording, but integers
FULL_SCALES = (2**15, 2**23, 2**31)  # of integers of 16, 24 and 32 bits
NOISE = 4e-5  # root mean square of rounding noise and dither of 16 bits, 1.3 steps
NOISE_OF_8_BITS = 5e-3  # 0.65 steps: two neighbouring values
CANCELLED = 1e-2  # power of the mean to that of a channel: 1/n in channels without a relation
SILENT_CHANNEL = 1e-4  # power to that of the loudest channel
LOW_RATE = 0.7  # of the rate of the features: a third of their bands, or more, are empty
FIX = "--set audio.channel={0} (tfser-predict: --channel {0})"


def mix(path, blocks, n_channels: int, channel: int = 0) -> np.ndarray:
    """Return blocks [n, channels] as mono [samples]: the mean of the channels, or one of them.

    channel: 1 for the first; 0: the mean.

    Raises DataError for channels that cancel each other; warns where some are silent.
    """
    if not 0 <= channel <= n_channels:
        raise DataError(f"{path}: has {n_channels} channel(s), none of number {channel}; change "
                        f"{FIX.format(channel)}")  # fmt: skip
    powers, mono = np.zeros(n_channels), [np.zeros(0, "float32")]
    for block in blocks:
        if n_channels == 1 or channel:
            mono.append(block[:, max(channel - 1, 0)])
        else:
            powers += np.einsum("ij,ij->j", block, block, dtype="float64")
            mono.append(block.mean(axis=1))
    waveform = np.concatenate(mono)
    if powers.any():
        _check_channels(path, powers, np.dot(waveform, waveform.astype("float64")))
    return waveform


def _check_channels(path, powers, mean_power) -> None:
    loudest = int(np.argmax(powers)) + 1
    if mean_power < CANCELLED * powers.mean():
        raise DataError(
            f"{path}: its {len(powers)} channels cancel each other, their mean is as good as "
            f"silent; take one: {FIX.format(loudest)}"
        )
    n_silent = int((powers < SILENT_CHANNEL * powers.max()).sum())
    if n_silent:
        warn_once(
            "silent channel",
            "%s: %d of %d channels are silent, and the mean of all is %.0f dB below channel %d; "
            f"{FIX.format('%d')} takes that channel alone, of all recordings",
            path, n_silent, len(powers), 10 * np.log10(powers.max() / mean_power), loudest, loudest,
            loudest,
        )  # fmt: skip


def find_fault(waveform, noise: float = NOISE) -> str:
    """Return why the samples of a waveform [samples] are unusable; "": they are usable.

    noise: root mean square below which a recording is silent.
    """
    peak = np.abs(waveform).max(initial=0.0)
    if not np.isfinite(peak):
        return "has NaN or infinite samples"
    if peak > LARGEST or peak > 1 and np.array_equal(waveform, np.rint(waveform)):
        scale = next((scale for scale in FULL_SCALES if peak <= scale), None)
        how = f"integers? divide them by {scale}" if scale else "damaged, or no sound"
        return f"its samples reach {peak:g}, not -1 to 1: {how}"
    if len(waveform) and not peak:
        return f"silent, all {len(waveform)} samples are zero"
    if len(waveform) and np.std(waveform) < noise:
        level = f"{20 * np.log10(noise):.0f} dB of full scale"
        return f"as good as silent, its {len(waveform)} samples differ by less than {level}"
    return ""


def check_rate(path, rate_hz, sample_rate_hz) -> None:
    """Warn of a recording at a rate far below that of the features."""
    if rate_hz < LOW_RATE * sample_rate_hz:
        warn_once(
            "low rate",
            "%s is a recording at %d Hz, the features are of %d Hz: their bands above %d Hz are "
            "empty; take recordings at %d Hz, or train with --set features.sample_rate_hz=%d",
            path, rate_hz, sample_rate_hz, rate_hz // 2, sample_rate_hz, rate_hz,
        )  # fmt: skip
