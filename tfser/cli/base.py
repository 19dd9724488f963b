"""Console scripts: their parser, error lines, exit codes and signals."""

import argparse
import atexit
import contextlib
import logging
import os
import signal
import sys

from tfser.audio import notices
from tfser.distributed import subprocesses
from tfser.errors import ConflictError, TfserError, UsageError, did_you_mean
from tfser.storage import atomic_files, s3

log = logging.getLogger("tfser")


# Flags of other programs, and the flags that stand for them here: the first that a command has.
FLAGS_OF_OTHERS = {
    ("--epoch", "--epochs", "--max-epochs", "--n-epochs", "--num-epochs"): (
        "--set train.max_epochs=N",
    ),
    ("--lr", "--learning-rate"): ("--set train.learning_rate=X",),
    ("--batch", "--batch-size", "--bs"): ("--set train.batch_size=N",),
    ("--dropout",): ("--set model.dropout=X",),
    ("--cuda", "--device", "--devices", "--gpu", "--gpus", "--n-gpus", "--num-gpus"): (
        "--strategy",
    ),
    ("--amp", "--bf16", "--fp16", "--half"): ("--precision",),
    ("--jobs", "--n-jobs", "--num-workers", "--workers"): ("--spark",),
    ("--data", "--database", "--dataset", "--db"): ("--corpus", "--table", "--folder"),
    ("--data-dir", "--data-path", "--dataset-path", "--dataset-root", "--root"): (
        "--data-root",
        "--folder",
    ),
    ("--checkpoint", "--checkpoint-dir", "--log-dir", "--logdir", "--outdir", "--output",
     "--output-dir", "--out-dir", "--out", "--result-dir", "--save", "--save-dir"): (
        "--workdir",
        "--out",
        "--cache",
    ),
    ("--arch", "--architecture", "--network", "--system"): ("--model",),
    ("--config", "--cfg", "--params"): ("--hparams",),
    ("--cv", "--k", "--k-fold", "--k-folds", "--kfold", "--n-folds", "--n-splits"): ("--folds",),
    ("--random-seed", "--random-state"): ("--seed",),
    ("--partition", "--split", "--splits"): ("--protocol",),
    ("--label", "--labels", "--task"): ("--target",),
    ("--input", "--input-dir", "--wav-dir", "--wavs"): ("--folder",),
    ("--n-trials", "--trials"): ("--evals",),
    ("--verbose",): ("--debug",),
}  # fmt: skip


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
        words = sys.argv[1:] if args is None else list(args)
        words = words[: words.index("--")] if "--" in words else words
        flags = [flag for action in self._actions for flag in action.option_strings]
        # Before argparse, which first names the flag that stands in for the unknown one as missing.
        names = [word.partition("=")[0] for word in words if word.startswith("--")]
        unknown = [name for name in names if name not in flags]
        known = None
        if not unknown:
            known, unknown = self.parse_known_args(args, namespace)
        if unknown:
            word = unknown[0].partition("=")[0]
            self.error(f"unknown argument {word}{_name_flag(word, flags)}")
        return known

    def error(self, message):
        """Print the error in one line and end the process with exit code 2."""
        print(f"error: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(UsageError.exit_code)

    def print_help(self, file=None):
        """Print the help; a full disk behind stdout is an error, which argparse does not tell."""
        try:
            print(self.format_help(), end="", file=file or sys.stdout, flush=True)
        except OSError as error:
            _discard_stdout()
            if isinstance(error, BrokenPipeError):
                raise SystemExit(0) from None
            print(f"error: {_stdout_message(error)}", file=sys.stderr)
            raise SystemExit(TfserError.exit_code) from None


def _name_flag(word: str, flags: list[str]) -> str:
    """Return " (did you mean '--folds'?)" for the flag that stands for an unknown one, or ""."""
    for others, ours in FLAGS_OF_OTHERS.items():
        if word.lower().replace("_", "-") in others:
            for flag in ours:
                if flag.partition(" ")[0] in flags:
                    return f" (did you mean {flag!r}?)"
    return did_you_mean(word, flags)


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
    if _is_command():
        _use_utf8()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a locale may lack the characters of a name
            stream.reconfigure(errors="backslashreplace")
    code = _exit_code(function, options, interrupted)
    # A program that calls this function has an exit code of its own.
    if _is_command():
        atexit.register(s3.exit_process, code)
    return code


def _use_utf8() -> None:
    """Start this program again where Python takes names of files and texts for another encoding.

    Tables, results and the names of most files are UTF-8, whatever the locale.
    """
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _is_command() -> bool:
    spec = getattr(sys.modules["__main__"], "__spec__", None)  # of python -m tfser.cli.train
    name = spec.name if spec else os.path.basename(sys.argv[0])
    return name == "tfser" or name.startswith(("tfser.", "tfser-"))


def _exit_code(function, options, interrupted) -> int:
    if sys.stderr is None:  # closed: the next file that is opened would get its number
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)
    notices.reset()
    handler = logging.StreamHandler(sys.stderr)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        signal.signal(signal.SIGHUP, _interrupt)  # the terminal was closed
    try:
        if sys.stdout is None:
            raise TfserError("stdout is closed, and takes no results; use > FILE or > /dev/null")
        subprocesses.end_with_parent()
        function(options)
        sys.stdout.flush()
        return 0
    except KeyboardInterrupt:
        return _fail(f"interrupted; {interrupted}", 130)
    except TfserError as error:
        return _fail(str(error), error.exit_code, options.debug)
    except BrokenPipeError:  # the reader has closed the pipe: `tfser-train .. | head -1`
        _discard_stdout()
        return 0
    except OSError as error:
        if _is_of_stdout(error):
            _discard_stdout()
            return _fail(_stdout_message(error), 1, options.debug)
        has_run = hasattr(options, "workdir")
        folder = getattr(options, "workdir" if has_run else "out", None)
        where = error.filename or folder or ("the run directory" if has_run else "a temporary file")
        if error.errno in atomic_files.FULL:
            then = "the same command continues" if has_run else "give the same command again"
            message = f"disk full while writing {where}; free space, then {then}"
        else:
            message = f"{where}: {error.strerror or error}"
        return _fail(message, 1, options.debug)
    except Exception as error:
        first_line = str(error).partition("\n")[0]
        return _fail(f"{type(error).__name__}: {first_line}; --debug shows where", 1, options.debug)
    finally:
        log.removeHandler(handler)


def _is_of_stdout(error: OSError) -> bool:
    """Return whether stdout cannot be written: what it has buffered fails again."""
    if error.filename is not None:
        return False
    try:
        sys.stdout.flush()
    except OSError:
        return True
    return False


def _stdout_message(error: OSError) -> str:
    return f"stdout cannot be written: {error.strerror or error}; use > FILE on a disk with space"


def _discard_stdout() -> None:
    """Send what stdout has buffered to /dev/null: Python writes it at its end, and would fail."""
    with contextlib.suppress(OSError, ValueError):  # a test's stdout has no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def check_new(path) -> None:
    """Raise ConflictError if --out exists or cannot be written, UsageError without its folder."""
    if path.exists() or path.is_symlink():
        raise ConflictError(f"{path} exists; give another --out, or delete it")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"--out: there is no folder {path.parent}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConflictError(f"--out: the folder {path.parent} cannot be written; give another")


def _interrupt(*_):
    raise KeyboardInterrupt


def _fail(message: str, code: int, debug: bool = False) -> int:
    if debug:
        log.exception("traceback")
    if (encoding := sys.getfilesystemencoding()) != "utf-8":
        log.warning(
            "file names are read as %s, by the locale; set PYTHONUTF8=1 for UTF-8", encoding
        )
    log.error("error: %s", message)
    return code
