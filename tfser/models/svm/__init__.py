"""Linear SVM on openSMILE functionals, the usual baseline.

Needs: openSMILE.

It is of no paper of the zoo. Implemented: 6373 functionals per utterance (IS13: Schuller et al.,
Interspeech 2013), z-score with the training set's statistics, scikit-learn's SVC with a linear
kernel. `features.normalize = "speaker"` takes the statistics of each speaker instead, also of the
test speaker. This is transductive: such a system cannot predict one utterance of an unseen speaker.
Every result names it.

Where to look:
- features and splits: dataset.make_opensmile, splits.make_splits;
- the SVM: experiment.fit_folds; the scores: experiment.train;
- the SVM in TensorFlow, for exports: inference.Votes.

This package re-exports nothing, so that its import needs neither TensorFlow nor Keras.
"""
