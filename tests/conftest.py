"""What the tests share: where real speech lies, and a process with two devices."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import networks
import pytest

pytest_plugins = ["skips"]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as `import_keras` does
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def shared_networks():
    """Tests that build graphs share them, see `networks`."""
    networks.share_networks()


@pytest.fixture
def eager():
    """For tests of a few steps: no graph is traced, which takes as long as hundreds of steps."""
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Even though the `tf.config.experimental_run_functions")
        tf.config.run_functions_eagerly(True)
        try:
            yield
        finally:
            tf.config.run_functions_eagerly(False)


@pytest.fixture
def own_networks(monkeypatch):
    """For a test about tracing or compilation: its networks are its own."""
    monkeypatch.setattr(networks, "enabled", False)


@pytest.fixture
def shared_data():
    """The folder of real speech beside the project; tests that need it skip where it is missing."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real speech at {SHARED_DATA}")
    return SHARED_DATA


TWO_DEVICES = """
import functools, json, sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
tf.config.threading.set_inter_op_parallelism_threads(2)
"""


@pytest.fixture
def on_two_devices(tmp_path):
    """Runs code that may import the tests of models and prints JSON last; returns what it says.

    sys.argv[1] is a folder. In a process of its own: devices are made before TensorFlow starts.
    """
    tests = Path(__file__).resolve().parent
    path = [str(tests / "models"), str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")]

    def run(code):
        done = subprocess.run(
            [sys.executable, "-c", TWO_DEVICES + code, tmp_path],
            capture_output=True, text=True, timeout=600,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path), "CUDA_VISIBLE_DEVICES": "-1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run
