"""--init and features.from: a run that starts from another run's network."""

import json
import shutil

import keras
import numpy as np
import pytest
import test_encoder
from running import called

import tfser
from tfser.cli import export, extract, predict, train
from tfser.config.hparams import load_hparams
from tfser.errors import UsageError
from tfser.inference import initial_network, source_run
from tfser.models.aae import experiment as aae
from tfser.models.acnn import experiment as acnn
from tfser.models.epr import network as of_epr
from tfser.training.layer_names import list_weights

SMALL = [
    f"--set={setting}"
    for setting in ("model.width_multiplier=0.02", "segments.hop_seconds=0.1", "refinery.rounds=1",
                    "train.max_epochs=1", "train.batch_size=32", "forest.n_estimators=2")
]  # fmt: skip
pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(autouse=True)
def shallow(monkeypatch):
    """VGG-E with a convolution in a block."""
    monkeypatch.setattr(of_epr, "_VGG_E_BLOCKS", ((1, 64),) * 5)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Return a folder with table.csv, and the run "first" of EPR on it, which tests speaker a."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("source")
    test_encoder.write_table(folder)
    tf.config.run_functions_eagerly(True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of_epr, "_VGG_E_BLOCKS", ((1, 64),) * 5)
        answer = train_epr(folder, folder / "first")
    tf.config.run_functions_eagerly(False)
    assert answer.code == 0, answer.err
    return folder


def train_epr(folder, run, *flags, table="table.csv"):
    return called(
        train.main, "--model", "epr", "--corpus", folder / table, "--protocol", "loso",
        "--cache", folder / "cache", "--workdir", run, *SMALL, *flags,
    )  # fmt: skip


def train_svm(folder, run, *flags, table="table.csv"):
    return called(
        train.main, "--model", "svm", "--corpus", folder / table, "--protocol", "loso",
        "--cache", folder / "cache", "--workdir", run, *flags,
    )  # fmt: skip


def write_other_table(folder, name="other.csv"):
    """Write the same recordings as a corpus with another name and another class."""
    text = (folder / "table.csv").read_text()
    (folder / name).write_text(text.replace("sadness", "boredom"))
    return name


def load_weights(run, fold=0):
    path = run / "seed-0" / f"fold-{fold:02}" / "round-1" / "model.keras"
    network = keras.saving.load_model(path, compile=False)
    return {name: keras.ops.convert_to_numpy(w) for name, w in list_weights(network).items()}


def test_the_same_classes_continue_and_frozen_layers_stay(source, tmp_path):
    answer = train_epr(
        source, tmp_path / "run", "--init", source / "first", "--set", 'train.freeze=["conv*"]'
    )
    assert answer.code == 0, answer.err
    assert "initial network: first; new layers: none" in answer.err
    # Its fold 0 tested speaker a, so that b and c trained it.
    assert "train.init=first was trained on 2 speakers of the test sets (b, c)" in answer.err
    result = answer.out.splitlines()[-1]
    assert " speaker_independent=no " in result and result.endswith(" init=seen_speakers")
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert "train.init first, trained on 2 speakers of the test sets" in scores["facts"]
    before = load_weights(source / "first")
    for fold in range(3):
        after = load_weights(tmp_path / "run", fold)
        assert before.keys() == after.keys()
        still = {name for name in before if np.array_equal(before[name], after[name])}
        kept = {"standardize/moving_mean", "standardize/moving_variance"}
        assert still == kept | {name for name in before if name.startswith("conv")}


def test_other_classes_get_a_new_head(source, tmp_path):
    table = write_other_table(source)
    flags = "--init", source / "first", "--set", 'train.freeze=["conv*", "dense*"]'
    answer = train_epr(source, tmp_path / "run", *flags, table=table)
    assert answer.code == 0, answer.err
    assert "initial network: first; new layers: profile" in answer.err
    result = answer.out.splitlines()[-1]
    assert " speaker_independent=yes " in result and result.endswith(" init=first")
    # Of another fold, whose seed draws other weights.
    before, after = load_weights(source / "first"), load_weights(tmp_path / "run", fold=1)
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert moved == {"profile/kernel", "profile/bias"}
    assert np.abs(before["profile/kernel"] - after["profile/kernel"]).max() > 0.1  # drawn anew
    # What started from it knows its speakers, and those of its own corpus.
    training = source_run.describe_training("x", source_run.load_run(tmp_path / "run"))
    assert training.speakers == {"other": ["b", "c"], "table": ["b", "c"]}


def test_a_replaced_initial_network_is_a_conflict(source, tmp_path):
    shutil.copytree(source / "first", tmp_path / "first")
    flags = "--init", tmp_path / "first"
    assert train_epr(source, tmp_path / "run", *flags).code == 0
    fold = tmp_path / "first" / "seed-0" / "fold-00" / "round-1"
    shutil.copy(tmp_path / "run" / "seed-0" / "fold-00" / "round-1" / "model.keras", fold)
    answer = train_epr(source, tmp_path / "run", *flags)
    assert answer.code == 4
    assert "the initial network has changed since the run in" in answer.err


# The choice of weights, on networks alone.


def load_weights_of(network):
    return {name: keras.ops.convert_to_numpy(w) for name, w in list_weights(network).items()}


def select(module, dataset, hp, classes):
    """Return (weights of an initial network of `classes`, the new network, what it continues)."""
    theirs = module.new_network(dataset._replace(classes=classes), hp)
    for weight in theirs.weights:  # statistics of a z-score, too
        weight.assign(keras.random.uniform(weight.shape, 0.5, 1.5))
    initial = initial_network.InitialNetwork(
        source_run.EarlierTraining("train.init", "theirs", {}), classes, load_weights_of(theirs)
    )
    weights = initial_network.select_weights(initial, module.new_network, dataset, hp)
    network = module.new_network(dataset, hp)
    initial_network.copy_weights(network, weights)
    return theirs, network, set(list_weights(network)) - weights.keys()


@pytest.mark.parametrize(
    ("classes", "new"),
    [
        (["anger", "fear", "joy"], set()),
        (["anger", "boredom", "fear"], {"emotion/kernel", "emotion/bias"}),
        (["anger", "fear"], {"emotion/kernel", "emotion/bias"}),
    ],
)
def test_the_weights_of_acnn(classes, new):
    hp = load_hparams("acnn", "toy", overrides=["model.n_filters=4", "input.seconds=1.0"])
    dataset = acnn.Dataset(
        None, ["anger", "fear", "joy"], None, np.zeros((3, 26)), None, 98, {"emotion": None}, None,
        False,
    )  # fmt: skip
    theirs, network, found = select(acnn, dataset, hp, classes)
    assert found == new
    x = {"log_mel": np.random.default_rng(0).normal(size=(4, 98, 26))}
    hidden = [keras.Model(n.input, n.get_layer("hidden").output)(x) for n in (theirs, network)]
    np.testing.assert_array_equal(*hidden)
    if not new:
        np.testing.assert_array_equal(*(n(x)["emotion"] for n in (theirs, network)))


def test_a_view_that_the_initial_network_lacks_is_new():
    hp = load_hparams("acnn", "toy", overrides=["model.n_filters=4", "input.seconds=1.0"])
    both = acnn.Dataset(
        None, ["anger", "fear"], None, np.zeros((3, 26)), None, 98,
        {"emotion": None, "valence": None}, None, False,
    )  # fmt: skip
    theirs = acnn.new_network(both._replace(views={"emotion": None}), hp)
    training = source_run.EarlierTraining("train.init", "theirs", {})
    initial = initial_network.InitialNetwork(training, both.classes, load_weights_of(theirs))
    weights = initial_network.select_weights(initial, acnn.new_network, both, hp)
    names = set(list_weights(acnn.new_network(both, hp)))
    assert names - weights.keys() == {"valence/kernel", "valence/bias"}


@pytest.mark.parametrize("system", ["baseline", "optimized"])
def test_the_weights_of_the_aae(system):
    overrides = ["model.units=8", "model.n_z=4", f"model.system={system}"]
    hp = load_hparams("aae", "emodb", overrides=overrides)
    names = [str(i) for i in range(12)]
    dataset = aae.Dataset(None, [], ["anger", "fear", "joy"], None, None, None, None, names)
    x = np.random.default_rng(0).normal(size=(4, 12)).astype("float32")
    theirs, network, new = select(aae, dataset, hp, ["anger", "fear", "joy"])
    assert new == set()
    np.testing.assert_array_equal(theirs(x), network(x))
    _, _, new = select(aae, dataset, hp, ["anger", "fear"])
    if system == "baseline":
        assert new == {"y/kernel", "y/bias"}
        return
    norm = {f"encoder/latent_norm/{n}" for n in ("beta", "gamma", "moving_mean", "moving_variance")}
    heads = {"encoder/y/kernel", "decoder/dense1/kernel", "d_y/dense1/kernel"}
    assert new == norm | heads


# What does not fit.


@pytest.mark.parametrize(
    ("model", "corpus", "name", "overrides", "message"),
    [
        ("epr", "emodb", "epr_emodb", [], r"has model.width_multiplier=0.125, this run 1.0: its "
         r"network does not fit; give --set model.width_multiplier=0.125$"),
        ("epr", "emodb", "epr_emodb", ["model.width_multiplier=0.125", "features.n_bands=40",
                                       "segments.n_frames=64"],
         r"has features.n_bands=64, this run 40.* --set features.n_bands=64 "
         r"--set segments.n_frames=32"),
        ("epr", "emodb", "aae_emodb", [], "train.init=aae_emodb is of aae; give a run or preset of "
         "epr"),
        ("aae", "table", "aae_emodb", ["model.system=vanilla"], "--set model.system=.optimized."),
        ("aae", "table", "aae_emodb", ["optimized.batch_norm=false"],
         "--set optimized.batch_norm=true"),
        ("acnn", "toy", "acnn_ravdess", [], "--set input.seconds=7.5"),
        ("acnn", "emodb", "acnn_ravdess", ["autoencoder.corpus=tested"],
         "takes no representations; give --set autoencoder.corpus= "),
        ("epr", "emodb", "", ["train.freeze=[\"conv*\"]"], "train.freeze keeps layers of train.i"),
        ("epr", "emodb", "epr_emdb", [], r"no preset 'epr_emdb' \(did you mean 'epr_emodb'\?\)"),
    ],
)  # fmt: skip
def test_what_does_not_fit(model, corpus, name, overrides, message):
    hp = load_hparams(model, corpus, overrides=[f"train.init={name}", *overrides])
    with pytest.raises(UsageError, match=message):
        source_run.check_initial(model, hp)


@pytest.mark.parametrize(
    ("model", "corpus", "name", "overrides"),
    [
        ("aae", "table", "aae_emodb", ["frames.n_frames=256", "model.dropout=0.1"]),
        ("acnn", "emodb", "acnn_ravdess", ["model.dropout=0.1"]),
        ("epr", "ravdess", "epr_emodb", ["model.width_multiplier=0.125", "train.max_epochs=3"]),
    ],
)
def test_what_fits(model, corpus, name, overrides):
    """The check needs no TensorFlow; its own settings, as of the training, may differ."""
    hp = load_hparams(model, corpus, overrides=[f"train.init={name}", *overrides])
    assert source_run.check_initial(model, hp).folder.name == name


def test_a_network_of_representations_needs_its_encoder(before):
    run = before / "runs" / "acnn"
    settings = ["input.seconds=1.0", "model.pool_steps=5", "model.n_filters=4",
                "model.standardizes_representation=false", f"train.init={run}"]  # fmt: skip
    hp = load_hparams("acnn", "table", overrides=settings)
    with pytest.raises(UsageError, match="its own encoder; give --set autoencoder.corpus=.* --set "
                       "autoencoder.weights=.*runs/acnn/encoder.keras"):  # fmt: skip
        source_run.check_initial("acnn", hp)
    hp["autoencoder"]["weights"] = str(run / "encoder.keras")
    assert source_run.check_initial("acnn", hp).model == "acnn"


def test_a_network_of_an_earlier_version(before, tmp_path):
    flags = "--set", "model.width_multiplier=0.02", "--init", before / "runs" / "epr"
    table = test_encoder.write_table(tmp_path)
    answer = train_epr(table.parent, tmp_path / "run", *flags)
    assert answer.code == 2
    assert "of an earlier version of tfser; train it again" in answer.err


# features.from.


def test_the_features_of_a_probe(source):
    from tfser.inference.embedding_feature import EmbeddingFeature

    feature = EmbeddingFeature(source=str(source / "first"), layer="hidden")
    embedder = tfser.Embedder(source / "first", layer="hidden")
    waveform = np.random.default_rng(0).normal(0, 0.1, 20_000).astype("float32")
    _, vectors = embedder.embed(waveform)
    assert len(vectors) > 1
    [x] = feature.extract([waveform])
    expected = np.concatenate([vectors.mean(axis=0), vectors.std(axis=0)])
    np.testing.assert_array_equal(x, expected[None].astype("float32"))
    assert feature.n_features == len(expected)
    assert feature.training.speakers == {"table": ["b", "c"]}
    [error] = feature.extract([np.full(16000, np.nan, "float32")])
    assert isinstance(error, Exception)
    other = EmbeddingFeature(source=str(source / "first"), layer="profile")
    assert other.settings() != feature.settings()
    assert other.settings()["source"] == feature.settings()["source"]


def test_a_probe_from_training_to_prediction(source, tmp_path):
    shutil.copytree(source / "first", tmp_path / "first")
    run, table = tmp_path / "run", write_other_table(source, "probed.csv")
    flags = [f"--set=features.from={tmp_path / 'first'}", "--set=features.layer=hidden"]
    words = "--corpus", source / table, "--cache", source / "cache", *flags
    answer = called(extract.main, "--model", "svm", *words)
    assert answer.code == 0 and "feature=EmbeddingFeature utterances=12 " in answer.out, answer.err
    answer = train_svm(source, run, *flags, table=table)
    assert answer.code == 0, answer.err
    assert "EmbeddingFeature: " not in answer.err  # extracted before
    result = answer.out.splitlines()[-1]
    assert answer.out.startswith("SVM on first hidden ")
    assert result.endswith(" layer=hidden from=first") and " speaker_independent=yes " in result
    answer = train_svm(source, tmp_path / "seen", *flags)
    assert answer.out.startswith("SVM on first hidden, seen speakers ")
    assert answer.out.endswith(" from=seen_speakers\n")

    paths = sorted(source.glob("*.wav"))
    expected = {row["utterance"]: row for row in test_encoder.read_rows(run / "predictions.csv")}
    for path, row in zip(paths, tfser.load(run).predict(paths), strict=True):
        if expected[path.stem]["fold"] == "0":
            assert row["predicted"] == expected[path.stem]["predicted"]
    out = tmp_path / "out"
    answer = called(export.main, "--run", run, "--out", out, "--data-root", source / table)
    assert answer.code == 0 and "equal to the run for 4 utterances" in answer.out, answer.err

    fold = "seed-0/fold-00/round-1/model.keras"
    shutil.copy(source / "first" / fold.replace("00", "01"), tmp_path / "first" / fold)
    answer = called(predict.main, "--run", run, paths[0])
    assert answer.code == 4 and "whose files are now others; put them back" in answer.err
    answer = train_svm(source, run, *flags, table=table)
    assert answer.code == 4 and "the network of features.from has changed" in answer.err


def test_a_layer_with_one_vector_has_no_deviation():
    from tfser.inference.embedding_feature import compute_statistics

    vectors = np.array([[1.0, 2.0], [3.0, 6.0]])
    np.testing.assert_array_equal(compute_statistics(vectors, False), [2.0, 4.0])
    np.testing.assert_array_equal(compute_statistics(vectors, True), [2.0, 4.0, 1.0, 2.0])
