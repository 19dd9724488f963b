"""What a run that predicts arousal and valence as numbers writes, in place of `report`'s scores.

The CCC is the OMG-Emotion challenge's later one: one number over all test utterances.
"""

import logging

import numpy as np

from tfser.evaluation import classification_report, metrics
from tfser.plots.figures import draw_ratings
from tfser.storage import atomic_files

log = logging.getLogger("tfser")

ATTRIBUTES = {"arousal": "activation", "valence": "valence"}  # the papers' name, ours


def true_ratings(utterances) -> dict[str, np.ndarray]:
    """The ratings {attribute: [n]} of utterances that have them."""
    return {
        name: np.array([getattr(u, ours) for u in utterances], "float32")
        for name, ours in ATTRIBUTES.items()
    }


def score_seed(run, seed: int, utterances, systems: dict, fold_of) -> dict:
    """Scores and predictions.csv of one seed.

    Args:
        systems: name -> {"arousal": predictions [n], "valence": [n], and further scores by their
            names}.
        fold_of: the fold in which each utterance was predicted [n].

    Returns: {"seed", "systems": {name: {"ccc_arousal", "ccc_valence" (over all utterances),
    "mse_arousal", "mse_valence", further scores}}}.
    """
    y = true_ratings(utterances)
    for name, values in y.items():
        if np.ptp(values) == 0:
            log.warning("%s is the same for all %d test utterances: CCC 0", name, len(values))
    scores, rows = {}, []
    for system, found in systems.items():
        scores[system] = {f"ccc_{name}": metrics.ccc(y[name], found[name]) for name in y}
        scores[system] |= {
            f"mse_{name}": float(np.mean((y[name] - found[name]) ** 2)) for name in y
        }
        scores[system] |= {key: value for key, value in found.items() if key not in y}
        for i, utterance in enumerate(utterances):
            row = {
                "seed": seed,
                "system": system,
                "fold": int(fold_of[i]),
                "utterance": utterance.name,
                "speaker": utterance.speaker,
            }
            for name in y:
                row |= {
                    name: float(y[name][i]),
                    f"predicted_{name}": round(float(found[name][i]), 6),
                }
            rows.append(row)
    folder = run.folder / f"seed-{seed}"
    folder.mkdir(exist_ok=True)
    atomic_files.write_csv(folder / "predictions.csv", rows)
    result = {"seed": seed, "systems": scores, "n": len(utterances)}
    atomic_files.write_json(folder / "scores.json", result)  # last
    return result


def finish_run(
    run, model: str, results: list[dict], utterances, found, *, n_folds, independent, facts, flags
) -> dict:
    """scores.json, predictions.csv and ratings.png over all seeds; returns the scores.

    Args:
        results: of `seed_scores`; the last system is the run's result.
        found: its predictions {attribute: [n]} of the last seed, for the picture.
        independent, facts, flags: see `classification_report.finish_run`.
    """
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
        "folds": n_folds,
        "seeds": len(results),
        "seed_numbers": list(run.seeds),
        "facts": facts,
        "flags": flags,
        "systems": systems,
    }
    of_last = results[-1]["systems"][name]
    figure = draw_ratings(
        true_ratings(utterances),
        found,
        f"{model.upper()}: {name} on {run.corpus}, {run.protocol} "
        f"(speaker-{'in' if independent else ''}dependent), seed {run.seeds[-1]}\n"
        + ", ".join(f"CCC of {a} {of_last[f'ccc_{a}']:.3f}" for a in ATTRIBUTES)
        + f", {len(utterances)} utterances",
    )
    classification_report.write_results(run, scores, {"ratings": figure})
    return scores
