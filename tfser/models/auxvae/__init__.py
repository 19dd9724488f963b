"""Multi-timescale variational autoencoder (Aux-VAE).

Needs: unlabelled speech (LibriSpeech; vae.corpus).

Almotlak, Weber, Qu, Wermter 2020, "Variational Autoencoder with Global- and Medium Timescale
Auxiliaries for Emotion Recognition from Speech", ICANN 2020.

Implemented: the network with h, m and z and its lower bound, Eq. (5); training on speech without
labels (section 5.2); linear probes for speaker and gender (section 6.1, table 1), regression of
arousal and valence by squared error and by CCC (section 6.3, table 2, a row of table 3), maps of h
and m (figure 2), voice transformation (section 6.4, figure 3: tfser-transform). The model of
Springenberg et al. 2019 (table 1) is `--hparams auxvae.springenberg`; `--set model.medium=false`
is our model without m.

Where to look:
- section 3, Eq. (5), the lower bound: network.AuxVAE.bound; its distributions q and p:
  network.AuxVAE.encode, network.AuxVAE.predict_latents;
- section 4, figure 1, the six networks: subnetworks.timescale (h and m),
  subnetworks.frame_by_frame;
- section 5.2, training: pretraining.train_autoencoder, network.AuxVAE.train_step;
- section 6, splits: splits.make_splits, of published lists: splits.read_lists;
  probes: probes.make_classifiers, probes.make_regressors, probes.train_probes;
  tables 1 to 3: experiment.train, experiment.score_seed;
- figure 2: figures.write_figures; section 6.4: transformation.transform.

Not in the paper (reasons on the card, zoo/auxvae/README.md):
- additions of the authors' code are marked "code" in hparams/auxvae.toml;
- recordings that are no multiple of 4 s: the rest counts, padded with silence;
- an utterance's prediction is the mean over its pieces;
- emotions as classes, and the spectrogram's mean over time as a row beside h, m and z;
- gender and emotion of unseen speakers (`--protocol loso`);
- the CCC over all utterances, as in the challenge.

This package re-exports nothing, so that its splits are made without TensorFlow.
"""
