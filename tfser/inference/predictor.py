"""A run, or an export of it, that says what it hears: `tfser.load(folder).predict(paths)`."""

import itertools
import logging
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfser.audio import decode
from tfser.errors import DataError, UsageError
from tfser.inference import served_model
from tfser.plots.figures import save_figure
from tfser.plots.spectrograms import draw_prediction
from tfser.storage import atomic_files

log = logging.getLogger("tfser")

BATCH = 8  # windows
WHOLE_SECONDS = 60.0  # the longest recording that is one row without a window
WINDOW_SECONDS = 10.0  # of longer ones
PICTURED_SECONDS = 1.0  # of a window
LONGEST_PICTURED_SECONDS = 600.0
SAME_SECONDS = 1e-6  # two times that differ by less are one


class Predictor:
    """Waveforms -> probabilities, or ratings.

    classes: their names; of ratings "arousal" and "valence".
    """

    def __init__(self, answer, classes, sample_rate_hz, of_smile=None, heard_seconds=None):
        self.answer, self.sample_rate_hz, self.smile = answer, sample_rate_hz, of_smile
        self.heard_seconds = heard_seconds
        self.of_ratings = not classes
        self.classes = classes or ["arousal", "valence"]
        told = [] if self.of_ratings else ["predicted", "confidence"]
        self.columns = ["file", "start", "end", *told, *self.classes, "error"]
        self.extractor = of_smile and of_smile.extractor(sample_rate_hz)

    def predict(self, recordings, *, window_seconds=None, hop_seconds=None) -> list[dict]:
        """A row {column: value} for each recording, or for each window of it.

        recordings: paths, or waveforms [samples] at `sample_rate_hz`, floats from -1 to 1; also a
        single one. A row of one that cannot be used has its reason as "error", and None elsewhere.
        """
        if isinstance(recordings, str | Path | np.ndarray):
            recordings = [recordings]
        asked = [r if isinstance(r, np.ndarray) else (Path(r), None, None) for r in recordings]
        return list(self.rows(asked, window_seconds=window_seconds, hop_seconds=hop_seconds))

    def rows(self, asked, *, window_seconds=None, hop_seconds=None):
        """Yields the rows of `predict`; asked: (file, start, end) or waveforms."""
        check_window(window_seconds, hop_seconds)
        if self.heard_seconds and (window_seconds or 0) > self.heard_seconds:
            log.warning("only the first %g s of a window are heard", self.heard_seconds)
        batch = []
        for one in asked:
            for row, waveform in self._windows(one, window_seconds, hop_seconds):
                batch.append((row, waveform))
                if len(batch) == BATCH or waveform is None:
                    yield from self._answers(batch)
                    batch = []
        yield from self._answers(batch)

    def draw(self, asked, folder: Path, *, window_seconds=None, hop_seconds=None) -> None:
        """A picture of each recording that can be used, see `figure`.

        Its name is the recording's, and the start where a table has one.
        """
        for path, start, end in asked:
            times = {"window_seconds": window_seconds, "hop_seconds": hop_seconds}
            figure = self.figure(path, start, end, **times)
            if figure:
                name = path.stem if start is None else f"{path.stem}-{start:g}"
                of_same_name = (folder / f"{name}-{n}.png" for n in itertools.count(2))
                files = itertools.chain([folder / f"{name}.png"], of_same_name)
                save_figure(figure, next(file for file in files if not file.exists()))

    def figure(self, path, start=None, end=None, *, window_seconds=None, hop_seconds=None):
        """What is said of a recording over time; windows overlap by default.

        None where nothing of it can be used, or it is longer than LONGEST_PICTURED_SECONDS, which
        is logged.
        """
        window = window_seconds or PICTURED_SECONDS
        hop = hop_seconds or window / 4
        try:
            last = decode.duration_seconds(path) if end is None else end
            if last - (start or 0.0) > LONGEST_PICTURED_SECONDS:
                log.warning("%s: no picture, it is longer than %g s; give a table with parts of it",
                            path, LONGEST_PICTURED_SECONDS)  # fmt: skip
                return None
            times = {"start_seconds": start, "end_seconds": end}
            waveform = decode.load_audio(path, sample_rate_hz=self.sample_rate_hz, **times)
        except DataError:
            return None
        rows = self.rows([waveform], window_seconds=window, hop_seconds=hop)
        rows = [row for row in rows if not row["error"]]
        if not rows:
            return None
        return draw_prediction(
            [(row["start"] + row["end"]) / 2 for row in rows],
            [[row[name] for name in self.classes] for row in rows],
            self.classes,
            waveform,
            self.sample_rate_hz,
            f"{path.name}, windows of {window:g} s",
        )

    def _windows(self, one, window_seconds, hop_seconds):
        """(the row's beginning, waveform) of each window; waveform None where it cannot be used."""
        given = isinstance(one, np.ndarray)
        path, first, last = (None, None, None) if given else one
        name, rate = "" if given else str(path), self.sample_rate_hz
        row = {"file": name, "start": first or 0.0, "end": last, "error": ""}
        try:
            if given:
                check_waveform(one, silence=True)
            whole = len(one) / rate if given else decode.duration_seconds(path)
        except DataError as error:
            yield row | {"error": str(error).removeprefix(f"{name}: ")}, None
            return
        stop = whole if last is None else last
        # What is further past the end is refused by `load_audio`.
        if stop <= whole + decode.SPARE_SECONDS:
            stop = min(stop, whole)
        duration = stop - (first or 0.0)
        for start, end in split_into_windows(
            duration, window_seconds, hop_seconds, self.heard_seconds
        ):
            start, end = start + (first or 0.0), end + (first or 0.0)
            row |= {"start": round(start, 3), "end": round(end, 3)}
            try:
                if given:
                    waveform = check_waveform(one[round(start * rate) : round(end * rate)])
                else:
                    times = {"start_seconds": start, "end_seconds": end}
                    waveform = decode.load_audio(path, sample_rate_hz=rate, **times)
                yield dict(row), waveform
            except DataError as error:
                yield row | {"error": str(error).removeprefix(f"{name}: ")}, None

    def _answers(self, batch):
        heard = [(row, waveform) for row, waveform in batch if waveform is not None]
        said = iter(self._said([waveform for _, waveform in heard])) if heard else iter(())
        for row, waveform in batch:
            values = None if waveform is None else next(said)
            if isinstance(values, DataError):
                row, values = row | {"error": str(values)}, None
            yield {name: row.get(name) for name in self.columns} | self._told(values)

    def _told(self, values) -> dict:
        if values is None:
            return {}
        told = {name: round(float(v), 6) for name, v in zip(self.classes, values, strict=True)}
        if not self.of_ratings:
            best = int(np.argmax(values))
            told |= {"predicted": self.classes[best], "confidence": round(float(values[best]), 6)}
        return told

    def _said(self, waveforms) -> list:
        if not self.extractor:
            lengths = np.array([len(waveform) for waveform in waveforms], "int32")
            padded = np.zeros((len(waveforms), lengths.max()), "float32")
            for row, waveform in zip(padded, waveforms, strict=True):
                row[: len(waveform)] = waveform
            return list(
                served_model.main_output(self.answer(tf.constant(padded), tf.constant(lengths)))
            )
        found = self.extractor.extract(waveforms)
        good = [x for x in found if not isinstance(x, DataError)]
        shape = self.smile.shape
        said = iter(())
        if good:
            features = np.stack([served_model.pad_features(x, shape) for x in good])
            said = iter(served_model.main_output(self.answer(tf.constant(features))))
        return [x if isinstance(x, DataError) else next(said) for x in found]


def load_predictor(folder, *, seed=None, fold=0) -> Predictor:
    """A run directory of tfser-train, or a folder of tfser-export.

    Raises UsageError where it is neither, DataError where a file of it is missing or damaged.
    """
    folder = Path(folder)
    if (folder / "tfser.json").exists():
        if seed is not None or fold:
            raise UsageError(f"{folder} is an export, of one seed and fold; leave both out")
        try:
            about = atomic_files.read_json(folder / "tfser.json")
            if about["format"] != served_model.FORMAT:
                raise DataError(f"{folder} is of another version of tfser; export the run again")
            if (form := about.get("form", "savedmodel")) != "savedmodel":
                raise UsageError(
                    f"{folder} is of --format {form}; give one of --format savedmodel, or the run"
                )
            of_smile = about["smile"] and served_model.OpenSmileInput(**about["smile"])
            told = about["classes"], about["sample_rate_hz"], of_smile, about["heard_seconds"]
            loaded = tf.saved_model.load(str(folder))
            signature = loaded.signatures["serving_default" if of_smile else "lengths"]
        except (OSError, ValueError, KeyError, TypeError, IndexError, tf.errors.OpError) as error:
            reason = str(error).partition("\n")[0]
            raise DataError(f"{folder} is damaged: {reason}; export the run again") from None
        names = ["features"] if of_smile else ["waveform", "lengths"]

        def answer(*inputs, keep=loaded):
            return signature(**dict(zip(names, inputs, strict=True)))

        return Predictor(answer, *told)
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")
    run = served_model.load_run(folder, seed=seed, fold=fold)
    served = served_model.load_inference_function(run)
    answer = tf.function(served.function, reduce_retracing=True)
    told = run.classes, served.sample_rate_hz, served.smile, served.heard_seconds
    return Predictor(answer, *told)


def check_window(window_seconds, hop_seconds) -> None:
    """Raises UsageError for a window or hop that cannot be."""
    shortest = decode.SHORTEST_SECONDS
    if window_seconds is not None and not shortest <= window_seconds < np.inf:
        raise UsageError(f"a window of {window_seconds:g} s: give {shortest:g} or more")
    if hop_seconds is not None and not (window_seconds and 0 < hop_seconds <= window_seconds):
        raise UsageError("a hop needs a window that is as long or longer")


def split_into_windows(
    duration_seconds, window_seconds, hop_seconds, heard_seconds=None
) -> list[tuple]:
    """The (start, end) of a recording's windows in seconds; the last one may be shorter.

    Without a window: one, of a recording that is not longer than WHOLE_SECONDS, else of
    WINDOW_SECONDS; neither longer than what is heard. A rest too short for sound is left out.
    """
    if window_seconds is None:
        heard = heard_seconds or np.inf
        if duration_seconds <= min(WHOLE_SECONDS, heard):
            return [(0.0, duration_seconds)]
        window_seconds = min(WINDOW_SECONDS, heard)
    hop_seconds = hop_seconds or window_seconds
    found = []
    for number in itertools.count():
        start = number * hop_seconds
        if found and duration_seconds - start < decode.SHORTEST_SECONDS:
            return found
        found.append((start, min(start + window_seconds, duration_seconds)))
        if start + window_seconds >= duration_seconds - SAME_SECONDS:
            return found


def check_waveform(waveform, *, silence=False) -> np.ndarray:
    """A waveform [samples] as float32; DataError where nothing can be said of it."""
    if waveform.ndim != 1:
        raise DataError(f"a waveform has one dimension, [samples], not {waveform.ndim}")
    if not np.issubdtype(waveform.dtype, np.floating):
        raise DataError(f"a waveform is of floats from -1 to 1, not {waveform.dtype}")
    if not len(waveform):
        raise DataError("no samples")
    if not np.isfinite(waveform).all():
        raise DataError("has NaN or infinite samples")
    if not silence and not waveform.any():
        raise DataError(f"silent, all {len(waveform)} samples are zero")
    return np.asarray(waveform, "float32")
