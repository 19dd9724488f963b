"""The experiment of the SVM on an encoder: that of `svm`, with other features."""

from pathlib import Path

from tfser.features.onnx_encoder import OnnxEncoder
from tfser.models.encoder.dataset import make_encoder
from tfser.models.svm.experiment import train_on_features


def train(utterances, hp, run, tested=None) -> dict | None:
    """Cross-validate, or test on another corpus; see `svm.experiment.train`."""
    encoder = make_encoder(hp["encoder"])
    return train_on_features(
        utterances,
        hp,
        run,
        tested,
        model="encoder",
        system="encoder",
        make_feature=lambda: encoder,
        facts=["Resemblyzer 0.1.4"] if hp["encoder"]["path"] == "" else [],
        flags=name_encoder(encoder),
    )


def name_encoder(encoder) -> dict[str, str]:
    """Return the flag of an encoder of the user's own: its file's name and hash."""
    if not isinstance(encoder, OnnxEncoder):
        return {}
    return {"encoder": f"{Path(encoder.path).name}-{encoder.sha256[:8]}"}
