"""Names of a package that are imported when they are used: `import tfser` takes no TensorFlow."""

import importlib
import sys

from tfser import tensorflow_startup


def export(package: str, modules: dict[str, list[str]], keras_modules=None) -> tuple:
    """Return `__all__`, `__getattr__` and `__dir__` of a package (PEP 562).

    modules: {module: its names}, modules within `package`.
    keras_modules: the same of modules that import Keras. It is imported first, as the commands do:
        without messages, and for the same digits.
    """
    keras_modules = keras_modules or {}
    module_of = {n: module for module, names in (modules | keras_modules).items() for n in names}

    def import_name(name):
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if module_of[name] in keras_modules and "keras" not in sys.modules:
            with tensorflow_startup.quiet():
                tensorflow_startup.import_keras()
        value = getattr(importlib.import_module(f"{package}.{module_of[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def list_names():
        return sorted({*vars(sys.modules[package]), *module_of})

    return sorted(module_of), import_name, list_names
