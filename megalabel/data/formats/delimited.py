"""CSV with the columns `text` and `labels`, quoted as spreadsheets do; other columns are ignored.

Cells are separated by commas, or by semicolons, tabs or `|` where the header shows that. Without a column of
labels, two or more columns that hold only zeros and ones are one label each, called by the header.

A cell of labels is a list in brackets, `["cat", "tiger"]`, `[3, 17]` or `['cat', 'tiger']`, or names with a
separator between them, `cat|tiger`. An empty cell means no labels. All cells of a file have the same one of these
forms; ids are always a list in brackets. Without `ReadOptions.label_separator` the training file shows which
separator it is; see `megalabel.data.separators`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Sink, Source
from megalabel.data.formats.flag_columns import (
    flag_columns,
    flag_places,
    flag_vocabulary,
    flagged,
    note_flags,
)
from megalabel.data.formats.output import (
    fields_of,
    more_fields,
    open_bytes,
    texts_with_labels,
    write_filters,
    write_label_list,
)
from megalabel.data.formats.table_header import columns, has_columns, mark_of, note_mark, place
from megalabel.data.label_cells import Scores, list_in, looks_like_a_list
from megalabel.data.read_options import ReadOptions
from megalabel.data.records import Record, data_from_records
from megalabel.data.separators import DEFAULT, Cells, Guess, guess_separator, split_cell
from megalabel.data.table_rows import check_cells, table_rows
from megalabel.data.text_lines import empty_file, lines
from megalabel.data.types import CorpusData
from megalabel.data.vocabulary import Vocabulary
from megalabel.errors import DataError, line_of


class CellForm(NamedTuple):
    """How labels are written: lists in brackets, names with a separator, or columns of zeros and ones."""

    lists: bool = False
    separator: str = DEFAULT
    given: bool = False  # by the user, so that brackets are part of names
    flags: tuple[str, ...] = ()  # the names of the columns of zeros and ones


def read(source: Source, findings: Findings) -> CorpusData:
    """Reads train.csv and, if it exists, test.csv."""
    vocabulary = Vocabulary.beside(source.folder, findings)
    form = form_of(source.train, findings, vocabulary)
    vocabulary = flag_vocabulary(form.flags, vocabulary, source.train, findings)
    return data_from_records(source, partial(records, form=form), vocabulary, findings)


def form_of(path: Path, findings: Findings, vocabulary: Vocabulary | None = None) -> CellForm:
    """The form of the cells of labels of a file, which is read for that; a guess is noted in `findings`."""
    flags = _flags(path, findings)
    if flags:
        return CellForm(flags=flags)
    if findings.options.label_separator is not None:
        return CellForm(False, findings.options.label_separator, given=True)
    guess, lists = Guess(DEFAULT), False
    try:
        cells = _cells(path, Findings(collect=True, options=findings.options))
        first = next(cells, "")
        lists = looks_like_a_list(first)
        if first and not lists:
            counted = Cells.of(cell for part in ((first,), cells) for cell in part)
            listed = None if vocabulary is None else vocabulary.listed
            guess = guess_separator(counted, frozenset(listed or findings.known))
    except DataError:
        return CellForm(lists)  # of the whole file, which reading it will raise again
    if guess.message is not None:
        severity = "warning" if guess.doubtful else "info"
        findings.note("separator", path, guess.message, severity=severity, notable=True)  # type: ignore[arg-type]
    return CellForm(lists, guess.separator)


def has_lists(path: Path, options: ReadOptions) -> bool:
    """Whether the first cell of labels is a list in brackets; False for a file without such a cell."""
    try:
        return looks_like_a_list(next(_cells(path, Findings(collect=True, options=options)), ""))
    except DataError:
        return False


def _flags(path: Path, findings: Findings) -> tuple[str, ...]:
    """The names of the columns of zeros and ones, where there is no column of labels."""
    rows = (row for _, row in _rows(path, Findings(collect=True, options=findings.options)))
    header = next(rows)
    at_text = place(header, findings.options.text)
    if at_text is None or findings.options.labels_field or has_columns(header, findings.options):
        return ()
    names = flag_columns(header, rows, at_text, findings.options.row_fields(usual=False))
    if names:
        note_flags(names, header, at_text, path, findings)
    return tuple(names)


def _cells(path: Path, findings: Findings) -> Iterator[str]:
    """The cells of labels that are not empty."""
    at_labels = -1
    for _, row in _rows(path, findings):
        if at_labels < 0:
            n, (_, at_labels) = len(row), columns(row, path, findings)
        elif len(row) == n and (cell := row[at_labels].strip()):
            yield cell


def records(path: Path, findings: Findings, form: CellForm | None = None) -> Iterator[Record]:
    """Yields the text and the labels of each row, with the line on which the row begins.

    The form of the cells is that of this file if none is given.
    """
    form = form_of(path, findings) if form is None else form
    header: list[str] = []
    options = findings.options
    for line, row in _rows(path, findings):
        if not header:
            header = row
            fields = options.row_fields(usual=not form.flags)
            beside = [None if name is None else place(row, name) for name in fields]
            if form.flags:
                at_text, places = flag_places(row, form.flags, line_of(path, line), findings.options)
            else:
                at_text, at_labels = columns(row, path, findings)
            continue
        if not row:
            findings.note("blank-line", path, "blank line, ignored", line=line)
            continue
        where = line_of(path, line)
        try:
            check_cells(row, header, where)
            if form.flags:
                labels: Sequence[object] = flagged(row, form.flags, places, where)
            else:
                labels = _labels(row[at_labels].strip(), form, where)
            weight, source = (None if at is None else row[at].strip() or None for at in beside)
            yield Record(line, row[at_text], labels, weight, source)
        except DataError as error:
            findings.error("row", path, error)


def _rows(path: Path, findings: Findings) -> Iterator[tuple[int, list[str]]]:
    """The rows of the table, first the header, each with the line on which it begins."""
    stream = (line for _, line in lines(path, findings, keep_ends=True))
    first = next(stream, "")
    mark = mark_of(first, findings.options)
    note_mark(mark, path, findings)
    empty = True
    for row in table_rows(chain([first] if first else [], stream), mark, path):
        empty = False
        yield row
    if empty:
        raise empty_file(path)


def _labels(cell: str, form: CellForm, where: str) -> Sequence[object]:
    if not cell:
        return []
    if not form.lists:
        if cell.startswith(("[", '{"')) and not form.given:
            raise DataError(
                f"the labels cell {cell[:60]!r} looks like a JSON list, but earlier cells are names with `|`",
                wanted="the same form in the whole file",
                next_step="write all labels cells as JSON lists, or give the separator as label_separator",
                where=where,
            )
        return split_cell(cell, form.separator)
    value = list_in(cell)
    if isinstance(value, list):
        return value
    if isinstance(value, Scores):
        found, step = "maps labels to values", "labels have no scores: list those whose score is high enough"
    else:
        found = "is not a JSON list"
        step = "write names in double quotes, or give the separator of names as label_separator"
        if "..." in cell:
            step = "write the whole list: this one was shortened with `...` when it was printed"
    raise DataError(
        f"the labels cell {cell[:60]!r} {found}",
        wanted='a list as in ["cat", "tiger"] or [3, 17], since the first labels cell of the file is one',
        next_step=step,
        where=where,
    )


def write(data: CorpusData, sink: Sink) -> None:
    """Writes CSV with every cell quoted and the labels as JSON lists; labels.txt keeps the order of the labels."""
    write_label_list(data, sink)
    for name, split in (("train", data.train), ("test", data.test)):
        if split is None:
            continue
        with open_bytes(sink, f"{name}.csv") as file:
            file.write(",".join(["text", "labels", *fields_of(split)]).encode() + b"\n")
            rest = more_fields(split)
            for (text, labels), more in zip(texts_with_labels(data, split, sink), rest, strict=True):
                cells = (text, json.dumps(labels, ensure_ascii=False), *map(str, more.values()))
                line = ",".join('"' + cell.replace('"', '""') + '"' for cell in cells)
                file.write(line.encode() + b"\n")
    write_filters(data, sink)
