"""Linear classifiers for the children of many tree nodes, with the L2-regularized squared hinge loss.

The classifier of a child is trained on the texts x_i of its parent, y_i = 1 if the text has the child and −1
otherwise:

    min_w  ½‖w‖² + Σ_i C_i · max(0, 1 − y_i w·x_i)²

by dual coordinate descent (Hsieh et al., "A dual coordinate descent method for large-scale linear SVM", ICML 2008,
algorithm 1, as in LIBLINEAR): with w = Σ_i α_i y_i x_i, each α_i ≥ 0 in turn is set to its optimum. C_i is C times
the weight of the text. The bias is the weight of one more feature, which is `bias` for every text and regularized
like the others.

Differences from the paper: the descent starts from the best of all solutions with one α for the positives and one
for the negatives, and there is no shrinking, since siblings are solved together (`_cpu/descent_block.py`). The
reference implementation is `descent_plain.py`, in float64.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError, SettingError
from megalabel.kernels.core.dispatch import Operation, use
from megalabel.kernels.core.random import stream_keys
from megalabel.kernels.linear.descent_plain import plain
from megalabel.kernels.sparse.hits import as_truth
from megalabel.kernels.sparse.sparse_rows import as_rows, check_finite

# Work is measured in texts over all classifiers; texts with many features count more.
_COMPILED = Operation(__package__, "dual_descent", enough_work=1 << 11)

_LARGEST_INVERSE = 1e9  # of a weight: beyond it the products of float32 numbers would overflow
_MOST = 1 << 27  # features or texts, which the numba version indexes in int32


class LinearWeights(NamedTuple):
    """The result of `descend`.

    sparse: (C, V + 1) CSR float32 with sorted columns, the bias in the last; (C, V) without a bias.
    dense: (C, E) float32; E is 0 without dense features.
    """

    sparse: sp.csr_matrix
    dense: np.ndarray


def descend(
    x: sp.csr_matrix,
    texts: sp.csr_matrix,
    offsets: np.ndarray,
    positives: sp.csr_matrix,
    *,
    dense: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    scores: np.ndarray | None = None,
    c: float | tuple[float, float] = 1.0,
    bias: float = 1.0,
    tol: float = 0.1,
    max_iter: int = 20,
    prune_below: float = 0.1,
    keys: np.ndarray | None = None,
) -> LinearWeights:
    """Fits the linear classifiers of all children.

    A child without positives among its parent's texts gets zeros. The result does not depend on the number of
    threads, nor on how parents or siblings are divided into calls.

    Args:
        x: (N, V) CSR float32, one row per text.
        texts: (M, N) sparse, above 0 where a parent's children are trained on a text.
        offsets: (M + 1,) integers from 0 to C: the children of parent p are offsets[p] … offsets[p + 1] − 1.
        positives: (C, N) sparse, above 0 where a text has a child; texts that are not the parent's are ignored.
        dense: (N, E) float32, dense features such as an embedding. Their weights are not pruned.
        weights: (N,) above 0, the factor of C of each text; None for 1 each.
        scores: the score that each child gives each text of its parent already, children one after the other;
            None for 0 each, and a new classifier. See above for what is then returned.
        c: C, the weight of the squared loss; or a pair, for positives and negatives.
        bias: the value of the bias feature; 0 for no bias. A score is w·x + bias · its weight.
        tol: the difference of projected gradients at which the solver stops; below 1e-5 float32 is too inexact.
        max_iter: maximum number of passes over the texts.
        prune_below: weights below this absolute value are dropped, except for the bias.
        keys: (M,) uint64, one per parent, seeds the order of its texts; None for `stream_keys(0, [0 … M − 1])`.

    Raises:
        DataError: invalid matrices, weights or keys, shapes that do not match, NaN or inf, a text that a parent
            has twice, offsets that do not rise from 0 to C, or a result that overflows float32.
        SettingError: a number is out of range.
    """
    costs, x = _check_settings(c, bias, tol, max_iter, prune_below), _as_x(x)
    texts, positives = _as_texts(texts), as_truth(positives)
    offsets = _check_offsets(offsets, texts.shape[0], positives.shape[0])
    _check_widths(texts, positives, x.shape[0])
    before = _as_scores(scores, texts, offsets)
    dense, inverse = _as_dense(dense, x.shape[0]), _inverse_weights(weights, x.shape[0])
    soft = 0.5 / costs[0], 0.5 / costs[1]  # positives, negatives
    keys = _as_keys(keys, texts.shape[0])
    fast = _COMPILED.for_work(_work(texts, offsets, x.shape[1] + dense.shape[1]))
    if fast is None:
        data = x, texts, offsets, positives, dense, before, inverse
        parts = plain(*data, soft, bias, tol, max_iter, prune_below, keys)
    else:
        problem = fast.Problem(float(bias), soft[1], soft[0], float(tol), int(max_iter))
        arrays = fast.data_of(x, dense, inverse, texts, positives, before, offsets)
        parts = fast.train(arrays, x.shape[1], offsets, keys, problem, prune_below)
    for values in (parts[0].data, parts[1]):
        check_finite(values, "the weights")
    return LinearWeights(*parts)


def descend_some(
    children: range,
    x: sp.csr_matrix,
    texts: sp.csr_matrix,
    offsets: np.ndarray,
    positives: sp.csr_matrix,
    *,
    keys: np.ndarray | None = None,
    **options: Any,
) -> LinearWeights:
    """`descend` of some children alone, with the weights that they get among all; only these have rows.

    children: a range from 0 to C, else SettingError. Other arguments and errors are those of `descend`.
    """
    texts, positives = _as_texts(texts), as_truth(positives)
    offsets = _check_offsets(offsets, texts.shape[0], positives.shape[0])
    if children.step != 1 or not 0 <= children.start <= children.stop <= positives.shape[0]:
        raise SettingError(f"children = {children}", wanted=f"some of 0 to {positives.shape[0]}", where="children")
    dense = options.get("dense")
    fast = _COMPILED.for_work(_work(texts, offsets, x.shape[1] + (0 if dense is None else dense.shape[1])))
    keys = _as_keys(keys, texts.shape[0])
    first = max(0, int(np.searchsorted(offsets, children.start, side="right")) - 1)
    last = max(first, int(np.searchsorted(offsets, children.stop)))
    own = np.clip(offsets[first : last + 1], children.start, children.stop) - children.start
    with use("plain" if fast is None else "cpu"):  # by the work of all children
        part = texts[first:last], own, positives[children.start : children.stop]
        return descend(x, *part, keys=keys[first:last], **options)


def _work(texts: sp.csr_matrix, offsets: np.ndarray, width: int) -> int:
    return int(np.diff(texts.indptr) @ np.diff(offsets)) * (1 + (width >> 10))


def _check_settings(
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


def _as_keys(keys: np.ndarray | None, n_parents: int) -> np.ndarray:
    if keys is None:
        return stream_keys(0, np.arange(n_parents))
    if keys.shape != (n_parents,) or keys.dtype != np.uint64:
        raise DataError(f"keys {keys.shape} of {keys.dtype}", wanted=f"({n_parents},) uint64, one key per parent")
    return keys


def _as_x(x: sp.csr_matrix) -> sp.csr_matrix:
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


def _as_texts(texts: sp.csr_matrix) -> sp.csr_matrix:
    found = as_truth(texts)
    if found.nnz < np.count_nonzero(texts.tocsr().data):
        raise DataError(
            "a parent has a text twice",
            wanted="each text at most once",
            next_step="call sum_duplicates() on the matrix",
            where="texts",
        )
    return found


def _check_widths(texts: sp.csr_matrix, positives: sp.csr_matrix, n_texts: int) -> None:
    for where, matrix in (("texts", texts), ("positives", positives)):
        if matrix.shape[1] != n_texts:
            raise DataError(
                f"{where} has {matrix.shape[1]} columns",
                wanted=f"one for each of the {n_texts} texts of x",
                where=where,
            )


def _check_offsets(offsets: np.ndarray, n_parents: int, n_children: int) -> np.ndarray:
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


def _inverse_weights(weights: np.ndarray | None, n_texts: int) -> np.ndarray:
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


def _as_scores(scores: np.ndarray | None, texts: sp.csr_matrix, offsets: np.ndarray) -> np.ndarray:
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


def _as_dense(dense: np.ndarray | None, n_texts: int) -> np.ndarray:
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
