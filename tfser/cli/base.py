"""Console scripts: their parser, error lines, exit codes and signals."""

import argparse
import atexit
import logging
import os
import signal
import sys

from tfser.audio import notices
from tfser.distributed import subprocesses
from tfser.errors import ConflictError, TfserError, UsageError, did_you_mean
from tfser.storage import atomic_files, s3

log = logging.getLogger("tfser")


class Parser(argparse.ArgumentParser):
    """Parser whose errors are one line with the nearest flag; flags are not abbreviated."""

    def __init__(self, prog, description, epilog):
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def parse_args(self, args=None, namespace=None):
        """Parse the flags; refuse an unknown flag and name the nearest one."""
        known, unknown = self.parse_known_args(args, namespace)
        if unknown:
            flags = [flag for action in self._actions for flag in action.option_strings]
            word = unknown[0].partition("=")[0]
            self.error(f"unknown argument {word}{did_you_mean(word, flags)}")
        return known

    def error(self, message):
        """Print the error in one line and end the process with exit code 2."""
        print(f"error: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(UsageError.exit_code)


CONTINUES = "what is finished is kept, the same command continues"


def parse(p: argparse.ArgumentParser, argv, options_class):
    """Parse flags into a frozen dataclass that has a field for each flag."""
    values = vars(p.parse_args(argv))
    return options_class(
        **{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    )


def run_command(function, options, *, interrupted=CONTINUES) -> int:
    """Call function(options) with a log on stderr and return the exit code.

    Args:
        options: a dataclass with `debug`, and with `workdir` if the command has that flag.
        interrupted: the end of the message after Ctrl-C: the state of the results.
    """
    code = _exit_code(function, options, interrupted)
    # A program that calls this function has an exit code of its own.
    if _is_command():
        atexit.register(s3.exit_process, code)
    return code


def _is_command() -> bool:
    spec = getattr(sys.modules["__main__"], "__spec__", None)  # of python -m tfser.cli.train
    name = spec.name if spec else os.path.basename(sys.argv[0])
    return name.startswith(("tfser.", "tfser-"))


def _exit_code(function, options, interrupted) -> int:
    notices.reset()
    handler = logging.StreamHandler(sys.stderr)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        signal.signal(signal.SIGHUP, _interrupt)  # the terminal was closed
    try:
        subprocesses.end_with_parent()
        function(options)
        return 0
    except KeyboardInterrupt:
        return _fail(f"interrupted; {interrupted}", 130)
    except TfserError as error:
        return _fail(str(error), error.exit_code, options.debug)
    except BrokenPipeError:  # the reader has closed the pipe: `tfser-train .. | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = error.filename or getattr(options, "workdir", None) or "the run directory"
        if error.errno in atomic_files.FULL:
            message = (
                f"disk full while writing {where}; free space, then the same command continues"
            )
        else:
            message = f"{where}: {error.strerror or error}"
        return _fail(message, 1, options.debug)
    except Exception as error:
        first_line = str(error).partition("\n")[0]
        return _fail(f"{type(error).__name__}: {first_line}; --debug shows where", 1, options.debug)
    finally:
        log.removeHandler(handler)


def check_new(path) -> None:
    """Raise ConflictError if an --out exists, UsageError if its folder does not."""
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
