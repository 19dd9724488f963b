"""Cross-validation: the fold of each prediction, seeds, own parts, and utterances left out."""

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tfser.corpora.utterance import Utterance
from tfser.errors import ConflictError, DataError, UsageError
from tfser.evaluation import classification_report, cross_validation
from tfser.evaluation.splits import Split
from tfser.storage import atomic_files, run_directory

EMOTIONS = ("anger", "fear")


def voices(speakers="abc"):
    """One utterance per speaker and emotion: a-anger, a-fear, b-anger, ..."""
    return [Utterance(Path(f"{s}-{e}.wav"), f"{s}-{e}", s, e) for s in speakers for e in EMOTIONS]


def run_in(folder, **more):
    options = {"seeds": (3, 5), "strategy": "none", "max_bad": 0} | more
    folder.mkdir(exist_ok=True)
    return run_directory.Run(folder, folder / "cache", "made-up", "loso", None, **options)


def numbers(*values):
    return np.array(values, int)


def leave_out(*tests, n=6):
    """Splits that test `tests` and train on the other utterances, the last of them dev."""
    splits = []
    for test in tests:
        rest = np.setdiff1d(np.arange(n), test)
        splits.append(Split(rest[:-1], rest[-1:], np.array(test)))
    return splits


def splits_of_seeds(utterances):
    """Speakers in order under seed 3, in reverse order under seed 5."""
    in_order = leave_out(*np.arange(len(utterances)).reshape(-1, 2), n=len(utterances))
    return {3: in_order, 5: in_order[::-1]}


def rows_of(path):
    return list(csv.DictReader(path.open()))


def test_a_network_that_predicts_one_class_is_warned_of(tmp_path, caplog):
    utterances = voices("abcd")
    y = np.tile([0, 1], 4)
    systems = {
        "good": {"predicted": y, "probabilities": None},
        "poor": {"predicted": np.array([1, 1, 0, 1, 0, 0, 1, 1]), "probabilities": None},
    }
    folds = np.array([0, 0, 1, 1, 2, 2, 3, 4])  # the last two folds test one class alone
    run = run_in(tmp_path)
    with caplog.at_level("WARNING", logger="tfser"):
        splits = [Split([], [], [])] * 5
        classification_report.score_seed(run, 3, utterances, list(EMOTIONS), systems, folds, splits)
    said = "all 2 utterances are predicted as {}; the network tells no classes apart"
    assert caplog.messages == [
        "seed-3 fold-00 poor: " + said.format("fear"),
        "seed-3 fold-02 poor: " + said.format("anger"),
    ]


def test_every_fold_predicts_its_test_set(tmp_path):
    run, utterances, calls = run_in(tmp_path), voices(), []
    dataset = SimpleNamespace(utterances=utterances, classes=list(EMOTIONS))
    splits = splits_of_seeds(utterances)

    def train_fold(split, folder, seed, bar):
        calls.append((seed, folder.relative_to(tmp_path).as_posix(), bar.where, list(split.test)))
        bar.at("network")
        bar.network_done()
        # Fold 0 predicts fear for all of its test set, the other folds are right.
        return np.array([[0.2, 0.8]] * 2 if seed[1] == 0 else [[0.9, 0.1], [0.3, 0.7]])

    def score_seed(seed, outputs):
        assert len(outputs) == 3
        return cross_validation.score_probabilities(
            run, seed, dataset, splits[seed], "system", outputs
        )

    results = cross_validation.cross_validate(run, splits, train_fold, score_seed, max_epochs=1)
    assert [call[0] for call in calls] == [[3, 0], [3, 1], [3, 2], [5, 0], [5, 1], [5, 2]]
    assert calls[1][1:] == ("seed-3/fold-01", "seed-3 fold-01 of 3", [2, 3])
    assert calls[3][1:] == ("seed-5/fold-00", "seed-5 fold-00 of 3", [4, 5])
    assert [result["seed"] for result in results] == [3, 5]
    for result in results:
        assert result["systems"]["system"]["wa"] == 5 / 6
        assert result["systems"]["system"]["fold_wa"] == [0.5, 1.0, 1.0]
    rows = rows_of(tmp_path / "seed-5" / "predictions.csv")
    assert [row["utterance"] for row in rows] == [u.name for u in utterances]
    assert [row["fold"] for row in rows] == ["2", "2", "1", "1", "0", "0"]
    assert [row["predicted"] for row in rows] == ["anger", "fear", "anger", "fear", "fear", "fear"]
    assert [row["p_fear"] for row in rows] == ["0.1", "0.7", "0.1", "0.7", "0.8", "0.8"]


def test_a_process_trains_its_own_parts_and_scores_nothing(tmp_path):
    run = run_in(tmp_path, parts=frozenset({(3, 2), (5, 0)}))
    trained = []

    def train_fold(split, folder, seed, bar):
        trained.append(tuple(seed))

    def score_seed(seed, outputs):
        pytest.fail("a part is scored")

    splits = splits_of_seeds(voices())
    results = cross_validation.cross_validate(run, splits, train_fold, score_seed, max_epochs=1)
    assert results is None and trained == [(3, 2), (5, 0)]


def test_the_bar_counts_all_networks(tmp_path):
    totals = []

    def train_fold(split, folder, seed, bar):
        bar.network_done()
        bar.network_done()
        totals.append((bar.n, bar.total))

    cross_validation.cross_validate(
        run_in(tmp_path),
        splits_of_seeds(voices()),
        train_fold,
        lambda seed, outputs: None,
        max_epochs=10,
        networks_per_fold=2,
    )
    assert totals == [(20 * i, 120) for i in range(1, 7)]


def test_splits_are_made_before_the_dataset_is_loaded(tmp_path):
    def make_splits(utterances):
        raise DataError("too few")

    with pytest.raises(DataError, match="too few"):
        cross_validation.load_with_splits(
            voices(), run_in(tmp_path), make_splits, lambda _: pytest.fail("audio is read")
        )


def test_splits_and_their_file(tmp_path):
    run, utterances = run_in(tmp_path), voices()
    dataset, splits = cross_validation.load_with_splits(
        utterances, run, splits_of_seeds, lambda u: SimpleNamespace(utterances=u)
    )
    assert dataset.utterances is utterances and sorted(splits) == [3, 5]
    rows = rows_of(tmp_path / "splits.csv")
    assert len(rows) == 2 * 3 * 6
    parts = [row["part"] for row in rows if (row["seed"], row["fold"]) == ("5", "0")]
    assert parts == ["train", "train", "train", "dev", "test", "test"]
    assert rows[-1] == {
        "seed": "5", "fold": "2", "utterance": "c-fear", "speaker": "c", "part": "dev"
    }  # fmt: skip


def test_further_folds_are_written_with_the_first_ones(tmp_path, monkeypatch):
    """Once: a run that is killed between two writes would lack a column."""
    written, write_csv = [], atomic_files.write_csv
    monkeypatch.setattr(
        atomic_files, "write_csv", lambda *file: written.append(file[0].name) or write_csv(*file)
    )

    def make_more(dataset, splits):
        assert dataset.utterances == utterances and sorted(splits) == [3, 5]
        return {"more": {seed: of_seed[::-1] for seed, of_seed in splits.items()}}

    run, utterances = run_in(tmp_path), voices()
    cross_validation.load_with_splits(
        utterances,
        run,
        splits_of_seeds,
        lambda u: SimpleNamespace(utterances=u),
        make_more=make_more,
    )
    assert written == ["splits.csv"]
    rows = rows_of(tmp_path / "splits.csv")
    for column, fold in (("part", "0"), ("more", "2")):
        parts = [row[column] for row in rows if (row["seed"], row["fold"]) == ("5", fold)]
        assert parts == ["train", "train", "train", "dev", "test", "test"]


def test_a_run_of_other_folds_is_refused_and_keeps_its_file(tmp_path):
    run, utterances = run_in(tmp_path), voices()
    cross_validation.write_splits(run, utterances, splits_of_seeds(utterances))
    before = (tmp_path / "splits.csv").read_bytes()
    (tmp_path / "seed-3").mkdir()
    cross_validation.write_splits(run, utterances, splits_of_seeds(utterances))
    others = {seed: splits[::-1] for seed, splits in splits_of_seeds(utterances).items()}
    with pytest.raises(ConflictError, match="other folds for seed 3 than this version of tfser"):
        cross_validation.write_splits(run, utterances, others)
    assert (tmp_path / "splits.csv").read_bytes() == before


def test_utterances_left_out_are_in_no_split(tmp_path, caplog):
    """--max-bad: the splits are made anew, and their warnings are those of the new splits."""
    made = []

    def make_splits(utterances):
        made.append(len(utterances))
        return splits_of_seeds(utterances)

    def load(utterances):
        return SimpleNamespace(utterances=utterances[:4])

    _, splits = cross_validation.load_with_splits(voices(), run_in(tmp_path), make_splits, load)
    assert made == [6, 4]
    assert all(max(map(max, split)) < 4 for split in splits[3]) and len(splits[3]) == 2
    assert len(rows_of(tmp_path / "splits.csv")) == 2 * 2 * 4
    # Of the two speakers who are left, the fear of one is dev: no fear in training.
    assert "fold-00: no training speaker has fear" in caplog.text


def test_one_class_left_out_is_an_error_but_for_ratings(tmp_path):
    def load(utterances):
        return SimpleNamespace(utterances=[u for u in utterances if u.emotion == "anger"])

    def make_splits(utterances):
        return {3: leave_out([0], n=len(utterances))}

    run = run_in(tmp_path, seeds=(3,))
    with pytest.raises(DataError, match="nothing to classify"):
        cross_validation.load_with_splits(voices(), run, make_splits, load)
    dataset, _ = cross_validation.load_with_splits(
        voices(), run, make_splits, load, has_classes=False
    )
    assert len(dataset.utterances) == 3


def test_a_model_that_ignores_evaluate_dev_trains_nothing(tmp_path):
    run = run_in(tmp_path, evaluate="dev")
    with pytest.raises(UsageError, match="no dev part"):
        cross_validation.load_with_splits(
            voices(), run, splits_of_seeds, lambda u: SimpleNamespace(utterances=u)
        )


def test_the_last_fold_counts_where_several_predict_an_utterance():
    merged = cross_validation.merge_folds(
        [numbers(7, 2), numbers(2, 9)], [np.float32([[1], [2]]), np.float32([[3], [4]])]
    )
    for array, expected in zip(merged, ([2, 7, 9], [[3], [1], [4]], [1, 0, 1]), strict=True):
        np.testing.assert_array_equal(array, expected)
    assert merged[1].dtype == np.float32


def test_two_corpora_are_joined():
    labels = {"keep": (), "group": "", "merge": (), "target": "emotion", "rounding": "between"}
    mine = voices("ab") + [Utterance(Path("x.wav"), "x", "a", "joy")]
    joined, tested = cross_validation.join_corpora(mine, voices("yz"), labels)
    assert [u.speaker for u in joined] == list("aabbyyzz") and tested == joined[4:]
    assert cross_validation.count_trained(joined, tested) == 4
    assert cross_validation.count_trained(joined[1:6], tested) == 3  # two are left out
    alone, none = cross_validation.join_corpora(mine, None, labels)
    assert alone == mine and cross_validation.count_trained(alone, none) is None


@pytest.mark.parametrize(
    ("train", "test", "unseen"),
    [
        ([2, 3, 4, 5], [0, 1], True),
        ([1, 2, 3, 4, 5], [0], False),
    ],
)
def test_speakers_of_all_seeds_count(train, test, unseen):
    splits = {3: leave_out([0, 1]), 5: [Split(numbers(*train), numbers(), numbers(*test))]}
    assert classification_report.are_speakers_unseen(voices(), splits) is unseen
