"""Options of tf.data pipelines, for the tensorflow-io decoder and the feature cache."""

import tensorflow as tf

# For the functions of a pipeline. AutoGraph would convert them and all their callees in each
# process, for conditions on tensors, which they do not have.
unconverted = tf.autograph.experimental.do_not_convert


def disable_autotuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return the dataset without TensorFlow's search for numbers of threads and buffers.

    These numbers are fixed here. The end of an iterator sometimes waits for the next round of the
    search, for as long as an epoch (`benchmarks/autotuning.py`).
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
