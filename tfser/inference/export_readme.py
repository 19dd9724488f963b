"""The README of an export (tfser-export): what it takes and gives, and how it is asked."""

import json

from tfser.evaluation import metrics


def format_readme(form, run, served) -> str:
    """README.md of the folder of an export, of the run's scores and what it is given and says."""
    scores = run.scores
    name, system = list(scores["systems"].items())[-1]
    independent = "unknown" if scores["speaker_independent"] else "known"
    named = ", ".join(run.classes) or "none, of ratings"
    figures = ", ".join(
        f"{'CCC of ' + key[4:] if key.startswith('ccc_') else key.upper()} "
        + (f"{100 * mean:.1f} %" if run.classes else f"{mean:.3f}")
        for key in metrics.headline_scores(scores)
        for mean in [system[key]["mean"]]
    )
    heard = ""
    if served.heard_seconds and form != "keras":
        heard = f"The first {served.heard_seconds:g} s of an utterance are heard.\n\n"
    rows = "\n".join(f"| `{key}` | {what} |" for key, what in served.outputs.items())
    if form == "keras":
        given, rows, example = describe_networks(run, served)
    else:
        given, example = describe_signatures(form, served), list_calls(form, run, served)
        rows = f"| output | |\n| --- | --- |\n{rows}"
        if form == "savedmodel":
            rows += f"\n| `classes` | [classes]: {named} |"
    if form != "savedmodel":
        rows += f"\n\nClasses: {named}."
    return f"""# {run.model} of tfser, trained on {run.corpus}

{given}

{rows}

{heard}Network of seed {run.seed}, fold {run.fold}, of {scores["folds"]}. {scores["seeds"]} seed(s).
The run's scores for speakers {independent} in training, protocol {scores["protocol"]}, "{name}":
{figures} ({scores["n"]} utterances).
The corpus's licence holds for what is done with a network trained on it.

```
{example}
```
"""


def describe_signatures(form, served) -> str:
    """What an export is given."""
    rate = served.sample_rate_hz
    if served.smile:
        shape = ", ".join(map(str, served.smile.shape))
        return (
            f"`serving_default(features: float32 [batch, {shape}])`: openSMILE's "
            f"{served.smile.feature_set} {served.smile.level}, which no graph can compute; "
            f"`tfser-predict` computes them, of {rate} Hz. NaN stands after an utterance's last "
            "frame."
        )
    if form != "savedmodel":
        return (
            f"`waveform: float32 [1, samples]`, one recording, mono at {rate} Hz, -1 to 1, of one "
            "sample or more, none of them NaN: this form does not look."
        )
    return (
        f"`serving_default(waveform: float32 [batch, samples] or [samples])`, mono at {rate} Hz, "
        "-1 to 1. Resampling is not in the graph.\n\n"
        "`lengths(waveform: float32 [batch, samples], lengths: int32 [batch])`: recordings of "
        "several lengths, in samples; what lies after a length is of no account.\n\n"
        f"`wav(content: string)`: a WAV file of 16 bits at {rate} Hz."
    )


def list_calls(form, run, served) -> str:
    """How an export is asked."""
    key = "features" if served.smile else "waveform"
    said = "probabilities" if "probabilities" in served.outputs else "ratings"
    if form == "tflite":
        return f"""import tensorflow as tf

model = tf.lite.Interpreter("model.tflite").get_signature_runner()
print(model({key}={key})["{said}"])"""
    if form == "onnx":
        return f"""import onnxruntime

model = onnxruntime.InferenceSession("model.onnx")
print(model.run(["{said}"], {{"{key}": {key}}}))"""
    instance = "[0.0, ...]"
    for _ in served.smile.shape if served.smile else ():
        instance = f"[{instance}, ...]"
    asked = json.dumps({"inputs": {key: "X"}}).replace('"X"', instance)
    return f"""curl -d '{asked}' \\
    http://localhost:8501/v1/models/{run.model}:predict"""


def list_shapes(tensors) -> str:
    """The shape of a network's input or output, by name where there are several."""
    if isinstance(tensors, dict):
        return ", ".join(f"{name} {list_shapes(one)}" for name, one in tensors.items())
    return f"[{', '.join(str(n or 'batch') for n in tensors.shape)}]"


def describe_networks(run, served) -> tuple[str, str, str]:
    """What an export for Keras has, a row for each network, and how it is loaded."""
    from tfser.inference import export_formats  # it imports TensorFlow, which is there by now

    networks = export_formats.keras_networks(served)
    rows = "| file | takes | gives | weights |\n| --- | --- | --- | --- |\n" + "\n".join(
        f"| `{name}.keras` | {takes} | {gives} | {network.count_params():,} |"
        for name, network in networks.items()
        for takes, gives in [
            (list_shapes(network.input), list_shapes(network.output))
            if hasattr(network, "input_shape")  # not of a class of its own
            else (f"see `{type(network).__name__}`",) * 2
        ]
    )
    given = (
        "The networks alone, to train further or to take apart: features come before them, and "
        f"what `tfser/models/{run.model}/inference.py` does with what they say after them."
    )
    example = f"""import keras
import tfser.models.{run.model}.inference  # layers of its own

network = keras.saving.load_model("{next(iter(networks))}.keras", compile=False)"""
    return given, rows, example
