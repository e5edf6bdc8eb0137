"""Which predicted labels are true, and what the best possible prediction would have gained.

    hits[n, j]       = labels[n, j] ∈ truth[n]  and  labels[n, j] ∉ {labels[n, 0], …, labels[n, j-1]}
    best_gains[n, :] = the k largest gains[l] over l ∈ truth[n], falling, then zeros

All metrics of a ranking are sums over these two. The plain numpy version below is the definition; the
numba body (`_cpu/hits.py`) runs when there is enough work to pay for importing it.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError
from megalabel.kernels.core.dispatch import Operation

_COMPILED = Operation(__package__, "hits", enough_work=1 << 18)  # predicted or true labels


def as_truth(truth: sp.csr_matrix) -> sp.csr_matrix:
    """The (N, L) label matrix as these kernels want it: valid CSR, rows sorted, no repeats, no zeros.

    A stored value counts as true if it is positive. Returns the same object when nothing has to change.

    Raises:
        DataError: not a sparse matrix, an index out of range, a negative value or NaN.
    """
    if not sp.issparse(truth) or truth.ndim != 2:
        raise DataError(
            f"the true labels are {type(truth).__name__}",
            wanted="a scipy sparse matrix (texts × labels)",
            next_step="wrap them in scipy.sparse.csr_matrix",
            where="truth",
        )
    truth = truth.tocsr()
    try:
        truth.check_format(full_check=True)
    except ValueError as error:
        raise DataError(
            f"the true labels are a damaged CSR matrix ({error})",
            wanted="indices within the shape and a rising indptr",
            next_step="build the matrix anew from (row, label) pairs",
            where="truth",
        ) from error
    good = truth.data > 0
    if not good.all():
        if not (truth.data[~good] == 0).all():
            raise DataError(
                "the true labels hold a negative value or NaN",
                wanted="1 where a text has a label",
                next_step="pass labels, not scores, as the truth",
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

    -1 (no prediction) is never a hit. A label that is repeated within a row counts at its first place
    only, so that a bad prediction file cannot raise its own numbers.

    Args:
        labels: (N, k) int64, label ids, -1 where there is none.
        truth: (N, L) CSR as `as_truth` gives it.

    Raises:
        DataError: labels that are not a matrix of integers, or another N than the truth's.
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
            wanted="as many of one as of the other",
            next_step="predict for the very split that you measure",
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
    """The k largest gains among each text's true labels, falling, padded with zeros: (N, k) float64.

    Args:
        truth: (N, L) CSR as `as_truth` gives it.
        gains: (L,), what a hit on each label is worth, 0 or more.
        k: how many, at least 1.

    Raises:
        DataError: another L than the truth's.
    """
    gains = np.ascontiguousarray(gains, dtype=np.float64)
    if gains.shape != (truth.shape[1],):
        raise DataError(
            f"there are gains of shape {gains.shape} for {truth.shape[1]} labels",
            wanted="one gain a label",
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
    # A stable sort puts repeats behind the first of their kind.
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
    place = np.arange(truth.nnz) - np.repeat(truth.indptr[:-1], counts)
    out = np.zeros((truth.shape[0], k), dtype=np.float64)
    kept = place < k
    out[rows[kept], place[kept]] = values[order][kept]
    return out
