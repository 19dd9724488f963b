"""tf.data pipelines: functions from arrays to datasets."""

import numpy as np
import tensorflow as tf

from tfser.audio.tf_data import disable_autotuning, unconverted
from tfser.storage import s3

ALIGNED_BYTES = 64  # TensorFlow takes over memory that starts at a multiple of it
GATHER_THREADS = 2  # 400,000 segments/s, more than any device trains on
PREFETCHED = 16  # batches; left to TensorFlow they fill gigabytes
STREAMED_SHARDS = 16  # of `stream`, read in turn
RECORD_HEADER_BYTES = 12  # of a TFRecord: length and its checksum
SHUFFLED = 1024  # pieces of `stream` in memory, drawn from at random


def as_tensor(frames):
    """Returns an array [total_frames, bands] as a tensor in the host's memory.

    `tf.convert_to_tensor` holds two copies for a while, and on a GPU machine it would fill the
    GPU. An array of `aligned` is not copied at all: do not write into it afterwards.
    """
    if tf.is_tensor(frames):
        return frames
    shared = np.ascontiguousarray(frames)
    if shared.ctypes.data % ALIGNED_BYTES or not shared.flags.writeable:
        shared = aligned_array(frames.shape, frames.dtype)
        shared[...] = frames
    return tf.experimental.dlpack.from_dlpack(shared.__dlpack__())


def aligned_array(shape, dtype) -> np.ndarray:
    """An array for anything, where `as_tensor` takes it over without a copy."""
    n_bytes = int(np.prod(shape, dtype="int64")) * np.dtype(dtype).itemsize
    memory = np.empty(n_bytes + ALIGNED_BYTES, "uint8")
    memory = memory[-memory.ctypes.data % ALIGNED_BYTES :][:n_bytes]
    return memory.view(dtype).reshape(shape)


def index_segments(offsets, *, n_frames, hop_frames):
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


def segment_batches(
    frames, starts, labels, *, n_frames, batch_size, seed=None, epoch=0, drop_remainder=False
):
    """Batches of segments: (x [batch, n_frames, bands], y [batch, K]), or x where labels is None.

    `frames` [total_frames, bands] stays as it is: a batch is one gather, and segments never
    exist all at once. For many epochs give it as a tensor (`as_tensor`), since an array is copied
    at each call. `labels` [segments, ...] follow `starts` [segments]. With a seed the segments
    are shuffled, in an order that depends on (seed, epoch) and nothing else; without, they keep
    theirs.
    """
    if labels is not None and len(labels) != len(starts):
        raise ValueError(f"{len(labels)} labels for {len(starts)} segments")
    frames = as_tensor(frames)
    order = np.arange(len(starts))
    if seed is not None:
        order = np.random.default_rng([seed, epoch]).permutation(len(starts))
    with tf.device("CPU:0"):  # where tf.data works
        starts, order = tf.constant(np.asarray(starts, "int64")), tf.constant(order)

    def examples(which):
        first = tf.gather(starts, which)[:, None]
        return tf.gather(frames, first + tf.range(n_frames, dtype="int64"))

    return _batches(
        lambda: order,
        examples,
        (n_frames, frames.shape[1]),
        labels,
        batch_size=batch_size,
        drop_remainder=drop_remainder,
    )


def utterance_batches(
    frames,
    offsets,
    chosen,
    labels,
    *,
    n_frames,
    batch_size,
    seed=None,
    epoch=0,
    drop_remainder=False,
):
    """Batches of utterances: (x [batch, n_frames, features], y [batch, K]), or x without labels.

    Of each utterance its first `n_frames`, NaN after its end; where n_frames is None an utterance
    is one row, and x [batch, features]. `chosen` [m] are the numbers of the utterances, `offsets`
    [utterances + 1] says where each begins in `frames`, and `labels` [m, K] follow `chosen`. With
    a seed the utterances are shuffled, in an order that depends on (seed, epoch) alone; `epoch`
    may be a tf.Variable, and one dataset then serves all epochs: short ones would take as long to
    build as to train on.
    """
    offsets = np.asarray(offsets, "int64")
    frames = as_tensor(frames)
    with tf.device("CPU:0"):
        starts, lengths = tf.constant(offsets[chosen]), tf.constant(np.diff(offsets)[chosen])

    def rows(which):
        return tf.gather(frames, tf.gather(starts, which))

    def padded(which):
        number = tf.range(n_frames, dtype="int64")
        inside = number < tf.gather(lengths, which)[:, None]  # [batch, n_frames]
        first = tf.gather(starts, which)[:, None]
        x = tf.gather(frames, tf.where(inside, first + number, 0))
        return tf.where(inside[..., None], x, np.float32(np.nan))

    def order():
        numbers = tf.range(len(chosen), dtype="int64")
        if seed is None:
            return numbers
        return tf.random.experimental.stateless_shuffle(numbers, tf.stack([seed, epoch]))

    return _batches(
        order,
        padded if n_frames else rows,
        (n_frames, frames.shape[1]) if n_frames else (frames.shape[1],),
        labels,
        batch_size=batch_size,
        drop_remainder=drop_remainder,
    )


def stream_pieces(stored, *, n_frames, batch_size, seed, epoch, kept=None):
    """An epoch of full batches [batch, n_frames, features] of pieces that stay on the disk.

    For corpora of any size: SHUFFLED pieces are in memory. Every piece comes once, and some twice
    where the last batch needs them. The order depends on (seed, epoch) and on Keras' seed alone.
    `stored` is of `feature_cache.store_features`, with utterances of one piece or several; `kept`
    [n_pieces] says which of them take part, all without it.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(stored.paths))
    n_bytes = 4 * n_frames * stored.n_features  # of a piece
    contents = [4 * sum(of_shard) * stored.n_features for of_shard in stored.n_frames]
    # Behind the frames stand their checksum and another record; `stored` has looked at both.
    behind = [
        s3.file_size_bytes(path) - RECORD_HEADER_BYTES - content
        for path, content in zip(stored.paths, contents, strict=True)
    ]

    counts = np.array([sum(of_shard) for of_shard in stored.n_frames]) // n_frames  # pieces
    firsts = np.cumsum(counts) - counts
    if kept is not None:
        with tf.device("CPU:0"):
            kept = tf.constant(kept)

    @unconverted
    def read(path, footer_bytes, first):
        pieces = tf.data.FixedLengthRecordDataset(path, n_bytes, RECORD_HEADER_BYTES, footer_bytes)
        if kept is None:
            return pieces
        is_kept = unconverted(lambda number, _: tf.gather(kept, number))
        chosen = pieces.enumerate(first).filter(is_kept)
        return chosen.map(unconverted(lambda _, piece: piece))

    @unconverted
    def decode(raw):
        return tf.reshape(tf.io.decode_raw(raw, "float32"), [-1, n_frames, stored.n_features])

    shards = np.array(stored.paths)[order], np.array(behind, "int64")[order], firsts[order]
    n_pieces = sum(counts) if kept is None else np.count_nonzero(kept)
    n_batches = -(-n_pieces // batch_size)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return disable_autotuning(
        tf.data.Dataset.from_tensor_slices(shards)
        .interleave(read, cycle_length=STREAMED_SHARDS)
        .shuffle(SHUFFLED, seed=int(rng.integers(2**31)), reshuffle_each_iteration=False)
        .repeat()
        .batch(batch_size, drop_remainder=True)
        .take(n_batches)
        .map(decode)
        .prefetch(2)
        .with_options(options)
    )


def _batches(order, examples, shape, labels, *, batch_size, drop_remainder):
    """Batches of `examples(numbers [batch])` [batch, *shape], in the order [n] of `order()`."""
    n = order().shape[0]
    with tf.device("CPU:0"):
        labels = None if labels is None else tf.constant(labels)
    n_batches = n // batch_size if drop_remainder else -(-n // batch_size)
    static_size = batch_size if drop_remainder else None

    @unconverted
    def batch(number):
        which = order()[number * batch_size : (number + 1) * batch_size]
        x = tf.ensure_shape(examples(which), [static_size, *shape])
        if labels is None:
            return x
        y = tf.gather(labels, which)
        return x, tf.ensure_shape(y, [static_size, *labels.shape[1:]])

    options = tf.data.Options()
    # There are no files to shard: each replica takes its part of every batch.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    # Rewriting the graph would copy the frames into it for every iterator.
    options.experimental_optimization.apply_default_optimizations = False
    dataset = tf.data.Dataset.range(n_batches).map(batch, num_parallel_calls=GATHER_THREADS)
    return disable_autotuning(dataset.prefetch(PREFETCHED).with_options(options))
