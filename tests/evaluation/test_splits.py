"""What must hold of every plan of folds, and what each says when a corpus does not allow it."""

import numpy as np
import pytest

from tfser.errors import DataError, UsageError
from tfser.evaluation.splits import (
    assign_speaker_groups,
    cross_corpus_split,
    leave_groups_out,
    leave_speakers_of_sessions_out,
    leave_speakers_out,
    speaker_group_k_fold,
    stratified_k_fold,
)

# Emo-DB: utterances of each emotion, in random order, and its ten speakers.
EMODB = {"anger": 127, "boredom": 81, "disgust": 46, "fear": 69, "joy": 71, "neutral": 79}
SPEAKERS = ["03", "08", "09", "10", "11", "12", "13", "14", "15", "16"]


@pytest.fixture
def labels():
    names = np.repeat(list(EMODB), list(EMODB.values()))
    return np.random.default_rng(0).permutation(names)


@pytest.fixture
def speakers(labels):
    return np.random.default_rng(1).choice(SPEAKERS, size=len(labels))


def assert_partition(splits, n):
    for split in splits:
        for part in split:
            assert part.dtype == np.int64
            assert (np.diff(part) > 0).all()  # sorted, nothing twice
        np.testing.assert_array_equal(np.sort(np.concatenate(split)), np.arange(n))
    tests = np.concatenate([split.test for split in splits])
    np.testing.assert_array_equal(np.sort(tests), np.arange(n))  # each utterance is tested once


def counts(labels, part):
    return {name: int(np.sum(labels[part] == name)) for name in EMODB}


# Random folds over utterances


def test_stratified_tests_each_utterance_once(labels):
    splits = stratified_k_fold(labels, n_folds=10, dev_fraction=0.1, seed=0)
    assert len(splits) == 10
    assert_partition(splits, len(labels))


def test_stratified_spreads_classes_and_sizes_evenly(labels):
    splits = stratified_k_fold(labels, n_folds=10, dev_fraction=0.1, seed=0)
    sizes = [len(split.test) for split in splits]
    assert max(sizes) - min(sizes) <= 1
    for name, total in EMODB.items():
        per_fold = [counts(labels, split.test)[name] for split in splits]
        assert set(per_fold) <= {total // 10, -(-total // 10)}


def test_stratified_dev_is_a_tenth_of_every_class_of_the_training_part(labels):
    for split in stratified_k_fold(labels, n_folds=10, dev_fraction=0.1, seed=0):
        dev, train = counts(labels, split.dev), counts(labels, split.train)
        for name in EMODB:
            assert dev[name] == pytest.approx(0.1 * (dev[name] + train[name]), abs=0.5)


def test_stratified_is_a_function_of_the_seed(labels):
    def plan(seed):
        splits = stratified_k_fold(labels, n_folds=5, dev_fraction=0.1, seed=seed)
        return [[part.tolist() for part in split] for split in splits]

    assert plan(3) == plan(3)
    assert plan(3) != plan(4)


def test_stratified_keeps_one_utterance_of_a_small_class_in_every_part():
    labels = ["common"] * 40 + ["rare"] * 3
    for split in stratified_k_fold(labels, n_folds=3, dev_fraction=0.1, seed=0):
        for part in split:
            assert "rare" in np.asarray(labels)[part]


def test_stratified_without_dev(labels):
    splits = stratified_k_fold(labels, n_folds=2, dev_fraction=0, seed=0)
    assert [len(split.dev) for split in splits] == [0, 0]
    assert_partition(splits, len(labels))


def test_stratified_mixes_speakers(labels, speakers):
    # This is what makes the published protocol speaker-dependent.
    split = stratified_k_fold(labels, n_folds=10, dev_fraction=0.1, seed=0)[0]
    assert set(speakers[split.test]) & set(speakers[split.train])


def test_stratified_names_the_class_that_is_too_small():
    with pytest.raises(DataError) as error:
        stratified_k_fold(["joy"] * 20 + ["fear"] * 7, n_folds=10, dev_fraction=0.1, seed=0)
    says = "class 'fear' has 7 utterances, fewer than the 10 folds; use --folds 7"
    assert str(error.value) == says


@pytest.mark.parametrize("n_fear", [1, 2])
def test_stratified_never_advises_folds_that_fail_too(n_fear):
    with pytest.raises(DataError, match=f"class 'fear' has {n_fear} utterances?, folds need at"):
        stratified_k_fold(["joy"] * 20 + ["fear"] * n_fear, n_folds=2, dev_fraction=0.1, seed=0)


def test_stratified_refuses_an_empty_corpus():
    with pytest.raises(DataError, match="no utterances"):
        stratified_k_fold([], n_folds=2, dev_fraction=0.1, seed=0)


@pytest.mark.parametrize("n_folds, dev_fraction", [(1, 0.1), (0, 0.1), (5, 1), (5, -0.1)])
def test_stratified_refuses_impossible_settings(labels, n_folds, dev_fraction):
    with pytest.raises(UsageError):
        stratified_k_fold(labels, n_folds=n_folds, dev_fraction=dev_fraction, seed=0)


# Folds over speakers


@pytest.mark.parametrize("n_folds", [None, 10, 5, 4, 3])
def test_no_speaker_is_in_two_parts(speakers, n_folds):
    splits = leave_speakers_out(speakers, n_folds=n_folds)
    assert len(splits) == (n_folds or 10)
    assert_partition(splits, len(speakers))
    for split in splits:
        train, dev, test = (set(speakers[part]) for part in split)
        assert train and dev and test
        assert not train & dev and not train & test and not dev & test


@pytest.mark.parametrize("n_folds", [None, 10])
def test_leave_one_speaker_out_goes_through_the_sorted_speakers(speakers, n_folds):
    splits = leave_speakers_out(speakers, n_folds=n_folds)
    assert [set(speakers[split.test]) for split in splits] == [{name} for name in SPEAKERS]
    followers = SPEAKERS[1:] + SPEAKERS[:1]
    assert [set(speakers[split.dev]) for split in splits] == [{name} for name in followers]


def test_groups_of_speakers_have_about_as_many_utterances():
    speakers = ["a"] * 50 + ["b"] * 30 + ["c"] * 20 + ["d"] * 25 + ["e"] * 25
    splits = leave_speakers_out(speakers, n_folds=3)
    assert sorted(len(split.test) for split in splits) == [50, 50, 50]


def test_folds_over_speakers_do_not_depend_on_the_order_of_utterances(speakers):
    backwards = speakers[::-1]
    for a, b in zip(
        leave_speakers_out(speakers, n_folds=4),
        leave_speakers_out(backwards, n_folds=4),
        strict=True,
    ):
        assert set(speakers[a.test]) == set(backwards[b.test])


@pytest.mark.parametrize("names, n", [(["a", "a"], 1), (["a", "b"], 2)])
def test_one_or_two_speakers_are_too_few(names, n):
    with pytest.raises(DataError) as error:
        leave_speakers_out(names)
    assert str(error.value) == (
        "leave one speaker out needs at least 3 speakers (test, dev, train), "
        f"corpus has {n}; add speakers, or take a system with random folds "
        "(--protocol paper of epr and svm)"
    )


@pytest.mark.parametrize("n_folds", [0, 1, 2, 5])
def test_impossible_numbers_of_speaker_folds_are_usage_errors(n_folds):
    with pytest.raises(UsageError, match=f"--folds {n_folds}: "):
        leave_speakers_out(["a", "b", "c", "d"], n_folds=n_folds)


def test_too_many_folds_name_the_number_that_works():
    with pytest.raises(UsageError, match="--folds 5: corpus has 4 speakers; use --folds 4"):
        leave_speakers_out(["a", "b", "c", "d"], n_folds=5)


def test_inner_folds_are_pairs_without_a_common_speaker(speakers):
    pairs = speaker_group_k_fold(speakers, n_folds=3)
    assert len(pairs) == 3
    for train, test in pairs:
        assert not set(speakers[train]) & set(speakers[test])
        np.testing.assert_array_equal(
            np.sort(np.concatenate([train, test])), np.arange(len(speakers))
        )
    np.testing.assert_array_equal(
        np.sort(np.concatenate([test for _, test in pairs])), np.arange(len(speakers))
    )


@pytest.mark.parametrize("n_folds, says", [(1, "at least 2"), (3, "there are 2")])
def test_impossible_inner_folds_are_usage_errors(n_folds, says):
    with pytest.raises(UsageError, match=says):
        speaker_group_k_fold(["a", "b"], n_folds=n_folds)


# Sessions


def test_speakers_of_a_session_validate_and_test_in_turn():
    sessions = np.array(list("bbaaccab"))
    speakers = np.array(["b2", "b1", "a1", "a2", "c1", "c2", "a1", "b1"])
    splits = leave_speakers_of_sessions_out(speakers, sessions)
    assert_partition(splits, 8)
    assert [sorted(set(speakers[split.test])) for split in splits] == [
        ["a1"], ["a2"], ["b1"], ["b2"], ["c1"], ["c2"]
    ]  # fmt: skip
    for split in splits:
        [session] = set(sessions[split.test])
        np.testing.assert_array_equal(split.train, np.flatnonzero(sessions != session))
        assert set(sessions[split.dev]) == {session}


@pytest.mark.parametrize("sessions", ["aaaa", "aabc"])
def test_sessions_that_cannot_be_divided(sessions):
    with pytest.raises(DataError, match="use --protocol loso"):
        leave_speakers_of_sessions_out(["s", "t", "u", "v"], list(sessions))


def test_a_speaker_of_several_sessions():
    with pytest.raises(DataError, match="speaker 'u' is in sessions a b, and would be tested and"):
        leave_speakers_of_sessions_out(list("tuuv"), list("aabb"))


# Sessions and corpora, with a random dev part


def test_a_group_is_left_out_and_dev_is_of_those_that_train():
    groups = np.repeat([1, 2, 3], 20)
    labels = np.tile(["anger", "joy"], 30)
    splits = leave_groups_out(groups, labels, dev_fraction=0.1, seed=0)
    assert_partition(splits, 60)
    for group, split in zip((1, 2, 3), splits, strict=True):
        assert set(groups[split.test]) == {group} and len(split.test) == 20
        assert sorted(labels[split.dev]) == ["anger", "anger", "joy", "joy"]
    other = leave_groups_out(groups, labels, dev_fraction=0.1, seed=1)
    assert any(a.dev.tolist() != b.dev.tolist() for a, b in zip(splits, other, strict=True))
    with pytest.raises(DataError, match="needs two or more, the corpus has 1"):
        leave_groups_out(["a"] * 4, ["x", "y"] * 2, dev_fraction=0.1, seed=0)


def test_groups_of_speakers_are_those_of_the_other_folds(speakers):
    groups = assign_speaker_groups(speakers, n_folds=3)
    for group, split in enumerate(leave_speakers_out(speakers, n_folds=3)):
        np.testing.assert_array_equal(np.flatnonzero(groups == group), split.test)
    with pytest.raises(UsageError, match="--folds 3: corpus has 2 speakers; use --folds 2"):
        assign_speaker_groups(["a", "b"], n_folds=3)


def test_across_two_corpora_the_first_trains_and_the_second_tests():
    labels = ["anger", "joy"] * 10 + ["anger"] * 5
    [split] = cross_corpus_split(labels, 20, dev_fraction=0.2, seed=0)
    assert split.test.tolist() == list(range(20, 25))
    assert sorted([*split.train, *split.dev]) == list(range(20))
    assert sorted(np.array(labels)[split.dev]) == ["anger", "anger", "joy", "joy"]
    [whole] = cross_corpus_split(labels, 20, dev_fraction=0.0, seed=0)
    assert len(whole.dev) == 0 and whole.train.tolist() == list(range(20))
