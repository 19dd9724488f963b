"""Networks that the tests of a process share: a graph is traced once for each network and shape."""

import json
import re
import sys
from importlib import import_module

MODULES = {  # those that compile networks
    "aae": ["experiment"],
    "acnn": ["experiment", "pretraining"],
    "auxvae": ["pretraining"],
    "began": ["experiment", "pretraining"],
    "epr": ["experiment"],
}
# Modules whose functions a graph is traced from. A test that replaces one gets another network.
TRACED = {
    "aae": ["network", "subnetworks"],
    "acnn": ["autoencoder", "network"],
    "auxvae": ["network", "subnetworks"],
    "began": ["heads", "network"],
    "epr": ["network"],
}
LARGE = 5_000_000  # weights: three times as much with an optimizer

enabled = True
_networks = {}


def share_networks() -> None:
    """Replace each paper's `compiled_network` by a shared one, once TensorFlow is imported."""
    if "tensorflow" not in sys.modules:
        return
    share_kernels()
    optimize_graphs(False)
    for paper, names in MODULES.items():
        for name in names:
            module = import_module(f"tfser.models.{paper}.{name}")
            if not hasattr(module.compiled_network, "unshared"):
                module.compiled_network = _shared(module.compiled_network, paper)


def share_kernels() -> None:
    """Make variables by one kernel: TensorFlow builds a kernel for each name, which takes 1 ms."""
    from tensorflow.python.ops import gen_resource_variable_ops as ops

    make = ops.var_handle_op
    if not hasattr(make, "named"):
        ops.var_handle_op = lambda *arguments, debug_name="", **options: make(*arguments, **options)
        ops.var_handle_op.named = make


def optimize_graphs(optimize: bool) -> None:
    """Let TensorFlow optimize graphs, or run them as they are traced.

    Their optimization takes a third of a short training. Processes that tests start as commands
    optimize their graphs, as all users' commands do, and so do tests with `own_networks`.
    """
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not optimize})


def _shared(make, paper):
    """Return a function like `make` that returns an earlier network in the state of a new one.

    The new network is made all the same: its weights and seeds are those that the shared network
    starts from, and it tells which network to share.
    """
    import keras

    from tfser.training import loop

    def compiled_network(*arguments, **options):
        new = make(*arguments, **options)
        if not enabled or not isinstance(new, keras.Model) or new.count_params() > LARGE:
            return new
        model = _networks.setdefault((*_describe(new), *_traced_from(paper)), new)
        if model is not new:
            loop.reinitialize(model, new)
            for variable, value in zip(model.variables, new.variables, strict=True):
                variable.assign(value)
            optimizers = zip(loop.list_optimizers(model), loop.list_optimizers(new), strict=True)
            for (optimizer, _), (unused, _) in optimizers:
                if isinstance(unused.learning_rate, keras.Variable):  # not of a schedule
                    optimizer.learning_rate = float(unused.learning_rate)
        return model

    compiled_network.unshared = make
    return compiled_network


def _describe(model) -> tuple:
    """Return what a graph depends on: the architecture, the shapes and the compilation."""
    import tensorflow as tf

    from tfser.training import loop, mixed_precision

    compile_loss = getattr(model, "_compile_loss", None)
    losses = compile_loss and compile_loss._user_loss
    losses = losses if isinstance(losses, dict) else {"": losses}
    return (
        type(model),
        _describe_config(model),
        tuple((tuple(v.shape), v.dtype, v.trainable) for v in model.variables),
        tuple(
            (type(optimizer), _describe_config(optimizer))
            for optimizer, _ in loop.list_optimizers(model)
        ),
        tuple((name, _describe_loss(loss)) for name, loss in losses.items()),
        str(compile_loss and compile_loss._user_loss_weights),
        getattr(model, "clip_norm", None),
        getattr(model, "masks_padding", None),
        model.jit_compile,
        id(model.distribute_strategy),
        mixed_precision.current_policy(),
        tf.config.functions_run_eagerly(),
    )


def _describe_config(described) -> str:
    """Return a config without the numbers in its names, which count all layers of the process."""
    numbers = {}

    def renumber(match):  # "dense_17"
        return f'"{match[1]}_{numbers.setdefault(match[0], len(numbers))}"'

    config = json.dumps(described.get_config(), sort_keys=True, default=str)
    return re.sub(r'"([a-z_0-9]+?)(?:_\d+)?"', renumber, config)


def _describe_loss(loss):
    """Return a function or a name as it is, of an object its class and settings."""
    if loss is None or isinstance(loss, str) or hasattr(loss, "__name__"):
        return loss
    return type(loss), _describe_config(loss)


def _traced_from(paper) -> tuple:
    """Return the functions and constants that a graph of the paper's networks is traced from."""
    import keras

    from tfser.training import nadam

    values = [keras.optimizers.Adam, keras.optimizers.Nadam, nadam.Nadam]
    for name in (
        *(f"tfser.models.{paper}.{name}" for name in TRACED[paper]),
        "tfser.training.loop",
        "tfser.training.epoch",
        "tfser.training.replicas",
    ):
        module = import_module(name)
        for value in vars(module).values():
            if isinstance(value, type):
                values += [member for member in vars(value).values() if callable(member)]
            if callable(value) or isinstance(value, (int, tuple)):
                values.append(value)
    return tuple(values)
