"""A finished run or preset that another run starts from, checked without TensorFlow.

`train.init` continues its network, `features.from` takes its embeddings as features.
"""

import hashlib
import json
from pathlib import Path

from tfser.config.hparams import format_overrides
from tfser.errors import UsageError
from tfser.evaluation.earlier_training import EarlierTraining
from tfser.inference.finished_run import FinishedRun, find_folder, load_run
from tfser.storage import atomic_files, preset, run_directory

# Sections of hyperparameters that decide a network's input and its layers, and what they have
# besides.
SECTIONS = ("input", "features", "frames", "segments", "model")
FREE = ("frames.masked", "segments.hop_seconds", "model.dropout", "model.initializer")
# Of the autoencoder's input, where a network takes its representations.
SPECTROGRAM = ("window_seconds", "hop_seconds", "n_bands", "pre_emphasis", "floor_db")


def check_initial(model: str, hp) -> FinishedRun | None:
    """Load the run or preset that train.init names, for a training with hyperparameters `hp`.

    Returns None where there is none.

    Raises:
        UsageError: there is no such run or preset, or its network does not fit: it is of another
            model, or has other inputs or layers.
        ConflictError, DataError: see `load_run`.
    """
    name = hp["train"]["init"]
    if not name:
        if hp["train"]["freeze"]:
            raise UsageError("train.freeze keeps layers of train.init, which is not set; give it")
        return None
    source = load_run(find_folder(name))
    if source.model != model:
        raise UsageError(f"train.init={name} is of {source.model}; give a run or preset of {model}")
    theirs, ours = (_list_decisive(model, settings) for settings in (source.hp, hp))
    differ = {key: theirs[key] for key in ours if key in theirs and theirs[key] != ours[key]}
    if differ:
        first = next(iter(differ))
        mended = " ".join(f"--set {text}" for text in format_overrides(differ))
        raise UsageError(
            f"train.init={name} has {first}={differ[first]}, this run {ours[first]}: its network "
            f"does not fit; give {mended}"
        )
    if "autoencoder" in hp:
        _check_encoder(name, source, hp)
    return source


def check_features(settings) -> FinishedRun | None:
    """Load the run or preset that features.from names, None where there is none.

    Raises UsageError, ConflictError or DataError, see `load_run`.
    """
    if name := settings["from"]:
        source = load_run(find_folder(name))
        if "svm" in source.hp:
            raise UsageError(f"features.from={name} is an SVM, which has no layers; give a network")
        return source
    if settings["layer"]:
        raise UsageError("features.layer is of features.from, which is not set; give both")
    return None


def _list_decisive(model: str, hp) -> dict:
    """List the settings {"section.key": value} that decide the network's input and its layers."""
    flat = run_directory.flatten_settings({"model": model, "hparams": hp})
    flat = {key.removeprefix("hparams."): value for key, value in flat.items()}
    sections = set(SECTIONS)
    if flat.get("model.level") == "utterance":
        sections.remove("frames")
    system = flat.get("model.system")
    return {
        key: value
        for key, value in flat.items()
        if (key.partition(".")[0] in sections or key == f"{system}.batch_norm") and key not in FREE
    }


def _check_encoder(name: str, source: FinishedRun, hp) -> None:
    """Raise UsageError unless both networks take the representations of one encoder, or none."""
    theirs, ours = source.hp["autoencoder"], hp["autoencoder"]
    takes = [bool(settings["corpus"] or settings["weights"]) for settings in (theirs, ours)]
    if takes == [False, False]:
        return
    if not takes[0]:
        raise UsageError(
            f"train.init={name} takes no representations; give --set autoencoder.corpus= "
            "--set autoencoder.weights="
        )
    encoder = source.folder / "encoder.keras"
    differ = [key for key in SPECTROGRAM if theirs[key] != ours[key]]
    own = Path(ours["weights"]).expanduser()
    is_same = ours["weights"] and own.is_file() and encoder.is_file()
    if differ or not (is_same and own.read_bytes() == encoder.read_bytes()):
        settings = {"corpus": "", "weights": str(encoder)} | {k: theirs[k] for k in differ}
        overrides = format_overrides({f"autoencoder.{k}": v for k, v in settings.items()})
        raise UsageError(
            f"train.init={name} takes the representations of its own encoder; give "
            + " ".join(f"--set {text}" for text in overrides)
        )


def describe_training(setting: str, source: FinishedRun) -> EarlierTraining:
    """Return what the network of a run was trained on, and the network that it started from.

    Speakers of training and dev set count: the dev set chooses the epoch. A preset is trained on
    all speakers of its corpus.
    """
    speakers, path = {source.corpus: None}, source.folder / "splits.csv"
    if not (source.folder / preset.FILE).is_file() and path.exists():
        place = str(source.seed), str(source.fold)
        rows = atomic_files.read_csv(path, ("seed", "fold", "speaker", "part"))
        known = {r["speaker"] for r in rows if (r["seed"], r["fold"]) == place
                 and r["part"] in ("train", "dev")}  # fmt: skip
        speakers[source.corpus] = sorted(known)
    for corpus, names in source.scores.get("earlier_training", {}).get("speakers", {}).items():
        before = speakers.get(corpus, [])
        both = None in (before, names)
        speakers[corpus] = None if both else sorted({*before, *names})
    return EarlierTraining(setting, source.folder.resolve().name, speakers)


def digest_source(source: FinishedRun, files: list[Path]) -> str:
    """Return a digest of a run's hyperparameters and of files that it predicts with.

    files: those that `record_files` lists; of a preset the digests that it records.
    """
    if (source.folder / preset.FILE).is_file():
        contents = preset.read_preset(source.folder).about["sha256"]
    else:
        contents = {
            str(path.relative_to(source.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        }
    described = json.dumps({"hparams": source.hp, "files": contents}, sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()[:16]
