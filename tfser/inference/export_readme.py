"""README of an export (tfser-export): its inputs, its outputs and how to call it."""

import json

from tfser.evaluation import metrics


def format_readme(form, run, inference) -> str:
    """Format the README.md of an export: inputs, outputs, the run's scores, an example."""
    scores = run.scores
    name, system = list(scores["systems"].items())[-1]
    independent = "unknown" if scores["speaker_independent"] else "known"
    class_names = ", ".join(run.classes) or "none, of ratings"
    figures = ", ".join(
        f"{'CCC of ' + key[4:] if key.startswith('ccc_') else key.upper()} "
        + (f"{100 * mean:.1f} %" if run.classes else f"{mean:.3f}")
        for key in metrics.headline_scores(scores)
        for mean in [system[key]["mean"]]
    )
    limit = ""
    if inference.input_seconds and form != "keras":
        limit = f"The first {inference.input_seconds:g} s of an utterance are used.\n\n"
    licences = ""
    if inference.notices:
        licences = (
            f"\nIt holds weights of others, under their licence: {', '.join(inference.notices)}."
        )
    rows = "\n".join(f"| `{key}` | {what} |" for key, what in inference.outputs.items())
    if form == "keras":
        inputs, rows, example = describe_networks(run, inference)
    else:
        inputs, example = describe_signatures(form, inference), list_calls(form, run, inference)
        rows = f"| output | |\n| --- | --- |\n{rows}"
        if form == "savedmodel":
            rows += f"\n| `classes` | [classes]: {class_names} |"
    if form != "savedmodel":
        rows += f"\n\nClasses: {class_names}."
    return f"""# {run.model} of tfser, trained on {run.corpus}

{inputs}

{rows}

{limit}Network of seed {run.seed}, fold {run.fold}, of {scores["folds"]}. {scores["seeds"]} seed(s).
The run's scores for speakers {independent} in training, protocol {scores["protocol"]}, "{name}":
{figures} ({scores["n"]} utterances).
The corpus's licence holds for what is done with a network trained on it.{licences}

An export is a program: whoever loads it runs it. Load exports of people whom you trust alone.
`tfser-predict` and `tfser-serve` refuse operations that no export of tfser has.

```
{example}
```
"""


def describe_signatures(form, inference) -> str:
    """Describe the inputs of an export."""
    rate = inference.sample_rate_hz
    if opensmile := inference.opensmile_input:
        shape = ", ".join(map(str, opensmile.shape))
        return (
            f"`serving_default(features: float32 [batch, {shape}])`: openSMILE's "
            f"{opensmile.feature_set} {opensmile.level}, which no graph can compute; "
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


def list_calls(form, run, inference) -> str:
    """Return an example that calls an export."""
    key = "features" if inference.opensmile_input else "waveform"
    output = "probabilities" if "probabilities" in inference.outputs else "ratings"
    if form == "tflite":
        return f"""import tensorflow as tf

model = tf.lite.Interpreter("model.tflite").get_signature_runner()
print(model({key}={key})["{output}"])"""
    if form == "onnx":
        return f"""import onnxruntime

model = onnxruntime.InferenceSession("model.onnx")
print(model.run(["{output}"], {{"{key}": {key}}}))"""
    instance = "[0.0, ...]"
    for _ in inference.opensmile_input.shape if inference.opensmile_input else ():
        instance = f"[{instance}, ...]"
    request = json.dumps({"inputs": {key: "X"}}).replace('"X"', instance)
    return f"""curl -d '{request}' \\
    http://localhost:8501/v1/models/{run.model}:predict"""


def list_shapes(tensors) -> str:
    """Format the shape of a network's input or output, by name where there are several."""
    if isinstance(tensors, dict):
        return ", ".join(f"{name} {list_shapes(tensor)}" for name, tensor in tensors.items())
    return f"[{', '.join(str(n or 'batch') for n in tensors.shape)}]"


def describe_networks(run, inference) -> tuple[str, str, str]:
    """Describe an export for Keras: its purpose, a row for each network, an example."""
    # It imports TensorFlow, which --help must not wait for.
    from tfser.inference import export_formats

    networks = export_formats.keras_networks(inference)
    rows = "| file | takes | gives | weights |\n| --- | --- | --- | --- |\n" + "\n".join(
        f"| `{name}.keras` | {takes} | {gives} | {network.count_params():,} |"
        for name, network in networks.items()
        for takes, gives in [
            (list_shapes(network.input), list_shapes(network.output))
            if hasattr(network, "input_shape")  # subclasses of keras.Model have no shape
            else (f"see `{type(network).__name__}`",) * 2
        ]
    )
    purpose = (
        "The networks alone, to train further or to take apart: features come before them, and "
        f"what `tfser/models/{run.model}/inference.py` does with their outputs after them."
    )
    example = f"""import keras
import tfser  # Keras finds its layers

network = keras.saving.load_model("{next(iter(networks))}.keras", compile=False)"""
    return purpose, rows, example
