"""Which features the SVM hears of a corpus, for tfser-extract."""

from tfser.corpora.labels import select
from tfser.models.svm import functionals


def fill(corpus, utterances, hp, make) -> None:
    """Calls make(utterances, feature) for all that `train` loads; see `tfser.extract`."""
    make(select(utterances, **hp["labels"]), functionals(hp["features"]))
