"""Coverage of the intervals and size of the tests, by simulation.

    python benchmarks/statistics_simulation.py [--trials 2000] [--out FILE.json]

Speakers have abilities, and each is right on an utterance with the probability of its speaker.
Coverage: how often the 95 % interval of the UAR holds the mean ability of all speakers. Size: how
often a test of two systems that are equally good has a probability under 0.05.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from tfser.evaluation import intervals, significance
from tfser.storage import atomic_files

ABILITY, SPREAD = 0.6, 0.15  # mean and standard deviation over speakers


def main():
    """Print a row for each number of speakers."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--utterances", type=int, default=60, help="of each speaker")
    parser.add_argument("--draws", type=int, default=1000, help="of each bootstrap")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = []
    for n_speakers in (4, 10, 24):
        row = {"speakers": n_speakers, "utterances": args.utterances, "trials": args.trials}
        rows.append(row | simulate(n_speakers, args.utterances, args.trials, args.draws))
        print(json.dumps(rows[-1]), flush=True)
    if args.out:
        atomic_files.write_json(args.out, rows)


def simulate(n_speakers: int, n_each: int, trials: int, draws: int) -> dict:
    """Return {name: share of the trials}."""
    rng = np.random.default_rng(n_speakers)
    speaker = np.repeat(np.arange(n_speakers), n_each)
    utterance = np.arange(len(speaker))
    y = np.tile([0, 1], len(speaker) // 2)
    counts = dict.fromkeys(
        ("coverage_over_speakers", "coverage_over_utterances", "coverage_of_the_difference",
         "size_of_mcnemar", "size_of_the_permutation_test"), 0
    )  # fmt: skip

    def predict(ability):
        return np.where(rng.random(len(y)) < ability[speaker], y, 1 - y)

    for _ in range(trials):
        ability = np.clip(rng.normal(ABILITY, SPREAD, n_speakers), 0, 1)
        a, b = predict(ability), predict(ability)
        for name, groups in (("speakers", speaker), ("utterances", utterance)):
            low, high = intervals.uar_interval(y, a, groups, 2, n_draws=draws)
            counts[f"coverage_over_{name}"] += low <= ABILITY <= high
        _, (low, high) = intervals.uar_difference_interval(y, a, b, speaker, 2, n_draws=draws)
        counts["coverage_of_the_difference"] += low <= 0 <= high
        counts["size_of_mcnemar"] += significance.mcnemar(a == y, b == y) < 0.05
        right = np.bincount(speaker, a == y) / n_each
        genders = rng.permutation(np.arange(n_speakers) % 2)
        p = significance.permutation_test(
            lambda dealt, right=right: right[dealt == 0].mean() - right[dealt == 1].mean(),
            genders,
            n_draws=500,
        )
        counts["size_of_the_permutation_test"] += p < 0.05
    return {name: round(count / trials, 4) for name, count in counts.items()}


if __name__ == "__main__":
    main()
