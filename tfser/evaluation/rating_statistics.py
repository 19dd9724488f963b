"""Scores of predicted ratings with their intervals: CCC, Pearson's r and RMSE.

Each of the scores is a function of six sums, and sums of speakers add up: a draw of speakers is a
weighted sum of their sums, as it is with confusion matrices in `intervals`.
"""

import numpy as np

from tfser.evaluation import intervals
from tfser.evaluation.comparison import group_by_speaker


def group_sums(y, p, groups, n_groups: int) -> np.ndarray:
    """Sum 1, y, p, y^2, p^2 and y p over each group: [n_groups, 6].

    Args:
        y, p: true and predicted ratings [n].
        groups: number of the group of each utterance [n].
    """
    y, p = np.asarray(y, np.float64), np.asarray(p, np.float64)
    terms = np.stack([np.ones_like(y), y, p, y * y, p * p, y * p], axis=-1)
    sums = np.zeros((n_groups, terms.shape[-1]))
    np.add.at(sums, groups, terms)
    return sums


def ccc_of_sums(sums) -> np.ndarray:
    """Return the CCC of sums [..., 6], as `metrics.ccc`; 0 where y and p are one constant."""
    var_y, var_p, covariance, shift = _moments(sums)
    return _divide(2 * covariance, var_y + var_p + shift**2)


def pearson_of_sums(sums) -> np.ndarray:
    """Return Pearson's correlation of sums [..., 6]; 0 where y or p is constant."""
    var_y, var_p, covariance, _ = _moments(sums)
    return _divide(covariance, np.sqrt(var_y * var_p))


def rmse_of_sums(sums) -> np.ndarray:
    """Return the root of the mean squared error of sums [..., 6]."""
    n, _, _, yy, pp, yp = np.moveaxis(sums, -1, 0)
    return np.sqrt(np.maximum((yy + pp - 2 * yp) / n, 0))


SCORES = {"ccc": ccc_of_sums, "pearson": pearson_of_sums, "rmse": rmse_of_sums}


def describe_ratings(seeds: list[tuple]) -> dict:
    """Return {"ccc", "pearson", "rmse": {"mean" over the seeds, "interval"}} of one attribute.

    The interval is that of the mean over the seeds, by a percentile bootstrap over speakers;
    "interval_over" says "utterances" where there is one speaker.

    seeds: of each seed (true ratings [n], predicted ratings [n], predicted utterances [n]).
    """
    utterances = [u for *_, of_seed in seeds for u in of_seed]
    speakers = [u.speaker for u in utterances]
    over, groups = group_by_speaker(speakers, [u.name for u in utterances])
    names, numbers = np.unique(groups, return_inverse=True)
    ends = np.cumsum([len(y) for y, *_ in seeds])[:-1]
    centre = np.mean(seeds[0][0])  # small numbers: sums of squares then keep their digits
    sums = np.stack(
        [
            group_sums(np.asarray(y) - centre, np.asarray(p) - centre, own, len(names))
            for (y, p, _), own in zip(seeds, np.split(numbers, ends), strict=True)
        ],
        axis=1,
    )  # [groups, seeds, 6]
    weights = intervals.draw_weights(len(names))
    described = {"interval_over": over, "n_speakers": len(set(speakers))}
    for name, score in SCORES.items():
        drawn = intervals.draw_scores(score, sums, weights).mean(axis=1)
        described[name] = {
            "mean": float(score(sums.sum(axis=0)).mean()),
            "interval": list(intervals.percentile_interval(drawn)),
        }
    return described


def _moments(sums) -> tuple[np.ndarray, ...]:
    """Return variance of y, of p, their covariance, and mean(y) - mean(p); divided by n."""
    n, y, p, yy, pp, yp = np.moveaxis(np.asarray(sums, np.float64), -1, 0)
    y, p = y / n, p / n
    variances = (np.maximum(square / n - mean**2, 0) for square, mean in ((yy, y), (pp, p)))
    return *variances, yp / n - y * p, y - p


def _divide(a, b) -> np.ndarray:
    # Below the rounding error of a variance of ratings, which are about 1, there is no spread.
    return np.divide(a, b, out=np.zeros_like(a), where=b > 1e-12)
