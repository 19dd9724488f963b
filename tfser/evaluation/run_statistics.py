"""What a run's score is worth: intervals, classes, speakers, genders, calibration."""

import numpy as np

from tfser.evaluation import calibration, intervals, metrics, significance
from tfser.evaluation.comparison import group_by_speaker

GENDERS = ("female", "male")


def describe_predictions(y, p, probabilities, speakers, genders, classes) -> dict:
    """Return the statistics of a system's predictions, for scores.json.

    Args:
        y: true classes [n].
        p: predicted classes [seeds, n].
        probabilities: [seeds, n, K], or None.
        speakers, genders: of each utterance [n]; a gender may be None.
        classes: names [K].

    Returns: {"interval_over", "uar_interval", "wa_interval", "recall", "precision",
    "uar_by_speaker" (lowest first), "uar_by_gender", "gender_gap", "calibration"}. Means are over
    the seeds. Entries that the corpus does not allow are missing.
    """
    y, p, speakers = np.asarray(y), np.atleast_2d(p), np.asarray(speakers)
    over, groups = group_by_speaker(speakers)
    confusions = intervals.group_confusions(y, p, groups, len(classes))
    drawn = np.tensordot(intervals.draw_weights(len(confusions)), confusions, 1)
    hits = np.trace(drawn, axis1=1, axis2=2)
    total = confusions.sum(axis=0)
    of_speaker = {
        str(s): _mean_uar(y[speakers == s], p[:, speakers == s]) for s in np.unique(speakers)
    }
    result = {
        "interval_over": over,
        "uar_interval": list(intervals.percentile_interval(intervals.uar_of_confusions(drawn))),
        "wa_interval": list(intervals.percentile_interval(hits / drawn.sum(axis=(1, 2)))),
        "recall": _shares(total.diagonal(), total.sum(axis=1), classes),
        "precision": _shares(total.diagonal(), total.sum(axis=0), classes),
        "uar_by_speaker": dict(sorted(of_speaker.items(), key=lambda item: item[1])),
    }
    result |= describe_genders(y, p, speakers, genders, len(classes))
    if probabilities is not None:
        result["calibration"] = describe_calibration(y, probabilities)
    return result


def describe_genders(y, p, speakers, genders, n_classes: int) -> dict:
    """Return {"uar_by_gender", "gender_gap"}: UAR of women - UAR of men, its interval and test.

    The bootstrap draws speakers of each gender apart; the test deals the genders to the speakers at
    random. {} where a gender is unknown or has fewer than two speakers.
    """
    genders = np.array([gender or "" for gender in genders])
    of_speaker = {s: genders[speakers == s][0] for s in np.unique(speakers)}
    counts = [list(of_speaker.values()).count(gender) for gender in GENDERS]
    if min(counts) < 2 or sum(counts) < len(of_speaker):
        return {}
    confusions = intervals.group_confusions(y, p, speakers, n_classes)  # sorted as of_speaker
    labels = np.array(list(of_speaker.values()))

    def uar_of(gender, labels=labels):
        return float(intervals.uar_of_confusions(confusions[labels == gender].sum(axis=0)))

    women, men = (
        intervals.uar_of_confusions(
            np.tensordot(
                intervals.draw_weights(count, seed=number), confusions[labels == gender], 1
            )
        )
        for number, (gender, count) in enumerate(zip(GENDERS, counts, strict=True))
    )
    gap = uar_of("female") - uar_of("male")
    return {
        "uar_by_gender": {gender: uar_of(gender) for gender in GENDERS},
        "gender_gap": {
            "uar": gap,
            "interval": list(intervals.percentile_interval(women - men)),
            "permutation_p": significance.permutation_test(
                lambda dealt: uar_of("female", dealt) - uar_of("male", dealt), labels
            ),
        },
    }


def describe_calibration(y, probabilities) -> dict:
    """Return {"ece", "brier"}, means over the seeds; probabilities [seeds, n, K]."""
    return {
        "ece": float(
            np.mean([calibration.expected_calibration_error(y, q) for q in probabilities])
        ),
        "brier": float(np.mean([calibration.brier_score(y, q) for q in probabilities])),
    }


def _mean_uar(y, p) -> float:
    return float(np.mean([metrics.uar(y, of_seed) for of_seed in p]))


def _shares(parts, totals, names) -> dict:
    """Return {name: part / total}, None for a total of 0."""
    return {
        name: float(part / total) if total else None
        for name, part, total in zip(names, parts, totals, strict=True)
    }
