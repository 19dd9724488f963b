"""What a run of EPR writes of its own: each network's history, and the emotion profiles."""

import logging

from tfser.corpora.labels import describe_labels
from tfser.errors import UsageError, did_you_mean
from tfser.evaluation import metrics
from tfser.models.epr.forest import utterance_means
from tfser.plots.figures import write_emotion_profile, write_training_curves
from tfser.storage import atomic_files
from tfser.training import loop

log = logging.getLogger("tfser")


def check_names(utterances, names) -> None:
    """Raises UsageError for a name in plots.utterances that the corpus lacks."""
    known = {u.name for u in utterances}
    for name in names:
        if name not in known:
            raise UsageError(f"plots.utterances: no utterance {name!r}{did_you_mean(name, known)}")


def write_network(folder, place, history, model, chance_loss) -> None:
    """The history, its picture and the network of one round."""
    kept = history[loop.best_epoch(history)]
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
    atomic_files.write_csv(folder / "history.csv", history)
    write_training_curves(
        history,
        folder / "history.png",
        f"VGG-E, {place}",
        {
            "loss (nats)": {"training": "loss", "dev": "dev_loss"},
            "accuracy of segments": {"training": "accuracy", "dev": "dev_accuracy"},
        },
        chance_loss=chance_loss,
        kept_epoch=kept["epoch"],
    )
    with atomic_files.replace_file(folder / "model.keras") as path:
        loop.save_model(model, path)


def list_networks_at_chance(run) -> list[str]:
    """The networks of the run that never left chance, by their folder."""
    stuck = [
        str(path.parent.relative_to(run.folder))
        for seed in run.seeds
        for path in sorted((run.folder / f"seed-{seed}").glob("**/history.csv"))
        if path.read_text().splitlines()[-1].endswith("False")
    ]
    if stuck:
        log.warning("%d of the networks never left chance: %s", len(stuck), " ".join(stuck))
    return stuck


def list_facts(hp, speech, stuck) -> list[str]:
    """What the card says of a run beside its protocol."""
    return [
        *(f"{name} {value}" for name, value in describe_labels(**hp["labels"]).items()),
        f"labels {hp['refinery']['labels']}",
        f"{len(speech.starts):,} segments",
        *([f"{len(stuck)} networks never left chance"] if stuck else []),
    ]


def collect_systems(hp, speech, profiles, predicted) -> dict:
    """The networks of each round as `classification_report.score_seed` wants them.

    Args:
        profiles: of the held-out utterances [rounds, segments, K].
        predicted: the forest's probabilities [rounds, n, K].
    """
    return {
        network_name(hp, t): {
            "predicted": probabilities.argmax(axis=1),
            "probabilities": probabilities,
            # Two figures of the networks alone, to tell a weak network from a weak forest.
            "mean_profile_uar": metrics.uar(
                speech.y, utterance_means(profiles[t], speech.owner).argmax(axis=1)
            ),
            "segment_accuracy": metrics.wa(speech.y[speech.owner], profiles[t].argmax(axis=1)),
        }
        for t, probabilities in enumerate(predicted)
    }


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
            write_emotion_profile(
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
