"""Probabilities of an SVM: Platt's scaling of its decision values, by speaker."""

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import GroupKFold, StratifiedKFold
from sklearn.svm import SVC

N_FOLDS = 3  # inside a training set


def estimate_probabilities(x, y, speakers, tested, c: float) -> np.ndarray | None:
    """Estimate the class probabilities of tested utterances: [m, K], K the classes of y.

    A sigmoid a class (Platt 1999) on the decision values of SVMs that were not trained on the
    speaker; the sigmoids' values are divided by their sum. The class with the highest probability
    need not be the class that the SVM predicts, which is that of most votes.

    Args:
        x, y, speakers: of the training set: features [n, features], classes [n], names [n].
        tested: features [m, features].
        c: the SVM's constant.

    Returns: None where the training set is too small to leave speakers or utterances out.
    """
    speakers, y = np.asarray(speakers), np.asarray(y)
    n_folds = min(N_FOLDS, len(np.unique(speakers)))
    if n_folds > 1:
        folds = list(GroupKFold(n_folds).split(x, y, speakers))
    elif np.unique(y, return_counts=True)[1].min() >= N_FOLDS:
        folds = list(StratifiedKFold(N_FOLDS).split(x, y))
    else:
        return None
    n_classes = len(np.unique(y))
    if any(len(np.unique(y[train])) < n_classes for train, _ in folds):
        return None
    # Products of all pairs are the linear kernel: features are long, and there are four SVMs.
    svm = SVC(kernel="precomputed", C=c)
    calibrated = CalibratedClassifierCV(svm, method="sigmoid", cv=folds, ensemble=False)
    return calibrated.fit(x @ x.T, y).predict_proba(tested @ x.T)
