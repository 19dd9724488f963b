"""ACNN: attention, views, auDeep's spectrograms and autoencoder, and a whole run."""

import csv
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import scipy.signal
import tensorflow as tf

from tfser.audio import decode as audio
from tfser.cache import feature_cache, pipelines
from tfser.cli.train import main
from tfser.config.hparams import hparams_folder, load_hparams
from tfser.corpora import toy
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError, UsageError
from tfser.features.audeep import Spectrogram
from tfser.models.acnn import autoencoder, figures, network, pretraining
from tfser.models.acnn import dataset as corpus_of
from tfser.models.acnn import experiment as acnn
from tfser.plots import tsne
from tfser.storage import atomic_files, run_directory
from tfser.training import loop, mixed_precision
from tfser.training import pretraining as training_pretraining

AUDEEP = {
    "sample_rate_hz": 16000, "window_seconds": 0.08, "hop_seconds": 0.04, "n_bands": 128,
    "pre_emphasis": 0.95, "floor_db": -60.0, "seconds": 7.5,
}  # fmt: skip
EMOTIONS = ("anger", "neutral", "sadness")


# auDeep's view of speech.


def by_audeep(x, fs=16000, width=0.08, overlap=0.04, n=128, floor=-60.0, seconds=7.5):
    """auDeep's formulas, step by step, in float64."""
    x = np.pad(x[: int(fs * seconds)].astype("float64"), (0, max(0, int(fs * seconds) - len(x))))
    x = np.append(x[0], x[1:] - 0.95 * x[:-1])
    window = int(fs * width)
    _, _, magnitude = scipy.signal.spectrogram(
        x, fs, window=scipy.signal.get_window("hann", window), nperseg=window,
        noverlap=int(fs * overlap), mode="magnitude",
    )  # fmt: skip
    edges_hz = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + fs / 2 / 700), n + 2) / 2595) - 1)
    edges = np.floor((window + 1) * edges_hz / fs).astype(int)
    bank = np.zeros((n, window // 2 + 1))
    for m, (left, centre, right) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        for k in range(left, centre):
            bank[m, k] = (k - left) / (centre - left)
        for k in range(centre, right):
            bank[m, k] = (right - k) / (right - centre)
    power = (bank @ (magnitude**2 / window)).T
    power[power == 0] = power[power > 0].min()
    db = 10 * np.log10(power / power.max())
    db[db < floor] = floor
    db -= db.mean()
    return 2 * (db - db.min()) / (db.max() - db.min()) - 1


def test_spectrograms_are_audeep_s_on_real_speech(shared_data):
    layer = Spectrogram(**AUDEEP)
    files = sorted(shared_data.glob("LibriSpeech/*/*/*/*.flac"))[::120]
    files += sorted(shared_data.glob("emodb/wav/*.wav"))[::250]
    for file in files:
        waveform = audio.load_audio(file)
        expected = by_audeep(waveform)
        assert expected.shape == (186, 128)
        [extracted] = layer.extract([waveform])
        np.testing.assert_allclose(extracted, expected, atol=2e-5)
        np.testing.assert_allclose(layer(waveform[None])[0], expected, atol=2e-5)


@pytest.mark.parametrize(
    "n_samples", [400, 640, 1279, 1280, 1281, 16000, 119_999, 120_000, 130_000]
)
def test_spectrograms_of_any_length(n_samples):
    waveform = np.random.default_rng(n_samples).normal(0, 0.1, n_samples).astype("float32")
    layer, expected = Spectrogram(**AUDEEP), by_audeep(waveform)
    [extracted] = layer.extract([waveform])
    np.testing.assert_allclose(extracted, expected, atol=2e-5)
    np.testing.assert_allclose(layer(waveform[None])[0], expected, atol=2e-5)
    # Zeros at the end are what is added anyway: clips may be batched.
    longer = np.pad(waveform, (0, 5000))[None]
    np.testing.assert_allclose(layer(longer)[0], layer(waveform[None])[0], atol=1e-6)


def test_silence_is_as_low_as_padding():
    layer, silence = Spectrogram(**AUDEEP), np.zeros(16000, "float32")
    assert (layer.extract([silence])[0] == -1).all()
    both = layer(np.stack([silence, np.ones_like(silence)])).numpy()
    assert (both[0] == -1).all() and np.isfinite(both).all()


def test_the_bands_of_audeep():
    bands = Spectrogram(**AUDEEP).bands
    assert bands.shape == (641, 128)
    assert ((bands > 0).sum(axis=0)[:5] == 1).all() and (bands.max(axis=0) == 1).all()


def test_a_spectrogram_layer_comes_back_from_its_config():
    layer = Spectrogram(**AUDEEP)
    assert Spectrogram.from_config(layer.get_config()).settings() == layer.settings()
    assert layer.compute_output_shape((3, None)) == (3, 186, 128)
    with pytest.raises(UsageError, match="must rise"):
        Spectrogram(**AUDEEP | {"seconds": 0.05})


# openSMILE's bands.

BY_OPENSMILE = """
import sys
import numpy as np, opensmile
smile = opensmile.Smile(feature_set=sys.argv[1], feature_level="lld")
clips = np.load(sys.argv[2])
found = {name: smile.process_signal(clip, 16000).to_numpy() for name, clip in clips.items()}
np.savez(sys.argv[3], **found)
"""


def test_the_bands_are_opensmile_s(tmp_path, shared_data):
    """In a process of its own: openSMILE and TensorFlow cannot share one."""
    conf = Path(hparams_folder()).parent / "zoo" / "acnn" / "logmel.conf"
    files = sorted(shared_data.glob("emodb/wav/*.wav"))[::200]
    files += sorted(shared_data.glob("LibriSpeech/*/*/*/*.flac"))[::150]
    # openSMILE works on 16 bits, in which a sample of 1.0 would wrap to -1.0.
    clips = {
        file.stem: (
            np.clip(np.round(audio.load_audio(file) * 32768), -32768, 32767) / 32768
        ).astype("f4")
        for file in files
    }
    np.savez(tmp_path / "clips.npz", **clips)
    paths = [conf, tmp_path / "clips.npz", tmp_path / "found.npz"]
    subprocess.run([sys.executable, "-c", BY_OPENSMILE, *map(str, paths)], check=True)
    layer, _ = corpus_of.make_input_layer(load_hparams("acnn", "iemocap"))
    for name, expected in np.load(tmp_path / "found.npz").items():
        [found] = layer.extract([clips[name]])
        assert found.shape == expected.shape and found.shape[1] == 26
        np.testing.assert_allclose(found, expected, atol=1e-3)
        np.testing.assert_allclose(layer(clips[name][None])[0], expected, atol=1e-3)


# The recurrent autoencoder.


def twins(n, units):
    """Our GRU and Keras', with the same weights."""
    rng = np.random.default_rng(0)
    ours = autoencoder.GRU(units)
    ours(np.zeros((1, 2, n), "float32"), np.zeros((1, units), "float32"))
    gates, candidate, gates_bias, candidate_bias = (
        rng.normal(0, 0.5, w.shape).astype("float32") for w in ours.weights
    )
    ours.set_weights([gates, candidate, gates_bias, candidate_bias])
    keras_s = keras.layers.GRU(units, reset_after=False, return_sequences=True, return_state=True)
    keras_s(np.zeros((1, 2, n), "float32"))
    keras_s.set_weights([
        np.concatenate([gates[:n], candidate[:n]], axis=1),
        np.concatenate([gates[n:], candidate[n:]], axis=1),
        np.concatenate([gates_bias, candidate_bias]),
    ])  # fmt: skip
    return ours, keras_s


def test_the_gru_is_tensorflow_1_s():
    """Values and gradients of keras.layers.GRU(reset_after=False), and the biases of old."""
    ours, keras_s = twins(6, 4)
    rng = np.random.default_rng(1)
    x, first = (tf.constant(rng.normal(0, 1, s), "float32") for s in ((5, 17, 6), (5, 4)))

    def results(layer, *states, **more):
        with tf.GradientTape() as tape:
            tape.watch([x, first])
            outputs, last = layer(x, *states, **more)
            loss = tf.reduce_sum(tf.sin(outputs)) + tf.reduce_sum(3 * tf.cos(last))
        return outputs, last, tape.gradient(loss, [x, first, *(w.value for w in layer.weights)])

    outputs, last, (by_x, by_first, by_gates, by_candidate, *by_biases) = results(ours, first)
    expected, expected_last, gradients = results(keras_s, initial_state=first)
    np.testing.assert_allclose(outputs, expected, atol=1e-6)
    np.testing.assert_allclose(last, expected_last, atol=1e-6)
    np.testing.assert_allclose(by_x, gradients[0], atol=1e-5)
    np.testing.assert_allclose(by_first, gradients[1], atol=1e-5)
    np.testing.assert_allclose(
        np.concatenate([by_gates, by_candidate], axis=1), np.concatenate(gradients[2:4]), atol=1e-4
    )
    np.testing.assert_allclose(np.concatenate(by_biases), gradients[4], atol=1e-4)
    fresh = autoencoder.GRU(4)
    fresh.build((None, 17, 6), (None, 4))
    assert [float(w.numpy().mean()) for w in fresh.weights[2:]] == [1.0, 0.0]


def the_paper_s(**changes):
    settings = {
        "n_layers": 2, "units": 256, "bidirectional_encoder": False,
        "bidirectional_decoder": True, "dropout": 0.2,
    }  # fmt: skip
    return autoencoder.SequenceAutoencoder(**settings | changes)


def test_the_sizes_of_audeep():
    model = the_paper_s()
    encode, decode = model.get_layer("encoder"), model.get_layer("decoder")
    assert encode.output_shape == (None, 1024)
    dense = encode.get_layer("representation").count_params()
    assert (encode.count_params() - dense, dense) == (689_664, 525_312)
    out = decode.get_layer("reconstruction").count_params()
    assert (decode.count_params() - out, out) == (1_379_328, 65_664)


@pytest.mark.parametrize(
    ("encoder", "decoder", "n"),
    [(False, False, 6), (True, False, 6), (False, True, 12), (True, True, 12)],
)
def test_all_combinations_of_directions(encoder, decoder, n):
    sizes = {"n_layers": 2, "units": 3, "dropout": 0.0}
    model = autoencoder.SequenceAutoencoder(
        7, 5, bidirectional_encoder=encoder, bidirectional_decoder=decoder, **sizes
    )
    x = np.random.default_rng(0).uniform(-1, 1, (2, 7, 5)).astype("float32")
    assert model.get_layer("encoder")(x).shape == (2, n)
    before = model(x).numpy()
    assert before.shape == x.shape
    # What is heard last is said first. Running forwards, a frame knows of the frames before it
    # through the decoder's input and of all through the representation.
    decode = model.get_layer("decoder")
    representation, target = np.zeros((2, n), "float32"), x[:, ::-1].copy()
    clean = decode([representation, target]).numpy()
    target[:, 3] += 1
    moved = np.abs(decode([representation, target]).numpy() - clean).max(axis=(0, 2)) > 1e-7
    assert moved.tolist() == [decoder] * 4 + [True] * 3


def test_dropout_is_at_the_input_and_output_of_every_gru_and_new_at_each_step():
    for model, n_grus in ((the_paper_s(units=3).get_layer("encoder"), 2),
                          (the_paper_s(units=3).get_layer("decoder"), 4)):  # fmt: skip
        dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
        # What leaves the encoder's last GRU as a sequence is not used.
        assert len(dropouts) == 2 * n_grus - (model.name == "encoder")
        assert {(layer.rate, layer.noise_shape) for layer in dropouts} == {(0.2, None)}
        for gru in (layer for layer in model.layers if isinstance(layer, autoencoder.GRU)):
            [inbound] = gru._inbound_nodes
            source = inbound.input_tensors[0]._keras_history.operation
            assert isinstance(source, keras.layers.Dropout)
    x = np.ones((1, 186, 128), "float32")
    encode = the_paper_s(units=3).get_layer("encoder")
    assert (encode(x).numpy() == encode(x).numpy()).all()
    assert not (encode(x, training=True).numpy() == encode(x, training=True).numpy()).all()


def test_rmse_by_hand():
    target = np.array([[[3.0], [0.0]], [[1.0], [1.0]]], "float32")
    said = tf.Variable([[[0.0], [4.0]], [[1.0], [1.0]]])
    with tf.GradientTape() as tape:
        loss = autoencoder.rmse(target, said)
        mean = tf.reduce_mean(loss)
    np.testing.assert_allclose(loss, [2.5, 2.5])  # sqrt(25 / 4), for each of the batch
    # d sqrt(mean e^2) / d y = e / (n rmse)
    np.testing.assert_allclose(tape.gradient(mean, said), (said - target) / (4 * 2.5), rtol=1e-6)
    np.testing.assert_array_equal(autoencoder.rmse(target, target), [0, 0])


# The attentive network.


def test_attention_by_hand():
    layer = network.AttentionPooling()
    layer.build((None, 3, 2))
    layer.w.assign([[1.0], [0.0]])
    x = np.array([[[0.0, 1.0], [np.log(2), 5.0], [np.log(5), 1.0]]], "float32")
    pooled, alpha = layer(x)
    np.testing.assert_allclose(alpha, [[1 / 8, 2 / 8, 5 / 8]], rtol=1e-6)
    expected = [[0.25 * np.log(2) + 0.625 * np.log(5), 1 / 8 + 10 / 8 + 5 / 8]]
    np.testing.assert_allclose(pooled, expected, rtol=1e-6)
    _, alpha = layer(x, np.array([[True, True, False]]))
    np.testing.assert_allclose(alpha, [[1 / 3, 2 / 3, 0]], rtol=1e-6)


def small_acnn(n_representation=0, views=("emotion",), attends_padding=False, **changes):
    settings = {
        "n_filters": 200, "kernel_frames": 10, "stride_frames": 3, "pool_steps": 30,
        "dropout": 0.8, "clip": 10.0, "standardizes_representation": True,
    }  # fmt: skip
    return network.ACNN(
        4, n_representation=n_representation, views=views,
        attends_padding=attends_padding, **settings | changes,
    )  # fmt: skip


def test_the_sizes_of_figure_1():
    model = small_acnn(1024, network.VIEWS)
    found = {name: x.shape for name, x in network.attention_model(model).output.items()}
    assert found == {"attention": (None, 8), "pooled": (None, 200)}  # figure 3: the ACNN's own
    assert model.get_layer("hidden").output.shape == (None, 1224)
    found = {name: x.shape for name, x in model.output.items()}
    assert found == {"emotion": (None, 4), "arousal": (None, 3), "valence": (None, 3)}
    trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert trainable == 26 * 10 * 200 + 200 + 200 + 1225 * (4 + 3 + 3)


def test_steps_after_the_end_have_no_weight_unless_wanted():
    x = np.random.default_rng(0).normal(0, 1, (1, 748, 26)).astype("float32")
    x[:, 181:] = np.nan  # steps begin every 90 frames: 0, 90 and 180 are inside
    for attends, heard in ((False, [True] * 3 + [False] * 5), (True, [True] * 8)):
        found = network.attention_model(small_acnn(attends_padding=attends))({"log_mel": x})
        assert (found["attention"].numpy()[0] > 0).tolist() == heard
        assert np.isfinite(found["pooled"]).all()


@pytest.mark.usefixtures("eager")
def test_the_multi_view_loss_by_hand():
    """Eq. (2); a view without a label adds nothing, nor to any gradient."""
    assert network.view_weights(0.2, 0.2, ["emotion"]) == {"emotion": 1.0}
    # A corpus that is rated for arousal alone: 0.6 and 0.2 of 0.8.
    assert network.view_weights(0.2, 0.2, ["emotion", "arousal"]) == pytest.approx(
        {"emotion": 0.75, "arousal": 0.25}
    )
    weights = network.view_weights(0.2, 0.3, list(network.VIEWS))
    assert weights == {"emotion": 0.5, "arousal": 0.2, "valence": 0.3}
    model = small_acnn(views=network.VIEWS, dropout=0.0)
    loop.compile_model(
        model, keras.optimizers.SGD(0.0), dict.fromkeys(weights, network.cross_entropy),
        metrics=(), loss_weights=weights,
    )  # fmt: skip
    x = {"log_mel": np.random.default_rng(0).normal(0, 1, (2, 748, 26)).astype("float32")}
    y = {
        "emotion": np.eye(4, dtype="float32")[[1, 2]],
        "arousal": np.array([[0, 0, 1], [0, 0, 0]], "float32"),
        "valence": np.zeros((2, 3), "float32"),
    }
    p = {name: value.numpy() for name, value in model(x).items()}
    emotion = -(np.log(p["emotion"][0, 1]) + np.log(p["emotion"][1, 2])) / 2
    expected = 0.5 * emotion + 0.2 * -np.log(p["arousal"][0, 2]) / 2
    assert model.evaluate(x, y, verbose=0, return_dict=True)["loss"] == pytest.approx(
        expected, rel=1e-5
    )
    before = [w.numpy() for w in model.get_layer("valence").weights]
    model.optimizer.learning_rate = 1.0
    model.fit(x, y, verbose=0)
    for w, old in zip(model.get_layer("valence").weights, before, strict=True):
        np.testing.assert_array_equal(w, old)
    assert np.abs(model.get_layer("arousal").weights[1].numpy()).max() > 0


# Corpora, folds and batches.


def voices(speakers="abcdefghij", n_takes=2, **more):
    return [
        Utterance(Path(f"{s}{e}{i}.wav"), f"{s}-{e}-{i}", s, e, **more)
        for s in speakers
        for e in EMOTIONS
        for i in range(n_takes)
    ]


def hyperparameters(*overrides):
    small = [
        "labels.keep=[]", "input.seconds=1.0", "features.n_bands=4", "model.n_filters=8",
        "model.pool_steps=8", "model.dropout=0.2", "train.batch_size=8", "train.max_epochs=3",
        "train.dev_fraction=0.2",
    ]  # fmt: skip
    return load_hparams("acnn", "emodb", overrides=[*small, *overrides])


def run_in(folder, protocol="paper", n_folds=None, seeds=(0,), strategy="none"):
    return run_directory.Run(
        folder, folder / "cache", "emodb", protocol, n_folds, seeds, strategy, 0
    )


def test_a_session_is_left_out(tmp_path):
    utterances = voices("ab", session="1") + voices("cd", session="2") + voices("ef", session="3")

    def speakers_of(splits):
        return [
            tuple("".join(sorted({utterances[i].speaker for i in part})) for part in split)
            for split in splits
        ]

    # The two speakers of the next session are dev; nothing is random.
    for seed in (0, 1):
        splits = acnn.make_splits(utterances, hyperparameters(), run_in(tmp_path), seed)
        assert speakers_of(splits) == [("ef", "cd", "ab"), ("ab", "ef", "cd"), ("cd", "ab", "ef")]
    hp = hyperparameters("protocol.dev=utterances")
    splits = acnn.make_splits(utterances, hp, run_in(tmp_path), 0)
    assert [test for *_, test in speakers_of(splits)] == ["ab", "cd", "ef"]
    for split in splits:
        parts = np.concatenate(split)
        assert sorted(parts) == list(range(len(utterances)))
        dev = [utterances[i].emotion for i in split.dev]
        assert sorted(dev) == sorted(EMOTIONS * 2)  # a fifth of 8 of each class
    other_seed = acnn.make_splits(utterances, hp, run_in(tmp_path), 1)
    assert other_seed[0].dev.tolist() != splits[0].dev.tolist()
    # Without sessions: five groups of speakers; --protocol loso: a speaker.
    without = voices()
    assert len(acnn.make_splits(without, hp, run_in(tmp_path), 0)) == 5
    assert len(acnn.make_splits(without, hp, run_in(tmp_path, n_folds=2), 0)) == 2
    assert len(acnn.make_splits(without, hp, run_in(tmp_path, "loso"), 0)) == 10
    with pytest.raises(UsageError, match="--folds 11: corpus has 10 speakers"):
        acnn.make_splits(without, hp, run_in(tmp_path, n_folds=11), 0)
    # Four speakers make four groups, one of two sessions no session's fold.
    assert len(acnn.make_splits(voices("abcd"), hp, run_in(tmp_path), 0)) == 4
    mixed = voices("abc", session="1") + voices("abc", session="2")
    for split in acnn.make_splits(mixed, hp, run_in(tmp_path), 0):
        heard, tested = ({mixed[i].speaker for i in part} for part in (split.train, split.test))
        assert not heard & tested
    with pytest.raises(DataError, match="dev would be empty"):
        acnn.make_splits(voices("ab", 1), hp, run_in(tmp_path), 0)
    [split] = acnn.make_splits(without, hp, run_in(tmp_path), 0, n_trained=40)
    assert split.test.tolist() == list(range(40, 60)) and max(split.train) < 40 > max(split.dev)


def test_dev_speakers_do_not_train(tmp_path):
    utterances, hp, run = voices(), hyperparameters(), run_in(tmp_path)
    splits = acnn.make_splits(utterances, hp, run, 0)
    assert len(splits) == 5
    for split in splits:
        parts = [{utterances[i].speaker for i in part} for part in split]
        assert [len(part) for part in parts] == [6, 2, 2]
        assert not parts[0] & parts[1] and not (parts[0] | parts[1]) & parts[2]
    # Across corpora: the first 40 train, less a group of two speakers that the seed decides.
    dev = []
    for seed in range(6):
        [split] = acnn.make_splits(utterances, hp, run, seed, n_trained=42)
        assert split.test.tolist() == list(range(42, 60))
        assert sorted([*split.train, *split.dev]) == list(range(42))
        dev.append({utterances[i].speaker for i in split.dev})
        assert not dev[-1] & {utterances[i].speaker for i in split.train}
    assert dev[5] == dev[0] and set.union(*dev) == set("abcdefg")
    message = "test, dev and training set need a session or a group of speakers each, there are 2"
    with pytest.raises(DataError, match=f"^{message}; use --set protocol.dev=utterances$"):
        acnn.make_splits(utterances, hp, run_in(tmp_path, n_folds=2), 0)
    with pytest.raises(DataError, match="^dev and training set need .*, there are 1; use"):
        acnn.make_splits(utterances, hp, run, 0, n_trained=6)


def test_views_are_what_a_corpus_is_rated_for():
    rated = [
        Utterance(Path("a"), "a", "s", "anger", activation=4.5, valence=None),
        Utterance(Path("b"), "b", "s", "joy", activation=None, valence=None),
        Utterance(Path("c"), "c", "s", "anger", activation=2.0, valence=None),
    ]
    labels = {"rounding": "between", "scale": [1, 5]}
    views = corpus_of.make_views(rated, np.array([0, 1, 0]), 2, labels)
    assert list(views) == ["emotion", "arousal"]
    np.testing.assert_array_equal(views["emotion"], [[1, 0], [0, 1], [1, 0]])
    np.testing.assert_array_equal(views["arousal"], [[0, 0, 1], [0, 0, 0], [1, 0, 0]])
    # Ratings of the other corpus alone train nothing.
    strangers = [rated[0], rated[2]]
    assert list(corpus_of.make_views(rated, np.array([0, 1, 0]), 2, labels, strangers)) == [
        "emotion"
    ]


def speech_of(utterances, *, spoilt=None, represented=True, rated=True):
    """Frames whose bands, and representations whose numbers, say the emotion."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(40, 130, len(utterances))
    classes = sorted({u.emotion for u in utterances})
    y = np.array([classes.index(u.emotion) for u in utterances])
    frames = rng.normal(0, 1, (lengths.sum(), 4)).astype("float32")
    owner = np.repeat(np.arange(len(y)), lengths)
    frames[np.arange(len(owner)), y[owner]] += 3
    vectors = rng.normal(0, 0.1, (len(y), 6)).astype("float32")
    vectors[np.arange(len(y)), y] += 0.5
    for i, utterance in enumerate(utterances):
        if utterance.speaker == spoilt:
            frames[owner == i], vectors[i] = 1e6, 1e6
    views = {"emotion": np.eye(len(classes), dtype="float32")[y]}
    if rated:
        levels = np.eye(3, dtype="float32")[rng.integers(0, 3, len(y))]
        levels[::2] = 0
        views["arousal"] = levels
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return acnn.Dataset(
        utterances, classes, y, tf.constant(frames), offsets, 98, views,
        vectors if represented else None, False,
    )  # fmt: skip


def test_batches_hold_frames_representations_and_labels():
    speech = speech_of(voices("abc"))
    [(inputs, labels)] = corpus_of.make_batches(speech, np.array([4, 1]), 8)
    assert list(inputs) == ["log_mel", "representation"] and list(labels) == ["emotion", "arousal"]
    np.testing.assert_array_equal(inputs["representation"], speech.representations[[4, 1]])
    np.testing.assert_array_equal(labels["arousal"], speech.views["arousal"][[4, 1]])
    start, end = speech.offsets[4:6]
    length = min(98, end - start)
    np.testing.assert_array_equal(inputs["log_mel"][0, :length], speech.frames[start:][:length])
    assert np.isnan(inputs["log_mel"][0, length:]).all()


# Training.


class Bar:
    where = place = ""

    def at(self, name):
        pass

    def epoch(self, row):
        pass


def experiment(folder, hp, speech, strategy="none", bar=None):
    run = run_in(folder, strategy=strategy)
    return acnn.Experiment(speech, hp, run, acnn.compiled_network(speech, hp, run), bar or Bar())


def outcome(folder):
    kept = atomic_files.read_arrays(folder / "test.npz")["probabilities"]
    return (folder / "history.csv").read_text(), kept


def test_a_finished_network_is_kept_and_leaves_nothing_in_the_next(tmp_path):
    speech, hp = speech_of(voices("abc")), hyperparameters()
    split = acnn.make_splits(speech.utterances, hp, run_in(tmp_path, "loso"), 0)[0]
    folder = tmp_path / "seed-0" / "fold-00"
    lab = experiment(tmp_path, hp, speech)
    outputs = acnn.train_network(lab, split, folder, [0, 0])["probabilities"]
    kept = acnn.train_network(lab, split, folder, [9, 9])["probabilities"]
    np.testing.assert_array_equal(kept, outputs)
    # Another fold begins anew in the same model.
    other = acnn.train_network(lab, split, folder.with_name("fold-01"), [0, 0])["probabilities"]
    np.testing.assert_array_equal(other, outputs)
    model = keras.saving.load_model(folder / "model.keras")
    batches = corpus_of.make_batches(speech, split.test, 256)
    np.testing.assert_allclose(model.predict(batches, verbose=0)["emotion"], outputs, atol=1e-6)


@pytest.mark.usefixtures("eager")
def test_nothing_of_the_test_speaker_reaches_a_network(tmp_path):
    hp, found = hyperparameters("train.max_epochs=2"), []
    for spoilt in (None, "a"):
        speech = speech_of(voices("abc"), spoilt=spoilt)
        split = acnn.make_splits(speech.utterances, hp, run_in(tmp_path, "loso"), 0)[0]
        folder = tmp_path / str(spoilt) / "seed-0" / "fold-00"
        acnn.train_network(experiment(folder.parents[1], hp, speech), split, folder, [0, 0])
        found.append(outcome(folder))
    assert found[0][0] == found[1][0]
    assert not np.array_equal(found[0][1], found[1][1])


@pytest.mark.usefixtures("eager")
def test_representations_are_z_scores_of_the_training_part(tmp_path):
    hp, speech = hyperparameters("train.max_epochs=1"), speech_of(voices("abc"))
    speech.representations[:, 5] = 1 - 1e-7 * (np.arange(len(speech.y)) % 2)  # a saturated tanh
    split = acnn.make_splits(speech.utterances, hp, run_in(tmp_path, "loso"), 0)[0]
    folder = tmp_path / "seed-0" / "fold-00"
    acnn.train_network(experiment(tmp_path, hp, speech), split, folder, [0, 0])
    layer = keras.saving.load_model(folder / "model.keras").get_layer("standardize_representation")
    z = layer(speech.representations[split.train]).numpy()
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(z[:, :5].std(axis=0), 1, atol=1e-5)
    assert np.abs(z[:, 5]).max() < 1e-6
    raw = hyperparameters("model.standardizes_representation=false")
    names = [layer.name for layer in acnn.new_network(speech, raw).layers]
    assert "standardize_representation" not in names and "representation" in names


@pytest.mark.parametrize("normalize", ["corpus", "speaker"])
def test_features_are_normalized_by_speaker_where_asked(tmp_path, monkeypatch, normalize):
    utterances = voices("ab", 1)
    frames = np.random.default_rng(0).normal(3, 2, (60, 4)).astype("float32")
    frames[30:] += 5  # speaker b is louder
    features = feature_cache.Features(utterances, frames, np.arange(0, 61, 10), "key")
    monkeypatch.setattr(feature_cache, "load_features", lambda *_, **__: features)
    hp = hyperparameters(f"features.normalize={normalize}")
    loaded = corpus_of.load_dataset(utterances, [], hp, run_in(tmp_path)).frames.numpy()
    if normalize == "corpus":
        np.testing.assert_array_equal(loaded, frames)
    else:
        halves = loaded.reshape(2, 30, 4)
        np.testing.assert_allclose(halves.mean(axis=1), 0, atol=1e-5)
        np.testing.assert_allclose(halves.std(axis=1), 1, atol=1e-5)


def numbers(lines):
    return np.array([[float(value) for value in row.split(",")] for row in lines[1:]])


# Pre-training.


def sounds(folder, hp, n=24):
    """Noise whose spectrum moves, as files, and what the autoencoder hears of it."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, utterances = np.random.default_rng(0), []
    t = np.arange(16000) / 16000
    for i in range(n):
        path = folder / f"{i}.wav"
        sound = 0.3 * np.sin(2 * np.pi * (200 + 100 * (i % 5)) * t * (1 + (i % 3) * t))
        write_wav(path, sound + rng.normal(0, 0.02, len(t)))
        utterances.append(Utterance(path, f"clip-{i}", str(i)))
    layer = pretraining.make_spectrogram(hp)
    return layer, feature_cache.store_features(utterances, layer, cache=folder / "store")


def write_wav(path, samples):
    import soundfile

    soundfile.write(path, samples, 16000)


SMALL_AUTOENCODER = (
    "autoencoder.units=8", "autoencoder.n_bands=6", "autoencoder.max_epochs=4",
    "autoencoder.batch_size=8", "autoencoder.n_layers=1",
)  # fmt: skip


def test_an_epoch_of_the_stream_has_every_clip(tmp_path):
    layer, stored = sounds(tmp_path, hyperparameters(*SMALL_AUTOENCODER))
    options = {"n_frames": layer.n_frames, "batch_size": 8}

    def epoch(seed, number):
        batches = list(pipelines.stream_pieces(stored, seed=seed, epoch=number, **options))
        assert [x.shape for x in batches] == [(8, 24, 6)] * 3
        return np.concatenate(batches)

    loaded = feature_cache.load_features(stored.utterances, layer, cache=tmp_path / "store").frames
    first = epoch(0, 0)
    np.testing.assert_array_equal(
        np.sort(first.sum(axis=(1, 2))), np.sort(loaded.reshape(24, 24, 6).sum(axis=(1, 2)))
    )
    np.testing.assert_array_equal(first, epoch(0, 0))
    assert not np.array_equal(first, epoch(0, 1)) and not np.array_equal(first, epoch(1, 0))
    # An epoch is of full batches: 24 = 2 x 10 + 4, and the last batch begins the next round.
    streamed = pipelines.stream_pieces(stored, seed=0, epoch=0, n_frames=24, batch_size=10)
    assert streamed.options().autotune.enabled is False
    [*_, last] = streamed
    assert last.shape == (10, 24, 6)


def test_an_autoencoder_learns(tmp_path):
    hp = hyperparameters(*SMALL_AUTOENCODER)
    layer, stored = sounds(tmp_path, hp)
    (tmp_path / "run").mkdir()
    pretraining.train_autoencoder(stored, layer, hp["autoencoder"], tmp_path / "run", "none")
    history = numbers((tmp_path / "run" / "history.csv").read_text().splitlines())
    assert history.shape == (4, 2) and history[-1, 1] < history[0, 1]


@pytest.mark.usefixtures("eager")
def test_the_target_is_the_clip_reversed_in_time(tmp_path):
    settings = ["autoencoder.dropout=0.0", "autoencoder.max_epochs=1", "autoencoder.batch_size=24"]
    hp = hyperparameters(*SMALL_AUTOENCODER, *settings, "autoencoder.learning_rate=1e-8")
    layer, stored = sounds(tmp_path, hp)
    (tmp_path / "run").mkdir()
    pretraining.train_autoencoder(stored, layer, hp["autoencoder"], tmp_path / "run", "none")
    [[_, loss]] = numbers((tmp_path / "run" / "history.csv").read_text().splitlines())
    clips = feature_cache.load_features(stored.utterances, layer, cache=tmp_path / "store").frames
    clips = clips.reshape(24, 24, 6)
    model = keras.saving.load_model(tmp_path / "run" / "autoencoder.keras", compile=False)
    said = model.predict(clips, verbose=0)
    backwards, forwards = (np.sqrt(np.mean((x - said) ** 2)) for x in (clips[:, ::-1], clips))
    assert loss == pytest.approx(backwards, rel=1e-4) and abs(forwards - backwards) > 1e-3


def test_an_encoder_is_found_without_what_it_was_trained_on(tmp_path, monkeypatch, caplog):
    hp = hyperparameters(*SMALL_AUTOENCODER)
    layer, stored = sounds(tmp_path, hp)
    calls = []

    def train(_, layer, settings, folder, strategy):
        calls.append(folder)
        for name in ("encoder", "autoencoder"):
            (folder / f"{name}.keras").write_text("an encoder")

    monkeypatch.setattr(pretraining, "train_autoencoder", train)
    run = run_in(tmp_path)
    path = pretraining.pretrained_network(stored.utterances, layer, hp, run)
    monkeypatch.setattr(
        feature_cache, "store_features", lambda *_, **__: pytest.fail("spectrograms are read")
    )
    assert (
        pretraining.pretrained_network(stored.utterances, layer, hp, run) == path
        and len(calls) == 1
    )
    # Another process at work: it is waited for, and its encoder taken.
    whole = path.with_name("autoencoder.keras")
    whole.unlink()
    at_work = threading.Event()

    def other_process():
        with run_directory.open_run(path.parent, {}, [0]):
            at_work.set()
            while "waiting for it" not in caplog.text:
                time.sleep(0.01)
            path.write_text("its encoder")
            whole.write_text("and the rest")

    other = threading.Thread(target=other_process)
    with caplog.at_level("INFO", logger="tfser"):
        other.start()
        at_work.wait()
        assert pretraining.pretrained_network(stored.utterances, layer, hp, run) == path
    other.join()
    assert path.read_text() == "its encoder" and len(calls) == 1
    assert "is in use by another process: waiting for it" in caplog.text


@pytest.mark.parametrize(
    ("corpus", "transductive"), [("tested", True), ("toy", True), ("librispeech", False)]
)
def test_an_autoencoder_that_heard_the_tested_is_told(tmp_path, monkeypatch, corpus, transductive):
    utterances = voices("abc", 1)
    group = "train-clean-100"
    elsewhere = [Utterance(Path(f"{i}.flac"), f"{i}", "r", group=group) for i in range(3)]
    monkeypatch.setattr(
        training_pretraining,
        "load_corpus",
        lambda name, *_: utterances if name == "toy" else elsewhere,
    )
    monkeypatch.setattr(pretraining, "pretrained_network", lambda *_: Path(__file__))
    monkeypatch.setattr(pretraining, "load_encoder", lambda *_: None)
    monkeypatch.setattr(pretraining, "load_representations", lambda *_: np.zeros((9, 4), "float32"))
    features = feature_cache.Features(
        utterances, np.zeros((90, 4), "float32"), np.arange(0, 91, 10), "key"
    )
    monkeypatch.setattr(feature_cache, "load_features", lambda *_, **__: features)
    hp = hyperparameters(f"autoencoder.corpus={corpus}")
    speech = corpus_of.load_dataset(utterances, [], hp, run_in(tmp_path))
    assert speech.transductive is transductive


def test_li_is_a_part_of_librispeech():
    parts = {"train-clean-100": 3, "train-other-500": 2, "dev-clean": 1}
    everything = [
        Utterance(Path(f"{part}-{i}"), f"{part}-{i}", "1", group=part, split=part.split("-")[0])
        for part, n in parts.items()
        for i in range(n)
    ]

    def select(*overrides, section="autoencoder", model="acnn", utterances=everything):
        hp = load_hparams(model, "emodb", overrides=[f"{section}.{o}" for o in overrides])
        return training_pretraining.select_training_part(section, hp[section], utterances)

    for section, model in (("autoencoder", "acnn"), ("vae", "auxvae"), ("began", "began")):
        of = {"section": section, "model": model}
        assert select("corpus=librispeech", **of) == everything[:3]
        assert select("corpus=librispeech", "group=train-other-500", **of) == everything[3:5]
        assert select("corpus=librispeech", "group=", **of) == everything
        with pytest.raises(UsageError) as caught:
            select("corpus=librispeech", utterances=everything[3:], **of)
        assert str(caught.value) == (
            f"{section}.group: no 'train-clean-100' in librispeech (did you mean "
            "'train-other-500'?); it has dev-clean train-other-500: take one of them, or "
            f"--set {section}.group= for all"
        )
    # Of other corpora the group selects nothing.
    assert select("corpus=emodb") == everything
    assert select("corpus=tedlium") == everything[:5]


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["autoencoder.corpus=libri"], "'libri' is not known.*mean 'librispeech'"),
        (["autoencoder.weights=/nowhere/encoder.keras"], "there is no file /nowhere/encoder.keras"),
        (["autoencoder.corpus=tested", "autoencoder.weights=x"], "keep one"),
        (["train.alpha=0.8"], "leave nothing of 1 for the emotion"),
        (["input.seconds=0.3"], "makes 28 frames, and a step of the pooling takes 31; take 0.325"),
        (["autoencoder.n_talks=400"], "of autoencoder.corpus=tedlium alone"),
        (["autoencoder.group=dev-clean"], "of autoencoder.corpus=librispeech alone"),
        (["plots.baseline=/nowhere"], "/nowhere is no finished run .*scores.json is missing"),
    ],
)
def test_what_is_not_there_is_refused_at_once(tmp_path, overrides, says):
    with pytest.raises(UsageError, match=says):
        acnn.train(voices(), hyperparameters(*overrides), run_in(tmp_path))


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("BL", {"corpus": ""}),
        ("C", {"corpus": "tested", "max_epochs": 64}),
        ("sT", {"corpus": "tedlium", "n_talks": 400, "max_epochs": 64}),
        ("Li", {"corpus": "librispeech", "group": "train-clean-100", "max_epochs": 64}),
        ("fT", {"corpus": "tedlium", "n_talks": 0, "max_epochs": 32}),
    ],
)
def test_the_conditions_of_table_1(condition, expected):
    """One overlay sets all of a condition (sections 3 and 4.2), whatever the corpus."""
    overlay = None if condition == "BL" else f"acnn.{condition}"
    hp = load_hparams("acnn", "iemocap", overlay=overlay)
    assert hp["autoencoder"].items() >= expected.items()
    assert acnn.condition_name(hp) == condition
    assert hp["train"]["max_epochs"] == 100 and hp["model"]["dropout"] == 0.8
    tested = {"tested": "improv", "overlay": overlay}
    assert load_hparams("acnn", "iemocap", **tested)["model"]["dropout"] == 0.7


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["autoencoder.corpus=librispeech", "autoencoder.group="], "Li of all parts"),
        (["autoencoder.corpus=librispeech", "autoencoder.group=dev-clean"], "Li of dev-clean"),
        (["autoencoder.corpus=tedlium"], "fT, 64 epochs"),
        (["autoencoder.corpus=tested", "autoencoder.max_epochs=2"], "C, 2 epochs"),
        (["autoencoder.corpus=tedlium", "autoencoder.n_talks=3"], "3 talks"),
        (["autoencoder.corpus=emodb"], "AE emodb"),
        (["autoencoder.weights=encoder.keras"], "AE of a file"),
        (["autoencoder.corpus=tested", "model.standardizes_representation=false"], "C, raw"),
        (["model.standardizes_representation=false"], "BL"),
        (["features.normalize=speaker"], "BL, speaker-normalized"),
    ],
)
def test_conditions_beside_the_table(overrides, name):
    assert acnn.condition_name(hyperparameters(*overrides)) == name


# Figures.


def test_figures_3_and_4_are_of_each_part_of_the_network(tmp_path, monkeypatch):
    hp, speech = hyperparameters(), speech_of(voices("abc"))
    split = acnn.make_splits(speech.utterances, hp, run_in(tmp_path, "loso"), 0)[0]
    model, drawn = acnn.new_network(speech, hp), {}
    monkeypatch.setattr(mixed_precision, "load_in_float32", lambda _: model)
    monkeypatch.setattr(figures, "_write_attention", lambda *_: None)
    monkeypatch.setattr(tsne, "write_map", lambda run, name, *parts: drawn.update({name: parts}))
    figures.write_figures(speech, hp, run_in(tmp_path), split, "C")
    vectors, utterances, labels, _, hidden = drawn["tsne-network"]
    assert vectors.shape == (6, 8) and hidden == {"emotion": "neutral"}  # 8 filters, no more
    assert utterances == [speech.utterances[i] for i in split.test]
    assert labels["emotion"] == [u.emotion for u in utterances]
    everything = drawn["tsne-autoencoder"]
    np.testing.assert_array_equal(everything[0], speech.representations)
    assert everything[4] == {"emotion": "neutral"} and len(everything[1]) == 18
    # The level "neutral" of an attribute is drawn.
    hp["labels"]["target"] = "activation"
    figures.write_figures(speech, hp, run_in(tmp_path), split, "C")
    assert drawn["tsne-network"][4] == drawn["tsne-autoencoder"][4] == {}


def test_figure_2_has_both_systems_over_all_seeds(tmp_path, monkeypatch):
    matrices = {3: [[2, 1], [0, 3]], 4: [[1, 2], [1, 2]]}
    for seed, matrix in matrices.items():
        atomic_files.write_json(tmp_path / f"seed-{seed}" / "scores.json", {"confusion": matrix})
    scores = {"corpus": "emodb", "classes": ["anger", "joy"], "seed_numbers": [3, 4]}
    atomic_files.write_json(tmp_path / "scores.json", scores)
    assert figures.load_baseline("", "emodb", ["anger", "joy"]) is None
    baseline = figures.load_baseline(str(tmp_path), "emodb", ["anger", "joy"])
    np.testing.assert_array_equal(baseline, [[3, 3], [1, 5]])
    other = "is on emodb (anger joy), and this run on "
    for corpus, classes in (("savee", ["anger", "joy"]), ("emodb", ["anger", "fear"])):
        with pytest.raises(UsageError, match=re.escape(f"{other}{corpus} (")):
            figures.load_baseline(str(tmp_path), corpus, classes)
    drawn = []
    monkeypatch.setattr(figures, "draw_confusion_matrices", lambda *parts: drawn.append(parts))
    monkeypatch.setattr(figures, "save_figure", lambda _, path: drawn.append(path.name))
    results = [{"confusion": [[3, 0], [0, 3]]}, {"confusion": [[0, 3], [0, 3]]}]
    figures.write_confusion_pair(run_in(tmp_path), baseline, results, ["anger", "joy"], "fT")
    [(pair, classes, title), name] = drawn
    assert name == "confusion-pair.png" and title == "ACNN on emodb, paper: all seeds"
    assert list(pair) == ["BL", "fT"] and classes == ["anger", "joy"]
    np.testing.assert_array_equal(pair["BL"], baseline)
    np.testing.assert_array_equal(pair["fT"], [[3, 3], [0, 6]])


# Whole runs.


def command(tmp_path, *arguments, settings=()):
    settings = [
        'labels.keep=["anger", "sadness"]', "train.max_epochs=3", "model.n_filters=8",
        "autoencoder.units=4", "autoencoder.max_epochs=2", "autoencoder.n_layers=1", *settings,
    ]  # fmt: skip
    return main([
        "--model", "acnn", "--cache", str(tmp_path / "cache"), "--workdir", str(tmp_path / "run"),
        *arguments, *(part for s in settings for part in ("--set", s)),
    ])  # fmt: skip


def test_the_command_on_sound(tmp_path, capsys, monkeypatch):
    """Condition C on the toy corpus: spectrograms, autoencoder, network, pictures, RESULT line."""
    few = [take for take in toy.list_takes() if take[2] <= 5]
    monkeypatch.setattr(toy, "list_takes", lambda: few)
    arguments = ["--corpus", "toy", "--folds", "2", "--set", "protocol.dev=utterances"]
    condition_c = ["autoencoder.corpus=tested"]
    assert command(tmp_path, *arguments, settings=condition_c) == 0
    *_, result = capsys.readouterr().out.splitlines()
    assert "model=acnn corpus=toy protocol=paper speaker_independent=yes" in result
    assert "n=40 folds=2 seeds=1 uar_low=" in result
    assert result.endswith(" autoencoder=transductive")
    run = tmp_path / "run"
    files = {path.name for path in run.iterdir()}
    assert {"scores.json", "predictions.csv", "confusion.png", "splits.csv"} <= files
    assert {"tsne-network.png", "tsne-autoencoder.png"} <= files
    assert {p.name for p in (run / "attention").iterdir()} == {"anger.png", "sadness.png"}
    vectors = (run / "events" / "tsne-autoencoder" / "vectors.tsv").read_text().splitlines()
    assert len(vectors) == 40 and len(vectors[0].split("\t")) == 8
    table = (run / "events" / "tsne-autoencoder" / "metadata.tsv").read_text().splitlines()
    assert table[0].split("\t") == ["utterance", "emotion", "speaker", "gender"]
    assert len(table) == 41
    [encoder] = (tmp_path / "cache").glob("autoencoder-*/encoder.keras")

    # The same encoder by name: the same scores. Another one of that name is not mixed with it.
    before = atomic_files.read_json(run / "scores.json")
    (tmp_path / "run").rename(tmp_path / "first")
    mine = tmp_path / "mine.keras"
    mine.write_bytes(encoder.read_bytes())
    assert command(tmp_path, *arguments, settings=[f"autoencoder.weights={mine}"]) == 0
    after = atomic_files.read_json(run / "scores.json")
    assert after["systems"]["AE of a file"] == before["systems"]["C, 2 epochs"]
    assert "dev: utterances of the training speakers" in after["facts"]
    other = keras.saving.load_model(mine)
    other.set_weights([w + 0.1 for w in other.get_weights()])
    other.save(mine)
    (run / "seed-0" / "fold-01" / "test.npz").unlink()
    assert command(tmp_path, *arguments, settings=[f"autoencoder.weights={mine}"]) == 4
    assert "the encoder has changed since the run" in capsys.readouterr().err
    # An encoder of other spectrograms is refused, and what is none.
    capsys.readouterr()
    (tmp_path / "run").rename(tmp_path / "third")
    assert command(tmp_path, *arguments, settings=["autoencoder.weights=" + __file__]) == 2
    assert "is no encoder.keras of an earlier run" in capsys.readouterr().err
    other = [f"autoencoder.weights={encoder}", "autoencoder.n_bands=64"]
    assert command(tmp_path, *arguments, settings=other) == 2
    assert "that it was trained with" in capsys.readouterr().err
    beside = encoder.with_name("autoencoder.keras")
    assert command(tmp_path, *arguments, settings=[f"autoencoder.weights={beside}"]) == 2
    assert "give an encoder.keras" in capsys.readouterr().err


@pytest.mark.usefixtures("eager")
def test_across_two_corpora(tmp_path, capsys):
    rows = ["file,speaker,emotion"]
    for i, u in enumerate(voices("xyz", 1)):
        write_wav(tmp_path / f"{i}.wav", np.random.default_rng(i).normal(0, 0.1, 16000))
        rows.append(f"{i}.wav,{u.speaker},{u.emotion}")
    (tmp_path / "mine.csv").write_text("\n".join(rows) + "\n")
    across = ["--corpus", "toy", "--test-corpus", str(tmp_path / "mine.csv")]
    assert command(tmp_path, *across) == 0
    *_, result = capsys.readouterr().out.splitlines()
    assert "corpus=toy-to-mine protocol=paper speaker_independent=yes" in result
    assert "n=6 folds=1" in result  # anger and sadness are in both
    rows = list(csv.DictReader((tmp_path / "run" / "predictions.csv").open()))
    assert {row["speaker"] for row in rows} == {"mine-x", "mine-y", "mine-z"}
    splits = list(csv.DictReader((tmp_path / "run" / "splits.csv").open()))
    assert {row["part"] for row in splits if row["speaker"].startswith("mine-")} == {"test"}

    (tmp_path / "run").rename(tmp_path / "first")
    (tmp_path / "mine.csv").write_text("file,speaker,emotion\n0.wav,x,love\n1.wav,y,hate\n")
    keep = ["labels.keep=[]"]
    assert command(tmp_path, *across, settings=keep) == 3
    assert "the two corpora share 0 emotions" in capsys.readouterr().err


def test_a_corpus_is_not_tested_on_itself(tmp_path, capsys):
    assert command(tmp_path, "--corpus", "toy", "--test-corpus", "toy") == 2
    assert "160 of its utterances are those of --corpus toy" in capsys.readouterr().err


def test_models_without_a_test_across_corpora_say_so(tmp_path, capsys):
    (tmp_path / "mine.csv").write_text("file,speaker,emotion\n0.wav,x,anger\n1.wav,y,sadness\n")
    for name in ("0.wav", "1.wav"):
        write_wav(tmp_path / name, np.ones(16000) / 2)
    done = main([
        "--model", "epr", "--corpus", "toy", "--test-corpus", str(tmp_path / "mine.csv"),
        "--cache", str(tmp_path / "cache"), "--workdir", str(tmp_path / "run"),
    ])  # fmt: skip
    assert done == 2
    assert "epr has no test across corpora" in capsys.readouterr().err
