"""What a run of EPR shows and writes: progress, scores, predictions and pictures."""

import contextlib
import logging
import sys

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from tfser import metrics, plots, runs, training
from tfser.errors import UsageError, did_you_mean
from tfser.models.epr.forest import utterance_means

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
def progress(n_networks: int, max_epochs: int):
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


def check_names(utterances, names) -> None:
    """Raises UsageError for a name in plots.utterances that the corpus lacks."""
    known = {u.name for u in utterances}
    for name in names:
        if name not in known:
            raise UsageError(f"plots.utterances: no utterance {name!r}{did_you_mean(name, known)}")


def write_splits(run, speech, plans) -> None:
    """splits.csv: the part of each utterance in each fold."""
    rows = []
    for seed, plan in plans.items():
        for fold, split in enumerate(plan):
            parts = np.empty(len(speech.y), object)
            for part in ("train", "dev", "test"):
                parts[getattr(split, part)] = part
            rows += [
                {
                    "seed": seed,
                    "fold": fold,
                    "utterance": u.name,
                    "speaker": u.speaker,
                    "part": part,
                }
                for u, part in zip(speech.utterances, parts, strict=True)
            ]
    runs.write_csv(run.folder / "splits.csv", rows)


def write_network(folder, place, history, model, chance_loss) -> None:
    """The history, its picture and the network of one round."""
    kept = history[training.best_epoch(history)]
    log.info(
        "%s: %d epochs, kept %d: loss %.3f dev loss %.3f dev accuracy %.1f %% (segments)",
        place,
        len(history),
        kept["epoch"],
        kept["loss"],
        kept["dev_loss"],
        100 * kept["dev_accuracy"],
    )
    if not history[-1]["learnt"]:
        log.warning(
            "%s: the network never left chance; try --set model.batch_norm=true "
            "or a lower --set schedule.initial_learning_rate",
            place,
        )
    runs.write_csv(folder / "history.csv", history)
    plots.training_curves(
        history,
        folder / "history.png",
        f"VGG-E, {place}",
        chance_loss=chance_loss,
        kept_epoch=kept["epoch"],
    )
    with runs.replacing(folder / "model.keras") as path:
        model.save(path, include_optimizer=False)


def at_chance(run, seed: int) -> list[str]:
    """The networks of a seed that never left chance, by their folder."""
    folder = run.folder / f"seed-{seed}"
    histories = sorted(folder.glob("**/history.csv"))
    return [
        str(path.parent.relative_to(run.folder))
        for path in histories
        if path.read_text().splitlines()[-1].endswith("False")
    ]


def seed_scores(run, hp, speech, seed: int, profiles, predicted, fold_of) -> dict:
    """Scores and predictions.csv of one seed.

    Args:
        profiles: of the held-out utterances [rounds, segments, K].
        predicted: the forest's probabilities [rounds, n, K].
        fold_of: the fold in which each utterance was predicted [n].

    Returns: {"seed", "at_chance", "rounds": [{"uar", "wa", "macro_f1" (pooled), "fold_uar",
        "fold_wa" (lists), "segment_accuracy", "mean_profile_uar"}], "confusion" [K, K] of the
        last round}.
    """
    rounds, rows = [], []
    for t, probabilities in enumerate(predicted):
        guess = probabilities.argmax(axis=1)
        of_fold = [fold_of == fold for fold in np.unique(fold_of)]
        mean_profile = utterance_means(profiles[t], speech.owner).argmax(axis=1)
        rounds.append(
            {
                "uar": metrics.uar(speech.y, guess),
                "wa": metrics.wa(speech.y, guess),
                "macro_f1": metrics.macro_f1(speech.y, guess),
                "fold_uar": [metrics.uar(speech.y[fold], guess[fold]) for fold in of_fold],
                "fold_wa": [metrics.wa(speech.y[fold], guess[fold]) for fold in of_fold],
                # Two figures of the networks alone, to tell a weak network from a weak forest.
                "segment_accuracy": metrics.wa(speech.y[speech.owner], profiles[t].argmax(axis=1)),
                "mean_profile_uar": metrics.uar(speech.y, mean_profile),
            }
        )
        for i, utterance in enumerate(speech.utterances):
            row = {
                "seed": seed,
                "round": t + 1,
                "fold": int(fold_of[i]),
                "utterance": utterance.name,
                "speaker": utterance.speaker,
                "emotion": utterance.emotion,
                "predicted": speech.classes[guess[i]],
            }
            rows.append(
                row
                | {
                    f"p_{c}": round(float(p), 6)
                    for c, p in zip(speech.classes, probabilities[i], strict=True)
                }
            )
    folder = run.folder / f"seed-{seed}"
    runs.write_csv(folder / "predictions.csv", rows)
    matrix = metrics.confusion_matrix(speech.y, guess, len(speech.classes))
    scores = {
        "seed": seed,
        "at_chance": at_chance(run, seed),
        "rounds": rounds,
        "confusion": matrix.tolist(),
    }
    runs.write_json(folder / "scores.json", scores)  # last
    if seed == run.seeds[0]:
        draw_profiles(run, speech, hp, profiles)
    return scores


def draw_profiles(run, speech, hp, profiles) -> None:
    """profiles/<utterance>.png, the paper's figures 2 and 4, of held-out utterances."""
    names = hp["plots"]["utterances"] or [
        next(u.name for u in speech.utterances if u.emotion == emotion)
        for emotion in speech.classes
    ]
    folder = run.folder / "profiles"
    folder.mkdir(exist_ok=True)
    for i, utterance in enumerate(speech.utterances):
        if utterance.name in names:
            plots.emotion_profile(
                {
                    network_name(hp, t): rounds[speech.owner == i]
                    for t, rounds in enumerate(profiles)
                },
                speech.classes,
                folder / f"{utterance.name}.png",
                f"Emotion profile of {utterance.name} ({run.corpus}, {utterance.emotion}), "
                "held out",
                hop_seconds=hp["segments"]["hop_seconds"],
                segment_seconds=hp["features"]["window_seconds"]
                + (hp["segments"]["n_frames"] - 1) * hp["features"]["hop_seconds"],
            )


def network_name(hp, t: int) -> str:
    """The paper's name of round t (from 0): VGG, VGG2 (tables 2 and 3), VGG*2 (pEPR, table 4)."""
    star = "*" if hp["refinery"]["labels"] == "assisted" else ""
    return "VGG" if t == 0 else f"VGG{star}{t + 1}"


def summary(values) -> dict:
    """Mean, sd (of a sample; None of a single value), min and max."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "sd": sd, "min": min(values), "max": max(values)}


def finish(run, hp, speech, results: list[dict]) -> dict:
    """scores.json, predictions.csv and confusion.png over all seeds; returns the scores."""
    before = run.folder / "scores.json"
    if before.exists() and runs.read_json(before)["seed_numbers"] != list(run.seeds):
        log.warning("%s is replaced: it was of other seeds; theirs are in seed-*", before)
    rounds = {}
    for t in range(hp["refinery"]["rounds"]):
        of_seed = [result["rounds"][t] for result in results]
        rounds[network_name(hp, t)] = {
            name: summary([scores[name] for scores in of_seed])
            for name in ("uar", "wa", "macro_f1", "segment_accuracy", "mean_profile_uar")
        } | {
            name: summary(sum((scores[name] for scores in of_seed), []))
            for name in ("fold_uar", "fold_wa")
        }
    last = rounds[network_name(hp, t)]
    n_folds = len(results[0]["rounds"][0]["fold_uar"])
    scores = {
        "model": "epr",
        "corpus": run.corpus,
        "protocol": run.protocol,
        "speaker_independent": run.protocol == "loso",
        "labels": hp["refinery"]["labels"],
        "uar": last["uar"]["mean"],
        "wa": last["wa"]["mean"],
        "n": len(speech.y),
        "folds": n_folds,
        "seeds": len(results),
        "seed_numbers": list(run.seeds),
        "classes": speech.classes,
        "segments": len(speech.starts),
        "networks_at_chance": [name for result in results for name in result["at_chance"]],
        "rounds": rounds,
    }
    lines = [
        (run.folder / f"seed-{result['seed']}" / "predictions.csv")
        .read_text()
        .splitlines(keepends=True)
        for result in results
    ]
    text = "".join(lines[0][:1] + sum((part[1:] for part in lines), []))
    runs.write_bytes(run.folder / "predictions.csv", text.encode())
    independent = "speaker-independent" if run.protocol == "loso" else "speaker-dependent"
    figure = plots.confusion_figure(
        np.sum([result["confusion"] for result in results], axis=0),
        speech.classes,
        f"EPR {network_name(hp, t)} on {run.corpus}, {run.protocol} ({independent})\n"
        f"UAR {100 * scores['uar']:.1f} %, WA {100 * scores['wa']:.1f} %, "
        f"{len(speech.y)} utterances, {len(results)} seed{'s' if len(results) > 1 else ''}",
    )
    plots.save(figure, run.folder / "confusion.png")
    with training.events(run.folder / "events" / "scores") as write:
        for step, round_scores in enumerate(rounds.values(), start=1):
            write(step, {name: round_scores[name]["mean"] for name in ("uar", "wa")})
        pictures = {
            f"profile/{path.stem}": path.read_bytes()
            for path in (run.folder / "profiles").glob("*.png")
        }
        write(step, {}, {"confusion": plots.png(figure)} | pictures)
    stuck = scores["networks_at_chance"]
    if stuck:
        log.warning("%d of the networks never left chance: %s", len(stuck), " ".join(stuck))
    runs.write_json(run.folder / "scores.json", scores)  # last
    return scores
