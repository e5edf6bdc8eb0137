"""The two-file form of a bag of words: trn_X_Xf.txt with features, trn_X_Y.txt with labels, and tst_* alike.

Both have a header (`N V` and `N L`) and lines `index:value index:value ...`. Label names come from Y.txt or Yf.txt
(of as many lines as there are labels); without these the ids serve as names.
"""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from megalabel.data.assembly import check_data, make_split
from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Source
from megalabel.data.formats.label_file import check_header, count_labels, label_file, label_rows
from megalabel.data.formats.xmlrepo import parse_row
from megalabel.data.label_rows import LabelRows
from megalabel.data.text_lines import empty_file, find_file, lines, read_text_lines
from megalabel.data.texts import Texts
from megalabel.data.types import CorpusData, Split
from megalabel.errors import DataError, line_of


def read(source: Source, findings: Findings) -> CorpusData:
    """Reads the folder."""
    features, rows, header = _side(source, source.train, "trn", findings)
    file = find_file(source.folder, "Y.txt", "labels.txt")
    names = read_text_lines(file, findings) if file is not None else None
    n_labels, known_from = count_labels(rows, header, names, file)
    train = _split(source, "trn", features, rows, n_labels, findings, known_from)
    test: Split | None = None
    if source.test is not None:
        other, test_rows, test_header = _side(source, source.test, "tst", findings)
        check_header(test_rows, test_header, n_labels, known_from)
        if other.shape[1] != features.shape[1]:
            raise DataError(
                f"{other.shape[1]} features, in the training file {features.shape[1]}",
                wanted="the same number in both files",
                next_step="check that both files belong together",
                where=line_of(source.test, 1),
            )
        test = _split(source, "tst", other, test_rows, n_labels, findings, known_from)
    names = Texts.numbers(n_labels) if names is None else names
    return check_data(CorpusData(source.name, train, test, names, source.folder), findings, file or rows.file)


def _split(
    source: Source, side: str, features: sp.csr_matrix, rows: LabelRows, n_labels: int, findings: Findings, of: str
) -> Split:
    texts = Texts.blank(len(rows))
    return make_split(source, side, texts, rows, n_labels, findings, of, features=features)


def _side(
    source: Source, file: Path, side: str, findings: Findings
) -> tuple[sp.csr_matrix, LabelRows, int | None]:
    name = f"{source.only or side}_X_Y.txt"
    labels = label_file(source, file, name, "a row of labels for each row of features")
    features = features_of(file, findings)
    rows, n_labels = label_rows(labels, file, Texts.blank(features.shape[0]), findings)
    return features, rows, n_labels


def features_of(file: Path, findings: Findings) -> sp.csr_matrix:
    """The features of a file: (N, V) float32 CSR."""
    stream = lines(file, findings)
    _, first = next(stream, (0, None))
    if first is None:
        raise empty_file(file)
    parts = first.split()
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
        raise DataError(
            f"{first[:60]!r} is not a header",
            wanted="`N V`, the numbers of texts and features",
            next_step="add the header",
            where=line_of(file, 1),
        )
    n, width = int(parts[0]), int(parts[1])
    columns, values, starts = array("q"), array("f"), array("q", [0])
    for number, line in stream:
        features: dict[int, float] = {}
        try:
            features = parse_row(line.split(), line, width, line_of(file, number))
        except DataError as error:
            findings.error("row", file, error)
        columns.extend(features)
        values.extend(features.values())
        starts.append(len(columns))
    if len(starts) - 1 != n:
        raise DataError(
            f"the header says {n:,} rows, but {len(starts) - 1:,} follow",
            wanted="as many rows as the header says",
            next_step="check that the file is complete, then correct the header",
            where=line_of(file, 1),
        )
    parts_of = (np.array(values, np.float32), np.array(columns, np.int64), np.array(starts, np.int64))
    matrix = sp.csr_matrix(parts_of, shape=(n, width))
    matrix.sort_indices()
    matrix.eliminate_zeros()
    return matrix
