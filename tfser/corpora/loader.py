"""Loading of a corpus by its name, or of a table by its path."""

import dataclasses
import importlib
import logging
import os
import pkgutil
from collections import Counter
from pathlib import Path

from tfser import corpora
from tfser.corpora.audio_folder import AUDIO_SUFFIXES, check_folder, list_audio_files
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError, UsageError, did_you_mean
from tfser.storage import file_names, s3

TABLE_SUFFIXES = (".csv", ".tsv", ".yaml", ".parquet")  # the last two are of audformat
# Modules beside the readers, and the reader of tables.
NOT_CORPORA = {"audio_folder", "labels", "loader", "table", "utterance"}

LARGE_PART = 0.8  # of the utterances of a corpus: fewer are too few
MOST_FILES = 0.9  # of the audio files of a corpus: fewer that are read are too few
OTHER_TABLES = (".json", ".jsonl", ".ods", ".parquet", ".txt", ".xls", ".xlsm", ".xlsx")

log = logging.getLogger(__name__)


def corpus_names() -> list[str]:
    """Return the names of the corpora with a reader, sorted; a table has a path instead."""
    modules = {module.name for module in pkgutil.iter_modules(corpora.__path__)}
    return sorted(modules - NOT_CORPORA)


def is_table(corpus: str) -> bool:
    """Tell the path of a table from the name of a corpus."""
    return corpus.lower().endswith(TABLE_SUFFIXES)


def load_corpus(
    corpus: str, root: Path | None = None, cache: Path | None = None, max_missing: int = 0
) -> list[Utterance]:
    """Return the utterances of a corpus, sorted by name, or of a table in the table's order.

    Args:
        corpus: one of `corpus_names()`, or the path of a table, see `is_table`.
        root: the folder of the corpus; None: TFSER_<CORPUS>_ROOT. For a table: the folder of
            relative files; None: the folder of the table.
        cache: folder for the toy corpus; None: ~/.cache/tfser.
        max_missing: so many files of a table may be missing.

    Raises:
        UsageError: unknown corpus, or no folder is given.
        DataError: the folder or table is missing or damaged.
    """
    corpus = str(corpus)
    if is_table(corpus):
        table = importlib.import_module("tfser.corpora.table")
        utterances = table.read(
            s3.to_path(corpus).expanduser(),
            None if root is None else check_folder(root),
            max_missing,
        )
        return check_unique_names(corpus, utterances)
    check_name(corpus)
    module = importlib.import_module(f"tfser.corpora.{corpus}")
    if hasattr(module, "make"):  # a corpus that is synthesized, not downloaded
        root = root or os.environ.get(_variable(corpus))
        if not cache or isinstance(cache, s3.S3Path):  # it is written file by file
            cache = Path.home() / ".cache" / "tfser"
        if isinstance(s3.to_path(root or ""), s3.S3Path):
            raise UsageError(f"--data-root {root}: {corpus} is made on a disk; give a folder there")
        root = Path(root or Path(cache) / corpus).expanduser()
        module.make(root)
    root = corpus_root(corpus, root)
    utterances = check_unique_names(corpus, module.read(root))
    check_files(corpus, root, utterances, module.LAYOUT)
    return utterances


def load(corpus: str, root=None, *, table=False):
    """Load a corpus in a notebook: a list of utterances, or a pandas table of their fields.

    Args:
        corpus: a name, such as "emodb", or the path of a table (README, "Corpora").
        root: the folder of the corpus; None: TFSER_<CORPUS>_ROOT, or the folder of the table.
        table: whether to return a pandas.DataFrame, with a column for each field of `Utterance`.

    Raises UsageError for an unknown corpus, without a folder, and for a table where pandas is not
    installed; DataError where the folder or the table is missing or damaged.

    Example:
        >>> import tfser
        >>> utterances = tfser.corpora.load("toy")
        >>> utterances[0].speaker, utterances[0].emotion
        ('f1', 'anger')
        >>> utterances = tfser.corpora.load("toy", table=True)
        >>> utterances.groupby("emotion").size()["anger"]
        np.int64(40)
    """
    utterances = load_corpus(corpus, root and Path(root).expanduser())
    if not table:
        return utterances
    try:
        import pandas  # an extra: audformat brings it
    except ImportError:
        raise UsageError(
            "pandas is not installed: pip install pandas, or leave out table=True"
        ) from None
    return pandas.DataFrame([dataclasses.asdict(u) for u in utterances])


def check_name(corpus: str) -> None:
    """Raise UsageError for a name that no corpus has."""
    if corpus in corpus_names():
        return
    path, names = Path(corpus).expanduser(), ", ".join(corpus_names())
    hint = did_you_mean(path.name, corpus_names())
    if corpus and path.is_dir():
        raise UsageError(
            f"--corpus {corpus} is a folder{hint}; give the name of the corpus ({names}) and the "
            "folder by --data-root, or a table of its files, such as my/table.csv"
        )
    if path.is_file() or path.suffix.lower() in OTHER_TABLES:
        raise UsageError(
            f"--corpus {corpus} is no table in .csv or .tsv; save it as CSV in UTF-8, with columns "
            "file, speaker, emotion"
        )
    raise UsageError(
        f"no corpus {corpus!r}{hint}; there are {names}, and any table given by its path, such as "
        "my/table.csv"
    )


def check_unlabelled(setting: str, corpus: str) -> None:
    """Raise UsageError or DataError where the corpus of a setting is unknown or has no folder.

    setting: its name, such as "vae.corpus"; the corpus trains without labels.
    """
    if corpus not in corpus_names():
        raise UsageError(
            f"{setting}={corpus!r} is not known{did_you_mean(corpus, corpus_names())}; one of: "
            f"tested {' '.join(corpus_names())}"
        )
    if hasattr(importlib.import_module(f"tfser.corpora.{corpus}"), "make"):
        return
    if not os.environ.get(_variable(corpus)):
        raise UsageError(
            f"{setting}={corpus}: set {_variable(corpus)} to its folder (--data-root is the folder "
            f"of --corpus), or take other speech by --set {setting}=..."
        )
    corpus_root(corpus, None)


def corpus_root(corpus: str, root: Path | None) -> Path:
    """Return `root`, or else the folder in TFSER_<CORPUS>_ROOT; raise UsageError for neither."""
    root = root or os.environ.get(_variable(corpus))
    if not root:
        raise UsageError(
            f"{corpus} needs its folder: give --data-root DIR or set {_variable(corpus)}"
        )
    return check_folder(root)


def _variable(corpus: str) -> str:
    return f"TFSER_{corpus.upper()}_ROOT"


def check_files(corpus: str, root: Path, utterances: list[Utterance], layout: str) -> None:
    """Raise DataError if no file was recognized; warn of files that were not."""
    files = list(list_audio_files(root))
    used = {utterance.path for utterance in utterances}
    unused = [path.relative_to(root) for path in files if path not in used]
    if not utterances:
        suffix = next((suffix for suffix in AUDIO_SUFFIXES if suffix in layout), "audio file")
        count = f"none of the {len(files):,} audio files" if files else f"no {suffix}"
        first = f" (the first is {unused[0]})" if unused else ""
        raise DataError(f"{corpus}: {count} under {root}{first}; expected {layout}")
    if unused:
        log.warning(
            "%s: %d of the %d audio files under %s are not read, being copies, unlisted or not "
            "of the corpus; the first is %s",
            *(corpus, len(unused), len(files), root, unused[0]),
        )


def check_complete(corpus: str, root: Path | None, utterances, max_bad: int) -> None:
    """Raise DataError where a class or a large part of a named corpus is missing.

    Missing is a class of the corpus, more than a fifth of its utterances, or, of a corpus with its
    labels in the file names, more than a tenth of the audio files: those with another name, but no
    copies of a file that is read. OMG-Emotion, most of whose links are dead, and corpora without
    emotions are not checked.

    max_bad: the number of missing utterances that is allowed.
    """
    module = (
        importlib.import_module(f"tfser.corpora.{corpus}") if corpus in corpus_names() else None
    )
    if (
        not hasattr(module, "EXPECTED")
        or not hasattr(module, "EMOTIONS")
        or hasattr(module, "make")
    ):
        return
    problems, n = [], len(utterances)
    classes = {emotion for emotion in module.EMOTIONS.values() if emotion}
    if missing := sorted(classes - {u.emotion for u in utterances}):
        problems.append(f"no utterance of {', '.join(missing)}")
    expected = getattr(module, "SMALLEST", module.EXPECTED)
    if n < LARGE_PART * expected:
        problems.append(f"{n:,} of {expected:,} utterances")
    unread = []
    if hasattr(module, "OTHER_FILES"):
        names, paths = {u.name for u in utterances}, {u.path for u in utterances}
        root = corpus_root(corpus, root)
        unread = [
            path.relative_to(root)
            for path in list_audio_files(root)
            if path not in paths
            and path.stem not in names  # else a copy
            and not module.OTHER_FILES.fullmatch(path.stem)
        ]
        if len(unread) > (1 - MOST_FILES) * (n + len(unread)):
            problems.append(
                f"{len(unread):,} of {n + len(unread):,} audio files are not read, the first is "
                f"{unread[0]}, expected {module.LAYOUT}"
            )
    n_missing = max(expected - n, len(unread))
    if problems and n_missing > max_bad:
        raise DataError(
            f"{corpus} is not complete: {'; '.join(problems)}; see the folder, or take it as it is "
            f"by --partial (or --max-bad {n_missing})"
        )


def describe_corpus(corpus: str, utterances: list[Utterance]) -> str:
    """Describe a corpus in a line: "casia: 1,200 of the paper's 7,200 utterances, ..."."""
    n, expected, main_group = len(utterances), None, None
    if corpus in corpus_names():
        module = importlib.import_module(f"tfser.corpora.{corpus}")
        expected = getattr(module, "EXPECTED", None)
        main_group = getattr(module, "PAPER_GROUP", None)
    n_paper = sum(main_group in (None, utterance.group) for utterance in utterances)
    if expected is None:
        size = f"{n:,} utterances"
    else:
        size = "all " if n_paper == expected else f"{n_paper:,} of the paper's "
        size += f"{expected:,}"
        size += " utterances" + (f" and {n - n_paper:,} others" if n > n_paper else "")
    n_speakers = len({utterance.speaker for utterance in utterances})
    emotions = Counter(utterance.emotion for utterance in utterances)
    n_unlabelled = emotions.pop(None, 0)
    counts = [f"{emotion} {emotions[emotion]:,}" for emotion in sorted(emotions)]
    counts += [f"unlabelled {n_unlabelled:,}"] if n_unlabelled else []
    labels = f"{len(emotions)} emotion{'s' * (len(emotions) != 1)}: {', '.join(counts)}"
    return (
        f"{corpus}: {size}, {n_speakers} speaker{'s' * (n_speakers != 1)}, "
        f"{labels if emotions else 'no emotion labels'}"
    )


def escape_names(utterances: list[Utterance]) -> list[Utterance]:
    """Return utterances whose texts from names of files are UTF-8; their paths stay."""
    changed = None
    for number, utterance in enumerate(utterances):
        texts = {key: value for key, value in vars(utterance).items() if isinstance(value, str)}
        wrong = {k: file_names.escape(v) for k, v in texts.items() if not file_names.is_utf8(v)}
        if wrong:
            if changed is None:
                file_names.warn_of_escapes(str(utterance.path))
                changed = list(utterances)
            changed[number] = dataclasses.replace(utterance, **wrong)
    return changed or utterances


def check_unique_names(corpus: str, utterances: list[Utterance]) -> list[Utterance]:
    """Return the utterances, see `escape_names`; raise DataError if two have the same name."""
    utterances = escape_names(utterances)
    paths: dict[str, Path] = {}
    for utterance in utterances:
        if utterance.name in paths:
            raise DataError(
                f"{corpus}: two files are utterance {utterance.name}: {paths[utterance.name]} and "
                f"{utterance.path}; keep one of them or give --data-root the right folder"
            )
        paths[utterance.name] = utterance.path
    return utterances
