"""The splits of BEGAN's heads (section 3.3)."""

from tfser.corpora.labels import list_strata, select_by_labels, select_rated
from tfser.errors import DataError, UsageError
from tfser.evaluation.protocols import ONE_FOLD, make_predefined_split
from tfser.evaluation.splits import (
    Split,
    leave_speakers_out,
    per_speaker_split,
    select_evaluated_part,
)


def select_utterances(utterances, hp) -> list:
    """Select the utterances that have the target."""
    if hp["labels"]["target"] == "ratings":
        return check_ratings(select_rated(utterances, hp["labels"]["group"]))
    return select_by_labels(utterances, **hp["labels"])


def check_ratings(utterances) -> list:
    """Return the utterances unchanged; raise DataError for ratings that tanh cannot reach."""
    for u in utterances:
        if not (-1 <= u.activation <= 1 and -1 <= u.valence <= 1):
            raise DataError(
                f"{u.name}: arousal is {u.activation:g} and valence {u.valence:g}; the network "
                "rates from -1 to 1: write the ratings in this range"
            )
    return utterances


def make_splits(utterances, hp, run, seed) -> list[Split]:
    """Make the splits of section 3.3: per speaker, leave one speaker out, or the corpus's parts."""
    return select_evaluated_part(run.evaluate, _make_splits(utterances, hp, run, seed))


def _make_splits(utterances, hp, run, seed) -> list[Split]:
    kind = hp["protocol"]["kind"] if run.protocol == "paper" else run.protocol
    is_rating = hp["labels"]["target"] == "ratings"
    classes = [0 if is_rating else u.emotion for u in utterances]
    speakers, fraction = [u.speaker for u in utterances], hp["train"]["dev_fraction"]
    if kind == "loso":
        return leave_speakers_out(speakers, n_folds=run.n_folds, strata=list_strata(utterances))
    if run.n_folds:
        raise UsageError(f"--folds {run.n_folds}: protocol.kind={kind} has folds of its own")
    if kind == "official" or run.protocol in ONE_FOLD:
        return make_predefined_split(utterances, classes, fraction, seed, run.protocol)
    share = hp["protocol"]["train_fraction"]
    return per_speaker_split(
        speakers, classes, train_fraction=share, dev_fraction=fraction, seed=seed
    )
