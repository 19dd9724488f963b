"""tfser-presets: lists the trained systems that are installed with tfser."""

import sys
from dataclasses import dataclass

from tfser.cli import base
from tfser.evaluation.text_table import align
from tfser.storage.preset import list_presets

EPILOG = """\
UAR is the cross-validated score of the same settings on unseen speakers; the preset itself is
trained on all speakers of its corpus. The licence is that of the corpus and holds for the weights.

exit codes: 0 done, 3 a preset is damaged.

example: tfser predict --preset epr_emodb recording.wav
"""
COLUMNS = ("name", "system", "trained on", "classes", "UAR %", "licence", "MB")


def parser():
    """Return the parser of tfser-presets."""
    p = base.Parser("tfser-presets", __doc__.partition(": ")[2], EPILOG)
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return p


@dataclass(frozen=True, kw_only=True)
class PresetsOptions:
    """Options of tfser-presets."""

    debug: bool = False


def main(argv=None) -> int:
    """Run the command and return its exit code."""
    return base.run_command(print_presets, base.parse(parser(), argv, PresetsOptions))


def print_presets(options: PresetsOptions) -> None:
    """Print a row for each preset."""
    rows = [COLUMNS]
    for preset in list_presets():
        about = preset.about
        score = about.get("score")
        rows.append(
            (
                preset.name,
                about["model"],
                about["audio"],
                str(len(about["classes"])) if about["classes"] else "-",
                f"{100 * score['uar']:.1f}" if score else "-",
                about["licence"],
                f"{preset.n_bytes / 1e6:.1f}",
            )
        )
    print(align(rows))


if __name__ == "__main__":
    sys.exit(main())
