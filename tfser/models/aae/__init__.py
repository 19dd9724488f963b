"""Adversarial autoencoder (AAE).

Needs: openSMILE.

Parthasarathy, Rozgic, Sun, Wang 2019, "Improving Emotion Classification through Variational
Inference of Latent Variables", ICASSP 2019.

Implemented: the five rows of table 1: the supervised baseline and the AAE, vanilla and optimized,
on utterances (6373 IS13 functionals, sections 5.1 and 5.2) and on frames (65 low-level descriptors,
section 5.3, table 2); the ablations of section 5.2; the folds of section 5.1; semi-supervised
training (section 4.1); t-tests between rows (on the card).

Where to look:
- section 3.1, three classes: corpora.labels.to_three_classes; section 3.2, features:
  dataset.make_opensmile;
- section 4.1, the three phases with their losses, weights and optimizers:
  network.AdversarialAutoencoder.phases, which train_step runs on each mini-batch;
- section 4.1, q(y, z | x), p(x | y, z) and the discriminators: subnetworks.encoder,
  subnetworks.decoder, subnetworks.discriminator;
- section 5.1, the baseline: subnetworks.baseline; the folds: splits.make_splits; the epoch that is
  kept: training.loop.best_uar_epoch;
- section 5.2, the priors: dataset.make_autoencoder_batches; the changes of the optimized AAE, each
  with a setting: [vanilla] and [optimized] of hparams/aae.toml, which experiment.new_network and
  experiment.compiled_network read;
- section 5.3, table 2: subnetworks._FILTERS, subnetworks.encoder, subnetworks.decoder;
- table 1: experiment.train, experiment.train_network.

Not in the paper (reasons on the card, zoo/aae/README.md):
- the optimizers and the learning rate of the AAE (the paper has those of the baseline), the batch
  size, the order of the updates: reconstruction, both discriminators, generator, classification;
- ratings with ties to neutral; Nadam's momentum as in Dozat (2016), not as in Keras 3;
- mean squared error as the reconstruction loss, without the padding of frames, the generator's
  loss -log D, unweighted losses in an update each; ReLU in the discriminators; batch normalization
  before the activation;
- of few labels: batches of phase 3 of their own, dev sets with as small a share of labels;
- z-score with the training set's statistics, unlabelled utterances included, clipped;
- the dev score that chooses the epoch: UAR, then the loss;
- frames cut or padded to a fixed length, the decoder's last convolution to 65 descriptors;
- corpora without sessions: leave one speaker out, the next speaker is dev.

This package re-exports nothing, so that its splits are made without TensorFlow.
"""
