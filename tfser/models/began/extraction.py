"""Which features BEGAN hears of a corpus, for tfser-extract."""

from tfser.features.magnitude_slices import layer_of
from tfser.models.began import pretraining
from tfser.models.began.speech import chosen
from tfser.training import pretraining as unlabelled


def fill(corpus, utterances, hp, make) -> None:
    """Calls make(utterances, feature) for all that `train` loads; see `tfser.extract`.

    The corpus that `began.corpus` names is what BEGAN trains on.
    """
    layer, settings = layer_of(hp), hp["began"]
    pretraining.check(hp, layer)
    pretrained = hp["head"]["encoder"] == "pretrained"
    if pretrained and settings["corpus"] == corpus:
        make(unlabelled.part_of(settings, utterances), layer)
        if not any(u.emotion for u in utterances):
            return
    heard = make(chosen(utterances, hp), layer)
    if pretrained and settings["corpus"] == "tested":
        make(unlabelled.with_frames(heard), layer)
