"""Steps (1) and (2) of figure 1: the autoencoder on unlabelled speech, and representations."""

from pathlib import Path

import keras
import numpy as np

from tfser.cache import feature_cache, pipelines
from tfser.errors import UsageError
from tfser.features.audeep import Spectrogram
from tfser.models.acnn.autoencoder import SequenceAutoencoder
from tfser.storage import atomic_files
from tfser.training import loop
from tfser.training.epoch import train_epoch
from tfser.training.pretraining import (
    cached_network,
    check_settings,
    load_saved_network,
    train_network,
)

VERSION = 1  # part of an encoder's key: raise it when training gives other weights
SPECTROGRAM = ("window_seconds", "hop_seconds", "n_bands", "pre_emphasis", "floor_db")
NETWORK = ("n_layers", "units", "bidirectional_encoder", "bidirectional_decoder", "dropout")


def check_hparams(hp) -> None:
    """Raise UsageError where [autoencoder] names a missing corpus or file, before any work."""
    check_settings("autoencoder", hp["autoencoder"])
    if weights := hp["autoencoder"]["weights"]:
        load_encoder(Path(weights).expanduser(), make_spectrogram(hp))


def make_spectrogram(hp) -> Spectrogram:
    """Return the layer from waveforms to the inputs of the autoencoder."""
    return Spectrogram(
        sample_rate_hz=hp["features"]["sample_rate_hz"],
        seconds=hp["input"]["seconds"],
        **{name: hp["autoencoder"][name] for name in SPECTROGRAM},
    )


def load_encoder(path: Path, layer) -> keras.Model:
    """Load an encoder; raise UsageError where it does not fit the spectrograms of `layer`."""
    encoder = load_saved_network(path, "encoder.keras", "input_shape", "output_shape")
    shapes = encoder.input_shape, encoder.output_shape
    expected = (None, layer.n_frames, layer.n_features)
    if [len(shape) for shape in shapes] != [3, 2] or shapes[0] != expected:
        raise UsageError(
            f"{path} makes {shapes[1]} of {shapes[0]}, and a representation of clips is made of "
            f"{expected} (frames, bands); give an encoder.keras, and the settings of [autoencoder] "
            "and [input] that it was trained with"
        )
    return encoder


def load_representations(utterances, encoder, layer, run) -> np.ndarray:
    """Return the representation [n, 1024] of each utterance, step (2) of figure 1."""
    # The features of labelled corpora fit into memory, unlike those of unlabelled corpora.
    features = feature_cache.load_features(utterances, layer, **run.cache_options)
    clips = features.frames.reshape(-1, layer.n_frames, layer.n_features)
    return encoder.predict(clips, batch_size=256, verbose=0)


def pretrained_network(utterances, layer, hp, run) -> Path:
    """Return the file of the encoder of these settings and utterances; train a missing encoder.

    The file is beside the features, for all runs. A killed training continues.
    """
    settings = hp["autoencoder"]
    training_settings = {
        name: settings[name]
        for name in (*NETWORK, "learning_rate", "clip_value", "batch_size", "max_epochs", "seed")
    }
    key = {
        "version": VERSION,
        "features": feature_cache.cache_key(utterances, layer, **run.decoding),
        "autoencoder": training_settings,
    }

    def make(folder):
        stored = feature_cache.store_features(utterances, layer, **run.cache_options)
        train_autoencoder(stored, layer, settings, folder, run.strategy)

    path = cached_network("autoencoder", key, run, settings["seed"], make)
    return path.with_name("encoder.keras")


def compiled_network(layer, settings, strategy: str) -> SequenceAutoencoder:
    """Return a randomly initialized autoencoder with its optimizer, Adam on the RMSE."""
    with loop.select_strategy(strategy).scope():
        model = SequenceAutoencoder(
            layer.n_frames, layer.n_features, **{name: settings[name] for name in NETWORK}
        )
        model.compile(
            keras.optimizers.Adam(settings["learning_rate"], clipvalue=settings["clip_value"])
        )
    return model


def train_autoencoder(stored, layer, settings, folder: Path, strategy: str) -> None:
    """Train the autoencoder: Adam on the RMSE, gradients clipped by value, the last epoch kept.

    Write encoder.keras, autoencoder.keras, history.csv and history.png into `folder`.
    """
    keras.utils.set_random_seed(settings["seed"])
    model = compiled_network(layer, settings, strategy)
    batch_size = loop.shared_batch_size(
        min(settings["batch_size"], len(stored.utterances)), strategy
    )

    def one_epoch(history):
        batches = pipelines.stream_pieces(
            stored,
            n_frames=layer.n_frames,
            batch_size=batch_size,
            seed=settings["seed"],
            epoch=len(history),
        )
        return {"loss": train_epoch(model, batches)["loss"]}

    train_network(
        model,
        one_epoch,
        name="autoencoder",
        max_epochs=settings["max_epochs"],
        folder=folder,
        panels={"RMSE of spectrograms in [-1, 1]": {"training": "loss"}},
        title=f"autoencoder, {len(stored.utterances):,} clips",
        shown="RMSE {loss:.4f}",
        advice="try a lower --set autoencoder.learning_rate",
    )
    # The autoencoder last: its file means that the training is finished.
    for name, network in (("encoder", model.encoder), ("autoencoder", model)):
        with atomic_files.replace_file(folder / f"{name}.keras") as path:
            loop.save_model(network, path)
    loop.delete_checkpoints(folder)
