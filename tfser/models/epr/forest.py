"""Utterances from profiles: the statistics and the random forest of section 2.

Forests are kept as arrays: no pickle is ever loaded.
"""

import numpy as np

from tfser.models.epr.refinery import list_networks, utterance_means
from tfser.storage import atomic_files


def statistics(profiles, owner, threshold: float) -> np.ndarray:
    """Return utterance representations [n, 4 K]: maximum, minimum, mean, share above threshold."""
    first = np.searchsorted(owner, np.arange(owner[-1] + 1))
    return np.concatenate(
        [
            np.maximum.reduceat(profiles, first, axis=0),
            np.minimum.reduceat(profiles, first, axis=0),
            utterance_means(profiles, owner),
            utterance_means((profiles > threshold).astype(np.float32), owner),
        ],
        axis=1,
    )


def fit_forest(x, y, n_classes: int, *, n_estimators: int, seed: int) -> dict[str, np.ndarray]:
    """Fit a forest on x [n, features], y [n]; return the nodes of all trees in one row.

    Keys: root [trees]; left, right (-1 at a leaf), feature, threshold [nodes]; probabilities
    [nodes, K]. n_estimators and seed as in scikit-learn, whose other defaults hold.
    """
    from sklearn.ensemble import RandomForestClassifier  # slow to import

    forest = RandomForestClassifier(n_estimators=n_estimators, random_state=seed, n_jobs=-1).fit(
        x, y
    )
    trees = [estimator.tree_ for estimator in forest.estimators_]
    root = np.cumsum([0, *(tree.node_count for tree in trees[:-1])])
    nodes = {name: [] for name in ("left", "right", "feature", "threshold", "probabilities")}
    for start, tree in zip(root, trees, strict=True):
        for name, children in (("left", tree.children_left), ("right", tree.children_right)):
            nodes[name].append(np.where(children < 0, -1, children + start).astype(np.int32))
        nodes["feature"].append(tree.feature.astype(np.int32))
        nodes["threshold"].append(tree.threshold)
        # A class that the training set lacks has no column in scikit-learn's tables.
        probabilities = np.zeros((tree.node_count, n_classes))
        values = tree.value[:, 0]
        probabilities[:, forest.classes_] = values / values.sum(axis=1, keepdims=True)
        nodes["probabilities"].append(probabilities)
    return {"root": root.astype(np.int32)} | {
        name: np.concatenate(parts) for name, parts in nodes.items()
    }


def forest_probabilities(forest: dict[str, np.ndarray], x) -> np.ndarray:
    """Return the class probabilities [n, K] of x [n, features]: the mean over the trees' leaves."""
    x = np.asarray(x, np.float32)  # scikit-learn's trees compare float32
    node = np.tile(forest["root"], (len(x), 1))  # [n, trees]
    rows = np.arange(len(x))[:, None]
    while (inside := forest["left"][node] >= 0).any():
        goes_left = x[rows, forest["feature"][node]] <= forest["threshold"][node]
        child = np.where(goes_left, forest["left"][node], forest["right"][node])
        node = np.where(inside, child, node)
    return forest["probabilities"][node].mean(axis=1)


def classify(experiment, profiles, known, test, folder, seed) -> np.ndarray:
    """Fit a forest per network to the utterances `known`: probabilities [networks, test, K]."""
    dataset, settings = experiment.dataset, experiment.hp["forest"]
    networks = list_networks(**experiment.hp["refinery"])
    probabilities = []
    for network, of_network in zip(networks, profiles, strict=True):
        x = statistics(of_network, dataset.owner, settings["threshold"])
        forest = fit_forest(
            x[known],
            dataset.y[known],
            len(dataset.classes),
            n_estimators=settings["n_estimators"],
            seed=seed,
        )
        atomic_files.write_arrays(folder / f"forest-{network.key}.npz", **forest)
        probabilities.append(forest_probabilities(forest, x[test]))
    return np.stack(probabilities)
