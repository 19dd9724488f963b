"""Make the presets of zoo/: train each system on all speakers and write its files.

    python benchmarks/make_presets.py --workdir runs/presets [--only epr_emodb ...]

Needs TFSER_EMODB_ROOT, TFSER_RAVDESS_ROOT and TFSER_LIBRISPEECH_ROOT. A finished training is not
repeated. The score beside a preset is that of a recorded run in zoo/ of the same settings.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from tfser.config.hparams import zoo_folder
from tfser.inference.finished_run import load_run, record_files
from tfser.storage import atomic_files, environment, preset

EMODB = {
    "corpus": "emodb",
    "audio": "Emo-DB (2 s copy)",
    "licence": "CC-BY-4.0",
    "attribution": "Burkhardt, Paeschke, Rolfes, Sendlmeier, Weiss: A Database of German Emotional "
    "Speech, Interspeech 2005; Zenodo record 17651657.",
}
RAVDESS = {
    "corpus": "ravdess",
    "audio": "RAVDESS (speech)",
    "licence": "CC-BY-NC-SA-4.0",
    "attribution": "Livingstone, Russo: The Ryerson Audio-Visual Database of Emotional Speech and "
    "Song (RAVDESS), PLoS ONE 13(5), 2018; Zenodo record 1188976.",
}
# Name -> (corpus, flags of tfser-train, the recorded row whose score stands beside, description).
# A row: model, protocol, folds, utterances, name in zoo/results.csv; of the same settings.
EPR = (
    "Emotion profile refinery (Mao et al. 2020) at an eighth of the paper's width: VGG-E on "
    "segments of log-mel frames, three rounds of refined labels, a random forest."
)
PRESETS = {
    "svm_emodb": (
        EMODB, "--model svm",
        ("svm", "loso", 10, 535, "SVM"),
        "Linear SVM on openSMILE's IS13 functionals, the baseline. Needs openSMILE, which is free "
        "for research and private use only.",
    ),
    "acnn_ravdess": (
        RAVDESS, "--model acnn --set autoencoder.corpus=",
        ("acnn", "paper", 5, 672, "BL"),
        "Attentive CNN (Neumann, Vu 2019) on log-mel frames, its baseline without representations.",
    ),
    "aae_emodb": (
        EMODB, "--model aae",
        ("aae", "loso", 10, 535, "UTT + AAE Optimized"),
        "Adversarial autoencoder (Parthasarathy et al. 2019) on openSMILE's IS13 functionals. "
        "Needs openSMILE, which is free for research and private use only.",
    ),
    "epr_emodb": (
        EMODB, "--model epr --hparams epr.small --set train.precision=mixed_bfloat16",
        ("epr", "loso", 10, 535, "VGG*3"), EPR,
    ),
    "epr_ravdess": (
        RAVDESS, "--model epr --hparams epr.small --set train.precision=mixed_bfloat16",
        ("epr", "loso", 4, 1440, "VGG*3"), EPR,
    ),
}  # fmt: skip


def main():
    """Make the presets that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=list(PRESETS), choices=list(PRESETS))
    args = parser.parse_args()
    for name in args.only:
        corpus, flags, score, description = PRESETS[name]
        folder = args.workdir / name
        words = [*flags.split(), "--corpus", corpus["corpus"], "--protocol", "all"]
        command = [sys.executable, "-m", "tfser", "train", *words, "--workdir", str(folder)]
        subprocess.run(command, check=True)
        # The command as anybody would give it.
        shown = " ".join(["tfser-train", *words, "--workdir", f"runs/presets/{name}"])
        make_preset(name, folder, corpus, score, description, shown)


def make_preset(name: str, folder: Path, corpus: dict, score, description: str, command) -> None:
    """Write zoo/<model>/<name> from a finished run of --protocol all."""
    from tfser.inference import served_model  # TensorFlow

    run = load_run(folder)
    with record_files() as paths:
        served_model.load_inference_function(run)
    process = environment.read_processes(folder / "environment.json")[0]
    about = {
        "name": name,
        "model": run.model,
        "description": description,
        **corpus,
        "classes": run.classes,
        "score": find_score(run, score),
        "command": command,
        "commit": process["git_commit"],
        "seed": run.seed,
        "hparams": run.hp,
        "scores": run.scores,
    }
    out = Path(zoo_folder()) / run.model / name
    preset.write_preset(out, folder, paths, about)
    print(f"{out}: {preset.read_preset(out).n_bytes / 1e6:.1f} MB")


def find_score(run, score) -> dict | None:
    """Return the recorded score of the same settings on unseen speakers, None for None.

    score: model, protocol, folds, utterances and row of zoo/results.csv.
    """
    if score is None:
        return None
    columns = ("model", "corpus", "protocol", "folds", "n", "row", "mean", "low", "high", "wa",
               "command")  # fmt: skip
    rows = atomic_files.read_csv(Path(zoo_folder()) / "results.csv", columns)
    wanted = score[0], run.corpus, *map(str, score[1:])
    row = next(r for r in rows if tuple(r[c] for c in columns[:6]) == wanted)
    found = {name: float(row[name]) for name in ("wa",)} | {"uar": float(row["mean"])}
    found |= {name: int(row[name]) for name in ("folds", "n")}
    if row["low"]:
        found["interval"] = [float(row["low"]), float(row["high"])]
    return found | {"protocol": row["protocol"], "command": row["command"]}


if __name__ == "__main__":
    main()
