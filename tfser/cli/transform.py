"""tfser-transform: a recording with the voice (h) or the manner (m) of another, by an Aux-VAE."""

import argparse
import logging
from pathlib import Path

from tfser import tensorflow_startup
from tfser.cli import base
from tfser.errors import DataError, UsageError
from tfser.storage import atomic_files

log = logging.getLogger("tfser")

EPILOG = """\
exit codes: 0 done, 1 failed, 2 usage, 3 data, 4 --out exists.

example: tfser-transform --run runs/auxvae-ravdess-paper --content he.wav --style she.wav \\
    --latent h --out transformed.wav
"""


def parser() -> argparse.ArgumentParser:
    """The flags of tfser-transform."""
    p = base.Parser("tfser-transform", __doc__.partition(": ")[2], EPILOG)
    of = {"type": Path, "metavar": "FILE", "required": True}
    p.add_argument("--run", type=Path, required=True, metavar="DIR", help="run directory of auxvae")
    p.add_argument("--content", help="what is said", **of)
    p.add_argument("--style", help="who says it (h), or how (m)", **of)
    p.add_argument(
        "--latent",
        choices=("h", "m"),
        default="h",
        help="what the style gives: h, of all of it, or m, of each second (default: h)",
    )
    p.add_argument("--out", help="a .wav to write, and a .png beside it", **of)
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return p


def main(argv=None) -> int:
    """Runs the command and returns its exit code."""
    return base.run_command(transform, parser().parse_args(argv))


def transform(args) -> None:
    """Writes the transformed recording and the spectrograms of figure 3."""
    if args.out.suffix.lower() != ".wav":
        raise UsageError(f"--out {args.out}: give a file that ends in .wav")
    picture = args.out.with_suffix(".png")
    for path in (args.out, picture):
        base.check_new(path)
    hp, network_file = _of_run(args.run)
    if args.latent == "m" and not hp["model"]["medium"]:
        raise UsageError(f"{args.run} has no m (model.medium=false); use --latent h")

    from tfser.audio import decode  # after what can be said at once

    rate = hp["features"]["sample_rate_hz"]
    waveforms = [
        decode.load_audio(path, sample_rate_hz=rate) for path in (args.content, args.style)
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
    for path, waveform in zip((args.content, args.style), waveforms, strict=True):
        try:
            pieces.append(transformation.cut_pieces(waveform, layer))
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
    content, style = pieces
    found = transformation.transform(network, content, style, args.latent, layer)
    sound = transformation.invert_spectrogram(found, content, layer)
    shown = {
        f"content: {args.content.name}": (content.heard, content.lengths),
        f"style: {args.style.name}": (style.heard, style.lengths),
        f"transformed: the content with the style's {args.latent}": (found, content.lengths),
    }
    figure = draw_spectrograms(
        {
            title: transformation.join_spectrogram(*of_recording, layer)
            for title, of_recording in shown.items()
        },
        f"Aux-VAE, {args.run.name}",
        hop_seconds=layer.hop / rate,
        label="dB to the loudest",
    )
    with atomic_files.replace_file(args.out) as temporary:
        soundfile.write(temporary, sound, rate, format="WAV", subtype="PCM_16")
    save_figure(figure, picture)
    print(f"{args.out} ({len(sound) / rate:.1f} s at {rate} Hz) and {picture}")


def _of_run(folder: Path) -> tuple[dict, Path]:
    """The hyperparameters of a finished fold's run, and its network."""
    try:
        settings = atomic_files.read_json(folder / "hparams.json")
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"--run {folder} is no run directory of tfser-train") from None
    if settings["model"] != "auxvae":
        raise UsageError(f"--run {folder} is of {settings['model']}; only auxvae transforms voices")
    files = sorted(folder.glob("seed-*/fold-*/vae.keras"))
    if not files:
        raise UsageError(f"--run {folder} has no network yet; let its tfser-train finish")
    return settings["hparams"], files[0]


if __name__ == "__main__":
    import sys

    sys.exit(main())
