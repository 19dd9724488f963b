"""BEGAN representations under supervised heads.

Pereira, Santos, Maciel, Barros 2018, "Semi-supervised Model for Emotion Recognition in Speech",
ICANN 2018.

Reproduced: the boundary equilibrium GAN on speech without labels (section 2.1; Berthelot et al.
2017), its encoder frozen under a head for each task (sections 2.2, 2.3), and the protocols of
section 3.3: each speaker for itself (table 1), the corpus's own parts (table 2), leave one speaker
out (table 3). The search for a head is tfser-search.

Not in the paper (reasons on the card, zoo/began/README.md):
- what the authors' challenge entry and the BEGAN it is built on add is marked "code" in
  hparams/began.toml;
- the head's layers, and the space in which they are searched;
- the epoch kept: of BEGAN the lowest M_global, of a head the best on dev;
- pictures between 0 and 1;
- the rows beside: an untrained encoder, and one that is trained with the head.
"""

from tfser.models.began.experiment import train
from tfser.models.began.heads import head
from tfser.models.began.network import Began

__all__ = ["Began", "head", "train"]
