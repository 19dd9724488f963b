"""Figures 3 and 4, the attention over utterances, and the vectors for TensorBoard's projector."""

import re

import numpy as np

from tfser.models.acnn.dataset import LEVELS, make_batches
from tfser.models.acnn.network import attention_model
from tfser.plots import tsne
from tfser.plots.figures import save_figure
from tfser.plots.spectrograms import draw_attention
from tfser.training import mixed_precision


def write_figures(dataset, hp, run, split, condition: str) -> None:
    """Write the figures of the first fold of the first seed.

    tsne-network.png (figure 3) and attention/*.png are of the test set, tsne-autoencoder.png
    (figure 4) is of all utterances, since no fold trains the autoencoder. TensorBoard's projector
    gets the vectors of both maps.
    """
    fold = run.folder / f"seed-{run.seeds[0]}" / "fold-00"
    network = mixed_precision.load_in_float32(fold / "model.keras")
    batches = make_batches(dataset, split.test, 256)
    outputs = attention_model(network).predict(batches, verbose=0)
    on = f"on {run.corpus}: t-SNE of"
    write_map(
        *(run, dataset, split.test, outputs["hidden"], "tsne-network"),
        f"ACNN, {condition} {on} its last hidden layer, fold 0's test part",
    )
    if dataset.representations is not None:
        everything = np.arange(len(dataset.y))
        write_map(
            *(run, dataset, everything, dataset.representations, "tsne-autoencoder"),
            f"autoencoder, {condition} {on} its representations",
        )
    _write_attention(run, dataset, hp, split.test, outputs["attention"], condition)


def write_map(run, dataset, numbers, vectors, name: str, title: str) -> None:
    """Write a t-SNE map of the vectors [m, n] of the utterances `numbers`, also for TensorBoard."""
    utterances = [dataset.utterances[i] for i in numbers]
    tsne.write_map(run, name, vectors, utterances, point_labels(dataset, numbers), title)


def point_labels(dataset, numbers) -> dict[str, list[str]]:
    """Return the labels that can colour the points of a map: {name: label of each utterance}."""
    labels = {}
    for name, one_hot in dataset.views.items():
        names = np.array([*(dataset.classes if name == "emotion" else LEVELS), "unknown"])
        one_hot = one_hot[numbers]
        classes = np.where(one_hot.any(axis=1), one_hot.argmax(axis=1), len(names) - 1)
        labels[name] = [str(label) for label in names[classes]]
    utterances = [dataset.utterances[i] for i in numbers]
    return labels | tsne.point_labels(utterances, "speaker", "gender")


def _write_attention(run, dataset, hp, test, alphas, condition) -> None:
    """Write the attention over the first utterance of each class in the test set."""
    hop_seconds = hp["features"]["hop_seconds"]
    for k, emotion in enumerate(dataset.classes):
        of_class = np.flatnonzero(dataset.y[test] == k)
        if not len(of_class):
            continue
        number = test[of_class[0]]
        utterance = dataset.utterances[number]
        start, end = dataset.offsets[number], dataset.offsets[number + 1]
        figure = draw_attention(
            dataset.frames[start : min(end, start + dataset.n_frames)].numpy(),
            alphas[of_class[0]],
            f"ACNN, {condition} on {run.corpus}: {utterance.name} ({emotion})",
            hop_seconds=hop_seconds,
            step_seconds=hop_seconds * hp["model"]["stride_frames"] * hp["model"]["pool_steps"],
        )
        file = re.sub(r"[^\w.-]+", "-", emotion)
        save_figure(figure, run.folder / "attention" / f"{file}.png")
