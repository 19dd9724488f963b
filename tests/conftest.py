"""Fixtures of all tests: the folder of real speech, what tests share, eager mode."""

import gc
import os
import tarfile
import warnings
from pathlib import Path

import networks
import pictures
import pytest
import smile_workers

pytest_plugins = ["skips"]
# A traced graph is many objects: with Python's thresholds the collector takes a sixth of all time.
gc.set_threshold(100_000, 20, 100)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as `import_keras` does
# Two workers share two cores: with a thread for each core, operators wait for each other's threads.
for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")
# The longest files come first: at the end no worker waits for a long file of the other worker.
LONGEST = """
    test_export test_aae test_train test_auxvae test_devices test_extract test_resume
    test_keras_models test_multi_worker test_mixed_precision test_began test_spark_jobs test_epr
    test_acnn test_cases test_nested_search test_init test_loop test_layer_names test_search
""".split()
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
MADE_BEFORE = Path(__file__).parent / "made_before"


def pytest_collection_modifyitems(items):
    """Sort the tests by their files, those of LONGEST first."""
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


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


@pytest.fixture(scope="session", autouse=True)
def without_pictures():
    """Pictures of one pixel, but in tests with `with_pictures`."""
    with pictures.drawn(real=False):
        yield


@pytest.fixture(scope="session", autouse=True)
def shared_opensmile():
    """All features share openSMILE's worker processes, but in the tests of these processes."""
    with smile_workers.made_by():
        yield


@pytest.fixture
def with_pictures():
    """Real pictures."""
    with pictures.drawn():
        yield


@pytest.fixture
def own_networks(monkeypatch):
    """For a test about tracing or compilation: its networks are its own."""
    monkeypatch.setattr(networks, "enabled", False)
    networks.optimize_graphs(True)  # until the next test


@pytest.fixture
def shared_data():
    """The folder of real speech beside the project; tests that need it skip where it is missing."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real speech at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def before(tmp_path_factory):
    """The runs, cache entries and exports of an older commit, see made_before/README.md."""
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(MADE_BEFORE / "df458cb.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder
