"""Parquet with the columns `text` (string) and `labels` (list of strings or of integers).

Where there is no column `labels`, a column `label` is read, which may hold a single name or id per text; without
that too, two or more columns of zeros and ones are one label each, called by their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from megalabel.data.findings import Findings
from megalabel.data.formats import shards
from megalabel.data.formats.contract import Found, Sink, Source
from megalabel.data.formats.flag_columns import flag_vocabulary
from megalabel.data.formats.output import (
    fields_of,
    more_fields,
    texts_with_labels,
    write_filters,
    write_label_list,
)
from megalabel.data.formats.parquet_flags import columns_of_flags, fields_beside, flag_records
from megalabel.data.formats.shards import damaged_file
from megalabel.data.formats.table_header import LABEL, note_label
from megalabel.data.read_options import ReadOptions
from megalabel.data.records import Record, data_from_records
from megalabel.data.separators import split_cell
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
    flags = columns_of_flags(source.train, findings)
    vocabulary = flag_vocabulary(flags, _vocabulary(source, findings), source.train, findings)
    return data_from_records(source, partial(records, flags=flags), vocabulary, findings)


def _vocabulary(source: Source, findings: Findings) -> Vocabulary:
    """The vocabulary beside the file or, without one, of the ClassLabel names in its metadata."""
    import pyarrow.parquet as pq

    vocabulary = Vocabulary.beside(source.folder, findings)
    if vocabulary.listed is not None:
        return vocabulary
    first = shards.files_of(source.train)[0]
    with damaged_file(first):
        schema = pq.read_schema(first)
        names = shards.class_names(schema.metadata, _label_column(schema, findings.options))
    return Vocabulary(Texts.from_strings(names), first, findings) if names else vocabulary


def records(path: Path, findings: Findings, flags: Sequence[str] = ()) -> Iterator[Record]:
    """Yields the text and the labels of each row; rows are counted from 1 in each file.

    The labels are those of the columns `flags` that have a one, if such are given.
    """
    for file in shards.files_of(path):
        yield from flag_records(file, findings, flags) if flags else _records(file, findings)


def _records(path: Path, findings: Findings) -> Iterator[Record]:
    import pyarrow.parquet as pq

    with damaged_file(path), pq.ParquetFile(path) as file:
        options = findings.options
        column = _label_column(file.schema_arrow, options)
        _check_columns(file.schema_arrow, path, options, column)
        if column != options.labels:
            note_label(path, findings)
        row = 0
        more = fields_beside(file.schema_arrow.names, options.row_fields())
        names = [options.text, column, *(name for name in more if name is not None)]
        for batch in file.iter_batches(batch_size=_ROWS, columns=names):
            texts, labels = batch.column(options.text).to_pylist(), batch.column(column).to_pylist()
            values = [[None] * len(texts) if name is None else batch.column(name).to_pylist() for name in more]
            rows = zip(texts, labels, *values, strict=True)
            for row, (text, ids, *beside) in enumerate(rows, row + 1):  # noqa: B020
                if text is None or ids is None:
                    error = DataError(
                        f"the {'text' if text is None else 'labels list'} is null",
                        wanted="a text and a list of labels, which may be empty",
                        next_step="fill the null or drop the row",
                        where=f"{path}, row {row}",
                    )
                    findings.error("null", path, error)
                    continue
                if isinstance(ids, str) and options.label_separator is not None:
                    ids = split_cell(ids.strip(), options.label_separator) if ids.strip() else []
                elif isinstance(ids, str | int):
                    ids = [ids] if ids != "" else []
                yield Record(row, text, ids, *beside)


def _label_column(schema: Any, options: ReadOptions) -> str:
    """The name of the column of labels: `label` where there is no `labels` and none is named."""
    single = options.labels_field is None and options.labels not in schema.names and LABEL in schema.names
    return LABEL if single else options.labels


def _check_columns(schema: Any, path: Path, options: ReadOptions, column: str) -> None:
    """Raises DataError unless the columns hold texts and lists of labels, in any of Arrow's types for them.

    Single integers are labels in a column `label` or one that is named, single strings in `label` alone.
    """
    import pyarrow.types as t

    names = (options.text, column)
    types = [schema.field(name).type if schema.get_field_index(name) >= 0 else None for name in names]
    kind = _plain(types[1])
    single = kind is not None and t.is_integer(kind) and (column == LABEL or options.labels_field is not None)
    names_alone = _is_text(kind) and (column == LABEL or options.label_separator is not None)
    if _is_text(types[0]) and (_is_labels(types[1]) or single or names_alone):
        return
    found = ", ".join(f"{field.name}: {field.type}" for field in schema)
    names = (options.text, options.labels)
    step = "name the columns as text_field and labels_field (--text-field, --labels-field), or convert them"
    if _is_text(types[0]) and _is_text(types[1]):
        step = "say what separates the labels of a text: label_separator (--label-separator)"
    elif types[1] is not None and "map<" in str(types[1]):
        step = "labels have no scores: keep the keys whose score is high enough"
    raise DataError(
        f"the columns {found[:200]}",
        wanted=f"a column `{names[0]}` of strings and a column `{names[1]}` of lists of strings or integers",
        next_step=step,
        where=path,
    )


def _plain(kind: Any) -> Any:
    """The type of the values of a column whose values are numbered (categories, in pandas)."""
    import pyarrow.types as t

    return kind.value_type if kind is not None and t.is_dictionary(kind) else kind


def _is_text(kind: Any) -> bool:
    kind = _plain(kind)
    return str(kind) in ("string", "large_string", "string_view")


def _is_labels(kind: Any) -> bool:
    """Whether a type is lists of strings, integers or flags; zeros and ones may be of any type of numbers."""
    import pyarrow.types as t

    kind = _plain(kind)
    if kind is None or not str(kind).startswith(("list", "large_list", "fixed_size_list")):
        return False
    item = _plain(kind.value_type)
    return _is_text(item) or t.is_integer(item) or t.is_null(item) or t.is_boolean(item) or t.is_floating(item)


def write(data: CorpusData, sink: Sink) -> None:
    """Writes Parquet with zstd compression; labels.txt keeps the order of the labels."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    write_label_list(data, sink)
    for name, split in (("train", data.train), ("test", data.test)):
        if split is None:
            continue
        rows, rest, fields = texts_with_labels(data, split, sink), more_fields(split), fields_of(split)
        writer = None
        while part := list(islice(rows, _ROWS)):
            labels = pa.array([ids for _, ids in part], type=_list_type(part, writer, data))
            columns = {"text": pa.array([text for text, _ in part], type=pa.string()), "labels": labels}
            more = list(islice(rest, len(part)))
            table = pa.table(columns | {name: pa.array([each[name] for each in more]) for name in fields})
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
