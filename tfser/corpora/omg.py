"""OMG-Emotion, one-minute gradual emotional behaviour (Barros et al., IJCNN 2018).

About 420 English monologues of a minute on YouTube, cut into utterances, which five or more raters
rated in order. Lists: github.com/knowledgetechnologyuhh/OMGEmotionChallenge. Its `prepare_data.py`
fetches the videos that are still online; for the rest ask the University of Hamburg. Licence:
CC BY-NC-SA 3.0 DE.

A row of `omg_TrainVideos.csv`, `omg_ValidationVideos.csv` or `omg_TestVideos_WithLabels.csv` is

    link,start,end,video,utterance,arousal,valence,EmotionMaxVote
    https://www.youtube.com/watch?v=...,46.38,51.42,7a9dd8d41_1,utterance_9.mp4,0.41,-0.39,5

with start and end in the link's video. Audio has a file for each utterance, written by `ffmpeg -i
utterance_9.mp4 utterance_9.mp4.wav`, in `7a9dd8d41_1/utterance_9.mp4.wav`, `7a9dd8d41_1/
utterance_9.wav` or `7a9dd8d41_1/audio/utterance_9.mp4/any.wav`, below any folders. Arousal, our
activation, is from 0 (calm) to 1, valence from -1 to 1; the emotion is the vote of most raters.

The speakers are unknown: `speaker` is the link's video, 7a9dd8d41, and 7a9dd8d41_1 its first part.
The official split is by parts of videos: some speakers are in train and in dev.
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
    """Return the utterances with audio, sorted by name.

    Raises DataError for a damaged list, and for a video in two parts of the split.
    """
    lists = {split: file for split in LISTS if (file := find_list(root, split))}
    listed = [u for split, file in lists.items() for u in load_utterances(file, split)]
    splits: dict[str, str] = {}
    for u in listed:
        video = get_video(u)
        if splits.setdefault(video, u.split) != u.split:
            both = lists[splits[video]], lists[u.split]
            raise DataError(
                f"omg: video {video} is in {both[0]} and {both[1]}, and would be learned and "
                "tested; copy the lists again"
            )
    for split, names in LISTS.items():
        if lists and split not in lists:
            log.warning("omg: no %s in %s or a folder in it: no %s part", names[0], root, split)
    files = find_audio(root)
    present = [u for u in listed if u.name in files]
    # Half of the links are dead: missing audio is no error here, unlike in other corpora.
    if len(present) < len(listed):
        n_videos = len({get_video(u) for u in present})
        log.warning(
            "omg: %d of %d utterances have no audio and are left out (%d of %d videos have none "
            "at all); the first is %s",
            *(len(listed) - len(present), len(listed), len(splits) - n_videos, len(splits)),
            next(u.name for u in listed if u.name not in files),
        )
    copies = [files[u.name] for u in present if len(files[u.name]) > 1]
    if copies:
        log.warning(
            "omg: utterances with several files, of which the nearest to the root is read: %d; of "
            "the first it is %s, not %s",
            *(len(copies), copies[0][0], copies[0][1]),
        )
    present = [replace(u, path=files[u.name][0]) for u in present]
    return sorted(present, key=lambda utterance: utterance.name)


def find_list(root: Path, split: str) -> Path | None:
    """Return the list of a part, in the root or a folder of it, a list with labels first."""
    for name in LISTS[split]:
        for file in (root / name, *sorted(root.glob(f"*/{name}"))):
            if file.is_file():
                return file
    return None


def load_utterances(file: Path, split: str) -> list[Utterance]:
    """Load the utterances of a list in its order; `read` sets their `path`, here the list.

    Raises DataError for a missing column, a damaged label, and two labels of an utterance.
    """
    labels = () if file.name == UNLABELLED else LABELS
    if not labels:
        log.warning("omg: %s has no labels; get %s", file, LISTS[split][0])
    utterances: dict[str, Utterance] = {}
    lines, empty, odd, again = {}, [], [], []
    for line, row in read_list(file, NAMES + labels):
        where = f"{file}, line {line}"
        # An empty cell is an utterance without ratings; a wrong cell is a damaged list.
        if any(cell.lower() in table.MISSING for cell in row.values()):
            empty.append(line)
            continue
        name = get_name(row, where)
        speaker, _, _ = row["video"].partition("_")
        utterance = Utterance(file, name, speaker, split=split)
        if labels:
            utterance = replace(utterance, **parse_labels(row, where))
            if not (0 <= utterance.activation <= 1 and -1 <= utterance.valence <= 1):
                odd.append(line)
        first = lines.setdefault(name, line)
        if utterances.setdefault(name, utterance) != utterance:
            raise DataError(f"{where}: {name} has other labels in line {first}; remove one")
        if first != line:
            again.append(line)
    for lines_of_kind, what in (
        (empty, "with an empty cell, left out"),
        (odd, "with arousal outside 0 to 1 or valence outside -1 to 1, kept as they are"),
        (again, "that repeat another one, left out"),
    ):
        if lines_of_kind:
            log.warning(
                "omg: %s: rows %s: %d, the first is line %d",
                *(file, what, len(lines_of_kind), lines_of_kind[0]),
            )
    return list(utterances.values())


def read_list(file: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line, {column: cell}) of a list; raise DataError for a missing column."""
    rows = table.read_rows(file)
    header = list(rows[0][1])
    for column in columns:
        if table.column_name(column) not in header:
            raise DataError(
                f"{file}, line 1: no column {column!r}{did_you_mean(column, header)}; expected "
                f"{', '.join(columns)}; copy the file again"
            )
    for line, row in rows:
        yield line, {column: row[table.column_name(column)] for column in columns}


def get_name(row: dict[str, str], where: str) -> str:
    """Return the name of an utterance, "7a9dd8d41_1-utterance_9"; raise DataError for others."""
    match = UTTERANCE.fullmatch(row["utterance"])
    if match is None or not VIDEO.fullmatch(row["video"]):
        raise DataError(
            f"{where}: video {row['video']!r} and utterance {row['utterance']!r} are not like "
            "'7a9dd8d41_1' and 'utterance_9.mp4'; copy the file again"
        )
    return f"{row['video']}-{match[1]}"


def parse_labels(row: dict[str, str], where: str) -> dict:
    """Return the labels of an utterance; raise DataError for a damaged cell."""
    activation, valence, vote = (table.parse_number(row, label, where) for label in LABELS)
    if vote not in EMOTIONS:  # 4.0, as spreadsheets write it, is in EMOTIONS
        raise DataError(
            f"{where}: EmotionMaxVote is {row['EmotionMaxVote']!r}, not 0 to 6; copy the file again"
        )
    return {"emotion": EMOTIONS[vote], "activation": activation, "valence": valence}


def get_video(utterance: Utterance) -> str:
    """Return the video of an utterance in the lists: "7a9dd8d41_1"."""
    return utterance.name.partition("-")[0]


def find_audio(root: Path) -> dict[str, list[Path]]:
    """Return {name of an utterance: files}, files nearest to the root first."""
    files: dict[str, list[Path]] = {}
    for path in sorted(list_audio_files(root), key=lambda path: (len(path.parts), path)):
        folder = path.absolute().parent
        # The folder first: a file in utterance_9.mp4/ may have any name.
        match = UTTERANCE.fullmatch(folder.name)
        folder = folder.parent if match else folder
        match = match or UTTERANCE.fullmatch(path.stem)
        video = folder.parent.name if folder.name == "audio" else folder.name
        if match:
            files.setdefault(f"{video}-{match[1]}", []).append(path)
    return files


def find_test_list(root: Path) -> Path:
    """Return the official list of the test part; raise DataError if it is missing."""
    file = find_list(root, "test")
    if file is None:
        raise DataError(f"omg: no {' or '.join(LISTS['test'])} in {root} or a folder in it")
    return file


def submit(root: Path, folder: Path, utterances: list[Utterance]) -> None:
    """Write submission.csv into a run directory, from the predictions of its first seed.

    utterances: of the corpus. An utterance without audio gets the mean rating of the train part.
    """
    file = sorted(folder.glob("seed-*/predictions.csv"))[0]
    rows = [row for _, row in table.read_rows(file)]
    rows = [row for row in rows if row["system"] == rows[-1]["system"]]
    predictions = {
        row["utterance"]: (float(row["predicted_arousal"]), float(row["predicted_valence"]))
        for row in rows
    }
    rated = [u for u in utterances if u.split == "train" and u.activation is not None]
    n = len(rated)
    fill = sum(u.activation for u in rated) / n, sum(u.valence for u in rated) / n
    write_submission(folder / "submission.csv", find_test_list(root), predictions, fill)


def write_submission(
    path: Path,
    official: Path,
    predictions: dict[str, tuple[float, float]],
    fill: tuple[float, float],
) -> None:
    """Write predictions for the challenge's evaluation scripts.

    The scripts pair the rows of two files by position: all rows of the official list are written
    in its order, with or without audio.

    Args:
        path: the csv to write.
        official: the list of the part, see `find_test_list`; its labels are not read.
        predictions: {name of an utterance: (arousal, valence)}.
        fill: (arousal, valence) without a prediction; must not come from the labels of this part.

    Raises DataError for a prediction that is not finite, or of an utterance not in the list.
    """
    rows = [
        (row, get_name(row, f"{official}, line {line}")) for line, row in read_list(official, NAMES)
    ]
    unknown = sorted(set(predictions) - {name for _, name in rows})
    if unknown:
        raise DataError(
            f"omg: predictions of utterances that are not in {official}: {len(unknown):,}, the "
            f"first is {unknown[0]}; give the list they are of"
        )
    lines = []
    for row, name in rows:
        arousal, valence = map(float, predictions.get(name, fill))
        if not (math.isfinite(arousal) and math.isfinite(valence)):
            raise DataError(f"omg: the prediction of {name} is {arousal}, {valence}; not written")
        lines.append(row | {"arousal": arousal, "valence": valence})
    n_filled = sum(name not in predictions for _, name in rows)
    if n_filled:
        log.warning(
            "omg: %d of the %d rows of %s have no prediction and get %g, %g",
            *(n_filled, len(rows), path, *fill),
        )
    atomic_files.write_csv(path, lines)
