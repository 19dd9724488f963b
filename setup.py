"""Everything but the list of packages is in setup.cfg."""

from setuptools import find_packages, setup

# hparams/ and zoo/ hold no code: in a wheel they lie inside the package, as data (package_dir).
setup(packages=find_packages(include=["tfser", "tfser.*"]) + ["tfser._hparams", "tfser._zoo"])
