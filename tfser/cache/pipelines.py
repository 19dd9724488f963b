"""tf.data pipelines: functions from arrays to datasets."""

import numpy as np
import tensorflow as tf

from tfser.audio.tf_data import disable_autotuning, unconverted
from tfser.storage import s3

ALIGNED_BYTES = 64  # TensorFlow uses memory without a copy if it starts at a multiple
GATHER_THREADS = 2  # 400,000 segments/s, more than any device trains on
PREFETCHED = 16  # batches; with TensorFlow's choice they fill gigabytes
STREAMED_SHARDS = 16  # of `stream_pieces`, read in turn
RECORD_HEADER_BYTES = 12  # of a TFRecord: the length and the checksum of the length
SHUFFLED = 1024  # pieces of `stream_pieces` in memory, drawn at random


def as_tensor(frames):
    """Return an array [total_frames, bands] as a tensor in the host's memory.

    `tf.convert_to_tensor` would hold two copies for a while, and fill the memory of a GPU. The
    tensor shares the memory of an `aligned_array`: do not write into the array afterwards.
    """
    if tf.is_tensor(frames):
        return frames
    shared = np.ascontiguousarray(frames)
    if shared.ctypes.data % ALIGNED_BYTES or not shared.flags.writeable:
        shared = aligned_array(frames.shape, frames.dtype)
        shared[...] = frames
    return tf.experimental.dlpack.from_dlpack(shared.__dlpack__())


def aligned_array(shape, dtype) -> np.ndarray:
    """Return an uninitialized array that `as_tensor` uses without a copy."""
    n_bytes = int(np.prod(shape, dtype="int64")) * np.dtype(dtype).itemsize
    memory = np.empty(n_bytes + ALIGNED_BYTES, "uint8")
    memory = memory[-memory.ctypes.data % ALIGNED_BYTES :][:n_bytes]
    return memory.view(dtype).reshape(shape)


def index_segments(offsets, *, n_frames, hop_frames):
    """Return the segments of a corpus: (starts [segments], utterance [segments]), both int64.

    offsets: [utterances + 1], the first frame of each utterance. An utterance of f frames has
    floor((f - n_frames) / hop_frames) + 1 segments (EPR §4.1).

    Raises ValueError for an utterance shorter than a segment.
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
    """Return batches of segments: (x [batch, n_frames, bands], y [batch, K]), or x without labels.

    A batch is one gather: segments are never in memory all at once. The order of an epoch depends
    on (seed, epoch) alone; without a seed it is the order of `starts`.

    Args:
        frames: [total_frames, bands]. An array is copied at each call; a tensor (`as_tensor`) not.
        starts: [segments], the first frame of each segment.
        labels: [segments, ...], or None.

    Raises ValueError unless there is a label for each segment.
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
    numbers,
    labels,
    *,
    n_frames,
    batch_size,
    seed=None,
    epoch=0,
    drop_remainder=False,
):
    """Return batches of utterances: (x [batch, n_frames, features], y [batch, K]).

    The order of an epoch depends on (seed, epoch) alone; without a seed it is that of `numbers`.

    Args:
        frames: [total_frames, features].
        offsets: [utterances + 1], the first frame of each utterance.
        numbers: [m], the utterances of the epoch.
        labels: [m, K], or None for batches of x alone.
        n_frames: of each utterance, from the first; frames after its end are NaN. None: an
            utterance is one row, and x [batch, features].
        epoch: number, or a tf.Variable: then one dataset serves all epochs. A dataset per epoch
            takes as long to build as a short epoch to train on.
    """
    offsets = np.asarray(offsets, "int64")
    frames = as_tensor(frames)
    with tf.device("CPU:0"):
        starts, lengths = tf.constant(offsets[numbers]), tf.constant(np.diff(offsets)[numbers])

    def rows(which):
        return tf.gather(frames, tf.gather(starts, which))

    def padded(which):
        number = tf.range(n_frames, dtype="int64")
        inside = number < tf.gather(lengths, which)[:, None]  # [batch, n_frames]
        first = tf.gather(starts, which)[:, None]
        x = tf.gather(frames, tf.where(inside, first + number, 0))
        return tf.where(inside[..., None], x, np.float32(np.nan))

    def order():
        positions = tf.range(len(numbers), dtype="int64")
        if seed is None:
            return positions
        return tf.random.experimental.stateless_shuffle(positions, tf.stack([seed, epoch]))

    return _batches(
        order,
        padded if n_frames else rows,
        (n_frames, frames.shape[1]) if n_frames else (frames.shape[1],),
        labels,
        batch_size=batch_size,
        drop_remainder=drop_remainder,
    )


def stream_pieces(stored, *, n_frames, batch_size, seed, epoch, kept=None):
    """Return an epoch of full batches [batch, n_frames, features] of pieces on the disk.

    For corpora of any size: SHUFFLED pieces are in memory. The epoch has every piece once, and
    some twice to fill the last batch. The order depends on (seed, epoch) and Keras' seed alone.

    Args:
        stored: of `feature_cache.store_features`, with utterances of one or more pieces.
        kept: [n_pieces], true for the pieces of the epoch; None: all.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(stored.paths))
    n_bytes = 4 * n_frames * stored.n_features  # of a piece
    shard_frames = [sum(n_frames_of_utterances) for n_frames_of_utterances in stored.n_frames]
    # After the frames come their checksum and the JSON record; `store_features` has checked both.
    footers = [
        s3.file_size_bytes(path) - RECORD_HEADER_BYTES - 4 * n * stored.n_features
        for path, n in zip(stored.paths, shard_frames, strict=True)
    ]

    counts = np.array(shard_frames) // n_frames  # pieces
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
        pieces = pieces.enumerate(first).filter(is_kept)
        return pieces.map(unconverted(lambda _, piece: piece))

    @unconverted
    def decode(raw):
        return tf.reshape(tf.io.decode_raw(raw, "float32"), [-1, n_frames, stored.n_features])

    shards = np.array(stored.paths)[order], np.array(footers, "int64")[order], firsts[order]
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
    """Return batches of `examples(numbers [batch])` [batch, *shape], in the order `order()` [n]."""
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
    # There are no files to shard: each replica gets its part of every batch.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    # Rewriting the graph would copy the frames into it for every iterator.
    options.experimental_optimization.apply_default_optimizations = False
    dataset = tf.data.Dataset.range(n_batches).map(batch, num_parallel_calls=GATHER_THREADS)
    return disable_autotuning(dataset.prefetch(PREFETCHED).with_options(options))
