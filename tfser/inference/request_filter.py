"""Request filter of tfser-serve: Gradio can do far more than the page needs."""

import contextlib
import ipaddress
import json
import socket
from pathlib import Path
from urllib.parse import urlsplit

LARGEST_REQUEST = 2**20  # bytes; uploads have a limit of their own
LARGEST_UPLOAD = 26 * 2**20  # bytes of the request, the head of a file of 25 MB included
ALL_UPLOADS = 500 * 2**20  # bytes of all uploads together
LOOPBACK = ("127.0.0.1", "localhost", "::1")
GET_PATHS = ("/assets/", "/static/", "/theme.css", "/config", "/manifest.json", "/favicon.ico")
GET_API_PATHS = (
    "file=", "queue/data", "heartbeat/", "info", "startup-events", "upload_progress", "call/",
    "app_id",
)  # fmt: skip
POST_API_PATHS = ("queue/join", "call/", "upload", "reset")
API = "/gradio_api/"


class RequestFilter:
    """ASGI middleware: 404 for requests that the page does not make, 403 for those of other pages.

    403 is also for a Host that is not of the page: a browser may hold its address for that of
    another page (DNS rebinding). It answers 400 for a file outside `folder`: Gradio itself would
    fetch an address. It answers 413 for an upload that is too large, 507 for one that does not fit
    beside the others.

    Args:
        host: --host, the address of the page.
        folder: folder of the uploads.
    """

    def __init__(self, app, host: str, folder: Path):
        self.app, self.host, self.folder = app, host, folder.resolve()
        self.uploading = []  # bytes of each upload that is arriving

    async def __call__(self, scope, receive, send):
        """Refuse the request, or pass it to the application."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":  # the page opens no WebSocket
            return await send({"type": "websocket.close", "code": 1008})
        status = self.refusal_status(scope)
        if not status and scope["method"] == "POST":
            if scope["path"].startswith(f"{API}upload"):
                return await self.receive_upload(scope, receive, send)
            body = await read_body(receive)
            status = 413 if body is None else 0 if self.has_only_uploads(body) else 400
            receive = replay_body(body, receive)
        if not status:
            return await self.app(scope, receive, send)
        await send_status(send, status)

    async def receive_upload(self, scope, receive, send):
        """Pass an upload to the application, or refuse it before any byte is stored."""
        n_bytes = int(find_header(scope, b"content-length") or 0)
        stored = sum(size_bytes(path) for path in self.folder.rglob("*"))
        is_small = 0 < n_bytes <= LARGEST_UPLOAD  # 0: in chunks, which no browser sends
        if not is_small or stored + sum(self.uploading) + n_bytes > ALL_UPLOADS:
            await discard_body(receive)
            return await send_status(send, 507 if is_small else 413)
        self.uploading.append(n_bytes)
        try:
            await self.app(scope, receive, send)
        finally:
            self.uploading.remove(n_bytes)
            if not self.uploading:  # an upload that has ended lies in a folder of its own
                for path in self.folder.iterdir():
                    if path.is_file():
                        path.unlink(missing_ok=True)

    def refusal_status(self, scope) -> int:
        """Return the status of a refused request, 0 for an allowed one."""
        host, origin = find_header(scope, b"host"), find_header(scope, b"origin")
        if not self.is_own_host(host):
            return 403
        if origin and origin.partition("://")[2] != host:
            return 403
        path = scope["path"]
        api_path = path.removeprefix(API) if path.startswith(API) else None
        if scope["method"] == "POST":
            return 0 if api_path is not None and api_path.startswith(POST_API_PATHS) else 404
        if api_path is None:
            return 0 if path == "/" or path.startswith(GET_PATHS) else 404
        return 0 if api_path.startswith(GET_API_PATHS) else 404

    def is_own_host(self, header: str) -> bool:
        """Return whether the Host of a request is --host or this machine.

        Where the page listens at all addresses, any address of numbers is its own: a rebound name
        is none.
        """
        try:
            name = (urlsplit(f"//{header}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if name in (*LOOPBACK, self.host.lower()):
            return True
        if self.host not in ("0.0.0.0", "::", ""):
            return False
        if name in (socket.gethostname().lower(), socket.getfqdn().lower()):
            return True
        with contextlib.suppress(ValueError):
            return bool(ipaddress.ip_address(name))
        return False

    def has_only_uploads(self, body: bytes) -> bool:
        """Return whether all files of a request are in the folder."""
        try:
            return all(map(self.is_upload, find_paths(json.loads(body or b"{}"))))
        except (ValueError, RecursionError):
            return False

    def is_upload(self, path) -> bool:
        """Return whether a path is that of a file in the folder, or of a deleted file there."""
        if not isinstance(path, str) or "\0" in path:
            return False
        resolved = Path(path).resolve()
        return self.folder in resolved.parents and not resolved.is_dir()


def find_header(scope, name: bytes) -> str:
    """Return a header of a request, "" where it is missing or there are several."""
    values = [value for key, value in scope["headers"] if key == name]
    return values[0].decode("latin-1") if len(values) == 1 else ""


def size_bytes(path: Path) -> int:
    """Return the size of a file, 0 for a folder or a file that was deleted."""
    with contextlib.suppress(OSError):
        return path.stat().st_size if path.is_file() else 0
    return 0


async def send_status(send, status: int) -> None:
    """Answer a request with a status alone."""
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def find_paths(value):
    """Yield the values of "path" anywhere in a request."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "path":
                yield inner
            else:
                yield from find_paths(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from find_paths(inner)


async def read_body(receive) -> bytes | None:
    """Read the body of a request; return None where it is too large."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > LARGEST_REQUEST:
            return None
        if not message.get("more_body"):
            return body


async def discard_body(receive) -> None:
    """Read a body, up to a limit: a browser reads the answer after it has sent the body."""
    n_bytes = 0
    while n_bytes < 8 * LARGEST_UPLOAD:
        message = await receive()
        n_bytes += len(message.get("body", b""))
        if not message.get("more_body"):
            return


def replay_body(body, receive):
    """Return a `receive` that repeats the body before later messages."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message():
        return messages.pop() if messages else await receive()

    return next_message
