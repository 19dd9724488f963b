"""The earlier training of a network that a run starts from, and the speakers that it knows."""

import logging
import re
from typing import NamedTuple

log = logging.getLogger("tfser")

SEEN = "seen_speakers"  # value of the flag
NAMED_SPEAKERS = 3  # in the warning


class EarlierTraining(NamedTuple):
    """Training of the network that a run starts from, in another run or for a preset.

    setting: of this run that names it: "train.init", "features.from".
    name: of the preset, or of the run directory.
    speakers: {corpus: names of the speakers who trained it}; None: all speakers of the corpus.
    """

    setting: str
    name: str
    speakers: dict[str, list[str] | None]

    def list_seen(self, corpus: str, utterances, splits) -> list[str]:
        """List the speakers of this run's test sets who trained it.

        Names are compared within one corpus: speaker 03 of another corpus is somebody else.

        Args:
            corpus: of this run; "a-to-b" where corpus b is tested, whose speakers are "b-<name>".
            utterances: of the run.
            splits: seed -> list of Split.
        """
        tested = {utterances[i].speaker for of in splits.values() for s in of for i in s.test}
        seen = set()
        for known_corpus, names in self.speakers.items():
            prefix = ""
            if corpus != known_corpus:
                prefix = f"{known_corpus}-"
                if not corpus.endswith(f"-to-{known_corpus}"):
                    continue
            of_corpus = {speaker for speaker in tested if speaker.startswith(prefix)}
            known = of_corpus if names is None else {prefix + name for name in names}
            seen |= of_corpus & known
        return sorted(seen)

    def flags(self, seen: list[str]) -> dict[str, str]:
        """Return the flag of the RESULT line: {"init": name}, or "seen_speakers" for the name."""
        name = re.sub(r"[\s=]+", "_", self.name)
        return {self.setting.partition(".")[2]: SEEN if seen else name}

    def facts(self, seen: list[str]) -> list[str]:
        """Return the facts for the report."""
        known = f", trained on {len(seen)} speakers of the test sets" if seen else ""
        return [f"{self.setting} {self.name}{known}"]


def warn_of_seen_speakers(earlier: EarlierTraining | None, corpus: str, utterances, splits) -> None:
    """Warn where test speakers trained the network that the run starts from."""
    if earlier is None:
        return
    if seen := earlier.list_seen(corpus, utterances, splits):
        some = ", ".join(seen[:NAMED_SPEAKERS]) + ", ..." * (len(seen) > NAMED_SPEAKERS)
        flag = next(iter(earlier.flags(seen)))
        log.warning(
            "%s=%s was trained on %d speakers of the test sets (%s) with their labels: the score "
            "is no result for unseen speakers (%s=%s, speaker_independent=no); test on another "
            "corpus, or start from a network that they did not train",
            *(earlier.setting, earlier.name, len(seen), some, flag, SEEN),
        )
