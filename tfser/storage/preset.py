"""Presets: trained systems in zoo/<model>/<name>/, found by their name and loaded as runs are.

A preset folder has `preset.json` (what the network was trained on, its licence and scores),
`config.json` and `model.weights.h5` of the network, further networks and arrays, and a README. It
is a finished run of `--protocol all`, reduced to the files that predict.
"""

import contextlib
import hashlib
import json
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from tfser.config.hparams import zoo_folder
from tfser.errors import ConflictError, DataError, UsageError, did_you_mean
from tfser.storage import atomic_files

FORMAT = 1  # of preset.json: raise it when older presets cannot be read
FILE = "preset.json"
FIX = "copy the preset again, or reinstall tfser"
NETWORK = ("config.json", "model.weights.h5")  # entries of a .keras file that make the network
# Licences of corpora whose networks may be shared: name -> (URL, what it asks for).
LICENCES = {
    "CC-BY-4.0": ("https://creativecommons.org/licenses/by/4.0/", "attribution"),
    "CC-BY-NC-SA-4.0": (
        "https://creativecommons.org/licenses/by-nc-sa/4.0/",
        "attribution, no commercial use, share alike",
    ),
}


class Preset(NamedTuple):
    """A preset folder and the content of its preset.json."""

    folder: Path
    about: dict

    @property
    def name(self) -> str:
        """The name by which it is found."""
        return self.about["name"]

    @property
    def n_bytes(self) -> int:
        """Size of its files on the disk."""
        return sum((self.folder / file).stat().st_size for file in self.about["sha256"])


def list_presets() -> list[Preset]:
    """List the presets that are installed with tfser, by their names."""
    found = [read_preset(Path(path).parent) for path in Path(zoo_folder()).glob(f"*/*/{FILE}")]
    return sorted(found, key=lambda preset: preset.name)


def find_preset(name: str) -> Preset:
    """Return the preset with a name, or in a folder; raise UsageError where there is none."""
    if (Path(name) / FILE).is_file():
        return read_preset(Path(name))
    presets = {preset.name: preset for preset in list_presets()}
    if name not in presets:
        names = ", ".join(presets) or "none"
        raise UsageError(
            f"there is no folder and no preset {name!r}{did_you_mean(name, presets)}; there are "
            f"the presets {names}"
        )
    return presets[name]


def read_preset(folder: Path) -> Preset:
    """Read preset.json; raise DataError where it is damaged or of a later version."""
    about = atomic_files.read_dict(folder / FILE, FIX)
    if missing := {"format", "name", "model", "licence", "files", "sha256"} - about.keys():
        raise atomic_files.damaged_error(folder / FILE, f"it has no {min(missing)}", FIX)
    if about["format"] != FORMAT:
        raise DataError(f"{folder} is of another version of tfser; install that version")
    return Preset(folder, about)


def check_files(preset: Preset) -> None:
    """Raise DataError where a file is missing or its SHA-256 is not that of preset.json."""
    for name, expected in preset.about["sha256"].items():
        file = preset.folder / name
        if not file.is_file():
            raise DataError(f"{file} is missing; {FIX}")
        if hashlib.sha256(file.read_bytes()).hexdigest() != expected:
            raise DataError(f"{file} is damaged: its SHA-256 is another; {FIX}")


@contextlib.contextmanager
def unpack(preset: Preset):
    """Yield a folder with the preset's files where a run has them, checked; delete it at the end.

    A network's config.json and model.weights.h5 are a .keras file there.
    """
    check_files(preset)
    with tempfile.TemporaryDirectory(prefix="tfser-") as temporary:
        for path, files in preset.about["files"].items():
            target = Path(temporary, path)
            if not target.resolve().is_relative_to(Path(temporary).resolve()):
                raise atomic_files.damaged_error(preset.folder / FILE, f"it names {path}", FIX)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.suffix == ".keras":
                with zipfile.ZipFile(target, "w") as archive:
                    archive.writestr("metadata.json", "{}")
                    for name, file in zip(NETWORK, files, strict=True):
                        archive.write(preset.folder / file, name)
            else:
                shutil.copyfile(preset.folder / files[0], target)
        yield Path(temporary)


def write_preset(folder: Path, run_folder: Path, paths: list[Path], about: dict) -> None:
    """Write a new preset folder from the files of a run that its inference function reads.

    Args:
        paths: .keras and .npz files under `run_folder`; the first .keras file is the network.
        about: the content of preset.json without "format", "files" and "sha256": "name", "model",
            "licence" and what `format_card` shows.

    Raises ConflictError where the folder exists.
    """
    if folder.exists():
        raise ConflictError(f"{folder} exists; give another folder, or delete it")
    folder.mkdir(parents=True)
    files, first = {}, True
    for path in paths:
        if path.suffix == ".keras":
            stem = "" if first else f"{path.stem}."
            names = [f"{stem}{name}" for name in NETWORK]
            with zipfile.ZipFile(path) as archive:
                for entry, name in zip(NETWORK, names, strict=True):
                    atomic_files.write_bytes(folder / name, archive.read(entry))
            first = False
        else:
            names = [path.name]
            shutil.copyfile(path, folder / path.name)
        files[str(path.relative_to(run_folder))] = names
    written = [name for names in files.values() for name in names]
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in written}
    about = {"format": FORMAT, **about, "files": files, "sha256": digests}
    atomic_files.write_text(folder / "README.md", format_card(about))
    atomic_files.write_json(folder / FILE, about)  # last


def format_card(about: dict) -> str:
    """Format the README of a preset, with YAML front matter as model hubs read it."""
    licence, score, classes = about["licence"], about.get("score"), about.get("classes")
    front = {
        "license": licence.lower(),
        "library_name": "keras",
        "pipeline_tag": "audio-classification" if classes else "feature-extraction",
        "tags": ["speech-emotion-recognition", "tfser", about["model"]],
        "datasets": [about["corpus"]] if "corpus" in about else [],
    }
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in front.items()), "---", ""]
    lines += [f"# {about['name']}", "", about.get("description", ""), ""]
    if classes:
        lines += [f"Classes: {', '.join(classes)}.", ""]
    if score:
        ends = ""
        if "interval" in score:
            low, high = (100 * end for end in score["interval"])
            ends = f" (95 % interval {low:.1f} to {high:.1f})"
        lines += [
            f"Cross-validated score of the same settings: UAR {100 * score['uar']:.1f} %{ends}, "
            f"WA {100 * score['wa']:.1f} %, protocol {score['protocol']}, "
            f"{score['folds']} folds, {score['n']} utterances, by `{score['command']}`. The preset "
            "itself is trained on all speakers, so it has no score of its own.",
            "",
        ]
    if "command" in about:
        trained = f"Trained on {about['audio']} by `{about['command']}` (commit {about['commit']})."
        lines += [trained, ""]
    lines += [
        f"Licence of the weights: {describe_licence(licence)}. {about.get('attribution', '')}"
    ]
    if "hparams" not in about:
        return "\n".join(lines) + "\n"
    lines += [
        "",
        "```",
        f"tfser predict --preset {about['name']} recording.wav",
        "```",
    ]
    return "\n".join(lines) + "\n"


def describe_licence(licence: str) -> str:
    """Return a licence with its link and what it asks for, as far as it is known."""
    if licence not in LICENCES:
        return licence
    url, asks = LICENCES[licence]
    return f"{licence} ({asks}; {url})"


def describe_preset(preset: Preset) -> str:
    """Return a sentence with the system, its training data and the licence of the weights."""
    about = preset.about
    audio = about.get("audio", "unknown speech")
    return (
        f"preset {preset.name}: {about['model']}, trained on {audio}; "
        f"licence of the weights: {describe_licence(about['licence'])}"
    )
