"""Registration of the zoo's layers and networks with Keras, without an import of either.

Keras looks up the class of a saved layer by its registered name ("tfser>AuxVAE") and imports no
module for it. `import tfser` registers a stand-in of each class: now where Keras is imported, else
right after its import. A stand-in imports its module once a saved network needs the class.
"""

import importlib
import importlib.machinery
import sys

CLASSES = {  # those with keras.saving.register_keras_serializable
    "tfser.features.audeep": ["Spectrogram"],
    "tfser.features.log_mel": ["LogMel"],
    "tfser.features.magnitude_slices": ["Slices"],
    "tfser.features.mel_pieces": ["MelPieces"],
    "tfser.features.standardize": ["Standardize"],
    "tfser.models.aae.network": ["AdversarialAutoencoder"],
    "tfser.models.acnn.autoencoder": ["GRU", "SequenceAutoencoder"],
    "tfser.models.acnn.network": ["ACNN", "AttentionPooling"],
    "tfser.models.auxvae.network": ["AuxVAE"],
    "tfser.models.auxvae.subnetworks": ["MeanOfChunks"],
    "tfser.models.began.heads": ["EmotionHead"],
    "tfser.models.began.network": ["BEGAN", "Began", "Picture"],  # Began: in earlier files
    "tfser.models.epr.network": ["EPR"],
    "tfser.models.epr.schedule": ["EpochDecay"],
    "tfser.training.nadam": ["Nadam"],
}


class StandIn:
    """Stand-in of a class until a saved network needs it; the import replaces the stand-in."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name

    def from_config(self, *arguments, **options):
        """Return a layer or a network of the class from its config."""
        found = getattr(importlib.import_module(self.module), self.name)
        return found.from_config(*arguments, **options)


class CallAfterImport:
    """Finder for `sys.meta_path` that calls a function after the import of one module."""

    def __init__(self, module: str, function):
        self.module, self.function = module, function

    def find_spec(self, name, path=None, target=None):
        """Return the module's spec, whose loader calls the function; None for other modules."""
        if name != self.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            self.function()

        spec.loader.exec_module = exec_module
        return spec


def register_classes() -> None:
    """Register the stand-ins of CLASSES with Keras; classes that are registered stay."""
    import keras  # imported already: see `register_with_keras`

    registered = keras.saving.get_custom_objects()
    for module, names in CLASSES.items():
        for name in names:
            registered.setdefault(f"tfser>{name}", StandIn(module, name))


def register_with_keras() -> None:
    """Register the stand-ins: now if Keras is imported, else after its import."""
    if "keras" in sys.modules:
        register_classes()
    else:
        sys.meta_path.insert(0, CallAfterImport("keras", register_classes))
