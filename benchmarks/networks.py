"""Networks of the zoo at the paper's size with their inputs, which benchmarks/run.py trains.

Each function of NETWORKS makes a `Network` under the hyperparameters of a real corpus. Its input is
noise of that corpus's shapes, in the pipeline of tfser-train: from memory, or from shards on the
disk where the pre-training corpus is larger than memory.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from tfser.cache import feature_cache, pipelines
from tfser.cache.tfrecord import shard_path, write_shard
from tfser.config.hparams import load_hparams

# Modules have the same names in every paper.
from tfser.models.aae import experiment as aae_experiment
from tfser.models.acnn import dataset as acnn_dataset
from tfser.models.acnn import experiment as acnn_experiment
from tfser.models.acnn import pretraining as acnn_pretraining
from tfser.models.auxvae import experiment as auxvae_experiment
from tfser.models.auxvae import pretraining as auxvae_pretraining
from tfser.models.began import experiment as began_experiment
from tfser.models.began import heads
from tfser.models.began import pretraining as began_pretraining
from tfser.models.epr.network import EPR
from tfser.storage import run_directory
from tfser.training import loop

SHARDS, PIECES = 8, 32  # of the input on the disk


class Network(NamedTuple):
    """Compiled network with its training input."""

    model: keras.Model
    batches: Callable  # number of an epoch -> dataset, as in training
    batch_size: int
    example: str  # description of the examples in a batch
    twins: dict  # PyTorch's name -> the script and its arguments


def make_run() -> run_directory.Run:
    """Return a run on one device."""
    return run_directory.Run(Path(), Path(), "", "paper", None, (0,), "none", 0)


def make_noise(*shape) -> np.ndarray:
    """Return float32 noise."""
    return np.random.default_rng(0).standard_normal(shape, dtype="float32")


def write_pieces(folder: Path, n_frames: int, n_features: int) -> feature_cache.StoredFeatures:
    """Write pieces of noise in [0, 1] as shards of the cache's format."""
    rng, n_bytes = np.random.default_rng(0), []
    for number in range(SHARDS):
        pieces = rng.random((PIECES, n_frames, n_features), "float32")
        write_shard(shard_path(folder, number), {}, [piece.tobytes() for piece in pieces])
        n_bytes.append([n_frames] * PIECES)
    paths = [str(shard_path(folder, number)) for number in range(SHARDS)]
    return feature_cache.StoredFeatures([None] * SHARDS * PIECES, paths, n_bytes, n_features, "")


def list_layouts(*script_and_arguments) -> dict:
    """Return the twin of an image network in both of PyTorch's layouts."""
    layouts = "NCHW", "channels_last"
    return {f"PyTorch, {layout}": (*script_and_arguments, layout) for layout in layouts}


def epr_vgg(folder, width=1.0) -> Network:
    """Build VGG-E on segments of a corpus of CASIA's size: 7,200 utterances of 198 frames."""
    hp = load_hparams("epr", "casia", overrides=[f"model.width_multiplier={width}"])
    n_frames, n_bands, n_classes, size = 32, 64, 6, hp["train"]["batch_size"]
    model = EPR(n_frames=n_frames, n_bands=n_bands, n_classes=n_classes, **hp["model"])
    model.compile(keras.optimizers.Adam(hp["schedule"]["initial_learning_rate"]))
    offsets = np.arange(7200 + 1) * 198
    starts, _ = pipelines.index_segments(offsets, n_frames=n_frames, hop_frames=1)
    labels = np.full((len(starts), n_classes), 1 / n_classes, "float32")
    frames = pipelines.as_tensor(make_noise(offsets[-1], n_bands))

    def batches(epoch):
        return pipelines.segment_batches(
            frames, starts, labels,
            n_frames=n_frames, batch_size=size, seed=0, epoch=epoch, drop_remainder=True,
        )  # fmt: skip

    twins = list_layouts("vgg_torch.py", size, width)
    return Network(model, batches, size, "segments of 32 x 64", twins)


def acnn_network(folder) -> Network:
    """Build ACNN with three views and a representation, on 2,000 utterances of 7.5 s."""
    hp, n, n_classes = load_hparams("acnn", "iemocap"), 2000, 4
    layer, n_frames = acnn_dataset.make_input_layer(hp)
    y = np.arange(n) % n_classes
    views = {"emotion": np.eye(n_classes, dtype="float32")[y]}
    views |= dict.fromkeys(("arousal", "valence"), np.eye(3, dtype="float32")[y % 3])
    speech = acnn_experiment.Dataset(
        [], list("abcd"), y, pipelines.as_tensor(make_noise(n * n_frames, layer.n_features)),
        np.arange(n + 1) * n_frames, n_frames, views, make_noise(n, 1024), False,
    )  # fmt: skip
    model = acnn_experiment.compiled_network(speech, hp, make_run())
    model.get_layer("standardize").set_statistics(np.zeros(26), np.ones(26))
    size = hp["train"]["batch_size"]

    def batches(epoch):
        options = {"seed": 0, "epoch": epoch, "drop_remainder": True}
        return acnn_dataset.make_batches(speech, np.arange(n), size, **options)

    twins = {"PyTorch": ("acnn_torch.py", size)}
    return Network(model, batches, size, f"utterances of {n_frames} x 26", twins)


def acnn_autoencoder(folder) -> Network:
    """Build the sequence autoencoder on clips of 7.5 s on the disk."""
    hp = load_hparams("acnn", "librispeech")
    layer, settings = acnn_pretraining.make_spectrogram(hp), hp["autoencoder"]
    shape, size = (layer.n_frames, layer.n_features), settings["batch_size"]
    model = acnn_pretraining.compiled_network(layer, settings, "none")
    stored = write_pieces(folder, *shape)

    def batches(epoch):
        return pipelines.stream_pieces(
            stored, n_frames=shape[0], batch_size=size, seed=0, epoch=epoch
        )

    twins = {"PyTorch": ("recurrent_torch.py", size)}
    return Network(model, batches, size, f"clips of {shape[0]} x {shape[1]}", twins)


def aae_network(folder, level="utterance") -> Network:
    """Build the optimized AAE on 2,000 utterances: functionals, or 1,024 frames of descriptors."""
    hp = load_hparams("aae", "iemocap", overrides=[f'model.level="{level}"'])
    n, n_classes = 2000, 4
    n_frames, n_features = (None, 6373) if level == "utterance" else (hp["frames"]["n_frames"], 65)
    offsets = np.arange(n + 1) * (n_frames or 1)
    y = np.arange(n) % n_classes
    frames = pipelines.as_tensor(make_noise(offsets[-1], n_features))
    speech = aae_experiment.Dataset(
        "", [], list("abcd"), y, frames, offsets, n_frames, [""] * n_features
    )
    model = aae_experiment.compiled_network(speech, hp, make_run())
    model.get_layer("standardize").set_statistics(np.zeros(n_features), np.ones(n_features))
    size = hp["train"]["batch_size"]

    def batches(epoch):
        numbers, n_z = np.arange(n), hp["model"]["n_z"]
        return aae_experiment.make_autoencoder_batches(
            speech, numbers, numbers, size, n_z, seed=0, epoch=epoch
        )

    shape = f"{n_frames} x {n_features}" if n_frames else n_features
    twins = {"PyTorch": ("aae_torch.py", size, n_frames or 0)}
    return Network(model, batches, size, f"utterances of {shape}", twins)


def auxvae_network(folder) -> Network:
    """Build the Aux-VAE on pieces of 4 s on the disk."""
    hp = load_hparams("auxvae", "librispeech")
    layer, settings = auxvae_experiment.make_mel_pieces(hp), hp["vae"]
    model = auxvae_pretraining.compiled_network(hp, layer, "none")
    stored, size = write_pieces(folder, layer.n_frames, layer.n_features), settings["batch_size"]

    def batches(epoch):
        return pipelines.stream_pieces(
            stored, n_frames=layer.n_frames, batch_size=size, seed=0, epoch=epoch
        )

    shape = f"{layer.n_frames} x {layer.n_features}"
    return Network(model, batches, size, f"pieces of {shape}", {"PyTorch": ("vae_torch.py", size)})


def began_network(folder, size=4) -> Network:
    """Build BEGAN on slices on the disk, in batches of 4: the paper's 16 are slow and large."""
    hp = load_hparams("began", "librispeech")
    layer, n_filters = began_experiment.make_magnitude_slices(hp), hp["model"]["n_filters"]
    model = began_pretraining.compiled_network(hp, layer, "none")
    stored = write_pieces(folder, layer.n_frames, layer.n_features)

    def batches(epoch):
        dataset = pipelines.stream_pieces(
            stored, n_frames=layer.n_frames, batch_size=size, seed=0, epoch=epoch
        )
        return began_pretraining.add_noise(
            dataset, (2, size, hp["model"]["hidden"]), seed=[0, epoch]
        )

    twins = list_layouts("began_torch.py", size, hp["features"]["input_mode"], n_filters)
    return Network(model, batches, size, "slices of 520 x 96", twins)


def began_head(folder) -> Network:
    """Build the head on the feature maps of a frozen encoder, of 512 slices."""
    hp, n, n_classes = load_hparams("began", "emodb"), 512, 7
    network = began_pretraining.new_network(hp, began_experiment.make_magnitude_slices(hp))
    shape = began_pretraining.maps_network(network).output_shape[1:]
    settings = {name: value for name, value in hp["head"].items() if name != "encoder"}
    flat = keras.Input((int(np.prod(shape)),))
    head = heads.EmotionHead(shape, n_classes, **settings, activation="softmax")
    model = loop.compile_model(
        keras.Model(flat, head(keras.layers.Reshape(shape)(flat))),
        heads.OPTIMIZERS[hp["train"]["optimizer"]](hp["train"]["learning_rate"]),
        "categorical_crossentropy",
        metrics=(),
    )
    rows = pipelines.as_tensor(make_noise(n, flat.shape[1]))
    labels, size = np.eye(n_classes, dtype="float32")[np.arange(n) % n_classes], 16

    def batches(epoch):
        return pipelines.utterance_batches(
            rows, np.arange(n + 1), np.arange(n), labels,
            n_frames=None, batch_size=size, seed=0, epoch=epoch, drop_remainder=True,
        )  # fmt: skip

    twins = list_layouts("head_torch.py", size, *shape)
    return Network(model, batches, size, f"maps of {' x '.join(map(str, shape))}", twins)


NETWORKS = {
    "EPR, VGG-E": epr_vgg,
    "EPR, VGG-E of an eighth of the width": lambda folder: epr_vgg(folder, width=0.125),
    "ACNN": acnn_network,
    "ACNN's autoencoder": acnn_autoencoder,
    "AAE of utterances": aae_network,
    "AAE of frames": lambda folder: aae_network(folder, level="frame"),
    "Aux-VAE": auxvae_network,
    "BEGAN": began_network,
    "BEGAN's head": began_head,
}
