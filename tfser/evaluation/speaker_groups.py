"""Groups of speakers, as even as can be in the utterances of each gender and class."""

import numpy as np


def divide_speakers(speakers, n_groups: int, strata=None) -> list[np.ndarray]:
    """Divide speakers into groups: the sorted positions of each group's utterances.

    As many groups as speakers: a group is a speaker, in sorted order. Fewer groups: the remaining
    speaker with most utterances goes to the group with fewest utterances of the speaker's own
    strata (its count of each stratum, weighted by the speaker's count), then with fewest utterances
    in all; ties go by name and number.

    strata [n]: the gender and class of each utterance, see `labels.list_strata`. Without strata,
    groups are even in the number of utterances alone.

    Emo-DB, RAVDESS and LibriSpeech become as even as by scikit-learn's StratifiedGroupKFold, which
    refuses strata of fewer than n_groups utterances.
    """
    names, numbers = np.unique(speakers, return_inverse=True)
    if n_groups == len(names):
        group_of = np.arange(len(names))
    else:
        strata = np.zeros(len(numbers)) if strata is None else strata
        stratum_names, of_utterance = np.unique(strata, return_inverse=True)
        counts = np.zeros((len(names), len(stratum_names)), np.int64)
        np.add.at(counts, (numbers, of_utterance), 1)
        group_of = np.zeros(len(names), np.int64)
        filled = np.zeros((n_groups, len(stratum_names)), np.int64)
        for speaker in np.argsort(-counts.sum(axis=1), kind="stable"):
            group = np.lexsort((filled.sum(axis=1), filled @ counts[speaker]))[0]
            group_of[speaker] = group
            filled[group] += counts[speaker]
    return [np.flatnonzero(group_of[numbers] == group) for group in range(n_groups)]
