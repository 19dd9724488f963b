"""tf.data pipelines: functions from arrays to datasets."""

import numpy as np
import tensorflow as tf

ALIGNED_BYTES = 64  # TensorFlow takes over memory that starts at a multiple of it
GATHER_THREADS = 2  # 400,000 segments/s, more than any device trains on
PREFETCHED = 16  # batches; left to TensorFlow they fill gigabytes


def as_tensor(frames):
    """Returns an array [total_frames, bands] as a tensor in the host's memory, copied once.

    `tf.convert_to_tensor` holds two copies for a while, and on a GPU machine it would fill the
    GPU. Do not write into `frames` afterwards: memory that is aligned already is shared.
    """
    if tf.is_tensor(frames):
        return frames
    aligned = np.ascontiguousarray(frames)
    if aligned.ctypes.data % ALIGNED_BYTES or not aligned.flags.writeable:
        memory = np.empty(frames.nbytes + ALIGNED_BYTES, "uint8")
        memory = memory[-memory.ctypes.data % ALIGNED_BYTES :][: frames.nbytes]
        aligned = memory.view(frames.dtype).reshape(frames.shape)
        aligned[...] = frames
    return tf.experimental.dlpack.from_dlpack(aligned.__dlpack__())


def segment_index(offsets, *, n_frames, hop_frames):
    """Lists the segments of a corpus: (starts [segments], utterance [segments]), both int64.

    `offsets` [utterances + 1] says where each utterance begins in the frames; an utterance of f
    frames has floor((f - n_frames) / hop_frames) + 1 segments (EPR §4.1). Raises ValueError for
    an utterance shorter than a segment.
    """
    offsets = np.asarray(offsets, "int64")
    lengths = np.diff(offsets)  # frames
    if (lengths < n_frames).any():
        short = int(np.argmax(lengths < n_frames))
        raise ValueError(
            f"utterance {short} has {lengths[short]} frames, a segment {n_frames}; "
            "let the feature layer pad to min_frames"
        )
    counts = (lengths - n_frames) // hop_frames + 1
    utterance = np.repeat(np.arange(len(lengths)), counts)
    number = np.arange(len(utterance)) - np.repeat(np.cumsum(counts) - counts, counts)
    return offsets[utterance] + number * hop_frames, utterance


def segments(
    frames, starts, labels, *, n_frames, batch_size, seed=None, epoch=0, drop_remainder=False
):
    """Batches of segments: (x [batch, n_frames, bands], y [batch, K]), or x where labels is None.

    `frames` [total_frames, bands] stays as it is: a batch is one gather, and segments never
    exist all at once. For many epochs give it as a tensor (`as_tensor`), since an array is copied
    at each call. `labels` [segments, ...] follow `starts` [segments]. With a seed the segments
    are shuffled, in an order that depends on (seed, epoch) and nothing else; without, they keep
    theirs.
    """
    starts = np.asarray(starts, "int64")
    if labels is not None and len(labels) != len(starts):
        raise ValueError(f"{len(labels)} labels for {len(starts)} segments")
    order = np.arange(len(starts))
    if seed is not None:
        order = np.random.default_rng([seed, epoch]).permutation(len(starts))
    frames = as_tensor(frames)
    with tf.device("CPU:0"):  # where tf.data works
        starts = tf.constant(starts[order])
        labels = None if labels is None else tf.constant(np.asarray(labels)[order])
    n_batches = len(order) // batch_size if drop_remainder else -(-len(order) // batch_size)
    static_size = batch_size if drop_remainder else None

    def batch(number):
        part = slice(number * batch_size, (number + 1) * batch_size)
        x = tf.gather(frames, starts[part][:, None] + tf.range(n_frames, dtype="int64"))
        x = tf.ensure_shape(x, [static_size, n_frames, frames.shape[1]])
        if labels is None:
            return x
        return x, tf.ensure_shape(labels[part], [static_size, *labels.shape[1:]])

    options = tf.data.Options()
    # There are no files to shard: each replica takes its part of every batch.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    # Rewriting the graph would copy the frames into it for every iterator.
    options.experimental_optimization.apply_default_optimizations = False
    dataset = tf.data.Dataset.range(n_batches).map(batch, num_parallel_calls=GATHER_THREADS)
    return dataset.prefetch(PREFETCHED).with_options(options)
