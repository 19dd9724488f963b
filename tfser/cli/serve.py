"""tfser-serve: a page on this machine that recognizes the emotion of a recording."""

import argparse
import sys
import threading
from pathlib import Path

from tfser.cli import base
from tfser.inference.web_page import LOOPBACK, open_page

EPILOG = """\
The page is for this machine alone unless --host says otherwise. It takes recordings of 5 minutes
and 25 MB at most. What it is sent is deleted with the answer, or after ten minutes if nobody asks;
answers stay in memory while their tab is open. It reads no other file and no address.

exit codes: 0 done, 1 failed, 2 usage, 3 an export cannot be read, 4 a run is not finished, 130
ended by Ctrl-C.

example: tfser-serve --export epr-emodb acnn-ravdess
"""


def parser() -> argparse.ArgumentParser:
    """The flags of tfser-serve."""
    p = base.Parser("tfser-serve", __doc__.partition(": ")[2], EPILOG)
    p.add_argument("--export", type=Path, nargs="+", required=True, metavar="DIR",
                   help="folders of tfser-export, or runs; the page offers them all")  # fmt: skip
    p.add_argument("--host", default=LOOPBACK[0], help="address to listen at (default: loopback)")
    p.add_argument("--port", type=int, default=7860, metavar="N", help="(default: 7860)")
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return p


def main(argv=None) -> int:
    """Runs the command and returns its exit code."""
    return base.run_command(serve, parser().parse_args(argv), interrupted="the page is closed")


def serve(args) -> None:
    """Opens the page, and waits until it is interrupted."""
    with open_page(args) as url:
        print(f"{url} (Ctrl-C ends it)", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
