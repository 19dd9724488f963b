"""[labels]: which utterances, as which classes."""

import logging
from types import SimpleNamespace

import pytest

from tfser.corpora.labels import (
    describe_labels,
    number_classes,
    scale_ratings,
    select_by_labels,
    select_common_classes,
    select_rated,
    to_three_classes,
    warn_of_untrained_classes,
)
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError, UsageError


def utterances(*emotions, **more):
    return [Utterance(f"{i}.wav", f"{i}", "s", e, **more) for i, e in enumerate(emotions)]


def test_classes_are_numbered_by_name():
    assert number_classes(utterances("c", "a", "b", "a")) == (["a", "b", "c"], [2, 0, 1, 0])


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
    assert given == [("0", "anger"), ("1", None), ("2", None), ("3", "joy")]
    ratings = {"a": 1, "b": None, "c": 4}
    rated = [Utterance(n, n, "s", "anger", valence=v) for n, v in ratings.items()]
    given = names(rated, target="valence", unlabelled=True)
    assert given == [("a", "low"), ("b", None), ("c", "high")]
    with pytest.raises(DataError, match="1 utterances with fewer than two classes"):
        names(utterances("anger", None), unlabelled=True)


def test_how_many_utterances_are_used_is_logged(caplog):
    corpus = utterances("anger", "fear", None, "joy")
    with caplog.at_level(logging.INFO, "tfser"):
        names(corpus, unlabelled=True)
        names(utterances("anger", "fear"))
        names(corpus, ["joy", "anger"])
        names(corpus)
    assert [record.getMessage() for record in caplog.records] == [
        "2 of 4 utterances used, by [labels]",
        "3 of 4 utterances used, by [labels]",
    ]


@pytest.mark.parametrize(
    "target, labels", [("speaker", ["s", "t"]), ("gender", ["female", "male"])]
)
def test_a_speaker_or_gender_instead_of_the_emotion(target, labels):
    corpus = [
        Utterance("a", "a", "s", "anger", gender="female"),
        Utterance("b", "b", "t", None, gender="male"),
    ]
    assert names(corpus, ["joy"], target=target) == list(zip("ab", labels, strict=True))


def test_utterances_with_both_ratings(caplog):
    rated = [
        Utterance("a", "a", "s", activation=4.5, valence=1.5, group="words"),
        Utterance("b", "b", "s", activation=2.0),
        Utterance("c", "c", "s", valence=2.0),
        Utterance("d", "d", "s", activation=1.0, valence=3.0),
    ]
    with caplog.at_level(logging.INFO, "tfser"):
        assert select_rated(rated[3:], "") == rated[3:]
        assert not caplog.records
        assert select_rated(rated, "") == [rated[0], rated[3]]
        assert select_rated(rated, "words") == rated[:1]
    assert [record.getMessage() for record in caplog.records] == [
        "2 of 4 utterances used: those with ratings",
        "1 of 4 utterances used: those with ratings",
    ]
    with pytest.raises(DataError) as caught:
        select_rated(rated[1:3], "")
    assert str(caught.value) == (
        "no utterance has ratings of arousal and valence; use --set labels.target=emotion"
    )


@pytest.mark.parametrize(
    "target, described",
    [
        ("emotion", {}),
        ("speaker", {"target": "speaker"}),
        ("gender", {"target": "gender"}),
        ("ratings", {"target": "ratings"}),
        ("valence", {"target": "valence", "rounding": "between"}),
    ],
)
def test_what_a_result_says_of_its_labels(target, described):
    assert describe_labels(target=target, rounding="between", keep=["joy"]) == described
    assert describe_labels(target=target) == described  # of a model that has no such key


def test_merged_classes():
    corpus = utterances("excitement", "anger", "happiness", "other")
    assert names(corpus, ["happiness", "anger"], merge=["excitement=happiness"]) == [
        ("0", "happiness"),
        ("1", "anger"),
        ("2", "happiness"),
    ]
    assert corpus[0].emotion == "excitement"


ROUNDINGS = "between", "ties-to-neutral", "half-up", "half-even"


@pytest.mark.parametrize(
    "rating, classes",
    [
        (1.0, "low low low low"),
        (2.0, "low low low low"),
        (2.3333, "neutral low low low"),
        (2.4999, "neutral low low low"),
        (2.5, "neutral neutral neutral low"),
        (2.6667, "neutral neutral neutral neutral"),
        (3.0, "neutral neutral neutral neutral"),
        (3.3333, "neutral neutral neutral neutral"),
        (3.5, "neutral neutral high high"),
        (3.6667, "neutral high high high"),
        (4.0, "high high high high"),
        (5.5, "high high high high"),
    ],
)
def test_three_classes(rating, classes):
    assert [to_three_classes(rating, rounding) for rounding in ROUNDINGS] == classes.split()
    for rounding in ROUNDINGS:
        assert to_three_classes(None, rounding) is None
    with pytest.raises(KeyError):
        to_three_classes(3.0, "nearest")


def test_half_even_and_half_up_are_roundings():
    """To the nearest whole number, as Python's `round` and as floor(x + 1/2)."""
    names = {1: "low", 2: "low", 3: "neutral", 4: "high", 5: "high"}
    for sixths in range(6, 31):
        rating = sixths / 6
        assert to_three_classes(rating, "half-even") == names[round(rating)]
        assert to_three_classes(rating, "half-up") == names[int(rating + 0.5)]


def test_an_attribute_instead_of_the_emotion():
    corpus = [
        Utterance("a", "a", "s", "anger", activation=4.5, valence=1.5),
        Utterance("b", "b", "s", None, activation=2.3333),
        Utterance("c", "c", "s", "fear"),
    ]
    assert names(corpus, target="activation") == [("a", "high"), ("b", "neutral")]
    assert names(corpus, target="activation", rounding="half-up") == [("a", "high"), ("b", "low")]
    settings = {"keep": (), "group": "", "merge": (), "target": "activation"}  # and no rounding
    assert [u.emotion for u in select_by_labels(corpus, **settings)] == ["high", "neutral"]
    every = {"keep": ["anger", "joy"], "merge": ["boredom=neutral"]}  # are of emotions
    assert names(corpus, target="activation", **every) == [("a", "high"), ("b", "neutral")]
    for target, missing in (("dominance", "rating of dominance"), ("gender", "gender")):
        with pytest.raises(DataError) as caught:
            names(corpus, target=target)
        assert str(caught.value) == (
            f"no utterance has a {missing}; use --set labels.target=emotion"
        )
    with pytest.raises(DataError, match="1 utterances with fewer than two"):
        names(corpus, target="valence")


def test_what_is_not_in_the_corpus():
    corpus = utterances("anger", "fear", "joy")
    with pytest.raises(UsageError) as caught:
        names(corpus, ["anger", "happiness"])
    assert str(caught.value) == "labels.keep: no 'happiness' in this corpus; it has anger fear joy"
    with pytest.raises(DataError) as caught:
        names(corpus, ["anger"])
    assert str(caught.value) == (
        "1 utterances with fewer than two classes: nothing to classify; see the corpus's folder "
        "and [labels] in the hyperparameters"
    )
    with pytest.raises(UsageError) as caught:
        names(corpus, group="words")
    assert str(caught.value) == "labels.group: no 'words' in this corpus; it has no groups"
    with pytest.raises(UsageError) as caught:
        names(corpus, merge=["joi=happiness"])
    assert str(caught.value) == (
        "labels.merge: no 'joi' in this corpus (did you mean 'joy'?); it has anger fear joy"
    )
    for pair in ("joy", "joy="):
        with pytest.raises(UsageError) as caught:
            names(corpus, merge=[pair])
        assert str(caught.value) == (
            f"labels.merge: {pair!r} is not of the form excitement=happiness"
        )
    assert names(corpus, merge=["joy=a=b"])[2] == ("2", "a=b")
    corpus += utterances("joy", group="words") + utterances("joy", group="a-text")
    with pytest.raises(UsageError) as caught:
        names(corpus, group="word")
    assert str(caught.value) == (
        "labels.group: no 'word' in this corpus (did you mean 'words'?); it has a-text words: "
        "take one of them, or --set labels.group= for all"
    )
    with pytest.raises(DataError, match="^1 utterances with fewer than two classes"):
        names(corpus, group="words")
    with pytest.raises(DataError, match="^0 utterances with fewer than two classes"):
        names(utterances(None, None))


def test_a_class_that_is_tested_and_never_heard(caplog):
    corpus = utterances("anger", "fear", "joy", "anger")
    corpus += utterances("calm")
    splits = [
        SimpleNamespace(train=[0, 1], test=[3]),
        SimpleNamespace(train=[0, 1], test=[2, 3, 4]),
    ]
    with caplog.at_level(logging.WARNING):
        warn_of_untrained_classes(corpus, splits)
    [record] = caplog.records
    assert record.getMessage() == "fold-01: no training speaker has calm joy, which is tested"


def test_a_corpus_without_emotions_says_so():
    with pytest.raises(UsageError) as caught:
        names(utterances(None, None), ["joy"])
    assert str(caught.value) == "labels.keep: no 'joy' in this corpus; it has no emotion labels"


def test_what_two_corpora_share():
    mine, theirs = utterances("anger", "fear", "joy"), utterances("joy", "anger", "calm", "joy")
    kept = select_common_classes(mine, theirs)
    assert [[u.emotion for u in side] for side in kept] == [
        ["anger", "joy"], ["joy", "anger", "joy"]
    ]  # fmt: skip
    with pytest.raises(DataError) as caught:
        select_common_classes(utterances("fear", "anger"), utterances("calm", "anger"))
    assert str(caught.value) == (
        "the two corpora share 1 emotions, and two are needed: they have anger fear and anger "
        "calm; see labels.keep and labels.merge"
    )


def rated(*ratings):
    return [Utterance(f"{i}", f"u{i}", "s", valence=rating) for i, rating in enumerate(ratings)]


def test_ratings_are_mapped_to_the_scale_of_the_papers():
    assert scale_ratings(rated(1, None, 5), "valence") == [1, None, 5]
    assert scale_ratings(rated(1, 4, None, 7), "valence", [1, 7]) == [1, 3, None, 5]
    assert scale_ratings(rated(-1, 0.5), "valence", [-1, 1]) == [1, 4]
    assert scale_ratings(rated(-2, -3), "valence", [-3, -2]) == [5, 1]
    mapped = names(rated(1, 2.4, 2.6, 4, 5.4, 5.6), target="valence", scale=[1, 7])
    assert [label for _, label in mapped] == ["low", "low", "neutral", "neutral", "neutral", "high"]


@pytest.mark.parametrize(
    ("ratings", "message"),
    [((3, 6, 7), r"u1: valence is 6, outside 1 to 5; .*--set labels.scale=\[1,7\]"),
     ((0.5, 1), r"u0: valence is 0.5, .*=\[0,1\]"), ((1, -0.5), r"u1: .*=\[-1,1\]"),
     ((1, 0), r"u1: .*=\[0,1\]"), ((5, 0), r"=\[0,5\]"), ((200, 3), r"=\[3,200\]")],
)  # fmt: skip
def test_ratings_outside_the_scale(ratings, message):
    with pytest.raises(DataError, match=message):
        names(rated(*ratings), target="valence")


@pytest.mark.parametrize("scale", [[1], [1, 5, 7], [5, 1], [1, 1], ["a", "b"], [0, float("inf")]])
def test_a_scale_that_is_none(scale):
    with pytest.raises(UsageError, match="labels.scale: .* is not of the form"):
        scale_ratings(rated(1, 5), "valence", scale)


def test_another_scale_is_described():
    flags = {"target": "valence", "rounding": "between"}
    assert describe_labels(**flags, scale=[1, 5], keep=[]) == flags
    assert describe_labels(**flags, scale=[-1, 1]) == flags | {"scale": "-1to1"}
    assert describe_labels(target="emotion", scale=[-1, 1]) == {}
