"""The multi-timescale variational autoencoder (Aux-VAE).

Almotlak, Weber, Qu, Wermter 2020, "Variational Autoencoder with Global- and Medium Timescale
Auxiliaries for Emotion Recognition from Speech", ICANN 2020.

Reproduced: the network with h, m and z and its lower bound, Eq. (5); training on speech without
labels (section 5.2); linear probes for speaker and gender (section 6.1, table 1), regression of
arousal and valence by squared error and by CCC (section 6.3, table 2, table 3's row), maps of h and
m (figure 2), voice transformation (section 6.4, figure 3: tfser-transform). The model of
Springenberg et al. 2019, without m, is `--set model.medium=false`.

Not in the paper (reasons on the card, zoo/auxvae/README.md):
- what the authors' code adds to it is marked "code" in hparams/auxvae.toml;
- recordings that are no multiple of 4 s: the rest counts, padded with silence;
- an utterance's prediction is the mean over its pieces;
- emotions as classes, and the spectrogram's mean over time as a row beside h, m and z;
- gender and emotion of speakers who were not heard in training (`--protocol loso`);
- the CCC over all utterances, as the challenge has it.
"""

from tfser.models.auxvae.experiment import train
from tfser.models.auxvae.network import AuxVAE

__all__ = ["AuxVAE", "train"]
