"""The XML Repository's bag-of-words file: a header `N V L`, then `label,label feature:value ...` a line.

Ids of labels and features count from 0. There are no texts: `Split.features` (N, V) holds what there is.
Names come from Y.txt, else the ids are the names.
"""

from __future__ import annotations

import math
from array import array
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from megalabel.data.corpus import Corpus, Split
from megalabel.data.findings import Findings
from megalabel.data.formats import Sink, Source
from megalabel.data.lines import empty, find, lines, read_texts
from megalabel.data.rows import LabelRows
from megalabel.data.sides import finish, refuse_wild_ids, split_of
from megalabel.data.texts import Texts
from megalabel.data.writing import check_lines, line_writer, no_unseen, write_filters
from megalabel.errors import DataError, line_of


def read(source: Source, findings: Findings) -> Corpus:
    """Reads train.txt and, if there, test.txt."""
    train, shape = _side(source, "trn", source.train, findings)
    test: Split | None = None
    if source.test is not None:
        test, other = _side(source, "tst", source.test, findings)
        if other != shape:
            raise DataError(
                f"{other[0]} features and {other[1]} labels, in the training file {shape[0]} and {shape[1]}",
                wanted="the same numbers on both sides",
                next_step="check that both files belong together",
                where=line_of(source.test, 1),
            )
    file = find(source.folder, "Y.txt", "labels.txt")
    if file is None:
        of_train = LabelRows(
            source.train, train.labels.indices, np.diff(train.labels.indptr), np.arange(len(train))
        )
        refuse_wild_ids(of_train, shape[1], header_line=1)
    names = read_texts(file, findings) if file else Texts.numbers(shape[1])
    if file is not None and len(names) != shape[1]:
        raise DataError(
            f"{len(names):,} label names, but the header of {source.train.name} says {shape[1]:,} labels",
            wanted="one name for each label",
            next_step="check that both files belong together",
            where=file,
        )
    return finish(Corpus(source.name, train, test, names, source.folder), findings, file or source.train)


def read_features(file: Path) -> sp.csr_matrix:
    """The features (N, V) float32 CSR of a file to be predicted; labels that stand there are passed over."""
    return _rows(file, Findings())[1]


def _side(source: Source, side: str, file: Path, findings: Findings) -> tuple[Split, tuple[int, int]]:
    rows, matrix, n_labels = _rows(file, findings)
    texts = Texts.blank(len(rows))
    split = split_of(source, side, texts, rows, n_labels, findings, "the header says", features=matrix)
    return split, (matrix.shape[1], n_labels)


def _rows(file: Path, findings: Findings) -> tuple[LabelRows, sp.csr_matrix, int]:
    """Labels and features of each row, and L."""
    stream = lines(file, findings)
    n, width, n_labels = _header(file, next(stream, None))
    ids, counts = array("q"), array("q")
    at, values, starts = array("q"), array("f"), array("q", [0])
    for number, line in stream:
        try:
            labels, features = _parse(line, width, file, number)
        except DataError as error:
            findings.error("row", file, error)
            labels, features = [], {}
        ids.extend(labels)
        counts.append(len(labels))
        at.extend(features)
        values.extend(features.values())
        starts.append(len(at))
    if len(counts) != n:
        raise DataError(
            f"the header says {n:,} rows, but {len(counts):,} follow",
            wanted="as many rows as the header says",
            next_step="check whether the file is whole, then correct the header",
            where=line_of(file, 1),
        )
    matrix = sp.csr_matrix(
        (np.array(values, dtype=np.float32), np.array(at, dtype=np.int64), np.array(starts, dtype=np.int64)),
        shape=(n, width),
    )
    matrix.sort_indices()
    matrix.eliminate_zeros()
    bare = np.flatnonzero(np.diff(matrix.indptr) == 0)
    if len(bare):
        findings.note("blank", file, "row without a feature", line=int(bare[0]) + 2, count=len(bare))
    rows = LabelRows(file, np.array(ids, dtype=np.int64), np.array(counts, dtype=np.int64), np.arange(2, n + 2))
    return rows, matrix, n_labels


def _header(file: Path, first: tuple[int, str] | None) -> tuple[int, int, int]:
    if first is None:
        raise empty(file)
    parts = first[1].split()
    if len(parts) == 3 and all(part.isascii() and part.isdigit() for part in parts):
        return int(parts[0]), int(parts[1]), int(parts[2])
    raise DataError(
        f"{first[1][:60]!r} is no header",
        wanted="`N V L`, a bag-of-words file's numbers of texts, features and labels",
        next_step="write the header; ids count from 0, so subtract 1 from a libsvm file's that count from 1",
        where=line_of(file, 1),
    )


def _parse(line: str, width: int, file: Path, number: int) -> tuple[list[int], dict[int, float]]:
    """Labels and features of a line; the first word is labels unless it has a colon or a space before it."""
    words = line.split()
    first = words.pop(0) if words and not line[0].isspace() and ":" not in words[0] else ""
    try:
        labels = [_number(label) for label in first.split(",")] if first else []
        features: dict[int, float] = {}
        for word in words:
            name, _, value = word.partition(":")
            features[_number(name)] = float(value)
    except ValueError:
        problem, wanted = f"{line[:60]!r} does not parse", "`label,label feature:value feature:value`"
    else:
        problem, wanted = _feature_problem(features, len(words), width)
    if not problem:
        return labels, features
    raise DataError(problem, wanted=wanted, next_step="correct the line", where=line_of(file, number))


def _feature_problem(features: dict[int, float], n: int, width: int) -> tuple[str, str]:
    if len(features) != n:
        return "a feature stands twice on the line", "each feature once"
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


def write(corpus: Corpus, sink: Sink) -> None:
    """Writes train.txt, test.txt and Y.txt of a data set that has features."""
    no_unseen(corpus, sink, "bag-of-words files, whose labels are ids,")
    for name, split in (("train", corpus.train), ("test", corpus.test)):
        if split is None:
            continue
        if split.features is None:
            raise DataError(
                f"{corpus.name} holds texts, not features",
                wanted="bag-of-words features (they need a vocabulary of words, which is not built here)",
                next_step="write another format, or make features first, say with scikit-learn",
                where=corpus.path,
            )
        labels, features = split.labels, split.features.tocsr()
        with line_writer(sink, f"{name}.txt") as put:
            put(f"{len(split)} {features.shape[1]} {corpus.n_labels}")
            for row in range(len(split)):
                ids = labels.indices[labels.indptr[row] : labels.indptr[row + 1]].tolist()
                part = slice(features.indptr[row], features.indptr[row + 1])
                pairs = zip(features.indices[part].tolist(), features.data[part].tolist(), strict=True)
                put(" ".join([",".join(map(str, ids)), *(f"{i}:{value:.9g}" for i, value in pairs)]))
    with line_writer(sink, "Y.txt") as put:
        for text in check_lines(corpus.label_texts, sink, "label name"):
            put(text)
    write_filters(corpus, sink)
