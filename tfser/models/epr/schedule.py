"""EPR's learning rate: an exponential decay every two epochs (section 4.1)."""

import keras
import numpy as np
from keras import ops

UNKNOWN_STEPS = 2**40  # of an epoch


@keras.saving.register_keras_serializable("tfser")
class EpochDecay(keras.optimizers.schedules.ExponentialDecay):
    """Keras' exponential decay, with epochs in place of steps, after an optional warm-up.

    The rate of a step is initial_learning_rate * decay_rate ** (epochs / decay_epochs), where
    `epochs` are the epochs before the step, a fraction; with `staircase` the exponent is rounded
    down. During the first `warmup_epochs` this rate is multiplied by the share of the warm-up's
    steps that the step completes.

    A graph reads the number of steps of an epoch from the variable `steps`, see `set_steps`:
    networks that are trained on different numbers of segments share one graph.
    """

    def __init__(
        self,
        initial_learning_rate=3e-4,
        decay_rate=0.8,
        decay_epochs=2,
        staircase=True,
        warmup_epochs=0.0,
        name="EpochDecay",
    ):
        # In 64 bits, so that a step of the staircase is the float32 next to the decimal number.
        rates = np.float64(initial_learning_rate), np.float64(decay_rate)
        super().__init__(rates[0], decay_epochs, rates[1], staircase, name)
        self.warmup_epochs = warmup_epochs
        self.steps = keras.Variable(1, dtype="int64", trainable=False)

    def __call__(self, step):
        """Return the learning rate of a step, counted from 0."""
        steps = ops.cast(self.steps, "float64")
        rate = super().__call__(ops.cast(step, "float64") / steps)
        if not self.warmup_epochs:
            return rate
        return rate * ops.minimum(
            1.0, (ops.cast(step, "float64") + 1) / (self.warmup_epochs * steps)
        )

    def get_config(self):
        """Return the arguments of the constructor."""
        return {
            "initial_learning_rate": float(self.initial_learning_rate),
            "decay_rate": float(self.decay_rate),
            "decay_epochs": self.decay_steps,
            "staircase": self.staircase,
            "warmup_epochs": self.warmup_epochs,
            "name": self.name,
        }


def set_steps(model: keras.Model, n_steps: int) -> None:
    """Set the number of steps of an epoch for the learning rate of a model."""
    # mixed_float16 wraps the optimizer in one that scales the loss.
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    optimizer._learning_rate.steps.assign(n_steps)


class StepsOfEpoch(keras.callbacks.Callback):
    """Callback of `fit` that tells an `EpochDecay` how many steps an epoch has.

    Of a dataset of unknown length the first epoch tells: its learning rate is the initial one.
    """

    def on_train_begin(self, logs=None):
        """Set the number of steps that Keras knows, else one that no epoch reaches."""
        self._set(self.params.get("steps") or UNKNOWN_STEPS)

    def on_epoch_begin(self, epoch, logs=None):
        """Keep the number of steps before the epoch."""
        self.before = self._count_steps()

    def on_epoch_end(self, epoch, logs=None):
        """Set the number of steps of the epoch that has ended."""
        self._set(self._count_steps() - self.before)

    def _count_steps(self) -> int:
        return int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))

    def _set(self, n_steps):
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        if isinstance(optimizer._learning_rate, EpochDecay):
            set_steps(self.model, n_steps)
