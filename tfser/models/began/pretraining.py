"""The training of BEGAN on speech without labels, once for all runs; its encoder for heads."""

import hashlib
import logging
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfser.audio.tf_data import unconverted
from tfser.cache import feature_cache, pipelines
from tfser.errors import UsageError
from tfser.features.magnitude_slices import make_magnitude_slices
from tfser.models.began.network import BEGAN, MODES, Picture
from tfser.plots import figures
from tfser.plots.drawing_errors import keep_going
from tfser.plots.spectrograms import draw_image_grid
from tfser.storage import atomic_files
from tfser.training import loop
from tfser.training.epoch import train_epoch
from tfser.training.pretraining import (
    cached_network,
    check_settings,
    load_saved_network,
    store_pieces,
    train_network,
)

log = logging.getLogger("tfser")

VERSION = 1  # part of a network's key: raise it when training gives other weights
TRAINING = ("learning_rate", "batch_size", "gamma", "lambda_k", "seed")
SAMPLED = 2**22  # magnitudes in the sample that gives the scale
PERCENTILE = 99.9
SHOWN = 8  # pictures in a row of the grid
STUCK = 5  # epochs
RISE = 1.5  # of M_global over its lowest value


def check_hparams(hp, layer) -> None:
    """Raise UsageError where [began] names a missing corpus or file, before any work."""
    check_settings("began", hp["began"])
    if hp["head"]["encoder"] != "pretrained":
        return
    if not (hp["began"]["corpus"] or hp["began"]["weights"]):
        raise UsageError('began.corpus="" trains no network; name a corpus, or give began.weights')
    if weights := hp["began"]["weights"]:
        load_network(Path(weights).expanduser(), hp, layer)


def new_network(hp, layer) -> BEGAN:
    """Return a randomly initialized network that is not compiled."""
    return BEGAN(
        n_frames=layer.n_frames,
        n_bins=layer.n_features,
        input_mode=hp["features"]["input_mode"],
        **hp["model"],
        gamma=hp["began"]["gamma"],
        lambda_k=hp["began"]["lambda_k"],
    )


def compiled_network(hp, layer, strategy: str) -> BEGAN:
    """Return a randomly initialized network with its optimizers."""
    with loop.select_strategy(strategy).scope():
        model = new_network(hp, layer)
        model.compile(keras.optimizers.Adam(hp["began"]["learning_rate"]))
    return model


def load_network(path: Path, hp, layer) -> BEGAN:
    """Load a network; raise UsageError where it is no BEGAN, or not that of [model]."""
    network = load_saved_network(path, "began.keras", "settings")
    settings = network.settings
    expected = new_network(hp, layer).settings
    differ = [
        f"{k}: {settings[k]}, not {value}" for k, value in expected.items() if settings[k] != value
    ]
    if differ:
        raise UsageError(
            f"{path} is of other settings ({', '.join(differ)}); give [features], [model] and "
            "[began] as it was trained with"
        )
    return network


def maps_network(network: BEGAN) -> keras.Model:
    """Return the network from magnitudes of slices to the encoder's feature maps."""
    slices = keras.Input((network.settings["n_frames"], network.settings["n_bins"]))
    return keras.Model(slices, network.encoder(network.picture(slices)), name="maps")


def pretrained_network(utterances, hp, run, *, known=None) -> Path:
    """Return the file of the network of these settings and utterances; train a missing network.

    known: the numbers of the utterances that train the network, None for all.
    """
    layer, settings = make_magnitude_slices(hp), hp["began"]
    key = {
        "version": VERSION,
        "features": feature_cache.cache_key(utterances, layer, **run.decoding),
        "input": [hp["features"]["input_mode"], hp["features"]["scaling"]],
        "model": hp["model"],
        "began": {name: settings[name] for name in (*TRAINING, "max_epochs")},
        "known": None if known is None else hashlib.sha256(known.tobytes()).hexdigest(),
    }

    def make(folder):
        slices = store_pieces(utterances, layer, run, known)
        train_began(slices, layer, hp, folder, run.strategy)

    return cached_network("began", key, run, settings["seed"], make)


def train_began(slices, layer, hp, folder: Path, strategy: str) -> None:
    """Train BEGAN as in section 3.3; keep the epoch with the lowest M_global.

    slices: of `training.pretraining.store_pieces`.
    Write began.keras, history.csv, history.png and pictures.png into `folder`.
    """
    settings = hp["began"]
    keras.utils.set_random_seed(settings["seed"])
    model = compiled_network(hp, layer, strategy)
    stored, selected, n_slices = slices
    if not n_slices:
        raise UsageError(
            "no recording to train on has a slice; use --set features.drop_short=false"
        )
    batch_size = loop.shared_batch_size(min(settings["batch_size"], n_slices), strategy)

    def batches(epoch):
        return pipelines.stream_pieces(
            stored,
            n_frames=layer.n_frames,
            batch_size=batch_size,
            seed=settings["seed"],
            epoch=epoch,
            kept=selected,
        )

    if hp["features"]["scaling"] == "max":
        model.picture.scale.assign(magnitude_scale(batches(0)))

    def one_epoch(history):
        noisy = add_noise(
            batches(len(history)),
            (2, batch_size, hp["model"]["hidden"]),
            seed=[settings["seed"], len(history)],
        )
        return train_epoch(model, noisy)

    def encode_pictures():
        with keep_going("a picture for TensorBoard"):
            return {"pictures": figures.encode_png(draw_grid(model, batches(0), hp))}
        return {}

    history = train_network(
        model,
        one_epoch,
        name="began",
        max_epochs=settings["max_epochs"],
        best_epoch=lambda history: min(range(len(history)), key=lambda i: history[i]["m_global"]),
        folder=folder,
        panels={
            "mean |v - D(v)|": {"real": "real", "generated": "generated"},
            "M_global": {"M_global": "m_global"},
            "k": {"k": "k"},
        },
        title=f"BEGAN, {n_slices:,} slices of {hp['features']['slice_seconds']:g} s",
        shown="M_global {m_global:.4f} k {k:.3f}",
        advice="try a lower --set began.learning_rate",
        pictures=encode_pictures,
    )
    warn_of_divergence(history)
    with keep_going("pictures.png"):
        figures.save_figure(draw_grid(model, batches(0), hp), folder / "pictures.png")
    with atomic_files.replace_file(folder / "began.keras") as path:  # last: it is finished
        model.save_for_prediction(path)
    loop.delete_checkpoints(folder)


def magnitude_scale(batches) -> float:
    """Return the magnitude that 99.9 percent of a sample of the training set do not exceed."""
    sample, n = [], 0
    for batch in batches:
        sample.append(batch.numpy().ravel())
        n += len(sample[-1])
        if n > SAMPLED:
            break
    return float(np.percentile(np.concatenate(sample), PERCENTILE))


def add_noise(batches, shape, *, seed):
    """Add (z_D, z_G), [batch, hidden] each, to magnitudes; they depend on (seed, batch) alone."""

    @unconverted
    def add(number, x):
        z = tf.random.stateless_uniform(shape, [*seed[:1], seed[1] * 2**20 + number], -1.0, 1.0)
        return x, (z[0], z[1])

    return batches.enumerate().map(add)


def warn_of_divergence(history) -> None:
    """Warn of a training that collapsed or diverged."""
    last = history[-STUCK:]
    for value, reason in ((0.0, "the generator is too good, D learns nothing from it"),
                        (1.0, "the generator has collapsed, or never began")):  # fmt: skip
        if len(last) == STUCK and all(abs(row["k"] - value) < 1e-6 for row in last):
            log.warning("began: k is stuck at %g: %s; try another began.gamma", value, reason)
    lowest = min(row["m_global"] for row in history)
    if history[-1]["m_global"] > RISE * lowest:
        log.warning(
            "began: M_global rose from %.4f to %.4f: it diverges; try a lower began.learning_rate",
            *(lowest, history[-1]["m_global"]),
        )


def draw_grid(model, batches, hp):
    """Draw slices, their reconstructions, and pictures that the generator makes of noise."""
    magnitudes = next(iter(batches))[:SHOWN]
    z = np.random.default_rng(0).uniform(-1, 1, (SHOWN, hp["model"]["hidden"])).astype("float32")
    rows = {
        "speech": model.picture(magnitudes),
        "D(speech)": model(magnitudes),
        "G(z)": model.generator(z),
    }
    rows = {name: np.array(x)[..., 0] for name, x in rows.items()}
    return draw_image_grid(rows, "BEGAN: slices of 1 s, frequency upwards")


def load_maps(encoder, dataset, run) -> np.ndarray:
    """Load the frozen encoder's feature maps of all slices; they are beside the features.

    The name of the file has all that decides them: the input mode, the weights (the scale of the
    pictures is one of them) and the features. Files of earlier versions have no mode in the name;
    they are read where their shape is that of one mode alone.
    """
    name = f"{weights_digest(encoder)}-{dataset.key[:16]}.npy"
    files = [run.local_cache / f"maps-{encoder.get_layer('picture').input_mode}-{name}"]
    shapes = {Picture(mode).compute_output_shape(dataset.slices.shape) for mode in MODES}
    if len(shapes) == len(MODES):
        files.append(run.local_cache / f"maps-{name}")
    shape = len(dataset.slices), *encoder.output_shape[1:]
    for file in files:
        if (maps := _read_maps(file, shape)) is not None:
            return maps
    maps = encoder.predict(dataset.slices, batch_size=32, verbose=0)
    with atomic_files.replace_file(files[0]) as path:
        with open(path, "wb") as stream:
            np.save(stream, maps)
    return maps


def _read_maps(file: Path, shape: tuple) -> np.ndarray | None:
    """Read feature maps; return None where the file is missing, damaged or of another shape."""
    if not file.exists():
        return None
    try:
        maps = np.load(file)
    except Exception as error:  # a header may name any shape and type
        log.warning("%s is damaged (%s): made again", file, error)
        return None
    return maps if maps.shape == shape else None


def weights_digest(network) -> str:
    """Return a digest of the values of a network's weights."""
    digest = hashlib.sha256()
    for weights in network.get_weights():
        digest.update(weights.tobytes())
    return digest.hexdigest()[:16]
