"""The splits of the SVM on an encoder: those of `svm`."""

from tfser.models.svm.splits import make_splits, select_utterances

__all__ = ["make_splits", "select_utterances"]
