"""Makes a data set from a stream of records, such as JSON lines: one text with its labels each."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from megalabel.data.assembly import check_data, check_largest_id, make_split, note_unseen
from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Source
from megalabel.data.id_forms import IdForm
from megalabel.data.label_metadata import LabelMetadata
from megalabel.data.label_rows import LabelRows, filter_file
from megalabel.data.row_values import RowValues
from megalabel.data.text_lines import empty_file
from megalabel.data.texts import Texts, TextsBuilder
from megalabel.data.types import CorpusData, Split, Unseen
from megalabel.data.vocabulary import Vocabulary, surrogate_error
from megalabel.data.zeros_and_ones import are_flags, as_integers
from megalabel.errors import DataError, line_of

__all__ = ["Record", "RecordReader", "data_from_records", "no_readable_line", "surrogate_error"]


class Record(NamedTuple):
    """One text with its labels as written in the file, and the line (or row) on which it begins, from 1.

    Weight and source are as written, too; None where there is none.
    """

    line: int
    text: str
    labels: Sequence[object]
    weight: object = None
    source: object = None


RecordReader = Callable[[Path, Findings], Iterator[Record]]


def data_from_records(
    source: Source,
    reader: RecordReader,
    vocabulary: Vocabulary,
    findings: Findings,
    label_texts: Texts | None = None,
    metadata: LabelMetadata | None = None,
) -> CorpusData:
    """Reads both splits with one vocabulary, which learns from the training split only.

    Args:
        source: the files of the data set.
        reader: the function that reads the records of a file.
        vocabulary: maps labels to columns.
        findings: collects irregularities.
        label_texts: the label names where the vocabulary holds identifiers (Annif), else None.
        metadata: what is known of the labels.
    """
    texts, rows, _, flags, values = _side(reader(source.train, findings), source.train, vocabulary, findings)
    vocabulary.stop_learning()
    if not vocabulary.by_name and vocabulary.n_labels and vocabulary.n_listed is None:
        check_largest_id(rows, vocabulary.n_labels)
    test_texts, test_rows, unseen, test_values = Texts.blank(0), None, None, None
    if source.test is not None:
        test_texts, test_rows, unseen, _, test_values = _side(
            reader(source.test, findings), source.test, vocabulary, findings
        )
    filtered = any(filter_file(source.folder, side) is not None for side in ("trn", "tst"))
    form = IdForm.of(rows, test_rows, vocabulary, findings, flags=flags, filtered=filtered)
    rows, _ = form.apply(rows, None)
    n_labels = form.n_labels(vocabulary)
    train = make_split(source, "trn", texts, rows, n_labels, findings, "training has", values=values)
    test: Split | None = None
    if test_rows is not None:
        test_rows, unseen = form.apply(test_rows, unseen)
        if unseen is not None:
            note_unseen(findings, test_rows, int(unseen.rows[0]), unseen.names[0], len(unseen))
        test = make_split(
            source, "tst", test_texts, test_rows, n_labels, findings, "training has", unseen, values=test_values
        )
    names = form.names(vocabulary) if label_texts is None else label_texts
    data = CorpusData(source.name, train, test, names, source.folder, metadata)
    return check_data(data, findings, source.train, source.train)


def _side(
    records: Iterator[Record], file: Path, vocabulary: Vocabulary, findings: Findings
) -> tuple[Texts, LabelRows, Unseen | None, bool, RowValues]:
    """The texts, their labels, those without a column, whether a row can only be zeros and ones, and the weights
    and sources.
    """
    values = RowValues(file, findings)
    texts, ids, counts, lines = TextsBuilder(), array("q"), array("q"), array("q")
    unseen_rows, unseen_names = array("q"), TextsBuilder()
    blank, first_blank, flags = 0, 0, False  # the first row with labels decides whether all are flags
    for line, text, labels, weight, from_source in records:
        values.add(line, weight, from_source)
        if are_flags(labels) and (flags or not ids):
            flags, labels = True, as_integers(labels)
        columns, unknown = vocabulary.columns(labels, file, line)
        try:
            texts.add_valid(text)
        except UnicodeEncodeError as error:
            findings.error("surrogate", file, surrogate_error(error, line_of(file, line)))
            texts.add(text.encode(errors="replace").decode())
        if not text.strip():
            blank, first_blank = blank + 1, first_blank or line
        for name in unknown:
            unseen_rows.append(len(counts))
            unseen_names.add(name)
        ids.extend(columns)
        counts.append(len(columns))
        lines.append(line)
    if not len(counts):
        raise no_readable_line(file) if findings.has_error(file) else no_records(file)
    if blank:
        findings.note("blank", file, "blank text, kept as an empty text", line=first_blank, count=blank)
    rows = LabelRows(file, _int64(ids), _int64(counts), _int64(lines))
    unseen = Unseen(_int64(unseen_rows), unseen_names.done()) if unseen_rows else None
    return texts.done(), rows, unseen, flags, values


def no_readable_line(file: Path) -> DataError:
    """The error for a file in which every line has an error."""
    return DataError(
        "no line could be read",
        wanted="at least one valid line",
        next_step="correct the errors listed for it",
        where=file,
    )


def no_records(file: Path) -> DataError:
    """The error for a file without any text, which may have a header or blank lines."""
    if file.stat().st_size == 0:
        return empty_file(file)
    return DataError(
        "the file holds no texts, at most a header or blank lines",
        wanted="at least one text with labels",
        next_step="check the path, and that the program that wrote the file has ended",
        where=file,
    )


def _int64(values: array[int]) -> np.ndarray:
    return np.frombuffer(values, dtype=np.int64) if len(values) else np.zeros(0, dtype=np.int64)
