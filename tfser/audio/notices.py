"""Warnings about recordings, each kind once in a command."""

import logging
import threading

log = logging.getLogger("tfser")
_given, _lock = set(), threading.Lock()


def warn_once(kind: str, message: str, *values) -> None:
    """Log a warning unless one of this kind was logged since `reset`."""
    with _lock:
        is_new = kind not in _given
        _given.add(kind)
    if is_new:
        log.warning(message, *values)


def reset() -> None:
    """Let each kind of warning be logged again: a command begins."""
    with _lock:
        _given.clear()
