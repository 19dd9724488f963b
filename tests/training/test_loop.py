"""Training that can be killed at any point, starts anew without a trace, and knows chance."""

import errno
import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfser.errors import TfserError, UsageError
from tfser.plots import tensorboard
from tfser.storage import atomic_files
from tfser.training import loop

N, BATCH, EPOCHS = 96, 16, 6


@pytest.fixture(scope="module")
def examples():
    """x [N, 4] and soft labels [N, 3] that depend on it."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 4)).astype("float32")
    scores = np.exp(3 * x @ rng.normal(size=(4, 3)))
    return x, (scores / scores.sum(axis=1, keepdims=True)).astype("float32")


def network(seed, dropout=0.4):
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input((4,))
    x = keras.layers.Dropout(dropout)(keras.layers.Dense(8, activation="relu")(x))
    x = keras.layers.BatchNormalization()(x)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))


def compiled(seed, **options):
    return loop.compile_model(
        network(seed, **options), keras.optimizers.Adam(0.5), keras.losses.CategoricalCrossentropy()
    )


@pytest.fixture(scope="module")
def shared_model():
    return compiled(0)


@pytest.fixture
def new(shared_model):
    """Makes the model anew from a seed, by `restart`: a compilation each would take minutes."""

    def make(seed):
        loop.reinitialize(shared_model, network(seed))
        return shared_model

    make.model = shared_model
    return make


@pytest.fixture(autouse=True)
def save_every_epoch(monkeypatch):
    """So short epochs as these would else be saved several at a time."""
    monkeypatch.setattr(loop, "SAVING_SHARE", math.inf)


def dataset(x, y):
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH)


def decayed(epoch):
    """Section 4.1 of EPR's paper, at another rate: times 0.8 every 2 epochs."""
    return 0.02 * 0.8 ** (epoch // 2)


def fit(model, examples, folder, *, report=lambda row: None, learning_rate=decayed, **changes):
    """Fit with the rate of each epoch by a function."""
    x, y = examples

    def batches(epoch):
        model.optimizer.learning_rate = learning_rate(epoch)
        order = np.random.default_rng([1, epoch]).permutation(N)
        return dataset(x[order], y[order])

    options = {
        "max_epochs": EPOCHS,
        "patience": 3,
        "learnt_loss": 0.0,  # never below: no early stop
    }
    return loop.fit(
        model, batches, dataset(x[:40], y[:40]), folder=folder, report=report, **options | changes
    )


def weights(model):
    return [v.numpy() for v in model.variables]


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def uninterrupted(examples, tmp_path_factory):
    """(history, weights, optimizer's variables) of a fit that nothing disturbed."""
    model = compiled(3)
    history = fit(model, examples, tmp_path_factory.mktemp("fit"))
    assert len(history) == EPOCHS
    return history, weights(model), [v.numpy() for v in model.optimizer.variables]


# Chance.


@pytest.mark.parametrize("k", [2, 4, 7])
def test_chance_of_balanced_one_hot_labels(k):
    at_chance, learnt = loop.chance_loss(np.tile(np.eye(k, dtype="float32"), (5, 1)))
    assert at_chance == pytest.approx(math.log(k), abs=1e-7)
    assert learnt == pytest.approx(0.95 * math.log(k), abs=1e-7)


def test_chance_of_unbalanced_labels():
    at_chance, learnt = loop.chance_loss(np.eye(2)[[0, 0, 0, 1]])
    # -(3/4 ln 3/4 + 1/4 ln 1/4)
    assert at_chance == pytest.approx(0.5623351446, abs=1e-9)
    assert learnt == pytest.approx(0.95 * 0.5623351446, abs=1e-9)


def test_chance_of_soft_labels():
    at_chance, learnt = loop.chance_loss(np.array([[0.8, 0.2], [0.2, 0.8]]))
    # The mean is (1/2, 1/2): ln 2 = 0.6931472; each has -(0.8 ln 0.8 + 0.2 ln 0.2) = 0.5004024.
    assert at_chance == pytest.approx(0.6931471806, abs=1e-9)
    assert learnt == pytest.approx(0.6931471806 - 0.05 * (0.6931471806 - 0.5004024235), abs=1e-9)


def test_chance_with_another_share():
    assert loop.chance_loss(np.eye(2), share=0.5)[1] == pytest.approx(0.5 * math.log(2))


# Early stopping, on histories written by hand.


def history(dev_losses, learnt_from=1):
    return [
        {"epoch": i, "dev_loss": loss, "learnt": i >= learnt_from}
        for i, loss in enumerate(dev_losses, start=1)
    ]


@pytest.mark.parametrize(
    "rows, best",
    [
        (history([0.9, 0.5, 0.7]), 1),
        (history([0.9, 0.5, 0.5]), 1),  # of equals the first
        (history([0.1, 0.9, 0.8, 0.85], learnt_from=2), 2),  # chance's dev loss does not count
        (history([0.3, 0.2, 0.4], learnt_from=9), 1),  # never learnt: the best there is
        (history([0.3]), 0),
    ],
)
def test_best_epoch(rows, best):
    assert loop.best_epoch(rows) == best


@pytest.mark.parametrize(
    "rows, done",
    [
        ([], False),
        (history([0.5, 0.6, 0.7]), False),  # two epochs without a better one
        (history([0.5, 0.6, 0.7, 0.5]), True),  # three; an equal one is no better
        (history([0.5, 0.6, 0.7, 0.4]), False),
        (history([0.5, 0.6, 0.4, 0.5, 0.5]), False),
        (history([0.5, 0.6, 0.4, 0.5, 0.5, 0.5]), True),
        (history([0.1] + [0.9] * 8, learnt_from=10), False),  # at chance patience does not count
        (history([0.1] + [0.9] * 8, learnt_from=7), False),
        (history([0.1] + [0.9] * 8, learnt_from=6), True),  # best 6, then 7 8 9
        (history([0.9] * 20, learnt_from=99), True),  # max_epochs ends it all the same
        (history([0.9 - i / 100 for i in range(19)]), False),
        (history([0.9 - i / 100 for i in range(20)]), True),
    ],
)
def test_finished(rows, done):
    assert loop.is_finished(rows, max_epochs=20, patience=3) is done


# Fit.


def test_history_of_a_fit(uninterrupted):
    rows, _, _ = uninterrupted
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    rates = [0.02, 0.02, 0.016, 0.016, 0.0128, 0.0128]  # times 0.8 every 2 epochs
    assert [row["learning_rate"] for row in rows] == pytest.approx(rates, rel=1e-6)
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    assert not any(row["learnt"] for row in rows)


def test_the_optimizer_takes_each_epoch_s_rate(examples, tmp_path, new):
    model, seen = new(3), []
    fit(model, examples, tmp_path, max_epochs=5,
        report=lambda row: seen.append(float(model.optimizer.learning_rate)))  # fmt: skip
    assert seen == pytest.approx([0.02, 0.02, 0.016, 0.016, 0.0128], rel=1e-6)


def test_the_weights_of_the_best_epoch_are_left(examples, tmp_path, new):
    model, by_epoch = new(3), []

    def report(row):
        by_epoch.append(weights(model))

    rows = fit(model, examples, tmp_path, report=report, max_epochs=5,
               learning_rate=lambda epoch: 0.02 if epoch < 3 else 5.0)  # fmt: skip
    best = int(np.argmin([row["dev_loss"] for row in rows]))
    assert best < len(rows) - 1  # else this shows nothing
    assert_same(weights(model), by_epoch[best])
    x, y = examples
    assert model.evaluate(dataset(x[:40], y[:40]), verbose=0)[0] == pytest.approx(
        rows[best]["dev_loss"], rel=1e-6
    )


def test_dev_loss_is_that_of_the_dev_set(examples, tmp_path, new):
    model, (x, y) = new(3), examples
    [row] = fit(model, examples, tmp_path, max_epochs=1)
    p = model.predict(x[:40], verbose=0)
    assert row["dev_loss"] == pytest.approx(-np.mean(np.sum(y[:40] * np.log(p), axis=1)), rel=1e-5)
    assert row["dev_accuracy"] == pytest.approx(np.mean(p.argmax(1) == y[:40].argmax(1)))


def test_learnt_stays_once_it_is_true(examples, tmp_path, new, uninterrupted):
    losses = [row["loss"] for row in uninterrupted[0]]
    between = (losses[1] + losses[2]) / 2
    assert losses[1] > between > losses[2]
    rows = fit(new(3), examples, tmp_path / "a", learnt_loss=between)
    assert [row["learnt"] for row in rows] == [False, False, True, True, True, True]
    # A rate that throws it back above chance does not make it unlearnt.
    rows = fit(new(3), examples, tmp_path / "b", learnt_loss=between,
               learning_rate=lambda epoch: 0.02 if epoch < 4 else 5.0)  # fmt: skip
    assert rows[-1]["loss"] > between and rows[-1]["learnt"]


def test_early_stopping_ends_the_fit(examples, tmp_path, new):
    rows = fit(new(3), examples, tmp_path, max_epochs=50, learnt_loss=9.0, patience=2,
               learning_rate=lambda epoch: 0.02 if epoch < 3 else 5.0)  # fmt: skip
    best = int(np.argmin([row["dev_loss"] for row in rows]))
    assert len(rows) == best + 1 + 2 < 50


@pytest.mark.parametrize("epoch", [1, 3, EPOCHS])
def test_killed_after_an_epoch_and_continued(examples, tmp_path, new, uninterrupted, epoch):
    def kill(row):
        if row["epoch"] == epoch:
            raise Killed

    with pytest.raises(Killed):
        fit(new(3), examples, tmp_path, report=kill)
    # As in another process: other weights, other seeds of dropout, an unused optimizer.
    model, reported = new(99), []
    rows = fit(model, examples, tmp_path, report=lambda row: reported.append(row["epoch"]))
    assert reported == list(range(epoch + 1, EPOCHS + 1))
    expected_rows, expected_weights, expected_optimizer = uninterrupted
    assert rows == expected_rows
    assert_same(weights(model), expected_weights)
    assert_same([v.numpy() for v in model.optimizer.variables], expected_optimizer)


def test_killed_between_best_and_state(examples, tmp_path, new, uninterrupted, monkeypatch):
    write = atomic_files.write_arrays

    def full(path, **arrays):
        if path.name == "state.npz" and len(arrays["history"]) > 600:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, **arrays)

    monkeypatch.setattr(atomic_files, "write_arrays", full)
    with pytest.raises(OSError, match="No space"):
        fit(new(3), examples, tmp_path)
    monkeypatch.undo()
    # This time the optimizer is even unbuilt.
    model, reported = compiled(99), []
    rows = fit(model, examples, tmp_path, report=lambda row: reported.append(row["epoch"]))
    assert 1 < reported[0] < EPOCHS
    assert rows == uninterrupted[0]
    assert_same(weights(model), uninterrupted[1])


@pytest.mark.usefixtures("eager")
def test_dropout_is_on(examples, tmp_path, uninterrupted):
    """Else the tests above would not show that its seeds are kept."""
    rows = fit(compiled(3, dropout=0.0), examples, tmp_path, max_epochs=1)
    assert rows[0]["loss"] != uninterrupted[0][0]["loss"]


def test_a_state_of_another_version_is_not_restored(examples, tmp_path, new, uninterrupted, caplog):
    """As before schedules, when the optimizer's state had its learning rate in an array more."""
    rows = fit(new(3), examples, tmp_path, max_epochs=2)
    state = atomic_files.read_arrays(tmp_path / "state.npz")
    atomic_files.write_arrays(tmp_path / "state.npz", **state, v999=np.float32(0.1))
    model = new(3)
    assert fit(model, examples, tmp_path) == uninterrupted[0] and rows == uninterrupted[0][:2]
    assert_same(weights(model), uninterrupted[1])
    assert "the state is of another version or network; training starts anew" in caplog.text


def test_short_epochs_are_saved_several_at_a_time(examples, tmp_path, new, monkeypatch):
    """And the end is that of a training that was never killed."""
    fit(new(3), examples, tmp_path / "whole")
    whole = weights(new.model)
    monkeypatch.setattr(loop, "SAVING_SHARE", 0.0)  # after the first save never again
    epochs = []

    def report(row):
        epochs.append(row["epoch"])
        if len(epochs) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(new(3), examples, tmp_path / "killed", report=report)
    history = atomic_files.read_arrays(tmp_path / "killed" / "state.npz")["history"]
    assert json.loads(history.tobytes())[-1]["epoch"] == 1
    fit(new(8), examples, tmp_path / "killed", report=lambda row: epochs.append(row["epoch"]))
    assert epochs == [1, 2, 3, 4, 2, 3, 4, 5, 6]
    for a, b in zip(whole, weights(new.model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_minimize_moves_what_it_is_told():
    a, b = keras.Variable(2.0), keras.Variable(3.0)
    optimizer = keras.optimizers.SGD(0.1)
    assert loop.minimize(lambda: a * a * b, [a], optimizer) == 12.0
    assert (float(a), float(b)) == (pytest.approx(2.0 - 0.1 * 12.0), 3.0)


def test_forget(examples, tmp_path, new):
    fit(new(3), examples, tmp_path, max_epochs=1)
    (tmp_path / "history.csv").write_text("kept")
    assert {p.name for p in tmp_path.iterdir()} == {"state.npz", "best.npz", "history.csv"}
    loop.delete_checkpoints(tmp_path)
    loop.delete_checkpoints(tmp_path)  # nothing there: no error
    assert [p.name for p in tmp_path.iterdir()] == ["history.csv"]


def test_a_loss_that_is_not_a_number(examples, tmp_path, new):
    x, y = examples
    broken = y.copy()
    broken[50] = np.nan
    with pytest.raises(TfserError, match="epoch 1 gave loss nan, .* try a lower --set sched") as e:
        fit(new(3), (x, broken), tmp_path)
    assert e.value.exit_code == 1
    assert not list(tmp_path.iterdir())  # nothing that a next call would take up


def test_a_dev_loss_that_is_not_a_number(examples, tmp_path, new):
    x, y = examples
    with pytest.raises(TfserError, match="epoch 1 gave dev_loss nan,"):
        loop.fit(
            new(3), lambda epoch: dataset(x, y), dataset(x, y * np.nan), folder=tmp_path,
            max_epochs=2, patience=1, learnt_loss=0.0,
            report=lambda row: None,
        )  # fmt: skip


# Restart.


def test_restart(examples, tmp_path, new):
    model = new(3)
    fit(model, examples, tmp_path / "before", max_epochs=2)
    optimizer, train_function = model.optimizer, model.train_function
    config, trainable = optimizer.get_config(), [v.path for v in model.trainable_variables]
    fresh = network(7)
    expected = weights(fresh)
    assert any((a != b).any() for a, b in zip(weights(model), expected, strict=True))
    loop.reinitialize(model, fresh)

    assert_same(weights(model), expected)
    assert_same(weights(fresh), expected)
    state = [v for v in optimizer.variables if v is not optimizer._learning_rate]
    assert len(state) == 1 + 2 * len(model.trainable_variables)  # iterations, two of Adam's moments
    assert not any(v.numpy().any() for v in state)
    # Nothing else: same objects, same settings.
    assert model.optimizer is optimizer and model.train_function is train_function
    assert optimizer.get_config() == config
    assert [v.path for v in model.trainable_variables] == trainable


def test_a_restarted_model_trains_like_a_new_one(examples, tmp_path, new):
    model = new(3)
    fit(model, examples, tmp_path / "before", max_epochs=2)
    loop.reinitialize(model, network(7))
    again = fit(model, examples, tmp_path / "again", max_epochs=3)
    other = compiled(7)
    assert again == fit(other, examples, tmp_path / "new", max_epochs=3)
    assert_same(weights(model), weights(other))


def test_the_fresh_model_does_not_follow(examples, tmp_path, shared_model):
    model, fresh = shared_model, network(7)
    expected = weights(fresh)
    loop.reinitialize(model, fresh)
    fit(model, examples, tmp_path, max_epochs=1)
    assert_same(weights(fresh), expected)


def test_restart_of_another_architecture_is_refused(shared_model):
    x = keras.Input((4,))
    with pytest.raises(ValueError):
        loop.reinitialize(shared_model, keras.Model(x, keras.layers.Dense(3)(x)))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_restart_in_half_precision(examples, tmp_path, policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = compiled(3, dropout=0.0)
        loop.reinitialize(model, network(7, dropout=0.0))
        rows = fit(model, examples, tmp_path)
    finally:
        keras.config.set_dtype_policy("float32")
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]


def test_several_networks_are_traced_once(examples, tmp_path):
    """Also where they have other numbers of examples, other labels and an odd rest in dev."""
    calls = []

    @keras.saving.register_keras_serializable(package="test_training")
    class Counted(keras.layers.Layer):
        def call(self, x):
            calls.append(1)  # Python runs when a graph is traced, not when it is executed
            return x

    def counted(seed):
        keras.utils.set_random_seed(seed)
        x = keras.Input((4,))
        return keras.Model(x, keras.layers.Dense(3, activation="softmax")(Counted()(x)))

    x, y = examples
    model = loop.compile_model(
        counted(0), keras.optimizers.Adam(), keras.losses.CategoricalCrossentropy()
    )
    traced = []
    for i, n in enumerate((96, 64, 83)):
        fresh = counted(i)
        loop.reinitialize(model, fresh)
        before = len(calls)
        loop.fit(
            model, lambda epoch, n=n: dataset(x[:n], y[:n]), dataset(x[: 40 + i], y[: 40 + i]),
            folder=tmp_path / str(i), max_epochs=3, patience=3,
            learnt_loss=0.0, report=lambda row: None,
        )  # fmt: skip
        model.predict(dataset(x, y).map(lambda x, y: x), verbose=0)
        traced.append(len(calls) - before)
    assert traced[0] >= 3 and traced[1:] == [0, 0]  # train, dev and predict, once


# Devices and logs.


def test_strategies_of_one_device():
    if tf.config.list_logical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    for name in ("auto", "none"):
        assert loop.select_strategy(name) is tf.distribute.get_strategy()
        assert loop.select_strategy(name).num_replicas_in_sync == 1
    with pytest.raises(UsageError, match="needs two devices or more"):
        loop.select_strategy("mirrored")


def test_events(tmp_path):
    pixels = np.zeros((2, 3, 3), "uint8")
    pixels[0, 1] = [255, 128, 0]
    with tensorboard.open_event_writer(tmp_path) as write:
        write(1, {"loss": 0.5})
        write(2, {"loss": 0.25}, {"picture": tf.io.encode_png(pixels).numpy()})
    [path] = tmp_path.iterdir()
    found = {}
    for record in tf.data.TFRecordDataset(str(path)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            found[event.step, value.tag] = tf.make_ndarray(value.tensor)
    assert found.keys() == {(1, "loss"), (2, "loss"), (2, "picture")}
    assert (found[1, "loss"], found[2, "loss"]) == (0.5, 0.25)
    width, height, png = found[2, "picture"]
    assert (int(width), int(height)) == (3, 2)
    np.testing.assert_array_equal(tf.io.decode_png(png), pixels)
