"""Cards: every figure comes from what a run wrote."""

import numpy as np
import pytest
from scipy import stats

from tfser.cli import card
from tfser.config import hparams
from tfser.errors import DataError
from tfser.evaluation import card_rows, model_card, recorded_runs
from tfser.storage import atomic_files


def summary(mean, sd=0.0):
    values = [mean - sd, mean + sd]
    return {"mean": mean, "sd": sd, "min": mean - sd, "max": mean + sd, "values": values}


PROCESS = {
    "command": "tfser-train --x", "git_commit": "abc", "device": "CPU", "wall_seconds": 90.0
}  # fmt: skip
LINKS = (
    "From [emodb.json](emodb.json); t-tests of each row against each, one-tailed and not adjusted: "
    "[emodb.tests.csv](emodb.tests.csv):"
)


def finished_run(folder, uar, *, seeds=1, protocol="loso", processes=(PROCESS,), first_seed=0):
    names = (*model_card.SCORES, "segment_accuracy", "mean_profile_uar")
    values = {name: summary(uar, 0.01) for name in names}
    folds = uar + 0.01 * np.sin(np.arange(10 * seeds))
    values["fold_uar"] |= {"values": folds.tolist()}
    if seeds == 1:
        values |= {name: summary(uar) | {"sd": None} for name in names if "fold" not in name}
    atomic_files.write_json(
        folder / "scores.json",
        {
            "model": "epr",
            "corpus": "emodb",
            "protocol": protocol,
            "speaker_independent": protocol == "loso",
            "classes": ["anger", "fear"],
            "flags": {},
            "facts": ["labels assisted", "11,235 segments"],
            "uar": uar,
            "wa": uar,
            "n": 535,
            "folds": 10,
            "seeds": seeds,
            "seed_numbers": list(range(first_seed, first_seed + seeds)),
            "systems": {
                "VGG": values
                | {
                    "uar": summary(0.5),
                    "fold_uar": values["fold_uar"]
                    | {"values": (0.5 + 0.01 * np.cos(np.arange(10 * seeds))).tolist()},
                },
                "VGG*2": values,
            },
        },
    )
    atomic_files.write_json(folder / "hparams.json", {"protocol": protocol})
    atomic_files.write_json(folder / "environment.json", {"processes": list(processes)})
    return folder


@pytest.fixture
def zoo(tmp_path):
    text = "before\n<!-- emodb -->\nstale\n<!-- end -->\nafter <!-- end -->\n"
    atomic_files.write_bytes(tmp_path / "zoo" / "epr" / "README.md", text.encode())
    return tmp_path / "zoo"


def test_table_has_the_figures_of_the_run_and_leaves_the_rest_alone(tmp_path, zoo):
    assert card.main([str(finished_run(tmp_path / "a", 0.6789)), "--zoo", str(zoo)]) == 0
    text = (zoo / "epr" / "README.md").read_text()
    assert text.startswith(f"before\n<!-- emodb -->\n{LINKS}\n\n| row |")
    assert text.endswith("\n<!-- end -->\nafter <!-- end -->\n")
    assert "stale" not in text
    assert "\n| row | UAR |" in text  # all of one protocol, which is below
    assert "| VGG | 50.0 | 67.9 | 67.9 ± 1.0 | 67.9 | 67.9 | 2 | CPU |" in text
    assert "| VGG*2 | 67.9 | 67.9 |" in text
    assert (
        "- VGG; VGG*2: `tfser-train --x`: loso (speaker-independent), labels assisted, "
        "11,235 segments, 10 folds, 535 utterances, 1 seed, commit abc, CPU\n" in text
    )
    assert "| fold UAR, mean ± sd | mean profile UAR | segment accuracy |" in text
    [entry] = atomic_files.read_json(zoo / "epr" / "emodb.json")
    assert entry["scores"]["systems"]["VGG*2"]["uar"]["mean"] == 0.6789


def test_a_run_replaces_the_one_of_the_same_settings_only(tmp_path, zoo):
    recorded_runs.record_run(finished_run(tmp_path / "a", 0.1), zoo)
    recorded_runs.record_run(finished_run(tmp_path / "b", 0.2, protocol="paper"), zoo)
    recorded_runs.record_run(finished_run(tmp_path / "c", 0.3), zoo)
    entries = atomic_files.read_json(zoo / "epr" / "emodb.json")
    found = [
        (e["scores"]["protocol"], e["scores"]["systems"]["VGG*2"]["uar"]["mean"]) for e in entries
    ]
    assert found == [("loso", 0.3), ("paper", 0.2)]
    assert "speaker-dependent" in (zoo / "epr" / "README.md").read_text()


def test_seeds_of_several_runs_are_one_row(tmp_path, zoo):
    """As of one run that had them all, whichever was recorded first."""
    other = {"command": "tfser-train --x --seed 2", "git_commit": "def", "device": "H200"}
    recorded_runs.record_run(
        finished_run(tmp_path / "b", 0.7, seeds=2, first_seed=2, processes=[other]), zoo
    )
    recorded_runs.record_run(finished_run(tmp_path / "a", 0.6, seeds=2), zoo)
    recorded_runs.record_run(finished_run(tmp_path / "c", 0.1, seeds=2, protocol="paper"), zoo)
    text = (zoo / "epr" / "README.md").read_text()
    values = [0.59, 0.61, 0.69, 0.71]  # mean - sd and mean + sd of each
    mean, sd = 100 * np.mean(values), 100 * np.std(values, ddof=1)
    assert f"| VGG*2 | loso, 10 folds | {mean:.1f} ± {sd:.1f} | {mean:.1f} ± {sd:.1f} |" in text
    assert (
        "- VGG; VGG*2: `tfser-train --x`, the same in other folders with `--seed 2`: loso" in text
    )
    assert "535 utterances, 4 seeds, commit abc, def, CPU, H200\n" in text
    assert "| VGG*2 | paper, 10 folds | 10.0 ± 1.0 |" in text and text.count("\n- ") == 2
    # Folds are pooled seed after seed, for the paired test.
    folds = 0.6 + 0.01 * np.sin(np.arange(20)), 0.7 + 0.01 * np.sin(np.arange(20))
    [joined, _] = recorded_runs.join_runs(atomic_files.read_json(zoo / "epr" / "emodb.json"))
    found = joined["scores"]["systems"]["VGG*2"]["fold_uar"]["values"]
    assert found == pytest.approx(np.concatenate(folds))
    # One that has all of them takes their place.
    recorded_runs.record_run(finished_run(tmp_path / "d", 0.5, seeds=4), zoo)
    entries = atomic_files.read_json(zoo / "epr" / "emodb.json")
    assert [e["scores"]["seed_numbers"] for e in entries] == [[0, 1, 2, 3], [0, 1]]


def test_a_command_that_ran_for_several_seeds_is_told_once(tmp_path, zoo):
    for seed in range(4):
        flags = f" --y{' --z' * (seed == 3)} --seed {seed} --workdir runs/{seed}"
        process = PROCESS | {"command": f"tfser-train --x{flags}"}
        folder = finished_run(tmp_path / str(seed), 0.6, first_seed=seed, processes=[process])
        recorded_runs.record_run(folder, zoo)
    text = (zoo / "epr" / "README.md").read_text()
    told = (
        "- VGG; VGG*2: `tfser-train --x --y --seed 0 --workdir runs/0`, the same in other folders "
        "with `--seed 1`, `--seed 2`, `tfser-train --x --y --z --seed 3 --workdir runs/3`: loso"
    )
    assert told in text


def test_what_older_runs_do_not_say_of_themselves_makes_no_other_row(tmp_path, zoo):
    older, newer = (
        finished_run(tmp_path / name, 0.6, seeds=2, first_seed=seed)
        for name, seed in (("a", 0), ("b", 2))
    )
    settings = {"hparams": {"train": {"rate": 1.0}}}
    atomic_files.write_json(older / "hparams.json", settings)
    settings["hparams"]["train"]["precision"] = "float32"
    settings["hparams"]["audio"] = {"decoder": "soundfile"}
    atomic_files.write_json(newer / "hparams.json", settings)
    recorded_runs.record_run(older, zoo)
    recorded_runs.record_run(newer, zoo)
    text = (zoo / "epr" / "README.md").read_text()
    assert "535 utterances, 4 seeds" in text and text.count("\n- ") == 1
    settings["hparams"]["train"]["precision"] = "mixed_bfloat16"
    other = finished_run(tmp_path / "c", 0.7, seeds=2)
    atomic_files.write_json(other / "hparams.json", settings)
    recorded_runs.record_run(other, zoo)
    text = (zoo / "epr" / "README.md").read_text()
    assert text.count("\n- ") == 2 and "\n| VGG*2, train.precision=mixed_bfloat16 | 70.0" in text
    # And the older one's place is taken by a run of all its seeds.
    del settings["hparams"]["train"]["precision"]
    again = finished_run(tmp_path / "d", 0.8, seeds=4)
    atomic_files.write_json(again / "hparams.json", settings)
    recorded_runs.record_run(again, zoo)
    entries = atomic_files.read_json(zoo / "epr" / "emodb.json")
    assert sorted(e["scores"]["seed_numbers"] for e in entries) == [[0, 1], [0, 1, 2, 3]]


def test_a_row_of_several_runs_has_what_is_known_of_each(tmp_path, zoo, capsys):
    recorded_runs.record_run(finished_run(tmp_path / "a", 0.6, seeds=2), zoo, "2 s copy")
    other = finished_run(tmp_path / "b", 0.7, seeds=2, first_seed=2)
    scores = atomic_files.read_json(other / "scores.json")
    stuck = {"facts": [*scores["facts"], "3 networks never left chance"]}
    atomic_files.write_json(other / "scores.json", scores | stuck)
    recorded_runs.record_run(other, zoo)
    text = (zoo / "epr" / "README.md").read_text()
    assert "labels assisted, 11,235 segments, 3 networks never left chance, 10 folds" in text
    assert "535 utterances, 4 seeds, 2 s copy, commit" in text
    third = finished_run(tmp_path / "c", 0.7, seeds=2, first_seed=4)
    atomic_files.write_json(
        third / "scores.json", atomic_files.read_json(third / "scores.json") | {"n": 534}
    )
    assert card.main([str(third), "--zoo", str(zoo)]) == DataError.exit_code
    assert "other utterances, folds or systems" in capsys.readouterr().err
    assert (zoo / "epr" / "README.md").read_text() == text


def test_a_seed_does_not_count_twice(tmp_path, zoo, capsys):
    recorded_runs.record_run(finished_run(tmp_path / "a", 0.6, seeds=2), zoo)
    before = (zoo / "epr" / "emodb.json").read_text()
    again = finished_run(tmp_path / "b", 0.7, seeds=2, first_seed=1)
    assert card.main([str(again), "--zoo", str(zoo)]) == DataError.exit_code
    assert capsys.readouterr().err == (
        f"error: {again} has seeds 1, 2, and the card those 0, 1 of the same settings; record a "
        "run with all of them, or with others alone (--seed)\n"
    )
    assert (zoo / "epr" / "emodb.json").read_text() == before


def test_several_seeds_show_their_spread(tmp_path, zoo):
    recorded_runs.record_run(finished_run(tmp_path / "a", 0.6, seeds=5), zoo)
    assert "| VGG*2 | 60.0 ± 1.0 | 60.0 ± 1.0 |" in (zoo / "epr" / "README.md").read_text()


def test_acnn_has_the_least_and_the_greatest_as_its_paper(tmp_path):
    scores = atomic_files.read_json(finished_run(tmp_path, 0.6, seeds=2) / "scores.json")
    scores["systems"] = {"BL": {name: summary(0.6, 0.02) for name in model_card.SCORES}}
    entry = {"command": "x", "note": "", "processes": [PROCESS], "scores": scores, "settings": {}}
    assert "min |" not in model_card.format_table([entry])
    entry["scores"] = scores | {"model": "acnn"}
    text = model_card.format_table([entry])
    assert "| row | UAR | min | max | WA | fold UAR, mean ± sd | minutes | machine |" in text
    assert "| BL | 60.0 ± 2.0 | 58.0 | 62.0 | 60.0 ± 2.0 | 60.0 ± 2.0 |" in text


def read_tests(zoo, protocol="loso, 10 folds"):
    """Return a protocol's rows of tests.csv as {(row, above): [p over seeds, p over folds]}."""
    rows = atomic_files.read_csv(zoo / "epr" / "emodb.tests.csv", ("row", "above", "protocol"))
    columns = ("welch_p_over_seeds", "paired_p_over_folds")
    return {
        (row["row"], row["above"]): [row[column] and float(row[column]) for column in columns]
        for row in rows
        if row["protocol"] == protocol
    }


def test_rows_of_the_same_folds_are_compared(tmp_path, zoo):
    recorded_runs.record_run(finished_run(tmp_path / "a", 0.6, seeds=2), zoo)
    recorded_runs.record_run(finished_run(tmp_path / "b", 0.7, seeds=1, protocol="paper"), zoo)
    text = (zoo / "epr" / "README.md").read_text()
    # VGG has 0.5 twice, VGG*2 0.59 and 0.61: t = 0.1 / 0.01 with one degree of freedom.
    p_over_seeds = stats.t.sf(10, 1)
    assert p_over_seeds == pytest.approx(0.03173, abs=1e-5)
    found = read_tests(zoo)
    assert found["VGG*2", "VGG"][0] == pytest.approx(p_over_seeds, rel=1e-3)
    assert found["VGG", "VGG*2"][0] == pytest.approx(1 - p_over_seeds, rel=1e-3)
    # Over the ten folds, each the mean of both seeds.
    numbers = np.arange(20).reshape(2, 10)
    better = 0.6 + 0.01 * np.sin(numbers).mean(axis=0)
    difference = better - 0.5 - 0.01 * np.cos(numbers).mean(axis=0)
    t = difference.mean() / (difference.std(ddof=1) / np.sqrt(10))
    assert found["VGG*2", "VGG"][1] == pytest.approx(stats.t.sf(t, 9), rel=1e-3)
    # On the card two-sided; of seeds one test, of folds two: Holm leaves the first as it is.
    assert "| VGG*2 | VGG | loso, 10 folds | +10.0 |  |  | 0.063 | **< 0.001** |" in text
    assert "| VGG*2 | VGG | paper, 10 folds | +20.0 |  |  |  | **< 0.001** |" in text


def test_rows_of_the_same_folds_stand_together(tmp_path, zoo):
    """Whatever their commands, which alone would sort these 5, 10, 5."""
    for command, folds in (("--c", 5), ("--b", 10), ("--a", 5)):
        process = PROCESS | {"command": f"tfser-train {command}"}
        folder = finished_run(tmp_path / command, 0.6, processes=[process])
        scores = atomic_files.read_json(folder / "scores.json")
        atomic_files.write_json(folder / "scores.json", scores | {"folds": folds})
        atomic_files.write_json(folder / "hparams.json", {"name": command})
        recorded_runs.record_run(folder, zoo)
    lines = (zoo / "epr" / "README.md").read_text().splitlines()
    rows = [line.partition(" | 60.0")[0] for line in lines if line.startswith("| VGG*2")]
    assert rows[:3] == [
        "| VGG*2, name=--a | loso, 5 folds", "| VGG*2, name=--c | loso, 5 folds",
        "| VGG*2 | loso, 10 folds",
    ]  # fmt: skip
    commands = [line.split("`")[1] for line in lines if line.startswith("- ")]
    assert commands == ["tfser-train --a", "tfser-train --c", "tfser-train --b"]


@pytest.mark.parametrize("flag", ["target", "rounding", "normalize"])
def test_rows_of_other_labels_are_not_compared(tmp_path, zoo, flag):
    """A class of an attribute is not the same where ratings are rounded otherwise."""
    for name, value in (("a", "x"), ("b", "y")):
        folder = finished_run(tmp_path / name, 0.6, seeds=2)
        scores = atomic_files.read_json(folder / "scores.json")
        atomic_files.write_json(folder / "scores.json", scores | {"flags": {flag: value}})
        atomic_files.write_json(folder / "hparams.json", {flag: value})
        recorded_runs.record_run(folder, zoo)
    pairs = {tuple(name.partition(", ")[2] for name in pair) for pair in read_tests(zoo)}
    assert all(name == other for name, other in pairs)


def test_ratings_have_columns_of_their_own():
    values = {
        key: summary(0.3, 0.02)
        for key in ("ccc_arousal", "ccc_valence", "mse_arousal", "ccc_of_batches_arousal")
    }
    scores = {
        "model": "auxvae", "corpus": "omg", "protocol": "paper", "speaker_independent": True,
        "ccc_arousal": 0.3, "ccc_valence": 0.3, "n": 9, "folds": 1, "seeds": 2,
        "seed_numbers": [0, 1], "facts": [], "flags": {"target": "ratings"},
        "systems": {"h, CCC": values, "m, CCC": values},
    }  # fmt: skip
    entry = {"command": "tfser-train", "note": "", "scores": scores, "settings": {}}
    entry["processes"] = [PROCESS]
    text = model_card.format_table([entry])
    assert (
        "| row | CCC arousal | CCC valence | CCC of batches arousal | MSE arousal | minutes |"
        in text
    )
    assert "| m, CCC | 0.300 ± 0.020 | 0.300 ± 0.020 | 0.300 ± 0.020 | 0.300 ± 0.020 |" in text
    [test, _] = model_card.list_t_tests(card_rows.list_rows([entry]))
    assert test["welch_p_over_seeds"] == "0.5" and test["paired_p_over_folds"] == ""


def test_a_paper_s_own_scores_have_their_spread_and_an_f_score_has_f1_beside_it(tmp_path, zoo):
    """BEGAN's table 1 has the sd of each speaker's accuracy, its table 2 an F-score."""
    folder = finished_run(tmp_path / "a", 0.6, seeds=2)
    scores = atomic_files.read_json(folder / "scores.json")
    scores["systems"] = {
        "BEGAN + head": scores["systems"]["VGG"]
        | {"macro_f1": summary(0.4, 0.03), "f0_5_of_batches": summary(0.7, 0.02)}
        | {"wa_of_DC": summary(0.8069, 0.0296)}
    }
    atomic_files.write_json(folder / "scores.json", scores)
    recorded_runs.record_run(folder, zoo)
    text = (zoo / "epr" / "README.md").read_text()
    assert "| macro F1 | f0 5 of batches | mean profile UAR | segment accuracy | WA of DC |" in text
    assert "| 40.0 ± 3.0 | 70.0 ± 2.0 | 60.0 ± 1.0 | 60.0 ± 1.0 | 80.7 ± 3.0 |" in text


def test_runs_of_older_splits_are_rows_of_their_own(tmp_path, zoo):
    """Their folds are other folds: they are not joined over seeds, and not compared."""
    for name, first_seed, flags in (("a", 0, {"splits": "by-name"}), ("b", 2, {})):
        folder = finished_run(tmp_path / name, 0.6, seeds=2, first_seed=first_seed)
        scores = atomic_files.read_json(folder / "scores.json")
        atomic_files.write_json(folder / "scores.json", scores | {"flags": flags})
        recorded_runs.record_run(folder, zoo)
    text = (zoo / "epr" / "README.md").read_text()
    assert "| VGG | loso, 10 folds |" in text and "| VGG | loso, 10 folds by-name |" in text
    assert set(read_tests(zoo)) == {("VGG", "VGG*2"), ("VGG*2", "VGG")}
    assert text.count("| VGG*2 | VGG | loso, 10 folds") == 2  # a test within each run


def test_a_spread_that_is_not_there_is_not_shown(tmp_path, zoo):
    folder = finished_run(tmp_path / "a", 0.6)
    scores = atomic_files.read_json(folder / "scores.json")
    scores["systems"]["VGG*2"]["fold_uar"]["sd"] = None
    atomic_files.write_json(folder / "scores.json", scores)
    recorded_runs.record_run(folder, zoo)
    text = (zoo / "epr" / "README.md").read_text()
    assert "| VGG*2 | 60.0 | 60.0 | 60.0 | 60.0 | 60.0 |" in text


def test_the_processes_that_trained_are_told_whoever_came_last(tmp_path, zoo):
    processes = [
        PROCESS,
        {"command": "tfser-train --x --killed", "git_commit": "abc"},
        PROCESS | {"command": "tfser-train --x --resumed", "device": "H200"},
        PROCESS | {"command": "tfser-train --x --printed", "git_commit": None},
    ]
    recorded_runs.record_run(finished_run(tmp_path / "a", 0.6, processes=processes), zoo)
    text = (zoo / "epr" / "README.md").read_text()
    assert "- VGG; VGG*2: `tfser-train --x`: " in text
    assert "commit abc, unknown, CPU, H200\n" in text
    [entry] = atomic_files.read_json(zoo / "epr" / "emodb.json")
    assert entry["command"] == "tfser-train --x" and entry["processes"] == processes


def test_the_zoo_lies_beside_the_hyperparameters(tmp_path, monkeypatch):
    assert (card.zoo_folder() / "epr" / "README.md").is_file()
    monkeypatch.setattr(hparams, "hparams_folder", lambda: tmp_path / "tfser" / "_hparams")
    assert card.zoo_folder() == tmp_path / "tfser" / "_zoo"


def test_without_a_folder_the_default_one_is_written(tmp_path, zoo, monkeypatch):
    monkeypatch.setattr(card, "zoo_folder", lambda: zoo)
    assert card.main([str(finished_run(tmp_path / "a", 0.6))]) == 0
    assert (zoo / "epr" / "emodb.json").is_file()


def test_an_unfinished_run_is_refused(tmp_path, zoo, capsys):
    (tmp_path / "half").mkdir()
    assert card.main([str(tmp_path / "half"), "--zoo", str(zoo)]) == DataError.exit_code
    assert "is not a finished run" in capsys.readouterr().err
    assert "stale" in (zoo / "epr" / "README.md").read_text()


@pytest.mark.parametrize(
    "text, message",
    [
        ("<!-- end -->\n<!-- emodb -->\n", "has no <!-- end --> after <!-- emodb -->"),
        (None, "there is no card"),
    ],
)
def test_without_a_place_for_the_table_nothing_is_written(tmp_path, zoo, text, message):
    readme = zoo / "epr" / "README.md"
    readme.unlink() if text is None else readme.write_text(text)
    with pytest.raises(DataError, match=message):
        recorded_runs.record_run(finished_run(tmp_path / "a", 0.6), zoo)
    assert not (zoo / "epr" / "emodb.json").exists()
    assert text is None or readme.read_text() == text


TABLE = "<!-- savee -->\nFrom [savee.json](savee.json):\n...\n<!-- end -->\n"


@pytest.mark.parametrize(
    "before, above, below",
    [
        ("# EPR\n\nText.\n", "# EPR\n\nText.\n", ""),
        (
            f"# EPR\n\n## Ours\n\n{TABLE}\nText.\n\n### A\n\nMore.\n\n## Limits\n\nNone.\n",
            f"# EPR\n\n## Ours\n\n{TABLE}\nText.\n\n### A\n\nMore.\n",
            "\n## Limits\n\nNone.\n",
        ),
        (f"{TABLE}The end.", f"{TABLE}The end.\n", ""),
    ],
)
def test_a_corpus_that_the_card_lacks_gets_a_section(tmp_path, zoo, before, above, below):
    """Below the last table and before the next chapter; then its table is replaced in place."""
    readme = zoo / "epr" / "README.md"
    readme.write_text(before)
    recorded_runs.record_run(finished_run(tmp_path / "a", 0.6789), zoo)
    head = above + f"\n### emodb\n\n<!-- emodb -->\n{LINKS}\n"
    text = readme.read_text()
    assert text.startswith(head) and text.endswith(f"<!-- end -->\n{below}")
    assert "| VGG | 50.0 | 67.9 |" in text
    recorded_runs.record_run(finished_run(tmp_path / "b", 0.5432), zoo)
    again = readme.read_text()
    assert again.startswith(head) and again.endswith(f"<!-- end -->\n{below}")
    assert "67.9" not in again and again.count("### emodb") == 1


def test_the_commonest_class_stands_beside_the_accuracy(tmp_path, zoo):
    """Earlier runs have not counted it; the attributes of a corpus have a column."""
    for name, of in (
        ("a", {}),
        ("b", {"majority": 0.6875, "flags": {"target": "activation"}}),
        ("c", {"majority": 0.46, "flags": {"target": "valence"}}),
    ):
        folder = finished_run(tmp_path / name, 0.6)
        scores = atomic_files.read_json(folder / "scores.json")
        atomic_files.write_json(folder / "scores.json", scores | of)
        atomic_files.write_json(folder / "hparams.json", {"name": name})
        recorded_runs.record_run(folder, zoo)
    text = (zoo / "epr" / "README.md").read_text()
    assert "| row | target | UAR | WA | commonest class | fold UAR, mean ± sd |" in text
    assert "| VGG*2 |  | 60.0 | 60.0 |  | 60.0 ± 1.0 |" in text
    assert "| VGG*2 | activation | 60.0 | 60.0 | 68.8 | 60.0 ± 1.0 |" in text
    assert "| VGG*2 | valence | 60.0 | 60.0 | 46.0 | 60.0 ± 1.0 |" in text


def test_the_runs_of_the_attributes_are_recorded_together(tmp_path, zoo):
    for attribute in ("activation", "valence"):
        folder = finished_run(tmp_path / "run" / attribute, 0.6)
        scores = atomic_files.read_json(folder / "scores.json")
        target = {"flags": {"target": attribute}}
        atomic_files.write_json(folder / "scores.json", scores | target)
        atomic_files.write_json(folder / "hparams.json", target)
    assert card.main([str(tmp_path / "run"), "--zoo", str(zoo)]) == 0
    entries = atomic_files.read_json(zoo / "epr" / "emodb.json")
    assert [e["scores"]["flags"]["target"] for e in entries] == ["activation", "valence"]
