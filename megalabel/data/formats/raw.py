"""The raw text folder: trn_X.txt (a text a line), trn_X_Y.txt (its labels), Y.txt (label texts), tst_*.

A label row is `3 17` or `3:1.0 17:1.0`; a first line `N L` is a header where the rows show that it must be
one. Without Y.txt the labels are called by their ids; L then comes from the header, else from training.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from megalabel.data.corpus import Corpus, Split
from megalabel.data.findings import Findings
from megalabel.data.formats import Sink, Source
from megalabel.data.lines import find, read_texts
from megalabel.data.rows import LabelRows, check_count, read_rows
from megalabel.data.sides import finish, refuse_wild_ids, split_of, unseen_ids
from megalabel.data.texts import Texts
from megalabel.data.writing import check_lines, line_writer, no_unseen, write_filters
from megalabel.errors import DataError, line_of


def read(source: Source, findings: Findings) -> Corpus:
    """Reads the folder; see the file's docstring for the form."""
    alone = find(source.folder, "tst_X_Y.txt")
    if source.test is None and alone is not None:
        raise DataError(
            f"there is {alone.name}, but no tst_X.txt",
            wanted="a text for each row of labels",
            next_step="put tst_X.txt (or .gz) beside it, or take the label file away",
            where=source.folder,
        )
    label_file = find(source.folder, "Y.txt")
    label_texts = read_texts(label_file, findings) if label_file else None
    train_texts, train_rows, header = _side(source, "trn", source.train, findings)
    if label_texts is not None and label_file is not None:
        n_labels, known_from = len(label_texts), f"{label_file.name} has"
        _agree(train_rows, header, n_labels, known_from)
    elif header is not None:
        n_labels, known_from = header, "the header says"
        refuse_wild_ids(train_rows, n_labels, header_line=1)
    else:
        n_labels, known_from = int(train_rows.ids.max(initial=-1)) + 1, "training has"
        refuse_wild_ids(train_rows, n_labels)
    train = split_of(source, "trn", train_texts, train_rows, n_labels, findings, known_from)
    test: Split | None = None
    if source.test is not None:
        test_texts, test_rows, test_header = _side(source, "tst", source.test, findings)
        unseen = None
        if label_texts is None and header is None:
            test_rows, unseen = unseen_ids(test_rows, n_labels, findings)
        else:
            _agree(test_rows, test_header, n_labels, known_from)
        test = split_of(source, "tst", test_texts, test_rows, n_labels, findings, known_from, unseen)
    names = label_texts if label_texts is not None else Texts.numbers(n_labels)
    return finish(Corpus(source.name, train, test, names, source.folder), findings, label_file or train_rows.file)


def _side(source: Source, side: str, file: Path, findings: Findings) -> tuple[Texts, LabelRows, int | None]:
    labels = find(source.folder, f"{side}_X_Y.txt")
    if labels is None:
        raise DataError(
            f"there is {file.name}, but no {side}_X_Y.txt",
            wanted="a row of labels for each text",
            next_step=f"put {side}_X_Y.txt (or .gz) beside it",
            where=source.folder,
        )
    texts = read_texts(file, findings)
    rows, colons = read_rows(labels, findings)
    rows, n_labels = _without_header(rows, colons, len(texts))
    check_count(texts, file, rows)
    return texts, rows, n_labels


def _without_header(rows: LabelRows, colons: tuple[bool, bool], n_texts: int) -> tuple[LabelRows, int | None]:
    """Takes a header `N L` off: a line 1 without colon where rows have them, or one row too many."""
    in_first, in_rest = colons
    if len(rows) == 0 or rows.counts[0] != 2 or in_first:
        return rows, None
    if not in_rest and len(rows) != n_texts + 1:
        return rows, None
    said, n_labels = int(rows.ids[0]), int(rows.ids[1])
    rest = LabelRows(rows.file, rows.ids[2:], rows.counts[1:], rows.lines[1:])
    if said != len(rest):
        raise DataError(
            f"the header says {said:,} rows, but {len(rest):,} follow",
            wanted="as many rows as the header says",
            next_step="check whether the file is whole, then correct the header",
            where=line_of(rows.file, 1),
        )
    return rest, n_labels


def _agree(rows: LabelRows, header: int | None, n_labels: int, known_from: str) -> None:
    if header is not None and header != n_labels:
        raise DataError(
            f"the header says {header:,} labels, but {known_from} {n_labels:,}",
            wanted="the same number of labels everywhere",
            next_step="check that the files belong to one version of the data",
            where=line_of(rows.file, 1),
        )


def write(corpus: Corpus, sink: Sink) -> None:
    """Writes the folder with headers; texts and names must be single lines."""
    no_unseen(corpus, sink, "raw text folders, whose labels are ids,")
    _lines(sink, "Y.txt", corpus.label_texts, "label name")
    for side, split in (("trn", corpus.train), ("tst", corpus.test)):
        if split is None:
            continue
        _lines(sink, f"{side}_X.txt", split.texts, f"{'training' if side == 'trn' else 'test'} text")
        with line_writer(sink, f"{side}_X_Y.txt") as put:
            put(f"{len(split)} {corpus.n_labels}")
            for row in np.split(split.labels.indices, split.labels.indptr[1:-1]):
                put(" ".join(f"{label}:1" for label in row.tolist()))
    write_filters(corpus, sink)


def _lines(sink: Sink, name: str, texts: Texts, what: str) -> None:
    with line_writer(sink, name) as put:
        for text in check_lines(texts, sink, what):
            put(text)
