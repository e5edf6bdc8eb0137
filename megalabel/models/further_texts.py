"""Reads what callers give a trained model to learn: texts with labels by name or id, in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from megalabel.data.corpus import Corpus
from megalabel.errors import DataError, SettingError
from megalabel.inputs.bag_of_words import model_inputs
from megalabel.models.depth import at_least_one

if TYPE_CHECKING:
    from megalabel.models.base import Classifier

SHOWN = 3  # labels that a message lists
ADD = "add them first: model = model.with_labels({name: texts, …}); `megalabel update` does both"


class FurtherTexts(NamedTuple):
    """N texts with labels.

    inputs: the texts, or CSR (N, V) for a model over bags of words.
    labels: (N, L) CSR of ones.
    weights: (N,) above 0, the factor of the loss of each text; None for 1 each.
    """

    inputs: Any
    labels: sp.csr_matrix
    weights: np.ndarray | None

    def of(self, rows: np.ndarray) -> FurtherTexts:
        """Some of the texts, (n,) int64."""
        inputs = self.inputs[rows] if sp.issparse(self.inputs) else [self.inputs[i] for i in rows.tolist()]
        return FurtherTexts(inputs, self.labels[rows], None if self.weights is None else self.weights[rows])

    def with_labels(self, labels: sp.csr_matrix) -> FurtherTexts:
        """The same texts with other labels."""
        return FurtherTexts(self.inputs, labels, self.weights)

    def learnable(self) -> FurtherTexts:
        """The texts that have a label, and a weight above 0."""
        some = np.diff(self.labels.indptr) > 0
        if self.weights is not None:
            some &= self.weights > 0
        return self if some.all() else self.of(np.flatnonzero(some))


def in_columns(labels: sp.csr_matrix, columns: np.ndarray, n_labels: int) -> sp.csr_matrix:
    """Labels (N, L) with other ids, columns (L,), −1 for those that are left out: (N, n_labels) CSR of ones."""
    pairs = labels.tocoo()
    kept = (columns[pairs.col] >= 0) & (pairs.data > 0)
    where = pairs.row[kept], columns[pairs.col[kept]]
    found = sp.csr_matrix((np.ones(len(where[0]), np.float32), where), shape=(labels.shape[0], n_labels))
    found.data[:] = 1  # pairs that became one were added
    return found


def batches_of(
    model: Classifier, texts: Any, labels: Any, weights: Any, batch_size: int
) -> Iterator[FurtherTexts]:
    """What a model is to learn, at most `batch_size` texts at a time; arguments and errors of `partial_fit`."""
    at_least_one("batch_size", batch_size)
    if isinstance(texts, Corpus):
        if labels is not None or weights is not None:
            raise SettingError("labels or weights beside a data set", wanted="the data set alone", where="labels")
        return _of_corpus(model, texts, batch_size)
    if labels is not None:
        return _of_lists(model, model.check_texts(texts), labels, weights, batch_size)
    if isinstance(texts, (str, bytes, Mapping)) or sp.issparse(texts) or not isinstance(texts, Iterable):
        raise SettingError(
            f"a {type(texts).__name__} without labels",
            wanted="texts and their labels, a Corpus, or records with the keys text and labels",
            where="labels",
        )
    return _of_records(model, iter(texts), batch_size)


def _of_corpus(model: Classifier, data: Corpus, size: int) -> Iterator[FurtherTexts]:
    columns = columns_of(model.label_texts, data)
    used = np.unique(data.train.labels.indices)
    missing = [data.label_texts[int(i)] for i in used[columns[used] < 0]]
    if missing:
        raise unknown(missing, str(data.path or data.name))
    inputs = model.check_texts(model_inputs(data.train, data, model.n_features))
    for start in range(0, len(data.train), size):
        rows = slice(start, start + size)
        weights = None if data.train.weights is None else data.train.weights[rows]
        part = inputs[rows] if sp.issparse(inputs) else list(inputs[rows])
        yield FurtherTexts(part, in_columns(data.train.labels[rows], columns, len(model.label_texts)), weights)


def columns_of(names: Sequence[str], data: Corpus) -> np.ndarray:
    """The id in a model of each label of a data set, −1 where the model lacks it: (L of the data set,) int64.

    Labels in the same order keep their ids; others are matched by name, the first of several with a name.
    """
    if len(names) == data.n_labels and list(names) == list(data.label_texts):
        return np.arange(data.n_labels)
    ids: dict[str, int] = {}
    for i, name in enumerate(names):
        ids.setdefault(name, i)
    return np.fromiter((ids.get(name, -1) for name in data.label_texts), np.int64, data.n_labels)


def _of_lists(model: Classifier, texts: Any, labels: Any, weights: Any, size: int) -> Iterator[FurtherTexts]:
    n = texts.shape[0] if sp.issparse(texts) else len(texts)
    given = None if weights is None else _checked_weights(weights, n)
    if sp.issparse(labels):
        shape = (n, len(model.label_texts))
        if labels.shape != shape:
            raise DataError(f"labels {labels.shape} for {n:,} texts", wanted=f"{shape}", where="labels")
        ones = (labels.tocsr() > 0).astype(np.float32)
    else:
        if isinstance(labels, (str, bytes)) or not isinstance(labels, Sequence) or len(labels) != n:
            found = f"{len(labels)} entries" if isinstance(labels, Sequence) else f"a {type(labels).__name__}"
            raise DataError(f"{found} as labels of {n:,} texts", wanted="a list for each text", where="labels")
        ones = _Columns(model.label_texts).matrix(labels, 0)
    for start in range(0, n, size):
        rows = slice(start, start + size)
        yield FurtherTexts(texts[rows], ones[rows], None if given is None else given[rows])


def _of_records(model: Classifier, records: Iterator[Any], size: int) -> Iterator[FurtherTexts]:
    columns, first = _Columns(model.label_texts), 0
    while part := list(islice(records, size)):
        for i, record in enumerate(part):
            if not (isinstance(record, Mapping) and isinstance(record.get("text"), str) and "labels" in record):
                raise DataError(
                    f"{record!r:.80} (text {first + i})",
                    wanted='records such as {"text": "…", "labels": ["…"]}',
                    next_step="or give texts and labels as two lists",
                    where="texts",
                )
        weights = _checked_weights([record.get("weight", 1.0) for record in part], len(part))
        texts = model.check_texts([record["text"] for record in part])
        yield FurtherTexts(texts, columns.matrix([record["labels"] for record in part], first), weights)
        first += len(part)


class _Columns:
    """The ids of labels by name."""

    def __init__(self, names: Sequence[str]) -> None:
        self.n, self.ids = len(names), dict[str, int]()
        self.twice = {name for i, name in enumerate(names) if self.ids.setdefault(name, i) != i}

    def matrix(self, labels: Sequence[Any], first: int) -> sp.csr_matrix:
        """The labels of texts, of which the first has the number `first`: (n, L) CSR of ones."""
        rows, columns, missing = [], [], dict[str, int]()
        for i, own in enumerate(labels):
            if isinstance(own, (str, bytes)) or not isinstance(own, Iterable):
                raise DataError(
                    f"{own!r:.80} as the labels of text {first + i}",
                    wanted="a list of names or ids",
                    where="labels",
                )
            for label in own:
                if isinstance(label, str) and label not in self.ids:
                    missing.setdefault(label, first + i)
                    continue
                rows.append(i)
                columns.append(self._id(label, first + i))
        if missing:
            raise unknown(list(missing), f"text {next(iter(missing.values()))}")
        found = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(len(labels), self.n))
        found.data[:] = 1
        return found

    def _id(self, label: Any, text: int) -> int:
        if isinstance(label, str):
            if label in self.twice:
                raise DataError(f"several labels are called {label!r:.80}", wanted="ids of these", where="labels")
            return self.ids[label]
        whole = isinstance(label, (int, np.integer)) and not isinstance(label, bool)
        if not (whole and 0 <= label < self.n):
            raise DataError(
                f"the label {label!r:.80} of text {text}",
                wanted=f"names of labels of the model, or ids from 0 to {self.n - 1}",
                where="labels",
            )
        return int(label)


def unknown(names: Sequence[str], where: str) -> DataError:
    """The error for labels that a model does not have."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return DataError(
        f"labels that the model does not have: {', '.join(repr(name) for name in names[:SHOWN])}{more}",
        wanted="labels of the model",
        next_step=ADD,
        where=where,
    )


def _checked_weights(weights: Any, n: int) -> np.ndarray:
    try:
        found = np.asarray(weights, np.float64)
    except (TypeError, ValueError):
        found = np.zeros(0)
    if found.shape != (n,) or not np.isfinite(found).all() or (found < 0).any():
        raise DataError(
            f"weights of shape {found.shape}", wanted=f"{n:,} finite numbers of 0 or more", where="weights"
        )
    return found
