"""Rendezvous of the worker processes of `--strategy multiworker`, and their messages.

Before TensorFlow starts, the workers connect to the chief's address of TF_CONFIG. TensorFlow uses
the same port afterwards: open connections do not hinder it.
"""

import contextlib
import json
import socket
import struct
import time
from typing import NamedTuple

from tfser.errors import TfserError, UsageError, error_of_exit_code
from tfser.storage import run_directory

JOIN_SECONDS = 300.0  # in which all workers have to connect
RETRY_SECONDS = 0.5
HELLO_SECONDS = 10.0  # in which a new connection has to send its rank
# A host that vanishes without closing its connections is noticed after 25 s (Linux).
ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 25_000}

FORM = (
    """{"cluster": {"worker": ["host-a:12345", "host-b:12345"]}, """
    """"task": {"type": "worker", "index": 0}}"""
)
HEADER = struct.Struct("!5scQ")  # MAGIC, kind, number of bytes that follow
MAGIC = b"tfser"
HELLO, WELCOME, VALUE, ERROR, DONE = b"h", b"w", b"v", b"e", b"d"


class Cluster(NamedTuple):
    """Addresses of the workers, and the rank of this process."""

    addresses: list[str]  # "host:port" of each, the chief's first
    rank: int

    def name(self, rank: int) -> str:
        """Return the name of a worker in messages."""
        return f"worker {rank} ({self.addresses[rank]})"


def parse_tf_config(text: str | None) -> Cluster:
    """Parse the variable TF_CONFIG; raise UsageError where it is missing or invalid."""
    if not text:
        raise UsageError(
            "--strategy multiworker takes its workers from the variable TF_CONFIG, which is not "
            f"set; on the first host: TF_CONFIG='{FORM}'"
        )
    try:
        config = json.loads(text)
        jobs, task = dict(config["cluster"]), config["task"]
        chief, workers = list(jobs.pop("chief", [])), list(jobs.pop("worker", []))
        addresses, kind, index = chief + workers, task["type"], int(task["index"])
        ports = [int(address.rpartition(":")[2]) for address in addresses]
        hosts = [address.rpartition(":")[0] for address in addresses]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f"TF_CONFIG={text!r} is not of the form {FORM}") from None
    if jobs or kind not in ("chief", "worker"):
        names = sorted(jobs) or [kind]
        raise UsageError(f"TF_CONFIG names {' '.join(names)}; it takes worker, and chief")
    if not all(hosts) or not all(0 < port < 65536 for port in ports):
        raise UsageError(f"TF_CONFIG: {' '.join(addresses)} are not all host:port")
    if len(addresses) < 2 or len(set(addresses)) < len(addresses) or len(chief) > 1:
        raise UsageError(
            f"TF_CONFIG names {' '.join(addresses) or 'nobody'}; it takes two workers or more, "
            "each with an address of its own, and one of them at most as chief"
        )
    same_kind = chief if kind == "chief" else workers
    if not 0 <= index < len(same_kind):
        raise UsageError(
            f"TF_CONFIG: task index {index}, but there are {len(same_kind)} of type {kind}; number "
            "them from 0"
        )
    return Cluster(addresses, index if kind == "chief" else len(chief) + index)


def rendezvous(cluster: Cluster, about: dict) -> dict[int, socket.socket]:
    """Wait for all workers and return connections by rank.

    The chief has a connection to every worker, another worker to the chief alone.

    about: settings that must be the same on all workers, as JSON.

    Raises:
        UsageError: this worker's port is taken, two workers have one rank, or settings differ.
        TfserError: a worker is missing after JOIN_SECONDS.
    """
    return _connect_to_chief(cluster, about) if cluster.rank else _accept_workers(cluster, about)


def _accept_workers(cluster: Cluster, about: dict) -> dict[int, socket.socket]:
    """Wait on the chief for all other workers and compare settings; return connections by rank."""
    connections, abouts, ranks = {}, {}, set(range(1, len(cluster.addresses)))
    deadline = time.monotonic() + JOIN_SECONDS
    try:
        with _listen(cluster) as server:
            while missing := sorted(ranks - connections.keys()):
                server.settimeout(max(deadline - time.monotonic(), 0.01))
                try:
                    connection, _ = server.accept()
                    rank, theirs = _receive_hello(connection)
                except TimeoutError:
                    raise TfserError(
                        f"no word from {' '.join(map(cluster.name, missing))} within "
                        f"{JOIN_SECONDS:g} s; is the same command running there?"
                    ) from None
                if rank in connections and _is_open(connections[rank]):
                    connections[-1] = connection
                    raise UsageError(f"two workers say that they are {cluster.name(rank)}")
                if rank in ranks:
                    connections[rank], abouts[rank] = connection, theirs
        for rank, theirs in sorted(abouts.items()):
            if differ := run_directory.describe_differences(about, theirs):
                raise UsageError(
                    f"{cluster.name(rank)} is about to do something else than the chief ({differ});"
                    " give all workers the same command, code and corpus"
                )
    except TfserError as error:
        send_error(connections.values(), str(error), error.exit_code)
        raise
    for connection in connections.values():
        _keep_alive(connection)
        with contextlib.suppress(OSError):  # `multi_worker` notices a worker that is gone by now
            send(connection, WELCOME)
    return connections


def _receive_hello(connection: socket.socket) -> tuple:
    """Receive (rank, about) of a worker that has connected; (None, None) where it is no worker."""
    try:
        connection.settimeout(HELLO_SECONDS)
        rank, about = json.loads(receive(connection)[1])
        return rank, about
    except (OSError, ValueError, TypeError):
        connection.close()
        return None, None


def _connect_to_chief(cluster: Cluster, about: dict) -> dict[int, socket.socket]:
    """Connect another worker to the chief and wait for the chief's answer."""
    with _listen(cluster):
        pass  # TensorFlow needs this port, and ends in C++ where the port is taken
    deadline = time.monotonic() + JOIN_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        connection = None
        try:
            connection = socket.create_connection(
                _split_address(cluster.addresses[0]), timeout=left
            )
            send(connection, HELLO, json.dumps([cluster.rank, about]).encode())
            kind, content = receive(connection)
        except OSError:  # the chief has not started yet, or belongs to a run that is just ending
            if connection:
                connection.close()
            time.sleep(RETRY_SECONDS)
            continue
        if kind == ERROR:
            raise decode_error(content)
        _keep_alive(connection)
        return {0: connection}
    raise TfserError(
        f"no word from {cluster.name(0)} within {JOIN_SECONDS:g} s, which waits for all workers; "
        "is the same command running on each?"
    )


def _keep_alive(connection: socket.socket) -> None:
    """Remove the connection's time limit, but notice a peer that is gone."""
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in ALIVE.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _split_address(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _listen(cluster: Cluster) -> socket.socket:
    """Open a socket at this worker's port; raise UsageError where another process has the port."""
    dual_stack = socket.has_dualstack_ipv6()
    _, port = _split_address(cluster.addresses[cluster.rank])
    try:
        return socket.create_server(
            ("", port),
            family=socket.AF_INET6 if dual_stack else socket.AF_INET,
            dualstack_ipv6=dual_stack,
        )
    except OSError as error:
        raise UsageError(
            f"TF_CONFIG: {cluster.name(cluster.rank)} cannot have port {port} ({error.strerror}); "
            "give it another one, on all hosts"
        ) from None


def send(connection: socket.socket, kind: bytes, content=b"") -> None:
    """Send bytes, or an object with a buffer of bytes."""
    connection.sendall(HEADER.pack(MAGIC, kind, len(content)))
    connection.sendall(content)


def receive(connection: socket.socket) -> tuple[bytes, bytes]:
    """Receive (kind, content) from another worker; raise OSError where the connection is closed."""
    magic, kind, size = HEADER.unpack(_receive_exactly(connection, HEADER.size))
    if magic != MAGIC:
        raise ConnectionError("not a worker")
    return kind, bytes(_receive_exactly(connection, size))


def _receive_exactly(connection: socket.socket, size: int) -> bytearray:
    content = bytearray(size)
    rest = memoryview(content)
    while rest:
        n = connection.recv_into(rest)
        if not n:
            raise ConnectionError("the other end is closed")
        rest = rest[n:]
    return content


def _is_open(connection: socket.socket) -> bool:
    try:
        connection.setblocking(False)
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except OSError:
        return False


def send_error(connections, text: str, code: int) -> None:
    """Send the error that ends this process to other workers."""
    for connection in connections:
        with contextlib.suppress(OSError):
            send(connection, ERROR, json.dumps([text, code]).encode())


def decode_error(content: bytes) -> TfserError:
    """Return the error that `send_error` has sent."""
    text, code = json.loads(content)
    return error_of_exit_code(code, text)
