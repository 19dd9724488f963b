"""The figures and facts of a run of EPR: each network's history, and emotion profiles."""

import itertools
import logging

from tfser.corpora.casia import split_name
from tfser.corpora.labels import describe_labels
from tfser.errors import UsageError, did_you_mean
from tfser.evaluation import metrics
from tfser.models.epr.refinery import list_networks, utterance_means
from tfser.plots.figures import write_emotion_profile
from tfser.storage import atomic_files
from tfser.training import fold, loop
from tfser.training.balance import name_balance

log = logging.getLogger("tfser")


def find_names(utterances, names) -> list[str]:
    """Return the corpus's names of the utterances in plots.utterances.

    The words of a name may have any order and case, as in the paper's figures:
    Happy_liuchanhg_440.wav is CASIA's liuchanhg-happy-440. Raises UsageError for a name that the
    corpus lacks, or that is of several utterances.
    """
    known = {u.name for u in utterances}
    by_words = {}
    for name in known if names else ():
        by_words.setdefault(tuple(sorted(split_name(name))), []).append(name)
    found = []
    for name in names:
        words = tuple(sorted(split_name(name.removesuffix(".wav"))))
        similar = [name] if name in known else by_words.get(words, [])
        if len(similar) != 1:
            hint = (
                f"; there are {' '.join(sorted(similar))}" if similar else did_you_mean(name, known)
            )
            raise UsageError(f"plots.utterances: no utterance {name!r}{hint}")
        found += similar
    return found


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
        if atomic_files.read_csv(path, ["learnt"])[-1]["learnt"] == "False"
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
        *name_balance(hp["train"]["balance"]),
        *([f"{len(stuck)} networks never left chance"] if stuck else []),
    ]


def collect_systems(hp, dataset, profiles, predicted) -> dict:
    """Return one system per network for `classification_report.score_seed`.

    Args:
        profiles: of the tested utterances [networks, segments, K].
        predicted: the probabilities of the forests [networks, n, K].
    """
    networks = list_networks(**hp["refinery"])
    return {
        network.name: {
            "predicted": probabilities.argmax(axis=1),
            "probabilities": probabilities,
            # Two scores of the networks alone, which tell a weak network from a weak forest.
            "mean_profile_uar": metrics.uar(
                dataset.y, utterance_means(own_profiles, dataset.owner).argmax(axis=1)
            ),
            "segment_accuracy": metrics.wa(dataset.y[dataset.owner], own_profiles.argmax(axis=1)),
        }
        for network, own_profiles, probabilities in zip(networks, profiles, predicted, strict=True)
    }


def draw_profiles(run, dataset, hp, profiles, names) -> None:
    """Write profiles/<utterance>.png, the paper's figures 2 and 4, of tested utterances.

    names: the utterances to draw, [] for the first of each emotion. Where the networks have
    several labellings, each has a figure, of C1 and its own: <utterance>-<labelling>.png.
    """
    first = {u.emotion: u.name for u in reversed(dataset.utterances)}  # a class may be untested
    names = names or list(first.values())
    networks = list_networks(**hp["refinery"])
    labellings = list(dict.fromkeys(network.labelling for network in networks[1:])) or [None]
    folder = run.folder / "profiles"
    folder.mkdir(exist_ok=True)
    drawn = [(i, u) for i, u in enumerate(dataset.utterances) if u.name in names]
    if missing := set(names) - {u.name for _, u in drawn}:
        log.warning("plots.utterances: %s: in no test set, no picture", " ".join(sorted(missing)))
    for (i, utterance), labelling in itertools.product(drawn, labellings):
        write_emotion_profile(
            {
                network.name: own_profiles[dataset.owner == i]
                for network, own_profiles in zip(networks, profiles, strict=True)
                if network.labelling in (None, labelling)
            },
            dataset.classes,
            folder / f"{utterance.name}{f'-{labelling}' * (len(labellings) > 1)}.png",
            f"Emotion profile of {utterance.name} ({run.corpus}, {utterance.emotion}), held out",
            hop_seconds=hp["segments"]["hop_seconds"],
            segment_seconds=hp["features"]["window_seconds"]
            + (hp["segments"]["n_frames"] - 1) * hp["features"]["hop_seconds"],
        )
