"""tfser-serve: what the page says, what it refuses, and that it keeps nothing."""

import base64
import contextlib
import csv
import io
import json
import os
import re
import shutil
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from running import called

from tfser.cli import serve
from tfser.inference import predictor, web_page

pytest.importorskip("gradio")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
CLASSES = ["anger", "sadness"]
pytestmark = pytest.mark.usefixtures("with_pictures")


def loud(waveform, lengths):
    """Anger is the mean absolute sample."""
    anger = tf.reduce_sum(tf.abs(waveform), axis=1) / tf.cast(lengths, "float32")
    return {"probabilities": tf.stack([anger, 1 - anger], axis=1)}


def quiet(waveform, lengths):
    return {"probabilities": loud(waveform, lengths)["probabilities"][:, ::-1]}


@pytest.fixture
def served(tmp_path, monkeypatch):
    """The page of two models: (its address, where it keeps what it is sent)."""
    monkeypatch.setattr(
        predictor, "load_predictor",
        lambda folder: predictor.Predictor(globals()[folder.name], CLASSES, 16000),
    )  # fmt: skip
    pages, make = [], web_page.build_page
    monkeypatch.setattr(
        web_page, "build_page", lambda *arguments: pages.append(make(*arguments)) or pages[0]
    )
    monkeypatch.setattr(web_page.tempfile, "tempdir", str(tmp_path / "kept"))
    (tmp_path / "kept").mkdir()
    arguments = ["--export", str(tmp_path / "loud"), str(tmp_path / "quiet"), "--port"]
    flags = serve.parser().parse_args([*arguments, str(free_port())])
    with web_page.open_page(flags.export, flags.host, flags.port) as url:
        yield SimpleNamespace(
            url=url,
            kept=tmp_path / "kept",
            sessions=lambda: list(pages[0].state_holder.session_data),
        )


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def recording(tmp_path):
    """2.5 s, loud in the middle."""
    path = tmp_path / "it.wav"
    soundfile.write(path, np.repeat([0.1, 0.9, 0.1], [16000, 8000, 16000]), 16000)
    return path


def kept(served):
    return [p for p in served.kept.rglob("*") if p.is_file()]


def ask(served, path):
    """The answer of the page's first model, as its browser would get it."""
    from gradio_client import Client, handle_file

    client = Client(served.url, verbose=False)
    client.predict(handle_file(path), api_name="/answer")
    return client.predict("loud", api_name="/shown")


def get(served, path):
    """The status of a page."""
    with urllib.request.urlopen(f"{served.url}{path}") as answer:
        return answer.status


def upload(served, content):
    """Where the page keeps a file that it was sent."""
    edge = b"--edge"
    head = b'Content-Disposition: form-data; name="files"; filename="it.wav"'
    body = b"\r\n".join([edge, head, b"", content, edge + b"--", b""])
    asked = urllib.request.Request(
        f"{served.url}gradio_api/upload", body,
        {"Content-Type": "multipart/form-data; boundary=edge"},
    )  # fmt: skip
    with urllib.request.urlopen(asked) as answer:
        [path] = json.load(answer)
    return path


def sent(served, path):
    """What the page answers to a request that no client of Gradio makes."""
    recording = {"path": str(path), "meta": {"_type": "gradio.FileData"}}
    asked = urllib.request.Request(
        f"{served.url}gradio_api/call/answer",
        json.dumps({"data": [recording]}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{served.url}gradio_api/call/answer/{event}") as answer:
        return answer.read().decode()


def test_what_the_page_says(served, recording):
    label, figure, link = ask(served, recording)
    said = {row["label"]: row["confidence"] for row in label["confidences"]}
    assert said == pytest.approx({"anger": 0.26, "sadness": 0.74}, abs=1e-4)
    assert figure["plot"].startswith("data:image")
    table = base64.b64decode(link.partition("base64,")[2].partition('"')[0]).decode()
    [row] = csv.DictReader(io.StringIO(table))
    assert row["file"] == "it.wav" and row["predicted"] == "sadness"
    assert (float(row["start"]), float(row["end"])) == (0.0, 2.5)


def test_nothing_is_kept_after_the_answer(served, recording):
    ask(served, recording)
    assert not kept(served)


def test_nothing_is_kept_of_what_cannot_be_used(served, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF and no more")
    soundfile.write(tmp_path / "long.wav", np.resize([0.1, -0.1], 301 * 8000), 8000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 16000)
    for name, said in (("broken", "broken.wav"), ("long", "longer than 300"), ("silent", "silent")):
        with pytest.raises(Exception, match=said) as error:
            ask(served, tmp_path / f"{name}.wav")
        assert str(served.kept) not in str(error.value)
        assert not kept(served)


def test_a_part_that_cannot_be_used_is_left_out(served, tmp_path):
    sound = np.concatenate([np.full(10 * 16000, 0.5), np.zeros(10 * 16000), np.full(42 * 16000, 1)])
    soundfile.write(tmp_path / "gap.wav", sound * np.resize([1, -1], len(sound)), 16000)
    label, _, link = ask(served, tmp_path / "gap.wav")
    said = {row["label"]: row["confidence"] for row in label["confidences"]}
    assert said["anger"] == pytest.approx((10 * 0.5 + 42) / 52, abs=1e-3)
    table = base64.b64decode(link.partition("base64,")[2].partition('"')[0]).decode()
    assert "silent" in list(csv.DictReader(io.StringIO(table)))[1]["error"]


def test_each_visitor_is_warned(served, tmp_path):
    soundfile.write(tmp_path / "phone.wav", 0.3 * np.sin(np.arange(8000) * 0.3), 8000)
    for _ in range(2):
        *_, page = ask(served, tmp_path / "phone.wav")
        assert "8000 Hz" in page


def test_a_recording_that_was_deleted_is_asked_for_again(served, recording):
    path = upload(served, recording.read_bytes())
    assert "complete" in sent(served, path)
    assert "event: error" in sent(served, path)
    assert not kept(served)


def test_files_and_addresses_elsewhere_are_not_read(served, tmp_path, recording, monkeypatch):
    other = tmp_path / "elsewhere.wav"
    shutil.copy(recording, other)
    elsewhere = (
        other, f"{served.kept}/../elsewhere.wav", served.kept, f"{served.url}config",
        "http://127.0.0.1:9/a.wav", "\0",
    )  # fmt: skip
    for path in elsewhere:
        with pytest.raises(urllib.error.HTTPError, match="400"):
            sent(served, path)
    assert other.exists() and not kept(served)
    for path in (str(other), "/etc/passwd", f"{served.kept}/../elsewhere.wav"):
        with pytest.raises(urllib.error.HTTPError, match="40[34]"):
            get(served, f"gradio_api/file={urllib.parse.quote(path)}")


def test_only_the_page_is_there(served):
    assert get(served, "") == 200 and get(served, "config") == 200
    for path in ("runs", "deep_link?session_hash=a", "vibe-code", "openapi.json"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(served, f"gradio_api/{path}")
    asked = urllib.request.Request(f"{served.url}config", headers={"Origin": "http://evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(asked)
    with pytest.raises(urllib.error.HTTPError, match="413"):
        sent(served, "x" * 2**21)


def test_a_large_upload_is_refused(served):
    with pytest.raises(urllib.error.HTTPError, match="413"):
        upload(served, bytes(26 * 2**20))
    assert upload(served, bytes(100))


def test_what_nobody_asks_about_is_deleted(tmp_path, monkeypatch):
    (tmp_path / "old").mkdir()
    for name in ("old/it.wav", "half", "new"):
        (tmp_path / name).write_bytes(b"it")
    for name in ("old/it.wav", "half"):
        os.utime(tmp_path / name, (0, 0))
    monkeypatch.setattr(web_page, "SWEEP_SECONDS", 0.01)
    ended = threading.Event()
    thread = threading.Thread(target=web_page.delete_old_uploads, args=(tmp_path, ended))
    thread.start()
    for _ in range(500):
        if not (tmp_path / "old").exists() and not (tmp_path / "half").exists():
            break
        time.sleep(0.01)
    ended.set()
    thread.join()
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_only_this_machine_is_answered(served):
    assert served.url.startswith("http://127.0.0.1:")


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium")
def test_in_a_browser(served, recording, tmp_path):
    sync_api = pytest.importorskip("playwright.sync_api")
    with (
        sync_api.sync_playwright() as playwright,
        contextlib.closing(
            playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        ) as browser,
    ):
        tab, asked = browser.new_page(viewport={"width": 1280, "height": 900}), []
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(served.url)
        tab.set_input_files("input[type=file]", recording)
        tab.get_by_text(re.compile("^0:0[23]$")).wait_for(timeout=60_000)  # the waveform is there
        tab.get_by_role("button", name="What does it sound like?").click()
        tab.wait_for_selector("#table a", timeout=60_000)
        assert tab.inner_text("#label").split() == [
            "The", "whole", "recording", "sadness", "sadness", "74%", "anger", "26%"
        ]  # fmt: skip
        assert tab.locator("img").count() == 1
        with tab.expect_download() as download:
            tab.click("#table a")
        assert download.value.suggested_filename == "it.csv"
        # Another model, of a recording that is no more.
        assert not kept(served)
        tab.get_by_label("Model").click()
        tab.get_by_role("option", name="quiet").click()
        tab.get_by_text("74%").wait_for(timeout=60_000)
        tab.wait_for_function(
            "document.querySelector('#label').innerText.includes('anger\\nanger')"
        )
        tab.screenshot(path=tmp_path / "page.png")
        assert served.sessions()
        tab.close()
        for _ in range(300):
            if not served.sessions():
                break
            time.sleep(0.1)
        assert not served.sessions()  # nor are answers kept
        hosts = {urllib.parse.urlsplit(url).hostname for url in asked if url.startswith("http")}
        assert hosts == {"127.0.0.1"}


def test_what_cannot_be_served(tmp_path, monkeypatch):
    monkeypatch.setattr(
        predictor, "load_predictor", lambda folder: predictor.Predictor(loud, CLASSES, 16000)
    )
    for folder in (tmp_path / "loud", tmp_path / "other" / "loud"):
        folder.mkdir(parents=True)
        (folder / "tfser.json").touch()
    export = ["--export", tmp_path / "loud"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        answer = called(serve.main, *export, "--port", taken.getsockname()[1])
        assert answer.code == 2 and "in use; give another --port" in answer.err
    answer = called(serve.main, *export, "--host", "192.0.2.1")
    assert answer.code == 2 and "give another --host" in answer.err
    for port in (0, 99999):
        answer = called(serve.main, *export, "--port", port)
        assert answer.code == 2 and "give one of 1 to 65535" in answer.err
    monkeypatch.setattr(
        predictor, "load_predictor", lambda folder: predictor.Predictor(loud, [], 16000)
    )
    answer = called(serve.main, *export, "--port", free_port())
    assert answer.code == 2 and "predicts ratings" in answer.err
    answer = called(serve.main, *export, tmp_path / "other" / "loud")
    assert answer.code == 2 and "same name" in answer.err
    monkeypatch.undo()
    answer = called(serve.main, "--export", tmp_path / "nowhere")
    assert answer.code == 2 and "there is no folder" in answer.err
    monkeypatch.setattr(web_page.importlib.util, "find_spec", lambda name: None)
    answer = called(serve.main, *export)
    assert answer.code == 2 and "pip install 'tfser[demo]'" in answer.err
