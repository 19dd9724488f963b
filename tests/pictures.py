"""Pictures of one pixel, for tests about other files: a real one takes a tenth of a second."""

import base64
import contextlib

from tfser.plots import figures

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
_encode_png = figures.encode_png


def encode_pixel(*_):
    """Stand in for `encode_png`."""
    return PIXEL


@contextlib.contextmanager
def encoded_by(function=_encode_png):
    """Let pictures be encoded by a function; without one they are real."""
    before, figures.encode_png = figures.encode_png, function
    try:
        yield
    finally:
        figures.encode_png = before
