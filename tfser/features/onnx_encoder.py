"""A speech encoder of the user's own, such as wav2vec 2.0 or WavLM, as an ONNX file."""

import hashlib
import importlib.util
from pathlib import Path

import numpy as np

from tfser.errors import DataError, UsageError


class OnnxEncoder:
    """Statistics of an encoder's outputs: waveform [samples] -> [1, n_features], float32.

    The file takes a waveform [1, samples] and gives one output [1, frames, dims] or several.
    Features: mean and standard deviation over the frames of each output in turn. What a waveform
    needs before (a z-score, say) is part of the file.

    Args:
        path: of the file.

    Raises UsageError without onnxruntime or the file, DataError for a file that is no such encoder.
    """

    version = 1  # part of the cache key: raise it when the values change
    batch_samples = 0  # of one `extract`: one waveform

    def __init__(self, *, sample_rate_hz, path):
        if not importlib.util.find_spec("onnxruntime"):
            raise UsageError("encoder.path needs onnxruntime: pip install 'tfser[onnx]'")
        import onnxruntime  # optional

        self.arguments = {"sample_rate_hz": sample_rate_hz, "path": path}
        self.sample_rate_hz, self.path = sample_rate_hz, path
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise UsageError(f"encoder.path={path} cannot be read: {error.strerror}") from None
        self.sha256 = hashlib.sha256(content).hexdigest()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the cache has a thread per core
        options.log_severity_level = 4  # errors are exceptions
        try:  # of the bytes, not by the path: weights in further files are not in the hash
            self.session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has a class for each kind
            raise self._refuse(f"is no ONNX model of one file: {first_line(error)}") from None
        inputs = self.session.get_inputs()
        if [(x.type, len(x.shape)) for x in inputs] != [("tensor(float)", 2)]:
            taken = ", ".join(f"{x.name} {x.type} {x.shape}" for x in inputs) or "nothing"
            raise self._refuse(f"takes {taken}, not one float waveform [1, samples]")
        self.input_name = inputs[0].name
        try:
            outputs = self.run(np.zeros(sample_rate_hz, "float32"))
        except DataError as error:
            raise self._refuse(f"cannot encode a second of silence: {error}") from None
        self.n_features = 2 * sum(output.shape[-1] for output in outputs)

    def run(self, waveform) -> list[np.ndarray]:
        """Return the outputs [frames, dims] for a waveform [samples]; raise DataError."""
        try:
            outputs = self.session.run(None, {self.input_name: waveform[None]})
        except Exception as error:  # onnxruntime has a class for each kind
            raise DataError(f"the encoder failed: {first_line(error)}") from None
        shapes = [list(np.shape(output)) for output in outputs]
        for shape in shapes:
            if len(shape) != 3 or shape[0] != 1 or 0 in shape:
                raise DataError(f"the encoder gives {shapes}, not [1, frames, dims] each")
        return [output[0] for output in outputs]

    def extract(self, waveforms):
        """Return features [1, n_features] of each waveform [samples], or a DataError."""
        return [self.extract_one(waveform) for waveform in waveforms]

    def extract_one(self, waveform):
        """Return features [1, n_features] of a waveform [samples], or a DataError."""
        try:
            outputs = self.run(waveform)
        except DataError as error:
            return error
        statistics = [f(x, axis=0) for x in outputs for f in (np.mean, np.std)]
        features = np.concatenate(statistics).astype("float32")
        if len(features) != self.n_features:
            return DataError(f"{len(features)} features instead of {self.n_features}")
        return features[None]

    def settings(self):
        """Return all that decides the values, for the cache key."""
        return {
            "feature": type(self).__name__,
            "version": self.version,
            "sample_rate_hz": self.sample_rate_hz,
            "sha256": self.sha256,
        }

    def _refuse(self, reason) -> DataError:
        return DataError(f"encoder.path={self.path} {reason}; export the encoder again")


def first_line(error) -> str:
    """Return the first line of an error's message."""
    return str(error).partition("\n")[0]
