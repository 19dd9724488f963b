"""Several processes, on one host or several, that train together: `--strategy multiworker`.

TensorFlow's MultiWorkerMirroredStrategy adds up their gradients. What it does not do is here: a
cluster that is not whole ends it in C++, without a word of Python, and where one worker dies the
others wait. So the workers meet before TensorFlow starts, at the first one's address of TF_CONFIG,
compare what they are about to do, and keep these connections. On them the first worker, the chief,
says what it has read and decided, so that all go the same way; and whoever ends is noticed.

The chief alone has the run directory. The others train along in a folder that goes with them: they
need no folder in common, but each the corpus, and a feature cache, its own or a shared one.
"""

import contextlib
import hashlib
import io
import json
import logging
import os
import queue
import shutil
import socket
import tempfile
import threading
import time
from importlib import metadata
from pathlib import Path

import numpy as np

from tfser import tensorflow_startup
from tfser.distributed import rendezvous
from tfser.distributed.rendezvous import DONE, ERROR, VALUE, Cluster
from tfser.errors import TfserError
from tfser.storage import atomic_files

END_SECONDS = 10.0  # for a process to end by itself once another one has
CONTINUES = "start the same command on all workers again, it continues"

log = logging.getLogger("tfser")
_here = None  # this process among the workers; TensorFlow has one cluster a process too


def is_chief() -> bool:
    """Whether this process has the run directory: also where it works alone."""
    return _here is None or _here.cluster.rank == 0


def broadcast_from_chief(value):
    """A JSON value, as the chief has it."""
    if _here is None:
        return value
    return json.loads(_here.from_chief(json.dumps(value).encode() if is_chief() else b""))


def read_arrays_from_chief(path: Path) -> dict | None:
    """Read the arrays of the chief's file: the other workers have no run directory."""
    arrays = atomic_files.read_arrays_if_complete(path) if is_chief() else None
    if _here is None:
        return arrays
    data = io.BytesIO()
    if arrays is not None:
        np.savez(data, **arrays)
    content = _here.from_chief(data.getbuffer())
    if is_chief():
        return arrays
    return dict(np.load(io.BytesIO(content), allow_pickle=False)) if content else None


def copy_from_chief(folder: Path, pattern: str) -> None:
    """Gives all workers the chief's files of a folder."""
    if _here is None:
        return
    names = broadcast_from_chief(sorted(path.name for path in folder.glob(pattern)))
    for name in names:
        content = _here.from_chief((folder / name).read_bytes() if is_chief() else b"")
        if not is_chief():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


@contextlib.contextmanager
def join_cluster(settings: dict, folder: Path):
    """Meets the other workers of TF_CONFIG; yields the folder in which this one may write.

    At the end it waits for the others. Where one of them ends before, this process does so too:
    by an error here, and at the latest after END_SECONDS.

    Args:
        settings: what all workers must have in common.
        folder: the run directory, the chief's.

    Raises:
        UsageError: TF_CONFIG makes no sense, its port is taken, or workers differ.
        TfserError: a worker is not there, or has ended; of the kind that it has ended with.
    """
    global _here
    members = rendezvous.parse_tf_config(os.environ.get("TF_CONFIG"))
    about = {"cluster": members.addresses, "code": _code(), "versions": _versions(), **settings}
    about = json.loads(json.dumps(about))  # as the others will read it: lists, not tuples
    with contextlib.ExitStack() as stack:
        connections = rendezvous.rendezvous(members, about)
        for connection in connections.values():
            stack.enter_context(connection)
        if members.rank:
            folder = Path(stack.enter_context(_own_folder()))
            log.setLevel(logging.ERROR)  # the chief's log is that of all
            os.environ["TQDM_DISABLE"] = "1"
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # of a lost worker it writes pages
        _here = _Worker(members, connections, folder)
        log.info("%d workers: %s", len(members.addresses), " ".join(members.addresses))
        try:
            yield folder
            _here.finish()
        except BaseException as error:
            reason = _here.reason_of(error)
            _here.tell(reason)
            if reason is error:
                raise
            raise reason from error
        finally:
            _here.left, _here = True, None


def _own_folder():
    return tempfile.TemporaryDirectory(prefix="tfser-worker-", ignore_cleanup_errors=True)


class _Worker:
    """What this process is among them: its connections, and a thread on each that listens."""

    def __init__(self, members: Cluster, connections: dict[int, socket.socket], folder: Path):
        self.cluster, self.connections, self.folder = members, connections, folder
        self.inbox = queue.SimpleQueue()  # of (kind, content)
        self.lost = None  # the error with which another worker has ended
        self.left = False  # whether this one is at its end
        self.ended = threading.Event()
        for rank, connection in connections.items():
            threading.Thread(target=self._listen, args=(rank, connection), daemon=True).start()

    def from_chief(self, content) -> bytes:
        """The chief's content, on all workers."""
        if self.cluster.rank:
            return self._next(VALUE)
        for connection in self.connections.values():
            rendezvous.send(connection, VALUE, content)
        return content

    def finish(self) -> None:
        """Waits until all workers are at their end: one that leaves is taken for lost."""
        if self.cluster.rank:
            rendezvous.send(self.connections[0], DONE)
            self._next(DONE)
        else:
            for _ in self.connections:
                self._next(DONE)
            for connection in self.connections.values():
                rendezvous.send(connection, DONE)

    def _next(self, expected: bytes) -> bytes:
        kind, content = self.inbox.get()
        if self.lost:
            raise self.lost
        if kind != expected:
            raise TfserError("the workers are not at the same point; are their hosts' files equal?")
        return content

    def reason_of(self, error: BaseException) -> BaseException:
        """The error of another worker where that is why this one has failed."""
        if isinstance(error, TfserError | KeyboardInterrupt):
            return error
        # TensorFlow may fail a moment before the listening thread knows of it.
        self.ended.wait(2.0)
        return self.lost or error

    def tell(self, error: BaseException) -> None:
        """Says to the others why this worker ends."""
        text = str(error).partition("\n")[0]
        if isinstance(error, KeyboardInterrupt):
            text = f"interrupted; {CONTINUES}"
        elif not isinstance(error, TfserError):
            text = f"{type(error).__name__}: {text}"
        if error is not self.lost:
            text = f"{self.cluster.name(self.cluster.rank)}: {text}"
        rendezvous.send_error(
            self.connections.values(), text, getattr(error, "exit_code", TfserError.exit_code)
        )

    def _listen(self, rank: int, connection: socket.socket) -> None:
        try:
            while True:
                kind, content = rendezvous.receive(connection)
                if kind == ERROR:
                    self._end(rendezvous.decode_error(content))
                    return
                self.inbox.put((kind, content))
                if kind == DONE:
                    return
        except OSError:
            self._end(TfserError(f"{self.cluster.name(rank)} is gone; {CONTINUES}"))

    def _end(self, error: TfserError) -> None:
        """Ends the process, which may be in TensorFlow and not come back."""
        if self.left or self.lost:
            return
        self.lost = error
        self.ended.set()
        self.inbox.put((ERROR, b""))
        time.sleep(END_SECONDS)
        if self.left:  # it has come back
            return
        self.tell(error)
        if self.cluster.rank:
            shutil.rmtree(self.folder, ignore_errors=True)
        tensorflow_startup.exit_with_error(error)


def _code() -> str:
    """A digest of this package."""
    digest = hashlib.sha256()
    folder = Path(__file__).parents[1]
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _versions() -> dict[str, str]:
    """Of what decides the numbers."""
    found = {}
    for name in ("tensorflow", "tensorflow-cpu", "keras", "numpy"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name.partition("-")[0]] = metadata.version(name)
    return found
