"""Which features ACNN hears of a corpus, for tfser-extract."""

from tfser.corpora.labels import select
from tfser.models.acnn import pretraining
from tfser.models.acnn.speech import input_of
from tfser.training import pretraining as unlabelled


def fill(corpus, utterances, hp, make) -> None:
    """Calls make(utterances, feature) for all that `train` loads; see `tfser.extract`.

    The corpus that `autoencoder.corpus` names is what the autoencoder trains on.
    """
    layer, _ = input_of(hp)
    pretraining.check(hp)
    settings, view = hp["autoencoder"], pretraining.spectrogram(hp)
    if settings["corpus"] == corpus:
        make(unlabelled.part_of(settings, utterances), view)
        if not any(u.emotion for u in utterances):
            return
    utterances = select(utterances, **hp["labels"])
    kept = make(utterances, layer).utterances
    if settings["corpus"] == "tested":
        make(utterances, view)
    if settings["corpus"] or settings["weights"]:  # what has no log-mel frames is not represented
        make(kept, view)
