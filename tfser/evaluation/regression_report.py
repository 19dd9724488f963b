"""The results of a run that predicts ratings of arousal and valence: predictions and scores.

The CCC is that of the OMG-Emotion challenge's later script: one number over all test utterances.
"""

import functools
import logging

import numpy as np

from tfser.evaluation import classification_report, metrics, rating_statistics, result_files
from tfser.plots.figures import draw_ratings

log = logging.getLogger("tfser")

ATTRIBUTES = {"arousal": "activation", "valence": "valence"}  # the papers' name, ours


def true_ratings(utterances) -> dict[str, np.ndarray]:
    """Return the ratings {attribute: [n]} of rated utterances."""
    return {
        name: np.array([getattr(u, ours) for u in utterances], "float32")
        for name, ours in ATTRIBUTES.items()
    }


def score_seed(run, seed: int, utterances, systems: dict, fold_of, splits) -> dict:
    """Write predictions.csv and scores.json of one seed; return the scores.

    Args:
        systems: name -> {"arousal": predictions [n], "valence": [n], and further scores by their
            names}.
        fold_of: the fold that predicted each utterance [n], a number in `splits`.
        splits: list of Split; predictions.csv has the size of each training part.

    Returns: {"seed", "systems": {name: {"ccc_arousal", "ccc_valence" (over all utterances),
    "mse_arousal", "mse_valence", further scores}}, "n", "utterances", "predicted" {name:
    {attribute: [n]}}}. The last two are not in scores.json.
    """
    y = true_ratings(utterances)
    for name, values in y.items():
        if np.ptp(values) == 0:
            log.warning("%s is the same for all %d test utterances: CCC 0", name, len(values))
    scores, rows = {}, []
    for system, predicted in systems.items():
        scores[system] = {f"ccc_{name}": metrics.ccc(y[name], predicted[name]) for name in y}
        scores[system] |= {
            f"mse_{name}": float(np.mean((y[name] - predicted[name]) ** 2)) for name in y
        }
        scores[system] |= {key: value for key, value in predicted.items() if key not in y}
        for i, utterance in enumerate(utterances):
            row = result_files.describe_prediction(
                seed, system, {"fold": fold_of[i]}, utterance, splits[fold_of[i]]
            )
            for name in y:
                row |= {
                    name: float(y[name][i]),
                    f"predicted_{name}": round(float(predicted[name][i]), 6),
                }
            rows.append(row)
    result = {"seed": seed, "systems": scores, "n": len(utterances)}
    result = result_files.write_seed(run, rows, result)
    return result | {"utterances": utterances, "predicted": systems}


def finish_run(
    run, model: str, results: list[dict], tested, predicted, *, utterances, splits, facts, flags
) -> dict:
    """Write scores.json, predictions.csv and ratings.png over all seeds; return the scores.

    Args:
        results: of `score_seed`; the last system is the run's result.
        tested: the predicted utterances [n] of the last seed, for the figure.
        predicted: the last system's predictions {attribute: [n]} of the last seed.
        utterances, splits, facts, flags: see `classification_report.finish_run`.

    "statistics" has CCC, Pearson's r and RMSE of each system and attribute with their intervals.
    """
    independent = classification_report.are_speakers_unseen(utterances, splits)
    systems = classification_report.summarize_seeds(results)
    name = list(systems)[-1]
    scores = {
        "model": model,
        "corpus": run.corpus,
        "protocol": run.protocol,
        "speaker_independent": independent,
        "ccc_arousal": systems[name]["ccc_arousal"]["mean"],
        "ccc_valence": systems[name]["ccc_valence"]["mean"],
        "n": results[0]["n"],
        "folds": len(splits[run.seeds[0]]),
        "seeds": len(results),
        "seed_numbers": list(run.seeds),
        "facts": facts,
        "flags": flags,
        "systems": systems,
    }
    scores["statistics"] = {system: describe_system(results, system) for system in systems}
    of_last = results[-1]["systems"][name]
    title = (
        f"{model.upper()}: {name} on {run.corpus}, {run.protocol} "
        f"(speaker-{'in' if independent else ''}dependent), seed {run.seeds[-1]}\n"
        + ", ".join(f"CCC of {a} {of_last[f'ccc_{a}']:.3f}" for a in ATTRIBUTES)
        + f", {len(tested)} utterances"
    )
    draw = functools.partial(draw_ratings, true_ratings(tested), predicted, title)
    result_files.write_results(run, scores, {"ratings": draw})
    return scores


def describe_system(results: list[dict], system: str) -> dict[str, dict]:
    """Return {attribute: its statistics over all seeds}, see `rating_statistics`."""
    return {
        attribute: rating_statistics.describe_ratings(
            [
                (
                    true_ratings(result["utterances"])[attribute],
                    result["predicted"][system][attribute],
                    result["utterances"],
                )
                for result in results
            ]
        )
        for attribute in ATTRIBUTES
    }
