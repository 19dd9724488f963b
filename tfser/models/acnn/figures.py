"""Figures 2 to 4, the attention over utterances, and the vectors for TensorBoard's projector."""

import re
from pathlib import Path

import numpy as np

from tfser.errors import UsageError
from tfser.models.acnn.dataset import LEVELS, make_batches
from tfser.models.acnn.network import attention_model
from tfser.plots import tsne
from tfser.plots.drawing_errors import keep_going
from tfser.plots.figures import draw_confusion_matrices, save_figure
from tfser.plots.spectrograms import draw_attention
from tfser.storage import atomic_files
from tfser.training import mixed_precision


def load_baseline(folder: str, corpus: str, classes: list[str]) -> np.ndarray | None:
    """Load the confusion matrix [K, K] of the run in plots.baseline, all seeds; "": None.

    Raise UsageError where the run is not finished or is of another corpus or other classes.
    """
    if not folder:
        return None
    path = Path(folder).expanduser()
    try:
        scores = atomic_files.read_dict(path / "scores.json")
        matrices = [
            atomic_files.read_dict(path / f"seed-{seed}" / "scores.json")["confusion"]
            for seed in scores["seed_numbers"]
        ]
    except OSError as error:
        raise UsageError(
            f"plots.baseline: {path} is no finished run ({error.filename} is missing); finish "
            "the run of BL first"
        ) from None
    except (LookupError, TypeError) as error:
        raise atomic_files.damaged_error(path / "scores.json", f"it has no {error}") from None
    known = scores.get("classes", [])
    if (scores["corpus"], known) != (corpus, classes):
        raise UsageError(
            f"plots.baseline: {path} is on {scores['corpus']} ({' '.join(known)}), and "
            f"this run on {corpus} ({' '.join(classes)}); give a run on the same corpus"
        )
    return np.sum(matrices, axis=0)


def write_confusion_pair(run, baseline, results, classes, condition: str) -> None:
    """Write figure 2, confusion-pair.png: the baseline's matrix [K, K] and that of this run.

    results: of the seeds, see `classification_report.score_seed`. A cell has the share of its row
    over all seeds, which is the mean of the seeds' shares.
    """
    matrices = {"BL": baseline, condition: np.sum([r["confusion"] for r in results], axis=0)}
    title = f"ACNN on {run.corpus}, {run.protocol}: all seeds"
    with keep_going("confusion-pair.png"):
        figure = draw_confusion_matrices(matrices, classes, title)
        save_figure(figure, run.folder / "confusion-pair.png")


def write_figures(dataset, hp, run, split, condition: str) -> None:
    """Write figures 3 and 4 and the attention, of the first fold of the first seed.

    tsne-network.png (figure 3) and attention/*.png are of the test set, tsne-autoencoder.png
    (figure 4) is of all utterances, since no fold trains the autoencoder. TensorBoard's projector
    gets the vectors of both maps.
    """
    fold = run.folder / f"seed-{run.seeds[0]}" / "fold-00"
    network = mixed_precision.load_in_float32(fold / "model.keras")
    batches = make_batches(dataset, split.test, 256)
    outputs = attention_model(network).predict(batches, verbose=0)
    # Figures 3a and 4a leave neutral out "for visual clarity"; neutral is a level in other targets.
    hidden = {"emotion": "neutral"} if hp["labels"]["target"] == "emotion" else {}

    def write_map(name, numbers, vectors, title):
        utterances = [dataset.utterances[i] for i in numbers]
        labels = point_labels(dataset, numbers)
        with keep_going(f"{name}.png"):
            tsne.write_map(run, name, vectors, utterances, labels, title, hidden)

    title = f"ACNN, {condition} on {run.corpus}: t-SNE of its pooled vector, fold 0's test part"
    write_map("tsne-network", split.test, outputs["pooled"], title)
    if dataset.representations is not None:
        title = f"autoencoder, {condition} on {run.corpus}: t-SNE of its representations"
        everything = np.arange(len(dataset.y))
        write_map("tsne-autoencoder", everything, dataset.representations, title)
    _write_attention(run, dataset, hp, split.test, outputs["attention"], condition)


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
    by_speaker = hp["features"]["normalize"] == "speaker"
    for k, emotion in enumerate(dataset.classes):
        of_class = np.flatnonzero(dataset.y[test] == k)
        if not len(of_class):
            continue
        number = test[of_class[0]]
        utterance = dataset.utterances[number]
        start, end = dataset.offsets[number], dataset.offsets[number + 1]
        name = re.sub(r"[^\w.-]+", "-", emotion)
        file = run.folder / "attention" / f"{name}.png"
        with keep_going(file):
            figure = draw_attention(
                dataset.frames[start : min(end, start + dataset.n_frames)].numpy(),
                alphas[of_class[0]],
                f"ACNN, {condition} on {run.corpus}: {utterance.name} ({emotion})",
                hop_seconds=hop_seconds,
                step_seconds=hop_seconds * hp["model"]["stride_frames"] * hp["model"]["pool_steps"],
                label="z-score per speaker" if by_speaker else "ln of mel power",
            )
            save_figure(figure, file)
