"""Marks the predicted labels that are true, and computes the best possible gains of each text.

    hits[n, j]       = labels[n, j] ∈ truth[n]  and  labels[n, j] ∉ {labels[n, 0], …, labels[n, j-1]}
    best_gains[n, :] = the k largest gains[l] over l ∈ truth[n], descending, then zeros

All ranking metrics are sums over these two. The plain numpy version below is the reference; the numba version
(`_cpu/hits.py`) runs for inputs that are large enough to be worth its compilation.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.sparse.csr import checked_csr

_COMPILED = Operation(__package__, "hits", enough_work=1 << 18)  # predicted or true labels


def as_truth(truth: sp.csr_matrix) -> sp.csr_matrix:
    """The (N, L) label matrix in canonical CSR: sorted rows, without repeated entries or zeros.

    A stored value counts as true if it is positive. Returns the same object if nothing has to change.

    Raises:
        DataError: not a sparse matrix, an index out of range, a negative value, or NaN.
    """
    truth = checked_csr(truth, "truth")
    good = truth.data > 0
    if not good.all():
        if not (truth.data[~good] == 0).all():
            raise DataError(
                "the true labels contain a negative value or NaN",
                wanted="1 where a text has a label",
                where="truth",
            )
        truth = truth.copy()
        truth.eliminate_zeros()
    if not truth.has_canonical_format:
        truth = truth.copy()
        truth.sum_duplicates()
    return truth


def hits(labels: np.ndarray, truth: sp.csr_matrix) -> np.ndarray:
    """Which predicted labels are true: (N, k) bool.

    -1 (no prediction) is never a hit. A label that is repeated within a row counts only at its first position, so
    that repeated predictions do not raise the metrics.

    Args:
        labels: (N, k) int64, label ids, -1 for no prediction.
        truth: (N, L) CSR, a result of `as_truth`.

    Raises:
        DataError: labels are not a matrix of integers, or have another number of rows than the truth.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise DataError(
            f"the predicted labels have shape {labels.shape} and dtype {labels.dtype}",
            wanted="a (texts, k) matrix of integers",
            next_step="pass TopK.ids, one row of label ids per text",
            where="labels",
        )
    if labels.shape[0] != truth.shape[0]:
        raise DataError(
            f"there are predictions for {labels.shape[0]} texts and true labels for {truth.shape[0]}",
            wanted="the same number",
            next_step="predict for the split that is evaluated",
            where="labels",
        )
    labels = np.ascontiguousarray(labels, dtype=np.int64)
    fast = _COMPILED.for_work(labels.size)
    if fast is None:
        return _plain_hits(labels, truth)
    out = np.empty(labels.shape, dtype=np.bool_)
    fast.mark_hits(labels, truth.indptr, truth.indices, out)
    return out


def best_gains(truth: sp.csr_matrix, gains: np.ndarray, k: int) -> np.ndarray:
    """The k largest gains among each text's true labels, descending, padded with zeros: (N, k) float64.

    Args:
        truth: (N, L) CSR, a result of `as_truth`.
        gains: (L,), the gain of a hit on each label, 0 or more.
        k: number of gains per text, at least 1.

    Raises:
        DataError: gains have another number of labels than the truth.
    """
    gains = np.ascontiguousarray(gains, dtype=np.float64)
    if gains.shape != (truth.shape[1],):
        raise DataError(
            f"gains of shape {gains.shape} for {truth.shape[1]} labels",
            wanted="one gain per label",
            next_step="compute them from the training labels of the same data set",
            where="gains",
        )
    fast = _COMPILED.for_work(truth.nnz)
    if fast is None:
        return _plain_best_gains(truth, gains, k)
    out = np.zeros((truth.shape[0], k), dtype=np.float64)
    fast.best_of_rows(truth.indptr, truth.indices, gains, out)
    return out


def _plain_hits(labels: np.ndarray, truth: sp.csr_matrix) -> np.ndarray:
    n, k = labels.shape
    width = np.int64(truth.shape[1] + 1)
    rows = np.arange(n, dtype=np.int64)
    true_keys = np.repeat(rows, np.diff(truth.indptr)) * width + truth.indices
    possible = (labels >= 0) & (labels < truth.shape[1])
    keys = rows[:, None] * width + np.where(possible, labels, truth.shape[1])
    at = np.searchsorted(true_keys, keys)
    true = np.zeros((n, k), dtype=np.bool_)
    inside = at < len(true_keys)
    true[inside] = true_keys[at[inside]] == keys[inside]
    # A stable sort puts repeated labels after their first occurrence.
    order = np.argsort(labels, axis=1, kind="stable")
    ordered = np.take_along_axis(labels, order, axis=1)
    repeated = np.zeros((n, k), dtype=np.bool_)
    np.put_along_axis(repeated, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
    return true & ~repeated


def _plain_best_gains(truth: sp.csr_matrix, gains: np.ndarray, k: int) -> np.ndarray:
    counts = np.diff(truth.indptr)
    rows = np.repeat(np.arange(truth.shape[0]), counts)
    values = gains[truth.indices]
    order = np.lexsort((-values, rows))
    position = np.arange(truth.nnz) - np.repeat(truth.indptr[:-1], counts)
    out = np.zeros((truth.shape[0], k), dtype=np.float64)
    kept = position < k
    out[rows[kept], position[kept]] = values[order][kept]
    return out
