"""What tfser-serve lets through to Gradio, which can do far more than the page needs."""

import json
from pathlib import Path
from urllib.parse import urlsplit

LARGEST_REQUEST = 2**20  # bytes, of what is no upload
READ = ("/assets/", "/static/", "/theme.css", "/config", "/manifest.json", "/favicon.ico")
READ_OF_API = (
    "file=", "queue/data", "heartbeat/", "info", "startup-events", "upload_progress", "call/",
    "app_id",
)  # fmt: skip
ASKED = ("queue/join", "call/", "upload", "reset")
API = "/gradio_api/"


class RequestFilter:
    """ASGI middleware: 404 for what is no part of the page, 403 for what another page asks.

    And 400 for a file that is not in `folder`: Gradio itself would fetch an address.
    """

    def __init__(self, app, folder: Path):
        self.app, self.folder = app, folder.resolve()

    async def __call__(self, scope, receive, send):
        """Answers, or lets the application answer."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        refused = self.refused(scope)
        if (
            not refused
            and scope["method"] == "POST"
            and not scope["path"].startswith(f"{API}upload")
        ):
            body = await read_body(receive)
            refused = 413 if body is None else 0 if self.are_ours(body) else 400
            receive = replay_body(body, receive)
        if not refused:
            return await self.app(scope, receive, send)
        await send({"type": "http.response.start", "status": refused, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def refused(self, scope) -> int:
        """The status of a request that is not let through, 0 of one that is."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        origin = headers.get(b"origin")
        if origin and urlsplit(origin).netloc != headers.get(b"host"):
            return 403
        path = scope["path"]
        of_api = path.removeprefix(API) if path.startswith(API) else None
        if scope["method"] == "POST":
            return 0 if of_api is not None and of_api.startswith(ASKED) else 404
        if of_api is None:
            return 0 if path == "/" or path.startswith(READ) else 404
        return 0 if of_api.startswith(READ_OF_API) else 404

    def are_ours(self, body: bytes) -> bool:
        """Whether all files that a request names are in the folder."""
        try:
            return all(map(self.is_ours, find_paths(json.loads(body or b"{}"))))
        except (ValueError, RecursionError):
            return False

    def is_ours(self, path) -> bool:
        """Whether a path is of a file in the folder; of one that was deleted as well."""
        if not isinstance(path, str) or "\0" in path:
            return False
        resolved = Path(path).resolve()
        return self.folder in resolved.parents and not resolved.is_dir()


def find_paths(value):
    """Yields what stands under "path" anywhere in a request."""
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
    """The body of a request; None where it is too large."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > LARGEST_REQUEST:
            return None
        if not message.get("more_body"):
            return body


def replay_body(body, receive):
    """A `receive` that gives the body again, and then what comes after it."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message():
        return left.pop() if left else await receive()

    return next_message
