"""The splits of EPR: of its networks, of its forest, and inside a training set."""

import numpy as np

from tfser.corpora.labels import list_strata, select_by_labels
from tfser.errors import UsageError
from tfser.evaluation.protocols import ONE_FOLD, make_predefined_split
from tfser.evaluation.splits import (
    Split,
    leave_speakers_out,
    select_evaluated_part,
    speaker_group_k_fold,
    stratified_k_fold,
)


def select_utterances(utterances, hp) -> list:
    """Select the utterances by [labels]."""
    return select_by_labels(utterances, **hp["labels"])


def make_splits(utterances, hp, run, seed) -> list[Split]:
    """Make the splits of the networks: random ten-fold (section 4.1), or leave speakers out.

    `--protocol split`: the corpus's own split. Raises UsageError for forest.profiles=inner with the
    paper's folds, and where its inner folds need more speakers.
    """
    inner = hp["forest"]["profiles"] == "inner"
    if inner and run.protocol == "paper":
        raise UsageError("forest.profiles=inner is for --protocol loso or split; leave it out")
    if run.protocol in ONE_FOLD:
        emotions, fraction = [u.emotion for u in utterances], hp["train"]["dev_fraction"]
        splits = make_predefined_split(utterances, emotions, fraction, seed, run.protocol)
    elif run.protocol == "loso":
        speakers, strata = [u.speaker for u in utterances], list_strata(utterances)
        splits = leave_speakers_out(speakers, n_folds=run.n_folds, strata=strata)
    else:
        splits = stratified_k_fold(
            [u.emotion for u in utterances],
            n_folds=run.n_folds or hp["protocol"]["n_folds"],
            dev_fraction=hp["train"]["dev_fraction"],
            seed=seed,
        )
    for split in splits if inner else []:
        make_inner_splits([utterances[i] for i in split.train], hp["forest"]["inner_folds"])
    return select_evaluated_part(run.evaluate, splits)


def make_inner_splits(utterances, n_folds: int) -> list[tuple]:
    """Make the folds inside a training set, for forest.profiles=inner: (train, test) pairs."""
    speakers, strata = [u.speaker for u in utterances], list_strata(utterances)
    return speaker_group_k_fold(speakers, n_folds=n_folds, strata=strata)


def make_forest_splits(dataset, network_splits, seed) -> list[Split]:
    """Make a second random k-fold of the tested utterances, with other folds than the networks'."""
    tested = list_tested(network_splits)
    splits = stratified_k_fold(
        [dataset.classes[k] for k in dataset.y[tested]],
        n_folds=len(network_splits),
        dev_fraction=0.0,
        seed=seed + 1_000_003,
    )
    return [Split(*(tested[part] for part in split)) for split in splits]


def list_tested(splits) -> np.ndarray:
    """List the utterances in the test set of any fold: with `--evaluate dev` not all of them."""
    return np.unique(np.concatenate([split.test for split in splits]))


def select_tested(dataset, profiles, splits) -> tuple:
    """Select the utterances in the test set of any fold, with their profiles: (Dataset, profiles).

    profiles: [networks, segments, K]. For scores and figures alone: frames, offsets and band sums
    stay those of the corpus.
    """
    numbers = list_tested(splits)
    if len(numbers) == len(dataset.y):
        return dataset, profiles
    segments = np.isin(dataset.owner, numbers)
    tested = dataset._replace(
        utterances=[dataset.utterances[i] for i in numbers],
        y=dataset.y[numbers],
        starts=dataset.starts[segments],
        owner=np.searchsorted(numbers, dataset.owner[segments]),
        one_hot=dataset.one_hot[segments],
    )
    return tested, profiles[:, segments]
