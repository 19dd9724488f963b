"""Which features the AAE hears of a corpus, for tfser-extract."""

from tfser.models.aae.speech import chosen, descriptors


def fill(corpus, utterances, hp, make) -> None:
    """Calls make(utterances, feature) for all that `train` loads; see `tfser.extract`."""
    make(chosen(utterances, hp), descriptors(hp))
