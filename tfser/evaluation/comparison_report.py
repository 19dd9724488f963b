"""The tables of a comparison: text for the terminal, CSV, Markdown and an HTML page."""

import base64
import html

from tfser.evaluation.comparison import Comparison
from tfser.evaluation.text_table import align

SCORES = ("system", "protocol", "seeds", "UAR %", "95 % interval", "WA %")
DIFFERENCES = ("first", "second", "UAR difference", "95 % interval", "McNemar p", "p, Holm")


def list_scores(comparison: Comparison) -> list[tuple]:
    """Return the cells of the table of scores, without its header SCORES."""
    return [
        (s.name, s.protocol, str(s.seeds), f"{100 * s.uar:.1f}", _percent(s.interval),
         f"{100 * s.wa:.1f}")
        for s in comparison.scores
    ]  # fmt: skip


def list_differences(comparison: Comparison) -> list[tuple]:
    """Return the cells of the table of pairs, without its header DIFFERENCES."""
    return [
        (d.first, d.second, f"{100 * d.uar:+.1f}", _percent(d.interval, "+"),
         _probability(d.mcnemar), _probability(d.holm))
        for d in comparison.differences
    ]  # fmt: skip


def describe(comparison: Comparison) -> str:
    """Return the sentence that says what was compared, and how."""
    return (
        f"{comparison.n} common utterances of {comparison.n_speakers} speakers. UAR: mean of the "
        f"seeds; intervals: percentile bootstrap over {comparison.over}, 10,000 draws, paired for "
        "differences. McNemar: exact, two-sided, of the first seeds; Holm: adjusted for all pairs."
    )


def format_text(comparison: Comparison) -> str:
    """Format both tables for a terminal."""
    parts = [align([SCORES, *list_scores(comparison)])]
    if comparison.differences:
        parts.append(align([DIFFERENCES, *list_differences(comparison)]))
    return "\n\n".join([*parts, describe(comparison)])


def format_markdown(comparison: Comparison) -> str:
    """Format both tables and the warnings as Markdown."""

    def table(header, rows):
        lines = [header, ["---"] * len(header), *rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    parts = [
        table(SCORES, list_scores(comparison)),
        table(DIFFERENCES, list_differences(comparison)),
        describe(comparison),
        *(f"**Warning:** {warning}." for warning in comparison.warnings),
    ]
    return "\n\n".join(parts) + "\n"


def list_rows(comparison: Comparison) -> list[dict]:
    """Return the rows of compare.csv: scores of systems, then of pairs, as shares of 1."""
    columns = ("first", "second", "protocol", "seeds", "uar", "uar_low", "uar_high", "wa",
               "mcnemar_p", "holm_p")  # fmt: skip
    rows = [
        dict.fromkeys(columns, "")
        | {"first": s.name, "protocol": s.protocol, "seeds": s.seeds, "uar": s.uar, "wa": s.wa}
        | {"uar_low": s.interval.low, "uar_high": s.interval.high}
        for s in comparison.scores
    ]
    return rows + [
        dict.fromkeys(columns, "")
        | {"first": d.first, "second": d.second, "uar": d.uar}
        | {"uar_low": d.interval.low, "uar_high": d.interval.high}
        | {"mcnemar_p": d.mcnemar, "holm_p": d.holm}
        for d in comparison.differences
    ]


def format_html(comparison: Comparison, pictures: dict[str, bytes]) -> str:
    """Format a page of its own with the tables, the warnings and pictures {caption: PNG}."""

    def table(header, rows):
        cells = ["".join(f"<th>{html.escape(cell)}</th>" for cell in header)]
        cells += ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
        return "<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"

    warnings = "".join(f"<p><b>Warning:</b> {html.escape(w)}.</p>" for w in comparison.warnings)
    images = "".join(
        f'<figure><img alt="{html.escape(caption)}" src="data:image/png;base64,'
        f'{base64.b64encode(png).decode()}"><figcaption>{html.escape(caption)}</figcaption></figure>'
        for caption, png in pictures.items()
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Comparison of runs</title>'
        "<style>body{font:16px sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
        "table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #999;padding:.3em .6em;"
        "text-align:left}img{max-width:100%}</style>"
        f"<h1>Comparison of runs</h1><p>{html.escape(describe(comparison))}</p>{warnings}"
        f"<h2>Scores</h2>{table(SCORES, list_scores(comparison))}"
        f"<h2>Pairs</h2>{table(DIFFERENCES, list_differences(comparison))}{images}</html>\n"
    )


def _percent(interval, sign="") -> str:
    return f"{100 * interval.low:{sign}.1f} to {100 * interval.high:{sign}.1f}"


def _probability(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
