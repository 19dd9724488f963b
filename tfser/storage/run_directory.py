"""The run directory: its lock, its settings and the digests of its data."""

import contextlib
import fcntl
import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

from tfser.errors import ConflictError
from tfser.storage import atomic_files, environment, s3
from tfser.storage.earlier_settings import update_settings

log = logging.getLogger("tfser")

# Files and folders of a run or a search that has begun.
RESULTS = ("seed-*", "fold-*", "trial*", "scores.json", "predictions.csv", "best")


@dataclass(frozen=True)
class Run:
    """The options of a paper's `train` beside its hyperparameters."""

    folder: Path  # the run directory
    cache: Path  # of features
    corpus: str
    protocol: str  # "paper" or "loso"
    n_folds: int | None  # None: the number of the protocol
    seeds: tuple[int, ...]
    strategy: str  # "auto", "none", "mirrored" or "multiworker"
    max_bad: int
    evaluate: str = "test"  # or "dev": score each fold on its dev set
    # (seed, fold) pairs to train here. None: train all folds and write the scores.
    parts: frozenset | None = None
    decoder: str = "soundfile"  # of audio files, see `decode.load_waveforms`
    channel: int = 0  # of audio files, see `decode.load_audio`
    chosen_on: str = ""  # corpus/protocol of the search that chose the settings, "" for none

    @property
    def cache_options(self) -> dict:
        """Options of `feature_cache.load_features` and `feature_cache.store_features`."""
        return {"cache": self.cache, "max_bad": self.max_bad, **self.decoding}

    @property
    def decoding(self) -> dict:
        """Options of `feature_cache.cache_key`."""
        return {"decoder": self.decoder, "channel": self.channel}

    @property
    def local_cache(self) -> Path:
        """A local folder for files that are locked or appended to, which S3 cannot do."""
        return default_cache() if isinstance(self.cache, s3.S3Path) else self.cache


def default_cache() -> Path:
    """Return the default folder of the feature cache."""
    return Path.home() / ".cache" / "tfser"


@contextlib.contextmanager
def open_run(folder: Path, settings: dict, seeds, *, waits=False, flag="--workdir"):
    """Lock a run directory for one process, check its settings and log to log.txt.

    Args:
        settings: of the run; the recorded settings must equal them once training has begun.
        seeds: recorded in environment.json.
        waits: wait for another process that holds the lock.
        flag: gives another folder, for errors.

    Raises:
        ConflictError: another process holds the lock, or the run has other settings.
    """
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context(_create_folder(folder, flag))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if not waits:
                raise ConflictError(
                    f"{folder} is in use by another process; wait for it, or use --workdir"
                ) from None
            _wait(folder, lock)
        _check_settings(folder, settings)
        atomic_files.delete_temporary_files(folder)
        if has_results(folder) and not (folder / "environment.json").exists():
            log.warning("%s has no environment.json: its earlier commands are not known", folder)
        record_end = environment.record_process(folder, seeds)
        text = stack.enter_context(atomic_files.open_log(folder / "log.txt", "a"))
        handler = logging.StreamHandler(text)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
        try:
            yield
        except BaseException as error:
            reason = f"{type(error).__name__}: {error}"
            handler.handle(logging.LogRecord("tfser", logging.ERROR, "", 0, reason, (), None))
            raise
        finally:
            with contextlib.suppress(OSError):
                record_end()
            log.removeHandler(handler)


def wait_until_free(folder: Path) -> None:
    """Wait for a process that holds the lock of a run directory."""
    if (folder / ".lock").exists():
        with atomic_files.open_log(folder / ".lock", "a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                _wait(folder, lock)


def _wait(folder: Path, lock) -> None:
    log.info("%s is in use by another process: waiting for it", folder)
    fcntl.flock(lock, fcntl.LOCK_EX)


def fingerprint(utterances) -> str:
    """Return a digest of the names and labels of utterances."""
    digest = hashlib.sha256()
    for u in utterances:
        fields = {name: value for name, value in vars(u).items() if name != "path"}
        digest.update(json.dumps(fields, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def check_data(folder: Path, utterances, feature_key: str, **more) -> None:
    """Check that a resumed run has the same audio, then record its digests in data.json.

    Args:
        utterances: the utterances with features.
        feature_key: the cache key, which depends on the content of the files.
        more: further digests of the run's input, by name.

    Raises:
        ConflictError: a file has changed, or other files are left out by --max-bad; or the run has
            results and no data.json.
    """
    path = folder / "data.json"
    check_present(path)
    data = {"features": feature_key, "utterances": fingerprint(utterances)} | more
    before = atomic_files.read_dict(path) if path.exists() else None
    if before == data:  # several processes that train folds check at the same time
        return
    if before is not None and has_results(folder):
        changed = [name for name in more if before.get(name) != more[name]]
        what = " and ".join(changed) if changed else "audio"
        raise ConflictError(
            f"the {what} has changed since the run in {folder} was started, or other files are "
            "left out by --max-bad; use another --workdir, or delete it"
        )
    atomic_files.write_json(path, data)


def check_splits(folder: Path, rows: list[dict]) -> None:
    """Check that a resumed run has the folds of its splits.csv, before new rows replace the file.

    rows: of splits.csv. Seeds that are in one of both alone are not compared.

    Raises:
        ConflictError: earlier versions of tfser made other folds; or the run has results and no
            splits.csv.
        DataError: the file is damaged.
    """
    path = folder / "splits.csv"
    check_present(path)
    if not has_results(folder):
        return
    before = atomic_files.read_csv(path, ("seed", "fold", "utterance", "part"))
    # Files of earlier versions have no forest_part.
    columns = [name for name in before[0] if name.endswith("part")] if before else ["part"]
    try:
        before = _parts_of_seeds(before, columns)
    except ValueError as error:
        raise atomic_files.damaged_error(path, error) from None
    now = _parts_of_seeds(rows, columns)
    if differ := [seed for seed in before.keys() & now.keys() if before[seed] != now[seed]]:
        raise ConflictError(
            f"{path} has other folds for seed {min(differ)} than this version of tfser makes, or "
            "other files are left out by --max-bad; use another --workdir, or delete it"
        )


def _parts_of_seeds(rows, columns) -> dict[int, dict]:
    """Return {seed: {(fold, utterance): its part in each of the columns}}."""
    parts = {}
    for row in rows:
        of_seed = parts.setdefault(int(row["seed"]), {})
        of_seed[int(row["fold"]), row["utterance"]] = [row.get(name) or "" for name in columns]
    return parts


def has_results(folder: Path) -> bool:
    """Return true once training or a search has begun; until then settings may change."""
    return any(any(folder.glob(pattern)) for pattern in RESULTS)


def check_present(path: Path) -> None:
    """Raise ConflictError where a run has results and lacks the file of what they are made of."""
    if has_results(path.parent) and not path.exists():
        raise ConflictError(
            f"{path.parent} has results without {path.name}, which says what they are of; copy "
            "the file back, or use another --workdir"
        )


def _create_folder(folder: Path, flag: str):
    files = [(folder / name).exists() for name in ("hparams.json", "environment.json")]
    ours = (folder / ".lock").exists() or all(files)  # `cp run/* copy` leaves .lock behind
    if folder.is_dir() and any(folder.iterdir()) and not ours:
        raise ConflictError(f"{folder} holds other files; give {flag} an empty or new folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return atomic_files.open_log(folder / ".lock", "a")
    except OSError as error:
        if error.errno in atomic_files.FULL:
            raise
        raise ConflictError(f"cannot write to {folder} ({error.strerror}); use {flag}") from None


def _check_settings(folder: Path, settings: dict) -> None:
    path = folder / "hparams.json"
    check_present(path)
    settings = json.loads(json.dumps(settings))  # as read back: lists, not tuples
    if has_results(folder):
        before = atomic_files.read_dict(path)
        try:
            changes = describe_differences(before, settings)
        except (KeyError, TypeError) as error:
            raise atomic_files.damaged_error(path, error) from None
        if changes:
            raise ConflictError(
                f"{folder} holds a run of other settings ({changes}); "
                "use another --workdir, or delete it"
            )
    elif not path.exists() or atomic_files.read_dict(path) != settings:
        (folder / "environment.json").unlink(missing_ok=True)  # of commands before any training
        atomic_files.write_json(path, settings)


def describe_differences(before: dict, now: dict) -> str:
    """Return the first five differences of two trees as "a.b: 1 -> 2", "" for equal trees."""
    before, now = flatten_settings(before), flatten_settings(now)
    differ = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
    more = f" and {len(differ) - 5} more" if len(differ) > 5 else ""
    return ", ".join(f"{k}: {before.get(k)} -> {now.get(k)}" for k in differ[:5]) + more


def flatten_settings(settings: dict) -> dict:
    """Return settings as {"section.key": value}, those of an earlier run as a run of today's."""
    return update_settings(_flatten(settings))


def _flatten(tree: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
