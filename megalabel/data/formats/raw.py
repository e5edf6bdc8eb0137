"""The raw text folder: trn_X.txt (one text per line), trn_X_Y.txt (its labels), Y.txt (label texts), tst_*.

A row of labels is `3 17` or `3:1.0 17:1.0`. The first line is a header `N L` where the other rows show that it
must be one. Without Y.txt the ids serve as label names, and L comes from the header, else from training.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from megalabel.data.assembly import check_data, check_largest_id, make_split, unseen_ids
from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Sink, Source
from megalabel.data.formats.output import drop_unseen, line_writer, single_lines, write_filters
from megalabel.data.gaps import note_gaps
from megalabel.data.label_rows import LabelRows, check_count, read_label_rows
from megalabel.data.text_lines import find_file, read_text_lines
from megalabel.data.texts import Texts
from megalabel.data.types import CorpusData, Split
from megalabel.data.zeros_and_ones import check_not_zeros_and_ones
from megalabel.errors import DataError, line_of


def read(source: Source, findings: Findings) -> CorpusData:
    """Reads the folder."""
    test_labels = find_file(source.folder, "tst_X_Y.txt")
    if source.test is None and test_labels is not None:
        raise DataError(
            f"{test_labels.name} exists, but tst_X.txt does not",
            wanted="tst_X.txt (or .gz) with a text for each row of labels, or neither of the two files",
            where=source.folder,
        )
    label_file = find_file(source.folder, "Y.txt")
    label_texts = read_text_lines(label_file, findings) if label_file else None
    train_texts, train_rows, header = _read_split(source, "trn", source.train, findings)
    if label_texts is not None and label_file is not None:
        n_labels, known_from = len(label_texts), f"{label_file.name} has"
        _check_header(train_rows, header, n_labels, known_from)
    elif header is not None:
        n_labels, known_from = header, "the header says"
        check_largest_id(train_rows, n_labels, header_line=1)
    else:
        n_labels, known_from = int(train_rows.ids.max(initial=-1)) + 1, "training has"
        check_largest_id(train_rows, n_labels)
        note_gaps(findings, train_rows, n_labels)
    train = make_split(source, "trn", train_texts, train_rows, n_labels, findings, known_from)
    test: Split | None = None
    if source.test is not None:
        test_texts, test_rows, test_header = _read_split(source, "tst", source.test, findings)
        unseen = None
        if label_texts is None and header is None:
            test_rows, unseen = unseen_ids(test_rows, n_labels, findings)
        else:
            _check_header(test_rows, test_header, n_labels, known_from)
        test = make_split(source, "tst", test_texts, test_rows, n_labels, findings, known_from, unseen)
    names = label_texts if label_texts is not None else Texts.numbers(n_labels)
    return check_data(
        CorpusData(source.name, train, test, names, source.folder), findings, label_file or train_rows.file
    )


def _read_split(source: Source, side: str, file: Path, findings: Findings) -> tuple[Texts, LabelRows, int | None]:
    labels = find_file(source.folder, f"{side}_X_Y.txt")
    if labels is None:
        raise DataError(
            f"{file.name} exists, but {side}_X_Y.txt does not",
            wanted=f"{side}_X_Y.txt (or .gz) with a row of labels for each text",
            where=source.folder,
        )
    texts = read_text_lines(file, findings)
    rows, colons = read_label_rows(labels, findings)
    rows, n_labels = _without_header(rows, colons, len(texts))
    check_count(texts, file, rows)
    check_not_zeros_and_ones(rows)
    return texts, rows, n_labels


def _without_header(rows: LabelRows, colons: tuple[bool, bool], n_texts: int) -> tuple[LabelRows, int | None]:
    """Removes a header `N L`: a first line without colons where rows have them, or one row more than texts."""
    in_first, in_rest = colons
    if len(rows) == 0 or rows.counts[0] != 2 or in_first:
        return rows, None
    if not in_rest and len(rows) != n_texts + 1:
        return rows, None
    n_rows, n_labels = int(rows.ids[0]), int(rows.ids[1])
    rest = LabelRows(rows.file, rows.ids[2:], rows.counts[1:], rows.lines[1:])
    if n_rows != len(rest):
        raise DataError(
            f"the header says {n_rows:,} rows, but {len(rest):,} follow",
            wanted="as many rows as the header says",
            next_step="check that the file is complete, then correct the header",
            where=line_of(rows.file, 1),
        )
    return rest, n_labels


def _check_header(rows: LabelRows, header: int | None, n_labels: int, known_from: str) -> None:
    if header is not None and header != n_labels:
        raise DataError(
            f"the header says {header:,} labels, but {known_from} {n_labels:,}",
            wanted="the same number of labels everywhere",
            next_step="check that the files belong to one version of the data",
            where=line_of(rows.file, 1),
        )


def write(data: CorpusData, sink: Sink) -> None:
    """Writes the folder with headers; texts and names must be single lines."""
    drop_unseen(data, sink, "raw text folders, whose labels are ids,")
    _write_lines(sink, "Y.txt", data.label_texts, "label name")
    for side, split in (("trn", data.train), ("tst", data.test)):
        if split is None:
            continue
        _write_lines(sink, f"{side}_X.txt", split.texts, f"{'training' if side == 'trn' else 'test'} text")
        with line_writer(sink, f"{side}_X_Y.txt") as put:
            put(f"{len(split)} {data.n_labels}")
            for row in np.split(split.labels.indices, split.labels.indptr[1:-1]):
                put(" ".join(f"{label}:1" for label in row.tolist()))
    write_filters(data, sink)


def _write_lines(sink: Sink, name: str, texts: Texts, what: str) -> None:
    with line_writer(sink, name) as put:
        for text in single_lines(texts, sink, what):
            put(text)
