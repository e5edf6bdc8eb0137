"""What `fit` is given as y: one class per text, lists of labels, or an indicator matrix."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from megalabel.data.label_rows import LabelRows
from megalabel.data.zeros_and_ones import width_of
from megalabel.errors import of_type
from megalabel.kernels.sparse.hits import as_truth
from megalabel.sklearn.inputs import as_value_errors

FORMS = "one class per text, a list of labels per text, or a matrix (texts, labels) of zeros and ones"


class Targets(NamedTuple):
    """The labels of N texts.

    Attributes:
        labels: (N, L) float32 CSR of ones.
        classes: (L,) the classes, sorted: strings or numbers, as they were given.
        one_each: whether each text has exactly one class, so that predictions are classes and not a matrix.
    """

    labels: sp.csr_matrix
    classes: np.ndarray
    one_each: bool


def read_targets(y: Any, classes: np.ndarray | None = None) -> Targets:
    """Reads y in any of its three forms.

    Args:
        y: N classes (strings or numbers), N lists or sets of labels (names or ids), or a matrix (N, L) of zeros
            and ones, as an array, a data frame, a sparse matrix, or lists that can be nothing else.
        classes: those that are known from `fit`, for the true labels of other texts; labels beyond them are left
            out.

    Raises:
        ValueError: something else.
    """
    if y is None:
        raise ValueError(f"requires y to be passed, but the target y is None; expected {FORMS}")
    if isinstance(y, Iterator):
        y = list(y)
    if getattr(y, "ndim", 1) == 0:
        raise ValueError(f"a single value {y!r:.80} as y; expected {FORMS}")
    if sp.issparse(y) or getattr(y, "ndim", 1) == 2:
        return _of_matrix(y, classes)
    first = next(iter(y), None) if isinstance(y, Iterable) else None
    if isinstance(first, (list, tuple, set, frozenset, np.ndarray)):
        return _of_lists(y, classes)
    return _of_classes(y, classes)


def _of_matrix(y: Any, classes: np.ndarray | None) -> Targets:
    names = np.asarray(y.columns) if hasattr(y, "columns") else None
    if names is not None and len(set(names.tolist())) < len(names):
        raise ValueError(
            "a table y with several columns of a name; expected a column for each label, under its name"
        )
    dense = None if sp.issparse(y) else np.asarray(y)
    if dense is not None and dense.shape[1] == 1 and not np.isin(dense, (0, 1)).all():
        return _of_classes(column_or_1d(dense, warn=True), classes)
    if dense is None:
        y = sp.csr_matrix(y)
    if not np.isin(y.data if dense is None else dense, (0, 1)).all():
        raise ValueError(f"a matrix y with other values than zeros and ones; expected {FORMS}")
    with as_value_errors():
        labels = as_truth(sp.csr_matrix(y))
    if not (labels.data == 1).all() or labels.dtype != np.float32:
        ones = np.ones(labels.nnz, np.float32)
        labels = sp.csr_matrix((ones, labels.indices, labels.indptr), shape=labels.shape)
    if classes is not None and labels.shape[1] != len(classes):
        raise ValueError(f"a matrix y of {labels.shape[1]:,} labels; expected {len(classes):,}, as in fit")
    if classes is None and not labels.nnz:
        raise ValueError(f"no text in y has a label; expected {FORMS}")
    found = np.arange(labels.shape[1]) if names is None else names
    return Targets(labels, found if classes is None else classes, False)


def _of_lists(y: Any, classes: np.ndarray | None) -> Targets:
    number: dict[Any, int] = {}  # of the labels that occur, by their first appearance
    ids, starts = array("q"), array("q", [0])
    for row in y:
        if not isinstance(row, (list, tuple, set, frozenset, np.ndarray)):
            raise ValueError(f"{of_type(row)} among the lists of labels in y; expected {FORMS}")
        ids.extend(number.setdefault(_label(label), len(number)) for label in row)
        starts.append(len(ids))
    columns, counts = np.array(ids, np.int64), np.array(starts[1:], np.int64) - np.array(starts[:-1], np.int64)
    flags = _flags(columns, counts, list(number))
    if flags is not None:
        return _of_matrix(flags, classes)
    if classes is None:
        if not number:
            raise ValueError(f"no text in y has a label; expected {FORMS}")
        classes = _sorted(list(number))
    _check_kind(list(number), classes)
    place = {label: i for i, label in enumerate(classes.tolist())}
    columns = np.array([place.get(label, -1) for label in number], np.int64)[columns]
    rows = np.repeat(np.arange(len(counts)), counts)[columns >= 0]
    columns = columns[columns >= 0]
    labels = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(len(counts), len(classes)))
    labels.data[:] = 1  # of a label that a list names twice
    return Targets(labels, classes, False)


def _flags(columns: np.ndarray, counts: np.ndarray, seen: list[Any]) -> np.ndarray | None:
    """The lists as a matrix (N, L) if they can only be zeros and ones, one per label; see `width_of`."""
    if not seen or not set(seen) <= {0, 1}:
        return None
    values = np.array(seen, np.int64)[columns]
    width = width_of(LabelRows(Path("y"), values, counts, np.arange(len(counts))))
    return None if width is None else values.reshape(-1, width)


def _label(label: Any) -> Any:
    """A label of a list; ValueError for what is neither a name nor a number."""
    if isinstance(label, str) or (isinstance(label, Real | np.bool_) and math.isfinite(label)):
        return label
    raise ValueError(f"the label {label!r:.80} in y; expected names or numbers in lists of labels")


def _check_kind(labels: list[Any], classes: np.ndarray) -> None:
    """ValueError for names where the classes are numbers, or numbers where they are names."""
    are_names = bool(len(classes)) and isinstance(classes.tolist()[0], str)
    if any(isinstance(label, str) != are_names for label in labels):
        kinds = ("numbers", "names") if are_names else ("names", "numbers")
        raise ValueError(f"{kinds[0]} among the labels in y; expected {kinds[1]}, as in fit")


def _sorted(labels: list[Any]) -> np.ndarray:
    """Names or numbers in ascending order."""
    names = {isinstance(label, str) for label in labels}
    if len(names) > 1:
        raise ValueError(f"both names and numbers among the labels in y; expected {FORMS}")
    return np.array(sorted(labels), dtype=object if names == {True} else None)


def _of_classes(y: Any, classes: np.ndarray | None) -> Targets:
    y = column_or_1d(y, warn=True)
    check_classification_targets(y)
    if classes is None:
        classes, columns = np.unique(y, return_inverse=True)
        kept = np.arange(len(y))
    else:
        _check_kind(y.tolist(), classes)
        columns = np.searchsorted(classes, y).clip(max=len(classes) - 1)
        kept = np.flatnonzero(classes[columns] == y)
        columns = columns[kept]
    ones = np.ones(len(kept), np.float32)
    return Targets(sp.csr_matrix((ones, (kept, columns)), shape=(len(y), len(classes))), classes, True)
