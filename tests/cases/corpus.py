"""Tables of tones, for the cases about other things than tables."""

import numpy as np
import soundfile

RATE = 16000


def write_corpus(folder, lines, *, name="table.csv", encoding="utf-8"):
    """Write a table, and a second of an own tone for each .wav in a row's first field."""
    (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding=encoding)
    files = sorted(
        {line.split(",")[0] for line in lines[1:] if line.split(",")[0].endswith(".wav")}
    )
    for i, file in enumerate(files):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        tone = 0.3 * np.sin(np.arange(RATE) * (0.05 + 0.01 * i))
        soundfile.write(folder / file, tone, RATE)
    return folder / name


def train_on(lines, *flags, model="svm", **options):
    """Return the arguments of tfser-train on a table with these lines."""

    def arguments(folder):
        table = write_corpus(folder, lines, **options)
        return ["--model", model, "--corpus", table, "--cache", folder / "cache",
                "--workdir", folder / "run", *flags]  # fmt: skip

    return arguments
