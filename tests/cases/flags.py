"""Flags and names: what was meant; named corpora of which a part is missing."""

import os

from cases.case import Case
from cases.corpus import train_on, write_corpus
from cases.protocols import list_rows

from tfser.corpora import casia, emodb, ravdess, savee


def given(*words):
    """Return the arguments of a case without input."""
    return lambda folder: list(words)


def touch(folder, names):
    """Make empty files; reading a corpus opens none."""
    for parent in {(folder / name).parent for name in names}:
        parent.mkdir(parents=True, exist_ok=True)
    for name in names:
        os.close(os.open(folder / name, os.O_CREAT))


def on_corpus(corpus, names, *flags):
    """Return the arguments of tfser-train on a corpus of these empty files.

    The command ends once the corpus is read: none of them has ratings.
    """

    def arguments(folder):
        touch(folder / corpus, names)
        return ["--model", "svm", "--corpus", corpus, "--data-root", folder / corpus, "--workdir",
                folder / "run", "--target", "valence", *flags]  # fmt: skip

    return arguments


CHECKED = "no utterance has a rating of valence"  # the corpus was taken


def name_casia(words, *, speakers=casia.GENDERS, n_takes=50):
    """List the files of a free copy of CASIA, whose folders have these names of the emotions."""
    return [
        f"{speaker}/{word}/{number}.wav"
        for speaker in speakers
        for word in words
        for number in range(201, 201 + n_takes)
    ]


def name_emodb(letters="WLEAFNT", *, n_speakers=10, capitals=False):
    """List 560 files with names of Emo-DB, or fewer."""
    names = [
        f"wav/{speaker}{text}{letter}a.wav"
        for speaker in sorted(emodb.GENDERS)[:n_speakers]
        for text in ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03")
        for letter in letters
    ]
    return [name.upper().replace("WAV/", "wav/") for name in names] if capitals else names


def name_ravdess(emotions=ravdess.EMOTIONS, *, n_actors=24, start="03-01"):
    """List the files of RAVDESS."""
    return [
        f"Actor_{actor:02}/{start}-{emotion}-{intensity}-{statement}-{take}-{actor:02}.wav"
        for actor in range(1, n_actors + 1)
        for emotion in emotions
        for intensity in (("01",) if emotion == "01" else ("01", "02"))
        for statement in ("01", "02")
        for take in ("01", "02")
    ]


def name_savee(letters=savee.EMOTIONS, *, speakers=savee.SPEAKERS):
    """List the files of SAVEE."""
    return [
        f"AudioData/{speaker}/{letter}{n:02}.wav"
        for speaker in speakers
        for letter in letters
        for n in range(1, 31 if letter == "n" else 16)
    ]


KNOWN = ("angry", "fear", "happy", "neutral", "sad", "surprise")
OTHER = ("Anger", "fearful", "Happiness", "normal", "sadness", "surprised")
CHINESE = ("生气", "恐惧", "高兴", "中性", "悲伤", "惊讶")
UNKNOWN = ("angry", "f", "h", "neutral", "s", "su")


def taken(corpus, names, *flags, title):
    """Return a case in which the corpus is taken."""
    return Case(title, "train", on_corpus(corpus, names, *flags), 3, CHECKED)


def incomplete(corpus, names, message, *flags, title):
    """Return a case in which the corpus is refused."""
    message = f"{corpus} is not complete: {message}"
    return Case(title, "train", on_corpus(corpus, names, *flags), 3, message)


CORPORA = [
    taken("casia", [*name_casia(OTHER, speakers=["wangzhe", "zhaoquanyin"]),
                    *name_casia(CHINESE, speakers=["liuchanhg"]),
                    *name_casia(KNOWN, speakers=["zhaozuoxiang"])], title="CASIA in other words"),
    taken("casia", [os.fsdecode(name.encode("gb18030")) for name in name_casia(CHINESE)],
          title="CASIA in Chinese, unzipped without the encoding"),
    incomplete("casia", name_casia(UNKNOWN), "no utterance of fear, happiness, sadness, surprise; "
               "400 of 1,200 utterances; 800 of 1,200 audio files are not read, the first is "
               "liuchanhg/f/201.wav, expected .*; see the folder, or take it as it is by --partial "
               ".or --max-bad 800.", title="CASIA in unknown words"),
    taken("casia", name_casia(UNKNOWN), "--max-bad", "800",
          title="CASIA in unknown words, which --max-bad allows"),
    incomplete("casia", [*name_casia(KNOWN), *name_casia(KNOWN, speakers=["liwei"])],
               "300 of 1,500 audio files are not read, the first is liwei/angry/201.wav",
               title="CASIA with an unknown speaker"),
    incomplete("casia", name_casia(KNOWN, speakers=["wangzhe"]), "300 of 1,200 utterances",
               title="CASIA, one speaker of four"),
    taken("casia", name_casia(KNOWN, speakers=["wangzhe"]), "--partial",
          title="CASIA, one speaker of four, which --partial allows"),
    taken("emodb", name_emodb(capitals=True), title="Emo-DB in capitals"),
    incomplete("emodb", name_emodb("WFNT"), "no utterance of boredom, disgust, fear; 320 of 535",
               title="Emo-DB, four classes"),
    incomplete("emodb", name_emodb(n_speakers=7), "392 of 535 utterances",
               title="Emo-DB, seven speakers"),
    taken("ravdess", [*name_ravdess(), *name_ravdess(start="03-02", n_actors=8)],
          title="RAVDESS with songs"),
    incomplete("ravdess", name_ravdess([e for e in ravdess.EMOTIONS if e != "08"]),
               "no utterance of surprise", title="RAVDESS without surprise"),
    incomplete("savee", name_savee(["a", "n"]), "no utterance of disgust, fear",
               title="SAVEE, two classes"),
]  # fmt: skip


def meant(name, words, message, *, command="train", exit_code=2):
    """Return a case of a flag or name that is not known."""
    return Case(f"{name}: {' '.join(words)}", command, given(*words), exit_code, message)


TOY = ("--model", "epr", "--corpus", "toy")
FLAGS = [
    meant("flag", (*TOY, "--epochs", "5"), r"--epochs \(did you mean '--set train.max_epochs=N'"),
    meant("flag", (*TOY, "--lr=1e-3"), r"--lr \(did you mean '--set train.learning_rate=X'"),
    meant("flag", (*TOY, "--batch_size", "8"), "did you mean '--set train.batch_size=N'"),
    meant("flag", (*TOY, "--gpus", "2"), "did you mean '--strategy'"),
    meant("flag", (*TOY, "--cuda"), "did you mean '--strategy'"),
    meant("flag", (*TOY, "--output", "x"), "did you mean '--workdir'"),
    meant("flag", ("--model", "epr", "--dataset", "toy"), r"--dataset \(did you mean '--corpus'"),
    meant("flag", ("--run", "x", "--output", "y"), "did you mean '--out'", command="export"),
    meant("flag", ("--run", "x", "--epochs", "5"), "unknown argument --epochs", command="predict"),
    meant("flag", ("--modle", "x"), "did you mean '--model'", command="extract"),
    meant("model", ("--model", "EPR", "--corpus", "toy"), r"'EPR' \(did you mean 'epr'\?\)"),
    meant("corpus", ("--model", "epr", "--corpus", "SAVEE"), r"did you mean 'savee'\?"),
    meant("corpus", ("--model", "epr", "--corpus", "emo-db"), r"did you mean 'emodb'\?"),
    meant("corpus", ("--model", "epr", "--corpus", "IEMO_CAP"), r"did you mean 'iemocap'\?"),
    meant("corpus", ("--model", "epr", "--corpus", "my/table.xlsx"), "no table in .csv or .tsv; "
          "save it as CSV"),
    meant("key", (*TOY, "--set", "model.width=1"), r"did you mean 'model.width_multiplier'\?"),
    meant("--init", ("--model", "svm", "--corpus", "toy", "--init", "epr_emodb"),
          "--init is of aae, acnn, epr; svm: .* --set features.from=NAME"),
    meant("--init", ("--model", "encoder", "--corpus", "toy", "--init", "epr_emodb"),
          "--model svm --set features.from=NAME learns from one"),
    meant("--init", ("--model", "began", "--corpus", "toy", "--init", "x"), "began.weights takes"),
    meant("--init", ("--model", "auxvae", "--corpus", "toy", "--init", "x"), "vae.weights takes"),
    meant("freeze", ("--model", "began", "--corpus", "toy", "--set", 'train.freeze=["a"]'),
          "train.freeze is of aae, acnn, epr"),
    meant("freeze", (*TOY, "--set", 'train.freeze=["conv*"]'), "keeps layers of train.init"),
    meant("--init", (*TOY, "--init", "epr_emdb"), r"no preset 'epr_emdb' \(did you mean 'epr_em"),
    meant("--init", (*TOY, "--init", "aae_emodb"), "is of aae; give a run or preset of epr"),
    meant("--init", (*TOY, "--init", "epr_emodb"),
          "has model.width_multiplier=0.125, this run 0.0625: .*--set model.width_multiplier=0"),
    meant("--init", (*TOY, "--init", "epr_emodb"), "give --set model.width", command="search"),
    meant("features.from", ("--model", "svm", "--corpus", "toy", "--set", "features.from=x/y"),
          "x/y is no run directory"),
    meant("features.from", ("--model", "svm", "--corpus", "toy", "--set", "features.layer=z"),
          "features.layer is of features.from, which is not set"),
    meant("features.from", ("--model", "svm", "--corpus", "toy", "--set", "features.layer=z"),
          "features.layer is of features.from", command="extract"),
    meant("features.from", ("--model", "svm", "--corpus", "toy", "--set",
                            "features.from=svm_emodb"), "features.from=svm_emodb is an SVM"),
    meant("target", ("--model", "aae", "--corpus", "toy", "--target", "arousal"),
          r"did you mean 'activation'\?"),
    meant("target", ("--model", "auxvae", "--corpus", "toy", "--target", "Arousal"),
          r"did you mean 'ratings'\?"),
    meant("overlay", (*TOY, "--hparams", "EPR-small"), r"did you mean 'epr.small'\?"),
    meant("--run", ("--run", "/nowhere", "x.wav"), "no folder /nowhere", command="predict"),
    meant("--run", ("--run", "/nowhere", "--out", "x"), "/nowhere is no run directory",
          command="export"),
    meant("--export", ("--export", "/nowhere"), "no folder /nowhere", command="serve"),
    Case("a folder as --corpus", "train",
         lambda folder: [touch(folder / "EmoDB", ["a.wav"])] and [
             "--model", "epr", "--corpus", folder / "EmoDB"], 2,
         r"EmoDB is a folder \(did you mean 'emodb'\?\); .*--data-root"),
    Case("a recording as --corpus", "train",
         lambda folder: ["--model", "epr", "--corpus",
                         write_corpus(folder, list_rows()).with_name("a-anger-0.wav")], 2,
         "no table in .csv or .tsv"),
    Case("adjectives in labels.keep", "train",
         train_on(list_rows(), "--set", 'labels.keep=["angry", "sad"]'), 2,
         r"no 'angry' in this corpus \(did you mean 'anger'\?\)"),
]  # fmt: skip


def predict_beside(make):
    """Return the arguments of tfser-predict with --out, beside what make(path of .part) writes."""

    def arguments(folder):
        write_corpus(folder, list_rows(speakers="a", n_takes=1))
        (folder / "thesis").write_text("years of work")
        make(folder / "out.csv.part")
        return ["--run", folder / "made_before/runs/epr", folder / "a-anger-0.wav", "--out",
                folder / "out.csv"]  # fmt: skip

    return arguments


def thesis_is_kept(_, folder):
    assert (folder / "thesis").read_text() == "years of work"


LAYERS = [  # are known after the import of TensorFlow
    meant("features.layer", ("--model", "svm", "--corpus", "toy", "--set",
                             "features.from=acnn_ravdess", "--set", "features.layer=hiden"),
          r"layer hiden: acnn has attention, hidden \(did you mean 'hidden'\?\)"),
]  # fmt: skip
OUTPUTS = [
    meant("hop", ("--run", "x", "x.wav", "--window", "1", "--hop", "1e-9"),
          "a hop of 1e-09 s: give 0.001 or more", command="predict"),
    Case("unfinished output is a link", "predict",
         predict_beside(lambda path: path.symlink_to("thesis")), 4,
         "out.csv.part is a symbolic link; delete it", thesis_is_kept),
    Case("unfinished output is another file", "predict",
         predict_beside(lambda path: path.write_text("notes")), 4,
         "out.csv.part holds something else; give another --out",
         lambda _, folder: (folder / "out.csv.part").read_text().index("notes")),
    Case("unfinished output of an earlier command", "predict",
         predict_beside(lambda path: path.write_text("file,start,end,predicted,confi")), 0),
]  # fmt: skip
CASES = [*FLAGS, *CORPORA, *LAYERS, *OUTPUTS]
