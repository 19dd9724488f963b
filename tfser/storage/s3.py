"""Folders under s3://, through TensorFlow with the file system of tensorflow-io.

An `S3Path` has the methods of `Path` that tfser uses. An object of S3 is complete or missing, so
that no file needs a temporary name.
"""

import functools
import importlib.util
import logging
import os
import sys
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

from tfser.errors import DataError, UsageError

log = logging.getLogger("tfser")

SCHEME = "s3://"
INSTALL = "pip install 'tfser[io]' -c constraints-io.txt, in an environment of its own"
SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
# Variables that name other sources of a key for the AWS library.
OTHER_KEYS = ("AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_ROLE_ARN")


def to_path(text):
    """Return an `S3Path` for "s3://bucket/folder", a `Path` for other text, and paths unchanged."""
    if isinstance(text, S3Path | Path):
        return text
    return S3Path(text) if str(text).startswith(SCHEME) else Path(text)


class S3Path(PurePosixPath):
    """A file or folder of S3, with the methods of `Path` that tfser uses.

    Raises OSError if S3 refuses, and UsageError if tensorflow-io or credentials are missing.
    """

    def __str__(self):
        bucket_and_key = super().__str__().removeprefix("s3:").lstrip("/")
        return SCHEME + bucket_and_key

    def __fspath__(self):
        return str(self)

    def expanduser(self):
        """Return the path unchanged: S3 has no home folder."""
        return self

    absolute = resolve = expanduser

    def is_file(self):
        """Return true if the object exists."""
        return self.exists() and not call_gfile(self, lambda gfile: gfile.isdir(_folder(self)))

    def stat(self):
        """Return an object with st_size, in bytes."""
        return SimpleNamespace(st_size=call_gfile(self, lambda gfile: gfile.stat(str(self)).length))

    def is_dir(self):
        """Return true if there are objects under the path, or it is a bucket that can be listed."""
        return call_gfile(self, lambda gfile: gfile.isdir(_folder(self)) or _is_bucket(gfile, self))

    def exists(self):
        """Return true if the object, or an object under it, exists."""
        return len(self.parts) > 2 and call_gfile(self, lambda gfile: gfile.exists(str(self)))

    def read_bytes(self):
        """Return the content of an object."""
        return call_gfile(self, lambda gfile: gfile.GFile(str(self), "rb").read())

    def read_text(self, encoding="utf-8", errors="strict"):
        """Return the content of an object as text."""
        return self.read_bytes().decode(encoding, errors)

    def glob(self, pattern):
        """Return an iterator over the paths that match the pattern."""
        return map(S3Path, call_gfile(self, lambda gfile: gfile.glob(f"{self}/{pattern}")))

    def walk(self):
        """Yield (folder, names of folders, names of files) as os.walk, from the top.

        The caller may sort the names of folders, or remove some.
        """
        listed = call_gfile(self, lambda gfile: gfile.listdir(_folder(self)))
        names = dict.fromkeys(name.rstrip("/") for name in listed)
        folders = [
            n for n in names if n and call_gfile(self, lambda g, n=n: g.isdir(f"{self}/{n}"))
        ]
        yield str(self), folders, [name for name in names if name and name not in folders]
        for name in folders:
            yield from (self / name).walk()


def _folder(path: S3Path) -> str:
    """Return the path as text, with the slash that makes a bucket a folder."""
    return str(path) if len(path.parts) > 2 else f"{path}/"


def _is_bucket(gfile, path: S3Path) -> bool:
    return len(path.parts) == 2 and gfile.listdir(f"{path}/") is not None


def make_file_test(folder):
    """Return a function that tests if a path is a file under the folder; S3 is listed once."""
    if not isinstance(folder, S3Path):
        return Path.is_file
    return {S3Path(top) / name for top, _, files in folder.walk() for name in files}.__contains__


def upload(local: Path, target: S3Path) -> None:
    """Upload a local file; raise OSError if S3 refuses."""
    call_gfile(target, lambda gfile: gfile.copy(str(local), str(target), overwrite=True))


def file_size_bytes(file) -> int:
    """Return the size of a local file or an object of S3."""
    return to_path(file).stat().st_size


def call_gfile(path: S3Path, function):
    """Return function(tf.io.gfile); raise OSError without secrets if S3 refuses."""
    gfile, errors = _file_system()
    try:
        return function(gfile)
    except errors.NotFoundError:
        raise FileNotFoundError(2, "No such file or bucket", str(path)) from None
    except errors.OpError as error:
        raise OSError(5, mask_secrets(str(error.message).partition("\n")[0]), str(path)) from None


def mask_secrets(text: str) -> str:
    """Return a text with stars in place of keys."""
    for value in filter(None, map(os.environ.get, SECRETS)):
        text = text.replace(value, "***")
    return text


@functools.cache
def _file_system():
    """Return (tf.io.gfile, tf.errors) after tensorflow-io has registered s3://."""
    check_credentials()
    tf = import_tensorflow_io(SCHEME)
    return tf.io.gfile, tf.errors


def check_credentials() -> None:
    """Raise UsageError with the missing environment variables; it never contains their values."""
    missing = [name for name in SECRETS[:2] if not os.environ.get(name)]
    shared = os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")
    if any(map(os.environ.get, OTHER_KEYS)) or os.path.exists(os.path.expanduser(shared)):
        missing = []
    # A private server has an address; the region gives the address of Amazon's.
    if not os.environ.get("AWS_REGION") and not os.environ.get("S3_ENDPOINT"):
        missing.append("AWS_REGION (or S3_ENDPOINT, the address of another server than Amazon's)")
    if missing:
        raise UsageError(f"s3:// needs the environment variables {', '.join(missing)}; set them")


def check_folder(folder, flag: str) -> None:
    """Raise DataError if the bucket of an `S3Path` is missing; other paths are not checked."""
    if not isinstance(folder, S3Path):
        return
    bucket = S3Path(*folder.parts[:2])
    try:
        call_gfile(bucket, lambda gfile: gfile.listdir(f"{bucket}/"))
    except FileNotFoundError as error:
        raise DataError(f"{flag} {folder}: {error.strerror}; see that {bucket} is there") from None
    except OSError:  # a key may allow one folder only
        log.debug("%s cannot be listed", bucket, exc_info=True)


def import_decoder(decoder: str):
    """Return tensorflow for decoder "tensorflow-io", else None; raise UsageError without it."""
    if decoder == "tensorflow-io":
        return import_tensorflow_io(f"audio.decoder={decoder}")


def import_tensorflow_io(what: str):
    """Return the module tensorflow with tensorflow-io's operations; raise UsageError without."""
    if importlib.util.find_spec("tensorflow_io") is None:
        raise UsageError(f"{what} needs tensorflow-io, which is not installed: {INSTALL}")
    try:
        return _tensorflow_with_io()
    except ImportError as error:
        raise UsageError(
            f"{what}: the tensorflow-io that is installed does not load on {error}: {INSTALL}"
        ) from None


@functools.cache  # every shard calls it, and it silences stderr
def _tensorflow_with_io():
    """Return the module tensorflow; raise ImportError with its version without tensorflow-io."""
    from tfser import tensorflow_startup

    with tensorflow_startup.quiet():
        tensorflow_startup.import_keras()
        import tensorflow as tf

        try:
            from tensorflow_io.python.ops import core_ops

            core_ops.io_audio_decode_wav  # noqa: B018  # the first use loads the library
        except (ImportError, NotImplementedError, AttributeError, tf.errors.OpError):
            raise ImportError(f"TensorFlow {tf.__version__}") from None
    return tf


def exit_process(code: int) -> None:
    """End the process if s3:// was used: its library would abort in an ordinary exit."""
    if _file_system.cache_info().currsize:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
