"""Apache Spark (`--spark`): a session that ends with the command, and the calls of its workers."""

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

ATTEMPTS = 4  # Spark's default for clusters; on one machine its default is 1
SETTLED_SECONDS = 10.0
ANSWER_SECONDS = 5.0
MASTER = re.compile(r"local(\[(\*|[1-9]\d*)(, *\d+)?\])?|spark://\S+:\d+|(k8s|mesos)://\S+|yarn")
# Patterns in Spark's message of a failed job: lost workers, Python's error, any other reason.
LOST = re.compile(
    "ExecutorLostFailure|worker exited unexpectedly|Connection reset|Broken pipe|OutOfMemoryError"
)
RAISED = re.compile(r"Traceback \(most recent call last\):\n(?:[ \t].*\n)*(\S.*)")
REASON = re.compile(r"most recent failure: .*?\(TID \d+\) \(.*?\): (.*)")


def check_master(master: str) -> None:
    """Raise UsageError where tasks cannot run on `master`, before any work.

    Raise TfserError where no master answers: Spark would try for a minute.
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
        where = f" (there is none in JAVA_HOME={home})" if home else ""
        raise UsageError(
            f"--spark needs Java{where}: apt install openjdk-17-jre-headless, or your system's "
            "package"
        )
    if master.startswith("spark://"):
        _check_answers(master)


def _check_answers(master: str) -> None:
    """Raise TfserError where no master of spark://host:port,host:port answers."""
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
    """Yield (SparkSession, number of tasks at once); Java's output goes to `errors`."""
    from pyspark.sql import SparkSession  # PySpark is optional

    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    local = re.fullmatch(r"local(?:\[([^,]+)\])?", master)
    url = f"local[{local[1] or 1},{ATTEMPTS}]" if local else master
    options = {"spark.ui.enabled": False, "spark.ui.showConsoleProgress": False}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    spark = None

    def interrupt(*_):
        stop_session(spark)  # Spark's own handler does not end tasks that are just starting
        raise KeyboardInterrupt

    try:
        try:
            with _redirect_stderr(errors):
                builder = SparkSession.builder.master(url).appName("tfser")
                spark = builder.config(map=options).getOrCreate()
        except Exception:
            raise TfserError(f"--spark {master}: Spark did not start, see {errors}") from None
        for number in handlers:
            signal.signal(number, interrupt)
        n_slots = _count_slots(spark.sparkContext, wait=not local)
        if n_tasks < n_slots:
            log.warning(
                "--spark %s: %d at a time instead of %d (%s: %d)",
                *(master, n_tasks, n_slots, what, n_tasks),
            )
        yield spark, min(n_slots, n_tasks)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if spark:
            stop_session(spark)


def _count_slots(context, *, wait: bool) -> int:
    """Return how many tasks run at once.

    wait: until no new worker of a cluster has appeared for a while. They appear one after the
    other, seconds after the session starts.
    """
    n_slots, since = context.defaultParallelism, time.monotonic()
    while wait and time.monotonic() - since < SETTLED_SECONDS:
        time.sleep(0.5)
        if (current := context.defaultParallelism) != n_slots:
            n_slots, since = current, time.monotonic()
    return n_slots


@contextlib.contextmanager
def _redirect_stderr(file: Path):
    """Append to `file` the stderr of processes that are started inside, until they end."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with open(file, "a", encoding="utf-8") as errors:
        os.dup2(errors.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def stop_session(spark) -> None:
    """End a session and its tasks, even where Java has already ended."""
    with contextlib.suppress(Exception):
        spark.stop()


def is_alive(spark) -> bool:
    """Return whether a session still accepts tasks."""
    try:
        spark.sparkContext.parallelize([0])
        return True
    except Exception:
        return False


def is_worker_loss(error: Exception) -> bool:
    """Return whether a job failed because the workers of its task died, ATTEMPTS times."""
    return not RAISED.search(str(error)) and bool(LOST.search(str(error)))


def failure_reason(error: Exception) -> str:
    """Return the reason why a job failed, in one line of Spark's message."""
    if is_worker_loss(error):
        return f"the worker was lost {ATTEMPTS} times, as where memory is used up"
    match = RAISED.search(str(error)) or REASON.search(str(error))
    return match[1] if match else str(error).strip().partition("\n")[0]


def current_place() -> tuple[str, dict]:
    """Return the folder and environment variables of a command, for `run_in_place`."""
    names = [name for name in os.environ if name.startswith("TFSER_")] + ["OMP_NUM_THREADS"]
    return os.getcwd(), {name: os.environ[name] for name in names if name in os.environ}


def run_in_place(place, function, *arguments) -> tuple:
    """Run a function on a worker at a place of `current_place`; return (its result, its error)."""
    folder, variables = place
    os.chdir(folder)
    os.environ.pop("OMP_NUM_THREADS", None)  # Spark sets it to 1, which changes float sums
    os.environ.update(variables)
    try:
        return function(*arguments), None
    except (Exception, KeyboardInterrupt) as error:  # an interrupt is meant for the whole command
        return None, error
