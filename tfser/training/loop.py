"""Training of the papers: devices, updates, and epochs that can be interrupted and resumed."""

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
    """Return the strategy of `--strategy`: auto, none, mirrored, multiworker.

    auto is mirrored where there are several GPUs, and none elsewhere. Raises UsageError where the
    strategy is not available, or not with the precision.
    """
    strategy = _find_strategy(name)
    several = strategy.num_replicas_in_sync > 1
    if several and mixed_precision.current_policy() == "mixed_float16":
        raise UsageError(
            "train.precision=mixed_float16: on several devices Keras looks at the gradients of one "
            "alone for its loss scale; use mixed_bfloat16, or --strategy none"
        )
    return strategy


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
    """Return the process's strategy: reductions of two strategies would meet each other."""
    return tf.distribute.MirroredStrategy(devices)


def shared_batch_size(batch_size: int, name: str) -> int:
    """Round the batch size down to a multiple of the replicas, at least one example each."""
    n_replicas = select_strategy(name).num_replicas_in_sync
    return max(batch_size // n_replicas, 1) * n_replicas


def compile_model(model, optimizer, loss, metrics=("accuracy",), **options):
    """Compile a model for `fit`, see `choose_jit_compile`; return it."""
    options |= {"metrics": list(metrics), "jit_compile": choose_jit_compile()}
    model.compile(optimizer, loss, **options)
    return model


def choose_jit_compile() -> str | bool:
    """Choose XLA for Keras' own training step on a single GPU alone.

    On the CPU it trained VGG-E at a third of the speed; it reaches no other replica's variables.
    """
    return "auto" if len(tf.config.list_logical_devices("GPU")) == 1 else False


def reinitialize(model: keras.Model, fresh: keras.Model) -> None:
    """Reset a compiled model: copy weights and dropout seeds from `fresh`, reset the optimizers.

    A model that is compiled once is traced once, which takes seconds for a deep network.
    """
    _build_optimizers(model)
    for layer, fresh_layer in zip(model.layers, fresh.layers, strict=True):
        for variable, value in zip(layer.variables, fresh_layer.variables, strict=True):
            variable.assign(value)
    for optimizer, variables in list_optimizers(model):
        # Some initial values are not zero: mixed_float16 scales the loss by a variable.
        unused = type(optimizer).from_config(optimizer.get_config())
        mixed_precision.build_optimizer(unused, variables)
        for variable, value in zip(optimizer.variables, unused.variables, strict=True):
            variable.assign(value)


def list_optimizers(model: keras.Model) -> list[tuple]:
    """Return the optimizers of a model, each with the weights that it updates.

    A model with several optimizers lists them as `updates`; a compiled model has one, for all its
    weights.
    """
    return getattr(model, "updates", None) or [(model.optimizer, model.trainable_variables)]


def minimize(loss, variables, optimizer, clip_norm=None):
    """Update `variables` alone; `loss` is a function () -> mean loss of the batch.

    Without variables, where all layers are frozen, the loss is computed alone.
    Optimizers add up the gradients of all replicas, each of which has its part of the batch.
    clip_norm limits the gradient of the complete batch, over all variables.
    """
    if not variables:
        return loss()
    n_replicas = tf.distribute.get_strategy().num_replicas_in_sync
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([variable.value for variable in variables])
        value = loss()
        share = optimizer.scale_loss(value / n_replicas)  # scaled in mixed_float16 alone
    gradients = tape.gradient(share, [v.value for v in variables])
    if clip_norm:
        clip_norm *= optimizer.scale_loss(1.0)  # `apply` removes the scale
        if n_replicas > 1:
            replicas = tf.distribute.get_replica_context()
            gradients = replicas.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        gradients, _ = tf.clip_by_global_norm(gradients, clip_norm / n_replicas)
    optimizer.apply(gradients, variables)
    return value


def save_model(model: keras.Model, path) -> None:
    """Write a functional model without its optimizer, which triples the file.

    Keras obeys `include_optimizer=False` in its older formats alone. A paper's network keeps its
    class, see `PaperNetwork`.
    """
    if hasattr(model, "save_for_prediction"):
        return model.save_for_prediction(path)
    keras.Model(model.input, model.output, name=model.name).save(path)


def chance_loss(labels: np.ndarray, weights=None, share: float = 0.05) -> tuple[float, float]:
    """Return the loss at chance and the loss below which a network has learnt.

    labels: [segments, K]; weights: of the segments in the loss [segments], None for 1.

    A network that ignores its input can reach the entropy of the mean label (ln K where classes are
    balanced), a perfect network the mean entropy of the labels. Below chance by `share` of that
    distance counts as learning. Not in any paper: the guard against a network stuck at chance.
    """
    at_chance = float(_entropy(np.average(labels.astype(np.float64), axis=0, weights=weights)))
    perfect = float(np.average(_entropy(labels), weights=weights))
    return at_chance, at_chance - share * (at_chance - perfect)


def _entropy(p: np.ndarray) -> np.ndarray:
    return -np.sum(p * np.log(np.maximum(p, 1e-12)), axis=-1)


def fit(
    model, batches, dev, *, max_epochs, patience, learnt_loss, folder: Path, report
) -> list[dict]:
    """Train a compiled model with early stopping; leave it with the weights of its best epoch.

    Args:
        batches: function epoch (from 0) -> dataset of that epoch.
        dev: dataset whose loss early stopping watches.
        patience: epochs without a better dev loss, not counted before the training loss has once
            been below `learnt_loss`: a deep plain network may sit at chance first.
        folder: folder of the training state.
        report: function(history row) called after each epoch.

    Returns the history: one row an epoch with epoch (from 1), loss, accuracy, dev_loss,
    dev_accuracy, learning_rate (of the first step), learnt. Raises TfserError: a loss is no number.
    """

    def one_epoch(history):
        of_epoch = batches(len(history))
        learning_rate = float(model.optimizer.learning_rate)
        means = train_epoch(model, of_epoch)
        dev_means = evaluate_batches(model, dev)
        row = {
            "loss": means["loss"],
            "accuracy": means["accuracy"],
            "dev_loss": dev_means["loss"],
            "dev_accuracy": dev_means["accuracy"],
            "learning_rate": learning_rate,
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
    """Repeat epochs until `finished(history)`; leave the model with the weights of the best epoch.

    The state after an epoch (weights, optimizers, dropout's seeds, history) is one file, replaced
    in one step, so that a killed training resumes there and ends the same. Saving takes at most
    SAVING_SHARE of the time: where epochs are short, a state is saved every few epochs.

    Args:
        one_epoch: function(history) -> row of the next epoch, with "loss" and "dev_loss".
        best_epoch: function(history) -> number (from 0) of the best epoch so far.
        finished: function(history) -> whether training is over.
        folder, report: see `fit`.
        advice: what may help where a loss is not a number.

    Returns the history: rows with "epoch" (from 1). Raises TfserError: a loss is not a number.
    """
    state, best = folder / "state.npz", folder / "best.npz"
    checkpoint = multi_worker.read_arrays_from_chief(state)
    best_weights = multi_worker.read_arrays_from_chief(best)
    _build_optimizers(model)  # built in the first step, they would be traced twice
    history = _restore(model, checkpoint, folder) if checkpoint and best_weights else []
    start, saving_seconds, new_best = time.monotonic(), 0.0, False
    while not finished(history):
        # Workers must not take different branches because of a last digit.
        row = multi_worker.broadcast_from_chief({"epoch": len(history) + 1, **one_epoch(history)})
        bad = [f"{name} {value}" for name, value in row.items() if not math.isfinite(value)]
        if bad:
            raise TfserError(f"epoch {row['epoch']} gave {', '.join(bad)}, {folder}; {advice}")
        history.append(row)
        if best_epoch(history) == len(history) - 1:
            best_weights, new_best = _arrays(model.variables), True
        now = time.monotonic()
        due = saving_seconds <= SAVING_SHARE * (now - start) or finished(history)
        if due and multi_worker.is_chief():
            if new_best:
                atomic_files.write_arrays(best, **best_weights)
            atomic_files.write_arrays(
                state,
                history=np.frombuffer(json.dumps(history).encode(), np.uint8),
                **_arrays(_state(model)),
            )
            new_best = False
            saving_seconds += time.monotonic() - now
        report(row)
    _assign(model.variables, best_weights)
    return history


def best_epoch(history: list[dict]) -> int:
    """Return the epoch (from 0) with the lowest dev loss, among learnt epochs if there are any."""
    learnt = [row for row in history if row["learnt"]] or history
    return min(learnt, key=lambda row: row["dev_loss"])["epoch"] - 1


def best_uar_epoch(history: list[dict]) -> int:
    """Return the epoch (from 0) with the highest dev UAR, among equals with the lowest dev loss."""
    return max(history, key=lambda row: (row["dev_uar"], -row["dev_loss"]))["epoch"] - 1


def is_finished(history: list[dict], *, max_epochs: int, patience: int) -> bool:
    """Return whether early stopping ends the training after `history`."""
    if len(history) >= max_epochs:
        return True
    learnt = bool(history) and history[-1]["learnt"]
    return learnt and len(history) - 1 - best_epoch(history) >= patience


def delete_checkpoints(folder: Path) -> None:
    """Delete the state of a finished fit."""
    for name in ("state.npz", "best.npz"):
        (folder / name).unlink(missing_ok=True)


def _state(model) -> list:
    optimizers = [optimizer for optimizer, _ in list_optimizers(model)]
    return model.variables + [v for optimizer in optimizers for v in optimizer.variables]


def _build_optimizers(model) -> None:
    with model.distribute_strategy.scope():  # unbuilt, they have no moments
        for optimizer, variables in list_optimizers(model):
            mixed_precision.build_optimizer(optimizer, variables)


def _arrays(variables) -> dict:
    return {f"v{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(variables)}


def _assign(variables, arrays: dict) -> None:
    for i, variable in enumerate(variables):
        variable.assign(arrays[f"v{i}"])


def _restore(model, arrays: dict, folder: Path) -> list[dict]:
    state = _state(model)
    shapes = [np.shape(arrays.get(f"v{i}")) for i in range(len(arrays) - 1)]
    if shapes != [tuple(variable.shape) for variable in state]:
        log.warning("%s: the state is of another version or network; training starts anew", folder)
        return []
    _assign(state, arrays)
    return json.loads(arrays["history"].tobytes())
