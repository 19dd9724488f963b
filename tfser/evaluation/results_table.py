"""zoo/results.csv: one row for each system of each recorded run, over all models and corpora."""

from pathlib import Path

from tfser.evaluation import card_rows, metrics
from tfser.evaluation.recorded_runs import list_cards, load_runs
from tfser.storage import atomic_files

COLUMNS = (
    "model", "corpus", "protocol", "folds", "speaker_independent", "target", "row", "score", "mean",
    "sd", "low", "high", "wa", "majority", "paper", "paper_source", "n", "seeds", "flags",
    "minutes", "machine", "commits", "note", "command", "predictions",
)  # fmt: skip


def write_results(zoo: Path) -> None:
    """Write zoo/results.csv from the JSON files of all cards.

    low and high are the ends of the 95 % interval, shares as the other scores; empty cells are not
    known. The paper's figure is that of zoo/paper.csv, with the same model, corpus, protocol and
    system.
    """
    atomic_files.write_csv(zoo / "results.csv", list_results(zoo))


def list_results(zoo: Path) -> list[dict]:
    """Return the rows of zoo/results.csv."""
    papers = {}
    if (zoo / "paper.csv").exists():
        keys = ("model", "corpus", "protocol", "system")
        papers = {
            tuple(row[key] for key in keys): row
            for row in atomic_files.read_csv(zoo / "paper.csv", (*keys, "value", "source"))
        }
    results = []
    for model, corpus in list_cards(zoo):
        rows = card_rows.list_rows(load_runs(zoo, model, corpus))
        baselines = card_rows.list_rows(load_runs(zoo, "svm", corpus))
        results += [_describe(row, [*rows, *baselines], papers) for row in rows]
    return results


def _describe(row, others, papers) -> dict:
    scores, processes = row.scores, row.entry["processes"]
    main, second = metrics.headline_scores(scores)
    paper = papers.get((scores["model"], scores["corpus"], scores["protocol"], row.system), {})
    low, high = card_rows.score_interval(row) or ("", "")
    minutes = card_rows.count_minutes(row)
    values = (
        scores["model"], scores["corpus"], scores["protocol"], scores["folds"],
        "yes" if scores["speaker_independent"] else "no", scores.get("flags", {}).get("target", ""),
        row.name, main, row.values[main]["mean"], row.values[main]["sd"], low, high,
        row.values[second]["mean"] if second == "wa" else "",
        card_rows.find_majority(row, others), paper.get("value", ""), paper.get("source", ""),
        scores["n"], scores["seeds"],
        " ".join(f"{k}={v}" for k, v in scores.get("flags", {}).items() if k != "target"),
        "" if minutes is None else round(minutes, 1), card_rows.machine_of(row),
        " ".join(dict.fromkeys(process["git_commit"] or "unknown" for process in processes)),
        row.entry["note"], row.entry["command"], row.entry.get("predictions", ""),
    )  # fmt: skip
    rounded = (round(v, 6) if isinstance(v, float) else "" if v is None else v for v in values)
    return dict(zip(COLUMNS, rounded, strict=True))
