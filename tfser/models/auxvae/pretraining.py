"""The Aux-VAE on speech without labels, trained once for all runs; and what it makes of pieces."""

import hashlib
import logging
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfser.cache import feature_cache, pipelines
from tfser.errors import UsageError
from tfser.features.mel_pieces import layer_of
from tfser.models.auxvae.network import AuxVAE
from tfser.plots import figures, spectrograms
from tfser.storage import atomic_files
from tfser.training import epoch as passes
from tfser.training import loop, pretraining

log = logging.getLogger("tfser")

VERSION = 1  # part of a network's key: raise it when training gives another one
TRAINING = ("learning_rate", "batch_size", "clip_norm", "seed")
WEIGHTS = ("alpha", "beta", "gamma")
HEARS = ("sample_rate_hz", "n_fft", "hop_samples", "range_db", "seconds", "n_frames")
LEAST_NATS = 1e-3  # per dimension; a latent variable below has collapsed
BATCH = 64  # of pieces, where nothing is learnt


def check(hp, layer) -> None:
    """Raises UsageError where [vae] names what is not there, before any work."""
    pretraining.check("vae", hp["vae"])
    if not (hp["vae"]["corpus"] or hp["vae"]["weights"]):
        raise UsageError('vae.corpus="" trains no network; name a corpus, or give vae.weights')
    if weights := hp["vae"]["weights"]:
        network_of(Path(weights).expanduser(), hp, layer)


def new_network(hp, layer) -> AuxVAE:
    """Randomly initialized, not compiled."""
    weights = {name: hp["vae"][name] for name in WEIGHTS}
    hears = {name: layer.arguments[name] for name in HEARS}
    return AuxVAE(hears=hears, n_bands=layer.n_features, **hp["model"], **weights)


def network_of(path: Path, hp, layer) -> AuxVAE:
    """The network in a file; UsageError where it is none, or another than [model] says."""
    network = pretraining.loaded(path, "vae.keras", "settings")
    settings = network.settings
    wanted = new_network(hp, layer).settings
    wanted |= {name: settings[name] for name in WEIGHTS}  # of no account once it is trained
    before, now = (dict(s) | s["hears"] for s in (settings, wanted))
    differ = [f"{k}: {before[k]}, not {now[k]}" for k in now if before[k] != now[k]]
    if differ := [text for text in differ if not text.startswith("hears")]:
        raise UsageError(
            f"{path} is of other settings ({', '.join(differ)}); give [input], [features] and "
            "[model] as it was trained with"
        )
    return network


def trained(utterances, hp, run, *, known=None, start: Path | None = None, max_epochs: int) -> Path:
    """The file of the network that these settings and this speech make; trained if not there.

    Args:
        known: the numbers of the utterances that it may hear, all without it.
        start: a network to go on from, in place of random weights.
    """
    layer, settings = layer_of(hp), hp["vae"]
    key = {
        "version": VERSION,
        "features": feature_cache.key_of(utterances, layer, run.decoder),
        "model": hp["model"],
        "vae": {name: settings[name] for name in (*TRAINING, *WEIGHTS)},
        "max_epochs": max_epochs,
        "start": start and pretraining.digest_of(start),
        "known": None if known is None else hashlib.sha256(known.tobytes()).hexdigest(),
    }

    def make(folder):
        speech = pretraining.stored(utterances, layer, run, known)
        train(speech, layer, hp, folder, run.strategy, max_epochs, start=start)

    return pretraining.kept("vae", key, run, settings["seed"], make)


def train(speech, layer, hp, folder, strategy, max_epochs, *, start=None) -> None:
    """Section 5.2: Adam on Eq. (5), the last epoch kept.

    speech: of `unlabelled.stored`; start: see `trained`.
    Writes vae.keras, history.csv, history.png and reconstruction.png into `folder`.
    """
    settings = hp["vae"]
    keras.utils.set_random_seed(settings["seed"])
    with loop.strategy(strategy).scope():
        model = new_network(hp, layer)
        if start:
            model.set_weights(network_of(start, hp, layer).get_weights())
        model.prepare(learning_rate=settings["learning_rate"], clip_norm=settings["clip_norm"])
    stored, kept, n_pieces = speech
    if not n_pieces:
        raise UsageError(
            "no recording to train on is long enough; use --set input.drop_short=false"
        )

    def batches(epoch):
        return pipelines.stream(
            stored,
            n_frames=layer.n_frames,
            batch_size=loop.shared(min(settings["batch_size"], n_pieces), strategy),
            seed=settings["seed"],
            epoch=epoch,
            kept=kept,
        )

    def one_epoch(history):
        return passes.train(model, batches(len(history)))

    names = [name for name in model.means if name.startswith("kl_")]
    history = pretraining.train(
        model,
        one_epoch,
        name="vae",
        max_epochs=max_epochs,
        folder=folder,
        panels={
            "squared error of a frame, all bands": {"reconstruction": "reconstruction"},
            "nats per dimension": {title_of(name): name for name in names},
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
                *(title_of(name), history[-1][name], LEAST_NATS),
            )
    [piece] = next(iter(batches(0)))[:1].numpy()
    picture = {"heard": -layer.range_db * piece}
    picture["reconstructed"] = -layer.range_db * passes.predict(model, piece[None])[0]
    figure = spectrograms.spectrograms_figure(
        picture,
        f"Aux-VAE after {max_epochs} epochs: a piece of its training speech",
        hop_seconds=layer.hop / layer.sample_rate_hz,
        label="dB to the loudest",
    )
    figures.save(figure, folder / "reconstruction.png")
    with atomic_files.replacing(folder / "vae.keras") as path:  # last: it says "done"
        model.optimizer = None
        model.save(path)
    loop.forget(folder)


def title_of(name: str) -> str:
    """What a term of Eq. (5) is called: "kl_m" is the divergence of q(m | h, x) and p(m | h, z)."""
    return {
        "kl_z": "z: KL of q(z | ..) to N(0, I)",
        "kl_m": "m: KL of q(m | h, x) to p(m | h, z)",
        "kl_h": "h: KL of q(h | x) to p(h | z)",
    }[name]


def latents(path: Path, speech, hp, run) -> dict[str, np.ndarray]:
    """What the probes are given of each piece: {"mel" [n_pieces, n_bands], "h" [.., n_latent], ..}.

    Means over its frames: of the spectrogram, and of samples or of the distributions' means. Kept
    beside the network for all runs, of samples one draw.
    """
    kind = hp["probe"]["latents"]
    file = run.local_cache / f"latents-{pretraining.digest_of(path)}-{speech.key[:16]}-{kind}.npz"
    if found := atomic_files.read_arrays_if_whole(file):
        return found
    keras.utils.set_random_seed(0)  # noise and dropout: files do not hold their states
    network = network_of(path, hp, layer_of(hp))

    @tf.function(autograph=False, reduce_retracing=True)
    def of_batch(x):
        _, samples = network.encode(x, sampled=kind == "samples")
        return {name: tf.reduce_mean(x, axis=1) for name, x in {"mel": x, **samples}.items()}

    batches = [
        of_batch(tf.constant(speech.pieces[first : first + BATCH]))
        for first in range(0, len(speech.pieces), BATCH)
    ]
    found = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    atomic_files.write_arrays(file, **found)
    return found
