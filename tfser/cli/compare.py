"""tfser-compare: compares runs on their common utterances, with intervals and tests."""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path

from tfser.cli import base
from tfser.errors import UsageError

log = logging.getLogger("tfser")

EPILOG = """\
A run that has several systems (epr) takes part with its result; RUN:SYSTEM names another one.

Of each pair: the difference of UAR with a 95 % interval (paired bootstrap over speakers) and
McNemar's exact test, adjusted by Holm for all pairs. A warning names what forbids a conclusion.

exit codes: 0 done, 2 usage, 3 a run is not finished or cannot be compared, 4 --out exists or cannot
be written.

example: tfser-compare runs/svm-emodb-loso runs/epr-emodb-loso --out emodb-comparison
"""


def parser():
    """Return the parser of tfser-compare."""
    p = base.Parser("tfser-compare", __doc__.partition(": ")[2], EPILOG)
    p.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="finished run directories, or files of predictions in zoo/ (.npz); two or more",
    )
    p.add_argument("--out", type=Path, metavar="DIR", help="new folder for compare.csv, compare.md "
                   "and compare.html, a page with pictures")  # fmt: skip
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return p


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Options of tfser-compare."""

    runs: tuple[str, ...]
    out: Path | None = None
    debug: bool = False


def main(argv=None) -> int:
    """Run the command and return its exit code."""
    options = base.parse(parser(), argv, CompareOptions)
    return base.run_command(compare_runs, options, interrupted="nothing is written")


def compare_runs(options: CompareOptions) -> None:
    """Print the tables, and write them with --out."""
    if len(options.runs) < 2:
        raise UsageError("give two runs or more")
    if options.out:
        base.check_new(options.out)
    from tfser.evaluation import comparison, comparison_report
    from tfser.evaluation.run_predictions import load_predictions
    from tfser.evaluation.stored_predictions import load_stored

    runs = []
    for name in options.runs:
        place, system = find_run(name)
        load = load_stored if place.suffix == ".npz" and not place.is_dir() else load_predictions
        runs.append(load(place, system))
    found = comparison.compare(runs)
    for warning in found.warnings:
        log.warning("%s", warning)
    print(comparison_report.format_text(found))
    if options.out:
        write_comparison(options.out, found, runs)


def find_run(name: str) -> tuple[Path, str | None]:
    """Split RUN:SYSTEM into the folder and the system, None where none is named."""
    if Path(name).exists() or ":" not in name:
        return Path(name), None
    folder, _, system = name.rpartition(":")
    return Path(folder), system


def write_comparison(out: Path, found, runs) -> None:
    """Write compare.csv, compare.md and compare.html into a new folder."""
    import numpy as np

    from tfser.evaluation import comparison_report, metrics
    from tfser.plots import figures
    from tfser.plots.intervals import draw_intervals
    from tfser.storage import atomic_files

    names = [score.name for score in found.scores]
    title = f"{found.n} utterances of {found.n_speakers} speakers"
    drawn = {
        "UAR of each system": draw_intervals(
            names, [s.uar for s in found.scores], [s.interval for s in found.scores], title
        )
    }
    if found.differences:
        drawn["Difference of UAR for each pair"] = draw_intervals(
            [f"{d.first} - {d.second}" for d in found.differences],
            [d.uar for d in found.differences],
            [d.interval for d in found.differences],
            title,
            label="difference of UAR",
            chance=0,
        )
    for run, name in zip(runs, names, strict=True):
        matrix = sum(metrics.confusion_matrix(run.y, p, len(run.classes)) for p in run.p)
        drawn[f"Confusions of {name}"] = figures.draw_confusion_matrix(
            np.asarray(matrix), run.classes, f"{name}, {len(run.p)} seed{'s' * (len(run.p) > 1)}"
        )
    pictures = {caption: figures.encode_png(figure) for caption, figure in drawn.items()}
    atomic_files.write_csv(out / "compare.csv", comparison_report.list_rows(found))
    atomic_files.write_bytes(out / "compare.md", comparison_report.format_markdown(found).encode())
    page = comparison_report.format_html(found, pictures)
    atomic_files.write_bytes(out / "compare.html", page.encode())
    log.info("tables and pictures: %s", out)


if __name__ == "__main__":
    sys.exit(main())
