"""tfser-extract: fills the feature cache with the features of one system for one corpus.

tfser-train extracts the same features if the cache lacks them. This command extracts them in a job
of its own, for corpora that take hours, on all cores of this machine or on the workers of Spark.
`extract_features` of tfser/models/<name>/dataset.py selects the features.
"""

import functools
import importlib
import logging
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tfser import tensorflow_startup
from tfser.audio import decode
from tfser.cli import base
from tfser.cli.options import (
    PRETRAINED,
    Options,
    add_data_flags,
    check_minimum,
    load_named_corpus,
    resolve_cache,
)
from tfser.cli.task import check_source
from tfser.cli.zoo import check_model
from tfser.corpora.loader import describe_corpus
from tfser.distributed import spark_session
from tfser.errors import ConflictError, DataError, TfserError
from tfser.storage import atomic_files, s3

log = logging.getLogger("tfser")

EPILOG = """\
exit codes: 0 done, 1 the disk or Spark failed, 2 usage or configuration, 3 data, 130 interrupted.
An unreadable file does not stop the extraction: it is listed at the end, and more than --max-bad
unreadable files give exit code 3. The same command continues where it stopped.

Give the flags of the training; the training then extracts nothing. A training with --test-corpus
still extracts: the features of two corpora together have a cache entry of their own. To extract
the corpus of a pre-training, give it as --corpus; if the hyperparameters do not name it, name it by
--set as in the training.

example: tfser-extract --model began --corpus librispeech --data-root ~/corpora/LibriSpeech
"""


def parser():
    """Return the parser of tfser-extract, without importing TensorFlow."""
    p = base.Parser("tfser-extract", __doc__.partition(": ")[2].partition("\n")[0], EPILOG)
    add_data_flags(p)
    p.add_argument(
        "--spark",
        metavar="MASTER",
        help="extract on the workers of Spark, which share --cache and the folder of the corpus: "
        "local[2] for two processes on this machine, or the URL of a cluster (needs tfser[spark] "
        "and Java)",
    )
    return p


def main(argv=None) -> int:
    """Run the command and return its exit code."""
    return base.run_command(extract, base.parse(parser(), argv, Options))


def extract(options: Options) -> None:
    """Check the options before reading audio, extract, print a line for each cache entry."""
    if options.spark is not None:
        spark_session.check_master(options.spark)
    check_model(options.model)
    check_minimum(options, max_bad=0)
    cache = resolve_cache(options)
    corpus, utterances, hp = load_named_corpus(options, options.corpus, options.data_root, cache)
    check_source(options.model, hp)
    check_labels(options, utterances, hp)
    check_writable(cache)
    log.info("%s", describe_corpus(options.corpus, utterances))
    with tensorflow_startup.quiet():
        tensorflow_startup.import_keras()
        module = importlib.import_module(f"tfser.models.{options.model}.dataset")
    from tfser.cache import extraction, feature_cache, spark_extraction  # import TensorFlow

    extract_shards = (
        functools.partial(spark_extraction.extract_on_spark, options.spark)
        if options.spark
        else extraction.extract_in_threads
    )
    entries, contents = [], {}

    def make(wanted, feature):
        """Complete the cache entry of these features and return its `StoredFeatures`."""
        content = [u.name for u in wanted], feature.settings()
        for earlier, stored in entries:
            if earlier == content:  # a system may need the same entry twice
                return stored
        started = time.monotonic()
        stored = feature_cache.store_features(
            wanted,
            feature,
            cache=cache,
            max_bad=options.max_bad,
            **hp["audio"],
            make=extract_shards,
            contents=contents,
        )
        seconds = time.monotonic() - started
        entries.append((content, stored))
        print(format_line(options.model, corpus, feature, stored, len(wanted), seconds), flush=True)
        return stored

    module.extract_features(options.corpus, utterances, hp, make)


def check_labels(options: Options, utterances, hp) -> None:
    """Raise UsageError or DataError for labels that cannot be trained, without TensorFlow."""
    unlabelled = {hp.get(section, {}).get("corpus") for section in PRETRAINED}
    unlabelled.add(hp.get("train", {}).get("unlabelled_corpus"))
    if options.corpus in unlabelled or hp["labels"]["target"] == "attributes":
        return
    level = log.level
    log.setLevel(logging.ERROR)  # the extraction logs what is selected
    try:
        splits = importlib.import_module(f"tfser.models.{options.model}.splits")
        splits.select_utterances(utterances, hp)
    finally:
        log.setLevel(level)


def check_writable(cache: Path) -> None:
    """Raise ConflictError if the cache cannot be written and is not there to be read.

    Raises TfserError if its disk is full.
    """
    if isinstance(cache, s3.S3Path):  # `resolve_cache` has checked the bucket
        return
    try:
        cache.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=cache).close()
    except OSError as error:
        if os.path.isdir(cache) and error.errno not in atomic_files.FULL:
            return  # what is extracted already is read
        kind = TfserError if error.errno in atomic_files.FULL else ConflictError
        raise kind(f"--cache {cache} cannot be written: {error.strerror}; give another") from None


def format_line(model, corpus, feature, stored, n_wanted: int, seconds: float) -> str:
    """Describe a cache entry, a `StoredFeatures`, in a line for grep."""
    folder = s3.to_path(stored.paths[0]).parent
    n_frames = sum(map(sum, stored.n_frames))
    return (
        f"EXTRACTED model={model} corpus={corpus} feature={type(feature).__name__} "
        f"utterances={len(stored.utterances)} left_out={n_wanted - len(stored.utterances)} "
        f"hours={count_hours(stored.utterances):.3f} frames={n_frames} shards={len(stored.paths)} "
        f"bytes={sum(map(s3.file_size_bytes, stored.paths))} "
        f"seconds={seconds:.1f} folder={folder}"
    )


def count_hours(utterances) -> float:
    """Add up the durations of utterances in hours; a missing file counts 0."""

    def seconds(utterance):
        end = utterance.end_seconds
        if end is None:
            try:
                end = duration_seconds(utterance.path)
            except DataError:
                return 0.0
        return end - (utterance.start_seconds or 0.0)

    with ThreadPoolExecutor() as pool:
        return sum(pool.map(seconds, utterances)) / 3600


@functools.cache
def duration_seconds(path) -> float:
    """Return a duration, once for all cache entries of a command: an mp3 is decoded for it."""
    return decode.duration_seconds(path)


if __name__ == "__main__":
    sys.exit(main())
