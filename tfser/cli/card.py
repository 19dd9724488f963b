"""tfser-card: records finished runs in zoo/<model>/<corpus>.json and in the tables of the card.

The only way a figure gets into zoo/: each comes from the scores.json that a run wrote, and stands
beside that run's command, versions and device.
"""

import argparse
import sys
from pathlib import Path

from tfser.config.hparams import hparams_folder
from tfser.errors import TfserError
from tfser.evaluation.model_card import record_run


def main(argv=None) -> int:
    """Runs the command and returns its exit code."""
    parser = argparse.ArgumentParser(prog="tfser-card", description=__doc__.partition(": ")[2])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="finished run directory")
    parser.add_argument("--zoo", type=Path, help="folder of the cards (default: the project's)")
    parser.add_argument("--note", default="", help="what a reader must know of the corpus's copy")
    args = parser.parse_args(argv)
    zoo = args.zoo or zoo_folder()
    try:
        for folder in args.runs:
            record_run(folder, zoo, args.note)
    except TfserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def zoo_folder() -> Path:
    """Where the cards are: beside hparams/ in a checkout, inside the package in a wheel."""
    folder = Path(hparams_folder())
    return folder.with_name("_zoo" if folder.name == "_hparams" else "zoo")


if __name__ == "__main__":
    sys.exit(main())
