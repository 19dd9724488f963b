"""Spark for tests: workers that are forked from a daemon which has imported TensorFlow.

Each worker would import it otherwise, and each that replaces a worker that was killed.
"""

import contextlib
import os
import sys
from pathlib import Path

LIGHT = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # it lives for seconds
OPTIONS = f"--driver-java-options '{LIGHT}'"


@contextlib.contextmanager
def light_java(*options):
    """Let Spark start a Java that spares the processor; end it afterwards."""
    import pytest

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_SUBMIT_ARGS", " ".join([OPTIONS, *options, "pyspark-shell"]))
        end_java()
        yield
        end_java()


@contextlib.contextmanager
def preloading_daemon(path: str):
    """Let Spark's workers be forked from this module, with `path` as their PYTHONPATH."""
    import pytest

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), path]))
        with light_java(f"--conf spark.python.daemon.module={__name__}"):
            yield


def end_java() -> None:
    """End the Java of this process, which outlives Spark's sessions."""
    if "pyspark" not in sys.modules:
        return
    from pyspark import SparkContext

    if SparkContext._gateway:
        java = SparkContext._gateway.proc
        SparkContext._gateway.shutdown()
        SparkContext._gateway = SparkContext._jvm = None
        java.kill()
        java.wait()


if __name__ == "__main__":
    import tensorflow  # noqa: F401
    from pyspark.daemon import manager

    import tfser.cache.spark_extraction  # noqa: F401

    manager()
