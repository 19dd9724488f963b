"""The results of a run as text: a line for each system, statistics, and the RESULT line."""

import re
from pathlib import Path

from tfser.evaluation import metrics

MOST_SPEAKERS = 10  # that are printed, those with the lowest UAR
MOST_CLASSES = 12  # of a confusion matrix that fits into a terminal


def print_results(scores: dict, folder: Path) -> None:
    """Print the results on stdout; the last line is for grep: words name=value."""
    names = metrics.headline_scores(scores)
    of_classes = names[0] == "uar"

    def shown(value, decimals=1):
        return f"{100 * value:.{decimals}f}" if of_classes else f"{value:.{decimals + 2}f}"

    width = max(8, *(len(name) for name in scores["systems"]))
    for system, values in scores["systems"].items():
        titles = ["UAR", "WA"] if of_classes else ["CCC arousal", "valence"]
        line = "  ".join(
            f"{title} {shown(values[name]['mean']):>5}{' %' * of_classes}"
            for title, name in zip(titles, names, strict=True)
        )
        if scores["seeds"] > 1:
            spreads = "; ".join(
                f"{title} sd {shown(values[name]['sd'])}, {shown(values[name]['min'])} to "
                f"{shown(values[name]['max'])}"
                for title, name in zip(titles, names, strict=True)
            )
            line += f"  ({scores['seeds']} seeds: {spreads})"
        if "majority" in scores:
            line += f"  commonest class {shown(scores['majority'])} %"
        print(f"{system:<{width}} {line}")
    if statistics := scores.get("statistics"):
        format_one = format_statistics if of_classes else format_rating_statistics
        print(format_one(list(statistics.values())[-1]))
    print(f"results, predictions and pictures: {folder}")
    independent = "yes" if scores["speaker_independent"] else "no"
    print(
        f"RESULT model={scores['model']} corpus={_one_word(scores['corpus'])} "
        f"protocol={scores['protocol']} "
        f"speaker_independent={independent} "
        + " ".join(f"{name}={scores[name]:.4f}" for name in (*names, "majority") if name in scores)
        + f" n={scores['n']} folds={scores['folds']} seeds={scores['seeds']}"
        + "".join(f" {name}={value:.4f}" for name, value in _interval(scores).items())
        + "".join(f" {_one_word(name)}={value}" for name, value in scores["flags"].items())
    )


def format_statistics(statistics: dict) -> str:
    """Format the statistics of `run_statistics.describe_predictions` for a terminal."""
    low, high = statistics["uar_interval"]
    n, over = statistics["n_speakers"], _describe_draws(statistics)
    lines = [
        f"UAR, 95 % interval: {100 * low:.1f} to {100 * high:.1f} % (bootstrap over {over})",
        *_format_classes(statistics),
    ]
    if n > 1:
        worst = list(statistics["uar_by_speaker"].items())[:MOST_SPEAKERS]
        shown = ", ".join(f"{speaker} {100 * uar:.1f}" for speaker, uar in worst)
        lines.append(f"UAR by speaker, lowest first, %: {shown}{', ...' * (n > MOST_SPEAKERS)}")
    if gap := statistics.get("gender_gap"):
        women, men = (100 * uar for uar in statistics["uar_by_gender"].values())
        low, high = (100 * end for end in gap["interval"])
        lines.append(
            f"UAR of women {women:.1f} %, of men {men:.1f} %: difference {100 * gap['uar']:+.1f} "
            f"({low:+.1f} to {high:+.1f}), permutation test p = {gap['permutation_p']:.3f}"
        )
    if calibration := statistics.get("calibration"):
        lines.append(
            f"calibration error (ECE) {calibration['ece']:.3f}, Brier score "
            f"{calibration['brier']:.3f}"
        )
    return "\n".join(lines)


def format_rating_statistics(statistics: dict) -> str:
    """Format the statistics of a system's attributes, see `rating_statistics.describe_ratings`."""
    lines = []
    for attribute, found in statistics.items():
        parts = [
            f"{title} {found[name]['mean']:.3f} ({found[name]['interval'][0]:.3f} to "
            f"{found[name]['interval'][1]:.3f})"
            for title, name in (("CCC", "ccc"), ("Pearson", "pearson"), ("RMSE", "rmse"))
        ]
        draws = f"95 % intervals (bootstrap over {_describe_draws(found)})"
        lines.append(f"{attribute}, {draws}: {', '.join(parts)}")
    return "\n".join(lines)


def _describe_draws(statistics: dict) -> str:
    """Describe what a bootstrap draws: "10 speakers"."""
    if statistics["interval_over"] == "speakers":
        return f"{statistics['n_speakers']} speakers"
    return "utterances of 1 speaker"


def _format_classes(statistics: dict) -> list[str]:
    """Format recall, precision and the counts of the confusion matrix, a line for each class."""
    names, matrix = list(statistics["recall"]), statistics["confusion"]
    counted = len(names) <= MOST_CLASSES
    rows = [["class", "recall %", "precision %", *(["predicted:", *names] if counted else [])]]
    for name, counts in zip(names, matrix, strict=True):
        shares = (statistics[kind][name] for kind in ("recall", "precision"))
        cells = ["-" if share is None else f"{100 * share:.1f}" for share in shares]
        rows.append([name, *cells, *(["", *map(str, counts)] if counted else [])])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        )
        for row in rows
    ]


def _interval(scores: dict) -> dict:
    """Return the ends of the 95 % intervals of the run's UAR or CCCs, {} in runs made before."""
    if not scores.get("statistics"):
        return {}
    statistics = list(scores["statistics"].values())[-1]
    if "uar_interval" in statistics:
        ends = {"uar": statistics["uar_interval"]}
    else:
        ends = {f"ccc_{name}": found["ccc"]["interval"] for name, found in statistics.items()}
    return {
        f"{name}_{end}": value
        for name, interval in ends.items()
        for end, value in zip(("low", "high"), interval, strict=True)
    }


def _one_word(name: str) -> str:
    """Replace the blanks and "=" in a name of the user's: a table's or a speaker's."""
    return re.sub(r"[\s=]+", "_", name)
