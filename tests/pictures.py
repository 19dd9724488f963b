"""Pictures of one pixel, for tests about other files: a real one takes a tenth of a second."""

import base64
import contextlib

import numpy as np

from tfser.plots import figures, intervals, spectrograms

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
_encode_png, _new_figure = figures.encode_png, figures.new_figure


class NoFigure:
    """Stand in for a figure and its axes: every method draws nothing and returns the same."""

    def __getattr__(self, name):
        if name.startswith("__"):  # what NumPy asks of an array
            raise AttributeError(name)
        return self

    def __iter__(self):
        yield self

    def get_ylim(self):
        """Return the limits of an empty axis."""
        return 0.0, 1.0

    def __call__(self, *_, **__):
        return self

    def get_legend_handles_labels(self):
        """Return no lines and no names."""
        return [], []

    def subplots(self, rows=1, columns=1, *, squeeze=True, **_):
        """Return axes in the shape that matplotlib has for them."""
        axes = np.full((rows, columns), self, object)
        return np.squeeze(axes)[()] if squeeze else axes


@contextlib.contextmanager
def drawn(real=True):
    """Let pictures be real, or of one pixel."""
    before = figures.encode_png, figures.new_figure
    _replace(*((_encode_png, _new_figure) if real else (lambda _: PIXEL, lambda **_: NoFigure())))
    try:
        yield
    finally:
        _replace(*before)


def _replace(encode_png, new_figure) -> None:
    figures.encode_png = encode_png
    for module in (figures, intervals, spectrograms):
        module.new_figure = new_figure
