"""The figures and facts of a run of EPR: each network's history, and emotion profiles."""

import logging

from tfser.corpora.labels import describe_labels
from tfser.errors import UsageError, did_you_mean
from tfser.evaluation import metrics
from tfser.models.epr.forest import utterance_means
from tfser.plots.figures import write_emotion_profile
from tfser.storage import atomic_files
from tfser.training import fold, loop

log = logging.getLogger("tfser")


def check_names(utterances, names) -> None:
    """Raise UsageError for a name in plots.utterances that the corpus lacks."""
    known = {u.name for u in utterances}
    for name in names:
        if name not in known:
            raise UsageError(f"plots.utterances: no utterance {name!r}{did_you_mean(name, known)}")


def write_network(folder, place, history, model, chance_loss) -> None:
    """Write the history, its figure and the network of one round."""
    best = history[loop.best_epoch(history)]
    log.info(
        "%s: %d epochs, kept %d: loss %.3f dev loss %.3f dev accuracy %.1f %% (segments)",
        place,
        len(history),
        best["epoch"],
        best["loss"],
        best["dev_loss"],
        100 * best["dev_accuracy"],
    )
    if not history[-1]["learnt"]:
        log.warning(
            "%s: the network never left chance; try --set model.batch_norm=true "
            "or a lower --set schedule.initial_learning_rate",
            place,
        )
    panels = {
        "loss (nats)": {"training": "loss", "dev": "dev_loss"},
        "accuracy of segments": {"training": "accuracy", "dev": "dev_accuracy"},
    }
    fold.write_history(folder, history, best, f"VGG-E, {place}", panels, chance_loss=chance_loss)
    with atomic_files.replace_file(folder / "model.keras") as path:
        loop.save_model(model, path)


def list_networks_at_chance(run) -> list[str]:
    """List the folders of the networks that never left chance."""
    stuck = [
        str(path.parent.relative_to(run.folder))
        for seed in run.seeds
        for path in sorted((run.folder / f"seed-{seed}").glob("**/history.csv"))
        if path.read_text().splitlines()[-1].endswith("False")
    ]
    if stuck:
        log.warning("%d of the networks never left chance: %s", len(stuck), " ".join(stuck))
    return stuck


def list_facts(hp, dataset, stuck) -> list[str]:
    """List the facts of a run for the card."""
    return [
        *(f"{name} {value}" for name, value in describe_labels(**hp["labels"]).items()),
        f"labels {hp['refinery']['labels']}",
        f"{len(dataset.starts):,} segments",
        *([f"{len(stuck)} networks never left chance"] if stuck else []),
    ]


def collect_systems(hp, dataset, profiles, predicted) -> dict:
    """Return one system per round for `classification_report.score_seed`.

    Args:
        profiles: of the tested utterances [rounds, segments, K].
        predicted: the probabilities of the forests [rounds, n, K].
    """
    return {
        network_name(hp, t): {
            "predicted": probabilities.argmax(axis=1),
            "probabilities": probabilities,
            # Two scores of the networks alone, which tell a weak network from a weak forest.
            "mean_profile_uar": metrics.uar(
                dataset.y, utterance_means(profiles[t], dataset.owner).argmax(axis=1)
            ),
            "segment_accuracy": metrics.wa(dataset.y[dataset.owner], profiles[t].argmax(axis=1)),
        }
        for t, probabilities in enumerate(predicted)
    }


def draw_profiles(run, dataset, hp, profiles) -> None:
    """Write profiles/<utterance>.png, the paper's figures 2 and 4, of tested utterances."""
    names = hp["plots"]["utterances"] or [
        next(u.name for u in dataset.utterances if u.emotion == emotion)
        for emotion in dataset.classes
    ]
    folder = run.folder / "profiles"
    folder.mkdir(exist_ok=True)
    for i, utterance in enumerate(dataset.utterances):
        if utterance.name in names:
            write_emotion_profile(
                {
                    network_name(hp, t): rounds[dataset.owner == i]
                    for t, rounds in enumerate(profiles)
                },
                dataset.classes,
                folder / f"{utterance.name}.png",
                f"Emotion profile of {utterance.name} ({run.corpus}, {utterance.emotion}), "
                "held out",
                hop_seconds=hp["segments"]["hop_seconds"],
                segment_seconds=hp["features"]["window_seconds"]
                + (hp["segments"]["n_frames"] - 1) * hp["features"]["hop_seconds"],
            )


def network_name(hp, t: int) -> str:
    """Return the paper's name of round t (from 0): VGG, VGG2 (tables 2, 3), VGG*2 (table 4)."""
    star = "*" if hp["refinery"]["labels"] == "assisted" else ""
    return "VGG" if t == 0 else f"VGG{star}{t + 1}"
