"""The attentive convolutional network (ACNN) with representations of a sequence autoencoder.

Neumann, Vu 2019, "Improving Speech Emotion Recognition with Unsupervised Representation Learning
on Unlabeled Speech", ICASSP 2019.

Implemented: the five conditions of table 1, within a corpus (leave one session out) and across two
(`--test-corpus`); attention (Eq. 1) and the multi-view loss (Eq. 2); auDeep's spectrograms and
recurrent autoencoder, in all combinations of directions; the pictures of figures 2 to 4.

Not in the paper (reasons on the card, zoo/acnn/README.md):
- activation (ReLU) and padding (none) of the convolution, batch size and learning rate;
- z-score of each band with the training part's statistics, padding after it;
- the epoch kept: best dev UAR, on a random part of the training speakers' utterances;
- what auDeep leaves to its user: 7.5 s, -60 dB, batches of 64;
- corpora without arousal and valence: the emotion's cross-entropy alone;
- corpora without sessions: five groups of speakers.
"""

from tfser.models.acnn.experiment import train
from tfser.models.acnn.network import AttentionPooling, acnn

__all__ = ["AttentionPooling", "acnn", "train"]
