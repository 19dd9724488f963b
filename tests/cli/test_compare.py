"""tfser-compare on the runs of an older commit."""

import csv

import pytest
from running import called

from tfser.cli import compare


def test_tables_and_page(before, tmp_path):
    runs = [before / "runs" / name for name in ("epr", "acnn")]
    out = tmp_path / "out"
    answer = called(compare.main, *runs, f"{runs[0]}:VGG", "--out", out)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0].split("  ")[0] == "system"
    assert [line.split()[0] for line in lines[1:4]] == ["VGG*2", "C", "VGG"]
    assert "18 common utterances of 3 speakers" in lines[-1]
    assert "3 speakers: little can be concluded" in answer.err
    rows = list(csv.DictReader(open(out / "compare.csv")))
    assert [(row["first"], row["second"]) for row in rows[3:]] == [
        ("VGG*2", "C"), ("VGG*2", "VGG"), ("C", "VGG"),
    ]  # fmt: skip
    assert float(rows[0]["uar"]) == 0.5 and float(rows[1]["uar"]) == pytest.approx(11 / 18)
    assert float(rows[3]["uar"]) == pytest.approx(0.5 - 11 / 18)
    page = (out / "compare.html").read_text()
    assert page.count("data:image/png;base64,") == 5  # two of intervals, three confusion matrices
    assert "VGG*2" in (out / "compare.md").read_text()


def test_what_cannot_be_compared(before, tmp_path):
    run = before / "runs" / "epr"
    for arguments, code, says in (
        ([run], 2, "give two runs or more"),
        ([run, tmp_path], 3, "is not a finished run"),
        ([run, tmp_path / "missing"], 3, "is not a finished run"),
        ([run, f"{run}:VGG*9"], 3, "no system 'VGG*9'; it has VGG, VGG*2"),
        ([run, run, "--out", tmp_path], 4, "exists"),
    ):
        answer = called(compare.main, *arguments)
        assert answer.code == code and says in answer.err, (arguments, answer)
