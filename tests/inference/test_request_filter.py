"""The filter in front of tfser-serve's Gradio: names of the page, uploads, other requests."""

import asyncio

import pytest

from tfser.inference import request_filter
from tfser.inference.request_filter import RequestFilter


def ask(given, path="/config", method="GET", body=b"", **headers):
    """The status that the filter answers, 200 of the application."""
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": pairs}
    given.app = app
    asyncio.run(given(scope, receive, send))
    return sent[0]["status"]


@pytest.mark.parametrize("host, name, status", [
    ("127.0.0.1", "127.0.0.1:7860", 200), ("127.0.0.1", "localhost:7860", 200),
    ("127.0.0.1", "LocalHost", 200), ("127.0.0.1", "[::1]:7860", 200),
    ("127.0.0.1", "evil.example:7860", 403), ("127.0.0.1", "localhost.evil.example", 403),
    ("127.0.0.1", "127.0.0.1.evil.example", 403), ("127.0.0.1", "evil.example#localhost", 403),
    ("127.0.0.1", "localhost@evil.example", 403), ("127.0.0.1", "", 403),
    ("127.0.0.1", "[::1", 403), ("127.0.0.1", "192.168.1.5:7860", 403),
    ("192.168.1.5", "192.168.1.5:7860", 200), ("192.168.1.5", "evil.example", 403),
    ("lab-server", "LAB-SERVER:7860", 200), ("lab-server", "lab-server.:7860", 200),
    ("0.0.0.0", "192.168.1.5:7860", 200), ("0.0.0.0", "[fe80::1]:7860", 200),
    ("0.0.0.0", "evil.example:7860", 403), ("::", "10.0.0.1", 200),
])  # fmt: skip
def test_names_of_the_page(tmp_path, host, name, status):
    assert ask(RequestFilter(None, host, tmp_path), host=name) == status


def test_the_name_of_the_machine_where_all_addresses_are_served(tmp_path, monkeypatch):
    monkeypatch.setattr(request_filter.socket, "gethostname", lambda: "Lab-Server")
    assert ask(RequestFilter(None, "0.0.0.0", tmp_path), host="lab-server:7860") == 200
    assert ask(RequestFilter(None, "127.0.0.1", tmp_path), host="lab-server:7860") == 403


def test_two_names_are_none(tmp_path):
    given, sent = RequestFilter(None, "127.0.0.1", tmp_path), []

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"host", b"evil.example")]
    scope = {"type": "http", "method": "GET", "path": "/config", "headers": headers}
    asyncio.run(given(scope, None, send))
    assert sent[0]["status"] == 403
    asyncio.run(given({"type": "websocket", "headers": headers}, None, send))
    assert sent[-1] == {"type": "websocket.close", "code": 1008}


def test_uploads_are_limited_each_and_together(tmp_path, monkeypatch):
    given = RequestFilter(None, "127.0.0.1", tmp_path)

    def upload(n_bytes):
        return ask(given, "/gradio_api/upload", "POST", host="localhost", content_length=n_bytes)

    assert upload("100") == 200
    assert upload(str(2**25)) == 413 and upload("0") == 413  # in chunks
    (tmp_path / "sha").mkdir()
    (tmp_path / "sha" / "it.wav").write_bytes(bytes(1000))
    monkeypatch.setattr(request_filter, "ALL_UPLOADS", 1500)
    assert upload("500") == 200 and upload("501") == 507
    given.uploading = [400]
    (tmp_path / "tmp-arriving").write_bytes(b"")
    assert upload("100") == 200 and upload("101") == 507
    assert (tmp_path / "tmp-arriving").exists()  # of the other upload
    given.uploading = []
    assert upload("100") == 200
    assert [path.name for path in tmp_path.iterdir()] == ["sha"]  # nothing incomplete is left
