"""Which features the Aux-VAE hears of a corpus, for tfser-extract."""

from tfser.errors import DataError
from tfser.features.mel_pieces import layer_of
from tfser.models.auxvae import pretraining
from tfser.models.auxvae.speech import chosen
from tfser.training import pretraining as unlabelled


def fill(corpus, utterances, hp, make) -> None:
    """Calls make(utterances, feature) for all that `train` loads; see `tfser.extract`.

    The corpus that `vae.corpus` names is what the autoencoder trains on.
    """
    layer, settings = layer_of(hp), hp["vae"]
    pretraining.check(hp, layer)
    if settings["corpus"] == corpus:
        make(unlabelled.part_of(settings, utterances), layer)
    try:
        probed = chosen(utterances, hp)
    except DataError:
        if settings["corpus"] == corpus:  # it has no such labels: for pre-training alone
            return
        raise
    heard = make(probed, layer)
    if settings["corpus"] == "tested" or settings["continued_epochs"]:
        make(unlabelled.with_frames(heard), layer)
