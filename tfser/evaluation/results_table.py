"""zoo/results.csv: one row for each system of each recorded run, over all models and corpora."""

from pathlib import Path

from tfser.errors import DataError
from tfser.evaluation import card_rows, metrics
from tfser.evaluation.recorded_runs import list_cards, load_runs
from tfser.storage import atomic_files

COLUMNS = (
    "model", "corpus", "protocol", "folds", "speaker_independent", "target", "row", "score", "mean",
    "sd", "low", "high", "wa", "majority", "svm", "paper", "paper_source", "classes", "n", "seeds",
    "flags",
    "minutes", "machine", "commits", "note", "command", "predictions",
)  # fmt: skip


def write_results(zoo: Path, results: list[dict]) -> None:
    """Write zoo/results.csv from the rows of `list_results`.

    low and high are the ends of the 95 % interval, shares as the other scores. svm is the score of
    the SVM on the same folds: of the row that trains on the dev parts, too. Empty cells are not
    known. The paper's figure is that of zoo/paper.csv, with the same model, corpus, protocol and
    system.
    """
    atomic_files.write_csv(zoo / "results.csv", results)


def list_results(zoo: Path) -> list[dict]:
    """Return the rows of zoo/results.csv, from the JSON files of all cards."""
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
        results += [_describe(row, rows, baselines, papers) for row in rows]
    return results


def _describe(row, rows, baselines, papers) -> dict:
    scores, processes = row.scores, row.entry["processes"]
    main, second = metrics.headline_scores(scores)
    paper = papers.get((scores["model"], scores["corpus"], scores["protocol"], row.system), {})
    plain = [other for other in baselines if "without dev" not in other.system]
    svm = card_rows.find_baseline(row, plain)
    low, high = card_rows.score_interval(row) or ("", "")
    minutes = card_rows.count_minutes(row)
    values = (
        scores["model"], scores["corpus"], scores["protocol"], scores["folds"],
        "yes" if scores["speaker_independent"] else "no", scores.get("flags", {}).get("target", ""),
        row.name, main, row.values[main]["mean"], row.values[main]["sd"], low, high,
        row.values[second]["mean"] if second == "wa" else "",
        card_rows.find_majority(row, [*rows, *baselines]),
        svm.values["uar"]["mean"] if svm and main == "uar" else "",
        paper.get("value", ""), paper.get("source", ""),
        len(scores.get("classes", ())), scores["n"], scores["seeds"],
        " ".join(f"{k}={v}" for k, v in scores.get("flags", {}).items() if k != "target"),
        "" if minutes is None else round(minutes, 1), card_rows.machine_of(row),
        " ".join(dict.fromkeys(process["git_commit"] or "unknown" for process in processes)),
        row.entry["note"], row.entry["command"], row.entry.get("predictions", ""),
    )  # fmt: skip
    rounded = (round(v, 6) if isinstance(v, float) else "" if v is None else v for v in values)
    return dict(zip(COLUMNS, rounded, strict=True))


# Rows of the README: the result of each system, or what its paper compares, not the best ones.
OVERVIEW = (
    ("encoder", "emodb", 535, ("loso", 10), "encoder"),
    ("encoder", "ravdess", 1440, ("loso", 24), "encoder"),
    ("epr", "emodb", 535, ("paper", 10), "VGG*3"), ("epr", "emodb", 535, ("loso", 10), "VGG*3"),
    ("epr", "ravdess", 1440, ("paper", 4), "VGG*3"), ("epr", "ravdess", 1440, ("loso", 4), "VGG*3"),
    ("aae", "emodb", 535, ("loso", 10), "UTT + Base"),
    ("aae", "emodb", 535, ("loso", 10), "UTT + AAE Optimized"),
    ("aae", "ravdess", 1440, ("loso", 24), "UTT + Base"),
    ("aae", "ravdess", 1440, ("loso", 24), "UTT + AAE Optimized"),
    ("acnn", "ravdess", 672, ("paper", 5), "BL"), ("acnn", "ravdess", 672, ("paper", 5), "Li"),
    ("auxvae", "emodb", 535, ("loso", 10), "mel"), ("auxvae", "emodb", 535, ("loso", 10), "m"),
    ("began", "emodb", 535, ("paper", 10), "untrained encoder + head"),
    ("began", "emodb", 535, ("paper", 10), "BEGAN + head"),
    ("began", "ravdess", 552, ("paper", 24), "untrained encoder + head"),
    ("began", "ravdess", 552, ("paper", 24), "BEGAN + head"),
)  # fmt: skip
START, END = "<!-- results -->\n", "<!-- end of results -->"


def write_overview(zoo: Path, results: list[dict]) -> None:
    """Write the table of results between two marks of the README beside zoo/, where it has them."""
    readme = zoo.with_name("README.md")
    if not readme.exists() or START not in (text := readme.read_text(encoding="utf-8")):
        return
    head, _, rest = text.partition(START)
    _, mark, tail = rest.partition(END)
    if not mark:
        raise DataError(f"{readme} has no {END} after {START.strip()}; add it below the table")
    atomic_files.write_text(readme, head + START + format_overview(results) + END + tail)


def format_overview(results: list[dict]) -> str:
    """Format the rows OVERVIEW as Markdown: UAR in percent, beside the SVM on the same folds."""
    titles = ("system", "row", "corpus", "protocol", "classes", "UAR", "95 % interval", "SVM",
              "paper", "seeds", "minutes")  # fmt: skip
    found = {}
    for row in results:
        place = row["model"], row["corpus"], row["n"], (row["protocol"], row["folds"])
        found.setdefault((*place, row["row"].partition(", ")[0]), row)
    lines = []
    for place in OVERVIEW:
        row = found[place]
        seen = "unseen speakers" if row["speaker_independent"] == "yes" else "speaker-dependent"
        uar = f"{100 * row['mean']:.1f}"
        if row["seeds"] > 1:
            uar += f" ± {100 * row['sd']:.1f}"
        ends = f"{100 * row['low']:.1f} to {100 * row['high']:.1f}" if row["low"] != "" else ""
        lines.append(
            (
                f"[`{row['model']}`](zoo/{row['model']}/README.md)", row["row"], row["corpus"],
                f"{row['protocol']}, {row['folds']} folds ({seen})", str(row["classes"]), uar, ends,
                f"{100 * row['svm']:.1f}" if row["svm"] != "" else "",
                f"{100 * float(row['paper']):.1f}" if row["paper"] else "", str(row["seeds"]),
                f"{row['minutes']:.0f}" if row["minutes"] != "" else "",
            )
        )  # fmt: skip
    return (
        "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, ["---"] * len(titles), *lines))
        + "\n"
    )
