"""A corpus as the SVM takes it: the functionals and the splits."""

import numpy as np

from tfser.corpora.labels import select
from tfser.errors import UsageError
from tfser.evaluation import splits as folds
from tfser.features.opensmile import OpenSmile


def functionals(settings) -> OpenSmile:
    """One row of functionals an utterance."""
    return OpenSmile(
        sample_rate_hz=settings["sample_rate_hz"],
        feature_set=settings["feature_set"],
        level="functionals",
    )


def plan(utterances, hp, run, seed, n_trained=None) -> list[folds.Split]:
    """One corpus after the other (`n_trained`), one speaker out, or [protocol]'s random parts.

    protocol.kind "k-fold": stratified folds; "per-speaker": an SVM for each speaker, tested on what
    BEGAN's heads are tested on under the same seed.

    Nothing is chosen, so that their dev part trains too, unless svm.trains_on_dev says otherwise
    or it is what is scored.
    """
    emotions = [u.emotion for u in utterances]
    trains_on_dev = hp["svm"]["trains_on_dev"] and run.evaluate == "test"
    fraction = 0.0 if trains_on_dev else hp["protocol"]["dev_fraction"]
    if n_trained is not None:
        splits = folds.across(emotions, n_trained, dev_fraction=fraction, seed=seed)
    elif run.protocol == "loso":
        splits = folds.leave_speakers_out([u.speaker for u in utterances], n_folds=run.n_folds)
    elif hp["protocol"]["kind"] == "per-speaker":
        if run.n_folds:
            raise UsageError(
                f"--folds {run.n_folds}: per-speaker has a fold for each; leave it out"
            )
        share, speakers = hp["protocol"]["train_fraction"], [u.speaker for u in utterances]
        splits = folds.within_speakers(
            speakers, emotions, train_fraction=share, dev_fraction=fraction, seed=seed
        )
    else:
        n_folds = run.n_folds or hp["protocol"]["n_folds"]
        splits = folds.stratified(emotions, n_folds=n_folds, dev_fraction=fraction, seed=seed)
    if not trains_on_dev:
        return folds.evaluated_on(run.evaluate, splits)
    return [
        folds.Split(train=np.sort(np.concatenate([s.train, s.dev])), dev=s.dev[:0], test=s.test)
        for s in splits
    ]


def fill(corpus, utterances, hp, make) -> None:
    """Calls make(utterances, feature) for all that `train` loads; see `tfser.extract`."""
    make(select(utterances, **hp["labels"]), functionals(hp["features"]))
