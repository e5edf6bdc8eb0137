"""Reads what callers give a trained model to learn: texts with labels by name or id, in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from megalabel.data.corpus import Corpus
from megalabel.errors import DataError, SettingError
from megalabel.inputs.bag_of_words import model_inputs
from megalabel.models.depth import at_least_one
from megalabel.models.further_texts import FurtherTexts, columns_of, in_columns

if TYPE_CHECKING:
    from megalabel.models.base import Classifier

SHOWN = 3  # labels that a message lists
ADD = "add them first: model = model.with_labels({name: texts, …}); `megalabel update` does both"


def batches_of(
    model: Classifier, texts: Any, labels: Any, rejected: Any, weights: Any, batch_size: int
) -> Iterator[FurtherTexts]:
    """What a model is to learn, at most `batch_size` texts at a time; arguments and errors of `partial_fit`."""
    at_least_one("batch_size", batch_size)
    if isinstance(texts, Corpus):
        if not labels is rejected is weights is None:
            raise SettingError("labels or weights beside a data set", wanted="the data set alone", where="labels")
        return _of_corpus(model, texts, batch_size)
    if labels is not None:
        return _of_lists(model, model.check_texts(texts), labels, rejected, weights, batch_size)
    if isinstance(texts, (str, bytes, Mapping)) or sp.issparse(texts) or not isinstance(texts, Iterable):
        raise SettingError(
            f"a {type(texts).__name__} without labels",
            wanted="texts and their labels, a Corpus, or records with the keys text and labels",
            where="labels",
        )
    if not rejected is weights is None:
        raise SettingError(
            "rejected labels or weights without labels",
            wanted="both in the records, by the keys rejected and weight",
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


def _of_lists(
    model: Classifier, texts: Any, labels: Any, rejected: Any, weights: Any, size: int
) -> Iterator[FurtherTexts]:
    n = texts.shape[0] if sp.issparse(texts) else len(texts)
    given = None if weights is None else _checked_weights(weights, n)
    right, wrong = (_ones(model, own, n, what) for own, what in ((labels, "labels"), (rejected, "rejected")))
    _check_different(right, wrong, model, 0)
    for start in range(0, n, size):
        rows = slice(start, start + size)
        yield FurtherTexts(texts[rows], right[rows], None if given is None else given[rows], wrong[rows])


def _ones(model: Classifier, labels: Any, n: int, where: str) -> sp.csr_matrix:
    """The labels of n texts as (n, L) CSR of ones; None is none."""
    shape = (n, len(model.label_texts))
    if labels is None:
        return sp.csr_matrix(shape, dtype=np.float32)
    if sp.issparse(labels):
        if labels.shape != shape:
            raise DataError(f"labels {labels.shape} for {n:,} texts", wanted=f"{shape}", where=where)
        return (labels.tocsr() > 0).astype(np.float32)
    if isinstance(labels, (str, bytes)) or not isinstance(labels, Sequence) or len(labels) != n:
        found = f"{len(labels)} entries" if isinstance(labels, Sequence) else f"a {type(labels).__name__}"
        raise DataError(f"{found} as labels of {n:,} texts", wanted="a list for each text", where=where)
    return _Columns(model.label_texts).matrix(labels, 0)


def _check_different(right: sp.csr_matrix, wrong: sp.csr_matrix, model: Classifier, first: int) -> None:
    """DataError for a label that a text has and that is rejected; the first text has the number `first`."""
    both = right.multiply(wrong).tocoo()
    if both.nnz:
        raise DataError(
            f"{model.label_texts[int(both.col[0])]!r:.80} among the labels and the rejected ones of text "
            f"{first + int(both.row[0])}",
            wanted="one of the two",
            where="rejected",
        )


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
        right, wrong = (
            columns.matrix([record.get(key, ()) for record in part], first) for key in ("labels", "rejected")
        )
        _check_different(right, wrong, model, first)
        yield FurtherTexts(texts, right, weights, wrong)
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
