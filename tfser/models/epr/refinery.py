"""The labels of the next round: the refinery of sections 2.2 and 4.2 to 4.4."""

import numpy as np

from tfser.models.epr.forest import utterance_means


def refine(labelling: str, profiles, one_hot, owner) -> np.ndarray:
    """Return the labels of the next round's segments [segments, K], from this round's network.

    Args:
        labelling: "soft" (section 4.2, sEPR), "assisted" (section 4.4, pEPR), "hard" dynamic or
            "static" soft (section 4.3).
        profiles: the network's probabilities [segments, K].
        one_hot: the labels the segments inherit from their utterances [segments, K].
        owner: the utterance of each segment [segments].
    """
    if labelling == "soft":
        return profiles
    if labelling == "assisted":  # [.6 .1 .1 .2] and [1 0 0 0] give [.8 .05 .05 .1]
        return (profiles + one_hot) / 2
    if labelling == "hard":
        return np.eye(profiles.shape[1], dtype=np.float32)[profiles.argmax(axis=1)]
    if labelling == "static":
        return utterance_means(profiles, owner)[owner]
    raise ValueError(f"unknown labelling {labelling!r}")
