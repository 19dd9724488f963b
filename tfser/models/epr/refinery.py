"""The networks of a fold and their labels: the refinery of sections 2.2 and 4.2 to 4.4."""

from typing import NamedTuple

import numpy as np

LABELLINGS = ("soft", "static", "hard", "assisted")  # of `refine`, in the order of the tables
# Networks in a row, C1 included, of refinery.labels=all; of "assisted" (table 4) refinery.rounds.
TABLE_ROUNDS = {"soft": 3, "static": 2, "hard": 2}  # table 2; table 3
TABLE_3 = {"static": "Soft Static", "hard": "Hard Dynamic"}


class RefineryNetwork(NamedTuple):
    """One of a fold's networks: its place in the refinery and its names."""

    name: str  # the paper's, of the row in tables 2 to 4: "VGG*2"
    t: int  # the round, from 1
    key: str  # of its folder round-<key> and its forest forest-<key>.npz: "2", "2-soft"
    labelling: str | None  # of `refine`; None: C1, whose labels are those of the utterances
    teacher: int | None  # the position of the network whose profiles are refined


def list_networks(labels: str, rounds: int) -> list[RefineryNetwork]:
    """List the networks of a fold in the order of their training; the last one is the result.

    Args:
        labels: a labelling of `refine`, or "all": the nine networks of tables 2, 3 and 4. C1 is
            common to the labellings, and pEPR is the last one.
        rounds: the number of networks in a row, C1 included.
    """
    networks = [RefineryNetwork("VGG", 1, "1", None, None)]
    for labelling in LABELLINGS if labels == "all" else [labels]:
        n_rounds, teacher = rounds, 0
        if labels == "all":
            n_rounds = min(rounds, TABLE_ROUNDS.get(labelling, rounds))
        for t in range(2, n_rounds + 1):
            name = f"VGG{'*' if labelling == 'assisted' else ''}{t}"
            key = str(t)
            if labels == "all":
                name = TABLE_3.get(labelling, name)
                key += "" if labelling == "assisted" else f"-{labelling}"
            networks.append(RefineryNetwork(name, t, key, labelling, teacher))
            teacher = len(networks) - 1
    return networks


def utterance_means(profiles, owner) -> np.ndarray:
    """Return the mean profile of each utterance [n, K]; owner [segments] is in ascending order."""
    first = np.searchsorted(owner, np.arange(owner[-1] + 1))
    counts = np.diff(np.r_[first, len(owner)])
    return (np.add.reduceat(profiles, first, axis=0) / counts[:, None]).astype(np.float32)


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
