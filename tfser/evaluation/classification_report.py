"""What every run shows and writes: its progress, folds, predictions, scores and confusion matrix.

A paper's `train` calls `write_splits`, then `seed_scores` for each seed, then `finish`. What is
scored is a *system*, a row of a results table; a run has one or several ("VGG", "VGG*2").
"""

import contextlib
import logging
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from tfser.errors import UsageError
from tfser.evaluation import metrics
from tfser.evaluation.splits import NO_DEV
from tfser.plots import tensorboard
from tfser.plots.figures import draw_confusion_matrix, encode_png, save_figure
from tfser.storage import atomic_files

log = logging.getLogger("tfser")


class Progress(tqdm):
    """A bar over all networks of the run: which fold, round and epoch, and how long still."""

    where = place = ""
    networks_done = max_epochs = 0

    def at(self, round_name: str) -> None:
        """Shows that a round of the current fold begins."""
        self.place = f"{self.where} {round_name}"
        self.set_description_str(self.place, refresh=False)

    def epoch(self, row: dict) -> None:
        """Shows a row of the history."""
        self.set_postfix_str(
            f"epoch {row['epoch']}/{self.max_epochs} loss {row['loss']:.3f} "
            f"dev {row['dev_loss']:.3f}",
            refresh=False,
        )
        self.update(1)

    def network_done(self) -> None:
        """Skips the epochs that early stopping has saved."""
        self.networks_done += 1
        self.update(self.networks_done * self.max_epochs - self.n)


@contextlib.contextmanager
def progress_bar(n_networks: int, max_epochs: int):
    """Yields the bar; on a terminal it moves twice a second, in a log file twice a minute."""
    interval = 0.5 if sys.stderr.isatty() else 30
    with (
        logging_redirect_tqdm([log]),
        Progress(
            total=n_networks * max_epochs,
            unit="epoch",
            mininterval=interval,
            maxinterval=interval,
            miniters=0,
            smoothing=0.1,
            dynamic_ncols=True,
        ) as bar,
    ):
        bar.max_epochs = max_epochs
        yield bar


def iterate_own_folds(run, seed: int, splits, bar):
    """Yields (fold, split, folder) of those folds of a seed that this process trains."""
    for fold, split in enumerate(splits):
        if run.parts is None or (seed, fold) in run.parts:
            bar.where = f"seed-{seed} fold-{fold:02} of {len(splits)}"
            yield fold, split, run.folder / f"seed-{seed}" / f"fold-{fold:02}"


def write_splits(run, utterances, plans) -> None:
    """splits.csv: the part of each utterance in each fold; plans: seed -> list of Split.

    With `--evaluate dev` an utterance of the test part has none.
    """
    if run.parts:  # what shared them out has written it
        return
    rows = []
    for seed, plan in plans.items():
        for fold, split in enumerate(plan):
            # The last gate before training: a system that overlooks the flag scores nothing.
            if run.evaluate == "dev" and not (
                len(split.dev) and np.array_equal(split.dev, split.test)
            ):
                raise UsageError(NO_DEV)
            parts = np.empty(len(utterances), object)
            for part in ("train", "test", "dev"):
                parts[getattr(split, part)] = part
            rows += [
                {
                    "seed": seed,
                    "fold": fold,
                    "utterance": u.name,
                    "speaker": u.speaker,
                    "part": part,
                }
                for u, part in zip(utterances, parts, strict=True)
            ]
    atomic_files.write_csv(run.folder / "splits.csv", rows)


def score_seed(run, seed: int, utterances, classes, systems: dict, fold_of) -> dict:
    """Scores and predictions.csv of one seed.

    Args:
        utterances: whose `emotion` is the class that was to be found.
        systems: name -> {"predicted": class numbers [n], "probabilities": [n, K] or None, and
            further scores by their names}.
        fold_of: the fold in which each utterance was predicted [n].

    Returns: {"seed", "systems": {name: {"uar", "wa", "macro_f1" (pooled), "fold_uar", "fold_wa"
        (lists), further scores}}, "confusion" [K, K] of the last system}.
    """
    y = np.array([classes.index(u.emotion) for u in utterances])
    of_fold = [fold_of == fold for fold in np.unique(fold_of)]
    scores, rows = {}, []
    for name, system in systems.items():
        guess, probabilities = system["predicted"], system["probabilities"]
        scores[name] = {
            "uar": metrics.uar(y, guess),
            "wa": metrics.wa(y, guess),
            "macro_f1": metrics.macro_f1(y, guess),
            "fold_uar": [metrics.uar(y[fold], guess[fold]) for fold in of_fold],
            "fold_wa": [metrics.wa(y[fold], guess[fold]) for fold in of_fold],
        } | {k: v for k, v in system.items() if k not in ("predicted", "probabilities")}
        for i, utterance in enumerate(utterances):
            row = {
                "seed": seed,
                "system": name,
                "fold": int(fold_of[i]),
                "utterance": utterance.name,
                "speaker": utterance.speaker,
                "emotion": utterance.emotion,
                "predicted": classes[guess[i]],
            }
            if probabilities is not None:
                row |= {
                    f"p_{c}": round(float(p), 6)
                    for c, p in zip(classes, probabilities[i], strict=True)
                }
            rows.append(row)
    folder = run.folder / f"seed-{seed}"
    folder.mkdir(exist_ok=True)
    atomic_files.write_csv(folder / "predictions.csv", rows)
    matrix = metrics.confusion_matrix(y, guess, len(classes))
    result = {"seed": seed, "systems": scores, "confusion": matrix.tolist()}
    atomic_files.write_json(folder / "scores.json", result)  # last
    return result


def finish_run(
    run,
    model: str,
    classes,
    results: list[dict],
    *,
    independent: bool,
    facts: list[str],
    flags: dict,
    **more,
) -> dict:
    """scores.json, predictions.csv and confusion.png over all seeds; returns the scores.

    Args:
        results: of `seed_scores`; the last system is the run's result.
        independent: whether no speaker is in both training and test.
        facts: what a reader of the results must know besides, for the card.
        flags: what of it the RESULT line says, {name: value}.
        more: further entries of scores.json.
    """
    systems = summarize_seeds(results)
    name, first = list(results[0]["systems"].items())[-1]
    scores = {
        "model": model,
        "corpus": run.corpus,
        "protocol": run.protocol,
        "speaker_independent": independent,
        "uar": systems[name]["uar"]["mean"],
        "wa": systems[name]["wa"]["mean"],
        "n": int(np.sum(results[0]["confusion"])),
        "folds": len(first["fold_uar"]),
        "seeds": len(results),
        "seed_numbers": list(run.seeds),
        "classes": classes,
        "facts": facts,
        "flags": flags,
        **more,
        "systems": systems,
    }
    figure = draw_confusion_matrix(
        np.sum([result["confusion"] for result in results], axis=0),
        classes,
        f"{'' if name.startswith(model.upper()) else model.upper() + ': '}{name} "
        f"on {run.corpus}, {run.protocol} "
        f"(speaker-{'in' if independent else ''}dependent)\n"
        f"UAR {100 * scores['uar']:.1f} %, WA {100 * scores['wa']:.1f} %, "
        f"{scores['n']} {'dev ' * (run.evaluate == 'dev')}utterances, "
        f"{len(results)} seed{'s' * (len(results) > 1)}",
        what=flags.get("target", "emotion"),
    )
    write_results(run, scores, {"confusion": figure})
    return scores


def summarize_seeds(results: list[dict]) -> dict:
    """The systems of the seeds' results, each score as its `summary`."""
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


def write_results(run, scores: dict, figures: dict) -> None:
    """predictions.csv of all seeds, figures {name: Figure}, TensorBoard's, and scores.json last."""
    if run.evaluate == "dev":  # no result: the RESULT line says so, and no card takes it
        scores |= {
            "flags": scores["flags"] | {"evaluate": "dev"},
            "facts": [*scores["facts"], "scored on the dev part"],
        }
    before = run.folder / "scores.json"
    if before.exists() and atomic_files.read_json(before)["seed_numbers"] != list(run.seeds):
        log.warning("%s is replaced: it was of other seeds; theirs are in seed-*", before)
    parts = [
        (run.folder / f"seed-{seed}" / "predictions.csv").read_text().splitlines(keepends=True)
        for seed in run.seeds
    ]
    text = "".join(parts[0][:1] + sum((part[1:] for part in parts), []))
    atomic_files.write_bytes(run.folder / "predictions.csv", text.encode())
    for name, figure in figures.items():
        save_figure(figure, run.folder / f"{name}.png")
    with tensorboard.open_event_writer(run.folder / "events" / "scores") as to_tensorboard:
        for step, of_system in enumerate(scores["systems"].values(), start=1):
            shown = {key: of_system[key]["mean"] for key in metrics.headline_scores(scores)}
            to_tensorboard(step, shown)
        pictures = {
            f"profile/{path.stem}": path.read_bytes()
            for path in (run.folder / "profiles").glob("*.png")
        }
        drawn = {name: encode_png(figure) for name, figure in figures.items()}
        to_tensorboard(step, {}, drawn | pictures)
    atomic_files.write_json(run.folder / "scores.json", scores)  # last


def print_results(scores: dict, folder: Path) -> None:
    """Results on stdout; the last line is for grep."""
    names = metrics.headline_scores(scores)
    of_classes = names[0] == "uar"

    def shown(value, decimals=1):
        return f"{100 * value:.{decimals}f}" if of_classes else f"{value:.{decimals + 2}f}"

    width = max(8, *(len(name) for name in scores["systems"]))
    for system, values in scores["systems"].items():
        titles = ["UAR", "WA"] if of_classes else ["CCC arousal", "valence"]
        line = "  ".join(
            f"{title} {shown(values[name]['mean']):>5}{' %' * of_classes}"
            for title, name in zip(titles, names, strict=True)
        )
        if scores["seeds"] > 1:
            spreads = "; ".join(
                f"{title} sd {shown(values[name]['sd'])}, {shown(values[name]['min'])} to "
                f"{shown(values[name]['max'])}"
                for title, name in zip(titles, names, strict=True)
            )
            line += f"  ({scores['seeds']} seeds: {spreads})"
        print(f"{system:<{width}} {line}")
    print(f"results, predictions and pictures: {folder}")
    independent = "yes" if scores["speaker_independent"] else "no"
    print(
        f"RESULT model={scores['model']} corpus={scores['corpus']} protocol={scores['protocol']} "
        f"speaker_independent={independent} "
        + " ".join(f"{name}={scores[name]:.4f}" for name in names)
        + f" n={scores['n']} folds={scores['folds']} seeds={scores['seeds']}"
        + "".join(f" {name}={value}" for name, value in scores["flags"].items())
    )
