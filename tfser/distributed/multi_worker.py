"""Training by several processes, on one or several hosts: `--strategy multiworker`.

TensorFlow's MultiWorkerMirroredStrategy adds up the gradients of the workers. This module adds what
it lacks: an incomplete cluster ends TensorFlow in C++ without a Python error, and where one worker
dies the other workers wait. So the workers meet before TensorFlow starts, at the first address of
TF_CONFIG, compare their settings, and keep these connections. Over them the first worker, the
chief, sends the values it has read or decided, so that all workers take the same branches; and
every worker notices where another worker ends.

Only the chief has the run directory. The other workers write into a temporary folder: workers need
no common folder, but each needs the corpus, and a feature cache, its own or a shared one.
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

END_SECONDS = 10.0  # for a process to end by itself after a peer has ended
CONTINUES = "start the same command on all workers again, it continues"

log = logging.getLogger("tfser")
_worker = None  # this process in the cluster; TensorFlow, too, has one cluster a process


def is_chief() -> bool:
    """Return whether this process has the run directory, as a process that works alone does."""
    return _worker is None or _worker.cluster.rank == 0


def broadcast_from_chief(value):
    """Return the chief's JSON value, on all workers."""
    if _worker is None:
        return value
    return json.loads(_worker.from_chief(json.dumps(value).encode() if is_chief() else b""))


def read_arrays_from_chief(path: Path) -> dict | None:
    """Read the arrays of the chief's file: the other workers have no run directory."""
    arrays = atomic_files.read_arrays_if_complete(path) if is_chief() else None
    if _worker is None:
        return arrays
    data = io.BytesIO()
    if arrays is not None:
        np.savez(data, **arrays)
    content = _worker.from_chief(data.getbuffer())
    if is_chief():
        return arrays
    return dict(np.load(io.BytesIO(content), allow_pickle=False)) if content else None


def copy_from_chief(folder: Path, pattern: str) -> None:
    """Copy the chief's files of a folder to all workers."""
    if _worker is None:
        return
    names = broadcast_from_chief(sorted(path.name for path in folder.glob(pattern)))
    for name in names:
        content = _worker.from_chief((folder / name).read_bytes() if is_chief() else b"")
        if not is_chief():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


@contextlib.contextmanager
def join_cluster(settings: dict, folder: Path):
    """Connect to the other workers of TF_CONFIG; yield the folder where this worker may write.

    At the end, wait for the other workers. Where a worker ends early, this process ends too: by an
    error here, and at the latest after END_SECONDS.

    Args:
        settings: the settings that all workers must have in common.
        folder: the chief's run directory.

    Raises:
        UsageError: TF_CONFIG is invalid, the port is taken, or workers differ.
        TfserError: a worker is missing, or has ended; of the kind of that worker's error.
    """
    global _worker
    cluster = rendezvous.parse_tf_config(os.environ.get("TF_CONFIG"))
    about = {"cluster": cluster.addresses, "code": _hash_code(), "versions": _package_versions()}
    about = json.loads(json.dumps(about | settings))  # as its peers read it: lists, not tuples
    with contextlib.ExitStack() as stack:
        connections = rendezvous.rendezvous(cluster, about)
        for connection in connections.values():
            stack.enter_context(connection)
        if cluster.rank:
            temporary = tempfile.TemporaryDirectory(
                prefix="tfser-worker-", ignore_cleanup_errors=True
            )
            folder = Path(stack.enter_context(temporary))
            log.setLevel(logging.ERROR)  # the chief alone logs
            os.environ["TQDM_DISABLE"] = "1"
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # it writes pages about a lost worker
        _worker = _Worker(cluster, connections, folder)
        log.info("%d workers: %s", len(cluster.addresses), " ".join(cluster.addresses))
        try:
            yield folder
            _worker.finish()
        except BaseException as error:
            cause = _worker.root_cause(error)
            _worker.send_error(cause)
            if cause is error:
                raise
            raise cause from error
        finally:
            _worker.is_done, _worker = True, None


class _Worker:
    """Connections of this process to its peers, with a listener thread for each connection."""

    def __init__(self, cluster: Cluster, connections: dict[int, socket.socket], folder: Path):
        self.cluster, self.connections, self.folder = cluster, connections, folder
        self.inbox = queue.SimpleQueue()  # of (kind, content)
        self.peer_error = None  # the error with which a peer has ended
        self.is_done = False
        self.peer_ended = threading.Event()
        for rank, connection in connections.items():
            threading.Thread(target=self._listen, args=(rank, connection), daemon=True).start()

    def from_chief(self, content) -> bytes:
        """Return the chief's content, on all workers."""
        if self.cluster.rank:
            return self._next(VALUE)
        for connection in self.connections.values():
            rendezvous.send(connection, VALUE, content)
        return content

    def finish(self) -> None:
        """Wait until all workers are finished: a worker that leaves earlier is taken for lost."""
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
        if self.peer_error:
            raise self.peer_error
        if kind != expected:
            raise TfserError("the workers are not at the same point; are their hosts' files equal?")
        return content

    def root_cause(self, error: BaseException) -> BaseException:
        """Return the error of another worker where that error made this worker fail."""
        if isinstance(error, TfserError | KeyboardInterrupt):
            return error
        # TensorFlow may fail a moment before the listener thread receives the peer's error.
        self.peer_ended.wait(2.0)
        return self.peer_error or error

    def send_error(self, error: BaseException) -> None:
        """Send the error that ends this worker to its peers."""
        text = str(error).partition("\n")[0]
        if isinstance(error, KeyboardInterrupt):
            text = f"interrupted; {CONTINUES}"
        elif not isinstance(error, TfserError):
            text = f"{type(error).__name__}: {text}"
        if error is not self.peer_error:
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
        """End the process, which may be stuck inside TensorFlow."""
        if self.is_done or self.peer_error:
            return
        self.peer_error = error
        self.peer_ended.set()
        self.inbox.put((ERROR, b""))
        time.sleep(END_SECONDS)
        if self.is_done:  # the main thread has returned from TensorFlow
            return
        self.send_error(error)
        if self.cluster.rank:
            shutil.rmtree(self.folder, ignore_errors=True)
        tensorflow_startup.exit_with_error(error)


def _hash_code() -> str:
    """Return a digest of the code of this package."""
    digest = hashlib.sha256()
    folder = Path(__file__).parents[1]
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _package_versions() -> dict[str, str]:
    """Return the versions of the packages that decide the results."""
    versions = {}
    for name in ("tensorflow", "tensorflow-cpu", "keras", "numpy"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name.partition("-")[0]] = metadata.version(name)
    return versions
