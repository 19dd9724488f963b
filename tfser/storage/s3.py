"""Folders under s3://, whose files TensorFlow reads and writes with tensorflow-io's file system.

Everything else in tfser handles a `Remote` as it handles a `Path`. An object of S3 is there whole
or not at all, so that nothing needs to be renamed.
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
# Where else the AWS library finds a key, by the variable that says so.
OTHER_KEYS = ("AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_ROLE_ARN")


def to_path(text):
    """A `Remote` of "s3://bucket/folder", a `Path` of anything else, and paths as they are."""
    if isinstance(text, S3Path | Path):
        return text
    return S3Path(text) if str(text).startswith(SCHEME) else Path(text)


class S3Path(PurePosixPath):
    """A file or folder of S3: what `Path` does, as far as tfser needs it.

    Raises OSError where S3 says no, and UsageError where tensorflow-io or credentials are missing.
    """

    def __str__(self):
        bucket_and_key = super().__str__().removeprefix("s3:").lstrip("/")
        return SCHEME + bucket_and_key

    def __fspath__(self):
        return str(self)

    def expanduser(self):
        """~ has no meaning here."""
        return self

    absolute = resolve = expanduser

    def is_file(self):
        """Whether there is such an object."""
        return self.exists() and not call_gfile(self, lambda gfile: gfile.isdir(_folder(self)))

    def stat(self):
        """With st_size, in bytes."""
        return SimpleNamespace(st_size=call_gfile(self, lambda gfile: gfile.stat(str(self)).length))

    def is_dir(self):
        """Whether there are objects under it; a bucket is one where it can be listed."""
        return call_gfile(self, lambda gfile: gfile.isdir(_folder(self)) or _is_bucket(gfile, self))

    def exists(self):
        """Whether there is such an object, or objects under it."""
        return len(self.parts) > 2 and call_gfile(self, lambda gfile: gfile.exists(str(self)))

    def read_bytes(self):
        """The content of an object."""
        return call_gfile(self, lambda gfile: gfile.GFile(str(self), "rb").read())

    def read_text(self, encoding="utf-8", errors="strict"):
        """The content of an object of text."""
        return self.read_bytes().decode(encoding, errors)

    def glob(self, pattern):
        """Yields what has a name of the pattern."""
        return map(S3Path, call_gfile(self, lambda gfile: gfile.glob(f"{self}/{pattern}")))

    def walk(self):
        """Yields (folder, names of folders, names of files) as os.walk does, from the top.

        Whoever asks may sort the names of folders, or leave out some.
        """
        listed = call_gfile(self, lambda gfile: gfile.listdir(_folder(self)))
        names = dict.fromkeys(name.rstrip("/") for name in listed)
        folders = [
            n for n in names if n and call_gfile(self, lambda g, n=n: g.isdir(f"{self}/{n}"))
        ]
        yield str(self), folders, [name for name in names if name and name not in folders]
        for name in folders:
            yield from (self / name).walk()


def _folder(of: S3Path) -> str:
    """A bucket by itself is a folder with a slash alone."""
    return str(of) if len(of.parts) > 2 else f"{of}/"


def _is_bucket(gfile, of: S3Path) -> bool:
    return len(of.parts) == 2 and gfile.listdir(f"{of}/") is not None


def make_file_test(folder):
    """function(path) -> whether it is a file under the folder; S3 is asked once for all."""
    if not isinstance(folder, S3Path):
        return Path.is_file
    return {S3Path(top) / name for top, _, files in folder.walk() for name in files}.__contains__


def upload(local: Path, target: S3Path) -> None:
    """Puts a file of this machine in its place; raises OSError."""
    call_gfile(target, lambda gfile: gfile.copy(str(local), str(target), overwrite=True))


def file_size_bytes(file) -> int:
    """The size of a file, of S3 or of this machine."""
    return to_path(file).stat().st_size


def call_gfile(of: S3Path, question):
    """question(tf.io.gfile), with what S3 refuses as an OSError that has no secret in it."""
    gfile, errors = _file_system()
    try:
        return question(gfile)
    except errors.NotFoundError:
        raise FileNotFoundError(2, "No such file or bucket", str(of)) from None
    except errors.OpError as error:
        raise OSError(5, mask_secrets(str(error.message).partition("\n")[0]), str(of)) from None


def mask_secrets(text: str) -> str:
    """What a library says, with stars in place of keys."""
    for value in filter(None, map(os.environ.get, SECRETS)):
        text = text.replace(value, "***")
    return text


@functools.cache
def _file_system():
    """(tf.io.gfile, tf.errors), once tensorflow-io has registered s3://."""
    check_credentials()
    tf = import_tensorflow_io(SCHEME)
    return tf.io.gfile, tf.errors


def check_credentials() -> None:
    """Raises UsageError that names what is missing; it never says what is there."""
    missing = [name for name in SECRETS[:2] if not os.environ.get(name)]
    shared = os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")
    if any(map(os.environ.get, OTHER_KEYS)) or os.path.exists(os.path.expanduser(shared)):
        missing = []
    # A server of one's own has an address, S3 itself has it by the region.
    if not os.environ.get("AWS_REGION") and not os.environ.get("S3_ENDPOINT"):
        missing.append("AWS_REGION (or S3_ENDPOINT, the address of another server than Amazon's)")
    if missing:
        raise UsageError(f"s3:// needs the environment variables {', '.join(missing)}; set them")


def check_folder(folder, flag: str) -> None:
    """Raises DataError where a `Remote` has no bucket; says nothing of other paths."""
    if not isinstance(folder, S3Path):
        return
    bucket = S3Path(*folder.parts[:2])
    try:
        call_gfile(bucket, lambda gfile: gfile.listdir(f"{bucket}/"))
    except FileNotFoundError as error:
        raise DataError(f"{flag} {folder}: {error.strerror}; see that {bucket} is there") from None
    except OSError:  # a key may be for a folder alone
        log.debug("%s cannot be listed", bucket, exc_info=True)


def import_decoder(decoder: str):
    """tensorflow, where tensorflow-io is to decode; UsageError where that is not there."""
    if decoder == "tensorflow-io":
        return import_tensorflow_io(f"audio.decoder={decoder}")


def import_tensorflow_io(what: str):
    """The module tensorflow, with tensorflow-io's operations; UsageError without them."""
    if importlib.util.find_spec("tensorflow_io") is None:
        raise UsageError(f"{what} needs tensorflow-io, which is not installed: {INSTALL}")
    try:
        return _tensorflow_with_io()
    except ImportError as error:
        raise UsageError(
            f"{what}: the tensorflow-io that is installed does not load on {error}: {INSTALL}"
        ) from None


@functools.cache  # every shard asks, and stderr is quiet meanwhile
def _tensorflow_with_io():
    """The module tensorflow; ImportError names its version where tensorflow-io does not load."""
    from tfser import tensorflow_startup

    with tensorflow_startup.quiet():
        tensorflow_startup.import_keras()
        import tensorflow as tf

        try:
            from tensorflow_io.python.ops import core_ops

            core_ops.io_audio_decode_wav  # noqa: B018  # the library is loaded by the first use
        except (ImportError, NotImplementedError, AttributeError, tf.errors.OpError):
            raise ImportError(f"TensorFlow {tf.__version__}") from None
    return tf


def exit_process(code: int) -> None:
    """Ends the process, where s3:// was used: its library would abort in an ordinary exit."""
    if _file_system.cache_info().currsize:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
