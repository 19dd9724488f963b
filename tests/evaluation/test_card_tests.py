"""Rows of a card against the SVM and their predecessors, with predictions that are kept."""

import numpy as np
import pytest

from tfser.cli import card, compare
from tfser.errors import DataError
from tfser.evaluation import card_rows, card_tests, metrics, significance, stored_predictions
from tfser.evaluation.run_predictions import Predictions, load_predictions
from tfser.storage import atomic_files

rng = np.random.default_rng(0)
Y = np.tile([0, 1], 20)
SPEAKERS = np.repeat([*"abcde"], 8)
NAMES = np.array([f"u{i}" for i in range(40)])


def entry_of(model, systems, **more):
    """Return a recorded run of classes with predictions: {system: p [seeds, n]}."""
    scores = {
        "model": model, "protocol": "loso", "speaker_independent": True, "folds": 5, "n": 40,
        "classes": ["x", "y"], "uar": 0.0,
        "seeds": len(next(iter(systems.values()))), "flags": {}, "systems": {},
    } | more  # fmt: skip
    predictions = {}
    for name, p in systems.items():
        fold_uar = [
            metrics.uar(Y[SPEAKERS == s], seed[SPEAKERS == s]) for seed in p for s in "abcde"
        ]
        scores["systems"][name] = {
            "uar": metrics.summarize([metrics.uar(Y, seed) for seed in p]),
            "fold_uar": metrics.summarize(fold_uar),
        }
        predictions[name] = Predictions(
            model, scores, name, NAMES, SPEAKERS, Y, p, None, np.repeat(np.arange(5), 8)
        )
    return {"scores": scores, "settings": {}, "processes": [], "predictions_of": predictions}


def guess(accuracy, seeds=2):
    return np.where(rng.random((seeds, 40)) < accuracy, Y, 1 - Y)


def test_pairs():
    base, better = guess(0.6), guess(0.9)
    run = entry_of("epr", {"VGG": base, "VGG*2": better})
    svm = [entry_of("svm", {"SVM": guess(0.8, 1)}),
           entry_of("svm", {"SVM, without dev": guess(0.7, 1)})]  # fmt: skip
    rows, baselines = card_rows.list_rows([run]), card_rows.list_rows(svm)
    found = card_tests.compare_rows(rows, baselines)
    assert [(pair.first.name, pair.second.name) for pair in found] == [
        ("VGG", "SVM, without dev"), ("VGG*2", "VGG"), ("VGG*2", "SVM, without dev"),
    ]  # fmt: skip
    gain = found[1]
    assert gain.difference == pytest.approx(
        np.mean([metrics.uar(Y, b) - metrics.uar(Y, a) for a, b in zip(base, better, strict=True)])
    )
    assert gain.interval.low < gain.difference < gain.interval.high
    raw = [
        significance.mcnemar(first[0] == Y, second[0] == Y)
        for first, second in (
            (base, svm[1]["predictions_of"]["SVM, without dev"].p), (better, base),
            (better, svm[1]["predictions_of"]["SVM, without dev"].p),
        )
    ]  # fmt: skip
    assert [pair.mcnemar for pair in found] == significance.holm(raw)
    # One seed of the SVM: the test over seeds is of VGG*2 against VGG alone, so not adjusted.
    assert [pair.of_seeds is None for pair in found] == [True, False, True]
    values = [[metrics.uar(Y, seed) for seed in p] for p in (better, base)]
    p = significance.t_test(*values)[1]
    assert gain.of_seeds == pytest.approx(2 * min(p, 1 - p))
    assert all(0 <= pair.of_folds <= 1 for pair in found)


def test_rows_of_other_tasks_are_no_baseline():
    [row] = card_rows.list_rows([entry_of("aae", {"UTT + Base": guess(0.8)})])
    for more in (
        {"folds": 4}, {"n": 39}, {"classes": ["x", "z"]}, {"speaker_independent": False},
        {"flags": {"normalize": "speaker"}}, {"flags": {"target": "valence"}},
    ):  # fmt: skip
        others = card_rows.list_rows([entry_of("svm", {"SVM": guess(0.8, 1)}, **more)])
        assert card_rows.find_baseline(row, others) is None
    same = card_rows.list_rows([entry_of("svm", {"SVM": guess(0.8, 1)})])
    assert card_rows.find_baseline(row, same) is same[0]


def test_probes_are_no_baseline_and_seen_speakers_no_result():
    probe = entry_of("svm", {"SVM on x": guess(0.8, 1)}, earlier_training={"name": "x"})
    plain, probe = card_rows.list_rows([entry_of("svm", {"SVM": guess(0.8, 1)}), probe])
    [network] = card_rows.list_rows([entry_of("aae", {"UTT + Base": guess(0.8)})])
    assert card_rows.find_baseline(network, [probe]) is None
    assert card_rows.find_baseline(network, [probe, plain]) is plain
    assert card_rows.find_baseline(probe, [probe, plain]) is plain
    for system, flag in (("UTT + Base", "init"), ("SVM on x", "from")):
        model = "aae" if flag == "init" else "svm"
        entry = entry_of(model, {system: guess(0.8, 1)}, flags={flag: "seen_speakers"})
        [row] = card_rows.list_rows([entry])
        assert card_rows.find_baseline(row, [plain]) is None


def test_the_predecessor_of_each_row_of_a_paper():
    names = ["UTT + AAE Optimized", "UTT + AAE", "UTT + Base"]
    rows = card_rows.list_rows([entry_of("aae", {name: guess(0.8)}) for name in names])
    found = [card_rows.find_predecessor(row, rows) for row in rows]
    assert [other and other.name for other in found] == ["UTT + AAE", "UTT + Base", None]


def test_predictions_are_kept_as_they_were(before, tmp_path):
    folder = before / "runs" / "epr"
    packed = stored_predictions.pack_run(folder)
    file = tmp_path / "emodb.npz"
    atomic_files.write_bytes(file, packed)
    for system in (None, "VGG"):
        stored, loaded = stored_predictions.load_stored(file, system), load_predictions(folder)
        if system:
            loaded = load_predictions(folder, system)
        assert (stored.run, stored.system) == (loaded.run, loaded.system)
        for name in ("utterances", "speakers", "y", "p", "folds"):
            np.testing.assert_array_equal(getattr(stored, name), getattr(loaded, name))
    assert stored_predictions.digest(packed) == stored_predictions.digest(
        stored_predictions.pack_run(folder)
    )
    with pytest.raises(DataError, match="no system 'VGG.9'"):
        stored_predictions.load_stored(file, "VGG*9")
    file.write_bytes(packed[:-30])
    with pytest.raises(DataError, match="emodb.npz is damaged; restore it"):
        stored_predictions.load_stored(file)


def test_a_recorded_run_can_be_compared_with(before, tmp_path, capsys):
    zoo = tmp_path / "zoo"
    atomic_files.write_text(zoo / "epr" / "README.md", "# EPR\n")
    folder = before / "runs" / "epr"
    assert card.main([str(folder), "--zoo", str(zoo)]) == 0
    [file] = (zoo / "epr" / "predictions").glob("*.npz")
    assert compare.main([str(file), str(before / "runs" / "acnn")]) == 0
    from_file = capsys.readouterr().out
    assert compare.main([str(folder), str(before / "runs" / "acnn")]) == 0
    assert capsys.readouterr().out == from_file
    assert "| 95 % interval |" in (zoo / "epr" / "README.md").read_text()
    [row, last] = atomic_files.read_csv(zoo / "results.csv", ("model", "low", "high"))
    assert row["model"] == "epr" and float(last["low"]) <= float(last["mean"])
    # The same run again leaves one file.
    assert card.main([str(folder), "--zoo", str(zoo)]) == 0
    assert [*(zoo / "epr" / "predictions").glob("*")] == [file]
