"""tfser-transform: gives a recording the voice (h) or the manner (m) of another recording."""

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path

from tfser import tensorflow_startup
from tfser.cli import base
from tfser.errors import DataError, UsageError
from tfser.storage import atomic_files

log = logging.getLogger("tfser")

EPILOG = """\
exit codes: 0 done, 1 failed, 2 usage, 3 data, 4 --out exists or cannot be written.

example: tfser-transform --run runs/auxvae-ravdess-paper --content he.wav --style she.wav \\
    --latent h --out transformed.wav
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of tfser-transform."""
    p = base.Parser("tfser-transform", __doc__.partition(": ")[2], EPILOG)
    file = {"type": Path, "metavar": "FILE", "required": True}
    p.add_argument("--run", type=Path, required=True, metavar="DIR", help="run directory of auxvae")
    p.add_argument("--content", help="recording whose words stay", **file)
    p.add_argument("--style", help="recording that gives the voice or manner", **file)
    p.add_argument(
        "--latent",
        choices=("h", "m"),
        default="h",
        help="latent variable taken from the style: h, one for the recording, or m, one for each "
        "second (default: h)",
    )
    p.add_argument(
        "--values",
        choices=("samples", "means"),
        default="samples",
        help="decode a sample of each distribution, the same in each call, or the means (default: "
        "samples)",
    )
    p.add_argument("--out", help="new .wav file; a .png beside it", **file)
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return p


@dataclass(frozen=True, kw_only=True)
class TransformOptions:
    """Options of tfser-transform."""

    run: Path
    content: Path
    style: Path
    out: Path
    latent: str = "h"
    values: str = "samples"
    debug: bool = False


def main(argv=None) -> int:
    """Run the command and return its exit code."""
    return base.run_command(transform, base.parse(parser(), argv, TransformOptions))


def transform(options: TransformOptions) -> None:
    """Write the transformed recording and the spectrograms of figure 3."""
    if options.out.suffix.lower() != ".wav":
        raise UsageError(f"--out {options.out}: give a file that ends in .wav")
    picture = options.out.with_suffix(".png")
    for path in (options.out, picture):
        base.check_new(path)
    hp, network_file = _find_network(options.run)
    if options.latent == "m" and not hp["model"]["medium"]:
        raise UsageError(f"{options.run} has no m (model.medium=false); use --latent h")

    from tfser.audio import decode  # the checks above need no import of SciPy

    rate = hp["features"]["sample_rate_hz"]
    waveforms = [
        decode.load_audio(path, sample_rate_hz=rate, channel=hp.get("audio", {}).get("channel", 0))
        for path in (options.content, options.style)
    ]
    with tensorflow_startup.quiet():
        tensorflow_startup.import_keras()
        from tfser.features.mel_pieces import MelPieces
        from tfser.models.auxvae import pretraining, transformation

    import soundfile

    from tfser.plots.figures import save_figure
    from tfser.plots.spectrograms import draw_spectrograms

    layer = MelPieces(**hp["input"] | {"drop_short": False}, **hp["features"])
    network = pretraining.load_network(network_file, hp, layer)
    pieces = []
    for path, waveform in zip((options.content, options.style), waveforms, strict=True):
        try:
            pieces.append(transformation.cut_pieces(waveform, layer))
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
    content, style = pieces
    frames = transformation.transform(
        network, content, style, options.latent, layer, sampled=options.values == "samples"
    )
    sound = transformation.invert_spectrogram(frames, content, layer)
    shown = {
        f"content: {options.content.name}": (content.spectrograms, content.lengths),
        f"style: {options.style.name}": (style.spectrograms, style.lengths),
        f"transformed: the content with the style's {options.latent}": (frames, content.lengths),
    }
    figure = draw_spectrograms(
        {
            title: transformation.join_spectrogram(*of_recording, layer)
            for title, of_recording in shown.items()
        },
        f"Aux-VAE, {options.run.name}",
        hop_seconds=layer.hop / rate,
        label="dB to the loudest",
    )
    with atomic_files.replace_file(options.out) as temporary:
        soundfile.write(temporary, sound, rate, format="WAV", subtype="PCM_16")
    save_figure(figure, picture)
    print(f"{options.out} ({len(sound) / rate:.1f} s at {rate} Hz) and {picture}")


def _find_network(folder: Path) -> tuple[dict, Path]:
    """Return the hyperparameters of an Aux-VAE's run and the file of its first network."""
    try:
        settings = atomic_files.read_dict(folder / "hparams.json")
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"--run {folder} is no run directory of tfser-train") from None
    if (model := settings.get("model")) != "auxvae":
        raise UsageError(f"--run {folder} is of {model}; only auxvae transforms voices")
    files = sorted(folder.glob("seed-*/fold-*/vae.keras"))
    if not files:
        raise UsageError(f"--run {folder} has no network yet; let its tfser-train finish")
    return settings["hparams"], files[0]


if __name__ == "__main__":
    import sys

    sys.exit(main())
