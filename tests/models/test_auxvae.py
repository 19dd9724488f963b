"""Aux-VAE: its pieces, networks, Eq. (5), probes, and a whole run."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import librosa
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from running import called

from tfser.audio import decode
from tfser.cache import feature_cache, pipelines
from tfser.cli import base, train
from tfser.cli.options import Options, load_hyperparameters
from tfser.cli.train import main
from tfser.config.hparams import load_hparams
from tfser.corpora.loader import load_corpus
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError, TfserError, UsageError
from tfser.evaluation import metrics, regression_report
from tfser.evaluation.splits import Split, is_speaker_independent
from tfser.features.mel_pieces import MelPieces, make_mel_pieces
from tfser.models.auxvae import dataset as corpus_of
from tfser.models.auxvae import experiment, network, pretraining, probes, transformation
from tfser.models.auxvae import splits as splits_of
from tfser.plots import tsne
from tfser.storage import atomic_files, run_directory
from tfser.training import replicas

# Of eager mode, which functions of tf.data do not take part in.
pytestmark = pytest.mark.filterwarnings("ignore:Even though the:UserWarning")
ZOO = Path(__file__).resolve().parents[2] / "zoo" / "auxvae"
AUTHORS = {
    "sample_rate_hz": 22050, "n_fft": 2048, "hop_samples": 512, "n_bands": 140, "range_db": 80.0,
    "seconds": 4.0, "n_frames": 176, "drop_short": False, "shortest_seconds": 1.0,
}  # fmt: skip
SMALL = {
    "spectrogram": {}, "n_bands": 5, "n_latent": 8, "chunk_frames": 6, "dropout": 0.0,
    "legacy_dropout": False, "medium": True, "predictive": False, "alpha": 0.5, "beta": 0.25,
    "gamma": 2.0,
}  # fmt: skip


# What the network hears.


def by_librosa(piece):
    mel = librosa.feature.melspectrogram(
        y=piece, sr=22050, n_fft=2048, hop_length=512, n_mels=140, pad_mode="reflect"
    )
    fall = librosa.power_to_db(mel, ref=np.max).T / -80
    return np.pad(fall, [(0, 176 - len(fall)), (0, 0)], constant_values=1)


def test_pieces_are_librosa_s_on_real_speech(shared_data):
    layer = MelPieces(**AUTHORS)
    files = sorted(shared_data.glob("LibriSpeech/*/*/*/*.flac"))[::90]
    files += sorted(shared_data.glob("emodb/wav/*.wav"))[::250]
    n_whole = 0
    for file in files:
        waveform = decode.load_audio(file, sample_rate_hz=22050)
        [extracted] = layer.extract([waveform])
        pieces = extracted.reshape(-1, 176, 140)
        for number, found in enumerate(pieces):
            piece = waveform[number * 88200 :][:88200]
            n_whole += len(piece) == 88200
            expected = by_librosa(piece)
            np.testing.assert_allclose(found, expected, atol=1e-4)
            np.testing.assert_allclose(layer(piece[None])[0], expected, atol=1e-4)
    assert n_whole > 3


@pytest.mark.parametrize(
    ("seconds", "drop_short", "lengths"),
    [
        (3.0, False, [66150]),
        (3.0, True, []),
        (4.0, True, [88200]),
        (4.5, False, [88200]),  # the rest is shorter than a second
        (9.5, False, [88200, 88200, 33075]),
        (9.5, True, [88200, 88200]),
        (0.5, False, [11025]),  # the only one
    ],
)
def test_recordings_are_cut_into_pieces(seconds, drop_short, lengths):
    layer = MelPieces(**AUTHORS | {"drop_short": drop_short})
    assert layer.lengths(round(seconds * 22050)) == lengths
    waveform = np.random.default_rng(0).normal(0, 0.1, round(seconds * 22050)).astype("float32")
    [found] = layer.extract([waveform])
    assert found.shape == (176 * len(lengths), 140)
    if lengths == [11025]:
        assert (found[22:] == 1).all() and not (found[21] == 1).all()  # 1 + 11025 // 512 frames


def test_silence_is_one_and_what_is_too_short_an_error():
    layer, silence = MelPieces(**AUTHORS), np.zeros(22050, "float32")
    assert (layer.extract([silence])[0] == 1).all() and (layer(silence[None]).numpy() == 1).all()
    [error] = layer.extract([silence[:1024]])
    assert isinstance(error, DataError) and str(error) == "0.046 s long, 0.046 s are needed"
    assert layer.extract([silence[:1025]])[0].shape == (176, 140)


LINEAR = {
    "sample_rate_hz": 11025, "n_fft": 400, "hop_samples": 110, "n_bands": 201, "scale": "linear",
    "seconds": 2.0, "n_frames": 201,
}  # fmt: skip


def test_linear_bands_are_the_bins():
    layer = MelPieces(**AUTHORS | LINEAR)
    piece = np.random.default_rng(0).normal(0, 0.1, (2, 22050)).astype("float32")
    power = np.abs(librosa.stft(piece[0], n_fft=400, hop_length=110, pad_mode="reflect")) ** 2
    expected = librosa.power_to_db(power, ref=np.max).T / -80
    [found] = layer.extract(piece[:1])
    assert found.shape == expected.shape == (201, 201)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(layer(piece)[0], expected, atol=1e-4)
    with pytest.raises(
        UsageError, match="201 bins of features.n_fft=400, not features.n_bands=140"
    ):
        MelPieces(**AUTHORS | LINEAR | {"n_bands": 140})


def test_features_of_mel_bands_keep_their_cache_key():
    """Entries, and layers of runs, that are older than the setting."""
    assert "scale" not in MelPieces(**AUTHORS).settings()
    assert MelPieces(**AUTHORS | LINEAR).settings()["scale"] == "linear"


def test_the_overlay_is_springenberg_s_model():
    hp = load_hparams("auxvae", "librispeech", overlay="auxvae.springenberg")
    layer = make_mel_pieces(hp)
    assert (layer.n_frames, layer.n_features, layer.n_samples) == (201, 201, 22050)
    model = pretraining.new_network(hp, layer)
    assert [v.shape for v in model.h_net.weights if v.path.endswith("kernel")] == [
        (3, 201, 64), (3, 64, 128), (3, 128, 256), (256, 512)
    ]  # fmt: skip
    assert not model.medium and model.predictive
    assert model.weights_of_terms == {"z": 1.0, "m": 0.01, "h": 1.0}
    named = {key: hp["vae"][key] for key in ("learning_rate", "batch_size", "corpus")}
    assert named == {"learning_rate": 8e-4, "batch_size": 128, "corpus": "tested"}


def test_a_layer_of_pieces_comes_back_from_its_config():
    layer = MelPieces(**AUTHORS)
    assert MelPieces.from_config(layer.get_config()).settings() == layer.settings()
    assert layer.compute_output_shape((3, None)) == (3, 176, 140)
    with pytest.raises(UsageError, match="has 173 frames, and input.n_frames=170 cuts them"):
        MelPieces(**AUTHORS | {"n_frames": 170})
    with pytest.raises(UsageError, match="a window must be longer than the hop"):
        MelPieces(**AUTHORS | {"hop_samples": 4096})


# The networks.


def small(**changes):
    keras.utils.set_random_seed(0)
    model = network.AuxVAE(**SMALL | changes)
    # Batch normalization that shifts and scales, as after training.
    rng = np.random.default_rng(0)
    for variable in model.weights:
        if "normalization" in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


def test_sizes_are_the_authors():
    settings = SMALL | {"n_bands": 140, "n_latent": 512, "chunk_frames": 44}
    model = network.AuxVAE(**settings)

    def kernels(name):
        return [tuple(v.shape) for v in getattr(model, name).weights if v.path.endswith("kernel")]

    of_scale = [(3, 128, 256), (3, 256, 512), (512, 1024)]
    assert kernels("h_net") == [(3, 140, 128), *of_scale]
    assert kernels("m_net") == [(3, 652, 128), *of_scale]
    assert kernels("z_net") == [(652, 512), (512, 512), (512, 1024)]
    assert kernels("decoder") == [(512, 140), (140, 140), (140, 140), (140, 140)]
    assert kernels("h_predictor") == [(512, 512), (512, 1024)]
    assert kernels("m_predictor") == [(1024, 1024), (1024, 1024), (1024, 1024)]
    one = network.AuxVAE(**settings | {"medium": False})
    assert not hasattr(one, "m_net") and [m.name for m in one.metrics] == [
        "loss", "reconstruction", "kl_z", "kl_h"
    ]  # fmt: skip
    limit = np.sqrt(1 / 652)  # PyTorch's
    assert limit * 0.99 < np.abs(model.z_net.weights[0]).max() <= limit


@pytest.mark.parametrize(
    ("n_frames", "counts", "repeats"),
    [(176, [44, 44, 44, 38], [44] * 4), (177, [44, 44, 44, 39], [44, 44, 44, 45]),
     (60, [44, 10], [44, 16]), (50, [44], [50]), (51, [44, 1], [44, 7]), (7, [1], [7])],
)  # fmt: skip
def test_medium_has_a_mean_for_each_chunk(n_frames, counts, repeats):
    model = network.AuxVAE(**SMALL | {"chunk_frames": 44})
    rng = np.random.default_rng(n_frames)
    x = rng.uniform(0, 1, (2, n_frames, 5)).astype("float32")
    q, sample = model.encode(x, sampled=False)
    # The stack without its end, of every frame.
    stack = keras.Model(model.m_net.inputs, model.m_net.layers[-3].output)
    frames = stack(np.concatenate([x, sample["h"]], axis=-1)).numpy()
    assert frames.shape[1] == n_frames - 6 == sum(counts)
    kernel, bias = model.m_net.layers[-1].get_weights()
    edges = np.cumsum([0, *counts])
    means = [
        (frames[:, a:b] @ kernel + bias).mean(axis=1)
        for a, b in zip(edges, edges[1:], strict=False)
    ]
    expected = np.repeat(np.stack(means, axis=1), repeats, axis=1)
    np.testing.assert_allclose(q["m"].mean, expected[..., :8], atol=1e-5)
    np.testing.assert_allclose(q["m"].log_variance, expected[..., 8:], atol=1e-5)
    # h is one for the recording, z differs from frame to frame.
    assert np.ptp(q["h"].mean, axis=1).max() == 0 < np.ptp(q["z"].mean, axis=1).min()


def test_every_frame_has_noise_of_its_own_around_one_mean():
    model = small()
    x = np.random.default_rng(0).uniform(0, 1, (1, 400, 5)).astype("float32")
    q, sample = model.encode(x)
    deviation = (sample["h"] - q["h"].mean) / np.exp(0.5 * np.array(q["h"].log_variance))
    assert abs(np.mean(deviation)) < 0.1 and np.std(deviation) == pytest.approx(1, abs=0.05)
    again = model.encode(x)[1]["h"]
    assert not np.allclose(again, sample["h"])
    _, means = model.encode(x, sampled=False)
    np.testing.assert_array_equal(means["h"], q["h"].mean)


def test_dropout_is_of_what_m_and_z_hear():
    x = np.random.default_rng(0).uniform(0, 1, (1, 30, 5)).astype("float32")

    def means(**changes):
        model = small(dropout=0.5, **changes)
        found = [model.encode(x, sampled=False)[0] for _ in range(2)]
        return [np.array_equal(found[0][name].mean, found[1][name].mean) for name in "hmz"]

    assert means() == [True, True, True]
    assert means(legacy_dropout=True) == [True, False, False]  # z hears m
    model = small(dropout=0.5)
    one, other = (model.encode(x, training=True, sampled=False)[0] for _ in range(2))
    np.testing.assert_allclose(one["h"].mean, other["h"].mean, atol=1e-6)
    assert not np.allclose(one["m"].mean, other["m"].mean)


# Eq. (5).


def by_numpy(model, x, noise):
    """The bound, step by step from the paper and the authors' code, in float64."""
    weights = {v.path: v.numpy().astype("float64") for v in model.weights}

    def run(name, x):
        for layer in getattr(model, name).layers:
            w = [weights[v.path] for v in layer.weights]
            kind = type(layer).__name__
            if kind == "Conv1D":
                kernel, bias = w
                x = sum(x[:, k : x.shape[1] - 2 + k] @ kernel[k] for k in range(3)) + bias
            elif kind == "Dense":
                x = x @ w[0] + w[1]
                x = 1 / (1 + np.exp(-x)) if layer.activation is keras.activations.sigmoid else x
            elif kind == "Activation":
                x = np.tanh(x)
            elif kind == "BatchNormalization":
                gamma, beta, mean, variance = w
                x = (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta
            elif kind == "MeanOfChunks":
                size = layer.size or x.shape[1]
                chunks = [x[:, i : i + size].mean(axis=1) for i in range(0, x.shape[1], size)]
                x = np.stack(chunks, axis=1)
        return x

    def log_normal(sample, mean, log_variance):
        variance = np.exp(log_variance)
        density = np.exp(-((sample - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
        return np.log(density).mean()

    def draw(parameters, noise):
        mean, log_variance = np.split(parameters, 2, axis=-1)
        return mean + np.exp(0.5 * log_variance) * noise, mean, log_variance

    ones, n = np.ones_like(x[:, :1]), x.shape[1]
    given, target = x, x
    if model.predictive:
        given, target, n = np.concatenate([ones, x], 1), np.concatenate([x, ones], 1), n + 1
    h, *q_h = draw(np.repeat(run("h_net", given), n, axis=1), noise[0])
    latent = h
    if model.medium:
        chunks = run("m_net", np.concatenate([given, h], -1))
        size, n_chunks = SMALL["chunk_frames"], chunks.shape[1]
        lengths = [size] * (n_chunks - 1) + [n - size * (n_chunks - 1)]
        m, *q_m = draw(np.repeat(chunks, lengths, axis=1), noise[1])
        latent = m
    z, *q_z = draw(run("z_net", np.concatenate([given, latent], -1)), noise[-1])
    p_h = np.split(run("h_predictor", z), 2, axis=-1)
    log_p_x = -((target - run("decoder", z)) ** 2).sum(axis=-1).mean()
    log_p = log_p_x
    log_p += 0.5 * (log_normal(z, 0 * z, 0 * z) - log_normal(z, *q_z))
    if model.medium:
        p_m = np.split(run("m_predictor", np.concatenate([h, z], -1)), 2, axis=-1)
        log_p += 0.25 * (log_normal(m, *p_m) - log_normal(m, *q_m))
    log_p += 2.0 * (log_normal(h, *p_h) - log_normal(h, *q_h))
    return -log_p, -log_p_x


@pytest.mark.parametrize("medium", [True, False])
@pytest.mark.parametrize("predictive", [True, False])
def test_the_bound_is_that_of_numpy(monkeypatch, medium, predictive):
    model = small(medium=medium, predictive=predictive)
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 1, (3, 26, 5))
    n_frames = 26 + predictive
    noise = rng.normal(0, 1, (2 + medium, 3, n_frames, 8))
    given = iter(noise.astype("float32"))
    monkeypatch.setattr(replicas, "normal_like", lambda *_: next(given))
    found = model.bound(x.astype("float32"))
    loss, reconstruction = by_numpy(model, x, noise)
    assert float(found["loss"]) == pytest.approx(loss, rel=1e-5)
    assert float(found["reconstruction"]) == pytest.approx(reconstruction, rel=1e-5)
    terms = found["reconstruction"] + 0.5 * found["kl_z"] + 2.0 * found["kl_h"]
    terms += 0.25 * found["kl_m"] if medium else 0
    assert float(terms) == pytest.approx(loss, rel=1e-5)


def test_a_density_by_hand():
    # N(2; 1, 4): -0.5 (ln 2 pi + ln 4 + 1 / 4).
    found = network.log_density(np.float32([[[2.0]]]), network.Normal(1.0, np.log(np.float32(4))))
    assert float(found) == pytest.approx(-0.5 * (np.log(2 * np.pi) + np.log(4) + 0.25), rel=1e-6)
    far = network.normal(np.float32([[[0.0, 50.0]]]))
    assert float(far.log_variance[0, 0, 0]) == network.LOG_VARIANCE


def test_a_frame_is_decoded_from_the_one_before_it():
    model = small(predictive=True)
    x = np.random.default_rng(0).uniform(0, 1, (1, 10, 5)).astype("float32")
    given = np.concatenate([np.ones((1, 1, 5), "float32"), x], axis=1)
    _, samples = model.encode(given, sampled=False)
    expected = model.decoder(samples["z"])[:, :10]  # of frames "-1" to 8: frames 0 to 9
    np.testing.assert_allclose(model(x, sampled=False), expected, atol=1e-6)
    plain = small()
    _, samples = plain.encode(x, sampled=False)
    np.testing.assert_allclose(plain(x, sampled=False), plain.decoder(samples["z"]), atol=1e-6)


def test_a_style_takes_the_place_of_one_s_own(monkeypatch):
    model = small()
    rng = np.random.default_rng(0)
    one, other = rng.uniform(0, 1, (2, 1, 20, 5)).astype("float32")
    own, _ = model.encode(one, sampled=False)
    style, _ = model.encode(other, sampled=False)
    mixed, _ = model.encode(one, sampled=False, style={"h": style["h"]})
    np.testing.assert_array_equal(mixed["h"].mean, style["h"].mean)
    assert not np.allclose(mixed["m"].mean, own["m"].mean)  # which hears h
    mixed, _ = model.encode(one, sampled=False, style={"m": style["m"]})
    np.testing.assert_array_equal(mixed["m"].mean, style["m"].mean)
    np.testing.assert_array_equal(mixed["h"].mean, own["h"].mean)
    assert not np.allclose(mixed["z"].mean, own["z"].mean)


# Training.


def test_gradients_are_clipped_to_their_norm():
    model = small()
    model.compile(clip_norm=1e-3)
    given = []
    model.optimizer.apply = lambda gradients, variables: given.extend(gradients)
    x = np.random.default_rng(0).uniform(0, 1, (4, 20, 5)).astype("float32")
    model.train_step(tf.constant(x))
    assert len(given) == len(model.trainable_variables) and None not in given
    assert float(tf.linalg.global_norm(given)) == pytest.approx(1e-3, rel=1e-4)


def test_the_seed_reaches_the_noise():
    """That of the default seed is as it was: of seed 0, then a counter."""
    found = []
    for seed in (0, 1):
        hp = hyperparameters(f"vae.seed={seed}")
        model = pretraining.compiled_network(hp, make_mel_pieces(hp), "none")
        x = np.zeros((1, 16, 12), "float32")
        q, samples = model.encode(x)
        found.append((samples["h"] - q["h"].mean) / np.exp(0.5 * np.array(q["h"].log_variance)))
        expected = tf.random.stateless_normal([1, 16, 8], [seed, 0])
        np.testing.assert_allclose(found[-1], expected, atol=1e-5)
    assert not np.allclose(*found)


def test_networks_of_other_seeds_are_trained_again(tmp_path, monkeypatch):
    """Their noise was once that of seed 0; networks of seed 0 are read."""
    keys = []
    monkeypatch.setattr(pretraining, "cached_network", lambda _, key, *more: keys.append(key))
    utterances, run = sounds(tmp_path, n_takes=1, speakers="a"), run_in(tmp_path)
    for seed in (0, 1):
        pretraining.pretrained_network(
            utterances, hyperparameters(f"vae.seed={seed}"), run, max_epochs=1
        )
    assert [key["version"] for key in keys] == [1, 2]


def test_a_saved_network_is_the_same(tmp_path):
    model = small()
    model.compile()
    model.save_for_prediction(tmp_path / "vae.keras")
    again = keras.saving.load_model(tmp_path / "vae.keras")
    assert again.settings == model.settings
    x = np.random.default_rng(0).uniform(0, 1, (2, 20, 5)).astype("float32")
    for name, one in model.encode(x, sampled=False)[0].items():
        np.testing.assert_array_equal(one.mean, again.encode(x, sampled=False)[0][name].mean)


# A corpus.

TINY = (
    "features.sample_rate_hz=8000", "features.n_fft=256", "features.hop_samples=128",
    "features.n_bands=12", "input.seconds=0.5", "input.n_frames=32", "input.shortest_seconds=0.25",
    "model.n_latent=8", "model.chunk_frames=8", "vae.corpus=tested", "vae.max_epochs=1",
    "vae.batch_size=8", "vae.continued_epochs=0", "probe.epochs=2", "probe.units=8",
)  # fmt: skip


def hyperparameters(*overrides, corpus="emodb"):
    return load_hparams("auxvae", corpus, overrides=[*TINY, *overrides])


def run_in(folder, protocol="paper", n_folds=None, seeds=(0,), strategy="none"):
    return run_directory.Run(
        folder, folder / "cache", "emodb", protocol, n_folds, seeds, strategy, 0
    )


def sounds(folder, n_takes=3, speakers="abcd", **more):
    """Tones, higher for women, louder for anger; half of them in two pieces."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, utterances = np.random.default_rng(0), []
    for number, speaker in enumerate(speakers):
        for emotion in ("anger", "sadness"):
            for take in range(n_takes):
                name = f"{speaker}-{emotion}-{take}"
                t = np.arange(8000 if take % 2 else 4000) / 8000
                hz = 300 + 150 * number + (900 if emotion == "anger" else 0)
                sound = 0.3 * np.sin(2 * np.pi * hz * t) + rng.normal(0, 0.01, len(t))
                soundfile.write(folder / f"{name}.wav", sound, 8000)
                utterances.append(
                    Utterance(
                        folder / f"{name}.wav",
                        name,
                        speaker,
                        emotion,
                        gender="female" if number % 2 else "male",
                        activation=0.5 + 0.3 * (emotion == "anger") + 0.02 * take,
                        valence=-0.2 * number,
                        **more,
                    )  # fmt: skip
                )
    return utterances


def test_what_is_to_be_found(tmp_path):
    utterances = sounds(tmp_path)
    chosen = corpus_of.select_utterances(utterances, hyperparameters("labels.target=speaker"))
    assert {u.emotion for u in chosen} == set("abcd")
    chosen = corpus_of.select_utterances(utterances, hyperparameters("labels.target=gender"))
    assert {u.emotion for u in chosen} == {"female", "male"}
    unknown = [replace(u, gender=None) if u.speaker == "a" else u for u in utterances]
    chosen = corpus_of.select_utterances(unknown, hyperparameters("labels.target=gender"))
    assert {u.speaker for u in chosen} == set("bcd")
    rated = [replace(u, valence=None) if u.speaker == "a" else u for u in utterances]
    chosen = corpus_of.select_utterances(rated, hyperparameters("labels.target=ratings"))
    assert {u.speaker for u in chosen} == set("bcd")


@pytest.mark.parametrize(
    ("target", "change", "message"),
    [
        ("gender", {"gender": None}, "no utterance has a gender; use --set labels.target=emotion"),
        ("gender", {"gender": "male"}, "fewer than two classes"),
        ("ratings", {"activation": None}, "no utterance has ratings of arousal and valence"),
        ("speaker", {"speaker": "a"}, "fewer than two classes"),
    ],
)
def test_nothing_to_be_found(tmp_path, target, change, message):
    utterances = [replace(u, **change) for u in sounds(tmp_path)]
    with pytest.raises(DataError, match=message):
        corpus_of.select_utterances(utterances, hyperparameters(f"labels.target={target}"))


def test_a_speaker_with_one_utterance(tmp_path):
    hp = hyperparameters("labels.target=speaker")
    utterances = corpus_of.select_utterances(sounds(tmp_path)[5:], hp)
    with pytest.raises(DataError, match="1 of 4 speakers have one utterance, the first is a"):
        splits_of.make_splits(utterances, hp, run_in(tmp_path), 0)


def test_the_folds(tmp_path):
    utterances = sounds(tmp_path, n_takes=5)  # ten of each of four speakers

    def plan(target, protocol="paper", of=utterances, **options):
        hp = hyperparameters(f"labels.target={target}")
        chosen = corpus_of.select_utterances(of, hp)
        splits = splits_of.make_splits(chosen, hp, run_in(tmp_path, protocol, **options), 0)
        return splits, is_speaker_independent([u.speaker for u in chosen], splits)

    for target in ("speaker", "gender", "emotion", "ratings"):
        splits, strict = plan(target)
        assert len(splits) == 5 and not strict
        assert sorted(np.concatenate([s.test for s in splits])) == list(range(40))
        for split in splits:
            assert len(split.test) == 8 and not len(split.dev)
            if target == "speaker":  # two of each
                assert [utterances[i].speaker for i in split.test] == list("aabbccdd")
    splits, strict = plan("gender", "loso", n_folds=2)
    assert strict and [len(s.test) for s in splits] == [20, 20]
    splits, strict = plan("ratings", "loso")
    assert strict and len(splits) == 4
    with pytest.raises(UsageError, match="--target speaker is to find them"):
        plan("speaker", "loso")
    # The corpus's own parts, of what the paper has them for.
    parts = dict(zip("abcd", ("train", "train", "dev", "test"), strict=True))
    official = [replace(u, split=parts[u.speaker]) for u in utterances]
    [split], strict = plan("ratings", of=official)
    assert strict and [len(part) for part in split] == [20, 10, 10]
    assert len(plan("ratings", of=official, n_folds=4)[0]) == 4
    assert len(plan("gender", of=official)[0]) == 5
    # No test part is no reason for folds of one's own.
    untested = [u for u in official if u.split != "test"]
    with pytest.raises(DataError, match="train has 20 utterances that can be used and test 0"):
        plan("ratings", of=untested)
    with pytest.raises(DataError, match="fewer than the 11 folds"):
        plan("speaker", n_folds=11)
    with pytest.raises(UsageError, match="--folds 5: the corpus has 4 speakers"):
        plan("gender", "loso", n_folds=5)
    # A dev part where it is what is scored.
    for target, protocol in (("speaker", "paper"), ("gender", "loso")):
        hp = hyperparameters(f"labels.target={target}")
        chosen = corpus_of.select_utterances(utterances, hp)
        run = replace(run_in(tmp_path, protocol), evaluate="dev")
        tested, _ = plan(target, protocol)
        for split, of_test in zip(splits_of.make_splits(chosen, hp, run, 0), tested, strict=True):
            assert len(split.dev) and (split.test == split.dev).all()
            assert not set(split.train) & set(split.dev)
            assert not set(of_test.test) & {*split.train, *split.dev}


def lists(folder, train, test):
    """Two lists in `folder` and the hyperparameters with them."""
    for name, names in (("train.txt", train), ("test.txt", test)):
        (folder / name).write_text("".join(f"{line}\n" for line in names))
    return f"protocol.lists={folder / 'train.txt'}, {folder / 'test.txt'}"


def test_the_split_of_two_lists(tmp_path, caplog):
    utterances = sounds(tmp_path)
    names = [u.name for u in utterances]
    setting = lists(tmp_path, names[:0:-2], ["", *names[2::4], ""])
    for target in ("speaker", "gender"):
        hp = hyperparameters(f"labels.target={target}", setting)
        with caplog.at_level("INFO"):
            splits_of.check_lists(utterances, hp)
        assert caplog.messages.pop() == (
            "protocol.lists: 6 of 24 utterances are in neither list, the first is a-anger-0"
        )
        chosen = corpus_of.select_utterances(utterances, hp)
        [split] = splits_of.make_splits(chosen, hp, run_in(tmp_path), 0)
        assert [part.tolist() for part in split] == [
            list(range(1, 24, 2)), [], list(range(2, 24, 4))
        ]  # fmt: skip
    run = replace(run_in(tmp_path), evaluate="dev")
    [split] = splits_of.make_splits(chosen, hp, run, 0)
    assert {*split.train, *split.dev} == {*range(1, 24, 2)} and len(split.dev) == 2
    for more in ({"protocol": "loso"}, {"n_folds": 3}):
        with pytest.raises(UsageError, match="is one split; leave out --folds and --protocol"):
            splits_of.make_splits(chosen, hp, replace(run_in(tmp_path), **more), 0)
    with pytest.raises(DataError, match="none of the utterances that \\[labels\\] select"):
        splits_of.make_splits(chosen[::2], hp, run_in(tmp_path), 0)


def test_one_autoencoder_serves_the_rows_of_two_lists(tmp_path, monkeypatch):
    keys = []
    monkeypatch.setattr(pretraining, "cached_network", lambda _, key, *more: keys.append(key))
    utterances, run = sounds(tmp_path, speakers="ab"), run_in(tmp_path)
    names = [u.name for u in utterances]
    for target in ("speaker", "gender"):
        hp = hyperparameters(f"labels.target={target}", lists(tmp_path, names[::2], names[1::2]))
        chosen = corpus_of.select_utterances(utterances, hp)
        [split] = splits_of.make_splits(chosen, hp, run, 0)
        dataset = SimpleNamespace(utterances=chosen)
        experiment.fold_network(experiment.Experiment(dataset, hp, run, None, None), split)
    assert len(keys) == 2 and keys[0] == keys[1] and keys[0]["known"]


@pytest.mark.parametrize(
    ("train", "test", "change", "kind", "message"),
    [
        ("ab", "b", {}, DataError, "1 utterances are in both lists, the first is b; take each"),
        ("a", "", {}, DataError, "test.txt names no utterance"),
        (
            "ax",
            "by",
            {},
            DataError,
            "2 of 4 utterances are not in the corpus, the first is x; comp",
        ),
        ("a", "b", {".txt,": ".text,"}, UsageError, "cannot read .*train.text \\(No such file"),
        ("a", "b", {", ": " and "}, UsageError, "expected two files, such as TRAIN.txt,TEST.txt"),
    ],
)
def test_lists_that_make_no_split(tmp_path, train, test, change, kind, message):
    setting = lists(tmp_path, train, test)
    for old, new in change.items():
        setting = setting.replace(old, new)
    with pytest.raises(kind, match=message):
        splits_of.check_lists(
            [SimpleNamespace(name=name) for name in "ab"], hyperparameters(setting)
        )


def test_a_list_that_is_no_text(tmp_path):
    setting = lists(tmp_path, "a", "b")
    (tmp_path / "test.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="test.txt \\(it is no text"):
        splits_of.read_lists(hyperparameters(setting))


def test_rare_speakers_are_named(tmp_path, caplog):
    """Five of each but for c, with two: folds of a half."""
    hp = hyperparameters("labels.target=speaker")
    utterances = corpus_of.select_utterances(sounds(tmp_path, n_takes=3), hp)
    rare = [u for i, u in enumerate(utterances) if u.speaker != "c" or i % 6 < 2]
    for seed in (0, 1):  # a warning, not one a seed
        splits = splits_of.make_splits(rare, hp, run_in(tmp_path, seeds=(0, 1)), seed)
        assert [len(s.test) for s in splits] == [10, 10]
    assert caplog.messages == [
        "1 of 4 speakers have fewer than 5 utterances, the first is c, the fewest are 2: 2 folds "
        "in place of 5, each trained on 50 % of the utterances in place of 80 %"
    ]


def test_pieces_know_whose_they_are(tmp_path):
    utterances = sounds(tmp_path)
    speech = corpus_of.load_dataset(utterances, hyperparameters(), run_in(tmp_path))
    assert speech.classes == ["anger", "sadness"]
    expected = np.repeat(np.arange(24), [1, 2, 1] * 8)
    np.testing.assert_array_equal(speech.utterance, expected)
    assert speech.pieces.shape == (32, 32, 12)
    whole = corpus_of.load_dataset(
        utterances, hyperparameters("input.seconds=0.75", "input.n_frames=47",
                                    "input.drop_short=true"), run_in(tmp_path)
    )  # fmt: skip
    assert [u.name for u in whole.utterances] == [u.name for u in utterances if u.name[-1] == "1"]
    assert len(whole.pieces) == len(whole.y) == 8
    with pytest.raises(DataError, match="no utterance is long enough; use --set input.drop_short"):
        corpus_of.load_dataset(
            utterances, hyperparameters("input.seconds=2.0", "input.n_frames=126",
                                        "input.drop_short=true"), run_in(tmp_path)
        )  # fmt: skip


# Pre-training.


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network after an epoch: (its file, the utterances it was trained on, the run)."""
    folder = tmp_path_factory.mktemp("trained")
    utterances, run = sounds(folder / "wavs"), run_in(folder)
    path = pretraining.pretrained_network(utterances, hyperparameters(), run, max_epochs=1)
    return path, utterances, run


def test_files_of_a_network(trained):
    folder = trained[0].parent
    assert {p.name for p in folder.iterdir() if p.is_file()} >= {
        "vae.keras", "history.csv", "history.png", "reconstruction.png"
    }  # fmt: skip
    assert not list(folder.rglob("state.npz"))


def test_a_part_of_a_corpus_and_a_start(tmp_path, eager):
    hp = hyperparameters("vae.learning_rate=1e-8")
    utterances, run = sounds(tmp_path / "wavs"), run_in(tmp_path)
    known = np.arange(0, 24, 6)
    path = pretraining.pretrained_network(utterances, hp, run, known=known, max_epochs=1)
    assert pretraining.pretrained_network(utterances, hp, run, known=known, max_epochs=1) == path
    other = pretraining.pretrained_network(utterances, hp, run, known=known + 1, max_epochs=1)
    # The same pieces, and no others, as those utterances alone would give.
    layer = make_mel_pieces(hp)
    stored = feature_cache.store_features(utterances, layer, cache=run.cache)
    counts = np.concatenate(stored.n_frames) // 32
    kept = np.repeat(np.isin(np.arange(24), known), counts)
    n = int(kept.sum())
    options = {"n_frames": 32, "batch_size": n, "seed": 3}
    [batch] = pipelines.stream_pieces(stored, epoch=0, kept=kept, **options)
    alone = feature_cache.load_features(
        [utterances[i] for i in known], layer, cache=run.cache
    ).frames
    expected = np.sort(alone.reshape(n, -1).sum(axis=1))
    np.testing.assert_array_equal(np.sort(batch.numpy().reshape(n, -1).sum(axis=1)), expected)
    # At such a rate nothing moves: a continued network is the one it began with.
    more = pretraining.pretrained_network(
        utterances, hp, run, known=known, start=path, max_epochs=1
    )
    assert len({path, other, more}) == 3
    one, continued = (keras.saving.load_model(p).trainable_variables for p in (path, more))
    for a, b in zip(one, continued, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_collapse_is_named(tmp_path, monkeypatch, caplog, eager):
    monkeypatch.setattr(pretraining, "LEAST_NATS", 1e6)
    utterances = sounds(tmp_path, n_takes=1, speakers="ab")
    pretraining.pretrained_network(utterances, hyperparameters(), run_in(tmp_path), max_epochs=1)
    said = [r.getMessage() for r in caplog.records if "collapsed" in r.getMessage()]
    assert len(said) == 3 and "vae: z: KL of q(z | ..) to N(0, I) stays at" in said[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["vae.corpus=librispeach"], "did you mean 'librispeech'"),
        (['vae.corpus=""'], "trains no network; name a corpus, or give vae.weights"),
        (["vae.weights=nowhere.keras"], "keep one of them"),
        (['vae.corpus=""', "vae.weights=nowhere.keras"], "there is no file nowhere.keras"),
        (["vae.n_talks=3"], "vae.corpus=tedlium alone"),
    ],
)
def test_networks_that_are_not_there(settings, message):
    hp = hyperparameters(*settings)
    with pytest.raises(UsageError, match=message):
        pretraining.check_hparams(hp, make_mel_pieces(hp))


def test_a_network_of_other_settings(tmp_path, trained):
    path, *_ = trained
    given = ['vae.corpus=""', f"vae.weights={path}"]
    hp = hyperparameters(*given)
    pretraining.check_hparams(hp, make_mel_pieces(hp))
    hp = hyperparameters(*given, "model.n_latent=12")
    with pytest.raises(UsageError, match="other settings \\(n_latent: 8, not 12\\)"):
        pretraining.check_hparams(hp, make_mel_pieces(hp))
    hp = hyperparameters(*given, "features.sample_rate_hz=16000", "input.n_frames=63")
    with pytest.raises(UsageError, match="sample_rate_hz: 8000, not 16000, n_frames: 32, not 63"):
        pretraining.check_hparams(hp, make_mel_pieces(hp))
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    other.save(tmp_path / "other.keras")
    hp = hyperparameters('vae.corpus=""', f"vae.weights={tmp_path / 'other.keras'}")
    with pytest.raises(UsageError, match="no vae.keras of an earlier run"):
        pretraining.check_hparams(hp, make_mel_pieces(hp))
    (tmp_path / "text.keras").write_text("no network")
    hp = hyperparameters('vae.corpus=""', f"vae.weights={tmp_path / 'text.keras'}")
    with pytest.raises(UsageError, match="no vae.keras of an earlier run"):
        pretraining.check_hparams(hp, make_mel_pieces(hp))


@pytest.mark.parametrize("kind", ["samples", "means"])
def test_latents_are_means_over_frames(trained, kind):
    hp = hyperparameters(f"probe.latents={kind}")
    path, utterances, run = trained
    speech = corpus_of.load_dataset(utterances, hp, run)
    found = pretraining.load_latents(path, speech, hp, run)
    np.testing.assert_allclose(found["mel"], speech.pieces.mean(axis=1), atol=1e-6)
    q, _ = keras.saving.load_model(path).encode(speech.pieces, sampled=False)
    for name in "hmz":
        mean = np.mean(q[name].mean, axis=1)
        assert found[name].shape == mean.shape == (32, 8)
        if kind == "means":
            np.testing.assert_allclose(found[name], mean, atol=1e-5)
        else:
            assert not np.allclose(found[name], mean, atol=1e-3)
    for file in run.cache.glob("latents-*"):
        file.unlink()
    again = pretraining.load_latents(path, speech, hp, run)
    for name in found:
        np.testing.assert_array_equal(found[name], again[name])


# Probes.


def test_concordance_is_the_authors():
    rng = np.random.default_rng(0)
    y, p = rng.normal(0, 1, (2, 32, 1)).astype("float32")
    p += 0.5 * y
    r = np.corrcoef(y[:, 0], p[:, 0])[0, 1]
    expected = (
        2 * r * y.std(ddof=1) * p.std(ddof=1)
        / (y.var(ddof=1) + p.var(ddof=1) + (y.mean() - p.mean()) ** 2)
    )  # fmt: skip
    assert float(probes.concordance(y, p)) == pytest.approx(expected, rel=1e-5)
    # Which is the challenge's, but for the unbiased variances.
    assert metrics.ccc(y[:, 0], p[:, 0]) == pytest.approx(expected, abs=0.02)
    assert float(probes.concordance(y[:1], p[:1])) == 0  # not nan
    constant = np.full_like(y, 0.5)
    assert float(probes.concordance(constant, p)) == 0
    assert float(probes.concordance(constant, constant)) == 0


def test_the_ccc_of_batches_is_divided_by_one_less():
    rng = np.random.default_rng(0)
    y = rng.normal(0, 1, 96).astype("float32")
    assert probes.ccc_of_batches(y, y, seed=0) == pytest.approx(3 / 2)
    assert probes.ccc_of_batches(y[:32], y[:32], seed=0) is None
    order = np.random.default_rng(5).permutation(96)
    p = (y + rng.normal(0, 1, 96)).astype("float32")
    cccs = [float(probes.concordance(y[b], p[b])) for b in order.reshape(3, 32)]
    assert probes.ccc_of_batches(y, p, seed=5) == pytest.approx(sum(cccs) / 2, rel=1e-6)


def latent_speech(rng, n=120, n_classes=3):
    """Latents of which "h" knows the class and "z" nothing, one or two pieces an utterance."""
    classes = np.arange(n) % n_classes
    utterance = np.repeat(np.arange(n), 1 + np.arange(n) % 2)
    centres = rng.normal(0, 2, (n_classes, 6))
    h = rng.normal(0, 0.3, (len(utterance), 6)) + centres[classes[utterance]]
    latents = {"h": h.astype("float32"), "z": rng.normal(0, 1, h.shape).astype("float32")}
    speech = SimpleNamespace(classes=list("pqr"), y=classes, utterance=utterance)
    known = np.arange(n) < 80
    split = Split(np.flatnonzero(known), np.empty(0, int), np.flatnonzero(~known))
    return latents, speech, split


def probed(make, latents, speech, split, hp):
    """What a network of probes finds, trained."""
    return probes.train_probes(make(latents, speech, hp), latents, speech, split, hp, 0)


def test_probes_find_what_is_there():
    latents, speech, split = latent_speech(np.random.default_rng(0))
    keras.utils.set_random_seed(0)
    hp = hyperparameters("probe.epochs=60", "probe.learning_rate=1e-2")
    found = probed(probes.make_classifiers, latents, speech, split, hp)
    tested = np.isin(speech.utterance, split.test)
    y = speech.y[speech.utterance[tested]]
    assert found["h"].shape == (tested.sum(), 3)
    np.testing.assert_allclose(found["h"].sum(axis=1), 1, atol=1e-5)
    assert np.mean(found["h"].argmax(axis=1) == y) > 0.95
    assert np.mean(found["z"].argmax(axis=1) == y) < 0.6


def test_the_spectrogram_is_standardized():
    """A class that a band tells by a thousandth of its level, which Adam alone would not find."""
    latents, speech, split = latent_speech(np.random.default_rng(0))
    latents["mel"] = 0.7 + 1e-3 * latents["h"]
    keras.utils.set_random_seed(0)
    hp = hyperparameters("probe.epochs=30", "probe.learning_rate=1e-2")
    network = probes.make_classifiers(latents, speech, hp)
    found = probes.train_probes(network, latents, speech, split, hp, 0)["mel"]
    y = speech.y[speech.utterance]
    tested = np.isin(speech.utterance, split.test)
    assert np.mean(found.argmax(axis=1) == y[tested]) > 0.95
    known = latents["mel"][np.isin(speech.utterance, split.train)]
    np.testing.assert_allclose(
        network.get_layer("standardize").mean, known.mean(axis=0)[None], rtol=1e-5
    )


def test_a_probe_beside_others_is_the_probe_alone():
    """They share the batches; weights are drawn in turn, so the first one's are the same."""
    latents, speech, split = latent_speech(np.random.default_rng(0))
    hp, found = hyperparameters("probe.epochs=10"), []
    for names in (("h", "z"), ("h",)):
        keras.utils.set_random_seed(0)
        given = {name: latents[name] for name in names}
        found.append(probed(probes.make_classifiers, given, speech, split, hp)["h"])
    np.testing.assert_allclose(*found, atol=1e-6)


def test_regression_by_each_loss():
    latents, speech, split = latent_speech(np.random.default_rng(0))
    y = np.stack([speech.y - 1.0, -2.0 * (speech.y == 0)], axis=1).astype("float32")
    speech.y, speech.classes = y, []
    keras.utils.set_random_seed(0)
    settings = ["probe.epochs=40", "probe.learning_rate=1e-2", "probe.units=32"]
    found = probed(probes.make_regressors, latents, speech, split, hyperparameters(*settings))
    assert len(found) == 8
    truth = y[speech.utterance[np.isin(speech.utterance, split.test)]]
    for key, p in found.items():
        name, _, attribute = key.split("-")
        ccc = metrics.ccc(truth[:, list(regression_report.ATTRIBUTES).index(attribute)], p)
        assert (ccc > 0.8) == (name == "h"), (key, ccc)


def test_probes_that_go_astray():
    latents, speech, split = latent_speech(np.random.default_rng(0))
    latents["h"][3] = np.nan
    with pytest.raises(TfserError, match="lower --set probe.learning_rate"):
        probed(probes.make_classifiers, latents, speech, split, hyperparameters())


def test_an_utterance_is_the_mean_of_its_pieces():
    values = np.float32([[1, 0], [0, 1], [0.5, 0.5], [1, 1]])
    found = experiment.utterance_means(values, np.array([2, 2, 5, 9]), np.array([2, 5, 9]))
    np.testing.assert_allclose(found, [[0.5, 0.5], [0.5, 0.5], [1, 1]])
    speech = SimpleNamespace(utterance=np.array([0, 0, 1, 2, 2]))
    splits = [Split([], [], np.array([0, 2])), Split([], [], np.array([1]))]
    pieces = experiment.merge_pieces(speech, splits, [np.array([10, 11, 30, 31]), np.array([20])])
    np.testing.assert_array_equal(pieces, [10, 11, 20, 30, 31])


# A run.


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def table(folder, **more):
    """sounds() as a table for the command line."""
    utterances = sounds(folder, **{"n_takes": 4} | more)
    lines = ["file,speaker,emotion,gender,activation,valence,split"]
    lines += [
        f"{u.path.name},{u.speaker},{u.emotion},{u.gender},{u.activation},{u.valence},"
        f"{'test' if u.speaker == 'd' else 'train'}"
        for u in utterances
    ]
    (folder / "tones.csv").write_text("\n".join(lines) + "\n")
    return folder / "tones.csv"


def command(tmp_path, *more):
    tiny = [f"--set={override}" for override in TINY]
    return ["--model", "auxvae", "--corpus", str(tmp_path / "tones.csv"), "--protocol", "paper",
            "--cache", str(tmp_path / "cache"), *tiny, *more]  # fmt: skip


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    """A run of four folds: (folder of the run and of its recordings, the command, its answer)."""
    folder = tmp_path_factory.mktemp("finished")
    table(folder, n_takes=2)
    more = [
        "--target",
        "gender",
        "--protocol",
        "loso",
        "--set=vae.learning_rate=1e-2",
        f"--workdir={folder / 'run'}",
    ]
    arguments = command(folder, *more)
    tf.config.run_functions_eagerly(True)  # `trained` is a graph
    try:
        return folder, arguments, called(main, *arguments)
    finally:
        tf.config.run_functions_eagerly(False)


def test_a_run_of_classes(finished_run, monkeypatch):
    folder, arguments, answer = finished_run
    assert answer.code == 0, answer.err
    run, result = folder / "run", answer.out.splitlines()[-1]
    assert result.startswith("RESULT model=auxvae corpus=tones protocol=loso ")
    assert "speaker_independent=yes" in result and result.endswith("target=gender")
    scores = json.loads((run / "scores.json").read_text())
    assert list(scores["systems"]) == ["mel", "m", "z", "h"] and scores["folds"] == 4
    assert scores["uar"] == scores["systems"]["h"]["uar"]["mean"]
    rows = [row for row in rows_of(run / "predictions.csv") if row["system"] == "h"]
    assert len(rows) == 16 and {row["emotion"] for row in rows} == {"female", "male"}
    y, p = ([row[key] for row in rows] for key in ("emotion", "predicted"))
    assert metrics.uar(y, p) == pytest.approx(scores["uar"])
    of_pieces = []
    hp = hyperparameters("labels.target=gender")
    speech = corpus_of.load_dataset(
        corpus_of.select_utterances(load_corpus(folder / "tones.csv"), hp), hp, run_in(folder)
    )
    tested_speakers = [{row["speaker"] for row in rows if row["fold"] == fold} for fold in "0123"]
    assert [len(speakers) for speakers in tested_speakers] == [1] * 4
    assert set.union(*tested_speakers) == set("abcd")
    for number, tested in enumerate(tested_speakers):
        outputs = np.load(run / "seed-0" / f"fold-{number:02}" / "test.npz")["h"]
        whose = np.array([speech.utterances[i].speaker in tested for i in speech.utterance])
        of_pieces += list(outputs.argmax(axis=1) == speech.y[speech.utterance[whose]])
    expected = pytest.approx(np.mean(of_pieces))
    assert len(of_pieces) == 24 and scores["systems"]["h"]["wa_of_pieces"]["mean"] == expected
    first_fold = run / "seed-0" / "fold-00"
    assert keras.saving.load_model(first_fold / "vae.keras").settings["n_latent"] == 8
    assert (run / "confusion.png").exists() and (run / "tsne-h.png").exists()
    assert (run / "events" / "tsne-m" / "vectors.tsv").exists()
    # The same command again: nothing is trained, the same is said.
    monkeypatch.setattr(tsne, "write_map", lambda *_: None)
    before = (first_fold / "test.npz").stat().st_mtime_ns
    again = called(main, *arguments)
    assert again.code == 0 and again.out.splitlines()[-1] == result
    assert (first_fold / "test.npz").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_run_of_ratings(tmp_path, capsys):
    table(tmp_path)
    run = tmp_path / "run"
    more = ["--set=probe.epochs=30", "--set=probe.learning_rate=1e-2", f"--workdir={run}"]
    more += ["--seeds", "2", "--set=vae.continued_epochs=1"]
    assert main(command(tmp_path, "--target", "ratings", *more)) == 0
    result = capsys.readouterr().out.splitlines()[-1]
    assert result.startswith("RESULT model=auxvae corpus=tones protocol=paper speaker_independent=")
    scores = json.loads((run / "scores.json").read_text())
    assert f"ccc_arousal={scores['ccc_arousal']:.4f}" in result and "folds=1 seeds=2" in result
    assert list(scores["systems"])[-2:] == ["m, MSE", "m, CCC"] and len(scores["systems"]) == 8
    assert "then 1 of the training part" in scores["facts"][0]
    rows = [
        row for row in rows_of(run / "predictions.csv")
        if row["system"] == "m, CCC" and row["seed"] == "1"
    ]  # fmt: skip
    assert len(rows) == 8 and {row["speaker"] for row in rows} == {"d"}
    y, p = ([float(row[key]) for row in rows] for key in ("arousal", "predicted_arousal"))
    of_seed = scores["systems"]["m, CCC"]["ccc_arousal"]["values"][1]
    assert metrics.ccc(y, p) == pytest.approx(of_seed, abs=1e-4)
    # Both trainings heard the training part alone, the second one went on from the first.
    keys = [
        json.loads(path.read_text()) for path in (tmp_path / "cache").glob("vae-*/hparams.json")
    ]
    assert sorted(key["start"] is None for key in keys) == [False, True]
    assert len({key["known"] for key in keys}) == 1 and keys[0]["known"] is not None
    # One test speaker, whose valence is one and the same.
    assert scores["systems"]["m, CCC"]["ccc_valence"]["mean"] == 0
    assert (run / "ratings.png").exists()


def test_strictness(tmp_path):
    """What is spoilt in the test part changes nothing that is learned from the rest."""
    hp = hyperparameters("probe.epochs=1")
    results = []
    for name in ("clean", "spoilt"):
        utterances = sounds(tmp_path / name, n_takes=2, speakers="abc")
        if name == "spoilt":
            for i, u in enumerate(utterances):
                if u.speaker == "c":
                    n = soundfile.info(u.path).frames
                    soundfile.write(u.path, np.random.default_rng(i).normal(0, 1, n), 8000)
        tests_c = (0, 2)
        run = replace(run_in(tmp_path / f"{name}-run", "loso"), parts=frozenset([tests_c]))
        run.folder.mkdir()
        experiment.train(utterances, hp, run)
        [folder] = (run.folder / "seed-0").iterdir()
        assert folder.name == "fold-02"
        weights = keras.saving.load_model(folder / "vae.keras").get_weights()
        results.append((weights, np.load(folder / "test.npz")["h"]))
    (one, outputs), (other, other_outputs) = results
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.allclose(outputs, other_outputs)  # of noise


def test_an_autoencoder_that_has_heard_what_is_tested(tmp_path, monkeypatch):
    utterances, hp = sounds(tmp_path / "wavs", n_takes=2), hyperparameters("vae.corpus=toy")
    monkeypatch.setattr(pretraining, "pretrained_network", lambda *_, **__: tmp_path / "vae.keras")
    speech = SimpleNamespace(utterances=utterances)
    for heard, transductive in ((utterances[:1], True), (sounds(tmp_path / "other"), False)):
        monkeypatch.setattr(experiment, "load_unlabelled", lambda *_, heard=heard: heard)
        _, found = experiment.base_network(speech, hp, run_in(tmp_path))
        assert found is transductive


def omg(root):
    """Tones in the official layout; the audio of one utterance is gone."""
    rows = []
    for u in sounds(root / "wavs", n_takes=3):
        video = f"{u.speaker * 9}_1"
        n = int(u.name[-1]) + (10 if u.emotion == "anger" else 0)
        folder = root / video / "audio" / f"utterance_{n}.mp4"
        folder.mkdir(parents=True)
        u.path.rename(folder / "audio.wav")
        rows.append((u.speaker, f"link,0,1,{video},utterance_{n}.mp4,{u.activation},{u.valence},4"))
    rows.append(("d", "link,0,1,gone_1,utterance_1.mp4,0.5,0.1,4"))
    header = "link,start,end,video,utterance,arousal,valence,EmotionMaxVote"
    for name, speakers in (("Train", "ab"), ("Validation", "c"), ("Test", "d")):
        lines = [header, *(row for speaker, row in rows[::-1] if speaker in speakers)]
        suffix = "_WithLabels" if name == "Test" else ""
        (root / f"omg_{name}Videos{suffix}.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.slow
def test_an_omg_of_tones(tmp_path, capsys):
    """The official lists, half of the videos gone, to the submission in the list's order."""
    root = omg(tmp_path / "omg")
    run = tmp_path / "run"
    arguments = command(tmp_path, "--data-root", str(root), f"--workdir={run}")
    arguments[arguments.index("--corpus") + 1] = "omg"
    assert main(arguments) == 0
    answer = capsys.readouterr()
    result = answer.out.splitlines()[-1]
    assert result.startswith(
        "RESULT model=auxvae corpus=omg protocol=paper speaker_independent=yes"
    )
    assert "folds=1" in result and "1 of 25 utterances have no audio" in answer.err
    submitted = rows_of(run / "submission.csv")
    listed = rows_of(root / "omg_TestVideos_WithLabels.csv")
    assert [(r["video"], r["utterance"]) for r in submitted] == [
        (r["video"], r["utterance"]) for r in listed
    ]
    said = {
        row["utterance"]: float(row["predicted_arousal"])
        for row in rows_of(run / "predictions.csv") if row["system"] == "m, CCC"
    }  # fmt: skip
    assert len(said) == 6
    for row in submitted[1:]:
        name = f"{row['video']}-{row['utterance'].removesuffix('.mp4')}"
        assert float(row["arousal"]) == said[name]
    known = [float(r["arousal"]) for r in rows_of(root / "omg_TrainVideos.csv")]
    assert float(submitted[0]["arousal"]) == pytest.approx(np.mean(known))  # no audio: the mean


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--target", "speaker", "--protocol", "loso"], 2, "use --protocol paper"),
        (["--target", "speeker"], 2, "did you mean 'speaker'"),
        (["--target", "activation"], 2, "labels.target='activation' is not known"),
        (["--set", "vae.corpus=librispeech"], 2, "librispeech: set TFSER_LIBRISPEECH_ROOT to"),
        (["--test-corpus", "toy"], 2, "auxvae has no test across corpora"),
        (["--set", "input.n_frames=20"], 2, "cuts them"),
        (["--strategy", "mirrored"], 2, "needs two devices or more"),
    ],
)
def test_bad_input_has_its_message(tmp_path, capsys, monkeypatch, more, code, message):
    monkeypatch.delenv("TFSER_LIBRISPEECH_ROOT", raising=False)
    table(tmp_path)
    assert main(command(tmp_path, *more, "--workdir", str(tmp_path / "run"))) == code
    assert message in capsys.readouterr().err.splitlines()[-1]


# The card's commands.


def card_commands():
    """The flags of each row of the paper on the card: {row: words}."""
    text = (ZOO / "README.md").read_text().partition("## Every row")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \|.*\| `(--corpus [^`]+)` \|$", text, re.MULTILINE)
    return {row: flags.split() for row, flags in rows}


def test_the_card_s_commands_name_what_there_is():
    commands = card_commands()
    assert len(commands) == 7
    for words in commands.values():
        options = base.parse(train.parser(), ["--model", "auxvae", *words], Options)
        hp = load_hyperparameters(options, options.corpus)
        make_mel_pieces(hp)
        assert options.workdir and len(splits_of.list_files(hp)) in (0, 2)
    assert len({words[-1] for words in commands.values()}) == 7  # a run directory each


def librispeech(root):
    """Tones in the official layout, two chapters of each of six speakers; return their names."""
    lines, names = ["; SPEAKERS", ";ID  |SEX| SUBSET           |MINUTES| NAME"], []
    for u in sounds(root.parent / "tones", n_takes=3, speakers="abcdef"):
        speaker, chapter = 19 + ord(u.speaker), 198 + (u.emotion == "anger")
        name = f"{speaker}-{chapter}-{int(u.name[-1]):04}"
        path = root / "train-clean-100" / str(speaker) / str(chapter) / f"{name}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, soundfile.read(u.path)[0], 8000)
        lines.append(f"{speaker} | {u.gender[0].upper()} | train-clean-100 | 25.19 | A {u.speaker}")
        names.append(name)
    (root / "SPEAKERS.TXT").write_text("\n".join(dict.fromkeys(lines)) + "\n")
    return names


@pytest.mark.slow
def test_the_card_s_commands_run(tmp_path, monkeypatch, eager):
    names = librispeech(tmp_path / "LibriSpeech")
    omg(tmp_path / "omg")
    lists(tmp_path, names[::2], names[1::2])
    for part in ("train", "test"):
        (tmp_path / f"{part}.txt").rename(tmp_path / f"{part}_split.txt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFSER_LIBRISPEECH_ROOT", str(tmp_path / "LibriSpeech/train-clean-100"))
    systems = {"librispeech": ["mel", "m", "z", "h"], "omg": ["m, CCC"]}
    for row, words in card_commands().items():
        words = [word.replace("~/corpora/OMG", str(tmp_path / "omg")) for word in words]
        tiny = [f"--set={override}" for override in TINY if "vae.corpus" not in override]
        if "auxvae.springenberg" in words:
            tiny += ["--set=features.n_bands=129"]
        if words[1] == "omg":
            tiny += ["--set=vae.continued_epochs=1"]
        answer = called(main, "--model", "auxvae", *words, *tiny, "--cache", tmp_path / "cache")
        assert answer.code == 0, (row, answer.err)
        result, corpus = answer.out.splitlines()[-1], words[1]
        n_folds = 1 if "protocol.lists" in " ".join(words) or corpus == "omg" else 5
        scores = json.loads((tmp_path / words[-1] / "scores.json").read_text())
        assert f"folds={n_folds} " in result
        one = "auxvae.springenberg" in words or "model.medium=false" in words
        expected = ["mel", "one auxiliary: z", "one auxiliary: h"] if one else systems[corpus]
        assert list(scores["systems"])[-len(expected) :] == expected
    # Of one split speaker and gender have one autoencoder, as have [12] and the model without m;
    # the folds of two rows have one each; omg has that of LibriSpeech, which goes on with omg.
    assert len(list((tmp_path / "cache").glob("vae-*"))) == 3 + 5 + 5 + 2
    assert (tmp_path / "runs/speaker/tsne-h.png").exists()
    assert (tmp_path / "runs/speaker/tsne-m.png").exists()
    from tfser.cli import transform as script

    text = (ZOO / "README.md").read_text()
    for line in re.findall(r"\| `tfser-transform (--run [^`]+)`", text):
        found = sorted((tmp_path / "LibriSpeech").rglob("*.flac"))
        line = re.sub(
            r"--content \S+ --style \S+", f"--content {found[0]} --style {found[-1]}", line
        )
        assert script.main(line.split()) == 0
    assert (tmp_path / "he-as-she.png").exists() and (tmp_path / "calm-as-angry.png").exists()


# Transformation.


@pytest.fixture
def finished(finished_run):
    """The folder of a run and of its recordings."""
    return finished_run[0]


def transform(folder, *more, out="out.wav", style="d-anger-1.wav"):
    from tfser.cli import transform as script

    return script.main(
        ["--run", str(folder / "run"), "--content", str(folder / "a-anger-1.wav"),
         "--style", str(folder / style), "--out", str(folder / out), *more]
    )  # fmt: skip


@pytest.mark.parametrize("latent", ["h", "m"])
def test_a_transformed_recording(finished, latent, capsys, with_pictures):
    out = f"{latent}.wav"
    assert transform(finished, "--latent", latent, out=out) == 0
    assert f"{latent}.wav (1.0 s at 8000 Hz) and " in capsys.readouterr().out
    sound, rate = soundfile.read(finished / out)
    assert (len(sound), rate) == (8000, 8000) and np.isfinite(sound).all() and sound.std() > 0
    assert (finished / f"{latent}.png").stat().st_size > 10_000
    before = (finished / out).read_bytes()
    assert transform(finished, "--latent", latent, out=out) == 4
    assert "exists; give another --out" in capsys.readouterr().err
    assert (finished / out).read_bytes() == before
    if latent == "m":
        return
    assert transform(finished, "--latent", latent, out=f"again-{out}") == 0
    assert (finished / f"again-{out}").read_bytes() == before
    assert transform(finished, "--latent", latent, "--values=means", out=f"means-{out}") == 0
    assert (finished / f"means-{out}").read_bytes() != before


def test_what_a_style_gives(finished):
    """Its own style leaves a recording as it is; another's h is one for the whole recording."""
    hp = hyperparameters()
    layer = make_mel_pieces(hp)
    [file, *_] = sorted((finished / "run").glob("seed-*/fold-*/vae.keras"))
    model = pretraining.load_network(file, hp, layer)
    content, style = (
        transformation.cut_pieces(decode.load_audio(finished / name, sample_rate_hz=8000), layer)
        for name in ("a-anger-1.wav", "d-anger-1.wav")
    )
    assert content.lengths == [4000, 4000]
    own = transformation.reconstruct(model, content, sampled=False)
    one_piece = transformation.Pieces(content.spectrograms[:1], [4000], content.peaks[:1])
    for latent in "hm":
        np.testing.assert_allclose(
            transformation.transform(model, one_piece, one_piece, latent, layer, sampled=False),
            own[:1],
            atol=1e-6,
        )
        found = transformation.transform(model, content, style, latent, layer, sampled=False)
        assert found.shape == own.shape and not np.allclose(found, own, atol=1e-4)
    seen = []
    encode = model.encode
    model.encode = lambda x, *more, **named: seen.append(more) or encode(x, *more, **named)
    transformation.transform(model, content, style, "h", layer, sampled=False)
    [_, (_, _, borrowed)] = seen
    given = np.array(borrowed["h"].mean)
    expected = np.array(encode(style.spectrograms, sampled=False)[0]["h"].mean).mean(axis=0)
    np.testing.assert_allclose(given, [expected, expected], atol=1e-6)


def test_a_transformation_decodes_samples_or_means(monkeypatch):
    model, rng = small(), np.random.default_rng(0)
    content, style = (
        transformation.Pieces(rng.uniform(0, 1, (1, 20, 5)).astype("float32"), [2000], [1.0])
        for _ in range(2)
    )
    layer = SimpleNamespace(hop=100)

    def decode(**options):
        return [
            transformation.transform(model, content, style, "h", layer, **options),
            transformation.reconstruct(model, content, **options),
        ]

    means, samples, others = decode(sampled=False), decode(sampled=True), decode(sampled=True)
    for mean, sample, other in zip(means, samples, others, strict=True):
        assert np.abs(sample - mean).max() > 1e-3 and np.abs(other - sample).max() > 1e-3
    monkeypatch.setattr(replicas, "normal_like", lambda x, _: tf.zeros_like(x))
    for mean, sample in zip(means, decode(sampled=True), strict=True):
        np.testing.assert_allclose(sample, mean, atol=1e-6)


@pytest.mark.parametrize("changes", [{}, {"scale": "linear", "n_bands": 1025}])
def test_a_spectrogram_sounds_as_it_did(changes):
    """Two tones come back from their own bands, as loud as they were."""
    layer = MelPieces(
        **AUTHORS | {"seconds": 1.0, "n_frames": 44, "shortest_seconds": 0.2} | changes
    )
    t = np.arange(round(1.25 * 22050)) / 22050
    heard = (0.3 * np.sin(2 * np.pi * 440 * t) + 0.1 * np.sin(2 * np.pi * 2000 * t)).astype("f4")
    pieces = transformation.cut_pieces(heard, layer)
    assert pieces.lengths == [22050, 5512]
    sound = transformation.invert_spectrogram(pieces.spectrograms, pieces, layer)
    assert sound.shape == heard.shape
    assert np.sqrt(np.mean(sound**2)) == pytest.approx(np.sqrt(np.mean(heard**2)), rel=0.1)
    spectrum = np.abs(np.fft.rfft(sound[:22050]))
    assert abs(spectrum.argmax() - 440) < 10
    db = transformation.join_spectrogram(pieces.spectrograms, pieces.lengths, layer)
    assert db.shape == (44 + 11, layer.n_features) and db.max() == 0 and db.min() >= -80


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--run", "nowhere"], 2, "nowhere is no run directory"),
        (["--content", "nowhere.wav"], 3, "nowhere.wav"),
        (["--out", "c.mp3"], 2, "give a file that ends in .wav"),
        (["--out", "nowhere/c.wav"], 2, "there is no folder nowhere"),
        (["--latent", "x"], 2, "invalid choice: 'x'"),
        (["--stile", "x"], 2, "did you mean '--style'"),
    ],
)
def test_bad_input_of_a_transformation(finished, capsys, more, code, message):
    try:
        assert transform(finished, *more) == code
    except SystemExit as end:  # of the flags
        assert end.code == code
    err = capsys.readouterr().err.splitlines()
    assert message in err[-1] and err[-1].startswith("error: ")
    assert not list(finished.glob("out.*"))


def test_recordings_and_runs_that_cannot_be_transformed(finished, tmp_path, capsys):
    soundfile.write(finished / "short.wav", np.full(100, 0.1), 8000)
    assert transform(finished, style="short.wav") == 3
    assert "short.wav: too short" in capsys.readouterr().err  # than any recording may be
    layer = MelPieces(**AUTHORS)
    with pytest.raises(DataError, match="0.045 s long, 0.046 s are needed"):
        transformation.cut_pieces(np.full(1000, 0.1, "float32"), layer)
    (finished / "text.wav").write_text("no sound")
    assert transform(finished, style="text.wav") == 3
    (tmp_path / "run").mkdir()
    settings = atomic_files.read_json(finished / "run" / "hparams.json")
    atomic_files.write_json(tmp_path / "run" / "hparams.json", settings)
    assert transform(finished, "--run", str(tmp_path / "run")) == 2
    assert "has no network yet" in capsys.readouterr().err
    atomic_files.write_json(tmp_path / "run" / "hparams.json", settings | {"model": "svm"})
    assert transform(finished, "--run", str(tmp_path / "run")) == 2
    assert "is of svm; only auxvae transforms voices" in capsys.readouterr().err
