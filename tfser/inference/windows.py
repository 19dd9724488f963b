"""Windows of a long recording, each of which is predicted by itself."""

import itertools

import numpy as np

from tfser.audio import decode
from tfser.errors import UsageError

WHOLE_SECONDS = 60.0  # the longest recording that is one row without a window
WINDOW_SECONDS = 10.0  # for longer recordings
SAME_SECONDS = 1e-6  # times that differ by less are equal


def check_window(window_seconds, hop_seconds) -> None:
    """Raise UsageError for an impossible window or hop."""
    shortest = decode.SHORTEST_SECONDS
    if window_seconds is not None and not shortest <= window_seconds < np.inf:
        raise UsageError(f"a window of {window_seconds:g} s: give {shortest:g} or more")
    if hop_seconds is not None and not (window_seconds and 0 < hop_seconds <= window_seconds):
        raise UsageError("a hop needs a window that is as long or longer")


def split_into_windows(
    duration_seconds, window_seconds, hop_seconds, input_seconds=None
) -> list[tuple]:
    """Return the (start, end) of a recording's windows in seconds; the last may be shorter.

    Without a window: one window for a recording of up to WHOLE_SECONDS, else windows of
    WINDOW_SECONDS; neither longer than the model's input. A rest too short for a recording is left
    out.
    """
    if window_seconds is None:
        longest = input_seconds or np.inf
        if duration_seconds <= min(WHOLE_SECONDS, longest):
            return [(0.0, duration_seconds)]
        window_seconds = min(WINDOW_SECONDS, longest)
    hop_seconds = hop_seconds or window_seconds
    windows = []
    for number in itertools.count():
        start = number * hop_seconds
        if windows and duration_seconds - start < decode.SHORTEST_SECONDS:
            return windows
        windows.append((start, min(start + window_seconds, duration_seconds)))
        if start + window_seconds >= duration_seconds - SAME_SECONDS:
            return windows
