"""What a run's score is worth: intervals, classes, speakers, genders, calibration."""

import numpy as np

from tfser.evaluation import calibration, intervals, metrics, significance
from tfser.evaluation.comparison import group_by_speaker

GENDERS = ("female", "male")


def describe_predictions(y, p, probabilities, utterances, classes) -> dict:
    """Return the statistics of a system's predictions, for scores.json.

    Args:
        y, p: true and predicted classes [n], of all seeds one after the other.
        probabilities: [n, K], or None.
        utterances: the predicted utterance of each prediction [n].
        classes: names [K].

    Returns: {"interval_over", "n_speakers", "uar_interval", "wa_interval", "confusion", "recall",
    "precision", "uar_by_speaker" (lowest first), "uar_by_gender", "gender_gap", "calibration"}.
    Entries that the corpus does not allow are missing.
    """
    y, p = np.asarray(y), np.asarray(p)
    speakers = np.array([u.speaker for u in utterances])
    over, groups = group_by_speaker(speakers, [u.name for u in utterances])
    confusions = intervals.group_confusions(y, p, groups, len(classes))
    weights, total = intervals.draw_weights(len(confusions)), confusions.sum(axis=0)

    def interval(score):
        drawn = intervals.draw_scores(score, confusions, weights)
        return list(intervals.percentile_interval(drawn))

    of_speaker = {
        str(s): metrics.uar(y[speakers == s], p[speakers == s]) for s in np.unique(speakers)
    }
    result = {
        "interval_over": over,
        "n_speakers": len(of_speaker),
        "uar_interval": interval(intervals.uar_of_confusions),
        "wa_interval": interval(intervals.wa_of_confusions),
        "confusion": total.tolist(),
        "recall": _shares(total.diagonal(), total.sum(axis=1), classes),
        "precision": _shares(total.diagonal(), total.sum(axis=0), classes),
        "uar_by_speaker": dict(sorted(of_speaker.items(), key=lambda item: item[1])),
    }
    result |= describe_genders(y, p, speakers, [u.gender for u in utterances], len(classes))
    if probabilities is not None:
        result["calibration"] = {
            "ece": calibration.expected_calibration_error(y, probabilities),
            "brier": calibration.brier_score(y, probabilities),
        }
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
        intervals.draw_scores(
            intervals.uar_of_confusions,
            confusions[labels == gender],
            intervals.draw_weights(count, seed=number),
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


def _shares(parts, totals, names) -> dict:
    """Return {name: part / total}, None for a total of 0."""
    return {
        name: float(part / total) if total else None
        for name, part, total in zip(names, parts, totals, strict=True)
    }
