"""Networks trained on speech without labels, once for all runs: kept beside the features."""

import contextlib
import hashlib
import itertools
import json
import logging
import os
import shutil
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tfser.cache import feature_cache
from tfser.corpora import tedlium
from tfser.corpora.loader import corpus_names, describe_corpus, load_corpus
from tfser.distributed import multi_worker
from tfser.errors import UsageError, did_you_mean
from tfser.plots import tensorboard
from tfser.plots.figures import write_training_curves
from tfser.storage import atomic_files, run_directory
from tfser.training import loop, mixed_precision

log = logging.getLogger("tfser")


def check_settings(section: str, settings) -> None:
    """Raises UsageError where [section] names a corpus or file that is not there, before any work.

    settings: with "corpus" ("" for none, "tested" for the one that is trained and tested on),
    "n_talks" (of tedlium) and "weights", a file in place of a training.
    """
    corpus, weights = settings["corpus"], settings["weights"]
    known = ["tested", *corpus_names()]
    if corpus and corpus not in known:
        raise UsageError(
            f"{section}.corpus={corpus!r} is not known{did_you_mean(corpus, known)}; "
            f"one of: {' '.join(known)}"
        )
    if corpus and weights:
        raise UsageError(
            f"{section}.corpus trains a network, {section}.weights is one; keep one of them, the "
            f'other is --set {section}.corpus=""'
        )
    if weights and not Path(weights).expanduser().is_file():
        raise UsageError(f"{section}.weights: there is no file {weights}")
    if settings["n_talks"] and corpus != "tedlium":
        raise UsageError(f"{section}.n_talks is of {section}.corpus=tedlium alone")


def load_unlabelled(settings, tested, run) -> list:
    """The utterances to train on; `tested` are those of the corpus "tested"."""
    corpus = settings["corpus"]
    if corpus in ("", "tested"):
        return tested
    utterances = load_corpus(corpus, None, run.cache)
    log.info("trained without labels on %s", describe_corpus(corpus, utterances))
    return select_training_part(settings, utterances)


def select_training_part(settings, utterances) -> list:
    """The utterances of the corpus that `settings` name which are trained on."""
    if settings["corpus"] != "tedlium":
        return utterances
    if n_talks := settings["n_talks"]:
        return tedlium.select_first_talks(utterances, n_talks)
    return [u for u in utterances if u.split == "train"]


def drop_empty(stored) -> list:
    """Select the utterances that have frames: some are too short for a piece."""
    counts = itertools.chain(*stored.n_frames)
    return [u for u, n in zip(stored.utterances, counts, strict=True) if n]


def share_recordings(trained_on, tested) -> bool:
    """Whether a recording is among both lists of utterances: what is transductive."""
    known = {u.path.resolve() for u in trained_on}
    return any(u.path.resolve() in known for u in tested)


def store_pieces(utterances, layer, run, known=None) -> tuple:
    """What a network trains on: (store.Stored, which of its pieces [n_pieces], how many).

    known: the numbers of the utterances that take part; without it all do, and "which" is None.
    """
    found = feature_cache.store_features(utterances, layer, **run.cache_options)
    counts = np.concatenate(found.n_frames) // layer.n_frames
    if known is None:
        return found, None, int(counts.sum())
    names = {utterances[i].name for i in known}
    which = np.repeat([u.name in names for u in found.utterances], counts)
    return found, which, np.count_nonzero(which)


def copy_network(file: Path, copy: Path, cache: Path) -> None:
    """A network as a file of the run too; those of the cache take no room where links can be made.

    Anybody's own file is copied: it may be overwritten.
    """
    copy.parent.mkdir(parents=True, exist_ok=True)
    with atomic_files.replace_file(copy) as temporary:
        with contextlib.suppress(OSError):
            if file.is_relative_to(cache):
                os.link(file, temporary)
        if not temporary.exists():
            shutil.copyfile(file, temporary)


def file_digest(file: Path) -> str:
    """Of a file's content."""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]


def load_saved_network(path: Path, file: str, *attributes: str):
    """The network in a file, in float32.

    Raises UsageError where it is no `file` such as "vae.keras" of a run.

    attributes: what only such networks have.
    """
    try:
        network = mixed_precision.load_in_float32(path)
        for name in attributes:
            getattr(network, name)
    except (ValueError, OSError, AttributeError, TypeError, KeyError, ImportError) as error:
        reason = str(error).partition(". ")[0]
        raise UsageError(f"{path} is no {file} of an earlier run: {reason}") from None
    return network


def cached_network(name: str, key: dict, run, seed: int, make) -> Path:
    """The file that `key` decides, after `make(folder)` has written it, where it is not there.

    <cache>/<name>-<digest of key>/: of one process at a time, the others wait for it.
    """
    if (name_of := mixed_precision.current_policy()) != "float32":  # keys are older than the choice
        key = key | {"precision": name_of}
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    # Of several workers the chief keeps it; those of the others go with them.
    folder = (run.local_cache if multi_worker.is_chief() else run.folder) / f"{name}-{digest}"
    path = folder / f"{name}.keras"
    if not multi_worker.broadcast_from_chief(path.exists()):
        with run_directory.open_run(folder, key, [seed], waits=True):
            if not multi_worker.broadcast_from_chief(
                path.exists()
            ):  # another process has just trained it
                make(folder)
    multi_worker.copy_from_chief(folder, "*.keras")
    return path


def train_network(
    model,
    one_epoch,
    *,
    name,
    max_epochs,
    folder: Path,
    panels,
    title,
    shown,
    advice,
    best_epoch=lambda history: len(history) - 1,
    pictures=dict,
):
    """Trains for `max_epochs`, leaves the best one's weights; writes history.csv and history.png.

    Args:
        one_epoch: see `loop.run_epochs`; rows may hold anything besides "loss".
        name: of the network, for the progress bar and the log.
        panels, title: of the picture, see `figures.write_training_curves`.
        shown: what the bar shows of a row, a format string such as "RMSE {loss:.4f}".
        best_epoch: function(history) -> the epoch (from 0) to keep, without it the last.
        pictures: function() -> {name: PNG} for TensorBoard, after each epoch.

    Returns the history. A killed training goes on where it was.
    """
    with (
        tqdm(total=max_epochs, desc=name, unit="epoch") as bar,
        tensorboard.open_event_writer(folder / "events") as write,
    ):

        def after_epoch(row):
            bar.set_postfix_str(shown.format(**row), refresh=False)
            bar.update(row["epoch"] - bar.n)
            scalars = {key: value for key, value in row.items() if key != "epoch"}
            write(row["epoch"], scalars, pictures())

        history = loop.run_epochs(
            model,
            one_epoch,
            best_epoch=best_epoch,
            finished=lambda history: len(history) >= max_epochs,
            folder=folder,
            report=after_epoch,
            advice=advice,
        )
    atomic_files.write_csv(folder / "history.csv", history)
    write_training_curves(
        history, folder / "history.png", title, panels, kept_epoch=best_epoch(history) + 1
    )
    kept = history[best_epoch(history)]
    log.info(
        "%s: %s in epoch %d of %d, %s",
        *(name, shown.format(**kept), kept["epoch"], max_epochs, folder),
    )
    return history
