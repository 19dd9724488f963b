"""What the latent emotion means: features decoded from each class at one z."""

import numpy as np

from tfser.plots.figures import save_figure
from tfser.plots.spectrograms import draw_shifts
from tfser.storage import atomic_files
from tfser.training.epoch import predict_batches

N_SHOWN = 5  # features a class, in the picture
N_LISTED = 20  # in the table


def decode_latents(model, y, z) -> np.ndarray:
    """Decodes latent variables: y [batch, K], z [batch, n_z] -> standardized features
    [batch, *shape], in standard deviations of the training part.
    """
    return predict_batches(model.decoder, [y, z])


def class_shifts(model) -> np.ndarray:
    """How each class moves the features [K, features], in standard deviations.

    y is one class after the other, z the prior's mean; against the mean over the classes, and of
    frames the mean over time.
    """
    n_classes, n_z = model.settings["n_classes"], model.settings["n_z"]
    decoded = decode_latents(model, np.eye(n_classes), np.zeros((n_classes, n_z)))
    if decoded.ndim == 3:
        decoded = decoded.mean(axis=1)
    return decoded - decoded.mean(axis=0)


def write_generation(run, system: str, classes, names, moved) -> None:
    """generation.csv, the features that move most for each class, and generation.png.

    moved: [K, features], as of `shifts`, a mean over networks.
    """
    strongest = np.argsort(-np.abs(moved), axis=1)  # [K, features]
    atomic_files.write_csv(
        run.folder / "generation.csv",
        [
            {
                "class": name,
                "rank": rank + 1,
                "feature": names[i],
                "shift_sd": round(float(row[i]), 4),
            }
            for name, row, order in zip(classes, moved, strongest, strict=True)
            for rank, i in enumerate(order[:N_LISTED])
        ],
    )
    shown = list(dict.fromkeys(strongest[:, :N_SHOWN].ravel()))
    figure = draw_shifts(
        moved[:, shown].T,
        [names[i] for i in shown],
        classes,
        f"{system} on {run.corpus}: what a class changes in the decoded features\n"
        f"(z = 0; the {N_SHOWN} features that move most for each class)",
    )
    save_figure(figure, run.folder / "generation.png")
