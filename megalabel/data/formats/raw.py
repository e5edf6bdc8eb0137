"""The raw text folder: trn_X.txt (one text per line), trn_X_Y.txt (its labels), Y.txt (label texts), tst_*.

A row of labels is `3 17` or `3:1.0 17:1.0`. The first line is a header `N L` where the other rows show that it
must be one. Without Y.txt the ids serve as label names, and L comes from the header, else from training.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from megalabel.data.assembly import check_data, make_split, unseen_ids
from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Sink, Source
from megalabel.data.formats.label_file import check_header, count_labels, label_file, label_rows
from megalabel.data.formats.output import drop_unseen, line_writer, single_lines, write_filters
from megalabel.data.gaps import IdsAsNames, note_gaps
from megalabel.data.label_rows import LabelRows, filter_file
from megalabel.data.text_lines import find_file, read_text_lines
from megalabel.data.texts import Texts
from megalabel.data.types import CorpusData, Split
from megalabel.data.zeros_and_ones import check_not_zeros_and_ones
from megalabel.errors import DataError


def read(source: Source, findings: Findings) -> CorpusData:
    """Reads the folder."""
    test_labels = find_file(source.folder, "tst_X_Y.txt")
    if source.test is None and test_labels is not None and not source.only:
        raise DataError(
            f"{test_labels.name} exists, but tst_X.txt does not",
            wanted="tst_X.txt (or .gz) with a text for each row of labels, or neither of the two files",
            where=source.folder,
        )
    names_file = find_file(source.folder, "Y.txt")
    label_texts = read_text_lines(names_file, findings) if names_file else None
    train_texts, train_rows, header = _read_split(source, "trn", source.train, findings)
    n_labels, known_from = count_labels(train_rows, header, label_texts, names_file)
    ids: IdsAsNames | None = None
    if label_texts is None and header is None:
        filtered = any(filter_file(source.folder, side) for side in ("trn", "tst"))  # whose ids count columns
        ids = None if filtered else IdsAsNames.needed(train_rows, n_labels)
        note_gaps(findings, train_rows, n_labels, ids is not None)
        if ids is not None:
            n_labels, train_rows = len(ids), ids.rows(train_rows)[0]
    train = make_split(source, "trn", train_texts, train_rows, n_labels, findings, known_from)
    test: Split | None = None
    if source.test is not None:
        test_texts, test_rows, test_header = _read_split(source, "tst", source.test, findings)
        unseen = None
        if ids is not None:
            test_rows, unseen = ids.rows(test_rows)
        elif label_texts is None and header is None:
            test_rows, unseen = unseen_ids(test_rows, n_labels, findings)
        else:
            check_header(test_rows, test_header, n_labels, known_from)
        test = make_split(source, "tst", test_texts, test_rows, n_labels, findings, known_from, unseen)
    names = label_texts
    if names is None:
        names = Texts.numbers(n_labels) if ids is None else ids.names()
    return check_data(
        CorpusData(source.name, train, test, names, source.folder), findings, names_file or train_rows.file
    )


def _read_split(source: Source, side: str, file: Path, findings: Findings) -> tuple[Texts, LabelRows, int | None]:
    side = source.only or side
    labels = label_file(source, file, f"{side}_X_Y.txt", "a row of labels for each text")
    texts = read_text_lines(file, findings)
    rows, n_labels = label_rows(labels, file, texts, findings)
    check_not_zeros_and_ones(rows)
    return texts, rows, n_labels


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
