"""OMG-Emotion, one-minute gradual emotional behaviour (Barros et al., IJCNN 2018).

Monologues on YouTube in English, some 420 of a minute, cut into utterances that five or more raters
heard in order. Lists: github.com/knowledgetechnologyuhh/OMGEmotionChallenge; its `prepare_data.py`
fetches what YouTube still has, the University of Hamburg helps out. Licence: CC BY-NC-SA 3.0 DE.

A row of `omg_TrainVideos.csv`, `omg_ValidationVideos.csv` or `omg_TestVideos_WithLabels.csv` is

    link,start,end,video,utterance,arousal,valence,EmotionMaxVote
    https://www.youtube.com/watch?v=...,46.38,51.42,7a9dd8d41_1,utterance_9.mp4,0.41,-0.39,5

with start and end in the link's video; audio has a file for each utterance, made by `ffmpeg -i
utterance_9.mp4 utterance_9.mp4.wav`, in `7a9dd8d41_1/utterance_9.mp4.wav`, `7a9dd8d41_1/
utterance_9.wav` or `7a9dd8d41_1/audio/utterance_9.mp4/any.wav`, below whatever folders. Arousal,
our activation, is from 0 (calm) to 1, valence from -1 to 1; the emotion is what most raters chose.

Who speaks is not told: `speaker` is the link's video, 7a9dd8d41, of which 7a9dd8d41_1 is the first
part. The official split is by parts, so that some speakers are in train and in dev.
"""

import logging
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tfser.corpora import table
from tfser.corpora.audio_folder import list_audio_files
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError, did_you_mean
from tfser.storage import atomic_files

LAYOUT = (
    "omg_TrainVideos.csv, omg_ValidationVideos.csv, omg_TestVideos_WithLabels.csv and "
    "<video>/utterance_<n>.mp4.wav or <video>/audio/utterance_<n>.mp4/<any>.wav"
)

UNLABELLED = "omg_TestVideos_WithoutLabels.csv"
LISTS = {
    "train": ("omg_TrainVideos.csv",),
    "dev": ("omg_ValidationVideos.csv",),
    "test": ("omg_TestVideos_WithLabels.csv", UNLABELLED),
}
NAMES = ("video", "utterance")
LABELS = ("arousal", "valence", "EmotionMaxVote")
EMOTIONS = {0: "anger", 1: "disgust", 2: "fear", 3: "happiness", 4: "neutral", 5: "sadness",
            6: "surprise"}  # fmt: skip
VIDEO = re.compile(r"\w+")
UTTERANCE = re.compile(r"(utterance_\d+)(?:\.mp4)?")

log = logging.getLogger(__name__)


def read(root: Path) -> list[Utterance]:
    """Lists the utterances that have audio, in the order of their names.

    Raises DataError for a list that is damaged, and for a video in two parts.
    """
    lists = {split: file for split in LISTS if (file := list_of(root, split))}
    listed = [u for split, file in lists.items() for u in utterances(file, split)]
    splits: dict[str, str] = {}
    for u in listed:
        if splits.setdefault(video_of(u), u.split) != u.split:
            both = lists[splits[video_of(u)]], lists[u.split]
            raise DataError(
                f"omg: video {video_of(u)} is in {both[0]} and {both[1]}, and would be learned and "
                "tested; copy the lists again"
            )
    for split, names in LISTS.items():
        if lists and split not in lists:
            log.warning("omg: no %s in %s or a folder in it: no %s part", names[0], root, split)
    files = audio_of_names(root)
    heard = [u for u in listed if u.name in files]
    # Half of the links are dead: listed for extraction to name, they would end every run.
    if len(heard) < len(listed):
        n_heard = len({video_of(u) for u in heard})
        log.warning(
            "omg: %d of %d utterances have no audio and are left out (%d of %d videos have none "
            "at all); the first is %s",
            *(len(listed) - len(heard), len(listed), len(splits) - n_heard, len(splits)),
            next(u.name for u in listed if u.name not in files),
        )
    copied = [files[u.name] for u in heard if len(files[u.name]) > 1]
    if copied:
        log.warning(
            "omg: utterances with several files, of which the nearest to the root is read: %d; of "
            "the first it is %s, not %s",
            *(len(copied), copied[0][0], copied[0][1]),
        )
    heard = [replace(u, path=files[u.name][0]) for u in heard]
    return sorted(heard, key=lambda utterance: utterance.name)


def list_of(root: Path, split: str) -> Path | None:
    """Finds the list of a part in the root, else in a folder in it; that with labels first."""
    for name in LISTS[split]:
        for file in (root / name, *sorted(root.glob(f"*/{name}"))):
            if file.is_file():
                return file
    return None


def utterances(file: Path, split: str) -> list[Utterance]:
    """The utterances of a list in its order; their `path` is for read(), which knows the audio.

    Raises DataError for a missing column, a cell that is no label, and two labels of an utterance.
    """
    labels = () if file.name == UNLABELLED else LABELS
    if not labels:
        log.warning("omg: %s has no labels; get %s", file, LISTS[split][0])
    found: dict[str, Utterance] = {}
    lines, empty, odd, again = {}, [], [], []
    for line, row in rows(file, NAMES + labels):
        where = f"{file}, line {line}"
        # What nobody rated is no slip of the list, while a wrong cell is: the rest may be too.
        if any(cell.lower() in table.MISSING for cell in row.values()):
            empty.append(line)
            continue
        name = name_of(row, where)
        speaker, _, _ = row["video"].partition("_")
        utterance = Utterance(file, name, speaker, split=split)
        if labels:
            utterance = replace(utterance, **labels_of(row, where))
            if not (0 <= utterance.activation <= 1 and -1 <= utterance.valence <= 1):
                odd.append(line)
        first = lines.setdefault(name, line)
        if found.setdefault(name, utterance) != utterance:
            raise DataError(f"{where}: {name} has other labels in line {first}; remove one")
        if first != line:
            again.append(line)
    for these, what in (
        (empty, "with an empty cell, left out"),
        (odd, "with arousal outside 0 to 1 or valence outside -1 to 1, kept as they are"),
        (again, "that repeat another one, left out"),
    ):
        if these:
            log.warning(
                "omg: %s: rows %s: %d, the first is line %d", file, what, len(these), these[0]
            )
    return list(found.values())


def rows(file: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Reads a list into (line, {column: cell}); DataError for a missing column."""
    found = table.read_rows(file)
    header = list(found[0][1])
    for column in columns:
        if table.column_name(column) not in header:
            raise DataError(
                f"{file}, line 1: no column {column!r}{did_you_mean(column, header)}; expected "
                f"{', '.join(columns)}; copy the file again"
            )
    for line, row in found:
        yield line, {column: row[table.column_name(column)] for column in columns}


def name_of(row: dict[str, str], where: str) -> str:
    """The name of an utterance, "7a9dd8d41_1-utterance_9"; DataError for other cells."""
    match = UTTERANCE.fullmatch(row["utterance"])
    if match is None or not VIDEO.fullmatch(row["video"]):
        raise DataError(
            f"{where}: video {row['video']!r} and utterance {row['utterance']!r} are not like "
            "'7a9dd8d41_1' and 'utterance_9.mp4'; copy the file again"
        )
    return f"{row['video']}-{match[1]}"


def labels_of(row: dict[str, str], where: str) -> dict:
    """The labels of an utterance; DataError for a cell that is none."""
    activation, valence, vote = (table.number(row, label, where) for label in LABELS)
    if vote not in EMOTIONS:  # spreadsheets write 4 as 4.0, which is in it
        raise DataError(
            f"{where}: EmotionMaxVote is {row['EmotionMaxVote']!r}, not 0 to 6; copy the file again"
        )
    return {"emotion": EMOTIONS[vote], "activation": activation, "valence": valence}


def video_of(utterance: Utterance) -> str:
    """The video of an utterance, as the lists have it: "7a9dd8d41_1"."""
    return utterance.name.partition("-")[0]


def audio_of_names(root: Path) -> dict[str, list[Path]]:
    """Finds {name of an utterance: its files}, those nearest to the root first."""
    files: dict[str, list[Path]] = {}
    for path in sorted(list_audio_files(root), key=lambda path: (len(path.parts), path)):
        folder = path.absolute().parent
        # The folder first: a file in utterance_9.mp4/ may be called anything, as utterance_9.wav.
        match = UTTERANCE.fullmatch(folder.name)
        folder = folder.parent if match else folder
        match = match or UTTERANCE.fullmatch(path.stem)
        video = folder.parent.name if folder.name == "audio" else folder.name
        if match:
            files.setdefault(f"{video}-{match[1]}", []).append(path)
    return files


def test_csv(root: Path) -> Path:
    """Finds the official list of the test part; DataError where there is none."""
    file = list_of(root, "test")
    if file is None:
        raise DataError(f"omg: no {' or '.join(LISTS['test'])} in {root} or a folder in it")
    return file


def submit(root: Path, folder: Path, utterances: list[Utterance]) -> None:
    """Writes submission.csv into a run directory, of its first seed's result.

    utterances: of the corpus; what has no audio gets the mean rating of the train part.
    """
    file = sorted(folder.glob("seed-*/predictions.csv"))[0]
    found = [row for _, row in table.read_rows(file)]
    found = [row for row in found if row["system"] == found[-1]["system"]]
    predictions = {
        row["utterance"]: (float(row["predicted_arousal"]), float(row["predicted_valence"]))
        for row in found
    }
    known = [u for u in utterances if u.split == "train" and u.activation is not None]
    n = len(known)
    fill = sum(u.activation for u in known) / n, sum(u.valence for u in known) / n
    write_submission(folder / "submission.csv", test_csv(root), predictions, fill)


def write_submission(
    path: Path,
    official: Path,
    predictions: dict[str, tuple[float, float]],
    fill: tuple[float, float],
) -> None:
    """Writes predictions as the challenge's evaluation takes them, next to `official`, row by row.

    Its scripts pair the rows of two files by position, so that those are the list's, all of them
    and in its order, also where there is no audio.

    Args:
        path: the csv to write.
        official: the list of the part, see `test_csv`; its labels are not read.
        predictions: {name of an utterance: (arousal, valence)}.
        fill: what an utterance without prediction gets; not from the labels of this part.

    Raises DataError for a prediction that is no number, or of an utterance the list does not have.
    """
    given = [(row, name_of(row, f"{official}, line {line}")) for line, row in rows(official, NAMES)]
    unknown = sorted(set(predictions) - {name for _, name in given})
    if unknown:
        raise DataError(
            f"omg: predictions of utterances that are not in {official}: {len(unknown):,}, the "
            f"first is {unknown[0]}; give the list they are of"
        )
    lines = []
    for row, name in given:
        arousal, valence = map(float, predictions.get(name, fill))
        if not (math.isfinite(arousal) and math.isfinite(valence)):
            raise DataError(f"omg: the prediction of {name} is {arousal}, {valence}; not written")
        lines.append(row | {"arousal": arousal, "valence": valence})
    n_filled = sum(name not in predictions for _, name in given)
    if n_filled:
        log.warning(
            "omg: %d of the %d rows of %s have no prediction and get %g, %g",
            *(n_filled, len(given), path, *fill),
        )
    atomic_files.write_csv(path, lines)
