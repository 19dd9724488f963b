"""Methods that the papers' networks share: files from which a training continues exactly."""

import keras

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

    def save_for_prediction(self, path):
        """Save the network without its optimizers, which make the file 3 to 5 times as large."""
        optimizers = self.optimizer, self.optimizers
        compiled = self.compiled
        self.optimizer, self.optimizers, self.compiled = None, [], False
        try:
            self.save(path)
        finally:
            self.optimizer, self.optimizers = optimizers
            self.compiled = compiled
