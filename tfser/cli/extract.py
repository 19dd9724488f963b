"""tfser-extract: fills the feature cache with what one system hears of one corpus.

The features are those that tfser-train computes where they are not in the cache; here as a job of
its own, for corpora that take hours, by all cores of this machine or by the workers of Spark.
`fill` of tfser/models/<name>/dataset.py says which they are.
"""

import functools
import importlib
import logging
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tfser import tensorflow_startup
from tfser.audio import decode
from tfser.cli import base, options
from tfser.corpora.loader import describe_corpus
from tfser.distributed import spark_session
from tfser.errors import DataError, UsageError
from tfser.storage import s3

log = logging.getLogger("tfser")

EPILOG = """\
exit codes: 0 done, 1 the disk or Spark failed, 2 usage or configuration, 3 data, 130 interrupted.
What cannot be read does not stop the others: it is named at the end, and more than --max-bad of it
is exit code 3. The same command continues where it stopped.

Give the flags of the training, which then extracts nothing; but with --test-corpus it does, as the
features of two corpora have a place of their own. The corpus that a system is pre-trained on is
given as --corpus; where its hyperparameters do not name it, --set names it as in training.

example: tfser-extract --model began --corpus librispeech --data-root ~/corpora/LibriSpeech
"""


def parser():
    """The flags of tfser-extract; made without importing TensorFlow."""
    p = base.Parser("tfser-extract", __doc__.partition(": ")[2].partition("\n")[0], EPILOG)
    options.add_data_flags(p)
    p.add_argument(
        "--spark",
        metavar="MASTER",
        help="extract by the workers of Spark, which share --cache and the corpus's folder: "
        "local[2] for two processes here, or a cluster's URL (needs tfser[spark] and Java)",
    )
    return p


def main(argv=None) -> int:
    """Runs the command and returns its exit code."""
    return base.run_command(extract, parser().parse_args(argv))


def extract(args) -> None:
    """Checks everything that can be checked without audio, extracts, prints a line a folder."""
    if args.spark is not None:
        spark_session.check_master(args.spark)
    options.check_model(args.model)
    options.check_minimum(args, max_bad=0)
    cache = options.resolve_cache(args)
    corpus, utterances, hp = options.load_named_corpus(args, args.corpus, args.data_root, cache)
    decoder = hp["audio"]["decoder"]
    check_writable(cache)
    log.info("%s", describe_corpus(args.corpus, utterances))
    with tensorflow_startup.quiet():
        tensorflow_startup.import_keras()
        module = importlib.import_module(f"tfser.models.{args.model}.dataset")
    from tfser.cache import extraction, feature_cache, spark_extraction

    how = (
        functools.partial(spark_extraction.extract_on_spark, args.spark)
        if args.spark
        else extraction.extract_in_threads
    )
    done, contents = [], {}

    def make(wanted, feature):
        """Fills the folder of these features; returns the `feature_cache.StoredFeatures` of it."""
        what = [u.name for u in wanted], feature.settings()
        for before, found in done:
            if before == what:  # a system may ask twice
                return found
        started = time.monotonic()
        found = feature_cache.store_features(
            wanted,
            feature,
            cache=cache,
            max_bad=args.max_bad,
            decoder=decoder,
            make=how,
            contents=contents,
        )
        seconds = time.monotonic() - started
        done.append((what, found))
        print(format_line(args.model, corpus, feature, found, len(wanted), seconds), flush=True)
        return found

    module.extract_features(args.corpus, utterances, hp, make)


def check_writable(cache: Path) -> None:
    """Raises UsageError where nothing can be written into the cache."""
    if isinstance(cache, s3.S3Path):  # `options.resolve_cache` has looked whether it is there
        return
    try:
        cache.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=cache).close()
    except OSError as error:
        raise UsageError(
            f"--cache {cache} cannot be written: {error.strerror}; give another"
        ) from None


def format_line(model, corpus, feature, found, n_asked: int, seconds: float) -> str:
    """What is in a folder of the cache, for grep; `found` is a `feature_cache.StoredFeatures`."""
    folder = s3.to_path(found.paths[0]).parent
    n_frames = sum(map(sum, found.n_frames))
    return (
        f"EXTRACTED model={model} corpus={corpus} feature={type(feature).__name__} "
        f"utterances={len(found.utterances)} left_out={n_asked - len(found.utterances)} "
        f"hours={count_hours(found.utterances):.3f} frames={n_frames} shards={len(found.paths)} "
        f"bytes={sum(map(s3.file_size_bytes, found.paths))} "
        f"seconds={seconds:.1f} folder={folder}"
    )


def count_hours(utterances) -> float:
    """How much speech it is; a file that is gone by now counts nothing."""

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
    """Once for all folders that a command fills: an mp3 is decoded for it."""
    return decode.duration_seconds(path)


if __name__ == "__main__":
    sys.exit(main())
