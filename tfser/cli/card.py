"""tfser-card: records finished runs in zoo/<model>/<corpus>.json and in the tables of the card.

Figures get into zoo/ by this command alone: each figure comes from the scores.json of a run and
stands beside the command, versions and device of that run.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from tfser.cli import base
from tfser.config.hparams import zoo_folder
from tfser.evaluation.recorded_runs import record_run, rewrite_cards
from tfser.evaluation.results_table import list_results, write_overview, write_results
from tfser.inference.finished_run import find_runs

EPILOG = """\
A corpus that the card has no table of gets a section of its own, before the next chapter. The
predictions are kept in zoo/<model>/predictions/, so that tfser-compare and other cards can test
against them. zoo/results.csv has a row for each system of each recorded run of all models.

exit codes: 0 done, 2 usage, 3 a run is not finished, or there is no card.

example: tfser-card runs/epr-emodb-loso --note "Emo-DB, 2 s copy"
"""


def parser():
    """Return the parser of tfser-card."""
    p = base.Parser("tfser-card", __doc__.partition(": ")[2].partition("\n")[0], EPILOG)
    p.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="finished run directories; "
                   "none: write all cards and results.csv anew from the recorded runs")  # fmt: skip
    p.add_argument("--zoo", type=Path, metavar="DIR", help="folder of the cards (default: zoo/)")
    p.add_argument("--note", default="", help="remark on the copy of the corpus, for the card")
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return p


@dataclass(frozen=True, kw_only=True)
class CardOptions:
    """Options of tfser-card."""

    runs: tuple[Path, ...]
    zoo: Path | None = None
    note: str = ""
    debug: bool = False


def main(argv=None) -> int:
    """Run the command and return its exit code."""
    return base.run_command(record, base.parse(parser(), argv, CardOptions))


def record(options: CardOptions) -> None:
    """Record each run in the zoo; a folder of --target attributes holds several."""
    zoo = options.zoo or zoo_folder()
    for folder in options.runs:
        is_run = (folder / "hparams.json").exists()
        for run in [folder] if is_run else find_runs(folder) or [folder]:
            record_run(run, zoo, options.note)
    rewrite_cards(zoo)  # a new row of the SVM is tested against on other cards
    results = list_results(zoo)
    write_results(zoo, results)
    write_overview(zoo, results)


if __name__ == "__main__":
    sys.exit(main())
