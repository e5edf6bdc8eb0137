"""Linear models of all children of many tree nodes, each the optimum of an L2-regularized squared hinge.

A child's model is trained on the texts x_i of its parent, y_i = 1 where the text has the child and −1 elsewhere:

    min_w  ½‖w‖² + Σ_i C_i · max(0, 1 − y_i w·x_i)²

by dual coordinate descent (Hsieh et al., "A dual coordinate descent method for large-scale linear SVM", ICML
2008, algorithm 1): with w = Σ_i α_i y_i x_i, each α_i ≥ 0 in turn takes the value that is best for it. A bias is
the weight of one more feature, which is `bias` for every text and regularized like the others.

Beside the paper: the descent starts from the best of all solutions with one α for the positives and one for the
negatives, and nothing is shrunk, since siblings are solved side by side (`_cpu/descent_block.py`). The
definition is `descent_plain.py`, in float64.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError, SettingError
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.core.random import stream_keys
from megalabel.kernels.linear.descent_plain import plain
from megalabel.kernels.sparse.hits import as_truth
from megalabel.kernels.sparse.sparse_rows import as_rows, check_finite

_COMPILED = Operation(
    __package__, "dual_descent", enough_work=1 << 11
)  # texts of all models, wide ones count more

_MOST = 1 << 27  # features or texts: what the numba version numbers in int32


class LinearWeights(NamedTuple):
    """What `descend` gives.

    sparse: (C, V + 1) CSR float32 with sorted columns, the bias in the last; (C, V) where there is none.
    dense: (C, E) float32; E is 0 without a dense part.
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
    cost: float | tuple[float, float] = 1.0,
    bias: float = 1.0,
    eps: float = 0.1,
    rounds: int = 20,
    threshold: float = 0.1,
    seed: int = 0,
) -> LinearWeights:
    """The linear models of all children.

    Parents need not be of one level: all nodes of a tree in one call keep more threads busy than level by level.
    A child without a positive among its parent's texts gets zeros, and no work. The same arguments give the same
    bits on any number of threads.

    Args:
        x: (N, V) CSR float32, a row a text.
        texts: (M, N) sparse, a stored value above 0 where a parent's children are trained on a text. Usually
            the texts with a positive below the parent, and harder ones that a shortlist has found.
        offsets: (M + 1,) integers from 0 to C: the children of parent p are offsets[p] … offsets[p + 1] − 1.
        positives: (C, N) sparse, above 0 where a text has a child; texts that are not the parent's do not count.
        dense: (N, E) float32, features beside those of x, such as an embedding. Their weights are not pruned.
        cost: C, what a unit of squared loss costs; or a pair, of the positives and of the negatives.
        bias: the value of the feature whose weight is the bias; 0 for none. A score is w·x + bias · its weight.
        eps: a model is done when, in one round, the largest and the smallest projected gradient differ by no
            more. 0.1 is LIBLINEAR's; float32 ends being of use below 1e-5.
        rounds: at most so many over the texts.
        threshold: weights below it in absolute value are dropped; the bias is kept. 0 keeps all but zeros.
        seed: any integer, of the order in which texts are visited.

    Raises:
        DataError: matrices that are no valid ones or whose shapes do not fit, NaN or inf, a text twice for one
            parent, or offsets that do not rise from 0 to C; weights that overflow float32.
        SettingError: a cost that is not above 0, a negative bias, eps or threshold, rounds below 1.
    """
    costs = _check_settings(cost, bias, eps, rounds, threshold)
    x = _as_x(x)
    texts, positives = _as_texts(texts), as_truth(positives)
    offsets = _check_offsets(offsets, texts.shape[0], positives.shape[0])
    _check_width(texts, x.shape[0], "texts")
    _check_width(positives, x.shape[0], "positives")
    dense = _as_dense(dense, x.shape[0])
    soft = 0.5 / costs[0], 0.5 / costs[1]  # of the positives and of the negatives
    keys = stream_keys(seed, np.arange(texts.shape[0]))
    work = int(np.diff(texts.indptr) @ np.diff(offsets)) * (1 + (x.shape[1] + dense.shape[1] >> 10))
    fast = _COMPILED.for_work(work)
    if fast is None:
        parts = plain(x, texts, offsets, positives, dense, soft, bias, eps, rounds, threshold, keys)
    else:
        problem = fast.Problem(float(bias), soft[1], soft[0], float(eps), int(rounds))
        parts = fast.train(fast.data_of(x, dense, texts, positives), x.shape[1], offsets, keys, problem, threshold)
    found = LinearWeights(*parts)
    check_finite(found.sparse.data, "the weights")
    check_finite(found.dense, "the weights")
    return found


def _check_settings(
    cost: float | tuple[float, float], bias: float, eps: float, rounds: int, threshold: float
) -> tuple[float, float]:
    """The costs of positives and negatives."""
    costs = cost if isinstance(cost, tuple) else (cost, cost)
    if len(costs) != 2 or not all(0 < c < math.inf for c in costs):
        raise SettingError(
            f"a cost of {cost}",
            wanted="a number above 0, or two: of the positives and of the negatives",
            next_step="pass 1.0",
            where="cost",
        )
    for name, value in (("bias", bias), ("eps", eps), ("threshold", threshold)):
        if not 0 <= value < math.inf:
            raise SettingError(f"{name} = {value}", wanted="0 or more", next_step=f"leave {name} out", where=name)
    if rounds < 1:
        raise SettingError(f"{rounds} rounds", wanted="1 or more", next_step="leave rounds out", where="rounds")
    return float(costs[0]), float(costs[1])


def _as_x(x: sp.csr_matrix) -> sp.csr_matrix:
    x = as_rows(x, "x")
    if x.dtype != np.float32:
        with np.errstate(over="ignore"):  # said better by the check
            x = x.astype(np.float32)
        check_finite(x.data, "x")
    if max(x.shape) >= _MOST:
        raise DataError(
            f"{x.shape[0]} texts of {x.shape[1]} features",
            wanted=f"fewer than {_MOST} of each",
            next_step="hash the features into fewer",
            where="x",
        )
    return x


def _as_texts(texts: sp.csr_matrix) -> sp.csr_matrix:
    found = as_truth(texts)
    if found.nnz < np.count_nonzero(texts.tocsr().data):
        raise DataError(
            "a parent that has a text twice",
            wanted="each text once",
            next_step="call sum_duplicates() on the matrix",
            where="texts",
        )
    return found


def _check_width(matrix: sp.csr_matrix, n_texts: int, where: str) -> None:
    if matrix.shape[1] != n_texts:
        raise DataError(
            f"{where} has {matrix.shape[1]} columns",
            wanted=f"one for each of the {n_texts} texts of x",
            next_step="make it from the same texts as x",
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
            next_step="take them from LabelTree.offsets",
            where="offsets",
        )
    return offsets.astype(np.int64)


def _as_dense(dense: np.ndarray | None, n_texts: int) -> np.ndarray:
    if dense is None:
        return np.empty((n_texts, 0), np.float32)
    dense = np.asarray(dense)
    if dense.ndim != 2 or len(dense) != n_texts or dense.dtype.kind != "f":
        raise DataError(
            f"dense features of shape {dense.shape} and {dense.dtype}",
            wanted=f"({n_texts}, E) float32",
            next_step="pass one embedding for each row of x",
            where="dense",
        )
    with np.errstate(over="ignore"):
        dense = np.ascontiguousarray(dense, dtype=np.float32)
    check_finite(dense, "dense")
    return dense
