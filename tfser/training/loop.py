"""The helpers that papers share: devices, and a fit that can be killed at any point and goes on."""

import functools
import json
import logging
import math
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfser.distributed import multi_worker
from tfser.errors import TfserError, UsageError
from tfser.storage import atomic_files
from tfser.training import mixed_precision
from tfser.training.epoch import evaluate_batches, multi_worker_strategy, train_epoch

SAVING_SHARE = 0.05

log = logging.getLogger("tfser")


def select_strategy(name: str) -> tf.distribute.Strategy:
    """That of `--strategy`: auto (mirrored where several GPUs are), none, mirrored, multiworker.

    Raises UsageError where it is not to be had, or not with the precision.
    """
    found = _find_strategy(name)
    if found.num_replicas_in_sync > 1 and mixed_precision.current_policy() == "mixed_float16":
        raise UsageError(
            "train.precision=mixed_float16: on several devices Keras looks at the gradients of one "
            "alone for its loss scale; use mixed_bfloat16, or --strategy none"
        )
    return found


def _find_strategy(name):
    if name == "multiworker":
        return multi_worker_strategy()
    gpus = tf.config.list_logical_devices("GPU")
    if name == "none" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    devices = gpus or tf.config.list_logical_devices("CPU")
    if len(devices) < 2:
        raise UsageError(
            "--strategy mirrored needs two devices or more, this machine has one; use auto or none"
        )
    return _mirrored_strategy(tuple(device.name for device in devices))


@functools.cache
def _mirrored_strategy(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    """One for the whole process: the reductions of a second would meet those of the first."""
    return tf.distribute.MirroredStrategy(devices)


def shared_batch_size(batch_size: int, name: str) -> int:
    """The batch size as a multiple of the replicas of `--strategy`, each of which has its part."""
    n_replicas = select_strategy(name).num_replicas_in_sync
    return max(batch_size // n_replicas, 1) * n_replicas


def compile_model(
    model: keras.Model, optimizer, loss, *, metrics=("accuracy",), loss_weights=None
) -> keras.Model:
    """Compiles for `fit`; XLA on a single GPU alone.

    Keras' "auto" takes XLA on the CPU too, where it trained VGG-E at a third of the speed; under
    several replicas it cannot reach the variables.
    """
    one_gpu = len(tf.config.list_logical_devices("GPU")) == 1
    model.compile(
        optimizer,
        loss,
        metrics=list(metrics),
        loss_weights=loss_weights,
        jit_compile="auto" if one_gpu else False,
    )
    return model


def reinitialize(model: keras.Model, fresh: keras.Model) -> None:
    """Gives a compiled model the weights and dropout seeds of `fresh`, its optimizers no memory.

    A model compiled once is traced once, which takes seconds for a deep network.
    """
    _build_optimizers(model)
    for layer, fresh_layer in zip(model.layers, fresh.layers, strict=True):
        for variable, value in zip(layer.variables, fresh_layer.variables, strict=True):
            variable.assign(value)
    for optimizer, variables in list_optimizers(model):
        # Not zeros throughout: mixed_float16 scales the loss by one of these variables.
        unused = type(optimizer).from_config(optimizer.get_config())
        mixed_precision.build_optimizer(unused, variables)
        for variable, value in zip(optimizer.variables, unused.variables, strict=True):
            variable.assign(value)


def list_optimizers(model: keras.Model) -> list[tuple]:
    """The optimizers of a model, each with the weights it moves.

    A model with several lists them as `updates`; one that is compiled has one, for all its weights.
    """
    return getattr(model, "updates", None) or [(model.optimizer, model.trainable_variables)]


def minimize(loss, variables, optimizer, clip_norm=None):
    """One update of `variables` alone; `loss` is a function () -> mean loss of the batch.

    Optimizers add up the gradients of all replicas, each of which has its part of the batch.
    clip_norm: of the gradient of the whole batch, over all variables.
    """
    n_replicas = tf.distribute.get_strategy().num_replicas_in_sync
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([variable.value for variable in variables])
        value = loss()
        share = optimizer.scale_loss(value / n_replicas)  # by 1 but for mixed_float16
    gradients = tape.gradient(share, [v.value for v in variables])
    if clip_norm:
        clip_norm *= optimizer.scale_loss(1.0)  # `apply` takes the scale away
        if n_replicas > 1:
            replicas = tf.distribute.get_replica_context()
            gradients = replicas.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        gradients, _ = tf.clip_by_global_norm(gradients, clip_norm / n_replicas)
    optimizer.apply(gradients, variables)
    return value


def save_model(model: keras.Model, path) -> None:
    """Writes a functional model without its optimizer, which triples the file.

    `include_optimizer=False` is heeded in Keras' older formats alone.
    """
    keras.Model(model.input, model.output, name=model.name).save(path)


def chance_loss(labels: np.ndarray, share: float = 0.05) -> tuple[float, float]:
    """The loss at chance and the loss below which a network has left it, labels [segments, K].

    A network that ignores its input can reach the entropy of the mean label (ln K where classes
    are balanced), a perfect one the mean entropy of the labels. Below chance by `share` of that
    distance counts as learning. Not in any paper: the guard against a network stuck at chance.
    """
    at_chance = float(_entropy(labels.mean(axis=0, dtype=np.float64)))
    perfect = float(np.mean(_entropy(labels)))
    return at_chance, at_chance - share * (at_chance - perfect)


def _entropy(p: np.ndarray) -> np.ndarray:
    return -np.sum(p * np.log(np.maximum(p, 1e-12)), axis=-1)


def fit(
    model, batches, dev, *, learning_rate, max_epochs, patience, learnt_loss, folder: Path, report
) -> list[dict]:
    """Trains a compiled model with early stopping; leaves it with the weights of its best epoch.

    Args:
        batches: function epoch (from 0) -> dataset of that epoch.
        dev: dataset whose loss early stopping watches.
        learning_rate: function epoch (from 0) -> learning rate of that epoch.
        patience: epochs without a better dev loss, not counted before the training loss has once
            been below `learnt_loss`: a deep plain network may sit at chance first.
        folder: where the state is kept.
        report: function(history row) called after each epoch.

    Returns:
        The history: one row an epoch with epoch (from 1), loss, accuracy, dev_loss, dev_accuracy,
        learning_rate, learnt.

    Raises:
        TfserError: the loss is not a number.
    """

    def one_epoch(history):
        epoch = len(history)
        model.optimizer.learning_rate = learning_rate(epoch)
        means = train_epoch(model, batches(epoch))
        of_dev = evaluate_batches(model, dev)
        row = {
            "loss": means["loss"],
            "accuracy": means["accuracy"],
            "dev_loss": of_dev["loss"],
            "dev_accuracy": of_dev["accuracy"],
            "learning_rate": learning_rate(epoch),
        }
        row["learnt"] = row["loss"] < learnt_loss or (bool(history) and history[-1]["learnt"])
        return row

    return run_epochs(
        model,
        one_epoch,
        best_epoch=best_epoch,
        finished=functools.partial(is_finished, max_epochs=max_epochs, patience=patience),
        folder=folder,
        report=report,
        advice="try a lower --set schedule.initial_learning_rate",
    )


def run_epochs(
    model, one_epoch, *, best_epoch, finished, folder: Path, report, advice: str
) -> list[dict]:
    """Repeats epochs until `finished(history)`; leaves the model with the weights of the best one.

    The state after an epoch (weights, optimizers, dropout's seeds, history) is one file, replaced
    in one step, so that a killed training continues from there and ends the same. Saving takes at
    most SAVING_SHARE of the time: where epochs are short, a state is that of several.

    Args:
        one_epoch: function(history) -> row of the next epoch, with "loss" and "dev_loss".
        best_epoch: function(history) -> number (from 0) of the best epoch so far.
        finished: function(history) -> whether it is over.
        folder, report: see `fit`.
        advice: what may help where a loss is not a number.

    Returns the history: rows with "epoch" (from 1). Raises TfserError: a loss is not a number.
    """
    state, best = folder / "state.npz", folder / "best.npz"
    saved, kept = (
        multi_worker.read_arrays_from_chief(state),
        multi_worker.read_arrays_from_chief(best),
    )
    _build_optimizers(model)  # in the first step, that would be traced twice
    history = _restore(model, saved) if saved and kept else []
    started, saving_seconds, new_best = time.monotonic(), 0.0, False
    while not finished(history):
        # Workers must not part over a last digit.
        row = multi_worker.broadcast_from_chief({"epoch": len(history) + 1, **one_epoch(history)})
        bad = [name for name, value in row.items() if not math.isfinite(value)]
        if bad:
            values = ", ".join(f"{name} {row[name]}" for name in bad)
            raise TfserError(f"epoch {row['epoch']} gave {values}, {folder}; {advice}")
        history.append(row)
        if best_epoch(history) == len(history) - 1:
            kept, new_best = _arrays(model.variables), True
        now = time.monotonic()
        due = saving_seconds <= SAVING_SHARE * (now - started) or finished(history)
        if due and multi_worker.is_chief():
            if new_best:
                atomic_files.write_arrays(best, **kept)
            atomic_files.write_arrays(
                state,
                history=np.frombuffer(json.dumps(history).encode(), np.uint8),
                **_arrays(_state(model)),
            )
            new_best = False
            saving_seconds += time.monotonic() - now
        report(row)
    _assign(model.variables, kept)
    return history


def best_epoch(history: list[dict]) -> int:
    """The epoch (from 0) with the lowest dev loss, if possible of those after chance was left."""
    learnt = [row for row in history if row["learnt"]] or history
    return min(learnt, key=lambda row: row["dev_loss"])["epoch"] - 1


def best_uar_epoch(history: list[dict]) -> int:
    """The epoch (from 0) with the highest dev UAR, among equals that with the lowest dev loss."""
    best = max(history, key=lambda row: (row["dev_uar"], -row["dev_loss"]))
    return best["epoch"] - 1


def is_finished(history: list[dict], *, max_epochs: int, patience: int) -> bool:
    """Whether early stopping ends the training after `history`."""
    if len(history) >= max_epochs:
        return True
    learnt = bool(history) and history[-1]["learnt"]
    return learnt and len(history) - 1 - best_epoch(history) >= patience


def delete_checkpoints(folder: Path) -> None:
    """Removes the state of a finished fit."""
    for name in ("state.npz", "best.npz"):
        (folder / name).unlink(missing_ok=True)


def _state(model) -> list:
    return model.variables + [
        v for optimizer, _ in list_optimizers(model) for v in optimizer.variables
    ]


def _build_optimizers(model) -> None:
    with model.distribute_strategy.scope():  # unbuilt, they have no moments
        for optimizer, variables in list_optimizers(model):
            mixed_precision.build_optimizer(optimizer, variables)


def _arrays(variables) -> dict:
    return {f"v{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(variables)}


def _assign(variables, arrays: dict) -> None:
    for i, variable in enumerate(variables):
        variable.assign(arrays[f"v{i}"])


def _restore(model, arrays: dict) -> list[dict]:
    _assign(_state(model), arrays)
    return json.loads(arrays["history"].tobytes())
