"""What must hold of every plan of folds, and what each says when a corpus does not allow it."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from tfser.corpora import emodb, ravdess
from tfser.corpora.labels import list_strata
from tfser.errors import DataError, UsageError
from tfser.evaluation.speaker_groups import divide_speakers
from tfser.evaluation.splits import (
    NO_DEV,
    Split,
    assign_speaker_groups,
    cross_corpus_split,
    is_speaker_independent,
    leave_groups_out,
    leave_speakers_of_sessions_out,
    leave_speakers_out,
    per_speaker_split,
    predefined_split,
    select_evaluated_part,
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


# Groups that are even in gender and class


def read_real(name, shared_data):
    """The utterances of a real corpus: its names hold speaker, gender and class."""
    reader, folder = {"emodb": (emodb, "emodb"), "ravdess": (ravdess, "RAVDESS")}[name]
    return reader.read(shared_data / folder)


def count_genders(utterances, part) -> tuple[int, int]:
    """The number of men and of women in a part."""
    genders = {utterances[i].speaker: utterances[i].gender for i in part}
    return tuple(list(genders.values()).count(gender) for gender in ("male", "female"))


@pytest.mark.parametrize(
    "corpus, n_folds, men_and_women",
    [
        ("ravdess", 4, [(3, 3)] * 4),
        ("ravdess", 6, [(2, 2)] * 6),
        ("ravdess", 8, [(2, 1), (1, 2)] * 4),
        ("ravdess", 12, [(1, 1)] * 12),
        ("emodb", 3, [(2, 1), (1, 2), (2, 2)]),
        ("emodb", 4, [(2, 1), (1, 1), (1, 1), (1, 2)]),
        ("emodb", 5, [(1, 1)] * 5),
    ],
)
def test_groups_of_the_real_corpora_are_of_both_genders(
    shared_data, corpus, n_folds, men_and_women
):
    utterances = read_real(corpus, shared_data)
    speakers, strata = [u.speaker for u in utterances], list_strata(utterances)
    splits = leave_speakers_out(speakers, n_folds=n_folds, strata=strata)
    assert_partition(splits, len(utterances))
    assert [count_genders(utterances, split.test) for split in splits] == men_and_women
    assert [count_genders(utterances, s.dev) for s in splits] == [
        *men_and_women[1:], men_and_women[0]
    ]  # fmt: skip
    if corpus == "ravdess":  # each class, too: 8 utterances of a speaker, 4 of neutral
        for split in splits:
            _, counts = np.unique([utterances[i].emotion for i in split.test], return_counts=True)
            assert sorted(counts / (24 // n_folds)) == [4] + [8] * 7
    # By name, as before, RAVDESS has groups of one gender, and dev sets of the other.
    by_name = leave_speakers_out(speakers, n_folds=n_folds)
    if corpus == "ravdess":
        assert all(0 in count_genders(utterances, split.test) for split in by_name)


@pytest.mark.parametrize("corpus", ["emodb", "ravdess"])
def test_groups_are_as_even_as_scikit_learn_s(shared_data, corpus):
    utterances = read_real(corpus, shared_data)
    speakers, strata = (
        np.array(x) for x in ([u.speaker for u in utterances], list_strata(utterances))
    )
    names = np.unique(strata)

    def unevenness(groups):
        """Mean sd over the groups of the share of each stratum: scikit-learn minimizes it."""
        shares = [[np.sum(strata[g] == n) / np.sum(strata == n) for n in names] for g in groups]
        return np.std(shares, axis=0).mean()

    for n_groups in range(3, 8):
        ours = divide_speakers(speakers, n_groups, strata)
        folds = StratifiedGroupKFold(n_groups).split(speakers, strata, speakers)
        theirs = unevenness([test for _, test in folds])
        assert unevenness(ours) == pytest.approx(theirs, abs=1e-3)
        assert theirs <= unevenness(divide_speakers(speakers, n_groups)) + 1e-9


def test_a_speaker_goes_to_the_group_with_fewest_utterances_of_its_strata():
    # a and c are men, b and d women, e has no gender; a has most utterances.
    speakers = list("aaabbccdde")
    strata = ["m"] * 3 + ["f"] * 2 + ["m"] * 2 + ["f"] * 2 + ["None"]
    # a to 0; b: no woman anywhere, 1 has fewest in all; c: 1 has no man; d: 0 has no woman; e: both
    # have nothing of it, and 1 has 4 utterances, 0 has 5.
    groups = divide_speakers(speakers, 2, strata)
    assert [group.tolist() for group in groups] == [[0, 1, 2, 7, 8], [3, 4, 5, 6, 9]]
    assert assign_speaker_groups(speakers, n_folds=2, strata=strata).tolist() == [
        0, 0, 0, 1, 1, 1, 1, 0, 0, 1
    ]  # fmt: skip
    pairs = speaker_group_k_fold(speakers, n_folds=2, strata=strata)
    assert [test.tolist() for _, test in pairs] == [group.tolist() for group in groups]
    # A group for each speaker is in the order of names, whatever the strata.
    assert [g.tolist() for g in divide_speakers(list("cab"), 3, list("xxy"))] == [[1], [2], [0]]


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


# What the folds are made of: by hand, and by the random numbers that a result depends on


def as_lists(splits):
    return [[part.tolist() for part in split] for split in splits]


def sample(rng, *classes):
    """The (members, number) of each class, in turn, drawn by this generator."""
    return sorted(int(i) for members, n in classes for i in rng.permutation(members)[:n])


def test_random_folds_are_those_of_numpy_s_generator():
    # Dealt like cards: 40 of "a", then 40 of "b", each shuffled; a tenth of the rest is dev.
    labels = np.array(list("ab" * 40))
    order = np.random.default_rng(7).permutation(80)
    order = [i for name in "ab" for i in order if labels[i] == name]
    splits = stratified_k_fold(labels, n_folds=2, dev_fraction=0.1, seed=7)
    for fold, split in enumerate(splits):
        assert split.test.tolist() == sorted(order[fold::2])
        rest = np.setdiff1d(np.arange(80), split.test)
        dev = sample(
            np.random.default_rng([7, fold]), *((rest[labels[rest] == c], 2) for c in "ab")
        )
        assert split.dev.tolist() == dev
        assert split.train.tolist() == sorted({*rest} - {*dev})


def test_a_dev_part_is_the_rounded_share_but_one_utterance_at_least_and_never_all():
    # Classes of 1, 2, 3 and 5 utterances: none, one, round(0.9), round(1.5) (to even).
    labels = list("abbcccddddd")
    [split] = cross_corpus_split(labels + ["a"], 11, dev_fraction=0.3, seed=3)
    members = [np.flatnonzero(np.array(labels) == name) for name in "bcd"]
    assert split.dev.tolist() == sample(
        np.random.default_rng([3, 0]), (np.arange(1), 0), *zip(members, (1, 1, 2), strict=True)
    )
    assert split.train.tolist() == sorted(set(range(11)) - set(split.dev.tolist()))
    assert split.test.tolist() == [11]
    for fraction, n_dev in ((0.01, [1, 1, 1]), (0.99, [1, 2, 4])):
        [split] = cross_corpus_split(labels, 11, dev_fraction=fraction, seed=3)
        assert [len(set(m) & set(split.dev)) for m in members] == n_dev and 0 in split.train
        assert split.dev.dtype == np.int64


def test_each_group_has_a_generator_of_its_own():
    groups, labels = np.array(list("ppqqrr")), np.array(["x"] * 6)
    splits = leave_groups_out(groups, labels, dev_fraction=0.1, seed=5)
    for fold, (group, split) in enumerate(zip("pqr", splits, strict=True)):
        rest = np.flatnonzero(groups != group)
        assert split.dev.tolist() == sample(np.random.default_rng([5, fold]), (rest, 1))
        assert split.train.tolist() == sorted(set(rest.tolist()) - set(split.dev.tolist()))
        assert split.test.tolist() == np.flatnonzero(groups == group).tolist()
    two = leave_groups_out(list("ppqq"), ["x"] * 4, dev_fraction=0.5, seed=0)
    assert [split.test.tolist() for split in two] == [[0, 1], [2, 3]]


def test_each_speaker_trains_and_is_tested_on_a_share_of_every_class():
    speakers = np.array(list("s" * 10 + "t" * 10))
    labels = np.array(list("xxxxxxyyyy" * 2))
    splits = per_speaker_split(speakers, labels, train_fraction=0.5, dev_fraction=0.4, seed=2)
    assert len(splits) == 2
    for fold, (speaker, split) in enumerate(zip("st", splits, strict=True)):
        own = np.flatnonzero(speakers == speaker)
        # Half of 6 and 4 train; 0.4 of these 3 and 2 are dev: 1 each.
        known = sample(
            np.random.default_rng([ord(speaker)]),
            *((own[labels[own] == c], n) for c, n in (("x", 3), ("y", 2))),
        )
        dev = sample(
            np.random.default_rng([2, fold]),
            *(([i for i in known if labels[i] == c], 1) for c in "xy"),
        )
        assert split.dev.tolist() == dev
        assert split.train.tolist() == sorted(set(known) - set(dev))
        assert split.test.tolist() == sorted(set(own.tolist()) - set(known))
    # The division is one for all seeds, and for a corpus of speaker t alone; dev is of the seed.
    other = per_speaker_split(speakers, labels, train_fraction=0.5, dev_fraction=0.4, seed=3)
    assert [split.test.tolist() for split in other] == [split.test.tolist() for split in splits]
    assert any(a.dev.tolist() != b.dev.tolist() for a, b in zip(splits, other, strict=True))
    [alone] = per_speaker_split(
        speakers[10:], labels[10:], train_fraction=0.5, dev_fraction=0.4, seed=3
    )
    assert (alone.test + 10).tolist() == splits[1].test.tolist()
    [pair] = per_speaker_split(["s"] * 4, list("xyxy"), train_fraction=0.5, dev_fraction=0, seed=0)
    assert sorted(map(len, pair)) == [0, 2, 2]


def test_a_class_of_which_a_speaker_has_one_utterance():
    with pytest.raises(DataError) as error:
        per_speaker_split(
            list("ssssstt"), list("xxyyzxx"), train_fraction=0.5, dev_fraction=0.5, seed=0
        )
    assert str(error.value) == (
        "speaker 's' has one utterance of class 'z', which cannot train and test; leave it out "
        "in [labels], or use --protocol loso"
    )


def test_the_parts_that_a_corpus_gives():
    labels = list("xxxxyyyx")
    parts = ["train", "test", "dev", "train", "train", None, "dev", "other"]
    split = predefined_split(parts, labels, 0.5, seed=0)
    assert [part.tolist() for part in split] == [[0, 3, 4], [2, 6], [1]]
    # Without a dev part: of the training utterances 0, 3 and 7 (x) and 4 and 5 (y), one each.
    parts = ["train", "test", "test", "train", "train", "train", None, "train"]
    split = predefined_split(parts, labels, 0.4, seed=9)
    dev = sample(np.random.default_rng([9, 0]), ([0, 3, 7], 1), ([4, 5], 1))
    assert split.dev.tolist() == dev and split.test.tolist() == [1, 2]
    assert split.train.tolist() == sorted({0, 3, 4, 5, 7} - set(dev))


@pytest.mark.parametrize("parts, n", [(["train", "dev"], (1, 0)), (["test", "test"], (0, 2))])
def test_a_corpus_that_gives_too_few_parts(parts, n):
    with pytest.raises(DataError) as error:
        predefined_split(parts, ["x", "x"], 0.5, seed=0)
    assert str(error.value) == (
        f"of the corpus's own parts train has {n[0]} utterances and test {n[1]}; "
        "use --protocol loso"
    )


def test_dev_in_the_place_of_test():
    splits = [Split(*map(np.array, ([0, 1], [2], [3]))), Split(*map(np.array, ([3], [1, 0], [2])))]
    assert select_evaluated_part("test", splits) is splits
    assert as_lists(select_evaluated_part("dev", splits)) == [
        [[0, 1], [2], [2]], [[3], [1, 0], [1, 0]]
    ]  # fmt: skip
    without = [*splits, Split(*map(np.array, ([0], [], [1])))]
    with pytest.raises(UsageError) as error:
        select_evaluated_part("dev", without)
    assert str(error.value) == NO_DEV


@pytest.mark.parametrize(
    "parts, independent",
    [
        ([], True),
        ([([0, 1], [4], [2, 3])], True),
        ([([0], [1], [4])], True),  # a dev part may share a speaker
        ([([0, 2], [], [1, 4])], False),
        ([([0, 1], [4], [2, 3]), ([0, 2], [], [1, 4])], False),  # one fold of two
        ([([0, 2], [], [1, 4]), ([0, 2], [], [3])], False),
    ],
)
def test_folds_are_speaker_independent_where_all_of_them_are(parts, independent):
    splits = [Split(*(np.array(part, int) for part in split)) for split in parts]
    assert is_speaker_independent(list("aabbc"), splits) is independent


def test_the_speaker_with_most_utterances_goes_to_the_smallest_group():
    # b (3 utterances) to 0; a (2) and c (2), which tie by name, both to 1; d to 0: 3 + 1 and 4.
    speakers = list("aabbbccd")
    groups = assign_speaker_groups(speakers, n_folds=2)
    assert groups.tolist() == [1, 1, 0, 0, 0, 1, 1, 0] and groups.dtype == np.int64
    # Of 40 speakers every second has two utterances: first these in turn, then the others.
    names = [f"{i:02}" for i in range(40)]
    groups = assign_speaker_groups(names + names[::2], n_folds=4)
    assert groups[:40].tolist() == [i // 2 % 4 for i in range(40)]
    assert groups[40:].tolist() == groups[:40:2].tolist()
    assert assign_speaker_groups(speakers, n_folds=4).tolist() == [0, 0, 1, 1, 1, 2, 2, 3]
    pairs = speaker_group_k_fold(speakers, n_folds=2)
    assert [[part.tolist() for part in pair] for pair in pairs] == [
        [[0, 1, 5, 6], [2, 3, 4, 7]], [[2, 3, 4, 7], [0, 1, 5, 6]]
    ]  # fmt: skip


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: stratified_k_fold([], n_folds=2, dev_fraction=0.1, seed=0), DataError,
         "no utterances to make folds of; check the corpus and [labels]"),
        (lambda: stratified_k_fold(list("xx"), n_folds=1, dev_fraction=0.1, seed=0), UsageError,
         "--folds 1: cross-validation needs at least 2 folds"),
        (lambda: stratified_k_fold(list("xx"), n_folds=2, dev_fraction=1, seed=0), UsageError,
         "dev_fraction 1: expected a share of 0 or more, below 1"),
        (lambda: stratified_k_fold(list("xxxy"), n_folds=2, dev_fraction=0, seed=0), DataError,
         "class 'y' has 1 utterance, folds need at least 2; leave it out in [labels] or add "
         "speech"),
        (lambda: stratified_k_fold(list("xxxyy"), n_folds=2, dev_fraction=0.1, seed=0), DataError,
         "class 'y' has 2 utterances, folds need at least 3; leave it out in [labels] or add "
         "speech"),
        (lambda: stratified_k_fold(list("xxxyy"), n_folds=3, dev_fraction=0, seed=0), DataError,
         "class 'y' has 2 utterances, fewer than the 3 folds; use --folds 2"),
        (lambda: leave_speakers_out(list("abc"), n_folds=2), UsageError,
         "--folds 2: leaving speakers out needs at least 3 folds (test, dev, train); use "
         "--folds 3"),
        (lambda: leave_speakers_out(list("abc"), n_folds=4), UsageError,
         "--folds 4: corpus has 3 speakers; use --folds 3"),
        (lambda: leave_speakers_of_sessions_out(list("stt"), list("aab")), DataError,
         "speaker 't' is in sessions a b, and would be tested and heard in training; "
         "use --protocol loso"),
        (lambda: leave_speakers_of_sessions_out(list("stu"), list("aab")), DataError,
         "session 'b' is the only one or has one speaker, and sessions of two are what the "
         "paper's folds are made of; use --protocol loso"),
        (lambda: leave_speakers_of_sessions_out(list("st"), list("aa")), DataError,
         "session 'a' is the only one or has one speaker, and sessions of two are what the "
         "paper's folds are made of; use --protocol loso"),
        (lambda: leave_groups_out(list("pp"), list("xx"), dev_fraction=0.1, seed=0), DataError,
         "leaving sessions out needs two or more, the corpus has 1; add speech"),
        (lambda: leave_groups_out(list("ppq"), list("xxx"), dev_fraction=0.1, seed=0), DataError,
         "without group p each class has one utterance, and dev would be empty; add speech"),
        (lambda: assign_speaker_groups(list("aab"), n_folds=3), UsageError,
         "--folds 3: corpus has 2 speakers; use --folds 2"),
        (lambda: cross_corpus_split(list("xyx"), 2, dev_fraction=0.1, seed=0), DataError,
         "each class has one utterance to train on, and dev would be empty"),
        (lambda: speaker_group_k_fold(list("ab"), n_folds=1), UsageError,
         "1 inner folds: cross-validation needs at least 2"),
        (lambda: speaker_group_k_fold(list("ab"), n_folds=3), UsageError,
         "3 inner folds need as many training speakers, there are 2"),
    ],
)  # fmt: skip
def test_an_error_says_what_to_do(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == message


def test_the_smallest_corpora_that_can_be_divided():
    for n, dev_fraction in ((3, 0.1), (2, 0)):
        splits = stratified_k_fold(["x"] * n, n_folds=2, dev_fraction=dev_fraction, seed=0)
        assert_partition(splits, n)
        assert [len(split.test) for split in splits] == [n - 1, 1]
    assert as_lists(leave_speakers_out(list("cab"))) == [
        [[0], [2], [1]], [[1], [0], [2]], [[2], [1], [0]]
    ]  # fmt: skip
    assert as_lists(leave_speakers_out(list("cab"), n_folds=3)) == as_lists(
        leave_speakers_out(list("cab"))
    )
    assert len(speaker_group_k_fold(list("ab"), n_folds=2)) == 2
