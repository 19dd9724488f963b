"""Speed of the complete zoo, side by side with its peers.

    python benchmarks/run.py --root LIBRISPEECH [--torch TORCH_VENV/bin/python]
        [--also bfloat16] [--also XLA] [--also noXLA] [--savedmodel EXPORT --onnx EXPORT] ...
        [--rounds 5] [--only NAME] ... [--out zoo.json]

Training: each network of benchmarks/networks.py in a process of its own, compiled and fed as in
tfser-train, float32, all cores. `fit` on the pipeline and `fit` on one batch repeated take turns
with the same network in PyTorch on one batch (--torch: an interpreter that has 2.13.0), some steps
a turn, in an order that is reversed every second round. The ratio is PyTorch's seconds over ours,
both on one batch; of PyTorch's layouts the faster counts. The wait for the input is the share of a
step on the pipeline that a step on one batch does not take. Peak memory is the process's, its
synthetic corpus and TensorFlow included. Traces count how often Python ran the training step:
once, or twice where metrics create their variables in it. --also: the ratio of the speed, on one
batch, in `--precision mixed_bfloat16`, of a step that XLA compiles, and of the AAE without the
parts that XLA compiles.

Features: benchmarks/features.py and benchmarks/functionals.py on the files below --root.

Answers: benchmarks/serving.py, EPR's forest against scikit-learn's, and exports of tfser-export
against ONNX Runtime.

Run nothing else beside it. Figures are medians over the rounds, after a warm-up round.
"""

import argparse
import itertools
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # the twins run on the CPU

HERE = Path(__file__).parent
TURN_SECONDS = 3.0  # for at least MIN_STEPS and at most MAX_STEPS steps
MIN_STEPS, MAX_STEPS = 3, 20
SAME = 0.01  # tolerance of a twin's number of weights: PyTorch's GRU has two biases


class Stopwatch:
    """Stopwatch for the steps of `fit`, without the start of an epoch."""

    def __init__(self, model):
        import keras  # only in the processes of networks

        self.model, self.ends = model, []
        end = lambda batch, logs: self.ends.append(time.perf_counter())  # noqa: E731
        self.callback = keras.callbacks.LambdaCallback(on_train_batch_end=end)

    def __call__(self, dataset, n_steps):
        """Return the seconds per step."""
        self.ends.clear()
        options = {"epochs": 1, "shuffle": False, "verbose": 0, "callbacks": [self.callback]}
        self.model.fit(dataset.take(n_steps + 1), **options)
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)


def measure_network(
    name: str, rounds: int, torch: str | None, also: list[str], folder: Path
) -> dict:
    """Train one network, its twins and its variants in turns; return the figures."""
    import keras
    import networks
    import turns

    from tfser.training import mixed_precision

    keras.utils.set_random_seed(0)
    model, batches, batch_size, example, twins = networks.NETWORKS[name](folder)
    traces, train_step = [], model.train_step

    def count_trace(*arguments):
        traces.append(None)
        return train_step(*arguments)

    model.train_step = count_trace
    constant, fit = batches(0).take(1).cache().repeat(), Stopwatch(model)
    fit(constant, 1)
    n_steps = int(min(MAX_STEPS, max(MIN_STEPS, TURN_SECONDS / fit(constant, 2))))
    candidates = {
        "one batch": lambda number: fit(constant, n_steps),
        "pipeline": lambda number: fit(batches(number), n_steps),
    }
    candidates["pipeline"](0)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    n_weights = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    for twin, (script, *arguments) in twins.items() if torch else ():
        step, n_twin_weights = turns.start_torch(torch, script, *arguments)
        if abs(n_twin_weights / n_weights - 1) > SAME:
            raise SystemExit(f"{script} has {n_twin_weights:,} weights, our network {n_weights:,}")

        def time_twin(number, step=step):
            step()  # the first step of our turn is not counted either
            return statistics.fmean(step() for _ in range(n_steps))

        candidates[twin] = time_twin
    for variant in also:
        if variant == "noXLA" and not hasattr(model, "phases"):
            continue  # XLA compiles no part of it
        with mixed_precision.precision_policy(
            "mixed_bfloat16" if variant == "bfloat16" else "float32"
        ):
            other = networks.NETWORKS[name](folder).model
            if variant == "XLA":
                other.jit_compile = True
            if variant == "noXLA":
                other.run_phases = other.phases
            fit_other = Stopwatch(other)
            fit_other(constant, 1)  # traced here, under the policy of its layers
        candidates[variant] = lambda number, fit=fit_other: fit(constant, n_steps)
    for candidate in candidates.values():
        candidate(0)
    seconds = {candidate: [] for candidate in candidates}
    for number in range(rounds):
        for candidate in list(candidates)[:: 1 if number % 2 else -1]:
            seconds[candidate].append(candidates[candidate](number + 1))
    medians = {candidate: statistics.median(times) for candidate, times in seconds.items()}
    twin_seconds = [medians[twin] for twin in twins if twin in medians]
    return {
        "batch": batch_size,
        "example": example,
        "weights": n_weights,
        "steps_a_turn": n_steps,
        "seconds_a_step": seconds,
        "median": medians,
        "examples_a_second": batch_size / medians["pipeline"],
        "waits_for_input": max(0.0, 1 - medians["one batch"] / medians["pipeline"]),
        "peak_mib": peak_mib,
        "traces": len(traces),
        "times_torch": min(twin_seconds) / medians["one batch"] if twin_seconds else None,
        **{f"times_{of}": medians["one batch"] / medians[of] for of in also if of in medians},
    }


def run_script(*arguments) -> dict:
    """Run a script of this folder in a child process and return the figures of its --out."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        script, *rest = map(str, arguments)
        done = subprocess.run([sys.executable, HERE / script, *rest, "--out", out], check=False)
        if done.returncode:
            raise SystemExit(f"benchmarks/{script} {' '.join(rest)} has failed; its error is above")
        return json.loads(out.read_text())


def measure_all(args):
    """Yield the tables so far, each figure from a process of its own."""
    import networks

    rounds = ["--rounds", args.rounds]
    torch = ["--torch", args.torch] if args.torch else []
    also = [word for variant in args.also for word in ("--also", variant)]
    figures = {"training": {}, "features": {}, "answers": {}}
    for name in args.only or networks.NETWORKS:
        print(name, file=sys.stderr, flush=True)
        arguments = ["--network", name, *torch, *rounds, *also]
        figures["training"][name] = run_script("run.py", *arguments)
        yield figures
    if args.root:
        figures["features"] = run_script("features.py", "--root", args.root, *rounds)
        functionals = run_script("functionals.py", "--root", args.root, *rounds)
        figures["features"]["AAE and SVM, functionals"] = functionals
        yield figures
    pairs = [("--savedmodel", saved) for saved in args.savedmodel]
    pairs += [("--onnx", onnx) for onnx in args.onnx]
    answers = run_script("serving.py", *itertools.chain(*pairs), "--rounds", 2 * args.rounds - 1)
    figures["answers"] = {name: answers[name] for name in ("answers", "kinds")}
    yield figures


def check_arguments(args) -> None:
    """End the command where a later part would fail."""
    import networks

    for name in args.only:
        if name not in networks.NETWORKS:
            raise SystemExit(f"--only {name}: one of {', '.join(networks.NETWORKS)}")
    if args.root and not args.root.is_dir():
        raise SystemExit(f"--root {args.root} is no folder")
    if len(args.savedmodel) != len(args.onnx):
        raise SystemExit("give an --onnx for each --savedmodel")
    for export in [*args.savedmodel, *args.onnx]:
        if not (export / "tfser.json").is_file():
            raise SystemExit(f"{export} is no export of tfser-export")


def format_tables(figures: dict) -> str:
    """Format the figures as Markdown, for the README."""
    lines = [
        "| training step | batch | s | examples/s | times PyTorch's speed | waits for input "
        "| peak MiB | in bfloat16 | by XLA |",
        "|" + " --- |" * 9,
    ]

    def times(of, key):
        return f"{of[key]:.2f}" if of.get(key) else ""

    for name, of in figures["training"].items():
        digits = 0 if of["examples_a_second"] > 10 else 2
        lines.append(
            f"| {name} | {of['batch']} {of['example']} | {of['median']['pipeline']:.3g} "
            f"| {of['examples_a_second']:,.{digits}f} | {times(of, 'times_torch')} "
            f"| {of['waits_for_input']:.0%} | {of['peak_mib']:,.0f} "
            f"| {times(of, 'times_bfloat16')} | {times(of, 'times_XLA')} |"
        )
    if figures["features"]:
        lines += ["", "| features | files/s | hours of speech/s | times the speed of |"]
        lines.append("| --- | --- | --- | --- |")
        for name, of in figures["features"].items():
            lines.append(
                f"| {name} | {of['files_a_second']:.0f} | {of['hours_a_second']:.2f} "
                f"| {of['peer']}: {of['times_peer']:.2f} |"
            )
    answers = figures["answers"]
    if not answers:
        return "\n".join(lines)
    lines += ["", "| answer | ms | times the speed of |", "| --- | --- | --- |"]
    for name, of in answers["kinds"].items():
        (_, ours), (peer, theirs) = of["median"].items()
        milliseconds = 1000 * ours / answers["answers"]
        lines.append(f"| {name} | {milliseconds:.1f} | {peer}: {theirs / ours:.2f} |")
    return "\n".join(lines)


def main():
    """Measure all, or one network in the child process for it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", type=Path, help="a folder of speech, .flac or .wav")
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter that has PyTorch")
    parser.add_argument("--savedmodel", type=Path, action="append", default=[], metavar="EXPORT")
    parser.add_argument("--onnx", type=Path, action="append", default=[], metavar="EXPORT")
    parser.add_argument("--also", action="append", default=[], choices=("bfloat16", "XLA", "noXLA"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", default=[], help="this network alone")
    parser.add_argument("--network", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="writes the figures as JSON")
    args = parser.parse_args()
    if args.network:
        with tempfile.TemporaryDirectory() as folder:
            result = measure_network(args.network, args.rounds, args.torch, args.also, Path(folder))
    else:
        import turns

        check_arguments(args)
        for result in measure_all(args):
            if args.out:  # after each part: a later part may fail
                turns.write_figures(args.out, cores=len(os.sched_getaffinity(0)), **result)
        print(format_tables(result))
        return
    args.out.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
