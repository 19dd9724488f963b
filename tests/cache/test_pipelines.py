"""Segments and utterances: which there are, in which order, and what they hold."""

import forked
import numpy as np
import pytest
import tensorflow as tf

from tfser.cache import pipelines


@pytest.fixture
def corpus():
    """Frames that say where they are, of three utterances; segments of 32 with a hop of 10."""
    offsets = np.array([0, 32, 100, 150])
    frames = np.arange(150, dtype="float32")[:, None] + [0.0, 0.25]  # [150, 2]
    starts, utterance = pipelines.index_segments(offsets, n_frames=32, hop_frames=10)
    labels = np.eye(3, dtype="float32")[utterance]
    return frames.astype("float32"), starts, labels


def test_segment_index_by_hand():
    starts, utterance = pipelines.index_segments([0, 32, 100, 150], n_frames=32, hop_frames=10)
    assert starts.tolist() == [0, 32, 42, 52, 62, 100, 110]
    assert utterance.tolist() == [0, 1, 1, 1, 1, 2, 2]
    assert starts.dtype == utterance.dtype == np.int64


@pytest.mark.parametrize("hop", [1, 3, 32, 1000])
def test_number_of_segments(hop):
    lengths = np.random.default_rng(0).integers(32, 500, 50)
    offsets = np.cumsum([0, *lengths])
    starts, utterance = pipelines.index_segments(offsets, n_frames=32, hop_frames=hop)
    counts = np.bincount(utterance, minlength=50)
    np.testing.assert_array_equal(counts, np.floor((lengths - 32) / hop) + 1)
    assert (starts >= offsets[utterance]).all() and (starts + 32 <= offsets[utterance + 1]).all()


def test_the_counts_of_the_paper():
    # EPR §4.1, papers' corpora as means: 131,053 segments of 535 utterances are 277 frames each.
    offsets = np.arange(536) * 276
    assert len(pipelines.index_segments(offsets, n_frames=32, hop_frames=1)[0]) == 535 * 245


def test_utterances_shorter_than_a_segment():
    with pytest.raises(ValueError, match="utterance 1 has 31 frames, a segment 32"):
        pipelines.index_segments([0, 40, 71], n_frames=32, hop_frames=1)
    with pytest.raises(ValueError, match="utterance 0 has 0 frames"):
        pipelines.index_segments([0, 0], n_frames=32, hop_frames=1)


def test_no_utterances():
    starts, utterance = pipelines.index_segments([0], n_frames=32, hop_frames=1)
    assert len(starts) == len(utterance) == 0
    assert not list(
        pipelines.segment_batches(
            np.zeros((0, 2), "float32"), starts, None, n_frames=32, batch_size=4
        )
    )


def test_batches_in_order(corpus):
    frames, starts, labels = corpus
    batches = list(pipelines.segment_batches(frames, starts, labels, n_frames=32, batch_size=3))
    assert [x.shape.as_list() for x, _ in batches] == [[3, 32, 2], [3, 32, 2], [1, 32, 2]]
    x = np.concatenate([x for x, _ in batches])
    np.testing.assert_array_equal(x[:, :, 0], starts[:, None] + np.arange(32))
    np.testing.assert_array_equal(x[:, :, 1], x[:, :, 0] + 0.25)
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), labels)


@pytest.mark.parametrize("as_tensor", [False, True])
def test_every_segment_once_with_its_label(corpus, as_tensor):
    frames, starts, labels = corpus
    given = tf.constant(frames) if as_tensor else frames
    for epoch in range(3):
        dataset = pipelines.segment_batches(
            given, starts, labels, n_frames=32, batch_size=2, seed=1, epoch=epoch
        )
        x, y = (np.concatenate(part) for part in zip(*dataset, strict=True))
        where = [starts.tolist().index(start) for start in x[:, 0, 0]]
        assert sorted(where) == list(range(len(starts)))
        np.testing.assert_array_equal(x[:, :, 0], starts[where][:, None] + np.arange(32))
        np.testing.assert_array_equal(y, labels[where])


def order(seed, epoch, batch_size=16):
    starts = np.arange(500)
    frames = np.arange(532, dtype="float32")[:, None]
    dataset = pipelines.segment_batches(
        frames, starts, None, n_frames=32, batch_size=batch_size, seed=seed, epoch=epoch
    )
    return np.concatenate(list(dataset))[:, 0, 0].astype(int)


def test_order_depends_on_seed_and_epoch_alone():
    first = order(seed=0, epoch=1)
    np.random.default_rng().random(3)
    np.testing.assert_array_equal(order(seed=0, epoch=1), first)
    np.testing.assert_array_equal(order(seed=0, epoch=1, batch_size=7), first)
    np.testing.assert_array_equal(first, np.random.default_rng([0, 1]).permutation(500))
    for seed, epoch in [(0, 0), (0, 2), (1, 1), (1, 0)]:
        assert (order(seed, epoch) != first).any()
    assert (np.diff(first) != 1).sum() > 400


def test_iterated_twice_is_the_same_epoch():
    dataset = pipelines.segment_batches(
        np.arange(100.0)[:, None], np.arange(60), None, n_frames=8, batch_size=9, seed=3, epoch=4
    )
    for first, second in zip(dataset, dataset, strict=True):
        np.testing.assert_array_equal(first, second)


def test_without_labels_or_remainder(corpus):
    frames, starts, labels = corpus
    dataset = pipelines.segment_batches(
        frames, starts, None, n_frames=32, batch_size=3, drop_remainder=True
    )
    assert dataset.element_spec.shape.as_list() == [3, 32, 2]
    assert [x.shape[0] for x in dataset] == [3, 3]
    assert len(dataset) == 2
    both = pipelines.segment_batches(frames, starts, labels, n_frames=32, batch_size=3)
    assert both.element_spec[0].shape.as_list() == [None, 32, 2]
    assert both.element_spec[1].shape.as_list() == [None, 3]
    assert len(both) == 3


def test_utterances_are_cut_or_filled_up(corpus):
    frames = corpus[0]
    offsets = [0, 32, 100, 150]
    labels = np.eye(3, dtype="float32")[[2, 0]]
    [(x, y)] = pipelines.utterance_batches(
        frames, offsets, [2, 0], labels, n_frames=40, batch_size=4
    )
    assert x.shape == (2, 40, 2)
    np.testing.assert_array_equal(x[0], frames[100:140])
    np.testing.assert_array_equal(x[1, :32], frames[:32])
    assert np.isnan(x[1, 32:]).all()
    np.testing.assert_array_equal(y, labels)


def test_utterances_of_one_row(corpus):
    frames = corpus[0]
    batches = pipelines.utterance_batches(
        frames, np.arange(151), [7, 3, 9], None, n_frames=None, batch_size=2, drop_remainder=True
    )
    [x] = batches
    assert x.shape == (2, 2)
    np.testing.assert_array_equal(x, frames[[7, 3]])


def test_the_order_of_utterances_depends_on_seed_and_epoch(corpus):
    def order(seed, epoch):
        y = np.arange(150, dtype="float32")[:, None]
        batches = pipelines.utterance_batches(
            corpus[0], np.arange(151), np.arange(150), y, n_frames=None, batch_size=32,
            seed=seed, epoch=epoch,
        )  # fmt: skip
        x, y = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        np.testing.assert_array_equal(x[:, 0], y[:, 0])  # each with its own label
        return y[:, 0].tolist()

    assert order(1, 0) == order(1, 0) != order(1, 1) != order(2, 1)
    assert sorted(order(1, 0)) == list(range(150))


def test_no_thread_tunes_the_pipeline(corpus):
    frames, starts, labels = corpus
    segments = pipelines.segment_batches(frames, starts, labels, n_frames=32, batch_size=4)
    assert segments.options().autotune.enabled is False
    # Options of theirs stay: a step sees whole batches on every replica.
    policy = segments.options().experimental_distribute.auto_shard_policy
    assert policy == tf.data.experimental.AutoShardPolicy.OFF


def test_an_aligned_array_is_taken_over():
    array = pipelines.aligned_array((1000, 3), "float32")
    assert array.shape == (1000, 3) and array.dtype == np.float32
    array[...] = 1
    tensor = pipelines.as_tensor(array)
    array[5, 2] = 7  # never do this: it shows that nothing was copied
    assert tensor[5, 2] == 7
    assert pipelines.as_tensor(tensor) is tensor


def test_labels_must_be_of_the_segments(corpus):
    frames, starts, labels = corpus
    with pytest.raises(ValueError, match="6 labels for 7 segments"):
        pipelines.segment_batches(frames, starts, labels[:-1], n_frames=32, batch_size=3)


REPLICAS = """
import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from tfser.cache import pipelines
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
frames = np.arange(1000, dtype="float32")[:, None] + np.zeros(4, "float32")
starts = np.arange(101)
options = {"n_frames": 32, "batch_size": 8, "seed": 0}
dataset = pipelines.segment_batches(frames, starts, starts[:, None], **options)
seen, sizes = [], []
for x, y in strategy.experimental_distribute_dataset(dataset):
    for part, label in zip(strategy.experimental_local_results(x),
                           strategy.experimental_local_results(y)):
        assert part.shape[0] == 0 or (part[:, 0, 0].numpy() == label[:, 0].numpy()).all()
        seen += label[:, 0].numpy().tolist()
    sizes.append([len(p) for p in strategy.experimental_local_results(x)])
assert sizes[:-1] == [[4, 4]] * 12 and sum(sizes[-1]) == 5, sizes
assert sorted(seen) == list(range(101)), seen

with strategy.scope():
    model = keras.Sequential([keras.Input([32, 4]), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
history = model.fit(dataset, epochs=1, verbose=0)
segments = pipelines.segment_batches(frames, starts, None, n_frames=32, batch_size=8)
predicted = model.predict(segments, verbose=0)
print(predicted.shape)
"""


def test_on_two_replicas():
    done = forked.end(forked.Process(["-c", REPLICAS]))
    assert done.code == 0 and done.out.splitlines()[-1] == "(101, 1)", done.err[-3000:]


# Segments never exist all at once: 100,000 of these would be 2.3 GB. Peak memory is of a process.
MEMORY = """
import resource, numpy as np, tensorflow as tf
from tfser.cache import pipelines
frames = np.ones((250_000, 180), "float32")  # 180 MB
starts = np.arange(0, 240_000, 2)
dataset = pipelines.segment_batches(frames, starts, None, n_frames=32, batch_size=128, seed=0)
few = pipelines.segment_batches(frames[:1000], starts[:200], None, n_frames=32, batch_size=128)
next(iter(few))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
n = sum(int(x.shape[0]) for x in dataset)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(n, (after - before) // 1024)
"""


def test_memory_stays_that_of_the_frames():
    done = forked.end(forked.Process(["-c", MEMORY]))
    assert done.code == 0, done.err[-3000:]
    n_segments, grown_mb = map(int, done.out.split())
    assert n_segments == 120_000 and grown_mb < 250
