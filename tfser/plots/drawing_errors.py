"""Errors of pictures, which must not end a training."""

import contextlib
import logging

from tfser.storage import atomic_files

log = logging.getLogger("tfser")


@contextlib.contextmanager
def keep_going(name: str):
    """Log an error of a picture as a warning: no picture is worth the results of a training.

    A full disk is an error: the same command continues and draws the picture.
    """
    try:
        yield
    except Exception as error:
        if getattr(error, "errno", None) in atomic_files.FULL:
            raise
        reason = (str(error) or type(error).__name__).partition("\n")[0]
        log.warning("%s is not drawn: %s", name, reason)
