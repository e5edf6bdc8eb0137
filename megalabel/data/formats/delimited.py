"""CSV with the columns `text` and `labels`, quoted as spreadsheets do; other columns are ignored.

A cell of labels is a JSON list, `["cat", "tiger"]` or `[3, 17]`, or names separated by `|`, `cat|tiger`. An empty
cell means no labels. All cells of a file have the same one of these forms; ids are always a JSON list.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Sink, Source
from megalabel.data.formats.output import open_bytes, texts_with_labels, write_filters, write_label_list
from megalabel.data.records import Record, data_from_records
from megalabel.data.text_lines import empty_file, lines
from megalabel.data.types import CorpusData
from megalabel.data.vocabulary import Vocabulary
from megalabel.errors import DataError, line_of


def read(source: Source, findings: Findings) -> CorpusData:
    """Reads train.csv and, if it exists, test.csv."""
    return data_from_records(source, records, Vocabulary.beside(source.folder, findings), findings)


def records(path: Path, findings: Findings) -> Iterator[Record]:
    """Yields the text and the labels of each row, with the line on which the row begins."""
    with _no_length_limit():
        table = csv.reader((line for _, line in lines(path, findings, keep_ends=True)), strict=True)
        header = _next(table, path, 1)
        if header is None:
            raise empty_file(path)
        at_text, at_labels = _columns(header, path)
        lists: bool | None = None
        while True:
            line = table.line_num + 1
            row = _next(table, path, line)
            if row is None:
                return
            if not row:
                findings.note("blank-line", path, "blank line, ignored", line=line)
                continue
            where = line_of(path, line)
            try:
                if len(row) != len(header):
                    raise DataError(
                        f"{len(row)} cells, but the header has {len(header)}",
                        wanted="as many cells as the header",
                        next_step="put quotes around cells that hold commas or line breaks",
                        where=where,
                    )
                cell = row[at_labels].strip()
                if cell:
                    lists = cell.startswith("[") if lists is None else lists
                yield Record(line, row[at_text], _labels(cell, bool(lists), where))
            except DataError as error:
                findings.error("row", path, error)


def _next(table: Iterator[list[str]], path: Path, line: int) -> list[str] | None:
    try:
        return next(table, None)
    except csv.Error as error:
        raise DataError(
            f"does not parse as CSV ({error})",
            wanted='cells separated by commas, and quotes within a quoted cell doubled ("")',
            next_step="look for an unmatched quote at or after this line",
            where=line_of(path, line),
        ) from error


def _columns(header: list[str], path: Path) -> tuple[int, int]:
    if header.count("text") == 1 and header.count("labels") == 1:
        return header.index("text"), header.index("labels")
    raise DataError(
        f"the columns {', '.join(repr(name) for name in header)[:200]}",
        wanted="one column `text` and one column `labels`, separated by commas",
        next_step="name the columns in the first line, and separate them by commas, not by semicolons or tabs",
        where=line_of(path, 1),
    )


def _labels(cell: str, lists: bool, where: str) -> Sequence[object]:
    if not cell:
        return []
    if not lists:
        if cell.startswith("["):
            raise DataError(
                f"the labels cell {cell[:60]!r} looks like a JSON list, but earlier cells are names with `|`",
                wanted="the same form in the whole file",
                next_step="write all labels cells as JSON lists",
                where=where,
            )
        return [name.strip() for name in cell.split("|")]
    try:
        value = json.loads(cell)
    except (json.JSONDecodeError, RecursionError):
        value = None
    if isinstance(value, list):
        return value
    raise DataError(
        f"the labels cell {cell[:60]!r} is not a JSON list",
        wanted='a list as in ["cat", "tiger"] or [3, 17], since this file\'s first labels cell began with [',
        next_step="write names in double quotes",
        where=where,
    )


@contextmanager
def _no_length_limit() -> Iterator[None]:
    """Lifts the limit of the csv module of 131,072 characters per cell, and restores it."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def write(data: CorpusData, sink: Sink) -> None:
    """Writes CSV with every cell quoted and the labels as JSON lists; labels.txt keeps the order of the labels."""
    write_label_list(data, sink)
    for name, split in (("train", data.train), ("test", data.test)):
        if split is None:
            continue
        with open_bytes(sink, f"{name}.csv") as file:
            file.write(b"text,labels\n")
            for text, labels in texts_with_labels(data, split, sink):
                cells = (text, json.dumps(labels, ensure_ascii=False))
                line = ",".join('"' + cell.replace('"', '""') + '"' for cell in cells)
                file.write(line.encode() + b"\n")
    write_filters(data, sink)
