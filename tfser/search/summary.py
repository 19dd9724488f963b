"""What the trials of a search came to: the best one, in words, as a picture and for TensorBoard.

A trial is a dict as `cli.search.run_trials` has them.
"""

import io
import time
from pathlib import Path

from tfser.config.hparams import format_toml
from tfser.plots.figures import draw_trials, save_figure
from tfser.storage import atomic_files


def best_trial(trials: list[dict]) -> dict | None:
    """The first trial of the highest score, None where all have failed."""
    return max((t for t in trials if t["status"] == "ok"), key=lambda t: t["score"], default=None)


def draw_search(trials: list[dict], space: dict, of: str, path: Path) -> None:
    """Draw the trials into a file; space: of `flatten_space`, of: what is searched."""
    best = best_trial(trials)
    of_classes = not best or best["measure"] == "UAR"
    scale = 100 if of_classes else 1
    drawn = [t | {"score": None if t["score"] is None else scale * t["score"]} for t in trials]
    score = "dev UAR (%)" if of_classes else "dev CCC, mean of arousal and valence"
    save_figure(draw_trials(drawn, space, f"{of}\n{format_summary(trials)}", score), path)


def write_event(trial: dict, folder: Path) -> None:
    """A trial in TensorBoard's HParams tab.

    TensorFlow's own writers would take hold of the GPU, which the trials need.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
    from tensorboard.summary.writer.record_writer import RecordWriter

    started = plugin_data_pb2.SessionStartInfo(group_name=trial_folder_name(trial["trial"]))
    for name, value in trial["parameters"].items():
        kind = "bool" if isinstance(value, bool) else "string" if isinstance(value, str) else ""
        if isinstance(value, list):
            kind, value = "string", format_toml(value)
        setattr(started.hparams[name], f"{kind or 'number'}_value", value)
    ok = trial["status"] == "ok"
    status = api_pb2.STATUS_SUCCESS if ok else api_pb2.STATUS_FAILURE
    values = []
    for tag, content in (
        (metadata.SESSION_START_INFO_TAG, {"session_start_info": started}),
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
    atomic_files.write_bytes(
        folder / trial_folder_name(trial["trial"]) / "events.out.tfevents.0", file.getvalue()
    )


def trial_folder_name(n: int) -> str:
    """The folder of a trial."""
    return f"trial-{n:03}"


def format_parameters(parameters: dict) -> str:
    """Parameters for the log."""
    return " ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={format_toml(value)}"
        for name, value in parameters.items()
    )


def format_outcome(trial: dict) -> str:
    """How a trial ended."""
    if trial["status"] == "ok":
        score = trial["score"]
        of_classes = trial["measure"] == "UAR"
        end = f"dev UAR {100 * score:.1f} %" if of_classes else f"dev CCC {score:.3f}"
    else:
        end = f"{trial['status']}: {trial['reason']}"
    return f"trial {trial['trial']}: {end}"


def format_summary(trials: list[dict]) -> str:
    """The best of how many."""
    bad = ", ".join(
        f"{n} {status}"
        for status in ("failed", "stopped")
        if (n := sum(trial["status"] == status for trial in trials))
    )
    best = best_trial(trials)
    counts = f"{len(trials)} trial{'s' * (len(trials) > 1)}{f' ({bad})' * bool(bad)}"
    return f"best of {counts}: {format_outcome(best)}" if best else f"{counts}, none has a score"
