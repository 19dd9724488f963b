"""Every paper's training on one device and on two: the process of `test_devices`.

python devices.py FOLDER writes FOLDER/results.json: {case: [of one device, of two]}.
"""

import functools
import gc
import json
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

gc.disable()  # graphs are many objects, and this process is short
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
tf.config.threading.set_inter_op_parallelism_threads(2)

import test_aae  # noqa: E402
import test_acnn  # noqa: E402
import test_epr  # noqa: E402
from networks import share_networks  # noqa: E402

from tfser.cache import pipelines  # noqa: E402
from tfser.models.aae import experiment as aae  # noqa: E402
from tfser.models.aae import network as of_aae  # noqa: E402
from tfser.models.acnn import experiment as acnn  # noqa: E402
from tfser.models.acnn import pretraining as acnn_pretraining  # noqa: E402
from tfser.models.auxvae import network as of_auxvae  # noqa: E402
from tfser.models.began import network as of_began  # noqa: E402
from tfser.models.epr import experiment as epr  # noqa: E402
from tfser.models.epr import network as of_epr  # noqa: E402
from tfser.training import loop, mixed_precision, nadam, replicas  # noqa: E402
from tfser.training.epoch import train_epoch  # noqa: E402


def read_history(folder):
    """The curves of a training: [names, values of each epoch]."""
    names, *rows = (folder / "history.csv").read_text().splitlines()
    truth = {"True": 1, "False": 0}
    values = [[float(truth.get(value, value)) for value in row.split(",")] for row in rows]
    return [names.split(","), values]


def train_aae(folder, strategy, system, n_frames):
    # Nadam divides a gradient by its size: a gradient that is 0 but for rounding moves a weight.
    nadam.Nadam = functools.partial(NADAM, epsilon=1e-2)
    test_aae.subnetworks._FILTERS = test_aae.NARROW
    hp = test_aae.hyperparameters(
        f"model.system={system}", "model.dropout=0.3", "optimized.discriminator_dropout=0.3",
        "train.max_epochs=3",
        "train.learning_rate=1e-3", "train.labelled_fraction=0.5",
    )  # fmt: skip
    corpus = test_aae.speech_of(test_aae.voices(), n_frames=n_frames)
    lab = test_aae.experiment(folder, hp, corpus, strategy=strategy)
    run = test_aae.run_in(folder, "loso")
    split = aae.make_splits(corpus.utterances, test_aae.hyperparameters(), run, 0)[0]
    fold = folder / "seed-0" / "fold-00"
    outputs = aae.train_network(lab, split, fold, [0, 0])["probabilities"]
    return n_replicas(lab.model), read_history(fold), outputs.tolist()


NADAM = nadam.Nadam


def train_acnn(folder, strategy):
    hp = test_acnn.hyperparameters("model.dropout=0.3")
    speech = test_acnn.speech_of(test_acnn.voices("abc"))
    lab = test_acnn.experiment(folder, hp, speech, strategy=strategy)
    split = acnn.make_splits(speech.utterances, hp, test_acnn.run_in(folder, "loso"), 0)[0]
    fold = folder / "seed-0" / "fold-00"
    outputs = acnn.train_network(lab, split, fold, [0, 0])["probabilities"]
    return n_replicas(lab.model), read_history(fold), outputs.tolist()


def train_autoencoder(folder, strategy):
    hp = test_acnn.hyperparameters(
        "autoencoder.units=4", "autoencoder.n_bands=6", "autoencoder.dropout=0.2",
        "autoencoder.max_epochs=3", "autoencoder.batch_size=8", "autoencoder.n_layers=1",
    )  # fmt: skip
    layer, stored = test_acnn.sounds(folder / "cache", hp)
    acnn_pretraining.train_autoencoder(stored, layer, hp["autoencoder"], folder, strategy)
    return {"none": 1, "mirrored": 2}[strategy], read_history(folder), []


def train_epr(folder, strategy):
    of_epr._VGG_E_BLOCKS = ((1, 64),) * 3  # of 16 convolutions a graph takes long
    hp = test_epr.hyperparameters(
        "model.width_multiplier=0.0625", "model.dropout=0.2", "train.max_epochs=4",
        'train.balance=["class"]',
    )  # fmt: skip
    corpus = test_epr.speech_of(test_epr.voices())
    lab = test_epr.experiment(folder, hp, corpus, strategy=strategy)
    train = np.delete(np.arange(18), [0, 1, 6, 7])  # 5 of anger, 9 of fear: weights 1.4 and 0.8
    profiles = epr.train_network(lab, train, np.arange(18, 23), corpus.one_hot, folder, [0])
    return n_replicas(lab.model), read_history(folder), profiles.tolist()


def n_replicas(model):
    return model.distribute_strategy.num_replicas_in_sync


def began():
    model = of_began.BEGAN(
        n_frames=17, n_bins=25, input_mode="crop512", n_filters=2, hidden=5, gamma=0.7, lambda_k=0.5
    )
    model.compile(keras.optimizers.Adam(1e-3))
    return model


def auxvae(medium):
    model = of_auxvae.AuxVAE(
        spectrogram={}, n_bands=5, n_latent=8, chunk_frames=6, dropout=0.2, legacy_dropout=False,
        medium=medium, predictive=False, alpha=0.5, beta=0.25, gamma=2.0,
    )  # fmt: skip
    model.compile(keras.optimizers.Adam(1e-3), clip_norm=0.5)
    return model


def adversarial():
    model = of_aae.AdversarialAutoencoder(3, shape=(12,), n_z=4, units=8)
    # Nadam divides a gradient by its size: a gradient that is 0 but for rounding moves a weight.
    nadams = [NADAM(rate, schedule_decay=0.004, epsilon=1e-2) for rate in (1e-2, 1e-3)]
    model.compile(*nadams, metrics=["accuracy"])
    return model


def dense():
    model = keras.Sequential(
        [keras.Input([5]), keras.layers.Dense(8, "relu"), keras.layers.Dense(3, dtype="float32")]
    )
    return loop.compile_model(model, keras.optimizers.Adam(0.03), "mse", metrics=())


def fit(folder, strategy, make, data, policy="float32"):
    """Five epochs of one batch, six times each."""
    strategy = loop.select_strategy(strategy)
    sharding = tf.data.Options()
    sharding.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    batches = tf.data.Dataset.from_tensors(data).repeat(6).with_options(sharding)
    keras.utils.set_random_seed(0)
    with mixed_precision.precision_policy(policy), strategy.scope():
        model = make()
    history = []
    for _ in range(5):
        row = train_epoch(model, batches)
        scores = model.evaluate(batches, return_dict=True, verbose=0)
        history.append(row | {f"val_{name}": value for name, value in scores.items()})
    names = sorted(history[0])
    rows = [[row[name] for name in names] for row in history]
    return n_replicas(model), [names, rows], []


def uniform(low, *shape):
    return np.random.default_rng(0).uniform(low, 1, shape).astype("float32")


def share_batches(folder, strategy):
    """The parts of batches that each replica has, and a network that trains on them."""
    frames = np.arange(1000, dtype="float32")[:, None] + np.zeros(4, "float32")
    starts = np.arange(101)
    options = {"n_frames": 32, "batch_size": 8, "seed": 0}
    dataset = pipelines.segment_batches(frames, starts, starts[:, None], **options)
    strategy = loop.select_strategy(strategy)
    seen, sizes, matches = [], [], []
    for x, y in strategy.experimental_distribute_dataset(dataset):
        parts = strategy.experimental_local_results(x)
        for part, label in zip(parts, strategy.experimental_local_results(y), strict=True):
            matches.append(bool((part[:, 0, 0].numpy() == label[:, 0].numpy()).all()))
            seen += label[:, 0].numpy().tolist()
        sizes.append([len(part) for part in parts])
    with strategy.scope():
        model = keras.Sequential(
            [keras.Input([32, 4]), keras.layers.Flatten(), keras.layers.Dense(1)]
        )
        model.compile("sgd", "mse")
    model.fit(dataset, epochs=1, verbose=0)
    segments = pipelines.segment_batches(frames, starts, None, n_frames=32, batch_size=8)
    shape = model.predict(segments, verbose=0).shape
    return {"seen": seen, "sizes": sizes, "matches": matches, "predicted": list(shape)}


def draw(folder, strategy):
    """Noise and masks of a batch of 10, which each replica draws for its part: two of each."""
    strategy = loop.select_strategy(strategy)
    n = strategy.num_replicas_in_sync
    keras.utils.set_random_seed(0)
    with strategy.scope():
        generator = keras.random.SeedGenerator(0)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.5)])
        model.compile("sgd", "mse")
    replicas.share_dropout(model)

    @tf.function
    def draw_part():
        part = tf.ones([10 // n, 3])  # no multiple of 4 numbers
        noise = [replicas.normal_like(part, generator) for _ in range(2)]
        return [*noise, *[model(part, training=True) for _ in range(2)]]

    parts = strategy.run(draw_part)
    return [
        [x.numpy().tolist() for x in strategy.experimental_local_results(drawn)] for drawn in parts
    ]


CASES = {
    "aae, baseline": functools.partial(train_aae, system="baseline", n_frames=None),
    "aae, optimized": functools.partial(train_aae, system="optimized", n_frames=None),
    "aae, vanilla of frames": functools.partial(train_aae, system="vanilla", n_frames=256),
    "acnn": train_acnn,
    "acnn, autoencoder": train_autoencoder,
    "epr": train_epr,
    "began": functools.partial(
        fit, make=began, data=uniform(0, 8, 17, 25)
    ),
    "aae, of arrays": functools.partial(
        fit, make=adversarial,
        data=(uniform(0, 8, 12), np.eye(3, 4)[np.arange(8) % 3, :3], np.float32([1, 3] * 4) / 2),
    ),
    "auxvae": functools.partial(
        fit, make=lambda: auxvae(False), data=uniform(0, 8, 26, 5)
    ),
    "auxvae, medium": functools.partial(
        fit, make=lambda: auxvae(True), data=uniform(0, 8, 26, 5)
    ),
    "auxvae, bfloat16": functools.partial(
        fit, make=lambda: auxvae(False), data=uniform(0, 8, 10, 5),
        policy="mixed_bfloat16",
    ),
    "dense, bfloat16": functools.partial(
        fit, make=dense, data=(uniform(0, 8, 5), uniform(0, 8, 3)), policy="mixed_bfloat16"
    ),
    "batches": share_batches,
    "draws": draw,
}  # fmt: skip

if __name__ == "__main__":
    folder, *names = sys.argv[1:]
    share_networks()
    results = {}
    for name in names:
        results[name] = []
        for strategy in ("none", "mirrored"):
            of_case = Path(folder) / name.replace(", ", "-").replace(" ", "-") / strategy
            of_case.mkdir(parents=True)
            results[name].append(CASES[name](of_case, strategy))
        nadam.Nadam = NADAM
    (Path(folder) / "results.json").write_text(json.dumps(results))
