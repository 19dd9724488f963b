"""Apache Spark (`--spark`): a session that ends with the command, and what its workers call."""

import contextlib
import importlib.util
import logging
import os
import re
import shutil
import signal
import socket
import sys
import time
from pathlib import Path

from tfser.errors import TfserError, UsageError, did_you_mean

log = logging.getLogger("tfser")

ATTEMPTS = 4  # Spark's default for clusters; on one machine it would try a task once
SETTLED_SECONDS = 10.0
ANSWER_SECONDS = 5.0
MASTER = re.compile(r"local(\[(\*|[1-9]\d*)(, *\d+)?\])?|spark://\S+:\d+|(k8s|mesos)://\S+|yarn")
# In what Spark says of a job, with Java's stack: workers that died; what Python raised; else why.
LOST = re.compile(
    "ExecutorLostFailure|worker exited unexpectedly|Connection reset|Broken pipe|OutOfMemoryError"
)
RAISED = re.compile(r"Traceback \(most recent call last\):\n(?:[ \t].*\n)*(\S.*)")
REASON = re.compile(r"most recent failure: .*?\(TID \d+\) \(.*?\): (.*)")


def check_master(master: str) -> None:
    """Raises UsageError where tasks cannot be run on `master`, before any work.

    TfserError where no master answers: Spark would try for a minute.
    """
    if not MASTER.fullmatch(master):
        near = did_you_mean(master, ["local[2]", "local[*]", "yarn", "spark://host:7077"])
        raise UsageError(
            f"--spark {master} is no master{near}; such as local[2], spark://host:7077"
        )
    if importlib.util.find_spec("pyspark") is None:
        raise UsageError("--spark needs PySpark: pip install 'tfser[spark]'")
    home = os.environ.get("JAVA_HOME")
    if not shutil.which(Path(home, "bin", "java") if home else "java"):
        at = f" (there is none in JAVA_HOME={home})" if home else ""
        raise UsageError(
            f"--spark needs Java{at}: apt install openjdk-17-jre-headless, or your system's package"
        )
    if master.startswith("spark://"):
        _check_answers(master)


def _check_answers(master: str) -> None:
    """Raises TfserError where none of the masters of spark://host:port,host:port is there."""
    for place in master.removeprefix("spark://").split(","):
        host, _, port = place.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), port), ANSWER_SECONDS).close()
            return
        except OSError as error:
            reason = error.strerror or "no answer"
    raise TfserError(
        f"--spark {master}: no master answers there ({reason}); start it, or correct the address"
    )


@contextlib.contextmanager
def open_session(master: str, n_tasks: int, what: str, errors: Path):
    """Yields (SparkSession, how many tasks run at once); what Java has to say goes to `errors`."""
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    local = re.fullmatch(r"local(?:\[([^,]+)\])?", master)
    url = f"local[{local[1] or 1},{ATTEMPTS}]" if local else master
    options = {"spark.ui.enabled": False, "spark.ui.showConsoleProgress": False}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    spark = None

    def interrupt(*_):
        stop_session(
            spark
        )  # its tasks too; Spark's own handler leaves those that are just starting
        raise KeyboardInterrupt

    try:
        try:
            with _stderr_in(errors):
                builder = SparkSession.builder.master(url).appName("tfser")
                spark = builder.config(map=options).getOrCreate()
        except Exception:
            raise TfserError(f"--spark {master}: Spark did not start, see {errors}") from None
        for number in handlers:
            signal.signal(number, interrupt)
        n_at_once = _n_at_once(spark.sparkContext, wait=not local)
        if n_tasks < n_at_once:
            log.warning(
                "--spark %s: %d at a time instead of %d (%s: %d)",
                *(master, n_tasks, n_at_once, what, n_tasks),
            )
        yield spark, min(n_at_once, n_tasks)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if spark:
            stop_session(spark)


def _n_at_once(context, *, wait: bool) -> int:
    """How many tasks run at once; `wait` until no more workers of a cluster have come for a while.

    They come one after the other, seconds after the session is there.
    """
    found, since = context.defaultParallelism, time.monotonic()
    while wait and time.monotonic() - since < SETTLED_SECONDS:
        time.sleep(0.5)
        if (now := context.defaultParallelism) != found:
            found, since = now, time.monotonic()
    return found


@contextlib.contextmanager
def _stderr_in(file: Path):
    """What is started inside has `file` as its stderr, for good; it is added to what is there."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with open(file, "a") as errors:
        os.dup2(errors.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def stop_session(spark) -> None:
    """Ends a session and its tasks, also where Java has ended before."""
    with contextlib.suppress(Exception):
        spark.stop()


def is_alive(spark) -> bool:
    """Whether a session can still be given tasks."""
    try:
        spark.sparkContext.parallelize([0])
        return True
    except Exception:
        return False


def is_worker_loss(error: Exception) -> bool:
    """Whether a job has failed since the workers of its task have died, ATTEMPTS times."""
    return not RAISED.search(str(error)) and bool(LOST.search(str(error)))


def failure_reason(error: Exception) -> str:
    """Why a job has failed, in a line, of all that Spark says."""
    if is_worker_loss(error):
        return f"the worker was lost {ATTEMPTS} times, as where memory is used up"
    found = RAISED.search(str(error)) or REASON.search(str(error))
    return found[1] if found else str(error).strip().partition("\n")[0]


def current_place() -> tuple[str, dict]:
    """Where a command runs, for `answer`."""
    names = [name for name in os.environ if name.startswith("TFSER_")] + ["OMP_NUM_THREADS"]
    return os.getcwd(), {name: os.environ[name] for name in names if name in os.environ}


def run_in_place(place, function, *arguments) -> tuple:
    """What a worker does, at a place of `here`: (what a function returns, the error it raises)."""
    folder, variables = place
    os.chdir(folder)
    os.environ.pop("OMP_NUM_THREADS", None)  # Spark sets it to 1: other sums than without Spark
    os.environ.update(variables)
    try:
        return function(*arguments), None
    except (Exception, KeyboardInterrupt) as error:  # who stops a child means the whole command
        return None, error
