"""The network that a training starts from (`train.init`): that of an earlier run or a preset.

The z-score of the initial network is kept, not set to the statistics of the new training set: its
first layer was trained on this scale, and a frozen first layer cannot learn another one. A run on
the same classes so begins with the predictions of the initial network.
"""

import hashlib
import logging
from typing import NamedTuple

import keras
import numpy as np

from tfser.errors import UsageError
from tfser.evaluation.earlier_training import EarlierTraining
from tfser.inference import served_model, source_run
from tfser.inference.finished_run import FinishedRun
from tfser.storage import preset
from tfser.training.layer_names import freeze_layers, list_weights

log = logging.getLogger("tfser")


class InitialNetwork(NamedTuple):
    """The network of an earlier run: what it was trained on, its classes and its weights."""

    training: EarlierTraining
    classes: list[str]
    weights: dict[str, np.ndarray]  # by the names of `list_weights`

    @property
    def digest(self) -> str:
        """A digest of the weights, see `run_directory.check_data`."""
        content = hashlib.sha256()
        for name, value in self.weights.items():
            content.update(f"{name} {value.shape}".encode() + value.tobytes())
        return content.hexdigest()[:16]


def load_initial_network(model: str, hp) -> InitialNetwork | None:
    """Load the network that train.init names, None where there is none.

    Raises UsageError where it does not fit, see `check_initial`, or has no layer that train.freeze
    names; DataError where a file is missing or damaged.
    """
    source = source_run.check_initial(model, hp)
    if source is None:
        return None
    network = _load_network(source)
    freeze_layers(network, hp["train"]["freeze"])
    weights = {
        name: keras.ops.convert_to_numpy(weight) for name, weight in list_weights(network).items()
    }
    training = source_run.describe_training("train.init", source)
    return InitialNetwork(training, source.classes, weights)


def _load_network(source: FinishedRun):
    if (source.folder / preset.FILE).is_file():
        with preset.unpack(preset.read_preset(source.folder)) as folder:
            return _load_network(source._replace(folder=folder))
    rounds = source.hp.get("refinery", {}).get("rounds")  # of EPR, whose last network is kept
    folder = source.network if rounds is None else source.network / f"round-{rounds}"
    return served_model.load_network(folder / "model.keras")


def digest_initial(initial: InitialNetwork | None) -> dict[str, str]:
    """Return the digest for data.json: a run does not go on with another initial network."""
    return {} if initial is None else {"initial network": initial.digest}


def select_weights(initial: InitialNetwork | None, new_network, dataset, hp) -> dict:
    """Select the weights of the initial network that a new network starts from, by name.

    With the same classes all weights continue. With other classes the weights whose shape depends
    on the number of classes are new. An output that the initial network lacks is new, too (a view
    of ACNN).

    Args:
        new_network: function(dataset, hp) -> network for the dataset's `classes`.

    Returns: {name of `list_weights`: array}, {} without an initial network.

    Raises UsageError where another weight has another shape, as of an earlier version of tfser.
    """
    if initial is None:
        return {}
    classes = list(dataset.classes)
    network = new_network(dataset, hp)
    own = of_more = _list_shapes(network)
    if classes != list(initial.classes):
        larger = dataset._replace(classes=[*classes, "one more"])
        of_more = _list_shapes(new_network(larger, hp))
    heads = set(network.output) if isinstance(getattr(network, "output", None), dict) else set()
    continued, new = {}, set()
    for name, shape in own.items():
        layer = name.rpartition("/")[0]
        value = initial.weights.get(name)
        if shape != of_more[name] or (value is None and layer in heads):
            new.add(layer)
        elif value is None or value.shape != shape:
            raise UsageError(
                f"train.init={initial.training.name}: its network has no {name} {shape}, as one of "
                "an earlier version of tfser; train it again"
            )
        else:
            continued[name] = value
    log.info("initial network: %s; new layers: %s", initial.training.name,
             " ".join(sorted(new)) or "none")  # fmt: skip
    return continued


def _list_shapes(network) -> dict[str, tuple]:
    return {name: tuple(weight.shape) for name, weight in list_weights(network).items()}


def copy_weights(network, weights: dict[str, np.ndarray]) -> None:
    """Set the weights of a network that `select_weights` has selected."""
    for name, variable in list_weights(network).items():
        if name in weights:
            variable.assign(weights[name])
