"""A run as a function: what is exported says what the run has said, alone and in a batch."""

import base64
import functools
import json
import os
import shutil
import subprocess
from types import SimpleNamespace

import forked
import keras
import networks
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from matplotlib.figure import Figure
from running import slow
from sklearn.ensemble import RandomForestClassifier
from sklearn.manifold import TSNE

import tfser
from tfser.audio import decode as audio
from tfser.cli import export, train
from tfser.corpora import toy
from tfser.features.magnitude_slices import Slices
from tfser.features.mel_pieces import MelPieces
from tfser.inference import export_formats, predictor, served_model
from tfser.inference.finished_run import load_run
from tfser.models.auxvae import inference as auxvae_serving
from tfser.models.began import inference as began_serving
from tfser.models.epr import forest as of_epr
from tfser.models.epr import inference as epr_serving
from tfser.models.svm import inference as svm_serving
from tfser.storage import atomic_files

TINY = {
    "encoder": [],
    "svm": [],
    "aae": ["model.units=16", "train.max_epochs=1"],
    "acnn": [
        "model.n_filters=4",
        "model.pool_steps=8",
        "input.seconds=2.0",
        "train.max_epochs=1",
        "autoencoder.corpus=tested",
        "autoencoder.max_epochs=1",
        "autoencoder.units=4",
    ],
    "auxvae": [
        "features.sample_rate_hz=8000",
        "features.n_fft=256",
        "features.hop_samples=128",
        "features.n_bands=12",
        "input.seconds=0.5",
        "input.n_frames=32",
        "model.n_latent=8",
        "model.chunk_frames=8",
        "vae.max_epochs=1",
        "vae.continued_epochs=0",
        "probe.epochs=2",
        "probe.latents=means",
    ],
    "began": [
        "features.sample_rate_hz=8000",
        "features.slice_seconds=0.5",
        "features.n_fft=128",
        "features.hop_samples=64",
        "features.input_mode=crop512",
        "model.n_filters=2",
        "model.hidden=4",
        "began.max_epochs=1",
        "train.max_epochs=1",
        "train.batch_size=64",
    ],
    "epr": [
        "model.width_multiplier=0.0625",
        "train.max_epochs=1",
        "train.epoch_share=0.05",
        "refinery.rounds=1",
    ],
}
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)  # a PNG
OF_WAVEFORMS = ("acnn", "auxvae", "began", "encoder", "epr")
NETWORKS = [name for name in TINY if name not in ("encoder", "svm")]  # models that train one


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    """Where the runs and exports of this module are: of 24 utterances of toy, by three speakers.

    Exports are checked in processes that are forked, that of the SVM as users' are.
    """
    folder, speakers = tmp_path_factory.mktemp("served"), ("f1", "f2", "m1")
    few = [take for take in toy.list_takes() if take[0] in speakers and take[2] <= 2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFSER_CACHE", str(folder / "cache"))
        patch.setattr(toy, "list_takes", lambda: few)
        patch.setattr(os, "cpu_count", lambda: 1)  # each thread starts an openSMILE
        patch.setattr(networks, "enabled", False)  # without graphs nothing is to be shared
        patch.setattr(export_formats, "subprocess", SimpleNamespace(run=forked.run))
        yield folder


def move_weights(model, *_, **__):
    """Stand for `fit`: what is exported are weights, trained or not, and none of them 0 or 1."""
    rng = np.random.default_rng(0)
    for variable in model.weights:
        noise = rng.normal(0, 0.05, variable.shape)
        if "moving_" in variable.name:  # means and variances
            variable.assign_add(np.abs(noise))
        elif variable.trainable:
            variable.assign_add(noise)
    names = "loss", "accuracy", *(metric.name for metric in model.metrics)
    return SimpleNamespace(history={name: [0.0] for name in names})


def trained(*words) -> int:
    """The exit code of tfser-train, without steps of training, graphs and pictures."""
    tf.config.run_functions_eagerly(True)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(keras.Model, "fit", move_weights)
            patch.setattr(TSNE, "fit_transform", lambda _, rows: np.zeros((len(rows), 2)))
            patch.setattr(Figure, "savefig", lambda _, file, **options: file.write(PIXEL))
            return train.main([str(word) for word in words])
    finally:
        tf.config.run_functions_eagerly(False)


def overrides(model) -> list[str]:
    """The flags that make a system tiny."""
    return [word for setting in TINY[model] for word in ("--set", setting)]


# An export holds the network of one fold: but of EPR, whose folds are told apart, one is trained.
ONE_FOLD = ["--corpus", "toy", "--protocol", "all"]
THREE_FOLDS = ["--corpus", "toy", "--protocol", "loso", "--folds", "3"]


@pytest.fixture(scope="module")
def exported(folder):
    """Returns a function (model) -> (its run on toy, the export of it); made once."""

    def make(model):
        run, out = folder / model, folder / f"{model}-export"
        if not out.exists():
            folds = THREE_FOLDS if model == "epr" else ONE_FOLD
            assert trained("--model", model, *folds, *overrides(model), "--workdir", run) == 0
            with pytest.MonkeyPatch.context() as patch:
                if model == "svm":
                    patch.setattr(export_formats, "subprocess", subprocess)
                assert export.main(["--run", str(run), "--out", str(out)]) == 0
        return run, out

    return make


@pytest.fixture(scope="module")
def exported_as(folder, exported):
    """Returns a function (model, format) -> the export in another format; made once."""

    def make(model, form):
        out = folder / f"{model}-{form}"
        if not out.exists():
            words = ["--run", str(exported(model)[0]), "--out", str(out), "--format", form]
            assert export.main(words) == 0
        return out

    return make


@functools.cache
def signatures(out):
    """The signatures of a SavedModel."""
    return tf.saved_model.load(str(out)).signatures


def recordings(folder, n=5):
    """Some of toy's: (paths, waveforms)."""
    paths = sorted((folder / "cache" / "toy").rglob("*.wav"))[::2][:n]
    return paths, [soundfile.read(path, dtype="float32")[0] for path in paths]


@pytest.mark.parametrize("model", OF_WAVEFORMS)
def test_a_batch_says_what_each_says_alone(model, folder, exported):
    _, out = exported(model)
    loaded = signatures(out)
    _, waveforms = recordings(folder)
    waveforms[0] = waveforms[0][:9000]
    waveforms[1] = np.concatenate([waveforms[1], waveforms[2]])[:21000]
    lengths = np.array([len(waveform) for waveform in waveforms], "int32")
    padded = np.full((len(waveforms), lengths.max() + 777), np.nan, "float32")  # of no account
    for row, waveform in zip(padded, waveforms, strict=True):
        row[: len(waveform)] = waveform
    batch = loaded["lengths"](waveform=tf.constant(padded), lengths=tf.constant(lengths))
    for i, waveform in enumerate(waveforms):
        alone = loaded["serving_default"](waveform=tf.constant(waveform))
        for name in set(alone) - {"classes"}:
            one, own = alone[name][0].numpy(), batch[name][i].numpy()
            own = own[: len(one)] if np.ndim(one) else own
            np.testing.assert_allclose(own, one, atol=2e-6, err_msg=name)
    rate = tfser.load(out).sample_rate_hz
    soundfile.write(folder / "own.wav", waveforms[3], rate, subtype="PCM_16")
    of_file = loaded["wav"](content=tf.constant((folder / "own.wav").read_bytes()))
    waveform, _ = soundfile.read(folder / "own.wav", dtype="float32")
    alone = loaded["serving_default"](waveform=tf.constant(waveform[None]))
    np.testing.assert_allclose(of_file["probabilities"], alone["probabilities"], atol=1e-6)
    assert [name.decode() for name in alone["classes"].numpy()] == (
        (out / "assets" / "classes.txt").read_text().split()
    )
    assert alone["probabilities"].shape == (1, 4)
    np.testing.assert_allclose(np.sum(alone["probabilities"]), 1, atol=1e-5)


@pytest.mark.parametrize("model", NETWORKS)
def test_networks_for_keras_are_the_runs(model, exported, exported_as, monkeypatch):
    run, _ = exported(model)
    out = exported_as(model, "keras")
    monkeypatch.chdir(out)
    exec((out / "README.md").read_text().split("```")[1])
    networks = export_formats.keras_networks(served_model.load_inference_function(load_run(run)))
    assert {path.stem for path in out.glob("*.keras")} == set(networks)
    for name, network in networks.items():
        assert f" | {network.count_params():,} |" in (out / "README.md").read_text()
        again = keras.saving.load_model(out / f"{name}.keras", compile=False)
        for one, other in zip(network.get_weights(), again.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


QUICK = ("svm", "acnn", "epr")
FORMS = [
    pytest.param(model, form, marks=[] if model in QUICK else [pytest.mark.slow])
    for model in TINY
    for form in ("tflite", "onnx")
    if model in NETWORKS or form == "onnx"  # refused, see test_forms_that_cannot_be
]


@pytest.mark.parametrize(("model", "form"), FORMS)
def test_other_forms_say_what_the_savedmodel_says(model, form, exported, exported_as, monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime") if form == "onnx" else None
    _, saved = exported(model)
    out = exported_as(model, form)
    if form == "onnx":
        session = onnxruntime.InferenceSession(out / "model.onnx")
        [given], names = session.get_inputs(), [y.name for y in session.get_outputs()]
        given = given.name

        def ask(x):
            return dict(zip(names, session.run(None, {given: x}), strict=True))

    else:
        ask_by_name = tf.lite.Interpreter(str(out / "model.tflite")).get_signature_runner()
        [given] = ask_by_name.get_input_details()

        def ask(x):
            return ask_by_name(**{given: x})

    serve = signatures(saved)["serving_default"]
    rng = np.random.default_rng(0)
    if model in OF_WAVEFORMS:
        rate = tfser.load(saved).sample_rate_hz
        lengths = (1, 500, rate // 3, 2 * rate, 9 * rate // 2)
        asked = [rng.normal(0, 0.1, (1, n)).astype("float32") for n in lengths]
    else:
        asked = [rng.normal(size=(3, 6373)).astype("float32")]
    monkeypatch.chdir(out)
    exec((out / "README.md").read_text().split("```")[1], {given: asked[0]})
    for x in asked:
        expected = dict(serve(**{given: tf.constant(x)}))
        expected.pop("classes")
        found = ask(x)
        assert found.keys() == expected.keys()
        for name, y in expected.items():
            np.testing.assert_allclose(found[name], y, atol=1e-4, err_msg=f"{name} {x.shape}")
    if model in OF_WAVEFORMS:  # never the answer of one row for several
        with (
            pytest.raises((RuntimeError, ValueError))
            if form == "tflite"
            else pytest.raises(Exception, match="Got: 2 Expected: 1")
        ):
            ask(np.repeat(asked[2], 2, axis=0))


@pytest.mark.parametrize("model", OF_WAVEFORMS)
def test_waveforms_of_almost_nothing(model, exported):
    serve = signatures(exported(model)[1])["serving_default"]
    for n in (1, 3, 500):
        found = serve(waveform=tf.fill([n], 0.1))
        assert np.isfinite(found["probabilities"]).all()
    assert np.isfinite(serve(waveform=tf.zeros([4000]))["probabilities"]).all()
    with pytest.raises(tf.errors.InvalidArgumentError, match="no samples"):
        serve(waveform=tf.zeros([0]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="samples"):
        serve(waveform=tf.zeros([2, 300, 2]))
    own = signatures(exported(model)[1])["lengths"]
    for lengths in ([301], [300, 300]):
        with pytest.raises(tf.errors.InvalidArgumentError, match="length"):
            own(waveform=tf.fill([1, 300], 0.1), lengths=tf.constant(lengths))
    for bad in (np.nan, np.inf):
        with pytest.raises(tf.errors.InvalidArgumentError, match="NaN or infinite"):
            serve(waveform=tf.constant([0.1, bad, 0.1]))


def test_a_wav_of_another_rate_is_refused(folder, exported):
    serve = signatures(exported("acnn")[1])["wav"]
    soundfile.write(folder / "8k.wav", np.full(8000, 0.1), 8000)
    with pytest.raises(tf.errors.InvalidArgumentError, match="not 16000 Hz"):
        serve(content=tf.constant((folder / "8k.wav").read_bytes()))


@pytest.mark.parametrize("model", TINY)
def test_a_run_and_its_export_predict_alike(model, folder, exported):
    run, out = exported(model)
    paths, _ = recordings(folder)
    rate = tfser.load(out).sample_rate_hz
    given = [*paths, audio.load_audio(paths[0], sample_rate_hz=rate)]
    by_run, by_export = (tfser.load(place).predict(given) for place in (run, out))
    assert len(by_run) == 6
    for one, other in zip(by_run, by_export, strict=True):
        assert one.keys() == other.keys()
        assert one["predicted"] == other["predicted"]
        assert one["confidence"] == pytest.approx(other["confidence"], abs=2e-6)
    # A path and its waveform are the same.
    assert by_run[0]["confidence"] == pytest.approx(by_run[5]["confidence"], abs=1e-6)
    assert by_run[0]["file"] == str(paths[0]) and by_run[5]["file"] == ""


def test_the_page_of_an_export(exported):
    run, out = exported("epr")
    page = (out / "README.md").read_text()
    uar = atomic_files.read_json(run / "scores.json")["uar"]
    assert f"UAR {100 * uar:.1f} %" in page
    assert "speakers unknown in training, protocol loso" in page
    assert "[batch, segments, classes], the emotion profile" in page
    assert '{"inputs": {"waveform": [0.0, ...]}}' in page
    assert "openSMILE's IS13 functionals" in (exported("svm")[1] / "README.md").read_text()


def test_an_export_with_weights_of_others_carries_their_licence(exported):
    _, out = exported("encoder")
    assert "Apache License 2.0: see LICENSE-Resemblyzer" in (out / "NOTICE").read_text()
    assert "Version 2.0, January 2004" in (out / "LICENSE-Resemblyzer").read_text()
    assert (
        "weights of others, under their licence: NOTICE, LICENSE-Resemblyzer."
        in (out / "README.md").read_text()
    )
    assert not (exported("svm")[1] / "NOTICE").exists()


def test_the_rest_form_of_tensorflow_serving(exported):
    """Its "inputs" go to the signature by their names, as JSON has them."""
    _, out = exported("acnn")
    [line] = [x for x in (out / "README.md").read_text().splitlines() if x.startswith("curl")]
    asked = json.loads(line.split("'")[1].replace("[0.0, ...]", "[0.5, -0.5, 0.25]"))
    serve = signatures(out)["serving_default"]
    answer = serve(**{name: tf.constant(x) for name, x in asked["inputs"].items()})
    waveform = np.float32([0.5, -0.5, 0.25])
    lengths = tf.constant([3])
    own = signatures(out)["lengths"]
    expected = own(waveform=tf.constant(waveform[None]), lengths=lengths)["probabilities"]
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-7)


@pytest.mark.parametrize("form", export.CLOSE)
def test_an_export_that_differs_is_not_written(
    form, folder, exported, exported_as, capsys, monkeypatch
):
    """The run says another number than its export, by twice the largest difference."""
    if form == "onnx":
        pytest.importorskip("onnxruntime")
    run, out = exported("acnn")
    out = out if form == "savedmodel" else exported_as("acnn", form)
    other = folder / f"other-{form}"
    shutil.copytree(run, other)
    rows = atomic_files.read_csv(other / "seed-0" / "predictions.csv", ("p_anger",))
    for row in rows:
        row["p_anger"] = float(row["p_anger"]) + 2 * export.CLOSE[form]
    atomic_files.write_csv(other / "seed-0" / "predictions.csv", rows)

    def copy(found, run, served, folder):
        assert found == form
        shutil.copytree(out, folder, dirs_exist_ok=True)

    monkeypatch.setattr(export, "write_export", copy)
    words = ["--run", str(other), "--out", str(folder / "wrong"), "--format", form]
    assert export.main(words) == 1
    assert "other probabilities than the run" in capsys.readouterr().err
    assert not (folder / "wrong").exists()
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("model", "precision", "says"),
    [("epr", "mixed_bfloat16", "then train again"), ("epr", "float32", ""),
     ("acnn", "mixed_bfloat16", "")],
)  # fmt: skip
def test_runs_of_epr_in_16_bits_may_be_older_than_its_export(model, precision, says):
    run = SimpleNamespace(model=model, hp={"train": {"precision": precision}})
    assert export._older_run_hint(run).endswith(says) and bool(export._older_run_hint(run)) == bool(
        says
    )


OTHERS = {
    "of segments that know all speakers": (
        1, ["--model", "epr", "--protocol", "paper", "--folds", "2", *overrides("epr")]
    ),
    "of frames": (
        0, ["--model", "aae", "--protocol", "all", *overrides("aae"), "--set", "model.level=frame",
            "--set", "model.system=baseline", "--set", "frames.n_frames=256"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", OTHERS)
def test_other_runs_are_exported(what, folder, exported):
    """Each is checked by its export."""
    run = folder / what.replace(" ", "-")
    fold, words = OTHERS[what]
    assert trained("--corpus", "toy", *words, "--workdir", run) == 0
    out = folder / f"{run.name}-{fold}"
    assert export.main(["--run", str(run), "--out", str(out), "--fold", str(fold)]) == 0
    assert f"fold {fold}, of " in (out / "README.md").read_text()


@pytest.mark.parametrize("model", slow(NETWORKS, but=["epr"]))
def test_sixteen_bits_are_served_in_thirty_two(model, folder, exported):
    run, out = folder / f"{model}-mixed", folder / f"{model}-mixed-export"
    words = ["--model", model, *ONE_FOLD, *overrides(model), "--precision", "mixed_bfloat16"]
    assert trained(*words, "--workdir", run) == 0
    assert keras.config.dtype_policy().name == "float32"
    own = served_model.load_inference_function(load_run(run))
    for network in export_formats.keras_networks(own).values():
        layers = [x for x in network._flatten_layers() if not isinstance(x, keras.Model)]
        assert {layer.compute_dtype for layer in layers} == {"float32"}
    assert export.main(["--run", str(run), "--out", str(out)]) == 0
    paths, _ = recordings(folder, 2)
    for one, two in zip(
        tfser.load(run).predict(paths), tfser.load(out).predict(paths), strict=True
    ):
        assert not one["error"]
        for name in ("anger", "happiness", "neutral", "sadness"):
            np.testing.assert_allclose(one[name], two[name], atol=1e-5)


@pytest.mark.parametrize("column", ["fold", "forest_fold"])
def test_rows_that_neither_network_nor_forest_knew(tmp_path, column):
    """EPR's forests have folds of their own; runs of before called theirs "fold", too."""
    seed = tmp_path / "seed-0"
    seed.mkdir()
    (tmp_path / "splits.csv").write_text(
        "seed,fold,utterance,speaker,part\n0,0,a,x,test\n0,0,b,x,test\n0,0,c,x,train\n0,1,c,x,test\n"
    )
    rows = [f"0,{system},{fold},{name},x" for system in ("VGG", "VGG*2")
            for name, fold in (("a", 1), ("b", 0), ("c", 0))]  # fmt: skip
    (seed / "predictions.csv").write_text(
        "\n".join([f"seed,system,{column},utterance,speaker", *rows]) + "\n"
    )
    run = SimpleNamespace(
        folder=tmp_path, network=seed / "fold-00", seed=0, fold=0, scores={"flags": {}}
    )
    [row] = export.select_test_rows(run)
    assert (row["system"], row["utterance"]) == ("VGG*2", "b")


def table(folder, n):
    """A table of recordings that no other corpus has."""
    rng = np.random.default_rng(0)
    rows = ["file,speaker,emotion"]
    for i in range(n):
        soundfile.write(folder / f"{i}.wav", rng.normal(0, 0.1, 16000), 16000)
        rows.append(f"{i}.wav,{'xyz'[i % 3]},{('anger', 'sadness')[i % 2]}")
    (folder / "mine.csv").write_text("\n".join(rows) + "\n")
    return str(folder / "mine.csv")


@pytest.mark.parametrize("model", ["acnn", "svm"])
def test_a_run_that_was_tested_on_another_corpus(model, folder, exported, tmp_path, capsys):
    sets = [w for x in TINY[model] if not x.startswith("autoencoder") for w in ("--set", x)]
    run, out, mine = tmp_path / "run", tmp_path / "out", table(tmp_path, 6)
    across = ["--model", model, "--corpus", "toy", "--test-corpus", mine]
    assert trained(*across, *sets, "--workdir", run) == 0
    assert export.main(["--run", str(run), "--out", str(out)]) == 2
    assert "give it by --data-root path/to/files.csv" in capsys.readouterr().err
    assert export.main(["--run", str(run), "--out", str(out), "--data-root", mine]) == 0
    assert "equal to the run for 6 utterances" in capsys.readouterr().out
    assert (out / "README.md").read_text().startswith(f"# {model} of tfser, trained on toy\n")


@pytest.mark.parametrize(
    ("model", "setting", "forms"),
    [
        ("auxvae", "vae.corpus=tested", ["savedmodel"]),
        pytest.param("auxvae", "vae.corpus=tested", ["tflite"], marks=pytest.mark.slow),
        ("began", "began.corpus=tested", ["savedmodel", "keras"]),
    ],
)
def test_ratings(model, setting, forms, folder, tmp_path):
    """Of OMG-Emotion, whose lists are made of toy's recordings."""
    toy.make(folder / "cache" / "toy")
    waveforms = recordings(folder, n=9)[1]
    header = "link,start,end,video,utterance,arousal,valence,EmotionMaxVote"
    for part, of_part in (("Train", (0, 1, 2, 3, 4)), ("Validation", (5, 6)), ("Test", (7, 8))):
        lines = [header]
        for i in of_part:
            lines.append(f"link,0,1,{'abcdefghi'[i] * 9}_1,utterance_1.mp4,0.{i},-0.{i},4")
            audio_of = tmp_path / f"{'abcdefghi'[i] * 9}_1" / "audio" / "utterance_1.mp4"
            audio_of.mkdir(parents=True)
            soundfile.write(audio_of / "audio.wav", waveforms[i], 16000)
        suffix = "_WithLabels" if part == "Test" else ""
        (tmp_path / f"omg_{part}Videos{suffix}.csv").write_text("\n".join(lines) + "\n")
    run, root = tmp_path / "run", ["--data-root", str(tmp_path)]
    words = ["--model", model, "--corpus", "omg", *root, *overrides(model), "--set", setting]
    assert trained(*words, "--workdir", run) == 0
    for form in forms:
        out = tmp_path / form
        assert export.main(["--run", str(run), *root, "--out", str(out), "--format", form]) == 0
    if forms == ["tflite"]:  # the page and the predictions are the SavedModel's
        return
    page = (tmp_path / "savedmodel" / "README.md").read_text()
    assert "| `ratings` | [batch, 2], arousal and valence" in page and "CCC of" in page
    [row] = tfser.load(tmp_path / "savedmodel").predict([waveforms[0]])
    assert {"arousal", "valence"} <= set(row) and "predicted" not in row


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [
        (lambda run: (run / "scores.json").unlink(), 4, "is not finished"),
        (lambda run: (run / "hparams.json").unlink(), 4, "without hparams.json"),
        (lambda run: (run / "seed-0/fold-00/model.keras").unlink(), 3, "model.keras is missing"),
        (lambda run: (run / "encoder.keras").unlink(), 3, "encoder.keras is missing"),
        (
            lambda run: (run / "seed-0/fold-00/model.keras").write_bytes(b"PK\3\4 half"),
            3,
            "model.keras is damaged",
        ),
    ],
)
def test_runs_that_cannot_be_exported(spoil, code, said, folder, exported, capsys):
    run, _ = exported("acnn")
    spoilt = folder / "spoilt"
    shutil.copytree(run, spoilt)
    spoil(spoilt)
    try:
        assert export.main(["--run", str(spoilt), "--out", str(folder / "x")]) == code
        assert said in capsys.readouterr().err
        assert not (folder / "x").exists()
    finally:
        shutil.rmtree(spoilt)


def test_flags_that_cannot_be(folder, exported, capsys):
    run, out = exported("epr")
    for words, code, said in (
        (["--out", str(out)], 4, "exists"),
        (["--out", str(folder / "no" / "x")], 2, "there is no folder"),
        (["--out", str(folder / "x"), "--fold", "3"], 2, "has folds 0 to 2"),
        (["--out", str(folder / "x"), "--seed", "7"], 2, "the seeds of"),
    ):
        assert export.main(["--run", str(run), *words]) == code
        assert said in capsys.readouterr().err


def test_forms_that_cannot_be(folder, exported, capsys, monkeypatch):
    run, _ = exported("svm")
    words = ["--run", str(run), "--out", str(folder / "x"), "--format"]
    for form, said in (("keras", "no network is trained"), ("tflite", "needs 64 bits")):
        assert export.main([*words, form]) == 2
        assert said in capsys.readouterr().err
    find = export_formats.importlib.util.find_spec
    monkeypatch.setattr(
        export_formats.importlib.util, "find_spec", lambda name: name != "tf2onnx" and find(name)
    )
    assert export.main([*words, "onnx"]) == 2
    assert "pip install 'tfser[onnx]'" in capsys.readouterr().err
    monkeypatch.undo()
    with pytest.raises(SystemExit, match="2"):
        export.main([*words, "pickle"])


def test_only_a_savedmodel_predicts(folder, exported):
    _, out = exported("svm")
    other = folder / "of-onnx"
    shutil.copytree(out, other)
    about = atomic_files.read_json(other / "tfser.json")
    atomic_files.write_json(other / "tfser.json", about | {"form": "onnx"})
    with pytest.raises(
        tfser.errors.UsageError, match="--format onnx; give one of --format savedmodel"
    ):
        predictor.load_predictor(other)


def test_speakers_cannot_be_normalized_when_serving(folder):
    run = SimpleNamespace(folder="RUN", hp={"features": {"normalize": "speaker"}})
    with pytest.raises(tfser.errors.UsageError, match="all utterances of a speaker"):
        served_model.refuse_speaker_normalization(run)


def test_the_forest_is_scikit_learns():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 8)).astype("float32"), rng.integers(0, 3, 300)
    arrays = of_epr.fit_forest(x, y, 3, n_estimators=40, seed=5)
    theirs = RandomForestClassifier(n_estimators=40, random_state=5).fit(x, y)
    # On the thresholds themselves, and a float32 to either side of them.
    at = arrays["threshold"][arrays["left"] >= 0][:200].astype("float32")
    edges = np.stack([at, np.nextafter(at, np.float32(9)), np.nextafter(at, np.float32(-9))])
    asked = np.concatenate([rng.normal(size=(200, 8)), np.tile(edges.reshape(-1, 1), 8)])
    asked = asked.astype("float32")
    found = epr_serving.Forest(arrays)(tf.constant(asked)).numpy()
    np.testing.assert_allclose(found, theirs.predict_proba(asked), atol=1e-6)


def test_statistics_in_the_graph():
    rng = np.random.default_rng(0)
    profiles = rng.dirichlet([1, 1, 1], 9).astype("float32")
    owner = np.array([0, 0, 0, 0, 1, 2, 2, 2, 2])
    padded, inside = np.zeros((3, 4, 3), "float32"), np.zeros((3, 4), bool)
    for i in range(3):
        of = profiles[owner == i]
        padded[i, : len(of)], inside[i, : len(of)] = of, True
    found = epr_serving.statistics(tf.constant(padded), tf.constant(inside), 0.4)
    np.testing.assert_allclose(found, of_epr.statistics(profiles, owner, 0.4), atol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_votes_are_scikit_learns(n_classes):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    from tfser.models.svm import experiment

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(90, 5)) * [1, 1e6, 1, 1e-3, 1], rng.integers(0, n_classes, 90)
    pipeline = make_pipeline(StandardScaler(), SVC(kernel="linear", C=0.1)).fit(x, y)
    found = svm_serving.Votes(experiment.to_arrays(pipeline), n_classes)(tf.constant(x)).numpy()
    np.testing.assert_array_equal(found.argmax(axis=1), pipeline.predict(x))
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("drop_short", [False, True])
def test_slices_and_pieces_are_the_layers(drop_short):
    slices = Slices(
        sample_rate_hz=1000, slice_seconds=1.0, n_fft=64, hop_samples=32, drop_short=drop_short
    )
    lengths = np.array([1, 499, 500, 999, 1000, 1001, 1499, 1500, 2000, 3700], "int32")
    found = began_serving.count_slices(slices, tf.constant(lengths)).numpy()
    np.testing.assert_array_equal(found, [max(1, len(slices.lengths(int(n)))) for n in lengths])

    settings = {"seconds": 1.0, "n_frames": 40, "shortest_seconds": 0.25, "drop_short": drop_short}
    pieces = MelPieces(**settings, sample_rate_hz=1000, n_fft=64, hop_samples=32, n_bands=8,
                       range_db=80.0)  # fmt: skip
    waveform = tf.random.stateless_normal([len(lengths), int(lengths.max())], [0, 1])
    (_, of_pieces), owner = auxvae_serving.cut_pieces(pieces, waveform, tf.constant(lengths))
    for i, n in enumerate(lengths):
        expected = pieces.lengths(max(int(n), 33)) or [max(int(n), 33)]  # one where there is none
        assert of_pieces.numpy()[owner.numpy() == i].tolist() == expected


def test_the_median_is_numpys():
    x = np.random.default_rng(0).normal(size=(2, 5, 2)).astype("float32")
    inside = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]], bool)
    found = began_serving.median(tf.constant(x), tf.constant(inside))
    np.testing.assert_allclose(found, [np.median(x[0, :4], 0), np.median(x[1, :3], 0)], atol=1e-6)


def test_no_pickle_is_loaded(folder, exported):
    """A file that would run code on loading is an error, and its code does not run."""

    class Bad:
        def __reduce__(self):
            return (open, (str(folder / "ran"), "w"))

    run, _ = exported("svm")
    spoilt = folder / "pickled"
    shutil.copytree(run, spoilt)
    np.savez(spoilt / "seed-0/fold-00/svm.npz", mean=np.array([Bad()], object))
    with pytest.raises(tfser.errors.DataError, match="is damaged"):
        predictor.load_predictor(spoilt)
    assert not (folder / "ran").exists()
    shutil.rmtree(spoilt)


def test_a_difference_of_a_run_without_networks_is_named():
    run = SimpleNamespace(model="svm", hp={"svm": {"c": 0.01}})  # no section [train]
    assert export._older_run_hint(run) == ""
