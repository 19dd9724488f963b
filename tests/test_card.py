"""Cards: every figure comes from what a run wrote."""

import pytest

from tfser import card, runs
from tfser.errors import DataError


def summary(mean, sd=0.0):
    return {"mean": mean, "sd": sd, "min": mean - sd, "max": mean + sd}


def finished_run(folder, uar, *, seeds=1, protocol="loso"):
    values = {name: summary(uar, 0.01) for name in card.KEPT}
    runs.write_json(
        folder / "scores.json",
        {
            "model": "epr",
            "corpus": "emodb",
            "protocol": protocol,
            "speaker_independent": protocol == "loso",
            "labels": "assisted",
            "n": 535,
            "segments": 11235,
            "folds": 10,
            "seeds": seeds,
            "networks_at_chance": ["seed-0/fold-03/round-1"],
            "rounds": {"VGG": values | {"uar": summary(0.5)}, "VGG*2": values},
        },
    )
    runs.write_json(folder / "hparams.json", {"protocol": protocol})
    process = {"command": "tfser-train --x", "git_commit": "abc", "device": "CPU"}
    runs.write_json(folder / "environment.json", {"processes": [process]})
    return folder


@pytest.fixture
def zoo(tmp_path):
    text = "before\n<!-- emodb -->\nstale\n<!-- end -->\nafter <!-- end -->\n"
    runs.write_bytes(tmp_path / "zoo" / "epr" / "README.md", text.encode())
    return tmp_path / "zoo"


def test_table_has_the_figures_of_the_run_and_leaves_the_rest_alone(tmp_path, zoo):
    assert card.main([str(finished_run(tmp_path / "a", 0.6789)), "--zoo", str(zoo)]) == 0
    text = (zoo / "epr" / "README.md").read_text()
    assert text.startswith("before\n<!-- emodb -->\n| run |")
    assert text.endswith("\n<!-- end -->\nafter <!-- end -->\n")
    assert "stale" not in text
    assert "| 1 | VGG | 50.0 | 67.9 | 67.9 ± 1.0 | 67.9 | 67.9 |" in text
    assert "| 1 | VGG*2 | 67.9 | 67.9 |" in text
    assert (
        "1. `tfser-train --x`: loso (speaker-independent), labels assisted, 10 folds, 535 utt"
        in text
    )
    assert "1 networks never left chance" in text
    [entry] = runs.read_json(zoo / "epr" / "emodb.json")
    assert entry["scores"]["rounds"]["VGG*2"]["uar"]["mean"] == 0.6789


def test_a_run_replaces_the_one_of_the_same_settings_only(tmp_path, zoo):
    card.record(finished_run(tmp_path / "a", 0.1), zoo)
    card.record(finished_run(tmp_path / "b", 0.2, protocol="paper"), zoo)
    card.record(finished_run(tmp_path / "c", 0.3), zoo)
    entries = runs.read_json(zoo / "epr" / "emodb.json")
    found = [
        (e["scores"]["protocol"], e["scores"]["rounds"]["VGG*2"]["uar"]["mean"]) for e in entries
    ]
    assert found == [("loso", 0.3), ("paper", 0.2)]
    assert "speaker-dependent" in (zoo / "epr" / "README.md").read_text()


def test_several_seeds_show_their_spread(tmp_path, zoo):
    card.record(finished_run(tmp_path / "a", 0.6, seeds=5), zoo)
    assert "| 1 | VGG*2 | 60.0 ± 1.0 | 60.0 ± 1.0 |" in (zoo / "epr" / "README.md").read_text()


def test_an_unfinished_run_is_refused(tmp_path, zoo, capsys):
    (tmp_path / "half").mkdir()
    assert card.main([str(tmp_path / "half"), "--zoo", str(zoo)]) == DataError.exit_code
    assert "is not a finished run" in capsys.readouterr().err
    assert "stale" in (zoo / "epr" / "README.md").read_text()


def test_a_card_without_a_place_for_the_table_is_refused(tmp_path, zoo):
    (zoo / "epr" / "README.md").write_text("nothing")
    with pytest.raises(DataError, match="no line <!-- emodb -->"):
        card.record(finished_run(tmp_path / "a", 0.6), zoo)
