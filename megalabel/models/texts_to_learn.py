"""Reads what callers give a trained model to learn: texts with labels by name or id, in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from megalabel.data.corpus import Corpus
from megalabel.errors import DataError, SettingError, of_type
from megalabel.inputs.bag_of_words import model_inputs
from megalabel.models.depth import at_least_one
from megalabel.models.further_texts import FurtherTexts, columns_of, in_columns
from megalabel.models.rows_of_labels import Columns, label_rows, unknown

if TYPE_CHECKING:
    from megalabel.models.base import Classifier


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
            f"{of_type(texts)} without labels",
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
    right, wrong = (
        label_rows(model.label_texts, own, n, what) for own, what in ((labels, "labels"), (rejected, "rejected"))
    )
    _check_different(right, wrong, model, 0)
    for start in range(0, n, size):
        rows = slice(start, start + size)
        yield FurtherTexts(texts[rows], right[rows], None if given is None else given[rows], wrong[rows])


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
    columns, first = Columns(model.label_texts), 0
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
