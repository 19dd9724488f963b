"""The data of the SVM: functionals of openSMILE, or embeddings of another system's network."""

from tfser.features.opensmile import OpenSmile
from tfser.models.svm.splits import select_utterances


def make_opensmile(settings) -> OpenSmile:
    """Return the feature: one row of functionals per utterance."""
    return OpenSmile(
        sample_rate_hz=settings["sample_rate_hz"],
        feature_set=settings["feature_set"],
        level="functionals",
    )


def make_embedding(settings):
    """Return the `EmbeddingFeature` of features.from: one row of statistics per utterance."""
    from tfser.inference.embedding_feature import EmbeddingFeature  # needs Keras

    return EmbeddingFeature(source=settings["from"], layer=settings["layer"])


def extract_features(corpus, utterances, hp, make) -> None:
    """Call make(utterances, feature) for each feature that `train` loads; see `cli.extract`."""
    settings = hp["features"]
    make_feature = make_embedding if settings["from"] else make_opensmile
    make(select_utterances(utterances, hp), make_feature(settings))
