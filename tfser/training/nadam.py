"""Nadam with the momentum schedule of its paper; Keras 3 runs through it 250 times as fast."""

import keras
from keras import ops

_KerasNadam = keras.optimizers.Nadam


@keras.saving.register_keras_serializable("tfser")
class Nadam(_KerasNadam):
    """Nadam with the momentum beta_1 (1 - 0.96^(schedule_decay t) / 2) in step t = 1, 2, ...

    A schedule_decay of 0.004 is that of Dozat (2016), Keras 2 and PyTorch, 1 that of Keras 3: with
    beta_1 = 0.9 the momentum of step 600 is 0.49 or 0.90.
    """

    def __init__(self, learning_rate, *, schedule_decay, **options):
        super().__init__(learning_rate, **options)
        self.schedule_decay = schedule_decay

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        """Multiply the product of the momenta by that of this step, then update the variables."""
        step = ops.cast(self.iterations + 1, "float32")
        beta_1, beta_2 = (ops.cast(beta, "float32") for beta in (self.beta_1, self.beta_2))
        share, following = self._share(step), beta_1 * self._share(step + 1)
        product = self._u_product * beta_1 * share
        self.assign(self._u_product, product)
        # The same numbers for all variables: `update_step` has them in place of the learning rate.
        rests = [1 - of for of in (beta_1 * share, beta_1, beta_2, product, product * following)]
        numbers = learning_rate, following, *rests, 1 - ops.power(beta_2, step)
        # Keras' Nadam would multiply by a momentum of its own, too.
        super(_KerasNadam, self)._backend_update_step(grads, trainable_variables, numbers)

    def update_step(self, gradient, variable, numbers):
        """Update a variable and its two moments; numbers: those of `_backend_update_step`."""
        rate, following, *rests, debias = numbers
        less_now, less_beta_1, less_beta_2, less_product, less_next_product = rests
        index = self._get_variable_index(variable)
        m, v = self._momentums[index], self._velocities[index]
        self.assign_add(m, (gradient - m) * less_beta_1)
        self.assign_add(v, (ops.square(gradient) - v) * less_beta_2)
        m_hat = following * m / less_next_product + less_now * gradient / less_product
        self.assign_sub(variable, m_hat * rate / (ops.sqrt(v / debias) + self.epsilon))

    def _share(self, step):
        """Return the share of beta_1 that is the momentum of a step (from 1)."""
        return 1.0 - 0.5 * ops.power(0.96, self.schedule_decay * step)

    def get_config(self):
        """Return the arguments of the constructor."""
        return super().get_config() | {"schedule_decay": self.schedule_decay}
