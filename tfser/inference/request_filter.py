"""Request filter of tfser-serve: Gradio can do far more than the page needs."""

import json
from pathlib import Path
from urllib.parse import urlsplit

LARGEST_REQUEST = 2**20  # bytes; uploads have a limit of their own
GET_PATHS = ("/assets/", "/static/", "/theme.css", "/config", "/manifest.json", "/favicon.ico")
GET_API_PATHS = (
    "file=", "queue/data", "heartbeat/", "info", "startup-events", "upload_progress", "call/",
    "app_id",
)  # fmt: skip
POST_API_PATHS = ("queue/join", "call/", "upload", "reset")
API = "/gradio_api/"


class RequestFilter:
    """ASGI middleware: 404 for requests that the page does not make, 403 for those of other pages.

    It answers 400 for a file outside `folder`: Gradio itself would fetch an address.
    """

    def __init__(self, app, folder: Path):
        self.app, self.folder = app, folder.resolve()

    async def __call__(self, scope, receive, send):
        """Refuse the request, or pass it to the application."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        status = self.refusal_status(scope)
        is_upload = scope["path"].startswith(f"{API}upload")
        if not status and scope["method"] == "POST" and not is_upload:
            body = await read_body(receive)
            status = 413 if body is None else 0 if self.has_only_uploads(body) else 400
            receive = replay_body(body, receive)
        if not status:
            return await self.app(scope, receive, send)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def refusal_status(self, scope) -> int:
        """Return the status of a refused request, 0 for an allowed one."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        origin = headers.get(b"origin")
        if origin and urlsplit(origin).netloc != headers.get(b"host"):
            return 403
        path = scope["path"]
        api_path = path.removeprefix(API) if path.startswith(API) else None
        if scope["method"] == "POST":
            return 0 if api_path is not None and api_path.startswith(POST_API_PATHS) else 404
        if api_path is None:
            return 0 if path == "/" or path.startswith(GET_PATHS) else 404
        return 0 if api_path.startswith(GET_API_PATHS) else 404

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


def replay_body(body, receive):
    """Return a `receive` that repeats the body before later messages."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message():
        return messages.pop() if messages else await receive()

    return next_message
