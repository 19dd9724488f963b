"""`train.precision`: layers that compute in 16 bits, around weights that stay in 32.

What decides a result is in float32 whatever the policy: features and their z-scores, the outputs of
networks (softmax, logits, reconstructions), losses, and what a trained network says of a test part
or is served with. What 16 bits say of an utterance depends on how many others are asked with it.
"""

import contextlib
import json

import keras

HALVES = ("mixed_bfloat16", "mixed_float16")


@contextlib.contextmanager
def precision_policy(name: str):
    """Layers made inside it have this policy of Keras; afterwards that of before holds."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def current_policy() -> str:
    """The policy that new layers have."""
    return keras.config.dtype_policy().name


def scale_optimizer(optimizer):
    """The optimizer, for mixed_float16 with a loss scale, as `compile` does it for models of Keras.

    float16 ends at 6e-8, where gradients do not. See `loop.minimize`.
    """
    if current_policy() != "mixed_float16":
        return optimizer
    return keras.optimizers.LossScaleOptimizer(optimizer)


def build_optimizer(optimizer, variables) -> None:
    """Makes the variables of an optimizer, if they are not there.

    One with a loss scale would make its own anew, and if it built the one inside it, that one's
    `variables` would lack those of its class: Nadam's running product.
    """
    inner = getattr(optimizer, "inner_optimizer", None)
    for one in filter(None, (inner, optimizer)):
        if not one.built:
            one.build(variables)


def copy_in_float32(network):
    """The same network, not compiled, with all layers in float32; itself where they are."""
    config = json.dumps(network.get_config())
    halves = [name for name in HALVES if name in config or name == current_policy()]
    if not halves:
        return network
    for name in halves:
        config = config.replace(name, "float32")
    with precision_policy("float32"):  # a class of its own makes its layers anew
        precise = type(network).from_config(json.loads(config))
    precise.set_weights(network.get_weights())
    precise.jit_compile = network.jit_compile
    return precise


def load_in_float32(path):
    """The network in a file, in float32."""
    with precision_policy("float32"):
        return copy_in_float32(keras.saving.load_model(path, compile=False))
