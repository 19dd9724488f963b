"""Attentive CNN (ACNN) with representations of a sequence autoencoder.

Needs: unlabelled speech if autoencoder.corpus names it.

Neumann, Vu 2019, "Improving Speech Emotion Recognition with Unsupervised Representation Learning
on Unlabeled Speech", ICASSP 2019.

Implemented: the five conditions of table 1, within a corpus (leave one session out) and across two
(`--test-corpus`); attention (Eq. 1) and the multi-view loss (Eq. 2); auDeep's spectrograms and
recurrent autoencoder, in all combinations of directions; figures 2 to 4.

Where to look:
- section 2, figure 1 right, the network: network.ACNN; Eq. (1), attention:
  network.AttentionPooling;
- Eq. (2), the multi-view loss: network.view_weights and network.cross_entropy, joined in
  network.ACNN.compile;
- section 2, log-mel frames: dataset.make_input_layer; section 3, labels of arousal and valence:
  dataset.make_views;
- figure 1 left, steps (1) and (2): pretraining.train_autoencoder and
  pretraining.load_representations; the autoencoder: autoencoder.SequenceAutoencoder,
  autoencoder.rmse;
- section 4.1, sessions and two corpora: splits.make_splits; the conditions of table 1:
  hparams/acnn.*.toml, experiment.condition_name;
- section 4.3, table 1: experiment.train, experiment.train_network; figure 2:
  figures.write_confusion_pair; figures 3 and 4: figures.write_figures.

Not in the paper (reasons on the card, zoo/acnn/README.md):
- activation (ReLU) and padding (none) of the convolution, batch size and learning rate;
- z-score of each band with the training set's statistics, padding after it, and of the
  representation;
- the epoch that is kept: best dev UAR; the dev set: the session after the tested session;
- settings that auDeep leaves to its user: 7.5 s, -60 dB, batches of 64;
- corpora without arousal and valence: the emotion's cross-entropy alone;
- corpora without sessions: five groups of speakers.

This package re-exports nothing, so that its splits are made without TensorFlow.
"""
