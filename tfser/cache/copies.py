"""Recordings that a corpus has twice."""

import itertools
import logging

import numpy as np

from tfser.audio import decode
from tfser.errors import DataError

NAMED_PAIRS = 3
SAME_SHARE = 0.95  # of the seconds of two utterances: they are the same
COMPARED = 64  # features of a frame that are compared first

logger = logging.getLogger("tfser")


def check_copies(utterances, contents: dict) -> None:
    """Raise DataError for recordings that are copies; warn of parts of a recording that overlap.

    contents: see `hash_contents`. Copies are files of equal content, whatever their names, of which
    the same seconds are used, and two utterances of nearly the same seconds of one file. A copy in
    the training set of a recording in the test set makes scores too high. Damaged files are no
    copies: the extraction says what is wrong.
    """
    groups = {}
    for utterance in utterances:
        groups.setdefault(tuple(contents[utterance.path]), []).append(utterance)
    pairs = []
    for (size, _), group in groups.items():
        if size and len(group) > 1:
            overlapping = find_overlapping(group)
            if overlapping and is_readable(group[0].path):
                pairs += overlapping
    copies = [pair for pair in pairs if pair[0].path != pair[1].path]
    twice = [pair for pair in pairs if pair[0].path == pair[1].path and is_same_part(*pair)]
    if twice:
        one, other = twice[0]
        raise DataError(
            f"{len(twice)} parts of recordings are listed twice, the first is {one.name} and "
            f"{other.name} of {one.path}: a copy in the test set makes scores too high; remove one "
            "of each pair"
        )
    if copies:
        named = "; ".join(f"{one.path} and {other.path}" for one, other in copies[:NAMED_PAIRS])
        if len(copies) > NAMED_PAIRS:
            named += f"; and {len(copies) - NAMED_PAIRS:,} more pairs, see the log"
            for one, other in copies:
                logger.error("equal content: %s and %s", one.path, other.path)
        raise DataError(
            f"the same recording under two names: {named}; a copy of a training recording in the "
            "test set makes scores too high: take one of each pair out of the corpus"
        )
    if pairs:
        one, other = pairs[0]
        logger.warning(
            "%d pairs of utterances overlap in a recording, the first is %s and %s: a part of a "
            "training utterance in the test set makes scores too high",
            *(len(pairs), one.name, other.name),
        )


def find_overlapping(utterances) -> list[tuple]:
    """Return each utterance that begins before the end of an earlier one, as (earlier, it)."""

    def times(utterance):
        end = utterance.end_seconds
        return utterance.start_seconds or 0.0, float("inf") if end is None else end

    pairs, latest = [], None
    for utterance in sorted(utterances, key=times):
        if latest is not None and times(utterance)[0] < times(latest)[1]:
            pairs.append((latest, utterance))
        if latest is None or times(utterance)[1] > times(latest)[1]:
            latest = utterance
    return pairs


def is_same_part(one, other) -> bool:
    """Return true if two parts of a file share nearly all of their seconds."""
    (start, end), (other_start, other_end) = (
        (u.start_seconds or 0.0, decode.duration_seconds(u.path) if u.end_seconds is None
         else u.end_seconds)
        for u in (one, other)
    )  # fmt: skip
    shared = min(end, other_end) - max(start, other_start)
    return shared > SAME_SHARE * (max(end, other_end) - min(start, other_start))


def is_readable(path) -> bool:
    """Tell if a file is a recording, by its header."""
    try:
        return decode.duration_seconds(path) > 0
    except DataError:
        return False


def warn_of_equal_features(utterances, frames, offsets) -> None:
    """Warn of files with equal features: a recording in two formats, such as wav and flac."""
    seen, pairs = {}, []
    for i, (first, last) in enumerate(itertools.pairwise(offsets)):
        if first == last:
            continue
        middle = (first + last) // 2
        some = frames[first, :COMPARED], frames[middle, :COMPARED]
        key = last - first, *(values.tobytes() for values in some)
        j = seen.setdefault(key, i)
        if j != i and np.array_equal(frames[first:last], frames[offsets[j] : offsets[j + 1]]):
            pairs.append((utterances[j].path, utterances[i].path))
    if pairs:
        logger.warning(
            "%d pairs of recordings have equal features, the first is %s and %s: a copy in another "
            "format makes scores too high if it is tested",
            *(len(pairs), *pairs[0]),
        )
