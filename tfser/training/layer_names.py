"""The layers and weights of a network by their names, and layers that are not trained."""

import fnmatch

import keras

from tfser.errors import UsageError, did_you_mean


def list_layers(network: keras.Model) -> dict:
    """Return the layers with weights by name: "dense1", of a network inside "encoder/dense1"."""
    layers = {}
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            inner = list_layers(layer)
            layers |= {f"{layer.name}/{name}": of_name for name, of_name in inner.items()}
        elif layer.weights:
            layers[layer.name] = layer
    return layers


def list_weights(network: keras.Model) -> dict:
    """Return the weights by name: "encoder/dense1/kernel"."""
    return {
        f"{name}/{weight.name}": weight
        for name, layer in list_layers(network).items()
        for weight in layer.weights
    }


def freeze_layers(network: keras.Model, patterns) -> None:
    """Freeze the layers that patterns name, before the network is compiled.

    patterns: as of `fnmatch`, of names of `list_layers` or of a network inside: "conv1_*",
        "encoder". A frozen batch normalization keeps its statistics.

    Raises UsageError for a pattern without a layer, and where no layer is left.
    """
    layers = list_layers(network)
    for pattern in patterns:
        found = [name for name in layers if _matches(name, pattern)]
        if not found:
            names = [name for name, layer in layers.items() if layer.trainable_weights]
            raise UsageError(
                f"train.freeze: no layer {pattern!r}{did_you_mean(pattern, names)}; the layers "
                f"are {' '.join(names)}"
            )
        for name in found:
            layers[name].trainable = False
    if patterns and not network.trainable_weights:
        raise UsageError("train.freeze leaves no layer to train; name fewer layers")


def _matches(name: str, pattern: str) -> bool:
    """Return whether a pattern is of a layer, or of a network that the layer is in."""
    parts = name.split("/")
    ends = range(1, len(parts) + 1)
    return any(fnmatch.fnmatchcase("/".join(parts[:end]), pattern) for end in ends)
