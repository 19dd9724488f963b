"""tfser-train in processes of their own, which end with the one that started them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tfser.storage import run_directory

POLL_SECONDS = 1.0
PARENT = "TFSER_PARENT"  # the variable that tells a child who has started it
PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>


def run_training(arguments: list[str], folder: Path, stops=lambda: False) -> tuple[int, str, str]:
    """tfser-train in a process of its own, in `folder`: (exit code, its stdout, its error).

    Its stderr is <folder>.txt. It is stopped where `stops()`, and where this process is.
    """
    run_directory.wait_until_free(
        folder
    )  # what was killed may leave its child at work there for a moment
    command = [sys.executable, "-m", "tfser.cli.train", *arguments, "--workdir", str(folder)]
    errors = folder.with_name(f"{folder.name}.txt")
    stopped = False
    with open(errors, "w") as stderr:
        # A session of its own: a terminal's Ctrl-C would reach it twice, from there and from here.
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
            env=os.environ | {PARENT: str(os.getpid())},
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
                process.terminate()  # it writes its checkpoint
                process.wait()
    code = process.returncode
    if code in (130, -signal.SIGINT, -signal.SIGTERM) and not stopped:
        raise KeyboardInterrupt
    lines = errors.read_text(errors="replace").splitlines()
    said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if code == -signal.SIGKILL:
        said = ["killed by SIGKILL, as where memory is used up"]
    return code, out, said[-1] if said else f"exit code {code}, see {errors}"


def end_with_parent() -> None:
    """Called by a command: where `child` has started it and is killed, it gets SIGTERM (Linux).

    The command asks for it itself: what Popen's preexec_fn does, a signal may fall into.
    """
    parent = os.environ.pop(PARENT, None)
    if parent and sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):  # it was killed before
            os.kill(os.getpid(), signal.SIGTERM)
