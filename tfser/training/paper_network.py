"""Methods that the papers' networks share: files from which a training continues exactly."""

import tempfile
from pathlib import Path

import keras

from tfser.errors import UsageError
from tfser.storage import preset
from tfser.training import loop, mixed_precision, replicas


class PaperNetwork:
    """Mixin of a network's class, in front of keras.Model.

    The class sets `settings`, the arguments of its constructor, and its `compile` calls
    `record_compile`. A class with several optimizers lists them in `optimizers`, and with the
    weights that they update in `updates`.
    """

    optimizers = ()

    def get_config(self):
        """Return the arguments of the constructor."""
        return dict(self.settings) | {"name": self.name}

    def record_compile(self, **arguments):
        """Keep the arguments of `compile` for `get_compile_config`."""
        self.compile_arguments = keras.saving.serialize_keras_object(arguments)

    def get_compile_config(self):
        """Return the arguments of `compile` and the states of the seeds of dropout and noise.

        Keras saves no seeds: dropout would begin again with the masks of the first step.
        """
        if not self.compiled:
            return None
        seeds = [keras.ops.convert_to_numpy(state).tolist() for state in self._seed_states()]
        return {"arguments": self.compile_arguments, "seeds": seeds}

    def compile_from_config(self, config):
        """Compile as `get_compile_config` tells; Keras loads the optimizers' states afterwards."""
        self.compile(**keras.saving.deserialize_keras_object(config["arguments"]))
        for optimizer, variables in loop.list_optimizers(self):
            mixed_precision.build_optimizer(optimizer, variables)
        for variable, state in zip(self._seed_states(), config["seeds"], strict=True):
            variable.assign(state)

    def _seed_states(self) -> list:
        return [v for v in self.variables if v.name == "seed_generator_state"]

    def fit(self, *arguments, **options):
        """Train as keras.Model.fit does; replicas share the dropout masks of one device."""
        replicas.share_dropout(self)
        return super().fit(*arguments, **options)

    @classmethod
    def from_preset(cls, name):
        """Load the network of a preset, not compiled, as an instance of this class.

        name: of a preset that is installed with tfser (`tfser presets`), or a preset folder.

        Raises UsageError for an unknown name or the network of another class, DataError where a
        file is missing or damaged.

        Example:
            >>> import tfser
            >>> model = tfser.models.EPR.from_preset("epr_emodb")
            >>> model.output_shape
            (None, 7)
        """
        found = preset.find_preset(str(name))
        with preset.unpack(found) as folder:
            paths = [path for path in found.about["files"] if path.endswith(".keras")]
            networks = (mixed_precision.load_in_float32(folder / path) for path in paths)
            for network in networks:
                if isinstance(network, cls):
                    return network
        raise UsageError(f"{found.folder} has no {cls.__name__}, it is of {found.about['model']}")

    def save_to_preset(self, folder, *, licence="unknown", **about):
        """Write the network into a new preset folder: config.json, model.weights.h5, preset.json.

        Args:
            licence: of the weights, such as "CC-BY-4.0".
            about: further entries of preset.json: description, attribution, corpus, audio.

        Raises ConflictError where the folder exists.
        """
        folder = Path(folder)
        with tempfile.TemporaryDirectory(prefix="tfser-") as temporary:
            path = Path(temporary, "model.keras")
            self.save_for_prediction(path)
            about = {
                "name": folder.name,
                "model": type(self).__module__.split(".")[-2],
                "licence": licence,
                **about,
            }
            preset.write_preset(folder, Path(temporary), [path], about)

    def save_for_prediction(self, path):
        """Save the network without its optimizers, which make the file 3 to 5 times as large."""
        if not self.compiled:
            return self.save(path)
        optimizers = self.optimizer, self.optimizers
        compiled = self.compiled
        self.optimizer, self.optimizers, self.compiled = None, [], False
        try:
            self.save(path)
        finally:
            self.optimizer, self.optimizers = optimizers
            self.compiled = compiled
