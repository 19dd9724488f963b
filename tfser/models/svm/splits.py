"""The splits of the SVM."""

import numpy as np

from tfser.corpora.labels import list_strata, select_by_labels
from tfser.errors import UsageError
from tfser.evaluation.protocols import ONE_FOLD, make_predefined_split
from tfser.evaluation.splits import (
    Split,
    cross_corpus_split,
    leave_speakers_out,
    per_speaker_split,
    select_evaluated_part,
    stratified_k_fold,
)


def select_utterances(utterances, hp) -> list:
    """Select the utterances by [labels]."""
    return select_by_labels(utterances, **hp["labels"])


def make_splits(utterances, hp, run, seed, n_trained=None) -> list[Split]:
    """Make the splits: a second corpus after `n_trained` utterances, or those of the protocol.

    `--protocol split`: the corpus's own split; `loso`: leave one speaker out; `paper`: random.

    protocol.kind "k-fold": stratified folds; "per-speaker": an SVM for each speaker, with the test
    sets of BEGAN's heads.

    An SVM has no epoch to choose: the dev set trains too, unless svm.trains_on_dev is false or the
    dev set is scored.
    """
    emotions = [u.emotion for u in utterances]
    trains_on_dev = hp["svm"]["trains_on_dev"] and run.evaluate == "test"
    fraction = 0.0 if trains_on_dev else hp["protocol"]["dev_fraction"]
    if n_trained is not None:
        splits = cross_corpus_split(emotions, n_trained, dev_fraction=fraction, seed=seed)
    elif run.protocol in ONE_FOLD:
        splits = make_predefined_split(utterances, emotions, fraction, seed, run.protocol)
    elif run.protocol == "loso":
        speakers, strata = [u.speaker for u in utterances], list_strata(utterances)
        splits = leave_speakers_out(speakers, n_folds=run.n_folds, strata=strata)
    elif hp["protocol"]["kind"] == "per-speaker":
        if run.n_folds:
            raise UsageError(
                f"--folds {run.n_folds}: per-speaker has a fold for each; leave it out"
            )
        if trains_on_dev and len(run.seeds) > 1:
            raise UsageError(
                f"--seeds {len(run.seeds)}: nothing is random in an SVM for each speaker; leave it "
                "out"
            )
        share, speakers = hp["protocol"]["train_fraction"], [u.speaker for u in utterances]
        splits = per_speaker_split(
            speakers, emotions, train_fraction=share, dev_fraction=fraction, seed=seed
        )
    else:
        n_folds = run.n_folds or hp["protocol"]["n_folds"]
        splits = stratified_k_fold(emotions, n_folds=n_folds, dev_fraction=fraction, seed=seed)
    if not trains_on_dev:
        return select_evaluated_part(run.evaluate, splits)
    return [
        Split(train=np.sort(np.concatenate([s.train, s.dev])), dev=s.dev[:0], test=s.test)
        for s in splits
    ]
