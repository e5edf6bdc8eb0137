"""Writes the answers for a stream of texts to one file, whose name says the format, completely or not at all."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from megalabel.inference.answer_table import label_columns
from megalabel.inference.predict import Wanted, answers, format_of, write_jsonl, write_npz
from megalabel.inference.record import Row
from megalabel.models.base import Classifier
from megalabel.models.chunked import described
from megalabel.models.scores import score_kind
from megalabel.progress import Progress
from megalabel.storage.files import write_bytes_atomically

SCHEMA = (
    ("row", pa.int64()),
    ("fields", pa.string()),
    ("label_ids", pa.list_(pa.int64())),
    ("labels", pa.list_(pa.string())),
    ("scores", pa.list_(pa.float32())),
)


def write_answers(
    model: Classifier,
    texts: Iterable[Row | str] | Any,
    wanted: Wanted,
    path: str | Path,
    progress: str = "",
    *,
    first_row: int = 0,
) -> int:
    """Writes one answer per text, in their order, and returns the number of texts.

    Args:
        model: the model.
        texts: rows, texts, or a sparse matrix of bags of words.
        wanted: what of the rankings is written.
        path: a file that ends in .jsonl, .jsonl.gz, .npz or .parquet.
        progress: the title of a progress bar; "" for none.
        first_row: the number of the first text among those of several files.

    Raises:
        SettingError: another suffix, or what `Wanted.check` refuses.
        DataError: no texts for npz; and what reading the texts raises.
    """
    kind = format_of(path)
    if kind == "npz":
        return write_npz(model, texts, wanted, path, progress)
    with write_bytes_atomically(path) as raw:
        if kind == "parquet":
            return _write_parquet(model, texts, wanted, raw, progress, first_row)
        packed = gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) if str(path).lower().endswith(".gz") else None
        file = text_stream(packed or raw)
        n = write_jsonl(model, texts, wanted, file, progress)
        file.detach()  # flushes; `raw` stays open for its owner
        if packed:
            packed.close()
        return n


def text_stream(raw: BinaryIO | gzip.GzipFile) -> io.TextIOWrapper:
    """UTF-8 whatever the terminal's encoding; half a surrogate pair becomes JSON's escape for it."""
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", newline="\n")


def _write_parquet(
    model: Classifier, texts: Any, wanted: Wanted, file: BinaryIO, progress: str, first_row: int
) -> int:
    """Writes the columns of `SCHEMA`; the metadata of the schema hold the kind of the scores."""
    facts = {"score_type": "probability" if wanted.probabilities else score_kind(model), **described(model)}
    schema = pa.schema(SCHEMA, {name: json.dumps(fact) for name, fact in facts.items()})
    n, total = 0, getattr(texts, "shape", (None,))[0]
    with Progress(progress, total) as shown, pq.ParquetWriter(file, schema) as writer:
        for fields, ids, scores, _ in answers(model, texts, wanted):
            rows = pa.array(range(first_row + n, first_row + n + len(ids)), pa.int64())
            beside = [json.dumps(more, ensure_ascii=False) for more in fields]
            known = pa.array([text.encode("utf-8", "backslashreplace").decode() for text in beside], pa.string())
            columns = {"row": rows, "fields": known, **label_columns(model.label_texts, ids, scores)}
            writer.write_table(pa.Table.from_pydict(columns, schema))
            n += len(ids)
            shown.advance(len(ids))
    return n
