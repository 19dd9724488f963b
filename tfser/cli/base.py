"""What the console scripts share: errors in one form, exit codes, a quiet start of TensorFlow."""

import argparse
import atexit
import logging
import os
import signal
import sys

from tfser.distributed import subprocesses
from tfser.errors import ConflictError, TfserError, UsageError, did_you_mean
from tfser.storage import atomic_files, s3

log = logging.getLogger("tfser")


class Parser(argparse.ArgumentParser):
    """Errors in the project's form, with the nearest flag; flags are written out."""

    def __init__(self, prog, description, epilog):
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def parse_args(self, args=None, namespace=None):
        """Refuses what is no flag, with the one that may be meant."""
        known, unknown = self.parse_known_args(args, namespace)
        if unknown:
            flags = [flag for action in self._actions for flag in action.option_strings]
            word = unknown[0].partition("=")[0]
            self.error(f"unknown argument {word}{did_you_mean(word, flags)}")
        return known

    def error(self, message):
        """Says it in one line and ends the process."""
        print(f"error: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(UsageError.exit_code)


CONTINUES = "what is finished is kept, the same command continues"


def run_command(function, args, *, interrupted=CONTINUES) -> int:
    """Calls function(args) with a log on stderr; returns the exit code.

    args: with `debug`, and `workdir` where it has one. interrupted: what is left then.
    """
    code = _exit_code(function, args, interrupted)
    if _is_command():  # and not a program that calls one, which has an exit code of its own
        atexit.register(s3.exit_process, code)
    return code


def _is_command() -> bool:
    spec = getattr(sys.modules["__main__"], "__spec__", None)  # of python -m tfser.cli.train
    name = spec.name if spec else os.path.basename(sys.argv[0])
    return name.startswith(("tfser.", "tfser-"))


def _exit_code(function, args, interrupted) -> int:
    handler = logging.StreamHandler(sys.stderr)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        signal.signal(signal.SIGHUP, _interrupt)  # the terminal was closed
    try:
        subprocesses.end_with_parent()
        function(args)
        return 0
    except KeyboardInterrupt:
        return _fail(f"interrupted; {interrupted}", 130)
    except TfserError as error:
        return _fail(str(error), error.exit_code, args.debug)
    except BrokenPipeError:  # whoever read the results has enough: `tfser-train .. | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = error.filename or getattr(args, "workdir", None) or "the run directory"
        if error.errno in atomic_files.FULL:
            message = (
                f"disk full while writing {where}; free space, then the same command continues"
            )
        else:
            message = f"{where}: {error.strerror or error}"
        return _fail(message, 1, args.debug)
    except Exception as error:
        first_line = str(error).partition("\n")[0]
        return _fail(f"{type(error).__name__}: {first_line}; --debug shows where", 1, args.debug)
    finally:
        log.removeHandler(handler)


def check_new(path) -> None:
    """Raises ConflictError where an --out exists, UsageError where its folder does not."""
    if path.exists():
        raise ConflictError(f"{path} exists; give another --out, or delete it")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--out: there is no folder {path.parent}")


def _interrupt(*_):
    raise KeyboardInterrupt


def _fail(message: str, code: int, debug: bool = False) -> int:
    if debug:
        log.exception("traceback")
    log.error("error: %s", message)
    return code
