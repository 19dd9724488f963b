"""Finished runs of tfser-train, read without TensorFlow."""

import contextlib
import contextvars
from pathlib import Path
from typing import NamedTuple

from tfser.errors import ConflictError, DataError, UsageError
from tfser.storage import atomic_files, fold_files, preset, run_directory

_read = contextvars.ContextVar("files of a run that were read", default=None)


class FinishedRun(NamedTuple):
    """Finished run of tfser-train, and the seed and fold of the network to use."""

    folder: Path
    model: str
    corpus: str
    test_corpus: str
    hp: dict
    scores: dict
    classes: list[str]
    seed: int
    fold: int

    @property
    def network(self) -> Path:
        """Folder of the fold's networks."""
        return self.folder / f"seed-{self.seed}" / f"fold-{self.fold:02}"

    @property
    def channel(self) -> int:
        """Channel of audio files, see `decode.load_audio`; older runs have no such setting."""
        return self.hp.get("audio", {}).get("channel", 0)


def load_run(folder: Path, *, seed: int | None = None, fold: int = 0) -> FinishedRun:
    """Load the run in a folder; without a seed its first seed.

    Raises:
        UsageError: the folder is no run directory, or has no such seed or fold.
        DataError: hparams.json or scores.json is damaged, or of another run.
        ConflictError: the run is not finished, lacks its settings, or its fold is of another run.
    """
    if (folder / preset.FILE).is_file():
        return load_preset(preset.read_preset(folder), seed, fold)
    try:
        settings = atomic_files.read_dict(folder / "hparams.json")
    except (FileNotFoundError, NotADirectoryError):
        if inner := find_runs(folder):
            names = " ".join(map(str, inner))
            raise UsageError(f"{folder} holds several runs; give one of them: {names}") from None
        parents = folder.absolute().parents[:3]
        whole = next((f for f in parents if (f / "hparams.json").exists()), None)
        if whole:
            raise UsageError(f"{folder} is a part of the run {whole}; give that folder") from None
        run_directory.check_present(folder / "hparams.json")
        raise UsageError(f"{folder} is no run directory of tfser-train") from None
    if "nested" in settings:
        raise UsageError(
            f"{folder} is a nested search, which has a setting and networks for each fold; "
            f"give the run of one, such as {folder / 'fold-00' / 'best'}"
        )
    if not (folder / "scores.json").exists():
        raise ConflictError(f"{folder} is not finished; the same tfser-train command continues it")
    scores = atomic_files.read_dict(folder / "scores.json")
    try:
        _check_same_run(folder, settings, scores)
        seeds, n_folds = list(scores["seed_numbers"]), int(scores["folds"])
        run = FinishedRun(
            folder=folder,
            model=settings["model"],
            corpus=settings["corpus"],
            test_corpus=settings.get("tested", settings)["corpus"],
            hp=settings["hparams"],
            scores=scores,
            classes=scores.get("classes", []),
            seed=seeds[0] if seed is None else seed,
            fold=fold,
        )
    except (LookupError, TypeError, ValueError) as error:
        reason = f"hparams.json or scores.json has no {error}"
        raise atomic_files.damaged_error(folder, reason) from None
    if run.seed not in seeds:
        raise UsageError(f"--seed {seed}: the seeds of {folder} are {' '.join(map(str, seeds))}")
    if not 0 <= fold < n_folds:
        raise UsageError(f"--fold {fold}: {folder} has folds 0 to {n_folds - 1}")
    fold_files.check_fold(folder, run.network)
    check_class_names(run)
    return run


def load_preset(found: preset.Preset, seed: int | None = None, fold: int = 0) -> FinishedRun:
    """Load a preset as a run with one seed and one fold.

    Raises UsageError for another seed or fold, DataError where a file is missing or damaged.
    """
    if seed is not None or fold:
        raise UsageError(f"{found.name} is a preset, of one seed and fold; leave both out")
    about = found.about
    if "hparams" not in about:
        raise UsageError(
            f"{found.folder} has a network alone, without features and classes; load it by "
            "from_preset of its class"
        )
    preset.check_files(found)
    try:
        return FinishedRun(
            folder=found.folder,
            model=about["model"],
            corpus=about["corpus"],
            test_corpus=about["corpus"],
            hp=about["hparams"],
            scores=about["scores"],
            classes=about["classes"],
            seed=about["seed"],
            fold=0,
        )
    except (LookupError, TypeError) as error:
        reason = f"it has no {error}"
        raise atomic_files.damaged_error(found.folder / preset.FILE, reason, preset.FIX) from None


def check_class_names(run: FinishedRun) -> None:
    """Raise DataError where the classes of scores.json cannot be those of the networks.

    The networks know the classes by their numbers, in the order of the names.
    """
    if "uar" not in run.scores:  # of ratings
        return
    seed, n = run.network.parent / "scores.json", len(run.classes)
    if seed.exists() and "confusion" in (of_seed := atomic_files.read_dict(seed)):
        n = len(of_seed["confusion"])
    if len(run.classes) != n or n < 2 or list(run.classes) != sorted(set(run.classes)):
        raise atomic_files.damaged_error(
            run.folder / "scores.json", "its classes are not those of the run"
        )


def _check_same_run(folder: Path, settings: dict, scores: dict) -> None:
    """Raise DataError where hparams.json and scores.json are of two runs."""
    corpus = settings["corpus"]
    if "tested" in settings:
        corpus = f"{corpus}-to-{settings['tested']['corpus']}"
    expected = {"model": settings["model"], "corpus": corpus, "protocol": settings["protocol"]}
    for name, value in expected.items():
        if scores[name] != value:
            raise DataError(
                f"{folder}: hparams.json is of {name} {value}, scores.json of {scores[name]}; "
                f"{atomic_files.REPAIR}"
            )


def find_runs(folder: Path) -> list[Path]:
    """Find the run directories in a folder: of `--target attributes` one for each attribute."""
    return sorted(path.parent for path in folder.glob("*/hparams.json"))


def find_folder(name) -> Path:
    """Return the folder of a path, or of the preset with this name."""
    if not Path(name).exists() and Path(name).name == str(name):
        return preset.find_preset(str(name)).folder
    return Path(name)


def check_folder(folder: Path) -> None:
    """Raise UsageError where there is no such folder."""
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")


@contextlib.contextmanager
def record_files():
    """Yield a list that gets each file of a run that is read inside, in the order of reading."""
    files = []
    token = _read.set(files)
    try:
        yield files
    finally:
        _read.reset(token)


def check_exists(path: Path) -> None:
    """Raise DataError where a file of a run is missing; `record_files` lists the file."""
    if (files := _read.get()) is not None:
        files.append(path)
    if not path.exists():
        raise DataError(f"{path} is missing; {atomic_files.REPAIR}")
