"""Step (1) of figure 1: an autoencoder on speech without labels, trained once for all runs."""

import hashlib
import json
import logging
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from tfser import corpora, data, plots, runs, store, training
from tfser.corpora import tedlium
from tfser.errors import UsageError, did_you_mean
from tfser.models.acnn.autoencoder import autoencoder, rmse
from tfser.models.acnn.spectrogram import Spectrogram

log = logging.getLogger("tfser")

VERSION = 1  # part of an encoder's key: raise it when training gives another one
VIEW = ("window_seconds", "hop_seconds", "n_bands", "pre_emphasis", "floor_db")
NETWORK = ("n_layers", "units", "bidirectional_encoder", "bidirectional_decoder", "dropout")


def check(hp) -> None:
    """Raises UsageError where [autoencoder] names what is not there, before any work."""
    settings = hp["autoencoder"]
    corpus, weights = settings["corpus"], settings["weights"]
    known = ["tested", *corpora.names()]
    if corpus and corpus not in known:
        raise UsageError(
            f"autoencoder.corpus={corpus!r} is not known{did_you_mean(corpus, known)}; "
            f"one of: {' '.join(known)}"
        )
    if corpus and weights:
        raise UsageError(
            "autoencoder.corpus trains an encoder, autoencoder.weights is one; keep one"
        )
    if weights:
        path = Path(weights).expanduser()
        if not path.is_file():
            raise UsageError(f"autoencoder.weights: there is no file {weights}")
        encoder_of(path, spectrogram(hp))
    if settings["n_talks"] and corpus != "tedlium":
        raise UsageError("autoencoder.n_talks is of autoencoder.corpus=tedlium alone")


def spectrogram(hp) -> Spectrogram:
    """The layer that turns waveforms into what the autoencoder hears."""
    return Spectrogram(
        sample_rate_hz=hp["features"]["sample_rate_hz"],
        seconds=hp["input"]["seconds"],
        **{name: hp["autoencoder"][name] for name in VIEW},
    )


def encoder_of(path: Path, layer) -> keras.Model:
    """The encoder in a file; UsageError where it is none, or not of the spectrograms of `layer`."""
    try:
        encoder = keras.saving.load_model(path, compile=False)
        shapes = encoder.input_shape, encoder.output_shape
    except (ValueError, OSError, AttributeError) as error:
        reason = str(error).partition(". ")[0]
        raise UsageError(f"{path} is no encoder.keras of an earlier run: {reason}") from None
    expected = (None, layer.n_frames, layer.n_features)
    if [len(shape) for shape in shapes] != [3, 2] or shapes[0] != expected:
        raise UsageError(
            f"{path} makes {shapes[1]} of {shapes[0]}, and a representation of clips is made of "
            f"{expected} (frames, bands); give an encoder.keras, and the settings of [autoencoder] "
            "and [input] that it was trained with"
        )
    return encoder


def representations(utterances, encoder, layer, run) -> np.ndarray:
    """Step (2) of figure 1: the representation [n, 1024] of each utterance."""
    # The features of the corpora that papers label fit into memory, unlike those without labels.
    heard = store.load(utterances, layer, cache=run.cache, max_bad=run.max_bad)
    clips = heard.frames.reshape(-1, layer.n_frames, layer.n_features)
    return encoder.predict(clips, batch_size=256, verbose=0)


def speech_of(settings, tested, run) -> list:
    """The speech that the autoencoder trains on; condition C: that of the corpus that is tested."""
    if settings["corpus"] in ("", "tested"):
        return tested
    utterances = corpora.load(settings["corpus"], None, run.cache)
    log.info("the autoencoder hears %s", corpora.describe(settings["corpus"], utterances))
    if settings["corpus"] == "tedlium":
        n_talks = settings["n_talks"]
        if n_talks:
            return tedlium.first_talks(utterances, n_talks)
        return [u for u in utterances if u.split == "train"]
    return utterances


def trained(utterances, layer, hp, run) -> Path:
    """The path of the encoder that these settings and this speech make; trained if it is not there.

    It is kept beside the features, for all runs. A killed training goes on where it was.
    """
    settings = hp["autoencoder"]
    training_settings = {
        name: settings[name]
        for name in (*NETWORK, "learning_rate", "clip_value", "batch_size", "max_epochs", "seed")
    }
    key = {
        "version": VERSION,
        "features": store.key_of(utterances, layer),
        "autoencoder": training_settings,
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = run.cache / f"autoencoder-{digest}"
    path = folder / "encoder.keras"
    if not path.exists():
        with runs.opened(folder, key, [settings["seed"]], waits=True):
            if not path.exists():  # another process has just trained it
                stored = store.stored(utterances, layer, cache=run.cache, max_bad=run.max_bad)
                train(stored, layer, settings, folder, run.strategy)
    return path


def train(stored, layer, settings, folder: Path, strategy: str) -> None:
    """Trains the autoencoder: Adam on the RMSE, gradients clipped by value, the last epoch kept.

    Writes encoder.keras, autoencoder.keras, history.csv and history.png into `folder`.
    """
    keras.utils.set_random_seed(settings["seed"])
    shape = layer.n_frames, layer.n_features
    with training.strategy(strategy).scope():
        model = training.compiled(
            autoencoder(shape, **{name: settings[name] for name in NETWORK}),
            keras.optimizers.Adam(settings["learning_rate"], clipvalue=settings["clip_value"]),
            rmse,
            metrics=(),
        )
    batch_size = min(settings["batch_size"], len(stored.utterances))
    max_epochs = settings["max_epochs"]

    def one_epoch(history):
        batches = data.stream(
            stored,
            n_frames=layer.n_frames,
            batch_size=batch_size,
            seed=settings["seed"],
            epoch=len(history),
        )
        # The target is the input, reversed in time.
        with_target = batches.map(lambda x: (x, x[:, ::-1]))
        result = model.fit(with_target, epochs=1, shuffle=False, verbose=0).history
        return {"loss": result["loss"][0]}

    with (
        tqdm(total=max_epochs, desc="autoencoder", unit="epoch") as bar,
        training.events(folder / "events") as write,
    ):

        def after_epoch(row):
            bar.set_postfix_str(f"RMSE {row['loss']:.4f}", refresh=False)
            bar.update(row["epoch"] - bar.n)
            write(row["epoch"], {"rmse": row["loss"]})

        history = training.epochs(
            model,
            one_epoch,
            best_epoch=lambda history: len(history) - 1,
            finished=lambda history: len(history) >= max_epochs,
            folder=folder,
            report=after_epoch,
            advice="try a lower --set autoencoder.learning_rate",
        )
    runs.write_csv(folder / "history.csv", history)
    plots.training_curves(
        history,
        folder / "history.png",
        f"autoencoder, {len(stored.utterances):,} clips",
        {"RMSE of spectrograms in [-1, 1]": {"training": "loss"}},
        kept_epoch=len(history),
    )
    for name, network in (("autoencoder", model), ("encoder", model.get_layer("encoder"))):
        with runs.replacing(folder / f"{name}.keras") as path:  # the encoder last: it says "done"
            training.save(network, path)
    training.forget(folder)
    log.info("autoencoder: RMSE %.4f after %d epochs, %s", history[-1]["loss"], max_epochs, folder)
