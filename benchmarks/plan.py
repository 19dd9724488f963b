"""The page benchmarks/PLAN.md: plans for 1,000 and 60,000 hours, from measured results.

    python benchmarks/plan.py [--flops 2e13]

Extraction comes from results/scale.json (benchmarks/scale.py), training on this machine from
results/zoo.json (benchmarks/run.py). Nothing was measured on a GPU: its figures are the float
operations of a training step, counted by TensorFlow's profiler, divided by --flops per second,
which is an assumption, and limited by the disk of scale.json.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import networks
import numpy as np
import tensorflow as tf

RESULTS = Path(__file__).parent / "results"
# Pre-training on speech without labels: {features: (network, epochs in hparams)}.
PRETRAINED = {
    "acnn, autoencoder": ("ACNN's autoencoder", 64),
    "auxvae": ("Aux-VAE", 40),
    "began": ("BEGAN", 100),
}


def count_operations(name: str) -> dict:
    """Return the bytes of an example of a network, and the float operations of training on it."""
    with tempfile.TemporaryDirectory() as folder:
        model, batches, size, *_ = networks.NETWORKS[name](Path(folder))
        batch = next(iter(batches(0)))
        x = tf.nest.flatten(batch)[0]
        step = tf.function(lambda: model.train_step(batch)).get_concrete_function()
        if "GRU" in {type(layer).__name__ for layer in model._flatten_layers()}:
            # The profiler counts a loop's step once. Each weight is used once per frame in the
            # forward pass, and twice in the backward pass.
            operations = 6 * model.count_params() * x.shape[1]
        else:
            options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
            options["output"] = "none"
            profile = tf.compat.v1.profiler.profile(step.graph, options=options)
            operations = profile.total_float_ops / size
        return {"bytes": int(np.prod(x.shape[1:])) * 4, "operations": float(operations)}


def plan_training(hours: int, feature: str, scale: dict, zoo: dict, flops: float) -> dict:
    """Return the figures of an epoch on so many hours of speech."""
    network, n_epochs = PRETRAINED[feature]
    example, of_zoo = count_operations(network), zoo["training"][network]
    n = hours * scale["measured"]["features"][feature]["bytes_per_hour"] / example["bytes"]
    by_gpu = n * example["operations"] / flops / 3600
    by_disk = n * example["bytes"] / scale["measured"]["disk_bytes_per_second"]["read"] / 3600
    return {
        "network": network,
        "examples": n,
        "epochs_of_hparams": n_epochs,
        "hours_of_an_epoch_here": n / of_zoo["examples_a_second"] / 3600,
        "operations_an_example": example["operations"],
        "gpu_hours_of_an_epoch": by_gpu,
        "disk_hours_of_an_epoch": by_disk,
        "epochs_a_gpu_hour": 1 / max(by_gpu, by_disk),
        "bottleneck": "disk" if by_disk > by_gpu else "GPU",
    }


def format_page(scale: dict, plans: dict, flops: float) -> str:
    """Format the page."""
    sample, of_disk = scale["measured"]["sample"], scale["measured"]["disk_bytes_per_second"]
    lines = [
        "# 1,000 and 60,000 hours of speech",
        "",
        "Written by `python benchmarks/plan.py` of `results/scale.json` and `results/zoo.json`.",
        "",
        f"Measured: {sample['hours']:.2f} h of LibriSpeech ({sample['utterances']} utterances, "
        f"{sample['bytes'] / 1e6:.0f} MB of FLAC) on {scale['cores']} cores; the disk writes "
        f"{of_disk['write'] / 1e6:,.0f} MB/s and reads {of_disk['read'] / 1e6:,.0f} MB/s.",
        "All else is multiplied from that: utterances as long, a disk as fast at any size.",
    ]
    for corpus, of_features in scale["extrapolated"].items():
        lines += [
            "",
            f"## {corpus}: extraction by tfser-extract",
            "",
            "| features | shards | GB | core-hours | hours here | one disk busy from | slowest |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        for name, row in of_features.items():
            lines.append(
                f"| {name} | {row['shards']:,} | {row['shard_bytes'] / 1e9:,.1f} "
                f"| {row['core_hours']:,.1f} | {row['hours_on_this_machine']:,.1f} "
                f"| {row['cores_that_keep_one_disk_busy']:,.0f} cores | {row['bottleneck_here']} |"
            )
        lines += [
            "",
            f"## {corpus}: training without labels",
            "",
            "| network | examples | hours of an epoch here | epochs a GPU-hour (assumed GPU) "
            "| GPU-hours of all epochs | bottleneck there |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for row in plans[corpus]:
            lines.append(
                f"| {row['network']} | {row['examples']:,.0f} "
                f"| {row['hours_of_an_epoch_here']:,.0f} "
                f"| {row['epochs_a_gpu_hour']:.3g} "
                f"| {row['epochs_of_hparams'] / row['epochs_a_gpu_hour']:,.0f} "
                f"({row['epochs_of_hparams']} epochs) | {row['bottleneck']} |"
            )
    return "\n".join(
        [
            *lines,
            "",
            "No GPU was measured. Assumed is one that sustains "
            f"{flops:.0e} float operations a second on these networks; a recurrent network may "
            "not reach that, as its steps wait for each other. Memory does not grow with the "
            "corpus: shards stay on the disk and are read in order.",
            "",
        ]
    )


def main():
    """Write the page, and its figures beside the other results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--flops", type=float, default=2e13, help="of a GPU, sustained: assumed")
    args = parser.parse_args()
    scale, zoo = (json.loads((RESULTS / f"{name}.json").read_text()) for name in ("scale", "zoo"))
    hours = {"LibriSpeech": 1_000, "Libri-Light": 60_000}
    plans = {
        corpus: [
            plan_training(hours[corpus], feature, scale, zoo, args.flops) for feature in PRETRAINED
        ]
        for corpus in scale["extrapolated"]
    }
    (RESULTS / "plan.json").write_text(json.dumps(plans, indent=1) + "\n")
    text = format_page(scale, plans, args.flops)
    (Path(__file__).parent / "PLAN.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
