"""environment.json of a run directory: the processes of the run, their versions and machine."""

import contextlib
import os
import platform
import resource
import shlex
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

from tfser.storage import atomic_files

PACKAGES = (
    "tfser",
    "tensorflow",
    "tensorflow-cpu",
    "keras",
    "numpy",
    "scikit-learn",
    "librosa",
    "opensmile",
    "hyperopt",
    "soundfile",
    "soxr",
)


def record_process(folder: Path, seeds):
    """Add this process to environment.json, which lists all processes of a resumed run.

    The process is added at its start, since it may be killed, and the code may change before its
    end. Returns a function that adds wall time, peak memory, device and end.
    """
    started = time.monotonic()
    path = folder / "environment.json"
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    process = {
        "command": shlex.join(
            [f"tfser-{Path(sys.argv[0]).stem.removeprefix('tfser-')}", *sys.argv[1:]]
        ),
        "seeds": list(seeds),
        "python": platform.python_version(),
        "versions": versions,
        "git_commit": _git_commit(),
        "started": _now(),
    }
    before = read_processes(path) if path.exists() else []

    def write(**fields):
        process.update(fields)
        atomic_files.write_json(path, {"processes": [*before, process]})

    def record_end():
        write(
            wall_seconds=round(time.monotonic() - started, 1),
            peak_memory_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            device=_device(),
            finished=_now(),
        )

    write()
    return record_end


def read_processes(path: Path) -> list[dict]:
    """Read the processes of an environment.json; raise DataError where it is damaged."""
    fix = "copy the file again; without it, only the record of the run's commands is lost"
    processes = atomic_files.read_dict(path, fix=fix).get("processes")
    if not isinstance(processes, list) or not all("command" in process for process in processes):
        raise atomic_files.damaged_error(path, "it lists no processes", fix)
    return processes


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _device() -> str:
    names = []
    if "tensorflow" in sys.modules:
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            names.append(tf.config.experimental.get_device_details(gpu).get("device_name", "GPU"))
    n_cores = len(os.sched_getaffinity(0))
    return ", ".join(names) or f"CPU {platform.machine()}, {n_cores} core{'s' * (n_cores > 1)}"


def _git_commit() -> str | None:
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    git = ["git", "-C", str(folder)]
    try:
        commit = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, check=True
        )
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.decode().strip() + ("+changes" if changed.stdout.strip() else "")
