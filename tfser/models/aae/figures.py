"""The meaning of the latent emotion: features decoded from each class at one z."""

import numpy as np

from tfser.plots.drawing_errors import keep_going
from tfser.plots.figures import save_figure
from tfser.plots.spectrograms import draw_shifts
from tfser.storage import atomic_files
from tfser.training.epoch import predict_batches

N_SHOWN = 5  # features per class in the figure
N_LISTED = 20  # features per class in the table


def decode_latents(model, y, z) -> np.ndarray:
    """Decode latent variables y [batch, K], z [batch, n_z] to features [batch, *shape].

    The features are standardized: in standard deviations of the training set.
    """
    return predict_batches(model.decoder, [y, z])


def class_shifts(model) -> np.ndarray:
    """Return the shift of each feature by each class [K, features], in standard deviations.

    A shift is the difference of the features decoded from the class at z = 0, the prior's mean, to
    their mean over the classes. Frames are averaged over time.
    """
    n_classes, n_z = model.settings["n_classes"], model.settings["n_z"]
    decoded = decode_latents(model, np.eye(n_classes), np.zeros((n_classes, n_z)))
    if decoded.ndim == 3:
        decoded = decoded.mean(axis=1)
    return decoded - decoded.mean(axis=0)


def write_generation(run, system: str, classes, names, shifts) -> None:
    """Write generation.csv and generation.png: the features with the largest shifts by each class.

    shifts: [K, features] of `class_shifts`, a mean over networks.
    """
    strongest = np.argsort(-np.abs(shifts), axis=1)  # [K, features]
    atomic_files.write_csv(
        run.folder / "generation.csv",
        [
            {
                "class": name,
                "rank": rank + 1,
                "feature": names[i],
                "shift_sd": round(float(row[i]), 4),
            }
            for name, row, order in zip(classes, shifts, strongest, strict=True)
            for rank, i in enumerate(order[:N_LISTED])
        ],
    )
    shown = list(dict.fromkeys(strongest[:, :N_SHOWN].ravel()))
    with keep_going("generation.png"):
        figure = draw_shifts(
            shifts[:, shown].T,
            [names[i] for i in shown],
            classes,
            f"{system} on {run.corpus}: what a class changes in the decoded features\n"
            f"(z = 0; the {N_SHOWN} features that move most for each class)",
        )
        save_figure(figure, run.folder / "generation.png")
