"""`Predictions`: rankings with the names of their labels, which convert to tables, JSON lines and files."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
import scipy.sparse as sp

from megalabel.errors import MissingExtra, SettingError
from megalabel.storage.files import write_bytes_atomically
from megalabel.types import TopK

FORMATS = {
    "jsonl": (".jsonl", ".ndjson"),
    "csv": (".csv",),
    "tsv": (".tsv", ".tab"),
    "annif": (".annif",),
    "npz": (".npz",),
    "parquet": (".parquet",),
}  # by suffix; those of lines of text also with .gz
TEXT_FORMATS = ("jsonl", "csv", "tsv", "annif")
COLUMNS = ("text", "id", "label", "score")  # of CSV and pandas: the number of the text, and the label


@dataclass(frozen=True, eq=False, repr=False)
class Predictions(TopK):
    """The best labels of each text with their names: a sequence of lists of pairs (name, score).

    Attributes:
        names: the names of all L labels.
        score_type: what the scores are; see `megalabel.models.scores`.
        fields: for each text, further fields that are passed on to JSON lines and Parquet; () for none.
    """

    names: Sequence[str] = ()
    score_type: str = ""
    fields: Sequence[dict[str, Any]] = ()

    def label(self, i: int) -> str:
        """The name of a label."""
        return self.names[i]

    def __getitem__(self, at: int | slice) -> Any:
        found = super().__getitem__(at)
        return replace(found, fields=self.fields[at]) if isinstance(at, slice) and self.fields else found

    def __repr__(self) -> str:
        return super().__repr__() + (f"\n  scores: {self.score_type}" if self.score_type else "")

    def to_list(self) -> list[list[tuple[str, float]]]:
        """For each text, its labels as pairs (name, score), best first."""
        return list(self)

    def to_csr(self) -> sp.csr_matrix:
        """The scores as a scipy matrix (texts, L) float32."""
        return self.csr(len(self.names))

    def to_pandas(self) -> Any:
        """A table with a row per predicted label: text (from 0), id, label, score; MissingExtra without pandas."""
        try:
            import pandas  # type: ignore[import-untyped,unused-ignore]
        except ImportError as error:
            raise MissingExtra(
                "pandas is not installed",
                wanted="pandas for a table",
                next_step="pip install pandas, or use records()",
            ) from error
        ids, scores = self.numpy()
        rows, columns = np.nonzero(ids >= 0)
        found = ids[rows, columns]
        names = [self.names[i] for i in found.tolist()]
        values = (rows, found, names, scores[rows, columns])
        return pandas.DataFrame(dict(zip(COLUMNS, values, strict=True)))

    def records(self) -> Iterator[dict[str, Any]]:
        """For each text its fields, `score_type`, and `labels` with id, label and score, as JSON can hold it."""
        ids, scores = self.numpy()
        more = self.fields or [{}] * len(ids)
        for fields, row, values in zip(more, ids.tolist(), scores.tolist(), strict=True):
            labels = [
                {"id": i, "label": self.names[i], "score": float(f"{s:.6g}")}
                for i, s in zip(row, values, strict=True)
                if i >= 0
            ]
            yield {**fields, "score_type": self.score_type, "labels": labels}

    def write(self, file: IO[str], kind: str = "jsonl", *, first: int = 0) -> None:
        """Writes lines of text: JSON lines, the rows of CSV or TSV, or Annif's `label<TAB>score`.

        Annif's lines of two texts are separated by an empty line. A table begins with a header if `first` is 0.

        Args:
            file: where to.
            kind: "jsonl", "csv", "tsv" or "annif".
            first: the number of the first text, in a file that is written block by block.
        """
        if kind == "jsonl":
            file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in self.records())
        elif kind == "annif":
            for i, row in enumerate(self, first):
                file.write("\n" if i else "")
                file.writelines(f"{' '.join(name.split())}\t{score:.6g}\n" for name, score in row)
        else:
            table = csv.writer(file, delimiter="," if kind == "csv" else "\t", lineterminator="\n")
            if first == 0:
                table.writerow(COLUMNS)
            ids, scores = self.numpy()
            for i, (row, values) in enumerate(zip(ids.tolist(), scores.tolist(), strict=True), first):
                for label, score in zip(row, values, strict=True):
                    if label >= 0:
                        table.writerow((i, label, self.names[label], f"{score:.6g}"))

    def save(self, path: str | Path) -> None:
        """Writes a file in the format of its suffix; see `format_of`."""
        save([self], path)


def format_of(path: str | Path | None) -> str:
    """The format of a file of predictions by its suffix; JSON lines for None and "-", the standard output.

    Raises:
        SettingError: another suffix.
    """
    name = "-" if path is None else str(path).lower()
    if name == "-":
        return "jsonl"
    for kind, suffixes in FORMATS.items():
        if name.endswith(suffixes) or (kind in TEXT_FORMATS and name.endswith(tuple(f"{s}.gz" for s in suffixes))):
            return kind
    wanted = ", ".join(suffixes[0] for suffixes in FORMATS.values())
    raise SettingError(f"the name {str(path)!r}", wanted=f"a name that ends in {wanted}", where="out")


def save(
    blocks: Iterable[Predictions], path: str | Path, *, first: int = 0, about: Mapping[str, str] | None = None
) -> int:
    """Writes blocks of predictions of consecutive texts into one file, whole or not at all; returns the texts.

    Only npz files are put together in memory, (N, k) ids and scores.

    Args:
        blocks: the predictions.
        path: a file in the format of its suffix; see `format_of`.
        first: the number of the first text among those of several files.
        about: further facts, for the arrays of npz files and the metadata of Parquet files.
    """
    kind, n = format_of(path), first
    with write_bytes_atomically(path) as raw:
        if kind == "npz":
            return _write_npz(blocks, raw, about or {})
        if kind == "parquet":
            return _write_parquet(blocks, raw, first, about or {})
        packed = gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) if str(path).lower().endswith(".gz") else None
        file = text_stream(packed or raw)
        for block in blocks:
            block.write(file, kind, first=n)
            n += len(block)
        file.detach()  # flushes; `raw` stays open for its owner
        if packed:
            packed.close()
    return n - first


def text_stream(raw: BinaryIO | gzip.GzipFile) -> io.TextIOWrapper:
    """UTF-8 whatever the terminal's encoding; half a surrogate pair becomes JSON's escape for it."""
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", newline="\n")


def _write_npz(blocks: Iterable[Predictions], raw: IO[bytes], about: Mapping[str, str]) -> int:
    tables, kind = [], ""
    for block in blocks:
        tables.append(block.numpy())
        kind = block.score_type
    width = max((ids.shape[1] for ids, _ in tables), default=1)
    parts = [
        (np.pad(ids, room, constant_values=-1), np.pad(scores, room, constant_values=-np.inf))
        for ids, scores in tables
        for room in [((0, 0), (0, width - ids.shape[1]))]
    ]
    ids, scores = (np.concatenate(part) for part in zip(*parts, strict=True)) if parts else _nothing()
    facts = {name: np.array(fact) for name, fact in {"score_type": kind, **about}.items()}
    np.savez(raw, labels=ids, scores=scores, **facts)  # type: ignore[arg-type]  # its stub takes them for a flag
    return len(ids)


def _nothing() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((0, 1), np.int64), np.zeros((0, 1), np.float32)


def _write_parquet(blocks: Iterable[Predictions], raw: IO[bytes], first: int, about: Mapping[str, str]) -> int:
    """A row per text: its number, its other fields as JSON, and its labels as lists; `about` as metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from megalabel.models.prediction_table import label_columns, storable

    lists = [("label_ids", pa.int64()), ("labels", pa.string()), ("scores", pa.float32())]
    columns = [("row", pa.int64()), ("fields", pa.string()), *((name, pa.list_(kind)) for name, kind in lists)]
    with contextlib.ExitStack() as stack:
        n, writer = first, None
        for block in blocks:
            if writer is None:
                facts = {"score_type": block.score_type, **about}
                schema = pa.schema(columns, {name: json.dumps(fact) for name, fact in facts.items()})
                writer = stack.enter_context(pq.ParquetWriter(raw, schema))
            beside = [json.dumps(more, ensure_ascii=False) for more in block.fields or [{}] * len(block)]
            table = {
                "row": pa.array(range(n, n + len(block)), pa.int64()),
                "fields": pa.array([storable(text) for text in beside], pa.string()),
                **label_columns(block.names, *block.numpy()),
            }
            writer.write_table(pa.Table.from_pydict(table, schema))
            n += len(block)
        if writer is None:
            pq.write_table(pa.schema(columns).empty_table(), raw)
    return n - first
