"""BEGAN: its slices, networks, update, heads, and a whole run."""

import csv
import functools
import itertools
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
from pictures import drawn
from running import called, slow

from tfser.audio import decode
from tfser.cli import base, one_search, search
from tfser.cli.options import Options, load_hyperparameters
from tfser.cli.train import main
from tfser.config.hparams import load_hparams
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError, UsageError
from tfser.evaluation import metrics, printed_results
from tfser.evaluation.splits import is_speaker_independent
from tfser.features.magnitude_slices import Slices, make_magnitude_slices
from tfser.models.began import dataset as corpus_of
from tfser.models.began import experiment, heads, network, pretraining
from tfser.search import trials
from tfser.storage import run_directory
from tfser.training import loop

# Of eager mode, which functions of tf.data do not take part in.
pytestmark = pytest.mark.filterwarnings("ignore:Even though the:UserWarning")
AUTHORS = {
    "sample_rate_hz": 16000, "slice_seconds": 1.0, "n_fft": 1024, "hop_samples": 512,
    "drop_short": False,
}  # fmt: skip
SMALL = {
    "n_frames": 17, "n_bins": 25, "input_mode": "crop512", "n_filters": 2, "hidden": 5,
    "gamma": 0.7, "lambda_k": 0.5,
}  # fmt: skip


@pytest.fixture
def without_grids(monkeypatch):
    """No pictures that a network generates."""
    monkeypatch.setattr(pretraining, "draw_grid", lambda *_: None)


# What the network sees.


def test_slices_are_librosa_s_on_real_speech(shared_data):
    layer = Slices(**AUTHORS)
    assert (layer.n_frames, layer.n_features) == (32, 513)
    files = sorted(shared_data.glob("LibriSpeech/*/*/*/*.flac"))[::120]
    files += sorted(shared_data.glob("emodb/wav/*.wav"))[::250]
    for file in files:
        waveform = decode.load_audio(file)
        [extracted] = layer.extract([waveform])
        slices = extracted.reshape(-1, 32, 513)
        assert len(slices) == len(layer.lengths(len(waveform)))
        for number, found in enumerate(slices):
            part = waveform[number * 16000 :][:16000]
            whole = np.pad(part, (0, 16000 - len(part)))
            expected = np.abs(librosa.stft(whole, n_fft=1024, hop_length=512)).T
            np.testing.assert_allclose(found, expected, atol=1e-4)
            np.testing.assert_allclose(layer(part[None])[0], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("seconds", "ours", "authors"),
    [(0.3, [4800], []), (1.0, [16000], []), (1.25, [16000], [16000]),
     (1.5, [16000, 8000], [16000]), (2.0, [16000, 16000], [16000]),
     (2.1, [16000, 16000], [16000, 16000])],
)  # fmt: skip
def test_recordings_are_cut_into_slices(seconds, ours, authors):
    n_samples = round(seconds * 16000)
    waveform = np.random.default_rng(0).normal(0, 0.1, n_samples).astype("float32")
    for drop_short, lengths in ((False, ours), (True, authors)):
        layer = Slices(**AUTHORS | {"drop_short": drop_short})
        assert layer.lengths(n_samples) == lengths
        [found] = layer.extract([waveform])
        assert found.shape == (32 * len(lengths), 513)


def test_a_layer_of_slices_comes_back_from_its_config():
    layer = Slices(**AUTHORS)
    assert Slices.from_config(layer.get_config()).settings() == layer.settings()
    assert layer.compute_output_shape((3, None)) == (3, 32, 513)
    with pytest.raises(UsageError, match="must rise"):
        Slices(**AUTHORS | {"slice_seconds": 0.05})


def bilinear(x, n):
    """Along the first axis, pixels' centres at halves, as OpenCV's INTER_LINEAR has it."""
    place = np.clip((np.arange(n) + 0.5) * len(x) / n - 0.5, 0, len(x) - 1)
    low = np.floor(place).astype(int)
    share = (place - low).reshape(-1, *[1] * (x.ndim - 1))
    return (1 - share) * x[low] + share * x[np.minimum(low + 1, len(x) - 1)]


def test_pictures():
    magnitudes = np.random.default_rng(0).uniform(0, 3, (2, 32, 513)).astype("float32")
    resized, cropped = (network.Picture(mode) for mode in ("resize520", "crop512"))
    found = resized(magnitudes).numpy()
    assert found.shape == (2, 520, 96, 1)
    expected = bilinear(bilinear(magnitudes[1].T.astype("float64"), 520).T, 96).T
    np.testing.assert_allclose(found[1, ..., 0], expected, atol=1e-4)
    found = cropped(magnitudes).numpy()
    np.testing.assert_array_equal(found[..., 0], magnitudes[:, :, :512].transpose(0, 2, 1))
    cropped.scale.assign(2.0)
    expected = np.minimum(magnitudes[:, :, :512].transpose(0, 2, 1) / 2, 1)
    np.testing.assert_allclose(cropped(magnitudes)[..., 0], expected, atol=1e-6)


def test_the_scale_is_what_few_magnitudes_exceed():
    values = np.arange(1000, dtype="float32").reshape(10, 100)
    batches = [tf.constant(values[:5]), tf.constant(values[5:])]
    assert pretraining.magnitude_scale(batches) == pytest.approx(np.percentile(values, 99.9))


# The networks.


def test_sizes_are_the_codes():
    model = network.BEGAN(
        **SMALL | {"n_frames": 32, "n_bins": 513, "input_mode": "resize520", "n_filters": 4,
                   "hidden": 64}
    )  # fmt: skip

    def kernels(of):
        return [tuple(v.shape) for v in of.weights if v.path.endswith("kernel")]

    assert kernels(model.encoder) == [
        (3, 3, 1, 4), (3, 3, 4, 4), (3, 3, 4, 8), (3, 3, 8, 8), (3, 3, 8, 12), (3, 3, 12, 12),
        (3, 3, 12, 16), (3, 3, 16, 16),
    ]  # fmt: skip
    assert model.encoder.output_shape == (None, 65, 12, 16)
    assert kernels(model.code) == [(65 * 12 * 16, 64)]
    for of in (model.decoder, model.generator):
        assert kernels(of) == [(64, 65 * 12 * 4), *[(3, 3, 4, 4)] * 8, (3, 3, 4, 1)]
        assert of.output_shape == (None, 520, 96, 1)
    assert float(model.k.numpy()) == 0


def small(**changes):
    keras.utils.set_random_seed(0)
    model = network.BEGAN(**SMALL | changes)
    model.compile(keras.optimizers.Adam(1e-3))
    return model


def some_data(n=6, seed=0):
    rng = np.random.default_rng(seed)
    magnitudes = rng.uniform(0, 1, (n, 17, 25)).astype("float32")
    z = rng.uniform(-1, 1, (2, n, 5)).astype("float32")
    return tf.constant(magnitudes), (tf.constant(z[0]), tf.constant(z[1]))


def test_a_step_by_hand():
    """D's losses before it moves, G's after, k and M_global from D's."""
    model = small()
    model.k.assign(0.3)
    magnitudes, (z_d, z_g) = some_data()
    x = magnitudes.numpy()[:, :16, :24].transpose(0, 2, 1)[..., None]

    def distance(v):
        return float(np.mean(np.abs(v - model.discriminate(v).numpy())))

    real, generated = distance(x), distance(model.generator(z_d).numpy())
    before = {name: [w.numpy() for w in getattr(model, name).weights] for name in PARTS}
    pictures = model.generator(z_g).numpy()
    losses = []
    minimize = loop.minimize

    def noted(loss, variables, optimizer):
        value = minimize(loss, variables, optimizer)
        losses.append(float(value))
        return value

    loop.minimize = noted
    try:
        found = model.train_step((magnitudes, (z_d, z_g)))
    finally:
        loop.minimize = minimize
    assert losses[0] == pytest.approx(real - 0.3 * generated, rel=1e-5)
    assert losses[1] == pytest.approx(distance(pictures), rel=1e-5)  # of the D that has moved
    balance = 0.7 * real - generated
    assert float(found["real"]) == pytest.approx(real, rel=1e-5)
    assert float(found["generated"]) == pytest.approx(generated, rel=1e-5)
    assert float(model.k.numpy()) == pytest.approx(np.clip(0.3 + 0.5 * balance, 0, 1), rel=1e-5)
    assert float(found["m_global"]) == pytest.approx(real + abs(balance), rel=1e-5)
    for name in PARTS:
        for old, new in zip(before[name], getattr(model, name).weights, strict=True):
            assert not np.array_equal(old, new.numpy()), (name, new.path)


PARTS = ("encoder", "code", "decoder", "generator")


@pytest.mark.parametrize(("moved", "still"), [(0, ("generator",)), (1, PARTS[:3])])
def test_each_update_moves_its_own_weights_alone(moved, still, monkeypatch):
    model = small()
    updates = model.updates
    given = []
    monkeypatch.setattr(
        loop, "minimize", lambda loss, variables, optimizer: given.append((loss, variables))
        or loss()
    )  # fmt: skip
    model.train_step(some_data())
    monkeypatch.undo()
    loss, variables = given[moved]
    before = {name: [w.numpy() for w in getattr(model, name).weights] for name in PARTS}
    loop.minimize(loss, variables, updates[moved][0])
    for name in PARTS:
        same = all(
            np.array_equal(old, new.numpy())
            for old, new in zip(before[name], getattr(model, name).weights, strict=True)
        )
        assert same == (name in still), name


@pytest.mark.parametrize(("gamma", "end"), [(0.0, 0.0), (1.0, 1.0)])
def test_k_stays_between_0_and_1(gamma, end):
    model = small(gamma=gamma, lambda_k=1e6)
    model.generator.layers[-1].kernel.assign(model.generator.layers[-1].kernel * 0)
    model.train_step(some_data())
    assert float(model.k.numpy()) == end
    model.train_step(some_data())
    assert 0 <= float(model.k.numpy()) <= 1


# A corpus.

TINY = (
    "features.sample_rate_hz=8000", "features.slice_seconds=0.25", "features.n_fft=128",
    "features.hop_samples=64", "features.input_mode=crop512", "model.n_filters=2",
    "model.hidden=6", "began.corpus=tested", "began.max_epochs=1", "began.batch_size=8",
    "head.n_filters=4", "head.n_units=8", "train.max_epochs=2", "train.dev_fraction=0.3",
)  # fmt: skip


def hyperparameters(*overrides, corpus="savee"):
    return load_hparams("began", corpus, overrides=[*TINY, *overrides])


def run_in(folder, protocol="paper", n_folds=None, seeds=(0,), strategy="none"):
    return run_directory.Run(
        folder, folder / "cache", "savee", protocol, n_folds, seeds, strategy, 0
    )


def sounds(folder, n_takes=5, speakers="abc", **more):
    """Tones, higher for anger; half of them in two slices."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, utterances = np.random.default_rng(0), []
    for number, speaker in enumerate(speakers):
        for emotion in ("anger", "sadness"):
            for take in range(n_takes):
                name = f"{speaker}-{emotion}-{take}"
                t = np.arange(4000 if take % 2 else 2000) / 8000
                hz = 300 + 50 * number + (1500 if emotion == "anger" else 0)
                sound = 0.3 * np.sin(2 * np.pi * hz * t) + rng.normal(0, 0.01, len(t))
                soundfile.write(folder / f"{name}.wav", sound, 8000)
                utterances.append(
                    Utterance(
                        folder / f"{name}.wav",
                        name,
                        speaker,
                        emotion,
                        activation=0.9 if emotion == "anger" else 0.1,
                        valence=-0.2 * number,
                        **more,
                    )  # fmt: skip
                )
    return utterances


def test_the_folds(tmp_path):
    utterances = sounds(tmp_path)  # ten of each of three speakers
    hp = hyperparameters()
    splits = experiment.make_splits(utterances, hp, run_in(tmp_path), 0)
    assert len(splits) == 3
    for speaker, split in zip("abc", splits, strict=True):
        assert {utterances[i].speaker for part in split for i in part} == {speaker}
        assert [len(part) for part in split] == [4, 2, 4]  # 60/40, a third of six is dev
        assert sorted(utterances[i].emotion for i in split.test) == ["anger"] * 2 + ["sadness"] * 2
    assert not is_speaker_independent([u.speaker for u in utterances], splits)
    # Section 4: "ten executions of the model"; a search on the dev sets has seen no test utterance.
    again = experiment.make_splits(utterances, hp, run_in(tmp_path), 1)
    assert all((a.test == b.test).all() for a, b in zip(splits, again, strict=True))
    assert any((a.dev != b.dev).any() for a, b in zip(splits, again, strict=True))
    # Table 3.
    for run, of in ((run_in(tmp_path), "emodb"), (run_in(tmp_path, "loso"), "savee")):
        splits = experiment.make_splits(utterances, hyperparameters(corpus=of), run, 0)
        assert is_speaker_independent([u.speaker for u in utterances], splits)
        assert [{utterances[i].speaker for i in s.test} for s in splits] == [{"a"}, {"b"}, {"c"}]
        assert all(len(s.dev) == 10 for s in splits)
    # Table 2.
    parts = dict(zip("abc", ("train", "dev", "test"), strict=True))
    official = [replace(u, split=parts[u.speaker]) for u in utterances]
    [split] = experiment.make_splits(official, hyperparameters(corpus="omg"), run_in(tmp_path), 0)
    assert [len(part) for part in split] == [10, 10, 10]
    no_dev = [replace(u, split="train") if u.split == "dev" else u for u in official]
    [split] = experiment.make_splits(no_dev, hyperparameters(corpus="omg"), run_in(tmp_path), 0)
    assert [len(part) for part in split] == [14, 6, 10]
    with pytest.raises(DataError, match="train has 0 utterances and test 0; use --protocol loso"):
        experiment.make_splits(utterances, hyperparameters(corpus="omg"), run_in(tmp_path), 0)
    with pytest.raises(DataError, match="speaker 'a' has one utterance of class 'anger'"):
        experiment.make_splits(utterances[4:], hp, run_in(tmp_path), 0)
    with pytest.raises(UsageError, match="--folds 3: protocol.kind=per-speaker"):
        experiment.make_splits(utterances, hp, run_in(tmp_path, n_folds=3), 0)


def test_slices_know_whose_they_are(tmp_path):
    utterances = sounds(tmp_path)
    speech = corpus_of.load_dataset(utterances, hyperparameters(), run_in(tmp_path))
    assert speech.classes == ["anger", "sadness"] and speech.slices.shape == (42, 32, 65)
    np.testing.assert_array_equal(speech.utterance, np.repeat(np.arange(30), [1, 2, 1, 2, 1] * 6))
    np.testing.assert_array_equal(speech.y[0], [1, 0])
    whole = corpus_of.load_dataset(
        utterances, hyperparameters("features.drop_short=true"), run_in(tmp_path)
    )
    assert [u.name[-1] for u in whole.utterances] == ["1", "3"] * 6 and len(whole.slices) == 12


def test_an_utterance_is_the_mean_or_the_median_of_its_slices():
    numbers = np.array([3, 3, 3, 7, 8, 8])
    values = np.array([[0.0, 1], [0.1, 0.9], [0.8, 0.2], [1, 0], [0.5, 0.5], [0, 1]])
    speech = SimpleNamespace(classes=["p", "q"])
    mean = corpus_of.merge_slices(speech, numbers, values, np.array([3, 7, 8]))
    np.testing.assert_allclose(mean, [[0.3, 0.7], [1, 0], [0.25, 0.75]])
    speech.classes = []
    median = corpus_of.merge_slices(speech, numbers, values, np.array([3, 7, 8]))
    np.testing.assert_allclose(median, [[0.1, 0.9], [1, 0], [0.25, 0.75]])


def test_the_f_score_of_the_authors():
    # First batch: two hits, three said, four true: P 2/3, R 1/2; the second one perfect.
    y = np.eye(3)[[0, 1, 2, 0, 1]]
    p = np.array([[0.9, 0, 0], [0, 0.4, 0.4], [0, 0.6, 0], [0.8, 0, 0], [0, 1, 0]])
    precision, recall = 2 / 3, 1 / 2
    first = 1.25 * precision * recall / (0.25 * precision + recall)
    assert experiment.f0_5_of_batches(y, p, batch_size=4) == pytest.approx((first + 1) / 2)
    assert experiment.f0_5_of_batches(y, 0 * p) == 0


def test_scores_of_the_tables_have_their_spread_over_the_executions():
    executions = [
        {"uar": 0.5, "macro_f1": 0.4, "f0_5_of_batches": 0.7, "wa_of_DC": wa} for wa in (0.75, 0.85)
    ]
    system = {name: metrics.summarize([e[name] for e in executions]) for name in executions[0]}
    assert experiment.describe_scores(system) == {
        "macro_f1": "0.4000", "macro_f1_sd": "0.0000", "f0_5_of_batches": "0.7000",
        "f0_5_of_batches_sd": "0.0000", "wa_of_DC": "0.8000", "wa_of_DC_sd": "0.0707",
    }  # fmt: skip
    alone = {"wa_of_DC": metrics.summarize([0.75]), "wa": metrics.summarize([0.75])}
    assert experiment.describe_scores(alone) == {"wa_of_DC": "0.7500"}


def test_a_name_with_blanks_is_one_word_of_the_result_line(tmp_path, capsys):
    summary = metrics.summarize([0.5])
    scores = {
        "model": "began", "corpus": "my tones", "protocol": "paper", "speaker_independent": False,
        "uar": 0.5, "wa": 0.5, "majority": 0.5, "n": 8, "folds": 2, "seeds": 1,
        "systems": {"BEGAN + head": {"uar": summary, "wa": summary}},
        "flags": {"wa_of_Anna K": "0.7500", "wa_of_b=c": "0.2500"},
    }  # fmt: skip
    printed_results.print_results(scores, tmp_path)
    result = capsys.readouterr().out.splitlines()[-1]
    words = dict(word.split("=") for word in result.split()[1:])
    assert words["corpus"] == "my_tones"
    assert (words["wa_of_Anna_K"], words["wa_of_b_c"]) == ("0.7500", "0.2500")


# Pre-training.


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The file of a network whose k was 0.5; from 0 such a small training does not move it."""
    folder, make = tmp_path_factory.mktemp("trained"), pretraining.new_network

    def halfway(*arguments):
        model = make(*arguments)
        model.k.assign(0.5)
        return model

    with pytest.MonkeyPatch.context() as patch, drawn():
        patch.setattr(pretraining, "new_network", halfway)
        hp = hyperparameters("features.scaling=max")
        return pretraining.pretrained_network(sounds(folder / "wavs"), hp, run_in(folder))


def test_files_of_a_network(trained):
    model = keras.saving.load_model(trained)
    assert float(model.k.numpy()) not in (0.0, 0.5) and float(model.picture.scale.numpy()) > 0
    rows = list(csv.DictReader(trained.with_name("history.csv").read_text().splitlines()))
    assert set(rows[0]) == {"epoch", "loss", "real", "generated", "m_global", "k"}
    assert trained.with_name("pictures.png").stat().st_size > 10_000
    assert not list(trained.parent.rglob("state.npz"))


def test_the_epoch_with_the_lowest_m_global_is_kept(tmp_path, monkeypatch, without_grids):
    m_globals = iter([0.3, 0.1, 0.2])
    weights = []
    train_epoch = pretraining.train_epoch

    def noted(model, batches):
        row = train_epoch(model, batches)
        weights.append([w.numpy() for w in model.encoder.weights])
        return row | {"m_global": next(m_globals)}

    monkeypatch.setattr(pretraining, "train_epoch", noted)
    hp = hyperparameters("began.max_epochs=3")
    path = pretraining.pretrained_network(sounds(tmp_path), hp, run_in(tmp_path))
    model = keras.saving.load_model(path)
    for a, b, last in zip(model.encoder.weights, weights[1], weights[2], strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, last)


@pytest.mark.parametrize(
    ("ks", "m_globals", "messages"),
    [
        ([0.0] * 5, [0.2] * 5, ["k is stuck at 0"]),
        ([0.5] + [1.0] * 5, [0.2] * 6, ["k is stuck at 1"]),
        ([0.5] * 3, [0.2, 0.1, 0.16], ["M_global rose from 0.1000 to 0.1600"]),
        ([0.0, 0.1, 0.2], [0.3, 0.2, 0.25], []),
    ],
)
def test_what_is_wrong_with_a_training_is_named(caplog, ks, m_globals, messages):
    rows = [{"k": k, "m_global": m} for k, m in zip(ks, m_globals, strict=True)]
    pretraining.warn_of_divergence(rows)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == len(messages)
    for text, message in zip(said, messages, strict=True):
        assert message in text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["began.corpus=librispeach"], "did you mean 'librispeech'"),
        (['began.corpus=""'], "trains no network; name a corpus, or give began.weights"),
        (['began.corpus=""', "began.weights=nowhere.keras"], "there is no file nowhere.keras"),
    ],
)
def test_networks_that_are_not_there(settings, message):
    hp = hyperparameters(*settings)
    with pytest.raises(UsageError, match=message):
        pretraining.check_hparams(hp, make_magnitude_slices(hp))


def test_a_network_of_other_settings(trained):
    given = ['began.corpus=""', f"began.weights={trained}"]
    hp = hyperparameters(*given)
    pretraining.check_hparams(hp, make_magnitude_slices(hp))
    hp = hyperparameters(*given, "model.hidden=7")
    with pytest.raises(UsageError, match="other settings \\(hidden: 6, not 7\\)"):
        pretraining.check_hparams(hp, make_magnitude_slices(hp))


# The feature maps.


class Encoder(SimpleNamespace):
    """An encoder of one weight that counts how often it encodes; its maps depend on the mode."""

    output_shape, n_encoded = (None, 2, 3, 4), 0

    def get_layer(self, name):
        return {"picture": SimpleNamespace(input_mode=self.mode)}[name]

    def get_weights(self):
        return [np.float32([self.weight])]

    def predict(self, slices, **_):
        self.n_encoded += 1
        height, width = self.output_shape[1:3]
        return np.full((len(slices), height, width, 4), self.weight + len(self.mode), "float32")


def test_maps_of_an_input_mode_are_not_those_of_another(tmp_path):
    run = run_in(tmp_path)
    dataset = SimpleNamespace(slices=np.zeros((5, 17, 25), "float32"), key="k" * 64)
    one = Encoder(mode="crop512", weight=1.0)
    other = Encoder(mode="resize520", weight=1.0)
    other.output_shape = (None, 65, 12, 4)
    for _ in range(2):
        for encoder in (one, other):
            maps = pretraining.load_maps(encoder, dataset, run)
            assert maps.shape == (5, *encoder.output_shape[1:])
            assert (maps == 1 + len(encoder.mode)).all()
    assert one.n_encoded == other.n_encoded == 1
    changed = Encoder(mode="crop512", weight=2.0)
    assert (pretraining.load_maps(changed, dataset, run) == 9).all()
    for file in tmp_path.rglob("maps-crop512-*.npy"):  # as after a full disk
        file.write_bytes(file.read_bytes()[:100])
    assert (pretraining.load_maps(one, dataset, run) == 8).all() and one.n_encoded == 2


@pytest.mark.parametrize(
    "n_frames, n_bins, shape, is_read",
    [
        (17, 25, (5, 2, 3, 4), True),
        (17, 25, (5, 65, 12, 4), False),  # of the other mode
        (17, 25, (4, 2, 3, 4), False),  # of fewer slices
        (96, 520, (5, 65, 12, 4), False),  # of either mode: both have this shape
    ],
)
def test_maps_of_earlier_versions_are_read_where_they_are_right(
    tmp_path, n_frames, n_bins, shape, is_read
):
    """Their names had no mode."""
    run, encoder = run_in(tmp_path), Encoder(mode="crop512", weight=1.0)
    encoder.output_shape = (None, 65, 12, 4) if n_bins == 520 else (None, 2, 3, 4)
    dataset = SimpleNamespace(slices=np.zeros((5, n_frames, n_bins), "float32"), key="k" * 64)
    digest = pretraining.weights_digest(encoder)
    run.local_cache.mkdir()
    np.save(run.local_cache / f"maps-{digest}-{'k' * 16}.npy", np.zeros(shape, "float32"))
    maps = pretraining.load_maps(encoder, dataset, run)
    assert len(maps) == 5 and (maps == (0 if is_read else 8)).all()
    assert encoder.n_encoded == (not is_read)
    assert len(list(run.local_cache.iterdir())) == (1 if is_read else 2)


# Heads and runs.


def test_a_head():
    model = heads.EmotionHead(
        (8, 4, 3), 2, n_layers=2, n_filters=5, n_units=7, dropout=0.1, activation="tanh"
    )
    shapes = [tuple(w.shape) for w in model.weights if w.path.endswith("kernel")]
    assert shapes == [(3, 3, 3, 5), (3, 3, 5, 5), (2 * 1 * 5, 7), (7, 2)]
    assert np.abs(model(np.full((1, 8, 4, 3), 1e6, "float32"))).max() <= 1


def table(folder, **more):
    """sounds() as a table for the command line."""
    parts = dict(zip("abc", ("train", "train", "test"), strict=True))
    lines = ["file,speaker,emotion,activation,valence,split"]
    lines += [
        f"{u.path.name},{u.speaker},{u.emotion},{u.activation},{u.valence},{parts[u.speaker]}"
        for u in sounds(folder, **more)
    ]
    (folder / "tones.csv").write_text("\n".join(lines) + "\n")


def command(tmp_path, *more):
    tiny = [f"--set={override}" for override in TINY]
    return ["--model", "began", "--corpus", str(tmp_path / "tones.csv"), "--protocol", "paper",
            "--cache", str(tmp_path / "cache"), *tiny, *more]  # fmt: skip


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """A function encoder -> (folder, the command and its answer), of a run for all tests."""

    @functools.cache
    def run_of(encoder):
        folder = tmp_path_factory.mktemp(encoder)
        table(folder, speakers="ab")
        arguments = command(folder, f"--workdir={folder / 'run'}", f"--set=head.encoder={encoder}")
        tf.config.run_functions_eagerly(True)  # graphs: `trained`, and the run of ratings
        try:
            return folder, arguments, called(main, *arguments)
        finally:
            tf.config.run_functions_eagerly(False)

    return run_of


@pytest.mark.parametrize("encoder", ["pretrained", "untrained", "end-to-end"])
def test_a_run_of_classes(run_of, without_grids, encoder):
    folder, arguments, answer = run_of(encoder)
    assert answer.code == 0, answer.err
    run, result = folder / "run", answer.out.splitlines()[-1]
    assert result.startswith(
        "RESULT model=began corpus=tones protocol=paper speaker_independent=no"
    )
    scores = json.loads((run / "scores.json").read_text())
    [(name, system)] = scores["systems"].items()
    assert name == experiment.NAMES[encoder] and scores["folds"] == 2
    of_speakers = [system[f"wa_of_{speaker}"]["mean"] for speaker in "ab"]
    assert of_speakers == system["fold_wa"]["values"]
    # Tables 1 and 2 on the line that scripts read.
    shown = dict(word.split("=") for word in result.split()[1:])
    assert [float(shown[f"wa_of_{speaker}"]) for speaker in "ab"] == of_speakers
    for name in ("macro_f1", "f0_5_of_batches"):
        assert float(shown[name]) == pytest.approx(system[name]["mean"], abs=1e-4)
    rows = list(csv.DictReader((run / "predictions.csv").read_text().splitlines()))
    assert len(rows) == 8  # four of each speaker
    y, p = ([row[key] for row in rows] for key in ("emotion", "predicted"))
    assert metrics.wa(y, p) == pytest.approx(scores["wa"])
    of_fold = keras.saving.load_model(run / "seed-0" / "fold-01" / "model.keras")
    assert of_fold.input_shape == (None, 32, 65) and of_fold.output_shape == (None, 2)
    trained = list((folder / "cache").glob("began-*/began.keras"))
    assert len(trained) == (2 if encoder == "pretrained" else 0)
    if encoder == "pretrained":  # frozen: not a bit has moved
        found = {
            tuple(w.tobytes() for w in keras.saving.load_model(path).encoder.get_weights())
            for path in trained
        }
        assert tuple(w.tobytes() for w in of_fold.get_layer("encoder").get_weights()) in found
    before = (run / "seed-0" / "fold-00" / "test.npz").stat().st_mtime_ns
    again = called(main, *arguments)
    assert again.code == 0 and again.out.splitlines()[-1] == result
    assert (run / "seed-0" / "fold-00" / "test.npz").stat().st_mtime_ns == before


def test_ratings_that_the_network_cannot_reach():
    hp = hyperparameters("labels.target=ratings")
    rated = [Utterance("a", f"u{v}", "s", activation=0.5, valence=v) for v in (-1.0, 1.0, 3.0)]
    assert corpus_of.select_utterances(rated[:2], hp) == rated[:2]
    with pytest.raises(DataError, match="u3.0: arousal is 0.5 and valence 3; .* from -1 to 1"):
        corpus_of.select_utterances(rated, hp)


def test_a_run_of_ratings(tmp_path, capsys, without_grids):
    table(tmp_path)
    run = tmp_path / "run"
    more = ["--set=protocol.kind=official", "--set=labels.target=ratings", f"--workdir={run}"]
    assert main(command(tmp_path, *more)) == 0
    result = capsys.readouterr().out.splitlines()[-1]
    assert "speaker_independent=yes ccc_arousal=" in result and "folds=1" in result
    rows = list(csv.DictReader((run / "predictions.csv").read_text().splitlines()))
    assert len(rows) == 10 and {row["speaker"] for row in rows} == {"c"}


def test_the_model_of_a_fold_says_what_was_predicted(run_of, tmp_path):
    folder, *_ = run_of("pretrained")
    rows = list(csv.DictReader((folder / "run" / "predictions.csv").read_text().splitlines()))
    of_fold = keras.saving.load_model(folder / "run" / "seed-0" / "fold-01" / "model.keras")
    rows = [row for row in rows if row["fold"] == "1"]
    assert {row["speaker"] for row in rows} == {"b"}
    utterances = sounds(tmp_path / "again", speakers="ab")
    speech = corpus_of.load_dataset(utterances, hyperparameters(), run_in(tmp_path))
    names = [u.name for u in utterances]
    tested = np.array([names.index(row["utterance"]) for row in rows])
    assert (np.diff(tested) > 0).all()
    of_tested = np.isin(speech.utterance, tested)
    outputs = of_fold.predict(speech.slices[of_tested], verbose=0)
    expected = corpus_of.merge_slices(speech, speech.utterance[of_tested], outputs, tested)
    predicted = [[float(row["p_anger"]), float(row["p_sadness"])] for row in rows]
    np.testing.assert_allclose(predicted, expected, atol=2e-5)


# An untrained encoder is trained like a pretrained one, but for its weights.
@pytest.mark.parametrize("encoder", slow(["untrained", "end-to-end"], but=["end-to-end"]))
def test_a_fold_is_the_same_after_another(encoder, tmp_path, eager, without_grids):
    hp = hyperparameters(f"head.encoder={encoder}")
    utterances, found = sounds(tmp_path / "wavs"), []
    for folds_before in ([], [0]):
        run = run_in(tmp_path / str(len(folds_before)), "loso")
        speech = corpus_of.load_dataset(utterances, hp, run)
        bar = SimpleNamespace(epoch=lambda row: None, place="")
        shaped = pretraining.maps_network(pretraining.new_network(hp, make_magnitude_slices(hp)))
        lab = experiment.Experiment(
            speech, hp, run, None, heads.new_network(shaped, speech, hp), bar
        )
        splits = experiment.make_splits(utterances, hp, run, 0)
        for fold in [*folds_before, 1]:
            folder = run.folder / f"fold-{fold:02}"
            outputs = experiment.train_head(lab, splits[fold], folder, [0, fold])["outputs"]
            assert not list(folder.glob("state*"))
        found.append(outputs)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--target", "speaker"], 2, "labels.target='speaker' is not known"),
        (["--folds", "3"], 2, "has folds of its own"),
        (["--set", "head.encoder=pretraned"], 2, "did you mean 'pretrained'"),
        (["--set", "train.optimizer=nadam"], 2, "train.optimizer='nadam' is not known"),
        (["--strategy", "mirrored"], 2, "needs two devices or more"),
    ],
)
def test_bad_input_has_its_message(tmp_path, capsys, more, code, message):
    table(tmp_path)
    assert main(command(tmp_path, *more, "--workdir", str(tmp_path / "run"))) == code
    assert message in capsys.readouterr().err.splitlines()[-1]


# The commands of the card.

CARD = Path(__file__).parents[2] / "zoo" / "began" / "README.md"


def card_rows():
    """(row, corpus, flags of tfser-search, names on the RESULT line) of the card's first table."""
    text = CARD.read_text(encoding="utf-8")
    [start] = re.findall(r"\| command: `tfser-search (.*?)` and \|", text)
    rows = re.findall(r"^\| (table .*?) \| .*? \| `(--corpus (\w+).*?)` \| (.*?) \|$", text, re.M)
    return [
        (row, corpus, f"{start} {flags}".split(), re.findall(r"`(\w+)`", names))
        for row, flags, corpus, names in rows
    ]


def test_the_card_has_a_command_for_each_row_of_the_paper():
    protocols = {}
    for row, corpus, flags, names in card_rows():
        options = base.parse(search.parser(), flags, Options)
        assert (options.seeds, options.trial_seeds, options.protocol) == (
            10,
            1,
            None,
        )  # the default of a named corpus: paper
        hp = load_hyperparameters(options, corpus)
        protocols[row] = corpus, hp["protocol"]["kind"], hp["labels"]["target"]
        assert names
    assert protocols == {
        "table 1, DC / JE / JK / KL": ("savee", "per-speaker", "emotion"),
        "table 2, F-score": ("omg", "official", "emotion"),
        "table 2, CCC of arousal / valence": ("omg", "official", "ratings"),
        "table 3": ("emodb", "loso", "emotion"),
    }


def write_tone(path, hz, n_samples=4000):
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(n_samples) / 8000
    noise = np.random.default_rng(round(hz)).normal(0, 0.01, n_samples)
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hz * t) + noise, 8000)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Small trees in the official layouts: {name: folder}; anger is higher than sadness."""
    root = tmp_path_factory.mktemp("corpora")
    for number, take in itertools.product(range(4), range(1, 6)):
        speaker = ("DC", "JE", "JK", "KL")[number]
        for code, hz in (("a", 1500), ("sa", 300)):
            write_tone(root / f"savee/AudioData/{speaker}/{code}{take:02}.wav", hz + 50 * number)
        if number < 3 and take < 4:
            speaker = ("03", "08", "10")[number]
            for letter, hz in (("W", 1500), ("T", 300)):
                write_tone(root / f"emodb/wav/{speaker}a0{take}{letter}a.wav", hz + 50 * number)
        path = f"librispeech/train-clean-100/19/{number}/19-{number}-000{take}.flac"
        write_tone(root / path, 400 + 100 * take)
    for part, n in (("Train", 8), ("Validation", 4), ("Test", 4)):
        lines = ["link,start,end,video,utterance,arousal,valence,EmotionMaxVote"]
        for i in range(1, n + 1):
            vote, video = (0, 5)[i % 2], f"{part.lower()}_1"
            lines.append(f"x,0,1,{video},utterance_{i}.mp4,{0.9 - 0.1 * vote},{i / 9},{vote}")
            write_tone(root / f"omg/{video}/utterance_{i}.mp4.wav", 1500 - 240 * vote + 10 * i)
        end = "_WithLabels" if part == "Test" else ""
        (root / f"omg/omg_{part}Videos{end}.csv").write_text("\n".join(lines) + "\n")
    return {name: root / name for name in ("savee", "emodb", "librispeech", "omg")}


@pytest.mark.slow
@pytest.mark.parametrize(("row", "corpus", "flags", "names"), card_rows())
def test_the_commands_of_the_card(
    row, corpus, flags, names, corpora, tmp_path, monkeypatch, without_grids
):
    """With small networks, one trial, and trainings in this process."""

    def run_here(arguments, folder, stops=None):
        answer = called(main, *arguments, "--workdir", folder)
        return answer.code, answer.out, answer.err

    monkeypatch.setattr(one_search, "run_training", run_here)
    monkeypatch.setattr(trials, "run_training", run_here)
    monkeypatch.setenv("TFSER_LIBRISPEECH_ROOT", str(corpora["librispeech"]))
    small = [s for s in TINY if not s.startswith(("head.", "began.corpus", "train.max_epochs"))]
    answer = called(
        search.main, *flags, "--evals", 1, "--data-root", corpora[corpus], "--cache",
        tmp_path / "cache", "--workdir", tmp_path / "search", "--partial",
        "--set=train.max_epochs=1",
        *(f"--set={setting}" for setting in small),
    )  # fmt: skip
    assert answer.code == 0, answer.err
    result = answer.out.splitlines()[-1]
    assert result.startswith(f"RESULT model=began corpus={corpus} protocol=paper ")
    assert " seeds=10" in result and all(f" {name}=" in result for name in names)
    assert len(list((tmp_path / "cache").glob("began-*/began.keras"))) == 1  # section 2.3
