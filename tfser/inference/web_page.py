"""tfser-serve: a web page on this machine that predicts the emotion of a recording."""

import base64
import contextlib
import csv
import errno
import html
import importlib.util
import io
import logging
import os
import socket
import tempfile
import threading
import time
from pathlib import Path

from tfser import tensorflow_startup
from tfser.audio import notices
from tfser.errors import DataError, UsageError
from tfser.inference.prediction_table import format_file_name
from tfser.inference.request_filter import LOOPBACK, RequestFilter

log = logging.getLogger("tfser")

LONGEST_SECONDS = 300.0
LARGEST = "25mb"  # of an upload
UPLOAD_SECONDS = 600  # lifetime of an upload that no prediction has used
SWEEP_SECONDS = 60
ENVIRONMENT = {  # Gradio's variables that must have these values
    "GRADIO_ALLOWED_PATHS": "", "GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_MCP_SERVER": "False",
}  # fmt: skip


@contextlib.contextmanager
def open_page(folders, host: str, port: int):
    """Serve the page while the context lasts; yield its address.

    Raises UsageError without Gradio, for an unavailable address, for two models of one name and for
    a model that predicts ratings.
    """
    if not importlib.util.find_spec("gradio"):
        raise UsageError("tfser-serve needs Gradio: pip install 'tfser[demo]'")
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        raise UsageError(f"--export: two folders have the same name, of {', '.join(names)}")
    check_address(host, port)
    if host not in LOOPBACK:
        log.warning("--host %s: whoever reaches this machine can use the page", host)
    with tempfile.TemporaryDirectory(prefix="tfser-serve-") as folder, configure_gradio(folder):
        with tensorflow_startup.quiet():
            tensorflow_startup.import_keras()
            from tfser.inference import predictor  # TensorFlow, whose messages `quiet` hides
        models = {
            name: predictor.load_predictor(export)
            for name, export in zip(names, folders, strict=True)
        }
        for name, model in models.items():
            if model.predicts_ratings:
                raise UsageError(f"{name} predicts ratings, not emotions; tfser-predict takes it")
        from starlette.middleware import Middleware  # of Gradio, which is optional

        page, is_over = build_page(models, Path(folder)), threading.Event()
        sweep = threading.Thread(target=delete_old_uploads, args=(Path(folder), is_over))
        sweep.daemon = True
        sweep.start()
        try:
            _, url, _ = page.launch(
                server_name=host, server_port=port, prevent_thread_lock=True,
                max_file_size=LARGEST, quiet=True, share=False, ssr_mode=False, footer_links=[],
                run_history=False,
                app_kwargs={
                    "middleware": [Middleware(RequestFilter, host=host, folder=Path(folder))]
                },
            )  # fmt: skip
            yield url
        finally:
            is_over.set()
            page.close(verbose=False)


def check_address(host, port) -> None:
    """Raise UsageError for an address that is unavailable."""
    if not 1 <= port <= 65535:
        raise UsageError(f"--port {port}: give one of 1 to 65535")
    try:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
    except OSError as error:
        what = "--port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "--host"
        raise UsageError(
            f"--host {host} --port {port}: {error.strerror or error}; give another {what}"
        ) from None


@contextlib.contextmanager
def configure_gradio(folder):
    """Make Gradio keep its uploads in this folder, and call no server."""
    variables = ENVIRONMENT | {"GRADIO_TEMP_DIR": str(folder)}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def build_page(models, folder: Path):
    """Build the page of Gradio: a recording and a model in, the predictions out.

    folder: folder of Gradio's uploads.
    """
    import gradio  # optional

    names = list(models)

    def predict(recording):
        if recording is None:
            raise make_error("give a recording first")
        path = Path(recording)
        if not path.is_file():
            raise make_error("the recording was deleted with its answer; give it again")
        try:  # with all models, since the recording is deleted afterwards
            check_length(path)
            return {name: answer_recording(model, path) for name, model in models.items()}
        except DataError as error:
            raise make_error(str(error).replace(f"{path.parent}/", "")) from None
        finally:
            delete_upload(path, folder)

    def show(answers, name):
        if isinstance(answer := answers.get(name, (None, None, "")), str):
            raise make_error(answer)
        return answer

    def make_error(message):
        return gradio.Error(message, duration=None, print_exception=False)

    def end_session(request: gradio.Request):
        page.state_holder.session_data.pop(request.session_hash, None)

    with gradio.Blocks(title="tfser", analytics_enabled=False) as page:
        gradio.Markdown("# tfser\nWhich emotion a recording sounds like.")
        with gradio.Row():
            with gradio.Column(scale=1):
                recording = gradio.Audio(
                    label=f"Recording, up to {LONGEST_SECONDS / 60:g} minutes",
                    sources=["upload", "microphone"], type="filepath", buttons=[],
                )  # fmt: skip
                name = gradio.Dropdown(names, value=names[0], label="Model")
                button = gradio.Button("What does it sound like?", variant="primary")
            with gradio.Column(scale=2):
                views = [
                    gradio.Label(label="The whole recording", elem_id="label"),
                    gradio.Plot(label="Over time, a second at a time"),
                    gradio.HTML(elem_id="table"),
                ]
                gradio.Markdown(
                    "What a system says of a second may be far from what it says of the whole: "
                    "those that were trained on utterances have heard no seconds."
                )
        answers = gradio.State({})
        button.click(predict, recording, answers, api_name="answer", concurrency_limit=1).success(
            show, [answers, name], views, api_name="shown"
        )
        name.change(show, [answers, name], views, api_visibility="private")
        page.unload(end_session)
    return page


def check_length(path: Path) -> None:
    """Raise DataError for a file that is no sound, or too long for the page."""
    from tfser.audio import decode  # NumPy and soundfile, which --help must not wait for

    if decode.duration_seconds(path, limit_seconds=LONGEST_SECONDS) > LONGEST_SECONDS:
        raise DataError(f"{path.name}: longer than {LONGEST_SECONDS:g} s; tfser-predict takes it")


def answer_recording(model, path: Path):
    """Return ({class: mean probability over the windows}, figure over time, HTML).

    The HTML has a link to the CSV, the warnings of `tfser-predict`, and the number of windows that
    are left out. Return the reason as a string where the recording is unusable.
    """
    notices.reset()  # each visitor is warned
    with collect_warnings() as warnings:
        rows = [row | {"file": format_file_name(path.name)} for row in model.predict(path)]
    usable = [row for row in rows if not row["error"]]
    if not usable:
        return f"{path.name}: {rows[0]['error']}"
    seconds = [row["end"] - row["start"] for row in usable]
    means = {
        name: sum(row[name] * n for row, n in zip(usable, seconds, strict=True)) / sum(seconds)
        for name in model.classes
    }
    if n_bad := len(rows) - len(usable):
        warnings.append(f"{n_bad} of {len(rows)} windows cannot be used, see the column error")
    notes = [text.replace(f"{path.parent}/", "") for text in dict.fromkeys(warnings)]
    lines = [csv_link(rows, model.columns), *map(html.escape, notes)]
    return means, model.draw_figure(path), "<br>".join(lines)


@contextlib.contextmanager
def collect_warnings():
    """Yield a list to which the warnings of this thread are added, as a command prints them."""
    texts, thread = [], threading.get_ident()
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: record.thread == thread and texts.append(record.getMessage())
    log.addHandler(handler)
    try:
        yield texts
    finally:
        log.removeHandler(handler)


def csv_link(rows, columns) -> str:
    """Return a link that contains the rows as CSV, so that no file is stored."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    coded = base64.b64encode(text.getvalue().encode("utf-8", "surrogateescape")).decode()
    name = html.escape(Path(rows[0]["file"]).stem, quote=True)
    return f'<a href="data:text/csv;base64,{coded}" download="{name}.csv">Download as CSV</a>'


def delete_upload(path: Path, folder: Path) -> None:
    """Delete an upload, with the folder that Gradio created for it."""
    path.unlink(missing_ok=True)
    if path.parent != folder:
        with contextlib.suppress(OSError):
            path.parent.rmdir()


def delete_old_uploads(folder: Path, is_over: threading.Event) -> None:
    """Delete uploads that stay unused or incomplete, until the page ends."""
    while not is_over.wait(SWEEP_SECONDS):
        for path in list(folder.rglob("*")):
            with contextlib.suppress(OSError):
                if path.is_file() and time.time() - path.stat().st_mtime > UPLOAD_SECONDS:
                    delete_upload(path, folder)
