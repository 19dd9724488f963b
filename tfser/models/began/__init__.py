"""BEGAN representations under supervised heads.

Needs: unlabelled speech (LibriSpeech; began.corpus).

Pereira, Santos, Maciel, Barros 2018, "Semi-supervised Model for Emotion Recognition in Speech",
ICANN 2018.

Implemented: the boundary equilibrium GAN on speech without labels (section 2.1; Berthelot et al.
2017), its encoder frozen under a head for each task (sections 2.2, 2.3), and the protocols of
section 3.3: each speaker for itself (table 1), the corpus's own parts (table 2), leave one speaker
out (table 3). tfser-search searches for a head.

Where to look:
- section 2.1, the discriminator (an autoencoder) and the generator: network.encoder, network.code,
  network.decoder; the losses, k and gamma: network.BEGAN.train_step;
- section 2.2, the head: heads.EmotionHead; its search space: [search] in hparams/began.toml;
- section 2.3, pre-training: pretraining.train_began; the frozen encoder: pretraining.maps_network;
- section 3.2, slices of 1 s: features.magnitude_slices;
- section 3.3, the protocols: splits.make_splits; the heads: experiment.train,
  experiment.train_head;
- section 4, tables 1 to 3: experiment.score_seed; utterances from slices: dataset.merge_slices.

Not in the paper (reasons on the card, zoo/began/README.md):
- additions of the authors' challenge entry, and of the BEGAN that it extends, are marked "code" in
  hparams/began.toml;
- the head's layers, and the space in which they are searched;
- the epoch that is kept: of BEGAN the lowest M_global, of a head the best on dev;
- the scale of the pictures: magnitudes as they are (code), or between 0 and 1 (features.scaling);
- the rows beside: an untrained encoder, and an encoder that is trained with the head.

This package re-exports nothing, so that its splits are made without TensorFlow.
"""
