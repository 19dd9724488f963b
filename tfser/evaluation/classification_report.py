"""The results of a run that predicts classes: predictions, scores, confusion matrix, RESULT line.

A paper's `train` calls `score_seed` for each seed, then `finish_run`. Scores are of a *system*, a
row of a results table; a run has one or several systems ("VGG", "VGG*2").
"""

import functools
import logging

import numpy as np

from tfser.evaluation import calibration, metrics, result_files, run_statistics
from tfser.evaluation.earlier_training import EarlierTraining
from tfser.evaluation.splits import is_speaker_independent
from tfser.plots import figures as plots
from tfser.plots.intervals import draw_reliability

log = logging.getLogger("tfser")


def score_seed(
    run, seed: int, utterances, classes, systems: dict, fold_of, splits, fold_columns=None
) -> dict:
    """Write predictions.csv and scores.json of one seed; return the scores.

    Args:
        utterances: the predicted utterances [n]; `emotion` is the true class.
        systems: name -> {"predicted": class numbers [n], "probabilities": [n, K] or None, and
            further scores by their names}.
        fold_of: the fold that predicted each utterance [n], a number in `splits`.
        splits: list of Split; predictions.csv has the size of each training part.
        fold_columns: the columns of predictions.csv with folds, where the column is not "fold"
            alone: {name: fold of each utterance [n]}.

    Returns: {"seed", "systems": {name: {"uar", "wa", "macro_f1" (pooled), "fold_uar", "fold_wa"
        (lists), further scores}}, "confusion" [K, K] of the last system, "confusions" {name:
        [K, K]} of all systems, "utterances", "predicted" {name: (y, guess, probabilities)}}. The
        last two are not in scores.json.
    """
    fold_columns = fold_columns or {"fold": fold_of}
    y = np.array([classes.index(u.emotion) for u in utterances])
    of_fold = [fold_of == fold for fold in np.unique(fold_of)]
    scores, rows, matrices, predicted = {}, [], {}, {}
    for name, system in systems.items():
        guess, probabilities = system["predicted"], system["probabilities"]
        predicted[name] = y, guess, probabilities
        warn_of_single_class(f"seed-{seed}", name, y, guess, fold_of, classes)
        scores[name] = {
            "uar": metrics.uar(y, guess),
            "wa": metrics.wa(y, guess),
            "macro_f1": metrics.macro_f1(y, guess),
            "fold_uar": [metrics.uar(y[fold], guess[fold]) for fold in of_fold],
            "fold_wa": [metrics.wa(y[fold], guess[fold]) for fold in of_fold],
        } | {k: v for k, v in system.items() if k not in ("predicted", "probabilities")}
        for i, utterance in enumerate(utterances):
            folds = {column: numbers[i] for column, numbers in fold_columns.items()}
            row = result_files.describe_prediction(
                seed, name, folds, utterance, splits[fold_of[i]]
            ) | {
                "emotion": utterance.emotion,
                "predicted": classes[guess[i]],
            }
            if probabilities is not None:
                row |= {
                    f"p_{c}": round(float(p), 6)
                    for c, p in zip(classes, probabilities[i], strict=True)
                }
            rows.append(row)
        matrices[name] = metrics.confusion_matrix(y, guess, len(classes)).tolist()
    result = {"seed": seed, "systems": scores}
    result |= {"confusion": matrices[name], "confusions": matrices}
    return result_files.write_seed(run, rows, result) | {
        "utterances": utterances,
        "predicted": predicted,
    }


def warn_of_single_class(place: str, system: str, y, guess, fold_of, classes) -> None:
    """Warn of each fold whose utterances have several classes and are all predicted as one class.

    y, guess, fold_of [n]: true classes, predicted classes and folds.
    """
    for fold in np.unique(fold_of):
        of_fold = fold_of == fold
        predicted = np.unique(guess[of_fold])
        if len(predicted) == 1 and len(np.unique(y[of_fold])) > 1:
            log.warning(
                "%s fold-%02d %s: all %d utterances are predicted as %s; the network tells no "
                "classes apart",
                *(place, fold, system, of_fold.sum(), classes[predicted[0]]),
            )


def finish_run(
    run,
    model: str,
    classes,
    results: list[dict],
    *,
    utterances,
    splits,
    facts: list[str],
    flags: dict,
    earlier: EarlierTraining | None = None,
    **more,
) -> dict:
    """Write scores.json, predictions.csv and confusion matrices over all seeds; return the scores.

    confusion.png and, where there are probabilities, reliability.png are of the run's result; a run
    of several systems has confusion-<system>.png, too.

    Args:
        results: of `score_seed`; the last system is the run's result.
        utterances, splits: all utterances of the dataset, and seed -> list of Split. They decide
            `speaker_independent`.
        facts: further facts about the results, for the card.
        flags: facts that are on the RESULT line too, {name: value}.
        earlier: the training of a network that the run starts from. Speakers who trained it are
            not unseen speakers.
        more: further entries of scores.json.

    "majority" is the share of the commonest class: the WA of a constant answer. "statistics" has
    intervals and scores by class, speaker and gender of each system, see `run_statistics`.
    """
    independent = are_speakers_unseen(utterances, splits)
    if earlier is not None:
        seen = earlier.list_seen(run.corpus, utterances, splits)
        independent = independent and not seen
        facts, flags = [*facts, *earlier.facts(seen)], flags | earlier.flags(seen)
        more["earlier_training"] = earlier._asdict()
    systems = summarize_seeds(results)
    name, first = list(results[0]["systems"].items())[-1]
    matrix = np.sum([result["confusion"] for result in results], axis=0)
    scores = {
        "model": model,
        "corpus": run.corpus,
        "protocol": run.protocol,
        "speaker_independent": independent,
        "uar": systems[name]["uar"]["mean"],
        "wa": systems[name]["wa"]["mean"],
        "majority": float(matrix.sum(axis=1).max() / matrix.sum()),
        "n": int(np.sum(results[0]["confusion"])),
        "folds": len(first["fold_uar"]),
        "seeds": len(results),
        "seed_numbers": list(run.seeds),
        "classes": classes,
        "facts": facts,
        "flags": flags,
        **more,
        "systems": systems,
        "statistics": {system: describe_system(results, system, classes) for system in systems},
    }
    result_files.write_confusions(run, results, classes)

    def draw(name):
        title = name if name.startswith(model.upper()) else f"{model.upper()}: {name}"
        return plots.draw_confusion_matrix(
            np.sum([result["confusions"][name] for result in results], axis=0),
            classes,
            f"{title} on {run.corpus}, {run.protocol} "
            f"(speaker-{'in' if independent else ''}dependent)\n"
            f"UAR {100 * systems[name]['uar']['mean']:.1f} %, "
            f"WA {100 * systems[name]['wa']['mean']:.1f} % "
            f"(commonest class {100 * scores['majority']:.1f} %), "
            f"{scores['n']} {'dev ' * (run.evaluate == 'dev')}utterances, "
            f"{len(results)} seed{'s' * (len(results) > 1)}",
            what=flags.get("target", "emotion"),
        )

    figures = {"confusion": functools.partial(draw, name)}
    probabilities = results[0]["predicted"][name][2]
    if probabilities is not None:
        figures["reliability"] = functools.partial(
            draw_calibration, results, name, model, run.corpus
        )
    if len(systems) > 1:
        figures |= {
            f"confusion-{result_files.file_name(system)}": functools.partial(draw, system)
            for system in systems
        }
    result_files.write_results(run, scores, figures)
    return scores


def describe_system(results: list[dict], system: str, classes) -> dict:
    """Return the statistics of a system over all seeds, see `run_statistics`."""
    y, guess, probabilities = zip(*(result["predicted"][system] for result in results), strict=True)
    return run_statistics.describe_predictions(
        np.concatenate(y),
        np.concatenate(guess),
        None if probabilities[0] is None else np.concatenate(probabilities),
        [u for result in results for u in result["utterances"]],
        classes,
    )


def draw_calibration(results: list[dict], system: str, model: str, corpus: str):
    """Draw the reliability of a system's probabilities over all seeds."""
    y, _, probabilities = zip(*(result["predicted"][system] for result in results), strict=True)
    y, probabilities = np.concatenate(y), np.concatenate(probabilities)
    error = calibration.expected_calibration_error(y, probabilities)
    return draw_reliability(
        calibration.reliability_bins(y, probabilities),
        f"{model.upper()}: {system} on {corpus}\ncalibration error (ECE) {error:.3f}",
    )


def are_speakers_unseen(utterances, splits) -> bool:
    """Return whether no fold of any seed trains on a speaker that it tests.

    splits: seed -> list of Split.
    """
    speakers = [u.speaker for u in utterances]
    return all(is_speaker_independent(speakers, of_seed) for of_seed in splits.values())


def summarize_seeds(results: list[dict]) -> dict:
    """Return the systems of the seeds' results, each score as its `metrics.summarize`."""
    systems = {}
    for name, first in results[0]["systems"].items():
        of_seed = [result["systems"][name] for result in results]
        systems[name] = {
            # Scores of folds are lists: pooled over the seeds.
            key: metrics.summarize(
                sum((scores[key] for scores in of_seed), [])
                if isinstance(value, list)
                else [scores[key] for scores in of_seed]
            )
            for key, value in first.items()
        }
    return systems
