"""t-SNE maps of utterances, as pictures and for TensorBoard's projector."""

import logging

from tfser.plots.figures import save_figure
from tfser.plots.spectrograms import draw_map
from tfser.storage import atomic_files

log = logging.getLogger("tfser")

PERPLEXITY = 30  # scikit-learn's, and the t-SNE paper's range is 5 to 50
FEWEST = 10  # utterances in a map


def write_map(
    run, name: str, vectors, utterances, labels: dict, title: str, hidden: dict | None = None
) -> None:
    """Write <name>.png and events/<name>/ of vectors [m, n] of utterances [m].

    labels: {name: label of each utterance}, the colours of the points; hidden: see `draw_map`.
    """
    # Both are slow to import.
    from sklearn.manifold import TSNE
    from tensorboard.plugins import projector

    differ = any(len(set(names)) > 1 for names in labels.values())
    if len(utterances) < FEWEST or vectors.shape[1] < 2 or not differ:
        log.warning("%s.png is not drawn: too few utterances, labels or dimensions", name)
        return
    perplexity = min(PERPLEXITY, (len(utterances) - 1) / 3)
    points = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(vectors)
    figure = draw_map(points, labels, f"{title}, {len(utterances)} utterances", hidden)
    save_figure(figure, run.folder / f"{name}.png")

    folder = run.folder / "events" / name
    folder.mkdir(parents=True, exist_ok=True)
    table = "\t".join(["utterance", *labels]) + "\n"
    for row in zip([u.name for u in utterances], *labels.values(), strict=True):
        table += "\t".join(row) + "\n"
    atomic_files.write_text(folder / "metadata.tsv", table)
    lines = "".join("\t".join(f"{x:.5g}" for x in vector) + "\n" for vector in vectors)
    atomic_files.write_text(folder / "vectors.tsv", lines)
    config = projector.ProjectorConfig()
    config.embeddings.add(tensor_path="vectors.tsv", metadata_path="metadata.tsv", tensor_name=name)
    projector.visualize_embeddings(str(folder), config)


def point_labels(utterances, *names) -> dict[str, list[str]]:
    """Return fields of utterances as labels, such as "speaker" and "gender"."""
    return {name: [getattr(u, name) or "unknown" for u in utterances] for name in names}
