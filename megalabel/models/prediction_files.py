"""Files of predictions, written whole or not at all: JSON lines, CSV, TSV, Annif's lines, npz and Parquet."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

from megalabel.errors import SettingError
from megalabel.models.predictions import Predictions
from megalabel.storage.files import write_bytes_atomically

FORMATS = {
    "jsonl": (".jsonl", ".ndjson"),
    "csv": (".csv",),
    "tsv": (".tsv", ".tab"),
    "annif": (".annif",),
    "npz": (".npz",),
    "parquet": (".parquet",),
}  # by suffix; those of lines of text also with .gz
TEXT_FORMATS = ("jsonl", "csv", "tsv", "annif")


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

    def columns(further: Iterable[str]) -> list[tuple[str, Any]]:
        lists = {"label_ids": pa.int64(), "labels": pa.string(), "scores": pa.float32()}
        lists |= dict.fromkeys(further, pa.string())
        return [("row", pa.int64()), ("fields", pa.string()), *((key, pa.list_(of)) for key, of in lists.items())]

    with contextlib.ExitStack() as stack:
        n, writer = first, None
        for block in blocks:
            further = {f"{key}s": texts for key, texts in block.identifiers.items()}
            if writer is None:
                facts = {"score_type": block.score_type, **about}
                schema = pa.schema(columns(further), {name: json.dumps(fact) for name, fact in facts.items()})
                writer = stack.enter_context(pq.ParquetWriter(raw, schema))
            beside = [json.dumps(more, ensure_ascii=False) for more in block.fields or [{}] * len(block)]
            table = {
                "row": pa.array(range(n, n + len(block)), pa.int64()),
                "fields": pa.array([storable(text) for text in beside], pa.string()),
                **label_columns(block.names, *block.numpy(), more=further),
            }
            writer.write_table(pa.Table.from_pydict(table, schema))
            n += len(block)
        if writer is None:
            pq.write_table(pa.schema(columns(())).empty_table(), raw)
    return n - first
