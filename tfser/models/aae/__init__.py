"""The adversarial autoencoder (AAE).

Parthasarathy, Rozgic, Sun, Wang 2019, "Improving Emotion Classification through Variational
Inference of Latent Variables", ICASSP 2019.

Reproduced: the five rows of table 1, which are the supervised baseline and the AAE, vanilla and
optimized, on utterances (6373 IS13 functionals, sections 5.1 and 5.2) and on frames (65 low-level
descriptors, section 5.3, table 2); the folds of section 5.1; semi-supervised training (section
4.1); t-tests between rows (on the card).

Not in the paper (reasons on the card, zoo/aae/README.md):
- the AAE's optimizers and rate (the paper gives the baseline's), the batch size, and their order
  in a batch: reconstruction, both discriminators, generator, classification;
- mean squared error as the reconstruction's loss, the generator's loss -log D, the losses
  unweighted in updates of their own; ReLU in the discriminators; batch normalization before the
  activation;
- z-score with the training part's statistics, unlabelled utterances included, clipped;
- the dev score that chooses the epoch: UAR, then the loss;
- frames cut or padded to a fixed length, the decoder's last convolution to 65 descriptors;
- corpora without sessions: leave one speaker out, the next speaker is dev.
"""

from tfser.models.aae.experiment import train
from tfser.models.aae.network import AdversarialAutoencoder, baseline

__all__ = ["AdversarialAutoencoder", "baseline", "train"]
