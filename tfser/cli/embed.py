"""tfser-embed: writes the outputs of a layer for recordings, for other programs to learn from."""

import argparse
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

from tfser import tensorflow_startup
from tfser.cli import base
from tfser.cli.predict import check_channel, list_recordings
from tfser.errors import DataError, UsageError
from tfser.inference.embedding_file import EmbeddingFile, check_suffix
from tfser.inference.finished_run import check_folder, load_run
from tfser.inference.windows import check_window
from tfser.storage.preset import find_preset

log = logging.getLogger("tfser")
EPILOG = """\
A row has file, start and end (seconds) and the numbers of the layer: a row for each window, or for
each segment or slice of a window, as the layer is. .csv has the columns e0, e1, ...; .npz the
arrays file, start, end and embedding [rows, numbers]; .parquet the columns of .csv. Windows are
those of tfser-predict. The same command continues an interrupted file.

exit codes: 0 done, 1 failed, 2 usage, 3 some recordings could not be used (stderr names them; the
other recordings are done), 4 --out exists, 130 interrupted.

examples: tfser-embed --preset epr_emodb --layer help
          tfser-embed --preset epr_emodb --layer hidden --folder recordings --out hidden.npz
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of tfser-embed."""
    p = base.Parser("tfser-embed", __doc__.partition(": ")[2], EPILOG)
    source = p.add_mutually_exclusive_group(required=True)
    source.add_argument("--preset", metavar="NAME", help="trained system: tfser presets lists them")
    source.add_argument("--run", type=Path, metavar="DIR", help="run directory of tfser-train")
    p.add_argument("files", nargs="*", type=Path, metavar="FILE", help="audio files")
    p.add_argument("--folder", type=Path, metavar="DIR", help="all audio files under a folder")
    p.add_argument("--table", type=Path, metavar="CSV", help="a table as for tfser-train")
    p.add_argument("--layer", metavar="NAME", help="layer; help lists them (default: the last one)")
    p.add_argument("--out", type=Path, metavar="FILE", help=".csv, .npz or .parquet")
    p.add_argument("--channel", type=int, metavar="N", help="channel of the files, from 1; 0: "
                   "their mean (default: as in training)")  # fmt: skip
    p.add_argument("--window", type=float, metavar="S", help="window length in seconds")
    p.add_argument("--hop", type=float, metavar="S", help="seconds from window to window")
    p.add_argument("--seed", type=int, metavar="N", help="with --run: seed of the network")
    p.add_argument("--fold", type=int, default=0, metavar="N", help="with --run: fold")
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return p


@dataclass(frozen=True, kw_only=True)
class EmbedOptions:
    """Options of tfser-embed."""

    preset: str | None = None
    run: Path | None = None
    files: tuple[Path, ...] = ()
    folder: Path | None = None
    table: Path | None = None
    layer: str | None = None
    out: Path | None = None
    channel: int | None = None
    window: float | None = None
    hop: float | None = None
    seed: int | None = None
    fold: int = 0
    debug: bool = False


def main(argv=None) -> int:
    """Run the command and return its exit code."""
    return base.run_command(embed, base.parse(parser(), argv, EmbedOptions))


def embed(options: EmbedOptions) -> None:
    """Write the embeddings, or list the layers."""
    lists_layers = options.layer == "help"
    if not lists_layers and options.out is None:
        raise UsageError("--out is missing: give a .csv, .npz or .parquet file")
    if options.out and not lists_layers:
        check_suffix(options.out)
        base.check_new(options.out)
    check_window(options.window, options.hop)
    check_channel(options.channel)
    folder = options.run or find_preset(options.preset).folder
    check_folder(folder)
    load_run(folder, seed=options.seed, fold=options.fold)
    recordings = [] if lists_layers else list_recordings(options)
    with tensorflow_startup.quiet():  # after all checks that need no TensorFlow
        tensorflow_startup.import_keras()
        from tfser.inference.embedder import Embedder
    embedder = Embedder(
        folder,
        None if lists_layers else options.layer,
        seed=options.seed,
        fold=options.fold,
        channel=options.channel,
    )
    if lists_layers:
        for name, layer in embedder.layers.items():
            print(f"{name}: {layer.description}")
        return
    settings = {
        "folder": str(folder.resolve()),
        "layer": embedder.layer,
        "window": options.window,
        "hop": options.hop,
        "channel": options.channel,
        "seed": options.seed,
        "fold": options.fold,
        "recordings": [[str(path), start, end] for path, start, end in recordings],
    }
    failed = []
    with EmbeddingFile(options.out, settings) as file:
        if file.n_done:
            log.info("%d of %d recordings are done", file.n_done, len(recordings))
        for source in recordings[file.n_done :]:
            rows = embedder.embed_rows(
                source, window_seconds=options.window, hop_seconds=options.hop
            )
            file.write(_keep_usable(rows, failed))
        print(f"{options.out}: {file.n_rows} rows of {file.size or 0} numbers, {embedder.layer}")
    if failed:
        raise DataError(f"{len(set(failed))} of {len(recordings)} recordings could not be used")


def _keep_usable(rows, failed: list):
    """Yield the rows that have a vector; log the others and add their files to `failed`."""
    for name, start, end, vector in rows:
        if isinstance(vector, DataError):
            log.warning("%s, from %g s: %s", name, start, vector)
            failed.append(name)
        else:
            yield name, start, end, vector


if __name__ == "__main__":
    sys.exit(main())
