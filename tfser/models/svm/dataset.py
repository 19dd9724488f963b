"""The data of the SVM: functionals."""

from tfser.features.opensmile import OpenSmile
from tfser.models.svm.splits import select_utterances


def make_opensmile(settings) -> OpenSmile:
    """Return the feature: one row of functionals per utterance."""
    return OpenSmile(
        sample_rate_hz=settings["sample_rate_hz"],
        feature_set=settings["feature_set"],
        level="functionals",
    )


def extract_features(corpus, utterances, hp, make) -> None:
    """Call make(utterances, feature) for each feature that `train` loads; see `cli.extract`."""
    make(select_utterances(utterances, hp), make_opensmile(hp["features"]))
