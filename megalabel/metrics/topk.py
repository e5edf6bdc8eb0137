"""Prepares predictions of any origin for the metrics: checks them, removes filter pairs, and cuts them to k."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError, SettingError
from megalabel.kernels.sparse.csr import checked_csr
from megalabel.types import TopK


def checked_arrays(top: TopK) -> tuple[np.ndarray, np.ndarray]:
    """Returns the label ids (N, K) int64 and the scores (N, K) float32 of a TopK as arrays.

    Raises:
        DataError: ids are not integers of at least -1, shapes differ, or scores are NaN or not sorted.
    """
    labels, scores = _host(top.ids), _host(top.scores)
    shapes_fit = labels.ndim == 2 and labels.shape[1] > 0 and scores.shape == labels.shape
    if not shapes_fit or labels.dtype.kind not in "iu" or scores.dtype.kind not in "iuf":
        raise DataError(
            f"labels {labels.shape} {labels.dtype} with scores {scores.shape} {scores.dtype}",
            wanted="a matrix of integers (texts, k), k at least 1, and scores of the same shape",
            next_step="pass label ids, best first, one row per text",
            where="top",
        )
    labels = labels.astype(np.int64, copy=False)
    with np.errstate(over="ignore"):  # values beyond float32 become infinite and keep their order
        scores = scores.astype(np.float32, copy=False)
    if labels.size and int(labels.min()) < -1:
        row = int(np.flatnonzero((labels < -1).any(axis=1))[0])
        raise DataError(
            f"row {row} predicts label {int(labels[row].min())}",
            wanted="ids from 0, or -1 for none",
            next_step="write -1 where there is no prediction",
            where="top.ids",
        )
    # One comparison finds both errors, since comparisons with NaN are false.
    falling = scores[:, :-1] >= scores[:, 1:]
    if not falling.all() or np.isnan(scores[:, 0]).any():
        bad = ~falling.all(axis=1) | np.isnan(scores[:, 0])
        row = int(np.flatnonzero(bad)[0])
        what = "holds NaN" if np.isnan(scores[row]).any() else "is not sorted"
        raise DataError(
            f"the scores of row {row} {what} ({int(bad.sum())} such rows)",
            wanted="finite scores, best first",
            next_step="sort each row by descending score, or use metrics.topk.topk_from_csr",
            where="top.scores",
        )
    return labels, scores


def apply_filter(top: TopK, pairs: np.ndarray, k: int) -> TopK:
    """Removes filter pairs from predictions that were made without the filter, and keeps the best k labels.

    Filter pairs are removed before the cut, so `top` must be wide enough; k plus the largest number of pairs of
    any text is always enough. A row that ends in -1 holds all predictions there are, and is padded.

    Args:
        top: (N, K) predictions, best first.
        pairs: (F, 2) integers (row, label) with rows in [0, N), in any order; repeated pairs are allowed.
        k: the number of labels to keep, from 1 to K.

    Returns:
        (N, k) label ids and scores as arrays.

    Raises:
        SettingError: k is out of range.
        DataError: the pairs are invalid, or a full row has fewer than k labels left.
    """
    labels, scores = checked_arrays(top)
    n, width = labels.shape
    _check_k(k, width)
    out = _filtered(labels, _checked_pairs(pairs, n))
    removed = out | (labels < 0)
    left = width - removed.sum(axis=1)
    short = (left < k) & (labels >= 0).all(axis=1)
    if short.any():
        row = int(np.flatnonzero(short)[0])
        raise DataError(
            f"the filter leaves row {row} {left[row]} of its {width} labels ({int(short.sum())} such rows)",
            wanted=f"at least {k}",
            next_step=f"predict {k + int(out.sum(axis=1).max())} labels per text or more, then filter",
            where="top",
        )
    order = np.argsort(removed, axis=1, kind="stable")[:, :k]
    labels, scores = np.take_along_axis(labels, order, 1), np.take_along_axis(scores, order, 1)
    empty = np.arange(k) >= left[:, None]
    return TopK(np.where(empty, -1, labels), np.where(empty, np.float32(-np.inf), scores))


def _checked_pairs(pairs: np.ndarray, n: int) -> np.ndarray:
    """The filter pairs as int64, after the checks of their shape, rows and labels."""
    pairs = np.asarray(pairs)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or (pairs.size and pairs.dtype.kind not in "iu"):
        raise DataError(
            f"filter pairs of shape {pairs.shape} and dtype {pairs.dtype}",
            wanted="(F, 2) integers, pairs of a row and a label",
            next_step="pass Split.filter",
            where="pairs",
        )
    pairs = pairs.astype(np.int64)
    if len(pairs) and (pairs.min() < 0 or pairs[:, 0].max() >= n):
        at = int(np.flatnonzero((pairs < 0).any(axis=1) | (pairs[:, 0] >= n))[0])
        raise DataError(
            f"filter pair {at} is (row {pairs[at, 0]}, label {pairs[at, 1]}), with {n} rows predicted",
            wanted=f"rows from 0 to {n - 1} and labels from 0",
            next_step="use the filter file of this split; its rows count from 0",
            where="pairs",
        )
    return pairs


def _filtered(labels: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Which of the predictions (N, K) are filter pairs: (N, K) bool."""
    n = len(labels)
    # One number per pair of row and label, so that one binary search checks all predictions.
    base = max(int(labels.max(initial=0)), int(pairs[:, 1].max(initial=0))) + 1
    if n * base > np.iinfo(np.int64).max:
        raise DataError(
            f"label id {base - 1}",
            wanted=f"ids below {np.iinfo(np.int64).max // n}",
            next_step="number the labels from 0 without gaps",
            where="pairs",
        )
    forbidden = np.unique(pairs[:, 0] * base + pairs[:, 1])
    keys = np.arange(n)[:, None] * base + labels
    at_key = np.searchsorted(forbidden, keys)
    out = np.zeros(labels.shape, dtype=np.bool_)
    inside = (at_key < len(forbidden)) & (labels >= 0)
    out[inside] = forbidden[at_key[inside]] == keys[inside]
    return out


def topk_from_csr(scores: sp.csr_matrix, k: int) -> TopK:
    """Keeps the best k labels of each row of a sparse matrix of scores, as other tools write it.

    Every stored entry is a prediction, even with score 0; other entries are not. Ties, compared in the precision
    of the matrix, go to the lower label id. Rows with fewer than k entries end in -1 with score -inf.

    Args:
        scores: (N, L) CSR of any real dtype; the entries of a row may be in any order.
        k: the number of labels to keep, at least 1.

    Returns:
        (N, k) label ids and scores as arrays.

    Raises:
        SettingError: k is below 1.
        DataError: the scores are not a sparse matrix or are damaged, hold NaN, or store an entry twice.
    """
    _check_k(k, None)
    scores = checked_csr(scores, "scores")
    if scores.dtype.kind not in "iufb":
        raise DataError(f"scores of type {scores.dtype}", wanted="real numbers", where="scores")
    if not scores.has_sorted_indices:
        scores = scores.sorted_indices()
    values = scores.data if scores.dtype.kind == "f" else scores.data.astype(np.float64)
    counts = np.diff(scores.indptr)
    rows = np.repeat(np.arange(scores.shape[0]), counts)
    bad = np.isnan(values)
    bad[1:] |= (rows[1:] == rows[:-1]) & (scores.indices[1:] == scores.indices[:-1])
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        problem = "with NaN" if np.isnan(values[at]) else "twice"
        raise DataError(
            f"row {rows[at]} scores label {scores.indices[at]} {problem}",
            wanted="one number for each label that is scored",
            where="scores",
        )
    order = np.lexsort((-values, rows))  # stable: equal scores stay in the order of their labels
    position = np.arange(scores.nnz) - np.repeat(scores.indptr[:-1], counts)
    kept = position < k
    labels = np.full((scores.shape[0], k), -1, dtype=np.int64)
    out = np.full((scores.shape[0], k), -np.inf, dtype=np.float32)
    labels[rows[kept], position[kept]] = scores.indices[order][kept]
    with np.errstate(over="ignore"):
        out[rows[kept], position[kept]] = values[order][kept]
    return TopK(labels, out)


def _host(values: Any) -> np.ndarray:
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values  # numpy has no bfloat16
        values = values.numpy()
    return np.asarray(values)


def _check_k(k: int, width: int | None) -> None:
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1 or (width is not None and k > width):
        step = None if width is None else "predict more labels per text for a larger k"
        raise SettingError.range("k", k, 1, width, integer=True, next_step=step)
