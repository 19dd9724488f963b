"""Check of the classes in a .keras file before Keras loads it: some classes are programs.

Lambda holds Python code, other layers of Keras read files or load other formats.
"""

import json
import zipfile
from pathlib import Path

from tfser.keras_classes import CLASSES

# Layers of all networks of the zoo.
LAYERS = frozenset(
    """
    Activation Add BatchNormalization Concatenate Conv1D Conv1DTranspose Conv2D Dense Dropout ELU
    Flatten GRU GRUCell GaussianNoise GlobalAveragePooling1D Identity InputLayer LayerNormalization
    LeakyReLU MaxPooling1D MaxPooling2D Multiply Normalization Permute ReLU Reshape Softmax
    UpSampling1D UpSampling2D ZeroPadding1D
    """.split()
)
MODELS = ("Functional", "Model", "Sequential")
# Operations of the functional API, and packages of classes that only compute.
PACKAGES = ("keras.constraints", "keras.initializers", "keras.regularizers", "keras.src.ops.")
VALUES = ("__keras_tensor__", "__slice__", "__tensor__", "__tuple__", "__numpy__", "__ellipsis__")


def check_classes(path: Path) -> None:
    """Raise ValueError where a .keras file has a class that no network of the zoo has."""
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    config.pop("compile_config", None)  # tfser loads a network without its optimizers
    pending = [config]
    own = {f"tfser>{name}" for names in CLASSES.values() for name in names}
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if "class_name" in value and not _is_known(value, own):
                name = f"{value.get('module') or ''}.{value['class_name']}".strip(".")
                raise ValueError(f"it has the class {name}, which no network of tfser has")
            pending += value.values()
        elif isinstance(value, list):
            pending += value


def _is_known(value: dict, own: set[str]) -> bool:
    """Return whether the class of a config is one of the zoo's networks."""
    module, name = value.get("module"), value["class_name"]
    if value.get("registered_name") in own:
        return True
    if module is None:
        return name in VALUES
    if module == "keras.layers":
        return name in LAYERS
    if name == "DTypePolicy":
        return module.startswith("keras")
    if module.startswith(("keras.src.models.", "keras.models")) or module == "keras":
        return name in MODELS
    return name != "function" and module.startswith(PACKAGES)
