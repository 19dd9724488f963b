"""Prediction by a finished run or an export: `tfser.load(folder).predict(paths)`."""

import contextlib
import itertools
import logging
from pathlib import Path
from types import NoneType

import numpy as np
import tensorflow as tf

from tfser.audio import decode, waveform_checks
from tfser.audio.waveform_checks import NOISE
from tfser.errors import DataError, UsageError
from tfser.inference import export_graph, served_model
from tfser.inference.finished_run import check_folder, find_folder, load_run
from tfser.inference.windows import check_window, read_windows, split_into_windows
from tfser.plots.drawing_errors import keep_going
from tfser.plots.figures import save_figure
from tfser.plots.spectrograms import draw_prediction
from tfser.storage import atomic_files, file_names

log = logging.getLogger("tfser")

BATCH = 8  # windows
PICTURED_SECONDS = 1.0  # of a window
LONGEST_PICTURED_SECONDS = 600.0


class Predictor:
    """Predictor: recordings -> rows of probabilities, or of ratings.

    infer: function of (waveform, lengths) or of openSMILE's features, see `InferenceFunction`.
    classes: their names; [] for ratings of "arousal" and "valence".
    channel: of the files, see `decode.load_audio`.
    """

    def __init__(
        self, infer, classes, sample_rate_hz, opensmile_input=None, input_seconds=None, channel=0
    ):
        self.infer, self.sample_rate_hz = infer, sample_rate_hz
        self.opensmile_input, self.input_seconds = opensmile_input, input_seconds
        self.channel = channel
        self.predicts_ratings = not classes
        self.classes = classes or ["arousal", "valence"]
        labels = [] if self.predicts_ratings else ["predicted", "confidence"]
        self.columns = ["file", "start", "end", *labels, *self.classes, "error"]
        self.extractor = opensmile_input and opensmile_input.make_extractor(sample_rate_hz)

    def predict(self, recordings, *, window_seconds=None, hop_seconds=None) -> list[dict]:
        """Return a row {column: value} for each recording, or for each window of a recording.

        recordings: paths, or waveforms [samples] at `sample_rate_hz`, floats from -1 to 1; also a
        single path or waveform. The row of an unusable recording has the reason as "error", and
        None in the columns of the prediction.
        """
        if isinstance(recordings, str | Path | np.ndarray):
            recordings = [recordings]
        sources = [r if isinstance(r, np.ndarray) else (Path(r), None, None) for r in recordings]
        times = {"window_seconds": window_seconds, "hop_seconds": hop_seconds}
        return list(self.predict_rows(sources, **times))

    def predict_rows(self, sources, *, window_seconds=None, hop_seconds=None):
        """Yield the rows of `predict`; sources: (file, start, end) or waveforms."""
        check_window(window_seconds, hop_seconds)
        if self.input_seconds and (window_seconds or 0) > self.input_seconds:
            log.warning("only the first %g s of a window are used", self.input_seconds)
        batch = []
        for source in sources:
            for row, waveform in self.load_windows(source, window_seconds, hop_seconds):
                batch.append((row, waveform))
                if len(batch) == BATCH or waveform is None:
                    yield from self._predict_batch(batch)
                    batch = []
        yield from self._predict_batch(batch)

    def write_figures(
        self, sources, folder: Path, *, window_seconds=None, hop_seconds=None
    ) -> None:
        """Write a figure of each usable recording, see `draw_figure`.

        The file has the recording's name, and the start where a table has starts.
        """
        for path, start, end in sources:
            times = {"window_seconds": window_seconds, "hop_seconds": hop_seconds}
            figure = self.draw_figure(path, start, end, **times)
            if figure:
                name = path.stem if start is None else f"{path.stem}-{start:g}"
                numbered = (f"{name}-{n}.png" for n in itertools.count(2))
                names = map(atomic_files.fit_name, itertools.chain([f"{name}.png"], numbered))
                files = (folder / name for name in names)
                with keep_going(f"{path}: its picture"):
                    save_figure(figure, next(file for file in files if not file.exists()))

    def draw_figure(self, path, start=None, end=None, *, window_seconds=None, hop_seconds=None):
        """Draw the predictions for a recording over time; windows overlap by default.

        Return None where no window is usable, or the recording is longer than
        LONGEST_PICTURED_SECONDS, which is logged.
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
            waveform = decode.load_audio(
                path, sample_rate_hz=self.sample_rate_hz, channel=self.channel, **times
            )
        except DataError:
            return None
        rows = self.predict_rows([waveform], window_seconds=window, hop_seconds=hop)
        rows = [row for row in rows if not row["error"]]
        if not rows:
            return None
        return draw_prediction(
            [(row["start"] + row["end"]) / 2 for row in rows],
            [[row[name] for name in self.classes] for row in rows],
            self.classes,
            waveform,
            self.sample_rate_hz,
            f"{file_names.escape(path.name)}, windows of {window:g} s",
        )

    def load_windows(self, source, window_seconds, hop_seconds):
        """Yield (first columns of the row, waveform) of each window; unusable: waveform None.

        source: (file, start, end) or a waveform.
        """
        in_memory = isinstance(source, np.ndarray)
        path, first, last = (None, None, None) if in_memory else source
        name = "" if in_memory else str(path)
        row = {"file": name, "start": first or 0.0, "end": last, "error": ""}
        sizes = window_seconds, hop_seconds, self.input_seconds
        try:
            with contextlib.ExitStack() as stack:
                if in_memory:
                    windows = self._cut(check_waveform(source, silence=True), sizes)
                else:
                    recording = stack.enter_context(
                        decode.open_recording(path, first, last, self.channel)
                    )
                    windows = read_windows(recording, self.sample_rate_hz, *sizes)
                for start, end, waveform in windows:
                    row |= {"start": round(start, 3), "end": round(end, 3)}
                    if isinstance(waveform, DataError):
                        yield row | {"error": str(waveform).removeprefix(f"{name}: ")}, None
                    else:
                        yield dict(row), waveform
        except DataError as error:
            yield row | {"error": str(error).removeprefix(f"{name}: ")}, None

    def _cut(self, waveform, sizes):
        """Yield (start, end, waveform or DataError) of the windows of a waveform."""
        rate = self.sample_rate_hz
        for start, end in split_into_windows(len(waveform) / rate, *sizes):
            try:
                part = check_waveform(waveform[round(start * rate) : round(end * rate)])
            except DataError as error:
                part = error
            yield start, end, part

    def _predict_batch(self, batch):
        waveforms = [waveform for _, waveform in batch if waveform is not None]
        outputs = iter(self.infer_batch(waveforms)) if waveforms else iter(())
        for row, waveform in batch:
            values = None if waveform is None else next(outputs)
            if not isinstance(values, DataError | NoneType) and not np.isfinite(values).all():
                values = DataError("the model's outputs are not finite; is it a recording?")
            if isinstance(values, DataError):
                row, values = row | {"error": str(values)}, None
            yield {name: row.get(name) for name in self.columns} | self._format_values(values)

    def _format_values(self, values) -> dict:
        if values is None:
            return {}
        row = {name: round(float(v), 6) for name, v in zip(self.classes, values, strict=True)}
        if not self.predicts_ratings:
            best = int(np.argmax(values))
            row |= {"predicted": self.classes[best], "confidence": round(float(values[best]), 6)}
        return row

    def infer_batch(self, waveforms, select=None) -> list:
        """Return an output for each waveform, or the DataError of openSMILE.

        select: function of the inference function's outputs -> one for each waveform; None: the
        probabilities or ratings.
        """
        select = select or (lambda outputs: list(served_model.main_output(outputs)))
        if not self.extractor:
            lengths = np.array([len(waveform) for waveform in waveforms], "int32")
            padded = np.zeros((len(waveforms), lengths.max()), "float32")
            for row, waveform in zip(padded, waveforms, strict=True):
                row[: len(waveform)] = waveform
            return select(self.infer(tf.constant(padded), tf.constant(lengths)))
        extracted = self.extractor.extract(waveforms)
        usable = [x for x in extracted if not isinstance(x, DataError)]
        shape = self.opensmile_input.shape
        outputs = iter(())
        if usable:
            features = np.stack([served_model.pad_features(x, shape) for x in usable])
            outputs = iter(select(self.infer(tf.constant(features))))
        return [x if isinstance(x, DataError) else next(outputs) for x in extracted]


def load_predictor(folder, *, seed=None, fold=0, channel=None) -> Predictor:
    """Load a run directory of tfser-train, a folder of tfser-export, or a preset by its name.

    channel: of the files, see `decode.load_audio`; None: as in training.

    Raises UsageError where the folder is neither, DataError where a file is missing or damaged.
    """
    folder = find_folder(folder)
    if (folder / "tfser.json").exists():
        if seed is not None or fold:
            raise UsageError(f"{folder} is an export, of one seed and fold; leave both out")
        return _load_export(folder, channel)
    check_folder(folder)
    run = load_run(folder, seed=seed, fold=fold)
    inference = served_model.load_inference_function(run)
    infer = tf.function(inference.function, reduce_retracing=True)
    return Predictor(
        infer,
        run.classes,
        inference.sample_rate_hz,
        inference.opensmile_input,
        inference.input_seconds,
        run.channel if channel is None else channel,
    )


def _load_export(folder: Path, channel) -> Predictor:
    try:
        about = atomic_files.read_dict(folder / "tfser.json", "export the run again")
        if about["format"] != served_model.FORMAT:
            raise DataError(f"{folder} is of another version of tfser; export the run again")
        if (form := about.get("form", "savedmodel")) != "savedmodel":
            raise UsageError(
                f"{folder} is of --format {form}; give one of --format savedmodel, or the run"
            )
        # The keys of tfser.json stay as they are in exports of earlier versions.
        opensmile_input = about["smile"] and served_model.OpenSmileInput(**about["smile"])
        settings = about["sample_rate_hz"], opensmile_input, about["heard_seconds"]
        channel = about.get("channel", 0) if channel is None else channel
        classes = about["classes"]
        export_graph.check_graph(folder)
        model = tf.saved_model.load(str(folder))
        signature = model.signatures["serving_default" if opensmile_input else "lengths"]
    except (OSError, ValueError, KeyError, TypeError, IndexError, tf.errors.OpError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{folder} is damaged: {reason}; export the run again") from None
    names = ["features"] if opensmile_input else ["waveform", "lengths"]

    def infer(*inputs, keep=model):  # the signature's variables live as long as the model
        return signature(**dict(zip(names, inputs, strict=True)))

    return Predictor(infer, classes, *settings, channel)


def check_waveform(waveform, *, silence=False) -> np.ndarray:
    """Return a waveform [samples] as float32; raise DataError where it is unusable."""
    if waveform.ndim != 1:
        raise DataError(f"a waveform has one dimension, [samples], not {waveform.ndim}")
    if not np.issubdtype(waveform.dtype, np.floating):
        raise DataError(f"a waveform is of floats from -1 to 1, not {waveform.dtype}")
    if not len(waveform):
        raise DataError("no samples")
    fault = waveform_checks.find_fault(waveform, noise=0.0 if silence else NOISE)
    if fault and not (silence and not waveform.any()):
        raise DataError(fault)
    return np.asarray(waveform, "float32")
