"""The pictures of the papers and of every run, as matplotlib figures without any global state.

The functions named `*_figure` build a figure, `save` writes it to a file and `png` turns it into
what TensorBoard shows; `emotion_profile` and `training_curves` build and save at once.
"""

import io
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tfser import runs

# Okabe and Ito 2008: told apart with every kind of colour vision; yellow, faint on white, is last.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442"]
LINES = ["-", "--", "-.", ":"]
CHANCE = {"color": "0.35", "linestyle": (0, (4, 4)), "linewidth": 1}
DPI = 120
# A file called "a$b$.wav" is no formula.
plain_text = rc_context({"text.parse_math": False})


def emotion_profile(
    profiles, class_names, path, title: str, *, hop_seconds: float, segment_seconds: float
):
    """Writes `emotion_profile_figure` to `path`."""
    figure = emotion_profile_figure(
        profiles, class_names, title, hop_seconds=hop_seconds, segment_seconds=segment_seconds
    )
    save(figure, path)


def training_curves(rows, path, title: str, *, chance_loss: float, kept_epoch: int):
    """Writes `training_curves_figure` to `path`."""
    figure = training_curves_figure(rows, title, chance_loss=chance_loss, kept_epoch=kept_epoch)
    save(figure, path)


@plain_text
def confusion_figure(matrix, class_names, title: str) -> Figure:
    """Confusion matrix of counts [K, K] (rows are true): percent of each row, counts below."""
    matrix = np.asarray(matrix)
    n = len(class_names)
    totals = matrix.sum(axis=1, keepdims=True)  # [K, 1]
    shares = matrix / np.maximum(totals, 1)  # a class without utterances stays at 0
    figure = _figure(width=max(5, 2.6 + 0.85 * n), height=max(4, 1.7 + 0.75 * n))
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(n):
        for column in range(n):
            share, count = shares[row, column], matrix[row, column]
            # Cells without utterances step back, so that the confusions stand out.
            colour = "white" if share > 0.55 else "black" if count else "0.6"
            place = {"ha": "center", "color": colour}
            axes.text(column, row - 0.02, f"{share:.1%}", va="bottom", fontsize=10, **place)
            axes.text(column, row + 0.08, f"{count:,}", va="top", fontsize=8, **place)
    axes.set_xticks(range(n), class_names, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(n), class_names)
    axes.set_xlabel("predicted emotion")
    axes.set_ylabel("true emotion")
    axes.set_title(title)
    bar = figure.colorbar(image, ax=axes, format=PercentFormatter(1), fraction=0.046, pad=0.03)
    bar.set_label("share of the row")
    return figure


@plain_text
def emotion_profile_figure(
    profiles, class_names, title: str, *, hop_seconds: float, segment_seconds: float
) -> Figure:
    """Figures 2 and 4 of Mao et al. 2020: how each round of refinement sees one utterance.

    `profiles` is {name of the round: probabilities [segments, K]}; a point stands at the centre of
    its segment. The dashed line is chance, 1/K. Raises ValueError for another number of classes.
    """
    n = len(class_names)
    figure = _figure(width=9, height=1 + 2.1 * len(profiles))
    panels = figure.subplots(len(profiles), sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (name, profile) in zip(panels, profiles.items(), strict=True):
        profile = np.asarray(profile)
        if profile.ndim != 2 or profile.shape[1] != n:
            raise ValueError(f"profile {name!r} is {profile.shape}, expected [segments, {n}]")
        seconds = np.arange(len(profile)) * hop_seconds + segment_seconds / 2
        for k, emotion in enumerate(class_names):
            # A lone segment is a point, which a line would not show.
            marker = "o" if len(profile) == 1 else None
            axes.plot(seconds, profile[:, k], label=emotion, marker=marker, **_line(k))
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
def training_curves_figure(rows, title: str, *, chance_loss: float, kept_epoch: int) -> Figure:
    """Loss and accuracy by epoch, training and dev, with the epoch whose weights were kept.

    `rows` holds a dict for each epoch, the first one first: epoch (from 1), loss, dev_loss,
    accuracy, dev_accuracy. `chance_loss` (nats) is the least training loss of a network that
    ignores its input: the entropy of the mean label, ln K only where all classes are as frequent.
    """
    epochs = [row["epoch"] for row in rows]
    figure = _figure(width=9, height=4)
    figure.get_layout_engine().set(wspace=0.06)
    panels = figure.subplots(1, 2)
    kept = rows[kept_epoch - 1]
    for axes, quantity, name in zip(
        panels, ["loss", "accuracy"], ["loss (nats)", "accuracy of segments"], strict=True
    ):
        for k, (prefix, label) in enumerate([("", "training"), ("dev_", "dev")]):
            values = [row[prefix + quantity] for row in rows]
            axes.plot(epochs, values, label=label, marker="o", markersize=4, **_line(k))
        axes.axvline(kept_epoch, color="0.75", linewidth=6, zorder=0)
        axes.plot(kept_epoch, kept["dev_" + quantity], "*", color=COLOURS[1], markersize=15,
                  label=f"kept: epoch {kept_epoch}")  # fmt: skip
        axes.set_xlabel("epoch")
        axes.set_ylabel(name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(color="0.9")
    panels[0].axhline(chance_loss, label=f"ignoring the input, {chance_loss:.2f}", **CHANCE)
    panels[0].set_ylim(0, 1.08 * panels[0].get_ylim()[1])
    panels[1].set_ylim(0, 1)
    for axes in panels:
        axes.legend(edgecolor="none")  # white behind it: the names may lie on the grey bar
    figure.suptitle(title)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as a PNG picture, 120 dots per inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def save(figure: Figure, path):
    """Writes the figure as PNG; `path` is never half a picture."""
    runs.write_bytes(Path(path), png(figure))


def _figure(width, height):
    """An empty figure, in inches, drawn by Agg whatever backend the caller has chosen."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _line(k):
    """Colour and dashes of the k-th line; dashes change as well, for print without colour."""
    dashes = k // 2 + k // len(COLOURS)  # the ninth line repeats a colour, but not its dashes
    return {"color": COLOURS[k % len(COLOURS)], "linestyle": LINES[dashes % len(LINES)]}
