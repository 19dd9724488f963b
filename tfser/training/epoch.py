"""Passes over batches to train, evaluate or predict, by Keras or on several workers.

Keras' own `fit` does not run under MultiWorkerMirroredStrategy (keras-team/keras#20585): it
averages the results of a step over their first axis, and numbers have no axis. `train_step` and
`test_step` of a model do run, Keras' own and the papers', and so do its metrics.

Every worker makes every batch, which is one gather, and each replica takes its part of the batch.
So the numbers equal those of one process, and no worker has more batches than another; with files
or examples dealt out beforehand each batch would be another mixture.
"""

import functools
import logging
import signal

import keras
import numpy as np
import tensorflow as tf

from tfser import tensorflow_startup
from tfser.distributed import multi_worker
from tfser.errors import UsageError
from tfser.training.replicas import share_dropout


@functools.cache
def multi_worker_strategy() -> tf.distribute.Strategy:
    """Return the strategy across the workers of `join_cluster`, the same one for the whole process.

    Raises UsageError where workers have different devices, which TensorFlow does not check.
    """
    # TensorFlow 2.16 logs its connection whatever the log level.
    with tensorflow_startup.quiet():
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))  # TensorFlow has replaced it
    # Its warnings of retraced functions count the graphs of all networks together.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    devices = [tf.DeviceSpec.from_string(d).device_type for d in strategy.extended.worker_devices]
    chief_devices = multi_worker.broadcast_from_chief(devices)
    if chief_devices != devices:
        raise UsageError(
            f"this worker has {' '.join(devices)}, the chief {' '.join(chief_devices)}; show all "
            "the same number of GPUs, by CUDA_VISIBLE_DEVICES"
        )
    return strategy


def train_epoch(model: keras.Model, batches: tf.data.Dataset) -> dict[str, float]:
    """Train for one epoch and return the means of the model's metrics.

    Raises UsageError for batches that the replicas of several workers cannot share equally.
    """
    share_dropout(model)
    if not is_multi_worker(model):
        history = model.fit(batches, epochs=1, shuffle=False, verbose=0).history
        return {name: values[0] for name, values in history.items()}
    n_replicas = model.distribute_strategy.num_replicas_in_sync

    def replica_part(x):
        size = (x.shape[0] or tf.shape(x)[0]) // n_replicas
        first = tf.distribute.get_replica_context().replica_id_in_sync_group * size
        return x[first : first + size]

    sizes = {x.shape[0] for x in tf.nest.flatten(batches.element_spec)} - {None}
    if batches.cardinality() == 0 or any(size % n_replicas for size in sizes):
        raise UsageError(f"{n_replicas} replicas cannot share the batches; take another batch size")
    if model.train_function is None:
        model.train_function = _on_replicas(
            model,
            batches,
            lambda batch: model.train_step(tf.nest.map_structure(replica_part, batch)),
        )
    return _means(model, model.train_function, batches)


def evaluate_batches(model: keras.Model, batches: tf.data.Dataset) -> dict[str, float]:
    """Return the means of a compiled model's metrics; every worker evaluates all batches."""
    if not is_multi_worker(model):
        return model.evaluate(batches, return_dict=True, verbose=0)
    if model.test_function is None:
        model.test_function = _on_replicas(model, batches, model.test_step)
    return _means(model, model.test_function, batches)


def predict_batches(model: keras.Model, batches):
    """Return the outputs for batches or arrays; every worker predicts all batches."""
    if not is_multi_worker(model):
        return model.predict(batches, verbose=0)
    if model.predict_function is None:
        model.predict_function = _function(model.predict_step)
    if not isinstance(batches, tf.data.Dataset):
        batches = [(tf.nest.map_structure(tf.convert_to_tensor, batches),)]
    outputs = [model.predict_function(x) for x in batches]
    return tf.nest.map_structure(lambda *parts: np.concatenate(parts), *outputs)


def is_multi_worker(model: keras.Model) -> bool:
    """Return whether a model was built under `--strategy multiworker`."""
    return isinstance(model.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy)


def _on_replicas(model, batches, step):
    """Return a function that runs a step on each replica of this worker."""
    strategy = model.distribute_strategy
    with strategy.scope():
        # Losses and metrics create their variables in their first call, which must not be on a
        # replica; Keras' `fit` builds them from a batch, too.
        model._symbolic_build(data_batch=batches.element_spec)

    def on_replicas(batch):
        strategy.run(step, args=(batch,))

    return _function(on_replicas)


def _function(step):
    return tf.function(step, autograph=False, reduce_retracing=True)


def _means(model, function, batches) -> dict[str, float]:
    model.reset_metrics()
    for batch in batches:
        function(batch)
    return {name: float(value) for name, value in sorted(model.get_metrics_result().items())}
