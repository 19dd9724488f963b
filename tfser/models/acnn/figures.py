"""What the networks learn: figures 3 and 4, the attention over an utterance, the projector."""

import re

import numpy as np

from tfser.models.acnn.dataset import LEVELS, make_batches
from tfser.models.acnn.network import attention_model
from tfser.plots import tsne
from tfser.plots.figures import save_figure
from tfser.plots.spectrograms import draw_attention
from tfser.training import mixed_precision


def write_figures(lab, split, condition: str) -> None:
    """Pictures of the first seed's first fold, of its test part: what it makes of new speakers.

    tsne-network.png (figure 3), tsne-autoencoder.png (figure 4, of all utterances, since no fold
    trains it), attention/*.png, and both vectors for TensorBoard's projector.
    """
    speech, run = lab.speech, lab.run
    fold = run.folder / f"seed-{run.seeds[0]}" / "fold-00"
    network = mixed_precision.load_in_float32(fold / "model.keras")
    found = attention_model(network).predict(make_batches(speech, split.test, 256), verbose=0)
    on = f"on {run.corpus}: t-SNE of"
    write_map(
        *(lab, split.test, found["hidden"], "tsne-network"),
        f"ACNN, {condition} {on} its last hidden layer, fold 0's test part",
    )
    if speech.representations is not None:
        everything = np.arange(len(speech.y))
        write_map(
            *(lab, everything, speech.representations, "tsne-autoencoder"),
            f"autoencoder, {condition} {on} its representations",
        )
    _write_attention(lab, split.test, found["attention"], condition)


def write_map(lab, chosen, vectors, name: str, title: str) -> None:
    """A t-SNE map of vectors [m, n] of the utterances `chosen`, and the vectors for TensorBoard."""
    utterances = [lab.speech.utterances[i] for i in chosen]
    tsne.write_map(lab.run, name, vectors, utterances, point_labels(lab.speech, chosen), title)


def point_labels(speech, chosen) -> dict[str, list[str]]:
    """What the points of a map may be coloured by: {name: label of each utterance}."""
    labels = {}
    for name, one_hot in speech.views.items():
        names = np.array([*(speech.classes if name == "emotion" else LEVELS), "unknown"])
        labelled = one_hot[chosen].any(axis=1)
        numbers = np.where(labelled, one_hot[chosen].argmax(axis=1), len(names) - 1)
        labels[name] = [str(label) for label in names[numbers]]
    utterances = [speech.utterances[i] for i in chosen]
    return labels | tsne.point_labels(utterances, "speaker", "gender")


def _write_attention(lab, test, alphas, condition) -> None:
    """The attention over an utterance of each class, the first of the test part."""
    speech, hp = lab.speech, lab.hp
    hop_seconds = hp["features"]["hop_seconds"]
    for k, emotion in enumerate(speech.classes):
        of_class = np.flatnonzero(speech.y[test] == k)
        if not len(of_class):
            continue
        number = test[of_class[0]]
        utterance = speech.utterances[number]
        start, end = speech.offsets[number], speech.offsets[number + 1]
        figure = draw_attention(
            speech.frames[start : min(end, start + speech.n_frames)].numpy(),
            alphas[of_class[0]],
            f"ACNN, {condition} on {lab.run.corpus}: {utterance.name} ({emotion})",
            hop_seconds=hop_seconds,
            step_seconds=hop_seconds * hp["model"]["stride_frames"] * hp["model"]["pool_steps"],
        )
        file = re.sub(r"[^\w.-]+", "-", emotion)
        save_figure(figure, lab.run.folder / "attention" / f"{file}.png")
