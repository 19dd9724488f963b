"""The run directory: create or resume it, and what it says of the run."""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import platform
import resource
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tfser.errors import ConflictError
from tfser.storage import atomic_files, s3

log = logging.getLogger("tfser")
# Settings that some runs do not record, and their values in these runs: the first two were added
# after the first runs, the third was removed from the models that never read it.
UNRECORDED = {
    "hparams.train.precision": "float32",
    "hparams.audio.decoder": "soundfile",
    "hparams.labels.rounding": "between",
}


@dataclass(frozen=True)
class Run:
    """What a paper's `train` is told about its run; `folder` is where everything goes."""

    folder: Path
    cache: Path  # of features
    corpus: str
    protocol: str  # "paper" or "loso"
    n_folds: int | None  # None: the protocol's own
    seeds: tuple[int, ...]
    strategy: str  # "auto", "none", "mirrored" or "multiworker"
    max_bad: int
    evaluate: str = "test"  # or "dev": each fold is scored on its dev part, see folds.evaluated_on
    # The folds (seed, number) that this process trains, others the rest; None: all, and the scores.
    parts: frozenset | None = None
    decoder: str = "soundfile"  # of audio files, see `decode.load_waveforms`

    @property
    def cache_options(self) -> dict:
        """Options of `feature_cache.load_features` and `feature_cache.store_features`."""
        return {"cache": self.cache, "max_bad": self.max_bad, "decoder": self.decoder}

    @property
    def local_cache(self) -> Path:
        """Of what is locked and written bit by bit beside the features, which S3 cannot do."""
        return default_cache() if isinstance(self.cache, s3.S3Path) else self.cache


def default_cache() -> Path:
    """The folder of the features where none is given."""
    return Path.home() / ".cache" / "tfser"


@contextlib.contextmanager
def open_run(folder: Path, settings: dict, seeds, *, waits=False):
    """Locks `folder` for one process, checks that `settings` are those it was started with, logs.

    Raises:
        ConflictError: another process works there (unless it `waits` for it), or it holds a run of
            other settings.
    """
    with _create_folder(folder) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if not waits:
                raise ConflictError(
                    f"{folder} is in use by another process; wait for it, or use --workdir"
                ) from None
            _wait(folder, lock)
        _check_settings(folder, settings)
        for leftover in folder.rglob(".[0-9]*.*"):  # of a killed process, see `replacing`
            leftover.unlink()
        started, note = time.monotonic(), _note_process(folder, seeds)
        handler = logging.FileHandler(folder / "log.txt")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
        try:
            yield
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
            handler.handle(logging.LogRecord("tfser", logging.ERROR, "", 0, text, (), None))
            raise
        finally:
            with contextlib.suppress(OSError):
                note(
                    wall_seconds=round(time.monotonic() - started, 1),
                    peak_memory_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                    device=_device(),
                    finished=_now(),
                )
            log.removeHandler(handler)
            handler.close()


def wait_until_free(folder: Path) -> None:
    """Waits for the process that works in `folder`, if there is one."""
    if (folder / ".lock").exists():
        with open(folder / ".lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                _wait(folder, lock)


def _wait(folder: Path, lock) -> None:
    log.info("%s is in use by another process: waiting for it", folder)
    fcntl.flock(lock, fcntl.LOCK_EX)


def fingerprint(utterances) -> str:
    """A digest of a corpus as its reader sees it: names and labels."""
    digest = hashlib.sha256()
    for u in utterances:
        fields = {name: value for name, value in vars(u).items() if name != "path"}
        digest.update(json.dumps(fields, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def check_data(folder: Path, utterances, feature_key: str, **more) -> None:
    """Checks that a resumed run has the audio it was started with, then notes it in data.json.

    Args:
        utterances: those whose features could be computed.
        feature_key: the store's key, which depends on the content of the files.
        more: further digests of what the run hears, by name.

    Raises:
        ConflictError: a file has changed, or other files are left out by --max-bad.
    """
    path = folder / "data.json"
    data = {"features": feature_key, "utterances": fingerprint(utterances)} | more
    before = atomic_files.read_json(path) if path.exists() else None
    if before == data:  # folds that are trained by several processes ask at once
        return
    if before and has_results(folder):
        changed = [name for name in more if before.get(name) != more[name]]
        what = " and ".join(changed) if changed else "audio"
        raise ConflictError(
            f"the {what} has changed since the run in {folder} was started, or other files are "
            "left out by --max-bad; use another --workdir, or delete it"
        )
    atomic_files.write_json(path, data)


def has_results(folder: Path) -> bool:
    """Whether training, or the trials of a search, have begun: until then settings may change."""
    return any(folder.glob("seed-*")) or any(folder.glob("trial*"))


def _create_folder(folder: Path):
    if folder.is_dir() and any(folder.iterdir()) and not (folder / ".lock").exists():
        raise ConflictError(f"{folder} holds other files; give --workdir an empty or new folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return open(folder / ".lock", "w")
    except OSError as error:
        if error.errno in atomic_files.FULL:
            raise
        raise ConflictError(f"cannot write to {folder} ({error.strerror}); use --workdir") from None


def _check_settings(folder: Path, settings: dict) -> None:
    path = folder / "hparams.json"
    settings = json.loads(json.dumps(settings))  # as read back: lists, not tuples
    if path.exists() and has_results(folder):
        if changes := describe_differences(atomic_files.read_json(path), settings):
            raise ConflictError(
                f"{folder} holds a run of other settings ({changes}); "
                "use another --workdir, or delete it"
            )
    elif not path.exists() or atomic_files.read_json(path) != settings:
        (folder / "environment.json").unlink(missing_ok=True)  # of commands that trained nothing
        atomic_files.write_json(path, settings)


def describe_differences(before: dict, now: dict) -> str:
    """The first five values of two trees that differ, as "a.b: 1 -> 2"; "" where none does."""
    before, now = flatten_settings(before), flatten_settings(now)
    differ = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
    more = f" and {len(differ) - 5} more" if len(differ) > 5 else ""
    return ", ".join(f"{k}: {before.get(k)} -> {now.get(k)}" for k in differ[:5]) + more


def flatten_settings(settings: dict) -> dict:
    """Return settings as one level of names, with the values of UNRECORDED where they lack."""
    return UNRECORDED | _flatten(settings)


def _flatten(tree: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _note_process(folder: Path, seeds):
    """Adds this process to environment.json: a run killed and resumed has several.

    At its start: one that is killed has trained, too, and by its end the code may be another.
    Returns a function that adds to what is noted.
    """
    path = folder / "environment.json"
    packages = (
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
    versions = {}
    for name in ("tfser", *packages):
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
    before = atomic_files.read_json(path)["processes"] if path.exists() else []

    def note(**more):
        process.update(more)
        atomic_files.write_json(path, {"processes": [*before, process]})

    note()
    return note


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
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            [*git, "status", "--porcelain", "-uno"], capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+changes" if changed.stdout.strip() else "")
