"""Model cards: the tables of zoo/<model>/README.md, in Markdown."""

from pathlib import Path

from tfser.errors import DataError
from tfser.evaluation import card_rows, card_tests, metrics

SCORES = ("uar", "wa", "macro_f1", "fold_uar", "fold_wa")  # of every paper
PLACES = ("protocol", "target", "utterances")  # columns of `card_rows.place_of`
WITH_RANGE = ("acnn",)  # models whose paper has the least and the greatest of its runs


def split_card(card: Path, corpus: str) -> tuple[str, str]:
    """Return the card's text up to <!-- corpus --> and from <!-- end -->.

    A corpus without these lines gets them in a section below the last table, before the next
    chapter. Raises DataError where there is no card, or a line without the other.
    """
    start, end = f"<!-- {corpus} -->\n", "<!-- end -->"
    if not card.is_file():
        raise DataError(f"there is no card {card}; write it, with the lines {start.strip()} {end}")
    text = card.read_text(encoding="utf-8")
    if start not in text:
        above, mark, below = text.rpartition(end)
        chapter = below.find("\n## ") if mark else -1
        place = len(above + mark) + (chapter if chapter >= 0 else len(below))
        section = f"\n### {corpus}\n\n{start}{end}\n"
        text = text[:place].rstrip("\n") + "\n" + section + text[place:]
    head, _, rest = text.partition(start)
    _, mark, tail = rest.partition(end)
    if not mark:
        raise DataError(f"{card} has no {end} after {start.strip()}; add it below the table")
    return head + start, end + tail


def format_table(entries: list[dict], baseline: list[dict] = ()) -> str:
    """Format joined runs as Markdown: a row for each system of each run, commands, tests.

    Classes are in percent; ratings, which have different scores, have a table of their own below.

    baseline: joined runs of the SVM on the same corpus.
    """
    corpus = entries[0]["scores"]["corpus"]
    kinds = {}
    for row in card_rows.list_rows(entries):
        kinds.setdefault(metrics.headline_scores(row.scores), []).append(row)
    baselines = card_rows.list_rows(list(baseline))
    links = f"From [{corpus}.json]({corpus}.json)"
    if any(list_t_tests(rows) for rows in kinds.values()):
        links += (
            "; t-tests of each row against each, one-tailed and not adjusted: "
            f"[{corpus}.tests.csv]({corpus}.tests.csv)"
        )
    return f"{links}:\n" + "".join(_format_rows(rows, baselines) for rows in kinds.values())


def _format_rows(rows: list, baselines: list) -> str:
    """Format rows with the same headline scores: a table, the commands, the tests.

    The paper's own scores have columns, the commonest class has one where runs have counted it, and
    so have the protocol and the target where there are several.
    """
    headline = metrics.headline_scores(rows[0].scores)
    has_classes = headline[0] == "uar"
    own = sorted({key for row in rows for key in row.values} - {*SCORES, *headline})
    if "f0_5_of_batches" in own:  # BEGAN's table 2 has an F-score, and does not say which
        own.insert(0, "macro_f1")
    places = [card_rows.place_of(row.scores) for row in rows]
    mixed = [i for i in range(len(PLACES)) if len({place[i] for place in places}) > 1]
    ranged = rows[0].scores["model"] in WITH_RANGE
    majorities = [card_rows.find_majority(row, [*rows, *baselines]) for row in rows]
    has_majority = any(majorities)
    ends_of = [format_interval(card_rows.score_interval(row), has_classes) for row in rows]
    has_intervals = any(ends_of)
    first, *others = map(_title, headline)
    titles = ["row", *(PLACES[i] for i in mixed), first]
    titles += ["95 % interval"] * has_intervals + [*["min", "max"] * ranged, *others]
    titles += ["commonest class"] * has_majority + ["fold UAR, mean ± sd"] * has_classes
    titles += [*map(_title, own), "minutes", "machine"]
    format_score = _format_percent if has_classes else _format_plain
    lines = []
    for row, place, interval, majority in zip(rows, places, ends_of, majorities, strict=True):
        values, several = row.values, row.scores["seeds"] > 1
        first, *others = (format_score(values[key], spread=several) for key in headline)
        main = values[headline[0]]
        ends = [format_score(main | {"mean": main[key]}) for key in ("min", "max")]
        minutes = card_rows.count_minutes(row)
        lines.append(
            [
                *(row.name, *(place[i] for i in mixed), first),
                *[interval] * has_intervals,
                *ends * ranged,
                *others,
                *["" if majority is None else f"{100 * majority:.1f}"] * has_majority,
                *([_format_percent(values["fold_uar"], spread=True)] if has_classes else []),
                *(
                    format_score(values[key], spread=several) if key in values else ""
                    for key in own
                ),
                "" if minutes is None else f"{minutes:.0f}",
                card_rows.machine_of(row),
            ]
        )
    commands = [_format_command(entry, rows) for entry in _list_entries(rows)]
    tests = _format_tests(card_tests.compare_rows(rows, baselines), headline[0], mixed)
    return "\n".join(["", *_format_lines(titles, lines), "", *commands, *tests]) + "\n"


def _list_entries(rows: list) -> list[dict]:
    return list({id(row.entry): row.entry for row in rows}.values())


def _format_command(entry: dict, rows: list) -> str:
    """Format the rows of a run, its command and what is known of it."""
    scores, processes, note = entry["scores"], entry["processes"], entry["note"]
    independent = "speaker-independent" if scores["speaker_independent"] else "speaker-dependent"
    facts = [
        f"{scores['protocol']} ({independent})",
        *scores["facts"],
        f"{scores['folds']} fold{'s' * (scores['folds'] > 1)}",
        f"{scores['n']:,} utterances",
        f"{scores['seeds']} seed{'s' * (scores['seeds'] > 1)}",
        *([note] if note else []),
        f"commit {_format_distinct(process['git_commit'] for process in processes)}",
        # A killed process has no device.
        _format_distinct(p["device"] for p in processes if "device" in p),
    ]
    names = "; ".join(row.name for row in rows if row.entry is entry)
    return f"- {names}: `{entry['command']}`: {', '.join(facts)}"


def _format_tests(pairs: list, main: str, mixed: list[int]) -> list[str]:
    """Format the tests of rows against the SVM and their predecessors."""
    pairs = [pair for pair in pairs if any(p is not None for p in pair[3:])]
    if not pairs:
        return []
    has_classes = main == "uar"
    titles = ["row", "against", *(PLACES[i] for i in mixed)]
    titles += [f"{_title(main)} difference", "95 % interval", "McNemar", "seeds", "folds"]
    lines = []
    for pair in pairs:
        place = card_rows.place_of(pair.first.scores)
        scale, decimals = (100, 1) if has_classes else (1, 3)
        lines.append(
            [
                *(pair.first.name, pair.second.name, *(place[i] for i in mixed)),
                f"{scale * pair.difference:+.{decimals}f}",
                format_interval(pair.interval, has_classes, sign="+"),
                *map(_format_probability, (pair.mcnemar, pair.of_seeds, pair.of_folds)),
            ]
        )
    return [
        "",
        "Tests of each row against the SVM of the same task and against its predecessor in the "
        "paper. Interval: paired bootstrap over speakers. Probabilities are two-sided and adjusted "
        "by Holm, each column for itself (bold: under 0.05): McNemar's exact test of the first "
        "seeds, Welch's t-test over seeds, paired t-test over folds. An empty cell: one seed, less "
        "than three folds, or a run that kept no predictions.",
        *["", *_format_lines(titles, lines)],
    ]


def list_t_tests(rows: list) -> list[dict]:
    """Return one-tailed t-tests that a row is above another one of its task, for tests.csv.

    A test over seeds says nothing about other speakers; a test over folds does, where folds leave
    speakers out. No test is adjusted for the number of tests.
    """
    tests = []
    for row in rows:
        for other in rows:
            if row is other or row.task != other.task:
                continue
            pair = card_tests.one_tailed(row, other)
            if any(p is not None for p in pair):
                protocol, target, n = card_rows.place_of(row.scores)
                tests.append(
                    {
                        "protocol": protocol,
                        "target": target,
                        "utterances": n,
                        "row": row.name,
                        "above": other.name,
                        "welch_p_over_seeds": _plain(pair[0]),
                        "paired_p_over_folds": _plain(pair[1]),
                    }
                )
    return tests


def _plain(p: float | None) -> str:
    return "" if p is None else f"{p:.4g}"


def _format_lines(titles: list[str], lines: list[list[str]]) -> list[str]:
    return [
        f"| {' | '.join(titles)} |",
        f"|{' --- |' * len(titles)}",
        *(f"| {' | '.join(cells)} |" for cells in lines),
    ]


def _title(key: str) -> str:
    words = {"uar": "UAR", "wa": "WA", "ccc": "CCC", "mse": "MSE", "f1": "F1"}
    return " ".join(words.get(word, word) for word in key.split("_"))


def format_interval(ends, in_percent: bool = True, sign: str = "") -> str:
    """Format the ends of an interval, "" for None."""
    if ends is None:
        return ""
    scale, decimals = (100, 1) if in_percent else (1, 3)
    low, high = (f"{scale * end:{sign}.{decimals}f}" for end in ends)
    return f"{low} to {high}"


def _format_plain(summary: dict, *, spread: bool = False) -> str:
    """Format mean and sd of a score that is no share, see `_format_percent`."""
    mean, sd = summary["mean"], summary["sd"]
    return f"{mean:.3f} ± {sd:.3f}" if spread and sd is not None else f"{mean:.3f}"


def _format_probability(p: float | None) -> str:
    if p is None:
        return ""
    text = "< 0.001" if p < 0.001 else f"{p:.3f}"
    return f"**{text}**" if p < 0.05 else text


def _format_percent(summary: dict, *, spread: bool = False) -> str:
    """Format the mean in percent, with `spread` also the standard deviation if there is one."""
    mean, sd = 100 * summary["mean"], summary["sd"]
    return f"{mean:.1f} ± {100 * sd:.1f}" if spread and sd is not None else f"{mean:.1f}"


def _format_distinct(values) -> str:
    """Format each value once, in the order of the processes; a wheel has no commit."""
    return ", ".join(dict.fromkeys(value or "unknown" for value in values))
