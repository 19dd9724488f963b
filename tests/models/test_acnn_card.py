"""ACNN's card: each command of table 1 and of the figures is the paper's, and runs."""

import re
import shlex
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from running import called

from tfser.cli import base, train
from tfser.cli.options import Options, load_hyperparameters
from tfser.storage import atomic_files

CARD = Path(__file__).resolve().parents[2] / "zoo" / "acnn" / "README.md"
ROW = re.compile(r"\| (\w+) \|(?: \d\d\.\d\d \|){3} `tfser-train (.+)` \|")
ROWS = ROW.findall(CARD.read_text(encoding="utf-8"))
NAMES = ["BL", "C", "sT", "Li", "fT"]
RATE, SECONDS = 16000, 0.7
SMALL = [
    "input.seconds=0.6", "features.n_bands=4", "model.n_filters=4", "model.pool_steps=5",
    "train.max_epochs=1", "autoencoder.units=2", "autoencoder.n_bands=6", "autoencoder.n_layers=1",
    "autoencoder.max_epochs=1",
]  # fmt: skip


def test_the_card_has_each_condition_of_both_halves():
    assert [name for name, _ in ROWS] == NAMES * 2
    folders = [options_of(command).workdir for _, command in ROWS]
    assert len(set(folders)) == 10


def options_of(command):
    return base.parse(train.parser(), shlex.split(command), Options)


@pytest.mark.parametrize("number", range(10))
def test_a_command_of_the_card_has_the_settings_of_its_row(number):
    (name, command), on_improv = ROWS[number], number >= 5
    options = options_of(command)
    assert (options.corpus, options.seeds, options.seed) == ("iemocap", 10, 0)
    assert options.test_corpus == ("improv" if on_improv else None)
    hp = load_hyperparameters(options, "iemocap")
    assert hp["model"]["dropout"] == (0.7 if on_improv else 0.8)
    settings = hp["autoencoder"]
    corpora = {"BL": "", "C": "tested", "sT": "tedlium", "Li": "librispeech", "fT": "tedlium"}
    assert settings["corpus"] == corpora[name]
    assert settings["max_epochs"] == (32 if name == "fT" else 64)
    assert settings["n_talks"] == (400 if name == "sT" else 0)
    assert settings["group"] == "train-clean-100"
    # Figure 2 stands beside fT, whose command comes after that of BL.
    figure_2 = (name, on_improv) == ("fT", False)
    assert hp["plots"]["baseline"] == (str(options_of(ROWS[0][1]).workdir) if figure_2 else "")


def write_noise(path, n_seconds=SECONDS, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32(path.name.encode())  # no two recordings are equal
    noise = np.random.default_rng(seed).normal(0, 0.1, round(RATE * n_seconds))
    soundfile.write(path, noise, RATE, **options)


def write_iemocap(root):
    """Five sessions of two speakers, each with all four classes, "exc" among them."""
    for session in range(1, 6):
        lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n"]
        dialog = f"Ses0{session}F_impro01"
        for n, code in enumerate(["ang", "hap", "exc", "sad", "neu"]):
            for speaker in "FM":
                turn = f"{dialog}_{speaker}{n:03}"
                lines.append(f"[{n} - {n + 1}]\t{turn}\t{code}\t[2.0, {1 + n % 5}.0, 3.0]\n")
                folder = root / f"Session{session}" / "sentences" / "wav" / dialog
                write_noise(folder / f"{turn}.wav")
        labels = root / f"Session{session}" / "dialog" / "EmoEvaluation" / f"{dialog}.txt"
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_text("\n".join(lines))


def write_improv(root):
    lines = []
    for session in range(1, 7):
        for gender in "FM":
            for n, letter in enumerate("AHNS"):
                turn = f"S01{letter}-{gender}0{session}-P-{gender}M0{n + 1}"
                lines.append(f"UTD-IMPROV-{turn}.avi; {letter}; A:2.0; V:3.0; D:3.0 ; N:3.0;\n")
                folder = root / f"session{session}" / f"S01{letter}" / "P"
                write_noise(folder / f"MSP-IMPROV-{turn}.wav")
    root.mkdir(exist_ok=True)
    (root / "Evaluation.txt").write_text("\n".join(lines))


def write_tedlium(root):
    """401 talks of a segment, so that sT leaves one out, and one of another part."""
    for part, n_talks in (("train", 401), ("dev", 1)):
        for n in range(n_talks):
            talk = f"Speaker{n:03}_{part}"
            write_noise(root / part / "sph" / f"{talk}.sph", 0.3, format="NIST")
            stm = root / part / "stm" / f"{talk}.stm"
            stm.parent.mkdir(parents=True, exist_ok=True)
            stm.write_text(f"{talk} 1 {talk} 0.0 0.3 <o,f0,male> words\n")


def write_librispeech(root):
    for subset, chapter, n in (("train-clean-100", 198, 5), ("dev-clean", 227, 2)):
        for i in range(n):
            write_noise(root / subset / "19" / str(chapter) / f"19-{chapter}-000{i}.flac")
    (root / "SPEAKERS.TXT").write_text("19 | F | train-clean-100 | 25.19 | Kara Shallenberg\n")


CORPORA = {
    "iemocap": write_iemocap,
    "improv": write_improv,
    "tedlium": write_tedlium,
    "librispeech": write_librispeech,
}


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_the_commands_of_the_card_run(tmp_path, monkeypatch):
    """On synthetic trees in the layouts of the four corpora, with small networks and one seed."""
    for name, write in CORPORA.items():
        monkeypatch.setenv(f"TFSER_{name.upper()}_ROOT", str(tmp_path / name))
        write(tmp_path / name)
    monkeypatch.setenv("TFSER_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    trained_on = {"sT": "400 of the paper's 92,973", "Li": "5 of the paper's 28,539",
                  "fT": "401 of the paper's 92,973"}  # fmt: skip
    pictures = {"BL": {"tsne-network.png"}, "fT": {"confusion-pair.png", "tsne-autoencoder.png"}}
    for number, (name, command) in enumerate(ROWS):
        words = [*shlex.split(command), "--seeds", "1", "--partial"]
        answer = called(train.main, *words, *(w for s in SMALL for w in ("--set", s)))
        assert answer.code == 0, (command, answer.err)
        result = answer.out.splitlines()[-1]
        if number < 5:
            assert "corpus=iemocap protocol=paper speaker_independent=yes" in result
            assert " n=50 folds=5 seeds=1" in result
        else:
            assert "corpus=iemocap-to-improv " in result and " n=48 folds=1 seeds=1" in result
        assert result.endswith(" autoencoder=transductive") is (name == "C")
        folder = options_of(command).workdir
        log = (folder / "log.txt").read_text()
        assert trained_on.get(name, "") in log
        [system] = atomic_files.read_json(folder / "scores.json")["systems"]
        assert system == (name if name == "BL" else f"{name}, 1 epochs")
        if number < 5:
            assert pictures.get(name, set()) <= {path.name for path in folder.iterdir()}
