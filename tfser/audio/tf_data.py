"""Options of tf.data pipelines, for the decoder in the graph and the feature cache."""

import tensorflow as tf

# For functions of a pipeline. AutoGraph rewrites them and all that they call, in each process anew,
# for conditions on tensors, of which ours have none.
unconverted = tf.autograph.experimental.do_not_convert


def disable_autotuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The dataset without TensorFlow's search for numbers of threads and buffers; ours are fixed.

    The end of an iterator waits for the thread that searches, now and then until its next round,
    which may be as far away as the epoch was long (`benchmarks/autotuning.py`).
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
