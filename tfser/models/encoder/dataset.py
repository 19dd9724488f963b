"""The data of the SVM on an encoder: statistics of the encoder's outputs."""

from tfser.features.onnx_encoder import OnnxEncoder
from tfser.features.resemblyzer import SpeakerEncoder
from tfser.models.svm.splits import select_utterances


def make_encoder(settings) -> SpeakerEncoder | OnnxEncoder:
    """Return the feature: one row of statistics per utterance."""
    if settings["path"]:
        return OnnxEncoder(**settings)
    return SpeakerEncoder(sample_rate_hz=settings["sample_rate_hz"])


def extract_features(corpus, utterances, hp, make) -> None:
    """Call make(utterances, feature) for each feature that `train` loads; see `cli.extract`."""
    make(select_utterances(utterances, hp), make_encoder(hp["encoder"]))
