"""Emotion profile refinery (EPR).

Mao, Ching, Lee 2020, "Emotion Profile Refinery for Speech Emotion Classification",
arXiv 2008.05259.

Reproduced: VGG configuration E on segments of log-mel frames (sections 2.1, 4.1), T rounds of
refined labels (section 2.2, Eq. 1-4) in the paper's four ways (sections 4.2-4.4), utterance
statistics of the emotion profiles and a random forest (section 2).

Not in the paper (reasons on the card, zoo/epr/README.md):
- the initializer, a learning rate below the paper's, and a patience that waits until the loss has
  left chance;
- the dev part that early stopping watches, and the epoch kept: the one with the lowest dev loss;
- per-band z-score with the training part's statistics, the floor of the logarithm, the Hann window;
- the four statistics (maximum, minimum, mean, share of segments above a threshold);
- protocol `loso`, in which nothing has heard the test speaker.
"""

from tfser.models.epr.experiment import refine, train
from tfser.models.epr.network import vgg

__all__ = ["refine", "train", "vgg"]
