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
        product = self._u_product * self.beta_1 * self._share(self.iterations + 1)
        self.assign(self._u_product, product)
        # Keras' Nadam would multiply by a momentum of its own, too.
        super(_KerasNadam, self)._backend_update_step(grads, trainable_variables, learning_rate)

    def update_step(self, gradient, variable, learning_rate):
        """Update a variable and its two moments."""
        index, product = self._get_variable_index(variable), self._u_product
        m, v = self._momentums[index], self._velocities[index]
        beta_1, beta_2 = (ops.cast(beta, "float32") for beta in (self.beta_1, self.beta_2))
        now, following = (beta_1 * self._share(self.iterations + t) for t in (1, 2))
        self.assign_add(m, (gradient - m) * (1 - beta_1))
        self.assign_add(v, (ops.square(gradient) - v) * (1 - beta_2))
        m_hat = following * m / (1 - product * following) + (1 - now) * gradient / (1 - product)
        v_hat = v / (1 - ops.power(beta_2, ops.cast(self.iterations + 1, "float32")))
        self.assign_sub(variable, m_hat * learning_rate / (ops.sqrt(v_hat) + self.epsilon))

    def _share(self, step):
        """Return the share of beta_1 that is the momentum of a step (from 1)."""
        exponent = self.schedule_decay * ops.cast(step, "float32")
        return 1.0 - 0.5 * ops.power(0.96, exponent)

    def get_config(self):
        """Return the arguments of the constructor."""
        return super().get_config() | {"schedule_decay": self.schedule_decay}
