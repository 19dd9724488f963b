"""How the processes of `--strategy multiworker` find each other and talk, before TensorFlow starts.

At the chief's address of TF_CONFIG, whose port is TensorFlow's afterwards: connections that are
open do not hinder it.
"""

import contextlib
import json
import socket
import struct
import time
from typing import NamedTuple

from tfser.errors import TfserError, UsageError, error_of_exit_code
from tfser.storage import run_directory

JOIN_SECONDS = 300.0  # in which all workers have to be there
RETRY_SECONDS = 0.5
HELLO_SECONDS = 10.0  # for whoever has connected to say who it is
# A host that has gone without a word is noticed after 25 s (Linux).
ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 25_000}

FORM = (
    """{"cluster": {"worker": ["host-a:12345", "host-b:12345"]}, """
    """"task": {"type": "worker", "index": 0}}"""
)
HEADER = struct.Struct("!5scQ")  # whose, which kind, how many bytes follow
MAGIC = b"tfser"
HELLO, WELCOME, VALUE, ERROR, DONE = b"h", b"w", b"v", b"e", b"d"


class Cluster(NamedTuple):
    """Who the workers are, and which of them this process is."""

    addresses: list[str]  # "host:port" of each, the chief's first
    rank: int

    def name(self, rank: int) -> str:
        """A worker in messages."""
        return f"worker {rank} ({self.addresses[rank]})"


def parse_tf_config(text: str | None) -> Cluster:
    """What the variable TF_CONFIG says; UsageError where it says nothing, or no sense."""
    if not text:
        raise UsageError(
            "--strategy multiworker takes its workers from the variable TF_CONFIG, which is not "
            f"set; on the first host: TF_CONFIG='{FORM}'"
        )
    try:
        config = json.loads(text)
        jobs, task = dict(config["cluster"]), config["task"]
        chief, others = list(jobs.pop("chief", [])), list(jobs.pop("worker", []))
        addresses, kind, index = chief + others, task["type"], int(task["index"])
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
    of_kind = chief if kind == "chief" else others
    if not 0 <= index < len(of_kind):
        raise UsageError(
            f"TF_CONFIG: task index {index}, but there are {len(of_kind)} of type {kind}; number "
            "them from 0"
        )
    return Cluster(addresses, index if kind == "chief" else len(chief) + index)


def rendezvous(members: Cluster, about: dict) -> dict[int, socket.socket]:
    """Waits for all workers; connections by rank: the chief's to all, the others' to the chief.

    about: what must be the same for all, as JSON.

    Raises:
        UsageError: this worker's port is taken, two have the same number, or they differ.
        TfserError: they are not all there within JOIN_SECONDS.
    """
    return _connect_to_chief(members, about) if members.rank else _accept_workers(members, about)


def _accept_workers(members: Cluster, about: dict) -> dict[int, socket.socket]:
    """The chief's: waits for all others, compares, answers. Connections by rank."""
    found, abouts, everybody = {}, {}, set(range(1, len(members.addresses)))
    deadline = time.monotonic() + JOIN_SECONDS
    try:
        with _listen(members) as server:
            while missing := sorted(everybody - found.keys()):
                server.settimeout(max(deadline - time.monotonic(), 0.01))
                try:
                    connection, _ = server.accept()
                    rank, theirs = _receive_hello(connection)
                except TimeoutError:
                    raise TfserError(
                        f"no word from {' '.join(map(members.name, missing))} within "
                        f"{JOIN_SECONDS:g} s; is the same command running there?"
                    ) from None
                if rank in found and _is_open(found[rank]):
                    found[-1] = connection
                    raise UsageError(f"two workers say that they are {members.name(rank)}")
                if rank in everybody:
                    found[rank], abouts[rank] = connection, theirs
        for rank, theirs in sorted(abouts.items()):
            if differ := run_directory.describe_differences(about, theirs):
                raise UsageError(
                    f"{members.name(rank)} is about to do something else than the chief ({differ});"
                    " give all workers the same command, code and corpus"
                )
    except TfserError as error:
        send_error(found.values(), str(error), error.exit_code)
        raise
    for connection in found.values():
        _keep_alive(connection)
        with contextlib.suppress(OSError):  # who has left in the meantime is noticed by `workers`
            send(connection, WELCOME)
    return found


def _receive_hello(connection: socket.socket) -> tuple:
    """Who has connected: (rank, about), or (None, None) for nobody of ours."""
    try:
        connection.settimeout(HELLO_SECONDS)
        rank, about = json.loads(receive(connection)[1])
        return rank, about
    except (OSError, ValueError, TypeError):
        connection.close()
        return None, None


def _connect_to_chief(members: Cluster, about: dict) -> dict[int, socket.socket]:
    """Another worker's: finds the chief and waits for its answer."""
    with _listen(members):
        pass  # the port is for TensorFlow, which ends in C++ where it is taken
    deadline = time.monotonic() + JOIN_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        connection = None
        try:
            connection = socket.create_connection(
                _split_address(members.addresses[0]), timeout=left
            )
            send(connection, HELLO, json.dumps([members.rank, about]).encode())
            kind, content = receive(connection)
        except OSError:  # nobody is there yet, or a run that is just ending
            if connection:
                connection.close()
            time.sleep(RETRY_SECONDS)
            continue
        if kind == ERROR:
            raise decode_error(content)
        _keep_alive(connection)
        return {0: connection}
    raise TfserError(
        f"no word from {members.name(0)} within {JOIN_SECONDS:g} s, which waits for all workers; "
        "is the same command running on each?"
    )


def _keep_alive(connection: socket.socket) -> None:
    """Without a limit of time, but not where nobody is at the other end any more."""
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in ALIVE.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _split_address(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _listen(members: Cluster) -> socket.socket:
    """A socket at this worker's port; UsageError where another process has it."""
    both = socket.has_dualstack_ipv6()
    _, port = _split_address(members.addresses[members.rank])
    try:
        return socket.create_server(
            ("", port),
            family=socket.AF_INET6 if both else socket.AF_INET,
            dualstack_ipv6=both,
        )
    except OSError as error:
        raise UsageError(
            f"TF_CONFIG: {members.name(members.rank)} cannot have port {port} ({error.strerror}); "
            "give it another one, on all hosts"
        ) from None


def send(connection: socket.socket, kind: bytes, content=b"") -> None:
    """Sends bytes, or what has a buffer of them."""
    connection.sendall(HEADER.pack(MAGIC, kind, len(content)))
    connection.sendall(content)


def receive(connection: socket.socket) -> tuple[bytes, bytes]:
    """(kind, content) of what another worker has sent; OSError where there is nobody any more."""
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
    """Says to others with which error this process ends."""
    for connection in connections:
        with contextlib.suppress(OSError):
            send(connection, ERROR, json.dumps([text, code]).encode())


def decode_error(content: bytes) -> TfserError:
    """What `tell` has told."""
    text, code = json.loads(content)
    return error_of_exit_code(code, text)
