"""tfser-serve: a page on this machine that recognizes the emotion of a recording."""

import argparse
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from tfser.cli import base
from tfser.errors import UsageError
from tfser.inference.finished_run import check_folder, load_run
from tfser.inference.web_page import LOOPBACK, open_page
from tfser.storage.preset import find_preset

EPILOG = """\
The page is for this machine alone unless --host gives another address. It takes recordings of up
to 5 minutes and 25 MB, 500 MB of all together. An upload is deleted with its answer, or after ten
minutes without a request; answers stay in memory while their tab is open. The page reads no other
file and no URL, and answers requests to --host or to this machine alone, whatever other name leads
here.

exit codes: 0 done, 1 failed, 2 usage, 3 an export cannot be read, 4 a run is not finished, 130
ended by Ctrl-C.

example: tfser-serve --preset epr_emodb --export my-export
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of tfser-serve."""
    p = base.Parser("tfser-serve", __doc__.partition(": ")[2], EPILOG)
    p.add_argument("--export", type=Path, nargs="+", default=[], metavar="DIR",
                   help="folders of tfser-export, or run directories")  # fmt: skip
    p.add_argument("--preset", nargs="+", default=[], metavar="NAME",
                   help="trained systems that are installed with tfser")  # fmt: skip
    p.add_argument(
        "--host", default=LOOPBACK[0], help="address to listen at (default: this machine alone)"
    )
    p.add_argument("--port", type=int, default=7860, metavar="N", help="(default: 7860)")
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return p


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Options of tfser-serve."""

    export: tuple[Path, ...] = ()
    preset: tuple[str, ...] = ()
    host: str = LOOPBACK[0]
    port: int = 7860
    debug: bool = False


def main(argv=None) -> int:
    """Run the command and return its exit code."""
    options = base.parse(parser(), argv, ServeOptions)
    return base.run_command(serve, options, interrupted="the page is closed")


def serve(options: ServeOptions) -> None:
    """Open the page and wait for an interrupt."""
    folders = [*(find_preset(name).folder for name in options.preset), *options.export]
    if not folders:
        raise UsageError("nothing to serve: give --preset or --export")
    for folder in folders:  # before TensorFlow is imported
        check_folder(folder)
        if not (folder / "tfser.json").exists():
            load_run(folder)
    with open_page(folders, options.host, options.port) as url:
        print(f"{url} (Ctrl-C ends it)", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
