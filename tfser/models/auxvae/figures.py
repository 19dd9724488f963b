"""Figure 2: t-SNE maps of the latent variables of a few speakers."""

import numpy as np

from tfser.models.auxvae import pretraining
from tfser.plots import tsne
from tfser.plots.drawing_errors import keep_going

SPEAKERS_A_GENDER = 4  # section 6.2: eight speakers, four of each


def write_figures(dataset, hp, run) -> None:
    """Write tsne-h.png and tsne-m.png (tsne-z.png without m) of the first fold's network."""
    path = run.folder / f"seed-{run.seeds[0]}" / "fold-00" / "vae.keras"
    latents = pretraining.load_latents(path, dataset, hp, run)
    speakers = select_speakers(dataset.utterances)
    numbers = [i for i, u in enumerate(dataset.utterances) if u.speaker in speakers]
    utterances = [dataset.utterances[i] for i in numbers]
    for name in ("h", "m" if "m" in latents else "z"):
        vectors = np.stack([latents[name][dataset.utterance == i].mean(axis=0) for i in numbers])
        labels = tsne.point_labels(utterances, "gender", "speaker", "emotion")
        if hp["labels"]["target"] != "emotion":  # `emotion` is the target, ratings may have none
            del labels["emotion"]
        title = f"Aux-VAE on {run.corpus}: t-SNE of {name}"
        with keep_going(f"tsne-{name}.png"):
            tsne.write_map(run, f"tsne-{name}", vectors, utterances, labels, title)


def select_speakers(utterances) -> set[str]:
    """Select the first speakers of each gender (or of all) that have several utterances.

    All speakers, where no speaker has several utterances.
    """
    counts, genders = {}, {}
    for u in utterances:
        counts[u.speaker] = counts.get(u.speaker, 0) + 1
        genders[u.speaker] = u.gender
    several = sorted(name for name, n in counts.items() if n > 1)
    selected = set()
    for gender in sorted(set(genders.values()), key=str):
        n = SPEAKERS_A_GENDER * (1 if gender else 2)
        selected |= set([name for name in several if genders[name] == gender][:n])
    return selected or set(counts)
