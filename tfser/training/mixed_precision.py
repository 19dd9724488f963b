"""Mixed precision (`train.precision`): layers that compute in 16 bits, with weights in 32 bits.

What decides a result is in float32 whatever the policy: features and their z-scores, the outputs of
networks (softmax, logits, reconstructions), losses, and the networks that predict the test set or
are exported. In 16 bits a prediction depends on the number of utterances in its batch.
"""

import contextlib
import json

import keras

from tfser.training.network_file import check_classes

HALVES = ("mixed_bfloat16", "mixed_float16")


@contextlib.contextmanager
def precision_policy(name: str):
    """Set Keras' policy for layers that are built inside; restore the earlier policy afterwards."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def current_policy() -> str:
    """Return the policy of new layers."""
    return keras.config.dtype_policy().name


def scale_optimizer(optimizer):
    """Return the optimizer, in mixed_float16 with a loss scale, as Keras' `compile` does.

    float16 ends at 6e-8, where gradients do not. See `loop.minimize`.
    """
    if current_policy() != "mixed_float16":
        return optimizer
    return keras.optimizers.LossScaleOptimizer(optimizer)


def copy_optimizer(optimizer):
    """Copy an optimizer, or the name of one, in mixed_float16 with a loss scale."""
    optimizer = keras.optimizers.get(optimizer)
    config = optimizer.get_config()
    del config["name"]
    return scale_optimizer(type(optimizer).from_config(config))


def build_optimizer(optimizer, variables) -> None:
    """Create the variables of an optimizer, if they are missing.

    An optimizer with a loss scale would create its own variables again; and if it built its inner
    optimizer, that optimizer's `variables` would lack those of its class: Nadam's running product.
    """
    inner = getattr(optimizer, "inner_optimizer", None)
    for one in filter(None, (inner, optimizer)):
        if not one.built:
            one.build(variables)


def copy_in_float32(network):
    """Copy a network, not compiled, with all layers in float32; return a float32 network itself."""
    config = json.dumps(network.get_config())
    halves = [name for name in HALVES if name in config or name == current_policy()]
    if not halves:
        return network
    for name in halves:
        config = config.replace(name, "float32")
    with precision_policy("float32"):  # a subclass builds its layers in __init__
        precise = type(network).from_config(json.loads(config))
    precise.set_weights(network.get_weights())
    precise.jit_compile = network.jit_compile
    return precise


def load_in_float32(path):
    """Load a network from a file, in float32.

    Raises ValueError where it has a class that no network of the zoo has.
    """
    check_classes(path)
    with precision_policy("float32"):
        return copy_in_float32(keras.saving.load_model(path, compile=False))
