"""Embeddings: the outputs of a layer of a run's or a preset's network for recordings."""

import numpy as np
import tensorflow as tf

from tfser.errors import DataError, UsageError, did_you_mean
from tfser.inference import served_model
from tfser.inference.finished_run import find_folder, load_run
from tfser.inference.predictor import Predictor


class Embedder:
    """The outputs of one layer: recordings -> (file, start, end, vector).

    Args:
        folder: a run directory, or a preset by its name or folder.
        layer: a name of `list_layers`; None: the last one.
        seed, fold, channel: see `load_predictor`.

    Raises UsageError for an unknown layer, or a system that has none.

    Example:
        >>> import tfser
        >>> embedder = tfser.Embedder("epr_emodb", layer="hidden")
        >>> times, vectors = embedder.embed(tfser.corpora.load("toy")[0].path)
        >>> times.shape, vectors.shape
        ((52, 2), (52, 512))
    """

    def __init__(self, folder, layer=None, *, seed=None, fold=0, channel=None):
        run = load_run(find_folder(folder), seed=seed, fold=fold)
        inference = served_model.load_inference_function(run)
        self.layers = inference.embeddings
        if not self.layers:
            raise UsageError(f"{folder}: {run.model} has no layers to embed with")
        self.layer = layer or list(self.layers)[-1]
        if self.layer not in self.layers:
            raise UsageError(
                f"layer {layer}: {run.model} has {', '.join(self.layers)}"
                f"{did_you_mean(layer, self.layers)}"
            )
        self.embedding = self.layers[self.layer]
        self.sample_rate_hz = inference.sample_rate_hz
        self._predictor = Predictor(
            tf.function(inference.embed or inference.function, reduce_retracing=True),
            run.classes,
            inference.sample_rate_hz,
            inference.opensmile_input,
            inference.input_seconds,
            run.channel if channel is None else channel,
        )

    def embed(self, recording, *, window_seconds=None, hop_seconds=None):
        """Return the times [n, 2] in seconds and vectors [n, size] of one recording.

        recording: a path, or a waveform [samples]. Raises DataError where it is unusable.
        """
        times, vectors = [], []
        source = recording if isinstance(recording, np.ndarray) else (recording, None, None)
        for _, start, end, vector in self.embed_rows(
            source, window_seconds=window_seconds, hop_seconds=hop_seconds
        ):
            if isinstance(vector, DataError):
                raise vector
            times.append((start, end))
            vectors.append(vector)
        return np.array(times), np.array(vectors)

    def embed_rows(self, source, *, window_seconds=None, hop_seconds=None):
        """Yield (file, start, end, vector) of one recording; an unusable window has a DataError.

        source: (file, start, end) or a waveform. Windows are read one after the other.
        """
        for row, waveform in self._predictor.load_windows(source, window_seconds, hop_seconds):
            if waveform is None:
                yield row["file"], row["start"], row["end"], DataError(row["error"])
                continue
            [outputs] = self._predictor.infer_batch([waveform], self._select)
            if isinstance(outputs, DataError):
                yield row["file"], row["start"], row["end"], outputs
                continue
            yield from self._cut(row, *outputs)

    def _select(self, outputs) -> list[tuple]:
        """Return (values, number of steps) of each window of a batch."""
        values = outputs[self.layer].numpy()
        counts = self.embedding.counts
        counts = [None] * len(values) if counts is None else outputs[counts].numpy()
        return list(zip(values, counts, strict=True))

    def _cut(self, row, values, count):
        """Yield a row for the window, or one for each step."""
        step = self.embedding.step_seconds
        if not np.isfinite(values).all():
            error = DataError("the layer's outputs are not finite; is it a recording?")
            yield row["file"], row["start"], row["end"], error
        elif step is None:
            yield row["file"], row["start"], row["end"], values
        else:
            length = self.embedding.length_seconds or step
            for number, vector in enumerate(values[:count]):
                start = row["start"] + number * step
                end = min(start + length, row["end"])
                yield row["file"], round(start, 3), round(end, 3), vector
