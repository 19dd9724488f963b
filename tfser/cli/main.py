"""tfser: one command in front of all others: `tfser train` is `tfser-train`."""

import importlib
import sys

from tfser.errors import UsageError, did_you_mean

COMMANDS = {  # name -> what it is for; `tfser NAME` is `tfser-NAME`
    "train": "train one system with cross-validation and print its scores",
    "predict": "predict emotions in audio files with a preset, a run or an export",
    "embed": "write the outputs of a layer for recordings",
    "search": "search the hyperparameters of one system on dev sets",
    "compare": "compare finished runs: intervals, tests of each pair",
    "extract": "fill the feature cache of a corpus before training",
    "export": "write a run's network as SavedModel, Keras file, TFLite or ONNX",
    "serve": "open a web page that predicts emotions of uploads",
    "transform": "change the gender or pitch of speech with the Aux-VAE",
    "presets": "list the trained systems that are installed",
    "card": "record finished runs in zoo/ and on the cards",
}

USAGE = f"""\
usage: tfser [--help] [--version] COMMAND ...

Five speech emotion recognition systems in Keras, each faithful to its paper.

commands:
{"".join(f"  {name:<11}{text}{chr(10)}" for name, text in COMMANDS.items())}
tfser COMMAND --help describes a command. tfser COMMAND is tfser-COMMAND.

example: tfser train --model epr --corpus toy
"""


def main(argv=None) -> int:
    """Run the command that the first word names and return its exit code."""
    words = sys.argv[1:] if argv is None else list(map(str, argv))
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0 if words else UsageError.exit_code
    name = words[0]
    if name in ("-V", "--version", "version"):
        from importlib.metadata import version  # slow to import

        print(f"tfser {version('tfser')}")
        return 0
    if name not in COMMANDS:
        what = "argument" if name.startswith("-") else "command"
        hint = did_you_mean(name, COMMANDS)
        print(f"error: unknown {what} {name}{hint}; see tfser --help", file=sys.stderr)
        return UsageError.exit_code
    if argv is None:
        sys.argv = [f"tfser-{name}", *words[1:]]  # runs record their command
    return importlib.import_module(f"tfser.cli.{name}").main(words[1:])


if __name__ == "__main__":
    sys.exit(main())
