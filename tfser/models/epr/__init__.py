"""Emotion profile refinery (EPR).

Mao, Ching, Lee 2020, "Emotion Profile Refinery for Speech Emotion Classification",
arXiv 2008.05259.

Implemented: VGG configuration E on segments of log-mel frames (sections 2.1, 4.1), T rounds of
refined labels (section 2.2, Eq. 1-4) in the paper's four ways (sections 4.2-4.4), utterance
statistics of the emotion profiles and a random forest (section 2).

Where to look:
- section 2, figure 1, the statistics of profiles and the random forest: forest.statistics,
  forest.fit_forest, forest.classify;
- section 2.1.1, log-mel filterbanks: dataset.make_log_mel; Eq. (1), the VGG: network.EPR; Eq. (2),
  the profile of an utterance: the segments of dataset.load_dataset, experiment.train_network;
- section 2.2, rounds: refinery.list_networks, experiment.train_rounds; refined labels:
  refinery.refine;
- section 2.2.1, Eq. (3) and (4), soft cross-entropy: network.EPR.compile;
- section 4.1, segments: dataset.load_dataset; both ten-fold cross-validations: splits.make_splits,
  splits.make_forest_splits; training: experiment.train_network, training.loop.fit; decay of the
  learning rate: schedule.EpochDecay;
- sections 4.2 to 4.4, tables 2 to 4: experiment.train (refinery.labels=all); figures 2 and 4:
  figures.draw_profiles; figure 3: evaluation.classification_report.finish_run.

Not in the paper (reasons on the card, zoo/epr/README.md):
- the initializer, a learning rate below the paper's, a decay in steps, and a patience that waits
  until the loss has left chance;
- the dev set of early stopping, and the epoch that is kept: the epoch with the lowest dev loss;
- per-band z-score with the training set's statistics, the floor of the logarithm, the Hann window;
- the four statistics (maximum, minimum, mean, share of segments above a threshold);
- protocol `loso`: neither networks nor forest are trained on the test speaker.

This package re-exports nothing, so that its splits are made without TensorFlow.
"""
