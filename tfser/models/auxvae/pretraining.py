"""The training of the Aux-VAE on speech without labels, once for all runs; its latent variables."""

import hashlib
import logging
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfser.cache import feature_cache, pipelines
from tfser.errors import UsageError
from tfser.features.mel_pieces import make_mel_pieces
from tfser.models.auxvae.network import AuxVAE
from tfser.plots.drawing_errors import keep_going
from tfser.plots.figures import save_figure
from tfser.plots.spectrograms import draw_spectrograms
from tfser.storage import atomic_files
from tfser.training import loop
from tfser.training.epoch import predict_batches, train_epoch
from tfser.training.pretraining import (
    cached_network,
    check_settings,
    file_digest,
    load_saved_network,
    store_pieces,
    train_network,
)

log = logging.getLogger("tfser")

VERSION = 1  # part of a network's key: raise it when training gives other weights
SEEDED_VERSION = 2  # of networks with another seed than 0, which once did not reach the noise
TRAINING = ("learning_rate", "batch_size", "clip_norm", "seed")
WEIGHTS = ("alpha", "beta", "gamma")
SPECTROGRAM = (
    "sample_rate_hz", "n_fft", "hop_samples", "range_db", "seconds", "n_frames", "scale"
)  # fmt: skip
LEAST_NATS = 1e-3  # per dimension; a latent variable below has collapsed
BATCH = 64  # pieces, in inference


def check_hparams(hp, layer) -> None:
    """Raise UsageError where [vae] names a missing corpus or file, before any work."""
    check_settings("vae", hp["vae"])
    if not (hp["vae"]["corpus"] or hp["vae"]["weights"]):
        raise UsageError('vae.corpus="" trains no network; name a corpus, or give vae.weights')
    if weights := hp["vae"]["weights"]:
        load_network(Path(weights).expanduser(), hp, layer)


def new_network(hp, layer) -> AuxVAE:
    """Return a randomly initialized network that is not compiled."""
    weights = {name: hp["vae"][name] for name in WEIGHTS}
    spectrogram = {name: layer.arguments[name] for name in SPECTROGRAM}
    return AuxVAE(spectrogram=spectrogram, n_bands=layer.n_features, **hp["model"], **weights)


def compiled_network(hp, layer, strategy: str) -> AuxVAE:
    """Return a randomly initialized network with its optimizer."""
    settings = hp["vae"]
    with loop.select_strategy(strategy).scope():
        model = new_network(hp, layer)
        model.compile(
            keras.optimizers.Adam(settings["learning_rate"]), clip_norm=settings["clip_norm"]
        )
        model.noise.state.assign([settings["seed"], 0])
    return model


def load_network(path: Path, hp, layer) -> AuxVAE:
    """Load a network; raise UsageError where it is no Aux-VAE, or not that of [model]."""
    network = load_saved_network(path, "vae.keras", "settings")
    settings = network.settings
    expected = new_network(hp, layer).settings
    expected |= {name: settings[name] for name in WEIGHTS}  # weights of training alone
    before, now = (dict(s) | {"scale": "mel"} | s["spectrogram"] for s in (settings, expected))
    differ = [f"{k}: {before.get(k)}, not {now[k]}" for k in now if before.get(k) != now[k]]
    if differ := [text for text in differ if not text.startswith("spectrogram")]:
        raise UsageError(
            f"{path} is of other settings ({', '.join(differ)}); give [input], [features] and "
            "[model] as it was trained with"
        )
    return network


def pretrained_network(
    utterances, hp, run, *, known=None, start: Path | None = None, max_epochs: int
) -> Path:
    """Return the file of the network of these settings and utterances; train a missing network.

    Args:
        known: the numbers of the utterances that train the network, None for all.
        start: the file of a network whose training continues, in place of random weights.
    """
    layer, settings = make_mel_pieces(hp), hp["vae"]
    key = {
        "version": SEEDED_VERSION if settings["seed"] else VERSION,
        "features": feature_cache.cache_key(utterances, layer, **run.decoding),
        "model": hp["model"],
        "vae": {name: settings[name] for name in (*TRAINING, *WEIGHTS)},
        "max_epochs": max_epochs,
        "start": start and file_digest(start),
        "known": None if known is None else hashlib.sha256(known.tobytes()).hexdigest(),
    }

    def make(folder):
        pieces = store_pieces(utterances, layer, run, known)
        train_autoencoder(pieces, layer, hp, folder, run.strategy, max_epochs, start=start)

    return cached_network("vae", key, run, settings["seed"], make)


def train_autoencoder(pieces, layer, hp, folder, strategy, max_epochs, *, start=None) -> None:
    """Train as in section 5.2: Adam on Eq. (5), the last epoch kept.

    pieces: of `training.pretraining.store_pieces`; start: see `pretrained_network`.
    Write vae.keras, history.csv, history.png and reconstruction.png into `folder`.
    """
    settings = hp["vae"]
    keras.utils.set_random_seed(settings["seed"])
    model = compiled_network(hp, layer, strategy)
    if start:
        model.set_weights(load_network(start, hp, layer).get_weights())
    stored, selected, n_pieces = pieces
    if not n_pieces:
        raise UsageError(
            "no recording to train on is long enough; use --set input.drop_short=false"
        )

    def batches(epoch):
        return pipelines.stream_pieces(
            stored,
            n_frames=layer.n_frames,
            batch_size=loop.shared_batch_size(min(settings["batch_size"], n_pieces), strategy),
            seed=settings["seed"],
            epoch=epoch,
            kept=selected,
        )

    def one_epoch(history):
        return train_epoch(model, batches(len(history)))

    names = [name for name in model.means if name.startswith("kl_")]
    history = train_network(
        model,
        one_epoch,
        name="vae",
        max_epochs=max_epochs,
        folder=folder,
        panels={
            "squared error of a frame, all bands": {"reconstruction": "reconstruction"},
            "nats per dimension": {figure_title(name): name for name in names},
        },
        title=f"Aux-VAE, {n_pieces:,} pieces of {hp['input']['seconds']:g} s",
        shown="loss {loss:.3f} reconstruction {reconstruction:.3f}",
        advice="try a lower --set vae.learning_rate",
    )
    for name in names:
        if all(row[name] < LEAST_NATS for row in history[-3:]):
            log.warning(
                "vae: %s stays at %.1g nats per dimension, below %g: collapsed; try a lower "
                "weight in [vae]",
                *(figure_title(name), history[-1][name], LEAST_NATS),
            )
    with keep_going("reconstruction.png"):
        [piece] = next(iter(batches(0)))[:1].numpy()
        picture = {"input": -layer.range_db * piece}
        picture["reconstructed"] = -layer.range_db * predict_batches(model, piece[None])[0]
        figure = draw_spectrograms(
            picture,
            f"Aux-VAE after {max_epochs} epochs: a piece of its training speech",
            hop_seconds=layer.hop / layer.sample_rate_hz,
            label="dB to the loudest",
        )
        save_figure(figure, folder / "reconstruction.png")
    with atomic_files.replace_file(folder / "vae.keras") as path:  # last: it is finished
        model.save_for_prediction(path)
    loop.delete_checkpoints(folder)


def figure_title(name: str) -> str:
    """Return the name of a term of Eq. (5) in figures and log lines."""
    return {
        "kl_z": "z: KL of q(z | ..) to N(0, I)",
        "kl_m": "m: KL of q(m | h, x) to p(m | h, z)",
        "kl_h": "h: KL of q(h | x) to p(h | z)",
    }[name]


def load_latents(path: Path, dataset, hp, run) -> dict[str, np.ndarray]:
    """Load the inputs of the probes: {"mel": [n_pieces, n_bands], "h": [n_pieces, n_latent], ..}.

    Means over the frames of a piece: of the spectrogram, and of samples or of the distributions'
    means. The file is beside the network, for all runs; samples are drawn once.
    """
    kind = hp["probe"]["latents"]
    file = run.local_cache / f"latents-{file_digest(path)}-{dataset.key[:16]}-{kind}.npz"
    if latents := atomic_files.read_arrays_if_complete(file):
        return latents
    keras.utils.set_random_seed(
        0
    )  # noise and dropout: files do not hold the states of their generators
    network = load_network(path, hp, make_mel_pieces(hp))

    @tf.function(autograph=False, reduce_retracing=True)
    def encode(x):
        _, samples = network.encode(x, sampled=kind == "samples")
        return {name: tf.reduce_mean(x, axis=1) for name, x in {"mel": x, **samples}.items()}

    batches = [
        encode(tf.constant(dataset.pieces[first : first + BATCH]))
        for first in range(0, len(dataset.pieces), BATCH)
    ]
    latents = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    atomic_files.write_arrays(file, **latents)
    return latents
