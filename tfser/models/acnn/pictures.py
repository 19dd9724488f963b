"""What the networks learn: figures 3 and 4, the attention over an utterance, the projector."""

import logging
import re

import keras
import numpy as np

from tfser import plots, runs
from tfser.models.acnn.network import shown
from tfser.models.acnn.speech import LEVELS, batches

log = logging.getLogger("tfser")

PERPLEXITY = 30  # scikit-learn's, and the t-SNE paper's range is 5 to 50
FEWEST = 10  # utterances that make a map


def write(lab, split, condition: str) -> None:
    """Pictures of the first seed's first fold, of its test part: what it makes of new speakers.

    tsne-network.png (figure 3), tsne-autoencoder.png (figure 4, of all utterances, since no fold
    trains it), attention/*.png, and both vectors for TensorBoard's projector.
    """
    speech, run = lab.speech, lab.run
    fold = run.folder / f"seed-{run.seeds[0]}" / "fold-00"
    network = keras.saving.load_model(fold / "model.keras", compile=False)
    found = shown(network).predict(batches(speech, split.test, 256), verbose=0)
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
    from sklearn.manifold import TSNE
    from tensorboard.plugins import projector

    run = lab.run
    labels = labels_of(lab.speech, chosen)
    apart = any(len(set(of)) > 1 for of in labels.values())
    if len(chosen) < FEWEST or vectors.shape[1] < 2 or not apart:
        log.warning("%s.png is not drawn: too few utterances, labels or dimensions", name)
        return
    perplexity = min(PERPLEXITY, (len(chosen) - 1) / 3)
    points = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(vectors)
    figure = plots.map_figure(points, labels, f"{title}, {len(chosen)} utterances")
    plots.save(figure, run.folder / f"{name}.png")

    folder = run.folder / "events" / name
    folder.mkdir(parents=True, exist_ok=True)
    names = [lab.speech.utterances[i].name for i in chosen]
    table = "\t".join(["utterance", *labels]) + "\n"
    for row in zip(names, *labels.values(), strict=True):
        table += "\t".join(row) + "\n"
    runs.write_bytes(folder / "metadata.tsv", table.encode())
    lines = "".join("\t".join(f"{x:.5g}" for x in vector) + "\n" for vector in vectors)
    runs.write_bytes(folder / "vectors.tsv", lines.encode())
    config = projector.ProjectorConfig()
    config.embeddings.add(tensor_path="vectors.tsv", metadata_path="metadata.tsv", tensor_name=name)
    projector.visualize_embeddings(str(folder), config)


def labels_of(speech, chosen) -> dict[str, list[str]]:
    """What the points of a map may be coloured by: {name: label of each utterance}."""
    labels = {}
    for name, one_hot in speech.views.items():
        names = np.array([*(speech.classes if name == "emotion" else LEVELS), "unknown"])
        labelled = one_hot[chosen].any(axis=1)
        numbers = np.where(labelled, one_hot[chosen].argmax(axis=1), len(names) - 1)
        labels[name] = [str(label) for label in names[numbers]]
    for name in ("speaker", "gender"):
        labels[name] = [getattr(speech.utterances[i], name) or "unknown" for i in chosen]
    return labels


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
        figure = plots.attention_figure(
            speech.frames[start : min(end, start + speech.n_frames)].numpy(),
            alphas[of_class[0]],
            f"ACNN, {condition} on {lab.run.corpus}: {utterance.name} ({emotion})",
            hop_seconds=hop_seconds,
            step_seconds=hop_seconds * hp["model"]["stride_frames"] * hp["model"]["pool_steps"],
        )
        file = re.sub(r"[^\w.-]+", "-", emotion)
        plots.save(figure, lab.run.folder / "attention" / f"{file}.png")
