"""Parquet with the columns `text` (string) and `labels` (list of strings or of integers)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from megalabel.data.findings import Findings
from megalabel.data.formats import shards
from megalabel.data.formats.contract import Found, Sink, Source
from megalabel.data.formats.output import texts_with_labels, write_filters, write_label_list
from megalabel.data.records import Record, data_from_records
from megalabel.data.texts import Texts
from megalabel.data.types import CorpusData
from megalabel.data.vocabulary import Vocabulary
from megalabel.errors import DataError

_ROWS = 16384


def find(folder: Path) -> Found | None:
    """The data set in a folder, or None: train.parquet, or shards (see `shards`)."""
    train = folder / "train.parquet"
    if train.is_file():
        test = folder / "test.parquet"
        return Found(folder, train, test if test.is_file() else None)
    return shards.find(folder)


def read(source: Source, findings: Findings) -> CorpusData:
    """Reads train.parquet and, if it exists, test.parquet, or the shards of both; other columns are ignored."""
    return data_from_records(source, records, _vocabulary(source, findings), findings)


def _vocabulary(source: Source, findings: Findings) -> Vocabulary:
    """The vocabulary beside the file or, without one, of the ClassLabel names in its metadata."""
    import pyarrow.parquet as pq

    vocabulary = Vocabulary.beside(source.folder, findings)
    if vocabulary.listed is not None:
        return vocabulary
    first = shards.files_of(source.train)[0]
    with _damaged_file(first):
        names = shards.class_names(pq.read_schema(first).metadata, "labels")
    return Vocabulary(Texts.from_strings(names), first, findings) if names else vocabulary


def records(path: Path, findings: Findings) -> Iterator[Record]:
    """Yields the text and the labels of each row; rows are counted from 1 in each file."""
    for file in shards.files_of(path):
        yield from _records(file, findings)


def _records(path: Path, findings: Findings) -> Iterator[Record]:
    import pyarrow.parquet as pq

    with _damaged_file(path), pq.ParquetFile(path) as file:
        _check_columns(file.schema_arrow, path)
        row = 0
        for batch in file.iter_batches(batch_size=_ROWS, columns=["text", "labels"]):
            texts, labels = batch.column("text").to_pylist(), batch.column("labels").to_pylist()
            for row, (text, ids) in enumerate(zip(texts, labels, strict=True), row + 1):  # noqa: B020
                if text is None or ids is None:
                    error = DataError(
                        f"the {'text' if text is None else 'labels list'} is null",
                        wanted="a text and a list of labels, which may be empty",
                        next_step="fill the null or drop the row",
                        where=f"{path}, row {row}",
                    )
                    findings.error("null", path, error)
                    continue
                yield Record(row, text, ids)


def _check_columns(schema: Any, path: Path) -> None:
    import pyarrow.types as t

    kinds = {name: schema.field(name).type for name in ("text", "labels") if schema.get_field_index(name) >= 0}
    text, labels = kinds.get("text"), kinds.get("labels")
    is_text = text is not None and (t.is_string(text) or t.is_large_string(text))
    is_list = labels is not None and (t.is_list(labels) or t.is_large_list(labels))
    if is_list and labels is not None:
        item = labels.value_type
        is_list = t.is_string(item) or t.is_large_string(item) or t.is_integer(item) or t.is_null(item)
    if not (is_text and is_list):
        found = ", ".join(f"{field.name}: {field.type}" for field in schema)
        raise DataError(
            f"the columns {found[:200]}",
            wanted="a column `text` of strings and a column `labels` of lists of strings or integers",
            next_step="rename or convert the columns",
            where=path,
        )


@contextmanager
def _damaged_file(path: Path) -> Iterator[None]:
    """Turns an error of pyarrow about a damaged file into a DataError."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"cannot be read as Parquet ({str(error).splitlines()[0][:200]})",
            wanted="a complete Parquet file",
            next_step="copy or write it again; a Parquet file must not be gzipped as a whole",
            where=path,
        ) from error


def write(data: CorpusData, sink: Sink) -> None:
    """Writes Parquet with zstd compression; labels.txt keeps the order of the labels."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    write_label_list(data, sink)
    for name, split in (("train", data.train), ("test", data.test)):
        if split is None:
            continue
        rows = texts_with_labels(data, split, sink)
        writer = None
        while part := list(islice(rows, _ROWS)):
            labels = pa.array([ids for _, ids in part], type=_list_type(part, writer, data))
            table = pa.table({"text": pa.array([text for text, _ in part], type=pa.string()), "labels": labels})
            if writer is None:
                writer = pq.ParquetWriter(sink.folder / f"{name}.parquet", table.schema, compression="zstd")
            writer.write_table(table)
        if writer is not None:
            writer.close()
    write_filters(data, sink)


def _list_type(part: list[Any], writer: Any, data: CorpusData) -> Any:
    """The type of the labels column: lists of strings or of integers, as the first part of the file has them."""
    import pyarrow as pa

    if writer is not None:
        return writer.schema.field("labels").type
    labels = [label for _, ids in part for label in ids]
    by_name = any(isinstance(label, str) for label in labels) if labels else _names_differ(data)
    return pa.list_(pa.string() if by_name else pa.int64())


def _names_differ(data: CorpusData) -> bool:
    names = list(data.label_texts)
    return all(names) and len(set(names)) == len(names)
