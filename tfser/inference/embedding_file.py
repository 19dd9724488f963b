"""Files of embeddings: written recording by recording, continued after an interruption.

While it grows, NAME.part/ holds index.csv (file, start, end), values.f32 and a line of done.jsonl
for each finished recording. Its end turns it into a .csv, .npz or .parquet file.
"""

import contextlib
import csv
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np

from tfser.errors import ConflictError, UsageError
from tfser.storage import atomic_files

SUFFIXES = (".csv", ".npz", ".parquet")
ROWS = 4096  # at once, in the memory


def check_suffix(out: Path) -> None:
    """Raise UsageError for a name of no known form, or for Parquet without pyarrow."""
    if out.suffix not in SUFFIXES:
        raise UsageError(f"--out {out}: give a file that ends in {', '.join(SUFFIXES)}")
    if out.suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError:
            raise UsageError(f"--out {out}: Parquet needs pyarrow: pip install pyarrow") from None


class EmbeddingFile:
    """A file of embeddings that grows by recordings; a context, and `n_done` after its start.

    Args:
        out: path of the finished file.
        settings: what decides its content; an interrupted file of other settings is a conflict.
    """

    def __init__(self, out: Path, settings: dict):
        self.out, self.settings = out, settings
        self.part = out.with_name(atomic_files.fit_name(f"{out.name}.part"))
        self.size = None  # of a vector

    def __enter__(self):
        """Open the file, or continue it after its last finished recording."""
        settings = self.part / "settings.json"
        if settings.exists() and atomic_files.read_dict(settings) != self.settings:
            raise ConflictError(
                f"{self.part} is of another command; delete it, or give another --out"
            )
        self.part.mkdir(exist_ok=True)
        atomic_files.write_json(settings, self.settings)
        done = self._read_done()
        self.n_done = len(done)
        self.n_rows = sum(n for n, _ in done)
        self.size = next((size for _, size in done if size), None)
        self._truncate()
        self._index = open(self.part / "index.csv", "a", newline="", encoding="utf-8")
        self._values = open(self.part / "values.f32", "ab")
        self._done = open(self.part / "done.jsonl", "a", encoding="utf-8")
        return self

    def __exit__(self, kind, *_):
        """Close the file; turn it into `out` unless an error ends the context."""
        for file in (self._index, self._values, self._done):
            file.close()
        if kind is None:
            self._finish()

    def write(self, rows) -> None:
        """Write the rows (file, start, end, vector) of a recording, which is finished then."""
        writer, n = csv.writer(self._index, lineterminator="\n"), 0
        for file, start, end, vector in rows:
            vector = np.asarray(vector, "<f4").ravel()
            self.size = self.size or len(vector)
            writer.writerow([file, start, end])
            self._values.write(vector.tobytes())
            n += 1
        for file in (self._index, self._values):
            file.flush()
            os.fsync(file.fileno())
        self._done.write(json.dumps([n, self.size]) + "\n")
        self._done.flush()
        self.n_rows += n

    def _read_done(self) -> list[tuple]:
        path, done = self.part / "done.jsonl", []
        if path.exists():
            for line in path.read_text(encoding="utf-8").split("\n"):
                with contextlib.suppress(ValueError, TypeError):  # the last line of a kill
                    n, size = json.loads(line)
                    done.append((n, size))
        atomic_files.write_text(path, "".join(json.dumps(pair) + "\n" for pair in done))
        return done

    def _truncate(self) -> None:
        """Cut index.csv and values.f32 after the finished recordings."""
        values, index = self.part / "values.f32", self.part / "index.csv"
        values.touch()
        with open(values, "r+b") as file:
            file.truncate(4 * self.n_rows * (self.size or 0))
        rows = []
        if index.exists():
            with open(index, newline="", encoding="utf-8") as file:
                rows = [row for row, _ in zip(csv.reader(file), range(self.n_rows), strict=False)]
        with open(index, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)

    def _finish(self) -> None:
        temporary = self.out.with_name(atomic_files.fit_name(f"{self.out.name}.tmp"))
        write = {".csv": self._write_csv, ".npz": self._write_npz}
        write.get(self.out.suffix, self._write_parquet)(temporary)
        temporary.rename(self.out)
        shutil.rmtree(self.part)

    def _chunks(self):
        """Yield (rows of index.csv, vectors [n, size]) of some thousand rows."""
        size = self.size or 0
        with (
            open(self.part / "index.csv", newline="", encoding="utf-8") as index,
            open(self.part / "values.f32", "rb") as values,
        ):
            reader = csv.reader(index)
            while rows := [row for row, _ in zip(reader, range(ROWS), strict=False)]:
                vectors = np.frombuffer(values.read(4 * size * len(rows)), "<f4")
                yield rows, vectors.reshape(len(rows), size)

    def _write_csv(self, path: Path) -> None:
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["file", "start", "end", *(f"e{i}" for i in range(self.size or 0))])
            for rows, vectors in self._chunks():
                for row, vector in zip(rows, vectors, strict=True):
                    writer.writerow([*row, *(f"{value:.7g}" for value in vector)])

    def _write_npz(self, path: Path) -> None:
        """Write "file", "start", "end" [n] and "embedding" [n, size], which may fill a disk."""
        names, times = [], []
        for rows, _ in self._chunks():
            names += [row[0] for row in rows]
            times += [(float(row[1]), float(row[2])) for row in rows]
        times = np.array(times, np.float64).reshape(-1, 2)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
            small = {"file": np.array(names, str), "start": times[:, 0], "end": times[:, 1]}
            for name, array in small.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, array)
            header = {
                "descr": "<f4", "fortran_order": False, "shape": (self.n_rows, self.size or 0)
            }  # fmt: skip
            with archive.open("embedding.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array_header_1_0(file, header)
                for _, vectors in self._chunks():
                    file.write(vectors.tobytes())

    def _write_parquet(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = [f"e{i}" for i in range(self.size or 0)]
        schema = pa.schema(
            [("file", pa.string()), ("start", pa.float64()), ("end", pa.float64())]
            + [(name, pa.float32()) for name in names]
        )
        with pq.ParquetWriter(path, schema) as writer:
            for rows, vectors in self._chunks():
                files, starts, ends = zip(*rows, strict=True)
                columns = [files, [*map(float, starts)], [*map(float, ends)], *vectors.T]
                writer.write_table(pa.table([pa.array(c) for c in columns], schema=schema))
