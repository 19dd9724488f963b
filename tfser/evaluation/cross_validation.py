"""Cross-validation: the splits of all seeds, one training per fold, the scores of each seed.

A paper's `train` calls `load_with_splits`, then `cross_validate` with its own `train_fold`, then
`finish_run` of a report.
"""

import contextlib
import logging
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from tfser.corpora.labels import (
    check_classes,
    select_by_labels,
    select_common_classes,
    warn_of_untrained_classes,
)
from tfser.errors import DataError, UsageError
from tfser.evaluation import classification_report
from tfser.evaluation.earlier_training import warn_of_seen_speakers
from tfser.evaluation.splits import NO_DEV
from tfser.storage import atomic_files, fold_files, run_directory

log = logging.getLogger("tfser")


def load_with_splits(
    utterances, run, make_splits, load_dataset, *, has_classes=True, make_more=None, earlier=None
) -> tuple:
    """Make the splits of all seeds, load the dataset, and write splits.csv: (dataset, splits).

    The splits come before any audio: a corpus that does not allow them fails at once. Utterances
    that the dataset lacks (--max-bad) are not in the splits that are returned.

    Args:
        make_splits: function(utterances) -> {seed: list of Split}.
        load_dataset: function(utterances) -> object with the loaded `utterances`.
        has_classes: False where the target is a rating.
        make_more: function(dataset, splits) -> further folds of the paper, as `more` of
            `write_splits`.
        earlier: the EarlierTraining of a network that the run starts from, or None.
    """

    def make_checked_splits(utterances):
        splits = make_splits(utterances)
        if has_classes:
            warn_of_untrained_classes(utterances, splits[run.seeds[0]])
        return splits

    splits = make_checked_splits(utterances)
    warn_of_seen_speakers(earlier, run.corpus, utterances, splits)
    dataset = load_dataset(utterances)
    if len(dataset.utterances) < len(utterances):
        splits = make_checked_splits(
            check_classes(dataset.utterances) if has_classes else dataset.utterances
        )
    write_splits(run, dataset.utterances, splits, make_more and make_more(dataset, splits))
    return dataset, splits


def cross_validate(
    run, splits, train_fold, score_seed, *, max_epochs, networks_per_fold=1
) -> list | None:
    """Train each fold of each seed and score the seeds.

    Args:
        splits: seed -> list of Split.
        train_fold: function(split, folder, [seed, fold], bar) -> outputs of the fold's test set.
        score_seed: function(seed, outputs of all folds in order) -> result of the seed.
        max_epochs, networks_per_fold: the length of the progress bar.

    Returns: the results of the seeds. None where this process trains the folds `run.parts` alone.
    """
    results = []
    n_networks = networks_per_fold * sum(map(len, splits.values()))
    with progress_bar(n_networks, max_epochs) as bar:
        for seed in run.seeds:
            outputs = [
                train_fold(split, folder, [seed, fold], bar)
                for fold, split, folder in iterate_own_folds(run, seed, splits[seed], bar)
            ]
            if run.parts is None:
                results.append(score_seed(seed, outputs))
    return results if run.parts is None else None


def merge_folds(parts, outputs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Merge the outputs of all folds: (numbers [n], outputs [n, ...], folds [n]).

    The numbers ascend. A number that several folds predict, as in dev sets, has the output of the
    last of these folds.

    Args:
        parts: the numbers [m] of the utterances (or segments) that each fold predicts.
        outputs: of each fold [m, ...].

    Raises DataError for a fold with another number of outputs: its file was copied or changed.
    """
    for fold, (part, output) in enumerate(zip(parts, outputs, strict=True)):
        if len(part) != len(output):
            raise DataError(
                f"fold-{fold:02} has {len(output)} predictions for {len(part)} utterances; delete "
                "its folder, and the same command trains it again"
            )
    numbers = np.unique(np.concatenate(parts))
    merged = np.empty((len(numbers), *outputs[0].shape[1:]), outputs[0].dtype)
    fold_of = np.empty(len(numbers), int)
    for fold, (part, output) in enumerate(zip(parts, outputs, strict=True)):
        places = np.searchsorted(numbers, part)
        merged[places], fold_of[places] = output, fold
    return numbers, merged, fold_of


def score_probabilities(run, seed, dataset, splits, name: str, probabilities) -> dict:
    """Score one system by the class probabilities [m, K] of each fold's test set."""
    numbers, merged, fold_of = merge_folds([split.test for split in splits], probabilities)
    system = {"predicted": merged.argmax(axis=1), "probabilities": merged}
    utterances = [dataset.utterances[i] for i in numbers]
    return classification_report.score_seed(
        run, seed, utterances, dataset.classes, {name: system}, fold_of, splits
    )


def join_corpora(utterances, tested, labels: dict) -> tuple[list, list]:
    """Select by [labels] and add the corpus that is tested: (all utterances, those tested).

    tested: None or the selected utterances of the other corpus. Both corpora are reduced to the
    classes that they share.
    """
    utterances = select_by_labels(utterances, **labels)
    if tested is None:
        return utterances, []
    utterances, tested = select_common_classes(utterances, tested)
    return utterances + tested, tested


def count_trained(utterances, tested) -> int | None:
    """Count the utterances of the training corpus, which come first; None within one corpus."""
    tested = set(tested)
    return sum(u not in tested for u in utterances) if tested else None


class Progress(tqdm):
    """A bar over all networks of the run: fold, round, epoch and remaining time."""

    where = place = ""
    networks_done = max_epochs = 0

    def at(self, round_name: str) -> None:
        """Show that a round of the current fold begins."""
        self.place = f"{self.where} {round_name}"
        self.set_description_str(self.place, refresh=False)

    def epoch(self, row: dict) -> None:
        """Show a row of the history."""
        self.set_postfix_str(
            f"epoch {row['epoch']}/{self.max_epochs} loss {row['loss']:.3f} "
            f"dev {row['dev_loss']:.3f}",
            refresh=False,
        )
        self.update(1)

    def network_done(self) -> None:
        """Skip the epochs that early stopping saved."""
        self.networks_done += 1
        self.update(self.networks_done * self.max_epochs - self.n)


@contextlib.contextmanager
def progress_bar(n_networks: int, max_epochs: int):
    """Yield the bar; it moves twice a second on a terminal, twice a minute in a log file."""
    interval = 0.5 if sys.stderr.isatty() else 30
    with (
        logging_redirect_tqdm([log]),
        Progress(
            total=n_networks * max_epochs,
            unit="epoch",
            mininterval=interval,
            maxinterval=interval,
            miniters=0,
            smoothing=0.1,
            dynamic_ncols=True,
        ) as bar,
    ):
        bar.max_epochs = max_epochs
        yield bar


def iterate_own_folds(run, seed: int, splits, bar):
    """Yield (fold, split, folder) of the folds of a seed that this process trains."""
    for fold, split in enumerate(splits):
        if run.parts is None or (seed, fold) in run.parts:
            bar.where = f"seed-{seed} fold-{fold:02} of {len(splits)}"
            folder = fold_folder(run, seed, fold)
            fold_files.mark_fold(run.folder, folder)
            yield fold, split, folder


def fold_folder(run, seed: int, fold: int) -> Path:
    """Return the folder of a fold in the run directory."""
    return run.folder / f"seed-{seed}" / f"fold-{fold:02}"


def write_splits(run, utterances, splits, more=None) -> None:
    """Write splits.csv: the part of each utterance in each fold; splits: seed -> list of Split.

    With `--evaluate dev` an utterance of the test set has no part.

    more: further folds of the paper, as many as in `splits`: {name of their column: {seed: list of
        Split}}.
    """
    if run.parts:  # the process that shared out the folds wrote the file
        return
    rows = []
    for seed, of_seed in splits.items():
        for fold, split in enumerate(of_seed):
            # Guard: fail if a model ignores `--evaluate dev` and would score its test set.
            if run.evaluate == "dev" and not (
                len(split.dev) and np.array_equal(split.dev, split.test)
            ):
                raise UsageError(NO_DEV)
            columns = {"part": split}
            columns |= {name: other[seed][fold] for name, other in (more or {}).items()}
            parts = {name: _name_parts(split, len(utterances)) for name, split in columns.items()}
            rows += [
                {
                    "seed": seed,
                    "fold": fold,
                    "utterance": u.name,
                    "speaker": u.speaker,
                    **{name: of_column[i] for name, of_column in parts.items()},
                }
                for i, u in enumerate(utterances)
            ]
    run_directory.check_splits(run.folder, rows)
    atomic_files.write_csv(run.folder / "splits.csv", rows)


def _name_parts(split, n: int) -> np.ndarray:
    """Return the part [n] of each utterance: train, dev, test, or None."""
    parts = np.empty(n, object)
    for part in ("train", "test", "dev"):
        parts[getattr(split, part)] = part
    return parts
