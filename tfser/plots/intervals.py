"""Figures of scores with their intervals, and of calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfser.plots.figures import CHANCE, COLOURS, new_figure, plain_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@plain_text
def draw_intervals(names, scores, intervals, title: str, *, label="UAR", chance=None) -> Figure:
    """Draw a score and its 95 % interval for each name, in percent, the first one on top.

    scores [n] and intervals [(low, high)] are shares.
    """
    figure = new_figure(width=8, height=1.4 + 0.45 * len(names))
    axes = figure.subplots()
    places = np.arange(len(names))[::-1]
    scores, ends = 100 * np.asarray(scores), 100 * np.asarray(intervals)
    axes.hlines(places, ends[:, 0], ends[:, 1], color=COLOURS[0], linewidth=2)
    axes.plot(scores, places, "o", color=COLOURS[0])
    for place, score, (_, high) in zip(places, scores, ends, strict=True):
        axes.annotate(
            f"{score:.1f}", (high, place), xytext=(5, 0), textcoords="offset points", va="center"
        )
    if chance is not None:
        axes.axvline(100 * chance, **CHANCE)
    axes.set_yticks(places, names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.margins(x=0.12)
    axes.set_xlabel(f"{label} in percent, with its 95 % interval")
    axes.set_title(title)
    return figure


@plain_text
def draw_reliability(bins, title: str) -> Figure:
    """Draw accuracy against confidence for `calibration.reliability_bins`; size: utterances."""
    figure = new_figure(width=5.5, height=5)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], label="calibrated", **CHANCE)
    confidence, accuracy = ([getattr(b, name) for b in bins] for name in ("confidence", "accuracy"))
    axes.plot(confidence, accuracy, "-", color=COLOURS[0], linewidth=1)
    largest = max(b.n for b in bins)
    areas = [20 + 180 * b.n / largest for b in bins]
    axes.scatter(
        confidence, accuracy, s=areas, color=COLOURS[0], label="predictions, with their number"
    )
    for b in bins:
        axes.annotate(
            f"{b.n}", (b.confidence, b.accuracy), xytext=(8, -10), textcoords="offset points",
            fontsize=8,
        )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence, the largest probability",
             ylabel="accuracy", title=title)  # fmt: skip
    axes.legend(loc="upper left")
    return figure
