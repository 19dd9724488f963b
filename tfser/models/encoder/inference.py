"""The encoder and the SVM as a function of waveforms."""

import numpy as np
import tensorflow as tf

from tfser.errors import ConflictError, DataError
from tfser.features import resemblyzer
from tfser.features.onnx_encoder import OnnxEncoder
from tfser.inference import served_model
from tfser.models.encoder.dataset import make_encoder
from tfser.models.encoder.experiment import name_encoder
from tfser.models.svm.inference import OUTPUTS, Votes


def make_inference_function(run) -> served_model.InferenceFunction:
    """Return the function from waveforms to the votes of the pairs of classes.

    Raises ConflictError where the ONNX file of the run was replaced.
    """
    served_model.refuse_speaker_normalization(run)
    encoder = make_encoder(run.hp["encoder"])
    votes = Votes(served_model.load_arrays(run.network / "svm.npz"), len(run.classes))
    flag = name_encoder(encoder)
    if flag.items() - run.scores["flags"].items():
        raise ConflictError(
            f"{run.folder} was trained with the encoder {run.scores['flags'].get('encoder')}, and "
            f"{encoder.path} is now {flag['encoder']}; put the file back"
        )
    if isinstance(encoder, OnnxEncoder):
        encode, parts, notices = encode_outside(encoder), {}, {}
    else:
        encode, parts, notices = encoder, {"encoder": encoder}, resemblyzer.list_notices()

    def function(waveform, lengths):
        features = encode(waveform, lengths)[:, 0]
        return {"probabilities": votes(features)}

    return served_model.InferenceFunction(
        function,
        {**parts, "votes": votes},
        OUTPUTS,
        encoder.sample_rate_hz,
        notices=notices,
    )


def encode_outside(encoder):
    """Return a function (waveform, lengths) -> features by onnxruntime, outside the graph."""

    def encode(waveforms, lengths):
        rows = [x[:n] for x, n in zip(waveforms, lengths, strict=True)]
        features = encoder.extract(rows)
        for row in features:
            if isinstance(row, DataError):
                raise row
        return np.stack(features)

    def encode_tensors(waveform, lengths):
        features = tf.numpy_function(encode, [waveform, lengths], tf.float32)
        return tf.ensure_shape(features, [None, 1, encoder.n_features])

    return encode_tensors
