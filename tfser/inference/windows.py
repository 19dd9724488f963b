"""Windows of a long recording, each of which is predicted by itself."""

import itertools

import numpy as np

from tfser.audio import decode
from tfser.audio.libsndfile import UNKNOWN_FRAMES
from tfser.errors import DataError, UsageError

WHOLE_SECONDS = 60.0  # the longest recording that is one row without a window
WINDOW_SECONDS = 10.0  # for longer recordings
SHORTEST_HOP_SECONDS = 0.001  # a second of sound is a thousand windows
SAME_SECONDS = 1e-6  # times that differ by less are equal


def check_window(window_seconds, hop_seconds) -> None:
    """Raise UsageError for an impossible window or hop."""
    shortest = decode.SHORTEST_SECONDS
    if window_seconds is not None and not shortest <= window_seconds < np.inf:
        raise UsageError(f"a window of {window_seconds:g} s: give {shortest:g} or more")
    if hop_seconds is not None and not (window_seconds and 0 < hop_seconds <= window_seconds):
        raise UsageError("a hop needs a window that is as long or longer")
    if hop_seconds is not None and hop_seconds < SHORTEST_HOP_SECONDS:
        raise UsageError(f"a hop of {hop_seconds:g} s: give {SHORTEST_HOP_SECONDS:g} or more")


def split_into_windows(duration_seconds, window_seconds, hop_seconds, input_seconds=None):
    """Yield the (start, end) of a recording's windows in seconds; the last may be shorter.

    Without a window: one window for a recording of up to WHOLE_SECONDS, else windows of
    WINDOW_SECONDS; neither longer than the model's input. A rest too short for a recording is left
    out. An infinite duration has windows without end.
    """
    if window_seconds is None:
        longest = input_seconds or np.inf
        if duration_seconds <= min(WHOLE_SECONDS, longest):
            yield 0.0, duration_seconds
            return
        window_seconds = min(WINDOW_SECONDS, longest)
    hop_seconds = hop_seconds or window_seconds
    for number in itertools.count():
        start = number * hop_seconds
        if number and duration_seconds - start < decode.SHORTEST_SECONDS:
            return
        yield start, min(start + window_seconds, duration_seconds)
        if start + window_seconds >= duration_seconds - SAME_SECONDS:
            return


def read_windows(recording, sample_rate_hz, window_seconds, hop_seconds, input_seconds=None):
    """Yield (start, end, waveform at `sample_rate_hz` or DataError) of a recording's windows.

    The recording ends at the first window that cannot be read, which is the last one.

    recording: of `decode.open_recording`. Times are those of the file, in seconds.
    """
    rate_hz, first = recording.rate_hz, recording.start / recording.rate_hz
    if recording.stop == UNKNOWN_FRAMES:  # does it end within one window?
        longest = min(WHOLE_SECONDS, input_seconds or np.inf)
        recording.read_ahead(recording.start + round(longest * rate_hz) + 1)

    def duration():
        known = recording.stop != UNKNOWN_FRAMES
        return recording.stop / rate_hz - first if known else np.inf

    windows = split_into_windows(duration(), window_seconds, hop_seconds, input_seconds)
    for number, (start, end) in enumerate(windows):
        start, end = first + start, first + end
        try:
            samples = recording.read(round(start * rate_hz), round(end * rate_hz))
        except DataError as error:
            yield start, end, error
            return
        rest = duration() + first - start
        if number and rest < decode.SHORTEST_SECONDS:
            return
        try:
            waveform = recording.convert([samples], sample_rate_hz)
        except DataError as error:
            waveform = error
        yield start, min(end, start + rest), waveform
        if start + rest <= end + SAME_SECONDS:
            return
