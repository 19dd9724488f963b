"""tfser-train in child processes, which end with the process that started them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tfser.storage import atomic_files, run_directory

POLL_SECONDS = 1.0
PARENT = "TFSER_PARENT"  # the environment variable with the parent's process id
IO_ENCODING = "utf-8:backslashreplace"  # of the child's stdout and stderr, whatever the locale
PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>


def run_training(arguments: list[str], folder: Path, stops=lambda: False) -> tuple[int, str, str]:
    """Run tfser-train in a child process, in `folder`; return (exit code, its stdout, its error).

    Its stderr is <folder>.txt. The child is stopped where `stops()` is true, and where this process
    is stopped.
    """
    # The child of a killed process may work on for a moment.
    run_directory.wait_until_free(folder)
    command = [sys.executable, "-m", "tfser.cli.train", *arguments, "--workdir", str(folder)]
    errors = folder.with_name(f"{folder.name}.txt")
    stopped = False
    with atomic_files.open_log(errors, "w") as stderr:
        # In a session of its own the child gets Ctrl-C once, from here, not from the terminal too.
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
            errors="backslashreplace",
            start_new_session=True,
            env=os.environ | {PARENT: str(os.getpid()), "PYTHONIOENCODING": IO_ENCODING},
        )
        try:
            while True:
                try:
                    out, _ = process.communicate(timeout=POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    if not stopped and stops():
                        stopped = True
                        process.terminate()
        finally:
            if process.poll() is None:
                process.terminate()  # the child writes its checkpoint
                process.wait()
    code = process.returncode
    if code in (130, -signal.SIGINT, -signal.SIGTERM) and not stopped:
        raise KeyboardInterrupt
    lines = errors.read_text(encoding="utf-8", errors="replace").splitlines()
    reasons = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if code == -signal.SIGKILL:
        reasons = ["killed by SIGKILL, as where memory is used up"]
    return code, out, reasons[-1] if reasons else f"exit code {code}, see {errors}"


def end_with_parent() -> None:
    """Ask Linux for a SIGTERM when the parent that called `run_training` dies; called by a command.

    The child itself asks: a signal may arrive while Popen's preexec_fn runs.
    """
    parent = os.environ.pop(PARENT, None)
    if parent and sys.platform == "linux":
        import ctypes  # not on every platform

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):  # the parent was killed before prctl
            os.kill(os.getpid(), signal.SIGTERM)
