"""Figures of network inputs, attention, latent spaces and predictions.

In the style of `figures`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfser.plots.figures import CHANCE, COLOURS, line_style, new_figure, plain_text

N_FFT = 2048  # of the spectrogram below a prediction, in samples

# matplotlib takes half a second to import, so every function here imports it when it draws.
if TYPE_CHECKING:
    from matplotlib.figure import Figure


@plain_text
def draw_shifts(shifts, names, class_names, title: str) -> Figure:
    """Draw how far each class shifts each feature: [features, K] in standard deviations."""
    shifts = np.asarray(shifts)
    figure = new_figure(width=max(7, 5 + 0.8 * len(class_names)), height=1.6 + 0.24 * len(names))
    axes = figure.subplots()
    limit = np.abs(shifts).max() or 1.0
    decimals = 2 if limit >= 0.1 else 3
    image = axes.imshow(shifts, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    for row, column in np.ndindex(shifts.shape):
        value = shifts[row, column]
        colour = "white" if abs(value) > 0.6 * limit else "black"
        axes.text(column, row, f"{value:+.{decimals}f}", ha="center", va="center", fontsize=7,
                  color=colour)  # fmt: skip
    axes.set_xticks(range(len(class_names)), class_names, rotation=30, ha="right",
                    rotation_mode="anchor")  # fmt: skip
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_title(title)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label("shift against the mean of the classes\n(standard deviations)")
    return figure


@plain_text
def draw_map(points, labels: dict, title: str, hidden: dict | None = None) -> Figure:
    """Draw points [n, 2] of utterances, a panel for each of `labels`: {name: label of each point}.

    Figures 3 and 4 of Neumann & Vu 2019. A name with one label has no panel.

    hidden: {name: label}, points that the panel of this name leaves out.
    """
    from matplotlib import colormaps

    hidden = hidden or {}
    panels = {
        name: np.asarray(names)
        for name, names in labels.items()
        if len(set(names) - {hidden.get(name)}) > 1
    }
    figure = new_figure(width=1 + 4.2 * len(panels), height=4.6)
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, point_labels) in zip(all_axes, panels.items(), strict=True):
        left_out = {hidden.get(name)} & set(point_labels)
        distinct = sorted(
            set(point_labels) - left_out, key=lambda label: (label == "unknown", label)
        )
        many = len(distinct) > len(COLOURS)
        for k, label in enumerate(distinct):
            colour = colormaps["turbo"](k / (len(distinct) - 1)) if many else COLOURS[k]
            axes.scatter(
                *points[point_labels == label].T,
                s=12,
                color="0.8" if label == "unknown" else colour,
                marker="ov^sDP*X"[k % 8],
                linewidths=0,
                label=label,
            )
        counted = f"{name} ({len(distinct)})" if many else name
        axes.set_title(", without ".join([counted, *left_out]))
        axes.set_xticks([])
        axes.set_yticks([])
        if not many:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=2, frameon=False)
    figure.suptitle(title)
    return figure


@plain_text
def draw_attention(
    spectrogram,
    alpha,
    title: str,
    *,
    hop_seconds: float,
    step_seconds: float,
    label: str = "ln of mel power",
) -> Figure:
    """Draw attention weights [steps] over time, above their spectrogram [frames, bands].

    label: the unit of the spectrogram.
    Steps after the utterance's end lie on padding, and have weights where the network allows it.
    """
    spectrogram, alpha = np.asarray(spectrogram), np.asarray(alpha)
    figure = new_figure(width=9, height=5)
    above, below = figure.subplots(2, sharex=True, height_ratios=[1, 2])
    edges = np.arange(len(alpha) + 1) * step_seconds
    end = len(spectrogram) * hop_seconds
    above.stairs(alpha, edges, fill=True, color=COLOURS[0])
    n = np.count_nonzero(alpha)
    above.axhline(1 / n, label=f"equal weights, 1/{n}", **CHANCE)
    above.set_ylabel("attention")
    above.set_ylim(0, None)
    image = below.imshow(
        spectrogram.T, origin="lower", aspect="auto", cmap="magma",
        extent=(0, end, 0.5, spectrogram.shape[1] + 0.5),
    )  # fmt: skip
    below.set_ylabel("mel band")
    below.set_xlabel("time (s)")
    for axes in (above, below):
        axes.axvline(end, color=COLOURS[1], linewidth=1.5, label="end of the utterance")
    above.set_xlim(0, max(edges[-1], end))
    above.legend(loc="upper right", edgecolor="none", fontsize=8)
    figure.colorbar(image, ax=below, fraction=0.046, pad=0.01).set_label(label)
    figure.suptitle(title)
    return figure


@plain_text
def draw_spectrograms(spectrograms: dict, title: str, *, hop_seconds: float, label: str) -> Figure:
    """Draw spectrograms [frames, bands] by their names below each other, on one scale.

    Figure 3 of Almotlak et al. 2020.
    """
    figure = new_figure(width=9, height=1.2 + 2.1 * len(spectrograms))
    all_axes = figure.subplots(len(spectrograms), sharex=True, squeeze=False)[:, 0]
    low = min(x.min() for x in spectrograms.values())
    high = max(x.max() for x in spectrograms.values())
    for axes, (name, x) in zip(all_axes, spectrograms.items(), strict=True):
        image = axes.imshow(
            x.T, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high,
            extent=(0, len(x) * hop_seconds, 0.5, x.shape[1] + 0.5),
        )  # fmt: skip
        axes.set_title(name, fontsize=10)
        axes.set_ylabel("mel band")
    all_axes[-1].set_xlabel("time (s)")
    figure.colorbar(image, ax=list(all_axes), fraction=0.046, pad=0.01).set_label(label)
    figure.suptitle(title)
    return figure


@plain_text
def draw_image_grid(rows: dict, title: str) -> Figure:
    """Draw images [n, height, width], a row for each name; their first line is at the bottom.

    Colours follow the fourth root: most of a magnitude spectrogram is a hundredth of its peaks.
    """
    from matplotlib.colors import PowerNorm

    highest = max(float(np.max(rows[next(iter(rows))])), 1e-12)
    n = max(map(len, rows.values()))
    figure = new_figure(width=1.2 + 1.1 * n, height=0.8 + 2.2 * len(rows))
    all_axes = figure.subplots(len(rows), n, squeeze=False)
    for row_axes, (name, images) in zip(all_axes, rows.items(), strict=True):
        for axes, pixels in zip(row_axes, images, strict=False):
            image = axes.imshow(
                pixels, origin="lower", aspect="auto", cmap="magma",
                norm=PowerNorm(0.25, vmin=0, vmax=highest, clip=True),
            )  # fmt: skip
            axes.set_xticks([])
            axes.set_yticks([])
        row_axes[0].set_ylabel(name)
    bar = figure.colorbar(image, ax=list(all_axes[:, -1]), fraction=0.5)
    ticks = highest * np.linspace(0, 1, 5) ** 4
    bar.set_ticks(ticks, labels=[f"{tick:.2g}" for tick in ticks])
    bar.set_label("magnitude, colours by its fourth root")
    figure.suptitle(title)
    return figure


@plain_text
def draw_prediction(seconds, values, class_names, waveform, sample_rate_hz, title: str) -> Figure:
    """Draw the predictions for a recording's windows over time, above its spectrogram.

    seconds [n] are the windows' centres; values [n, K] probabilities or ratings.
    """
    figure = new_figure(width=9, height=5.4)
    above, below = figure.subplots(2, sharex=True)
    for k, name in enumerate(class_names):
        marker = "o" if len(seconds) < 20 else None
        line = line_style(k)
        above.plot(seconds, [row[k] for row in values], label=name, marker=marker, ms=3, **line)
    above.set_ylabel("probability" if min(map(min, values)) >= 0 else "rating")
    above.grid(color="0.9")
    power = mel_decibels(np.asarray(waveform), sample_rate_hz)
    image = below.imshow(
        power, origin="lower", aspect="auto", cmap="magma", vmin=-80, vmax=0,
        extent=(0, len(waveform) / sample_rate_hz, 0.5, len(power) + 0.5),
    )  # fmt: skip
    below.set_ylabel("mel band")
    below.set_xlabel("time (s); a point is at the centre of its window")
    figure.colorbar(image, ax=below, pad=0.01).set_label("dB to the loudest")
    figure.legend(*above.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    figure.suptitle(title)
    return figure


def mel_decibels(waveform, sample_rate_hz: int) -> np.ndarray:
    """Return decibels to the loudest [80 mel bands, frames], those of librosa's `melspectrogram`.

    `librosa.feature` itself takes half a minute to import for the first time, as it is compiled.
    """
    from tfser.features import stft  # imports TensorFlow

    frames = stft.split_frames(np.pad(waveform, N_FFT // 2), N_FFT, N_FFT // 4)
    power = stft.numpy_power_spectrum(frames * stft.hann_window(N_FFT))
    mel = power @ stft.slaney_filterbank(sample_rate_hz, N_FFT, 80, 0.0, sample_rate_hz / 2)
    return 10 * np.log10(np.maximum(mel, 1e-10) / max(mel.max(), 1e-10)).T
