"""The bag-of-words file of the XML Repository: a header `N V L`, then lines `label,label feature:value ...`.

Ids of labels and features count from 0. There are no texts; `Split.features` (N, V) holds the features. The label
names come from Y.txt; without it the ids serve as names.
"""

from __future__ import annotations

import math
from array import array
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from megalabel.data.assembly import check_data, check_largest_id, make_split
from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Sink, Source
from megalabel.data.formats.output import drop_unseen, line_writer, single_lines, write_filters
from megalabel.data.label_rows import MAX_LABELS, LabelRows
from megalabel.data.text_lines import empty_file, find_file, lines, read_text_lines
from megalabel.data.texts import Texts
from megalabel.data.types import CorpusData, Split
from megalabel.errors import DataError, line_of

_DIGITS = 19


def read(source: Source, findings: Findings) -> CorpusData:
    """Reads train.txt and, if it exists, test.txt."""
    train, shape = _read_split(source, "trn", source.train, findings)
    test: Split | None = None
    if source.test is not None:
        test, other = _read_split(source, "tst", source.test, findings)
        if other != shape:
            raise DataError(
                f"{other[0]} features and {other[1]} labels, in the training file {shape[0]} and {shape[1]}",
                wanted="the same numbers in both files",
                next_step="check that both files belong together",
                where=line_of(source.test, 1),
            )
    file = find_file(source.folder, "Y.txt", "labels.txt")
    if file is None:
        train_rows = LabelRows(
            source.train, train.labels.indices, np.diff(train.labels.indptr), np.arange(len(train))
        )
        check_largest_id(train_rows, shape[1], header_line=1)
    names = read_text_lines(file, findings) if file else Texts.numbers(shape[1])
    if file is not None and len(names) != shape[1]:
        raise DataError(
            f"{len(names):,} label names, but the header of {source.train.name} says {shape[1]:,} labels",
            wanted="one name for each label",
            next_step="check that both files belong together",
            where=file,
        )
    return check_data(CorpusData(source.name, train, test, names, source.folder), findings, file or source.train)


def read_features(file: Path) -> sp.csr_matrix:
    """Reads the features of a file for prediction: (N, V) float32 CSR. Labels in the file are ignored."""
    return _read_rows(file, Findings())[1]


def _read_split(source: Source, side: str, file: Path, findings: Findings) -> tuple[Split, tuple[int, int]]:
    rows, matrix, n_labels = _read_rows(file, findings)
    texts = Texts.blank(len(rows))
    split = make_split(source, side, texts, rows, n_labels, findings, "the header says", features=matrix)
    return split, (matrix.shape[1], n_labels)


def _read_rows(file: Path, findings: Findings) -> tuple[LabelRows, sp.csr_matrix, int]:
    """Reads the labels and the features of each row, and L."""
    stream = lines(file, findings)
    n, width, n_labels = _header(file, next(stream, None))
    ids, counts = array("q"), array("q")
    columns, values, starts = array("q"), array("f"), array("q", [0])
    for number, line in stream:
        try:
            labels, features = _parse(line, width, file, number)
        except DataError as error:
            findings.error("row", file, error)
            labels, features = [], {}
        ids.extend(labels)
        counts.append(len(labels))
        columns.extend(features)
        values.extend(features.values())
        starts.append(len(columns))
    if len(counts) != n:
        raise DataError(
            f"the header says {n:,} rows, but {len(counts):,} follow",
            wanted="as many rows as the header says",
            next_step="check that the file is complete, then correct the header",
            where=line_of(file, 1),
        )
    matrix = sp.csr_matrix(
        (np.array(values, dtype=np.float32), np.array(columns, dtype=np.int64), np.array(starts, dtype=np.int64)),
        shape=(n, width),
    )
    matrix.sort_indices()
    matrix.eliminate_zeros()
    empty = np.flatnonzero(np.diff(matrix.indptr) == 0)
    if len(empty):
        findings.note("blank", file, "row without features", line=int(empty[0]) + 2, count=len(empty))
    rows = LabelRows(file, np.array(ids, dtype=np.int64), np.array(counts, dtype=np.int64), np.arange(2, n + 2))
    return rows, matrix, n_labels


def _header(file: Path, first: tuple[int, str] | None) -> tuple[int, int, int]:
    if first is None:
        raise empty_file(file)
    parts = first[1].split()
    if len(parts) == 3 and all(part.isascii() and part.isdigit() for part in parts):
        n, width, n_labels = (int(part[:_DIGITS]) for part in parts)  # longer ones are far beyond the limit
        if max(n, width, n_labels) <= MAX_LABELS:
            return n, width, n_labels
        raise DataError(
            f"the header {first[1][:60]!r}",
            wanted=f"numbers of at most {MAX_LABELS:,}",
            next_step="correct the header, which states the numbers of texts, features and labels",
            where=line_of(file, 1),
        )
    step = "add the header; ids count from 0, so subtract 1 from those of a libsvm file that count from 1"
    if ":" not in first[1] and any(letter.isalpha() for letter in first[1]):
        step = "texts to train on need labels: write both to JSON lines or CSV, with `text` and `labels`"
    raise DataError(
        f"{first[1][:60]!r} is not a header",
        wanted="`N V L`, the numbers of texts, features and labels of a bag-of-words file",
        next_step=step,
        where=line_of(file, 1),
    )


def _parse(line: str, width: int, file: Path, number: int) -> tuple[list[int], dict[int, float]]:
    """Parses a line; its first word lists the labels unless it holds a colon or follows a space."""
    words = line.split()
    first = words.pop(0) if words and not line[0].isspace() and ":" not in words[0] else ""
    try:
        labels = [_number(label) for label in first.split(",")] if first else []
    except ValueError:
        raise _not_a_row(line, line_of(file, number)) from None
    return labels, parse_row(words, line, width, line_of(file, number))


def parse_row(words: list[str], line: str, width: int, where: str) -> dict[int, float]:
    """The features of the words `feature:value` of a line; DataError for a bad one, or one of `width` or more."""
    features: dict[int, float] = {}
    try:
        for word in words:
            name, _, value = word.partition(":")
            features[_number(name)] = float(value)
    except ValueError:
        raise _not_a_row(line, where) from None
    problem, wanted = _feature_problem(features, len(words), width)
    if problem:
        raise DataError(problem, wanted=wanted, where=where)
    return features


def _not_a_row(line: str, where: str) -> DataError:
    return DataError(
        f"{line[:60]!r} does not parse",
        wanted="`label,label feature:value feature:value`",
        where=where,
    )


def _feature_problem(features: dict[int, float], n: int, width: int) -> tuple[str, str]:
    if len(features) != n:
        return "a feature occurs twice on the line", "each feature once"
    for feature, value in features.items():
        if feature >= width:
            return f"names feature {feature}, but the header says {width}", f"features from 0 to {width - 1}"
        if not math.isfinite(value) or abs(value) > 3.4e38:
            return f"feature {feature} has the value {value}", "finite values"
    return "", ""


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ValueError(text)
    return int(text)


def write(data: CorpusData, sink: Sink) -> None:
    """Writes train.txt, test.txt and Y.txt of a data set that has features."""
    drop_unseen(data, sink, "bag-of-words files, whose labels are ids,")
    for name, split in (("train", data.train), ("test", data.test)):
        if split is None:
            continue
        if split.features is None:
            raise DataError(
                f"{data.name} holds texts, not features",
                wanted="bag-of-words features, which need a vocabulary that this conversion does not build",
                next_step="choose another format, or make features first, for example with scikit-learn",
                where=data.path,
            )
        labels, features = split.labels, split.features.tocsr()
        with line_writer(sink, f"{name}.txt") as put:
            put(f"{len(split)} {features.shape[1]} {data.n_labels}")
            for row in range(len(split)):
                ids = labels.indices[labels.indptr[row] : labels.indptr[row + 1]].tolist()
                part = slice(features.indptr[row], features.indptr[row + 1])
                pairs = zip(features.indices[part].tolist(), features.data[part].tolist(), strict=True)
                put(" ".join([",".join(map(str, ids)), *(f"{i}:{value:.9g}" for i, value in pairs)]))
    with line_writer(sink, "Y.txt") as put:
        for text in single_lines(data.label_texts, sink, "label name"):
            put(text)
    write_filters(data, sink)
