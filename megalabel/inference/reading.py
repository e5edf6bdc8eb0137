"""Reads texts to predict for: plain lines, JSON lines, a JSON array, CSV, TSV or Parquet, from a file or a pipe.

Texts are found as the readers of data sets find them; labels are neither needed nor read. Every guess is reported
to the user: the format of a pipe, the delimiter of a table, the keys `title` and `content` in place of `text`.
"""

from __future__ import annotations

import difflib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from megalabel.data.formats.table_header import place
from megalabel.data.recorded import header_names
from megalabel.data.table_rows import check_cells, table_rows
from megalabel.errors import DataError, line_of
from megalabel.inference.guess import SUFFIXES, cells, choose, delimiter, is_table
from megalabel.inference.layouts import cleaning
from megalabel.inference.record import (
    LABELS,
    TEXT,
    Notice,
    Records,
    Row,
    Say,
    TextOptions,
    as_trained,
    not_as_trained,
)
from megalabel.inference.source import Source, open_source

ROWS = 16384  # of a Parquet file, read together


def read_rows(path: str | Path, stream: IO[bytes] | None, options: TextOptions, say: Say) -> Iterator[Row]:
    """Yields the rows of a file or, for "-", of a stream; `say` gets a line for each guess.

    Raises:
        DataError: the file is not there, damaged or of another encoding, has an unknown suffix, holds bags of
            words, or a record has no text. The error names the file and the line.
        SettingError: a format or an encoding that does not exist, or a closed standard input.
    """
    with open_source(path, stream, options.encoding) as source:
        options = _with_trained_column(source, options, say)
        format, guess = choose(source, options.format, options.text_field)
        if guess:
            say(guess)
        read = {"lines": _lines, "jsonl": _json_lines, "json": _json_array, "parquet": _parquet}
        if format in read:
            yield from read[format](source, options, say)
        else:
            yield from _table(source, options, "\t" if format == "tsv" else ",", say)


def _with_trained_column(source: Source, options: TextOptions, say: Say) -> TextOptions:
    """With the column of the texts in training, where the header of a table has it and no other one is named."""
    kind = options.format or SUFFIXES.get(source.suffix)
    if not options.trained_field or options.text_field != TEXT or kind not in ("csv", "tsv", None):
        return options
    names = header_names(next(iter(source.first_lines(1)), ""))
    if kind is None:  # a file without a suffix, or a pipe
        there = source.suffix == "" and is_table(source, options.trained_field)
    else:
        there = place(names, options.trained_field) is not None
    if there:
        say(f"{source.name}: {as_trained(options.trained_field)}")
        return options._replace(text_field=options.trained_field)
    if TEXT in names and kind is not None:
        say(f"{source.name}: {not_as_trained(options.trained_field)}")
    return options


def _lines(source: Source, options: TextOptions, say: Say) -> Iterator[Row]:
    clean = cleaning(source, options, say)
    for _, line in source.lines():
        yield Row(clean(line.removesuffix("\n").removesuffix("\r")), {})


def _json_lines(source: Source, options: TextOptions, say: Say) -> Iterator[Row]:
    notice, records = Notice(say), Records(options, source.name, say)
    for number, line in source.lines():
        where = line_of(source.name, number)
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            if not line.strip():
                notice.once(f"{where}: blank lines are ignored")
                continue
            reason = getattr(error, "msg", "") or str(error)[:80]
            raise DataError(
                f"not JSON ({reason})",
                wanted='one record per line, as in {"text": …}',
                next_step="convert a file that is one JSON document with: jq -c '.[]'; --format lines reads any "
                "line as a text",
                where=where,
            ) from error
        yield records.row(value, where)


def _json_array(source: Source, options: TextOptions, say: Say) -> Iterator[Row]:
    records = Records(options, source.name, say)
    try:
        value = json.loads(source.read().decode(source.encoding or "utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"not JSON ({str(error)[:80]})",
            wanted="one JSON array of records with texts",
            next_step="give JSON lines, or --format lines for plain lines of text",
            where=source.name,
        ) from error
    if not isinstance(value, list):
        value = [value]
    for i, record in enumerate(value):
        yield records.row(record, f"{source.name}, record {i + 1}")


def _table(source: Source, options: TextOptions, mark: str, say: Say) -> Iterator[Row]:
    """The rows of a table with a header; of a TSV file without one, what stands before the first tab."""
    first, text_field = next(iter(source.first_lines(1)), ""), options.text_field
    found = delimiter(first, text_field)
    if found is None and mark == "\t":
        say(f"{source.name}: no column {text_field!r} in the first line; texts end at the first tab")
        yield from (Row(row.text.partition("\t")[0], {}) for row in _lines(source, options, say))
        return
    if found is not None and found != mark:
        say(f"{source.name}: the cells are separated by {found!r}")
        mark = found
    lines = (line for _, line in source.lines())
    table = table_rows(lines, mark, source.name, "--format lines reads plain lines")
    first_row = next(table, None)
    if first_row is None:
        return
    header = first_row[1]
    at = _column(header, text_field, source, mark, say)
    kept = [(i, name) for i, name in enumerate(header) if i != at and name not in LABELS]
    for number, row in table:
        if row:
            check_cells(row, header, line_of(source.name, number))
            yield Row(row[at], {name: row[i] for i, name in kept})


def _column(header: list[str], text_field: str, source: Source, mark: str, say: Say) -> int:
    if header.count(text_field) == 1:
        return header.index(text_field)
    alike = [i for i, name in enumerate(header) if name.strip().lower() == text_field.lower()]
    if len(alike) == 1:
        say(f"{source.name}: the texts are read from the column {header[alike[0]]!r}")
        return alike[0]
    close = difflib.get_close_matches(text_field, header, n=1)
    meant = f", such as {close[0]!r}" if close and not alike else ""
    raise DataError(
        f"the columns {', '.join(repr(name) for name in header)[:200]}",
        wanted=f"one column {text_field!r}",
        next_step=f"name the column of the texts with --text-field{meant}; the first line must hold the names",
        where=line_of(source.name, 1),
    )


def _parquet(source: Source, options: TextOptions, say: Say) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text_field, records = options.text_field, Records(options._replace(trained_field=""), source.name, say)
    content = source.path if source.path is not None and not source.unpacked else io.BytesIO(source.read())
    try:
        with pq.ParquetFile(content) as file:
            names = file.schema_arrow.names
            if options.trained_field in names and text_field == TEXT:
                text_field = options.trained_field
                say(f"{source.name}: {as_trained(text_field)}")
            elif options.trained_field and TEXT in names and text_field == TEXT:
                say(f"{source.name}: {not_as_trained(options.trained_field)}")
            chosen = names[_column(names, text_field, source, ",", say)]
            kept = [name for name in names if name == "id" and name != chosen]
            for batch in file.iter_batches(batch_size=ROWS, columns=[chosen, *kept]):
                for row in batch.to_pylist():
                    text = row.pop(chosen)
                    yield records.row({options.text_field: text, **row}, source.name)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"cannot be read as Parquet ({str(error).splitlines()[0][:200]})",
            wanted="a complete Parquet file",
            next_step="copy or write it again",
            where=source.name,
        ) from error


__all__ = ["TEXT", "Row", "TextOptions", "cells", "read_rows"]
