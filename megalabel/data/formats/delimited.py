"""CSV with the columns `text` and `labels`, in any order among others, quoted as spreadsheets do.

A labels cell is a JSON list, `["cat", "tiger"]` or `[3, 17]`; or names with `|` between them, `cat|tiger`. An
empty cell is no label. One file keeps to one of the two; ids are always a JSON list.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from megalabel.data.corpus import Corpus
from megalabel.data.findings import Findings
from megalabel.data.formats import Sink, Source
from megalabel.data.lines import empty, lines
from megalabel.data.records import Record, corpus_of_records
from megalabel.data.vocabulary import Vocabulary
from megalabel.data.writing import open_bytes, write_filters, write_label_list, written_rows
from megalabel.errors import DataError, line_of


def read(source: Source, findings: Findings) -> Corpus:
    """Reads train.csv and, if there, test.csv."""
    return corpus_of_records(source, records, Vocabulary.beside(source.folder, findings), findings)


def records(path: Path, findings: Findings) -> Iterator[Record]:
    """Each row's text and labels, with the line on which the row begins."""
    with _any_length():
        table = csv.reader((line for _, line in lines(path, findings, keep_ends=True)), strict=True)
        header = _next(table, path, 1)
        if header is None:
            raise empty(path)
        at_text, at_labels = _columns(header, path)
        lists: bool | None = None
        while True:
            line = table.line_num + 1
            row = _next(table, path, line)
            if row is None:
                return
            if not row:
                findings.note("blank-line", path, "blank line, passed over", line=line)
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
            wanted='cells apart by commas, quotes within a quoted cell doubled ("")',
            next_step="look for a stray quote at or after this line",
            where=line_of(path, line),
        ) from error


def _columns(header: list[str], path: Path) -> tuple[int, int]:
    if header.count("text") == 1 and header.count("labels") == 1:
        return header.index("text"), header.index("labels")
    raise DataError(
        f"the columns {', '.join(repr(name) for name in header)[:200]}",
        wanted="one column `text` and one column `labels`, commas between columns",
        next_step="name the columns in the first line; write semicolons or tabs between columns as commas",
        where=line_of(path, 1),
    )


def _labels(cell: str, lists: bool, where: str) -> Sequence[object]:
    if not cell:
        return []
    if not lists:
        if cell.startswith("["):
            raise DataError(
                f"the labels cell {cell[:60]!r} looks like a JSON list, but those before are names and `|`",
                wanted="one form in the whole file",
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
        f"the labels cell {cell[:60]!r} is no JSON list",
        wanted='a list as in ["cat", "tiger"] or [3, 17], since this file\'s first labels cell began with [',
        next_step="correct the cell (names stand in double quotes)",
        where=where,
    )


@contextmanager
def _any_length() -> Iterator[None]:
    """Lifts the csv module's limit of 131,072 characters a cell, and puts it back."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def write(corpus: Corpus, sink: Sink) -> None:
    """Writes CSV with every cell quoted and the labels as JSON lists; labels.txt keeps the order."""
    write_label_list(corpus, sink)
    for name, split in (("train", corpus.train), ("test", corpus.test)):
        if split is None:
            continue
        with open_bytes(sink, f"{name}.csv") as file:
            file.write(b"text,labels\n")
            for text, labels in written_rows(corpus, split, sink):
                cells = (text, json.dumps(labels, ensure_ascii=False))
                line = ",".join('"' + cell.replace('"', '""') + '"' for cell in cells)
                file.write(line.encode() + b"\n")
    write_filters(corpus, sink)
