"""The papers' networks, Keras models that are imported when they are used, and one package a paper.

A paper's package has `experiment.train(utterances, hp, run) -> scores`, for tfser-train.
"""

from tfser import lazy_names

__all__, __getattr__, __dir__ = lazy_names.export(
    __name__,
    {},
    {
        "aae.network": ["AdversarialAutoencoder"],
        "acnn.autoencoder": ["SequenceAutoencoder"],
        "acnn.network": ["ACNN"],
        "auxvae.network": ["AuxVAE"],
        "began.heads": ["EmotionHead"],
        "began.network": ["BEGAN"],
        "epr.network": ["EPR"],
    },
)
