"""The training of one network of a fold: seeds, epochs with a dev set, history, resume.

A paper's `train_network` calls `load_finished`, `set_seeds`, `train_epochs`, `write_history` and
`finish`, in this order. A killed training continues from its last saved epoch.
"""

import contextlib
import logging
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfser.distributed import multi_worker
from tfser.evaluation import metrics
from tfser.plots import tensorboard
from tfser.plots.figures import write_training_curves
from tfser.storage import atomic_files, fold_files
from tfser.training import loop
from tfser.training.epoch import train_epoch

log = logging.getLogger("tfser")


def load_finished(file: Path) -> dict[str, np.ndarray] | None:
    """Load the arrays that `finish` wrote, None where the network is not finished.

    Raises ConflictError for the arrays of another fold.
    """
    arrays = multi_worker.read_arrays_from_chief(file)
    if arrays:
        arrays = fold_files.take_place(file, arrays)
        loop.delete_checkpoints(file.parent)  # left by a kill inside `finish`
    return arrays


def set_seeds(seed: list[int]) -> int:
    """Seed the weights and dropout of the next network; return the seed of its batches."""
    weight_seed, order_seed = (int(s) for s in np.random.SeedSequence(seed).generate_state(2))
    keras.utils.set_random_seed(weight_seed)
    return order_seed


def train_epochs(
    model,
    make_batches,
    score_dev,
    *,
    max_epochs: int,
    run,
    folder: Path,
    bar,
    columns=("loss",),
    best_epoch=loop.best_uar_epoch,
) -> list[dict]:
    """Train a compiled model; leave the weights of the epoch with the best dev score.

    Args:
        make_batches: function(epoch) -> tf.data.Dataset of an epoch. `epoch` is a tf.Variable: one
            dataset serves all epochs.
        score_dev: function() -> the dev columns of the history, with "dev_loss".
        run, folder: the run, and the folder of the fold in the run directory.
        bar: see `cross_validation.Progress`.
        columns: the metrics of the model in the history, None for all.
        best_epoch: see `loop.run_epochs`.

    Returns the history, one row per epoch.
    """
    with tf.device("CPU:0"):  # where tf.data works
        epoch = tf.Variable(0, dtype="int64")
    batches = make_batches(epoch)

    def one_epoch(history):
        epoch.assign(len(history))
        means = train_epoch(model, batches)
        return {name: means[name] for name in columns or means} | score_dev()

    return run_epochs(
        model,
        one_epoch,
        bar.epoch,
        events=event_folder(run, folder),
        max_epochs=max_epochs,
        best_epoch=best_epoch,
        folder=folder,
        advice="try a lower --set train.learning_rate",
    )


def run_epochs(
    model, one_epoch, show, *, events: Path, max_epochs: int, draw=dict, **options
) -> list[dict]:
    """Run `max_epochs` by `loop.run_epochs`, which takes the options; return the history.

    show, events, draw: see `report_epochs`.
    """
    with report_epochs(events, show, draw) as report:
        return loop.run_epochs(
            model,
            one_epoch,
            finished=lambda history: len(history) >= max_epochs,
            report=report,
            **options,
        )


def score_classes(y, probabilities) -> dict[str, float]:
    """Return the dev columns of a classifier: cross-entropy and UAR.

    y [n] are class numbers, probabilities [n, K].
    """
    likelihood = probabilities[range(len(y)), y]
    return {
        "dev_loss": float(-np.mean(np.log(np.maximum(likelihood, 1e-7)))),
        "dev_uar": metrics.uar(y, probabilities.argmax(axis=1)),
    }


def event_folder(run, folder: Path) -> Path:
    """Return the folder of TensorBoard's events for a folder of the run directory."""
    return run.folder / "events" / folder.relative_to(run.folder)


@contextlib.contextmanager
def report_epochs(events: Path, show, draw=dict):
    """Yield a function that shows a row of the history and writes it for TensorBoard.

    show: function(row); draw: function() -> {name: PNG} after each epoch.
    """
    with tensorboard.open_event_writer(events) as write:

        def report(row):
            show(row)
            scalars = {name: row[name] for name in row if name not in ("epoch", "learnt")}
            write(row["epoch"], scalars, draw())

        yield report


def log_best_epoch(place: str, history: list[dict], best: dict) -> None:
    """Log the scores of the epoch whose weights are kept."""
    log.info(
        "%s: kept epoch %d of %d: loss %.3f dev loss %.3f dev UAR %.1f %%",
        *(place, best["epoch"], len(history), best["loss"], best["dev_loss"]),
        100 * best["dev_uar"],
    )


def write_history(folder: Path, history: list[dict], best: dict, title: str, panels, **options):
    """Write history.csv and history.png; see `figures.write_training_curves` for the options."""
    atomic_files.write_csv(folder / "history.csv", history)
    write_training_curves(
        history, folder / "history.png", title, panels, kept_epoch=best["epoch"], **options
    )


def finish(file: Path, **arrays) -> dict[str, np.ndarray]:
    """Write the arrays of a finished network and return them; delete its checkpoints.

    The last step of a training: a network with this file is not trained again.
    """
    atomic_files.write_arrays(file, **arrays, **fold_files.stamp_place(file))
    loop.delete_checkpoints(file.parent)
    return arrays
