"""Makes a data set from values in memory: lists of texts with lists of labels, or a sparse matrix of labels."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.data.assembly import check_data, check_largest_id
from megalabel.data.findings import Findings
from megalabel.data.label_rows import LabelRows, label_matrix
from megalabel.data.records import surrogate_error
from megalabel.data.texts import Texts, TextsBuilder
from megalabel.data.types import CorpusData, Split, Unseen
from megalabel.data.vocabulary import Vocabulary
from megalabel.errors import DataError, MegalabelError

GivenSplit = tuple[Iterable[str] | None, Any, np.ndarray | None]  # texts, labels, filter pairs


def data_from_memory(
    train: GivenSplit, test: GivenSplit, *, label_texts: Iterable[str] | None, name: str
) -> CorpusData:
    """Makes a data set of a training and a test split; see `Corpus.of`."""
    findings = Findings()
    listed = None if label_texts is None else _texts(label_texts, "label_texts")
    if listed is None and sp.issparse(train[1]):
        listed = Texts.numbers(int(train[1].shape[1]))
    vocabulary = Vocabulary(listed, Path("label_texts") if listed is not None else None, findings)
    texts = _texts(train[0], "texts")
    rows, _ = _label_rows(train[1], vocabulary, "labels")
    vocabulary.stop_learning()
    if listed is None and not vocabulary.by_name:
        check_largest_id(rows, vocabulary.n_labels)
    first = _split(texts, rows, train[2], vocabulary.n_labels, "texts", None)
    second = None
    if (test[0] is None) != (test[1] is None):
        raise DataError("only one of test_texts and test_labels is given", wanted="both or none")
    if test[0] is not None:
        test_texts = _texts(test[0], "test_texts")
        test_rows, unseen = _label_rows(test[1], vocabulary, "test_labels")
        second = _split(test_texts, test_rows, test[2], vocabulary.n_labels, "test_texts", unseen)
    return check_data(CorpusData(name, first, second, vocabulary.names()), findings, "label_texts")


def _texts(texts: Iterable[str] | None, argument: str) -> Texts:
    """The texts, checked to be strings without halves of surrogate pairs."""
    if isinstance(texts, Texts):
        return texts
    builder = TextsBuilder()
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        found = "one string" if isinstance(texts, str) else f"a {type(texts).__name__}"
        raise DataError(found, wanted="a list of strings", where=argument)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"a {type(text).__name__}", wanted="a string", where=f"{argument}[{i}]")
        try:
            builder.add_valid(text)
        except UnicodeEncodeError as error:
            raise surrogate_error(error, f"{argument}[{i}]") from None
    return builder.done()


def _label_rows(labels: Any, vocabulary: Vocabulary, argument: str) -> tuple[LabelRows, Unseen | None]:
    if sp.issparse(labels):
        labels = _matrix_rows(labels, argument)
    elif isinstance(labels, str) or not isinstance(labels, Iterable) or getattr(labels, "ndim", 1) > 1:
        dense = getattr(labels, "ndim", 1) > 1
        raise DataError(
            "a dense array" if dense else f"a {type(labels).__name__}",
            wanted="a list of labels for each text, or a scipy sparse matrix of ones",
            next_step="wrap an array of zeros and ones in scipy.sparse.csr_matrix" if dense else None,
            where=argument,
        )
    ids: list[int] = []
    counts: list[int] = []
    unseen_rows: list[int] = []
    unseen_names: list[str] = []
    for i, row in enumerate(labels):
        if isinstance(row, str) or not isinstance(row, Iterable):
            raise DataError(
                f"{row!r} instead of several labels"[:200],
                wanted="a list of labels for each text, [] where it has none",
                where=f"{argument}[{i}]",
            )
        plain = [label.item() if isinstance(label, np.generic) else label for label in row]
        try:
            columns, unknown = vocabulary.columns(plain, Path(argument), i)
        except MegalabelError as error:
            raise DataError(
                error.found, wanted=error.wanted, next_step=error.next_step, where=f"{argument}[{i}]"
            ) from None
        ids += columns
        counts.append(len(columns))
        unseen_rows += [i] * len(unknown)
        unseen_names += unknown
    rows = LabelRows(
        Path(argument), np.array(ids, dtype=np.int64), np.array(counts, dtype=np.int64), np.arange(len(counts))
    )
    if not unseen_names:
        return rows, None
    return rows, Unseen(np.array(unseen_rows, dtype=np.int64), Texts.from_strings(unseen_names))


def _matrix_rows(labels: Any, argument: str) -> list[np.ndarray]:
    matrix = sp.csr_matrix(labels)
    if matrix.nnz and not (matrix.data == 1).all():
        value = matrix.data[matrix.data != 1][0]
        raise DataError(
            f"the value {value} in the matrix",
            wanted="ones only, since a text either has a label or does not",
            next_step="drop stored zeros (eliminate_zeros) and set the other values to 1",
            where=argument,
        )
    return np.split(matrix.indices, matrix.indptr[1:-1]) if matrix.shape[0] else []


def _split(
    texts: Texts, rows: LabelRows, pairs: Any, n_labels: int, argument: str, unseen: Unseen | None
) -> Split:
    if len(texts) != len(rows):
        raise DataError(
            f"{len(texts):,} texts and {len(rows):,} rows of labels",
            wanted="one row of labels for each text",
            next_step="give an empty list for a text without labels",
            where=argument,
        )
    if pairs is not None:
        pairs = np.asarray(pairs)
        valid = pairs.ndim == 2 and pairs.shape[1] == 2 and np.issubdtype(pairs.dtype, np.integer)
        if not valid or (pairs < 0).any() or (pairs >= (len(texts), n_labels)).any():
            raise DataError(
                "filter pairs that are not rows and labels of this split",
                wanted=f"integers (F, 2): rows below {len(texts)}, labels below {n_labels}",
                next_step="check the array's shape, dtype and largest values",
                where="filter",
            )
        pairs = pairs.astype(np.int64)
    return Split(texts, label_matrix(rows, n_labels, Findings(), "label_texts has"), pairs, None, unseen)
