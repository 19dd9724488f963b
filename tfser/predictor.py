"""A run, or an export of it, that says what it hears: `tfser.load(folder).predict(paths)`."""

from pathlib import Path

import numpy as np
import soundfile
import tensorflow as tf

from tfser import audio, plots, runs, serving, smile, views
from tfser.errors import DataError, UsageError

BATCH = 8  # windows
PICTURED_SECONDS = 1.0  # of a window


class Predictor:
    """Waveforms -> probabilities, or ratings.

    classes: their names; of ratings "arousal" and "valence".
    """

    def __init__(self, answer, classes, sample_rate_hz, of_smile):
        self.answer, self.sample_rate_hz, self.smile = answer, sample_rate_hz, of_smile
        self.of_ratings = not classes
        self.classes = classes or ["arousal", "valence"]
        told = [] if self.of_ratings else ["predicted", "confidence"]
        self.columns = ["file", "start", "end", *told, *self.classes, "error"]
        self.extractor = None
        if of_smile:
            self.extractor = smile.OpenSmile(
                sample_rate_hz=sample_rate_hz,
                feature_set=of_smile.feature_set,
                level=of_smile.level,
            )

    def predict(self, recordings, *, window_seconds=None, hop_seconds=None) -> list[dict]:
        """A row {column: value} for each recording, or for each window of it.

        recordings: paths, or waveforms [samples] at `sample_rate_hz`. A row of one that cannot be
        used has its reason as "error".
        """
        asked = [r if isinstance(r, np.ndarray) else (Path(r), None, None) for r in recordings]
        return list(self.rows(asked, window_seconds=window_seconds, hop_seconds=hop_seconds))

    def rows(self, asked, *, window_seconds=None, hop_seconds=None):
        """Yields the rows of `predict`; asked: (file, start, end) or waveforms."""
        batch = []
        for one in asked:
            for row, waveform in self._windows(one, window_seconds, hop_seconds):
                batch.append((row, waveform))
                if len(batch) == BATCH or waveform is None:
                    yield from self._answers(batch)
                    batch = []
        yield from self._answers(batch)

    def draw(self, asked, folder: Path, *, window_seconds=None, hop_seconds=None) -> None:
        """A picture <name>.png of each recording that can be used; windows overlap by default."""
        window = window_seconds or PICTURED_SECONDS
        hop = hop_seconds or window / 4
        folder.mkdir(parents=True, exist_ok=True)
        for one in asked:
            rows = self.rows([one], window_seconds=window, hop_seconds=hop)
            rows = [row for row in rows if not row["error"]]
            if not rows:
                continue
            path, start, end = one
            times = {"start_seconds": start, "end_seconds": end}
            figure = views.prediction_figure(
                [(row["start"] + row["end"]) / 2 - (start or 0.0) for row in rows],
                [[row[name] for name in self.classes] for row in rows],
                self.classes,
                audio.load(path, sample_rate_hz=self.sample_rate_hz, **times),
                self.sample_rate_hz,
                f"{path.name}, windows of {window:g} s",
            )
            plots.save(figure, folder / f"{path.stem}.png")

    def _windows(self, one, window_seconds, hop_seconds):
        """(the row's beginning, waveform) of each window; waveform None where it cannot be used."""
        from tfser.predict import windows

        given = isinstance(one, np.ndarray)
        name, first, last = ("", None, None) if given else (str(one[0]), *one[1:])
        row = {"file": name, "start": first or 0.0, "end": last or "", "error": ""}
        try:
            rate = self.sample_rate_hz
            duration = len(one) / rate if given else duration_seconds(*one)
            for start, end in windows(duration, window_seconds, hop_seconds):
                start, end = start + (first or 0.0), end + (first or 0.0)
                if given:
                    waveform = usable(one[round(start * rate) : round(end * rate)])
                else:
                    times = {"start_seconds": start, "end_seconds": end}
                    waveform = audio.load(one[0], sample_rate_hz=rate, **times)
                yield row | {"start": round(start, 3), "end": round(end, 3)}, waveform
        except DataError as error:
            yield row | {"error": str(error).removeprefix(f"{name}: ")}, None

    def _answers(self, batch):
        heard = [(row, waveform) for row, waveform in batch if waveform is not None]
        said = iter(self._said([waveform for _, waveform in heard])) if heard else iter(())
        for row, waveform in batch:
            values = None if waveform is None else next(said)
            if isinstance(values, DataError):
                row, values = row | {"error": str(values)}, None
            yield {name: row.get(name, "") for name in self.columns} | self._told(values)

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
            return list(answered(self.answer(tf.constant(padded), tf.constant(lengths))))
        found = self.extractor.extract(waveforms)
        good = [x for x in found if not isinstance(x, DataError)]
        shape = self.smile.shape
        said = iter(())
        if good:
            features = np.stack([serving.as_input(x, shape) for x in good])
            said = iter(answered(self.answer(tf.constant(features))))
        return [x if isinstance(x, DataError) else next(said) for x in found]


def load(folder, *, seed=None, fold=0) -> Predictor:
    """A run directory of tfser-train, or a folder of tfser-export.

    Raises UsageError where it is neither, DataError where a file of it is missing or damaged.
    """
    folder = Path(folder)
    if (folder / "tfser.json").exists():
        about = runs.read_json(folder / "tfser.json")
        try:
            loaded = tf.saved_model.load(str(folder))
        except (OSError, ValueError, tf.errors.OpError) as error:
            reason = str(error).partition("\n")[0]
            raise DataError(f"{folder} is damaged: {reason}; export it again") from None
        of_smile = about["smile"] and serving.Smile(**about["smile"])
        name = "serving_default" if of_smile else "lengths"
        signature = loaded.signatures[name]
        names = ["features"] if of_smile else ["waveform", "lengths"]

        def answer(*inputs, keep=loaded):
            return signature(**dict(zip(names, inputs, strict=True)))

        return Predictor(answer, about["classes"], about["sample_rate_hz"], of_smile)
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")
    run = serving.finished(folder, seed=seed, fold=fold)
    served = serving.served(run)
    answer = tf.function(served.function, reduce_retracing=True)
    return Predictor(answer, run.classes, served.sample_rate_hz, served.smile)


def answered(outputs) -> np.ndarray:
    """What is said of each utterance: probabilities, or ratings [batch, 2]."""
    return outputs["probabilities" if "probabilities" in outputs else "ratings"].numpy()


def duration_seconds(path, start, end) -> float:
    """Of the part of a recording; DataError where the file cannot be opened."""
    try:
        info = soundfile.info(str(path))
    except (OSError, soundfile.LibsndfileError):
        audio.load(path)  # its reason, in one line
        raise DataError("cannot be opened") from None
    whole = info.frames / info.samplerate
    if end is not None and end > whole + audio.SPARE_SECONDS:
        audio.load(path, start_seconds=start, end_seconds=end)
    return min(end or whole, whole) - (start or 0.0)


def usable(waveform) -> np.ndarray:
    """A waveform [samples] as float32; DataError where nothing can be said of it."""
    waveform = np.asarray(waveform, "float32")
    if waveform.ndim != 1:
        raise DataError(f"a waveform has one dimension, [samples], not {waveform.ndim}")
    if not len(waveform):
        raise DataError("no samples")
    if not np.isfinite(waveform).all():
        raise DataError("has NaN or infinite samples")
    if not waveform.any():
        raise DataError(f"silent, all {len(waveform)} samples are zero")
    return waveform
