"""Pre-training on speech without labels, once for all runs; networks are beside the features."""

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
from tfser.corpora import librispeech, tedlium
from tfser.corpora.labels import select_group
from tfser.corpora.loader import corpus_names, describe_corpus, load_corpus
from tfser.distributed import multi_worker
from tfser.errors import UsageError, did_you_mean
from tfser.storage import atomic_files, run_directory
from tfser.training import fold, mixed_precision

log = logging.getLogger("tfser")


def check_settings(section: str, settings) -> None:
    """Raise UsageError where [section] names a missing corpus or file, before any work.

    settings: with "corpus" ("" for none, "tested" for the corpus of the cross-validation),
    "group" (of librispeech), "n_talks" (of tedlium) and "weights", a file in place of a training.
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
    if corpus != "librispeech" and settings["group"] not in ("", librispeech.PAPER_GROUP):
        raise UsageError(f"{section}.group is of {section}.corpus=librispeech alone")


def load_unlabelled(section: str, settings, tested, run) -> list:
    """Load the utterances of the pre-training of [section]; `tested` is the corpus "tested"."""
    corpus = settings["corpus"]
    if corpus in ("", "tested"):
        return tested
    utterances = select_training_part(section, settings, load_corpus(corpus, None, run.cache))
    log.info("trained without labels on %s", describe_corpus(corpus, utterances))
    return utterances


def select_training_part(section: str, settings, utterances) -> list:
    """Select the utterances of the pre-training from the corpus that [section] names.

    Of librispeech that is a group, of tedlium the first talks or the training part. Raises
    UsageError where the corpus lacks them.
    """
    if settings["corpus"] == "librispeech":
        return select_group(utterances, settings["group"], f"{section}.group", "librispeech")
    if settings["corpus"] != "tedlium":
        return utterances
    if n_talks := settings["n_talks"]:
        return tedlium.select_first_talks(utterances, n_talks)
    return [u for u in utterances if u.split == "train"]


def drop_empty(stored) -> list:
    """Select the utterances that have frames: some utterances are too short for a piece."""
    counts = itertools.chain(*stored.n_frames)
    return [u for u, n in zip(stored.utterances, counts, strict=True) if n]


def share_recordings(trained, tested) -> bool:
    """Return whether a recording is in both lists of utterances: the system is transductive."""
    known = {u.path.resolve() for u in trained}
    return any(u.path.resolve() in known for u in tested)


def store_pieces(utterances, layer, run, known=None) -> tuple:
    """Store the pieces of the pre-training: (StoredFeatures, selection [n_pieces], their number).

    known: the numbers of the utterances to train on; without `known` all utterances, and the
    selection is None.
    """
    stored = feature_cache.store_features(utterances, layer, **run.cache_options)
    counts = np.concatenate(stored.n_frames) // layer.n_frames
    if known is None:
        return stored, None, int(counts.sum())
    names = {utterances[i].name for i in known}
    selected = np.repeat([u.name in names for u in stored.utterances], counts)
    return stored, selected, np.count_nonzero(selected)


def copy_network(file: Path, copy: Path, cache: Path) -> None:
    """Copy a network into the run directory; link a file of the cache, which takes no room.

    A file of the user is copied: it may be overwritten.
    """
    copy.parent.mkdir(parents=True, exist_ok=True)
    with atomic_files.replace_file(copy) as temporary:
        with contextlib.suppress(OSError):
            if file.is_relative_to(cache):
                os.link(file, temporary)
        if not temporary.exists():
            shutil.copyfile(file, temporary)


def file_digest(file: Path) -> str:
    """Return a digest of the content of a file."""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]


def load_saved_network(path: Path, file: str, *attributes: str):
    """Load a network in float32.

    Raise UsageError where it is no `file` of a run, such as "vae.keras".

    attributes: names that such a network has.
    """
    try:
        network = mixed_precision.load_in_float32(path)
        for name in attributes:
            getattr(network, name)
    except Exception as error:  # a damaged archive makes zipfile, h5py and Keras raise any kind
        reason = (str(error) or type(error).__name__).partition(". ")[0].partition("\n")[0]
        raise UsageError(f"{path} is no {file} of an earlier run: {reason}") from None
    return network


def cached_network(name: str, key: dict, run, seed: int, make) -> Path:
    """Return the file of the network that `key` identifies; `make(folder)` writes a missing file.

    <cache>/<name>-<digest of key>/: one process writes at a time, other processes wait.
    """
    if (name_of := mixed_precision.current_policy()) != "float32":  # keys are older than the option
        key = key | {"precision": name_of}
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    # Of several workers the chief has the cache; the other workers have a temporary folder.
    folder = (run.local_cache if multi_worker.is_chief() else run.folder) / f"{name}-{digest}"
    path = folder / f"{name}.keras"
    if not multi_worker.broadcast_from_chief(path.exists()):
        with run_directory.open_run(folder, key, [seed], waits=True, flag="--cache"):
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
    """Train for `max_epochs`, leave the weights of the best epoch; write history.csv, history.png.

    Args:
        one_epoch: see `loop.run_epochs`; rows may hold anything besides "loss".
        name: of the network, for the progress bar and the log.
        panels, title: of the figure, see `figures.write_training_curves`.
        shown: the columns on the bar, a format string such as "RMSE {loss:.4f}".
        best_epoch: function(history) -> the epoch (from 0) to keep; by default the last.
        pictures: function() -> {name: PNG} for TensorBoard, after each epoch.

    Returns the history. A killed training continues.
    """
    with tqdm(total=max_epochs, desc=name, unit="epoch") as bar:

        def show(row):
            bar.set_postfix_str(shown.format(**row), refresh=False)
            bar.update(row["epoch"] - bar.n)

        history = fold.run_epochs(
            model,
            one_epoch,
            show,
            events=folder / "events",
            max_epochs=max_epochs,
            draw=pictures,
            best_epoch=best_epoch,
            folder=folder,
            advice=advice,
        )
    best = history[best_epoch(history)]
    fold.write_history(folder, history, best, title, panels)
    log.info(
        "%s: %s in epoch %d of %d, %s",
        *(name, shown.format(**best), best["epoch"], max_epochs, folder),
    )
    return history
