"""Summary of a search: the best trial, as text, as a figure and for TensorBoard.

A trial is a dict, see `cli.search.run_trials`.
"""

import io
import time
from pathlib import Path

from tfser.config.hparams import format_toml
from tfser.plots.figures import draw_trials, save_figure
from tfser.storage import atomic_files


def best_trial(trials: list[dict]) -> dict | None:
    """Return the first trial with the highest score, None where all have failed."""
    return max((t for t in trials if t["status"] == "ok"), key=lambda t: t["score"], default=None)


def draw_search(trials: list[dict], space: dict, subject: str, path: Path) -> None:
    """Draw the trials into a file.

    space: a space of `flatten_space`; subject: the title, model, corpus and protocol of the search.
    """
    best = best_trial(trials)
    is_uar = not best or best["measure"] == "UAR"
    scale = 100 if is_uar else 1
    scaled = [t | {"score": None if t["score"] is None else scale * t["score"]} for t in trials]
    score = "dev UAR (%)" if is_uar else "dev CCC, mean of arousal and valence"
    title = f"{subject}\n{format_summary(trials)}"
    save_figure(draw_trials(scaled, space, title, score), path)


def write_event(trial: dict, folder: Path) -> None:
    """Write a trial for TensorBoard's HParams tab.

    TensorFlow's own writers would reserve the GPU, which the trials need.
    """
    # TensorBoard is slow to import, and most commands write no trial.
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
    from tensorboard.summary.writer.record_writer import RecordWriter

    start = plugin_data_pb2.SessionStartInfo(group_name=trial_folder_name(trial["trial"]))
    for name, value in trial["parameters"].items():
        kind = "bool" if isinstance(value, bool) else "string" if isinstance(value, str) else ""
        if isinstance(value, list):
            kind, value = "string", format_toml(value)
        setattr(start.hparams[name], f"{kind or 'number'}_value", value)
    ok = trial["status"] == "ok"
    status = api_pb2.STATUS_SUCCESS if ok else api_pb2.STATUS_FAILURE
    values = []
    for tag, content in (
        (metadata.SESSION_START_INFO_TAG, {"session_start_info": start}),
        (metadata.SESSION_END_INFO_TAG, {"session_end_info": {"status": status}}),
    ):
        about = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(**content))
        values.append(Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR))
    if ok:
        values.append(Summary.Value(tag=f"dev {trial['measure']}", simple_value=trial["score"]))
    file = io.BytesIO()
    writer = RecordWriter(file)
    now = time.time()
    writer.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
    for value in values:
        event = Event(wall_time=now, step=0, summary=Summary(value=[value]))
        writer.write(event.SerializeToString())
    atomic_files.write_bytes(event_file(trial, folder), file.getvalue())


def event_file(trial: dict, folder: Path) -> Path:
    """Return the file of `write_event`."""
    return folder / trial_folder_name(trial["trial"]) / "events.out.tfevents.0"


def trial_folder_name(n: int) -> str:
    """Return the name of a trial's folder."""
    return f"trial-{n:03}"


def format_parameters(parameters: dict) -> str:
    """Format parameters for the log."""
    return " ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={format_toml(value)}"
        for name, value in parameters.items()
    )


def format_outcome(trial: dict) -> str:
    """Format the score of a trial, or the reason where it has none."""
    if trial["status"] == "ok":
        score = trial["score"]
        is_uar = trial["measure"] == "UAR"
        outcome = f"dev UAR {100 * score:.1f} %" if is_uar else f"dev CCC {score:.3f}"
    else:
        outcome = f"{trial['status']}: {trial['reason']}"
    return f"trial {trial['trial']}: {outcome}"


def format_summary(trials: list[dict]) -> str:
    """Format the best trial and the number of trials."""
    bad = ", ".join(
        f"{n} {status}"
        for status in ("failed", "stopped")
        if (n := sum(trial["status"] == status for trial in trials))
    )
    best = best_trial(trials)
    counts = f"{len(trials)} trial{'s' * (len(trials) > 1)}{f' ({bad})' * bool(bad)}"
    return f"best of {counts}: {format_outcome(best)}" if best else f"{counts}, none has a score"
