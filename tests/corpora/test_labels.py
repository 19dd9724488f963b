"""[labels]: which utterances, as which classes."""

import logging
from types import SimpleNamespace

import pytest

from tfser.corpora.labels import (
    select_by_labels,
    select_common_classes,
    to_three_classes,
    warn_of_untrained_classes,
)
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError, UsageError


def utterances(*emotions, **more):
    return [Utterance(f"{i}.wav", f"{i}", "s", e, **more) for i, e in enumerate(emotions)]


def names(corpus, keep=(), group="", merge=(), target="emotion", rounding="between", **more):
    chosen = select_by_labels(
        corpus, keep=keep, group=group, merge=merge, target=target, rounding=rounding, **more
    )
    return [(u.name, u.emotion) for u in chosen]


def test_labelled_utterances_are_kept():
    corpus = utterances("anger", None, "fear", "joy")
    assert names(corpus) == [("0", "anger"), ("2", "fear"), ("3", "joy")]
    assert names(corpus, ["joy", "anger"]) == [("0", "anger"), ("3", "joy")]
    in_words = [*corpus, *(Utterance("w", f"w{e}", "s", e, group="words") for e in ("joy", "fear"))]
    assert names(in_words, group="words") == [("wjoy", "joy"), ("wfear", "fear")]


def test_utterances_without_a_label():
    corpus = utterances("anger", None, "fear", "joy")
    given = names(corpus, ["anger", "joy"], unlabelled=True)
    assert given == [("0", "anger"), ("1", None), ("3", "joy")]
    ratings = {"a": 1, "b": None, "c": 4}
    rated = [Utterance(n, n, "s", "anger", valence=v) for n, v in ratings.items()]
    given = names(rated, target="valence", unlabelled=True)
    assert given == [("a", "low"), ("b", None), ("c", "high")]
    with pytest.raises(DataError, match="1 utterances with fewer than two classes"):
        names(utterances("anger", None), unlabelled=True)


def test_merged_classes():
    corpus = utterances("excitement", "anger", "happiness", "other")
    assert names(corpus, ["happiness", "anger"], merge=["excitement=happiness"]) == [
        ("0", "happiness"),
        ("1", "anger"),
        ("2", "happiness"),
    ]
    assert corpus[0].emotion == "excitement"


@pytest.mark.parametrize(
    ("rating", "between", "nearest"),
    [
        (1.0, "low", "low"), (2.0, "low", "low"), (2.0001, "neutral", "low"),
        (2.4999, "neutral", "low"), (2.5, "neutral", "neutral"), (3.0, "neutral", "neutral"),
        (3.5, "neutral", "neutral"), (3.6667, "neutral", "high"), (4.0, "high", "high"),
        (5.5, "high", "high"),
    ],
)  # fmt: skip
def test_three_classes(rating, between, nearest):
    assert to_three_classes(rating, "between") == between
    assert to_three_classes(rating, "nearest") == nearest


def test_an_attribute_instead_of_the_emotion():
    corpus = [
        Utterance("a", "a", "s", "anger", activation=4.5, valence=1.5),
        Utterance("b", "b", "s", None, activation=2.3333),
        Utterance("c", "c", "s", "fear"),
    ]
    assert names(corpus, target="activation") == [("a", "high"), ("b", "neutral")]
    assert names(corpus, target="activation", rounding="nearest") == [("a", "high"), ("b", "low")]
    every = {"keep": ["anger", "joy"], "merge": ["boredom=neutral"]}  # are of emotions
    assert names(corpus, target="activation", **every) == [("a", "high"), ("b", "neutral")]
    with pytest.raises(DataError, match="no utterance has a rating of dominance"):
        names(corpus, target="dominance")
    with pytest.raises(DataError, match="1 utterances with fewer than two"):
        names(corpus, target="valence")


def test_what_is_not_in_the_corpus():
    corpus = utterances("anger", "fear", "joy")
    with pytest.raises(UsageError) as caught:
        names(corpus, ["anger", "happiness"])
    assert str(caught.value) == "labels.keep: no 'happiness' in this corpus; it has anger fear joy"
    with pytest.raises(DataError, match="fewer than two classes"):
        names(corpus, ["anger"])
    with pytest.raises(UsageError, match="no 'words' in this corpus; it has no groups"):
        names(corpus, group="words")
    with pytest.raises(UsageError, match=r"labels.merge: no 'joi' .*\(did you mean 'joy'\?\)"):
        names(corpus, merge=["joi=happiness"])
    with pytest.raises(UsageError, match="labels.merge: 'joy' is not of the form"):
        names(corpus, merge=["joy"])
    corpus += utterances("joy", group="words")
    with pytest.raises(UsageError, match=r"no 'word' in this corpus \(did you mean 'words'\?\)"):
        names(corpus, group="word")
    with pytest.raises(DataError, match="1 utterances with fewer than two classes"):
        names(corpus, group="words")
    with pytest.raises(DataError, match="0 utterances"):
        names(utterances(None, None))


def test_a_class_that_is_tested_and_never_heard(caplog):
    corpus = utterances("anger", "fear", "joy", "anger")
    splits = [SimpleNamespace(train=[0, 1], test=[3]), SimpleNamespace(train=[0, 1], test=[2, 3])]
    with caplog.at_level(logging.WARNING):
        warn_of_untrained_classes(corpus, splits)
    [record] = caplog.records
    assert record.getMessage() == "fold-01: no training speaker has joy, which is tested"


def test_a_corpus_without_emotions_says_so():
    with pytest.raises(UsageError, match="no 'joy' in this corpus; it has no emotion labels"):
        names(utterances(None, None), ["joy"])


def test_what_two_corpora_share():
    mine, theirs = utterances("anger", "fear", "joy"), utterances("joy", "anger", "calm", "joy")
    kept = select_common_classes(mine, theirs)
    assert [[u.emotion for u in side] for side in kept] == [
        ["anger", "joy"], ["joy", "anger", "joy"]
    ]  # fmt: skip
    with pytest.raises(DataError, match="share 1 emotions.*they have anger fear and anger calm"):
        select_common_classes(utterances("anger", "fear"), utterances("calm", "anger"))
