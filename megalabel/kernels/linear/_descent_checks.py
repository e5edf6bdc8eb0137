"""Checks the arguments of `dual_descent.descend`, and brings them into the types that its bodies take."""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError, SettingError
from megalabel.kernels.core.random import stream_keys
from megalabel.kernels.sparse.hits import as_truth
from megalabel.kernels.sparse.sparse_rows import as_rows, check_finite

_LARGEST_INVERSE = 1e9  # of a weight: beyond it the products of float32 numbers would overflow
_MOST = 1 << 27  # features or texts, which the numba version indexes in int32


def check_settings(
    c: float | tuple[float, float], bias: float, tol: float, max_iter: int, prune_below: float
) -> tuple[float, float]:
    """Checks the settings and returns C for positives and for negatives."""
    costs = c if isinstance(c, tuple) else (c, c)
    if len(costs) != 2 or not all(0 < cost < math.inf for cost in costs):
        raise SettingError(
            f"c = {c}",
            wanted="a number above 0, or two, for positives and negatives",
            where="c",
        )
    for name, value in (("bias", bias), ("tol", tol), ("prune_below", prune_below)):
        if not 0 <= value < math.inf:
            raise SettingError(f"{name} = {value}", wanted="0 or more", where=name)
    if max_iter < 1:
        raise SettingError(f"max_iter = {max_iter}", wanted="1 or more", where="max_iter")
    return float(costs[0]), float(costs[1])


def as_keys(keys: np.ndarray | None, n_parents: int) -> np.ndarray:
    if keys is None:
        return stream_keys(0, np.arange(n_parents))
    if keys.shape != (n_parents,) or keys.dtype != np.uint64:
        raise DataError(f"keys {keys.shape} of {keys.dtype}", wanted=f"({n_parents},) uint64, one key per parent")
    return keys


def as_x(x: sp.csr_matrix) -> sp.csr_matrix:
    x = as_rows(x, "x")
    if x.dtype != np.float32:
        with np.errstate(over="ignore"):  # check_finite reports it
            x = x.astype(np.float32)
        check_finite(x.data, "x")
    if max(x.shape) >= _MOST:
        raise DataError(
            f"{x.shape[0]} texts of {x.shape[1]} features",
            wanted=f"fewer than {_MOST} of each",
            next_step="reduce the number of features",
            where="x",
        )
    return x


def as_texts(texts: sp.csr_matrix) -> sp.csr_matrix:
    found = as_truth(texts)
    if found.nnz < np.count_nonzero(texts.tocsr().data):
        raise DataError(
            "a parent has a text twice",
            wanted="each text at most once",
            next_step="call sum_duplicates() on the matrix",
            where="texts",
        )
    return found


def check_widths(texts: sp.csr_matrix, positives: sp.csr_matrix, n_texts: int) -> None:
    for where, matrix in (("texts", texts), ("positives", positives)):
        if matrix.shape[1] != n_texts:
            raise DataError(
                f"{where} has {matrix.shape[1]} columns",
                wanted=f"one for each of the {n_texts} texts of x",
                where=where,
            )


def check_offsets(offsets: np.ndarray, n_parents: int, n_children: int) -> np.ndarray:
    offsets = np.asarray(offsets)
    good = offsets.ndim == 1 and offsets.dtype.kind in "iu" and len(offsets) == n_parents + 1
    if not good or offsets[0] != 0 or offsets[-1] != n_children or (np.diff(offsets.astype(np.int64)) < 0).any():
        raise DataError(
            f"offsets of shape {offsets.shape} and {offsets.dtype}"
            + (f" from {offsets[0]} to {offsets[-1]}" if good else ""),
            wanted=f"{n_parents + 1} integers that rise from 0 to {n_children}",
            next_step="use LabelTree.offsets",
            where="offsets",
        )
    return offsets.astype(np.int64)


def inverse_weights(weights: np.ndarray | None, n_texts: int) -> np.ndarray:
    """1 / weight of each text, (N,) float32, at most `_LARGEST_INVERSE`; (0,) without weights."""
    if weights is None:
        return np.empty(0, np.float32)
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape != (n_texts,) or not (np.isfinite(weights) & (weights > 0)).all():
        raise DataError(
            f"weights of shape {weights.shape}"
            + (f", the least {weights.min()}" if weights.shape == (n_texts,) and n_texts else ""),
            wanted=f"({n_texts},) finite numbers above 0",
            next_step="leave out texts with the weight 0",
            where="weights",
        )
    return np.minimum(1 / weights, _LARGEST_INVERSE).astype(np.float32)


def as_scores(scores: np.ndarray | None, texts: sp.csr_matrix, offsets: np.ndarray) -> np.ndarray:
    """The scores before the descent, float32; (0,) for none."""
    if scores is None:
        return np.empty(0, np.float32)
    scores, n = np.asarray(scores), int(np.diff(texts.indptr) @ np.diff(offsets))
    if scores.shape != (n,) or scores.dtype.kind != "f":
        raise DataError(
            f"scores of shape {scores.shape} and {scores.dtype}",
            wanted=f"({n},) float32, one for each child and text of its parent",
            where="scores",
        )
    found = np.ascontiguousarray(scores, dtype=np.float32)
    check_finite(found, "scores")
    return found


def as_dense(dense: np.ndarray | None, n_texts: int) -> np.ndarray:
    if dense is None:
        return np.empty((n_texts, 0), np.float32)
    dense = np.asarray(dense)
    if dense.ndim != 2 or len(dense) != n_texts or dense.dtype.kind != "f":
        raise DataError(
            f"dense features of shape {dense.shape} and {dense.dtype}",
            wanted=f"({n_texts}, E) float32, one row per text of x",
            where="dense",
        )
    with np.errstate(over="ignore"):
        dense = np.ascontiguousarray(dense, dtype=np.float32)
    check_finite(dense, "dense")
    return dense
