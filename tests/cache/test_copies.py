"""Recordings that a corpus has twice."""

import numpy as np

from tfser.cache.copies import find_overlapping, warn_of_equal_features
from tfser.corpora.utterance import Utterance


def part(name, start=None, end=None):
    return Utterance(f"{name}.wav", name, "s", "joy", start, end)


def test_parts_that_overlap():
    a, b, c = part("a", None, 1.0), part("b", 1.0, 3.0), part("c", 1.5, 2.0)
    d, e = part("d", 2.5), part("e", 9.0, 9.5)
    assert find_overlapping([e, b, a]) == []
    assert find_overlapping([c, b, a]) == [(b, c)]
    assert find_overlapping([a, b, c, d, e]) == [(b, c), (b, d), (d, e)]
    assert find_overlapping([part("f"), part("g")]) == [(part("f"), part("g"))]


def test_equal_features_are_named(caplog):
    utterances = [part(name) for name in "abcde"]
    frames = np.arange(18, dtype="float32").reshape(9, 2)
    offsets = np.array([0, 3, 6, 6, 6, 9])  # c and d have no frame
    warn_of_equal_features(utterances, frames, offsets)
    assert not caplog.text
    frames[6:] = frames[:3]
    warn_of_equal_features(utterances, frames, offsets)
    assert "1 pairs of recordings have equal features, the first is a.wav and e.wav" in caplog.text
    caplog.clear()
    frames[8, 1] += 1  # the last frame alone differs
    warn_of_equal_features(utterances, frames, offsets)
    assert not caplog.text
