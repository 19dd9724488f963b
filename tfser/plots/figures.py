"""Figures of the papers and of every run, drawn by matplotlib without its global state.

`draw_*` return a figure, `save_figure` writes it to a file, `encode_png` turns it into bytes for
TensorBoard; `write_*` draw and save at once.
"""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfser.plots.drawing_errors import keep_going
from tfser.storage import atomic_files

# matplotlib takes half a second to import, so every function here imports it when it draws.
if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito 2008: distinct with every kind of colour vision; yellow, faint on white, is last.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442"]
LINES = ["-", "--", "-.", ":"]
CHANCE = {"color": "0.35", "linestyle": (0, (4, 4)), "linewidth": 1}
DPI = 120
SHARES = ("accuracy", "UAR")  # axes from 0 to 1
MANY_CLASSES = 12  # a confusion matrix with more classes has no numbers in its cells


def plain_text(draw):
    """Return a drawing function that does not take the "$b$" of a file name for a formula."""

    @functools.wraps(draw)
    def draw_plain(*arguments, **options):
        from matplotlib import rc_context

        with rc_context({"text.parse_math": False}):
            return draw(*arguments, **options)

    return draw_plain


def write_emotion_profile(
    profiles, class_names, path, title: str, *, hop_seconds: float, segment_seconds: float
):
    """Write the figure of `draw_emotion_profile` to `path`."""
    times = {"hop_seconds": hop_seconds, "segment_seconds": segment_seconds}
    with keep_going(path):
        save_figure(draw_emotion_profile(profiles, class_names, title, **times), path)


def write_training_curves(rows, path, title: str, panels: dict, **options):
    """Write the figure of `draw_training_curves` to `path`."""
    with keep_going(path):
        save_figure(draw_training_curves(rows, title, panels, **options), path)


def draw_confusion_matrix(matrix, class_names, title: str, what: str = "emotion") -> Figure:
    """Draw a confusion matrix of counts [K, K] (rows are true): percent of each row, and counts.

    what: the kind of the classes, such as "emotion" or "valence".
    """
    return draw_confusion_matrices({title: matrix}, class_names, what=what)


@plain_text
def draw_confusion_matrices(
    matrices: dict, class_names, title: str = "", what: str = "emotion"
) -> Figure:
    """Draw confusion matrices {title: counts [K, K]} beside each other (Figure 2 of the ACNN).

    See `draw_confusion_matrix`; `title` is above all panels.
    """
    from matplotlib.ticker import PercentFormatter

    side = min(len(class_names), MANY_CLASSES)
    width, height = max(5, 2.6 + 0.85 * side), max(4, 1.7 + 0.75 * side)
    figure = new_figure(width=width * len(matrices), height=height)
    all_axes = figure.subplots(1, len(matrices), squeeze=False)[0]
    for axes, (name, matrix) in zip(all_axes, matrices.items(), strict=True):
        image = _draw_shares(axes, np.asarray(matrix), class_names, what)
        axes.set_title(name)
        bar = figure.colorbar(image, ax=axes, format=PercentFormatter(1), fraction=0.046, pad=0.03)
        bar.set_label("share of the row")
    if title:
        figure.suptitle(title)
    return figure


def _draw_shares(axes, matrix, class_names, what: str):
    n = len(class_names)
    totals = matrix.sum(axis=1, keepdims=True)  # [K, 1]
    shares = matrix / np.maximum(totals, 1)  # a class without utterances stays at 0
    many = n > MANY_CLASSES  # speakers: numbers in the cells would be too small to read
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(0 if many else n):
        for column in range(n):
            share, count = shares[row, column], matrix[row, column]
            # Grey zeros, so that the confusions stand out.
            colour = "white" if share > 0.55 else "black" if count else "0.6"
            place = {"ha": "center", "color": colour}
            axes.text(column, row - 0.02, f"{share:.1%}", va="bottom", fontsize=10, **place)
            axes.text(column, row + 0.08, f"{count:,}", va="top", fontsize=8, **place)
    every = -(-n // 50)  # at most 50 names are readable
    axes.set_xticks(range(0, n, every), class_names[::every], rotation=90 if many else 30,
                    ha="right", va="center" if many else "top", rotation_mode="anchor")  # fmt: skip
    axes.set_yticks(range(0, n, every), class_names[::every])
    axes.set_xlabel(f"predicted {what}")
    axes.set_ylabel(f"true {what}")
    return image


@plain_text
def draw_emotion_profile(
    profiles, class_names, title: str, *, hop_seconds: float, segment_seconds: float
) -> Figure:
    """Draw the emotion profile of an utterance in each round (Figures 2 and 4 of Mao et al. 2020).

    `profiles` is {name of the round: probabilities [segments, K]}; a point stands at the centre of
    its segment. The dashed line is chance, 1/K. Raises ValueError for another number of classes.
    """
    n = len(class_names)
    figure = new_figure(width=9, height=1 + 2.1 * len(profiles))
    panels = figure.subplots(len(profiles), sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (name, profile) in zip(panels, profiles.items(), strict=True):
        profile = np.asarray(profile)
        if profile.ndim != 2 or profile.shape[1] != n:
            raise ValueError(f"profile {name!r} is {profile.shape}, expected [segments, {n}]")
        seconds = np.arange(len(profile)) * hop_seconds + segment_seconds / 2
        for k, emotion in enumerate(class_names):
            # A line would not show a single segment.
            marker = "o" if len(profile) == 1 else None
            axes.plot(seconds, profile[:, k], label=emotion, marker=marker, **line_style(k))
        axes.axhline(1 / n, label=f"chance, 1/{n}", **CHANCE)
        axes.set_title(name, loc="left", fontsize=10)
        axes.set_ylim(-0.02, 1.02)
        axes.set_ylabel("probability")
        axes.grid(color="0.9")
    n_segments = max(len(profile) for profile in profiles.values())
    panels[-1].set_xlim(0, (n_segments - 1) * hop_seconds + segment_seconds)
    panels[-1].set_xlabel("time of the segment's centre (s)")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper", frameon=False)
    figure.suptitle(title)
    return figure


@plain_text
def draw_training_curves(
    rows, title: str, panels: dict, *, kept_epoch: int, chance_loss: float | None = None
) -> Figure:
    """Draw a training by epoch, and mark the epoch whose weights were kept.

    `rows` holds a dict for each epoch, in order, with "epoch" (from 1) and the columns that
    `panels` names: {name of the axis: {name of the line: column}}. The last line of a panel has the
    star. `chance_loss` (nats) is drawn in the first panel: the lowest training loss of a network
    that ignores its input, which is the entropy of the mean label (ln K only where all classes are
    equally frequent).
    """
    from matplotlib.ticker import MaxNLocator

    epochs = [row["epoch"] for row in rows]
    figure = new_figure(width=4.5 * len(panels), height=4)
    figure.get_layout_engine().set(wspace=0.06)
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    few = "o" if len(rows) <= 30 else None
    for axes, (name, lines) in zip(all_axes, panels.items(), strict=True):
        for k, (label, column) in enumerate(lines.items()):
            values = [row[column] for row in rows]
            axes.plot(epochs, values, label=label, marker=few, markersize=4, **line_style(k))
        axes.axvline(kept_epoch, color="0.75", linewidth=6, zorder=0)
        axes.plot(kept_epoch, values[kept_epoch - 1], "*", color=COLOURS[k], markersize=15,
                  label=f"kept: epoch {kept_epoch}")  # fmt: skip
        axes.set_xlabel("epoch")
        axes.set_ylabel(name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(color="0.9")
        axes.set_ylim(0, 1 if name.startswith(SHARES) else None)
    if chance_loss is not None:
        all_axes[0].axhline(chance_loss, label=f"ignoring the input, {chance_loss:.2f}", **CHANCE)
        all_axes[0].set_ylim(0, 1.08 * all_axes[0].get_ylim()[1])
    for axes in all_axes:
        axes.legend(edgecolor="none")  # white behind it: the names may lie on the grey bar
    figure.suptitle(title)
    return figure


@plain_text
def draw_ratings(truth: dict, predictions: dict, title: str) -> Figure:
    """Draw predicted over true ratings, {name: [n]} both, with a panel for each attribute."""
    figure = new_figure(width=1 + 4.2 * len(truth), height=4.8)
    all_axes = figure.subplots(1, len(truth), squeeze=False)[0]
    for axes, (name, y) in zip(all_axes, truth.items(), strict=True):
        p = predictions[name]
        axes.scatter(y, p, s=10, color=COLOURS[0], alpha=0.4, linewidths=0)
        low, high = min(y.min(), p.min()), max(y.max(), p.max())
        axes.plot([low, high], [low, high], label="as rated", **CHANCE)
        axes.set_xlabel(f"rated {name}")
        axes.set_ylabel(f"predicted {name}")
        axes.set_title(name)
        axes.legend(loc="upper left", edgecolor="none")
    figure.suptitle(title)
    return figure


@plain_text
def draw_trials(trials: list[dict], space: dict, title: str, score: str) -> Figure:
    """Draw the trials of a search: the score over the trial, and over each parameter.

    Args:
        trials: in their order, with "score" (None of a failed trial) and "parameters" {name:
            value}; a trial is left out of the panels of parameters that it does not have.
        space: {name: [kind, options]}; the axis of "loguniform" is logarithmic, that of "choice"
            has a place for each option.
        score: name of the score with its unit.
    """
    from matplotlib.ticker import MaxNLocator

    done = [(n, trial) for n, trial in enumerate(trials) if trial["score"] is not None]
    numbers, scores = [n for n, _ in done], np.array([trial["score"] for _, trial in done])
    winner = done[int(scores.argmax())][1] if done else {"parameters": {}}
    n_columns = min(3, 1 + len(space))
    n_rows = -(-(1 + len(space)) // n_columns)
    figure = new_figure(width=1 + 4 * n_columns, height=1.2 + 3 * n_rows)
    first, *panels = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True).flat
    first.plot(numbers, scores, "o", color=COLOURS[0], label="trial")
    running = np.maximum.accumulate(scores)
    first.step(numbers, running, where="post", color=COLOURS[1], label="best so far")
    star = {"marker": "*", "markersize": 15, "linestyle": "", "color": COLOURS[1]}
    for n in set(range(len(trials))) - set(numbers):
        first.axvline(n, color="0.8", linewidth=3, zorder=0, label="failed or stopped")
    first.set_xlabel("trial")
    first.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    for axes, (name, (kind, *options)) in zip(panels, space.items(), strict=False):
        points = [(t["parameters"][name], t["score"]) for _, t in done if name in t["parameters"]]
        x_values = [x for x, _ in points]
        best = winner["parameters"].get(name)
        if kind == "choice":
            options += [x for x in x_values if x not in options]  # of another branch of the space
            axes.set_xticks(range(len(options)), [str(option) for option in options])
            axes.set_xlim(-0.5, len(options) - 0.5)
            x_values = [options.index(x) for x in x_values]
            best = None if best is None else options.index(best)
        else:  # the axis spans the space: the best trial may lie at its border
            low, high = min([options[0], *x_values]), max([options[1], *x_values])
            if kind == "loguniform":
                axes.set_xscale("log")
                axes.set_xlim(low / (high / low) ** 0.05, high * (high / low) ** 0.05)
            else:
                axes.set_xlim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        axes.plot(x_values, [y for _, y in points], "o", color=COLOURS[0])
        if best is not None:
            axes.plot(best, winner["score"], label="best", **star)
        axes.set_xlabel(name)
    for axes in panels[len(space) :]:
        axes.set_visible(False)
    shown = [first, *panels[: len(space)]]
    for k, axes in enumerate(shown):
        axes.grid(color="0.9")
        if k % n_columns == 0:
            axes.set_ylabel(score)
    legends = [axes.get_legend_handles_labels() for axes in shown]
    handles = {label: handle for pair in legends for handle, label in zip(*pair, strict=True)}
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(title)
    return figure


def encode_png(figure: Figure) -> bytes:
    """Encode the figure as PNG, 120 dots per inch, as wide as its longest title takes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.1)
    return buffer.getvalue()


def save_figure(figure: Figure, path):
    """Write the figure as PNG; `path` is never incomplete, and a long name is cut to fit."""
    path = Path(path)
    path = path.with_name(atomic_files.fit_name(path.name))
    atomic_files.write_bytes(path, encode_png(figure))


def new_figure(width, height):
    """Return an empty figure, in inches, that Agg draws whatever backend the caller has set."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def line_style(k):
    """Return colour and dashes of the k-th line; dashes differ too, for print without colour."""
    dashes = k // 2 + k // len(COLOURS)  # the ninth line repeats a colour, but not its dashes
    return {"color": COLOURS[k % len(COLOURS)], "linestyle": LINES[dashes % len(LINES)]}
