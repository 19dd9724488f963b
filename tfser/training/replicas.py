"""Noise and dropout of a batch that several replicas share: the same numbers as on one device.

Keras' generators have one state on all replicas: without this module each part of a batch would get
the numbers of the other parts.
"""

import contextlib
import functools

import tensorflow as tf
from keras import layers

PHILOX = 1  # TensorFlow's algorithm of stateless random numbers on CPUs and GPUs
GROUP = 4  # random numbers of 16 or 32 bits for one value of Philox's counter


def normal_like(x, generator):
    """Draw standard normal noise of the shape of x [batch, ...], a replica's part of the batch.

    generator: keras.random.SeedGenerator. The parts of a batch must be of one size, see
    `loop.shared_batch_size`.
    """
    return _draw_like(x, generator, tf.random.stateless_normal, tf.raw_ops.StatelessRandomNormalV2)


def uniform_like(x, generator):
    """Draw uniform noise in [0, 1) of the shape of x [batch, ...]; see `normal_like`."""
    draw_part = tf.raw_ops.StatelessRandomUniformV2
    return _draw_like(x, generator, tf.random.stateless_uniform, draw_part)


@contextlib.contextmanager
def restore_generator(generator):
    """Set a SeedGenerator back to its state: an evaluation must not move the training's noise."""
    state = tf.identity(generator.state)
    yield
    generator.state.assign(state)


def _draw_like(x, generator, draw, draw_part):
    seed = tf.cast(generator.next(), "int32")
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return draw(tf.shape(x), seed)
    return _draw_part(draw_part, x, seed)


def share_dropout(model) -> None:
    """Make the dropout of a model on several replicas the dropout of one device.

    The layers stay layers of Keras, which reads a saved network without tfser.
    """
    if model.distribute_strategy.num_replicas_in_sync == 1:
        return
    for layer in model._flatten_layers():
        if isinstance(layer, layers.Dropout):
            layer.call = functools.partial(_drop_out, layer)


def _drop_out(layer, x, training=False):
    if not (training and layer.rate):
        return x
    seed = tf.cast(layer.seed_generator.next(), "int32")
    uniform = _draw_part(tf.raw_ops.StatelessRandomUniformV2, x, seed)
    return tf.where(uniform >= layer.rate, x * tf.cast(1 / (1 - layer.rate), x.dtype), 0)


def _draw_part(draw, x, seed):
    """Draw the numbers of this replica's part x: the counter starts behind the earlier parts."""
    replica, n = tf.distribute.get_replica_context(), tf.size(x)
    first = 0 if replica is None else replica.replica_id_in_sync_group * n
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    counter += tf.cast(tf.stack([first // GROUP, 0]), counter.dtype)
    skipped = first % GROUP
    numbers = draw(shape=[skipped + n], key=key, counter=counter, alg=PHILOX, dtype=x.dtype)
    return tf.ensure_shape(tf.reshape(numbers[skipped:], tf.shape(x)), x.shape)
