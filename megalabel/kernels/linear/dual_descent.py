"""Linear classifiers for the children of many tree nodes, with the L2-regularized squared hinge loss.

The classifier of a child is trained on the texts x_i of its parent, y_i = 1 if the text has the child and −1
otherwise:

    min_w  ½‖w‖² + Σ_i C_i · max(0, 1 − y_i w·x_i)²

by dual coordinate descent (Hsieh et al., "A dual coordinate descent method for large-scale linear SVM", ICML 2008,
algorithm 1, as in LIBLINEAR): with w = Σ_i α_i y_i x_i, each α_i ≥ 0 in turn is set to its optimum. C_i is C times
the weight of the text. The bias is the weight of one more feature, which is `bias` for every text and regularized
like the others.

With scores s_i that a classifier gives already, only the change of its weights is computed, from 0:

    min_Δ  ½‖Δ‖² + Σ_i C_i · max(0, 1 − y_i (s_i + Δ·x_i))²

Differences from the paper: the descent starts from the best of all solutions with one α for the positives and one
for the negatives, and there is no shrinking, since siblings are solved together (`_cpu/descent_block.py`). The
reference implementation is `descent_plain.py`, in float64.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from megalabel.errors import SettingError
from megalabel.kernels.core.dispatch import Operation, use
from megalabel.kernels.linear._descent_checks import (
    as_dense,
    as_keys,
    as_scores,
    as_texts,
    as_x,
    check_offsets,
    check_settings,
    check_widths,
    inverse_weights,
)
from megalabel.kernels.linear.descent_plain import plain
from megalabel.kernels.sparse.hits import as_truth
from megalabel.kernels.sparse.sparse_rows import check_finite

# Work is measured in texts over all classifiers; texts with many features count more.
_COMPILED = Operation(__package__, "dual_descent", enough_work=1 << 8)


class Stop(NamedTuple):
    """When the solver of a classifier stops.

    tol: the difference of projected gradients that is small enough; below 1e-5 float32 is too inexact.
    max_iter: the largest number of passes over the texts.
    """

    tol: float = 0.1
    max_iter: int = 20


USUAL = Stop()


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
    stop: Stop = USUAL,
    prune_below: float = 0.1,
    keys: np.ndarray | None = None,
) -> LinearWeights:
    """Fits the linear classifiers of all children.

    A child without positives among its parent's texts gets zeros, unless there are scores. The result does not
    depend on the number of threads, nor on how parents or siblings are divided into calls.

    Args:
        x: (N, V) CSR float32, one row per text.
        texts: (M, N) sparse, above 0 where a parent's children are trained on a text.
        offsets: (M + 1,) integers from 0 to C: the children of parent p are offsets[p] … offsets[p + 1] − 1.
        positives: (C, N) sparse, above 0 where a text has a child; texts that are not the parent's are ignored.
        dense: (N, E) float32, dense features such as an embedding. Their weights are not pruned.
        weights: (N,) above 0, the factor of C of each text; None for 1 each.
        scores: the score that each child gives each text of its parent already, children one after the other;
            (S,) floats. The result is then the change of the weights. None for new classifiers.
        c: C, the weight of the squared loss; or a pair, for positives and negatives.
        bias: the value of the bias feature; 0 for no bias. A score is w·x + bias · its weight.
        stop: when the solver of a classifier stops.
        prune_below: weights below this absolute value are dropped, except for the bias.
        keys: (M,) uint64, one per parent, seeds the order of its texts; None for `stream_keys(0, [0 … M − 1])`.

    Raises:
        DataError: invalid matrices, weights or keys, shapes that do not match, NaN or inf, a text that a parent
            has twice, offsets that do not rise from 0 to C, or a result that overflows float32.
        SettingError: a number is out of range.
    """
    costs, x = check_settings(c, bias, *stop, prune_below), as_x(x)
    texts, positives = as_texts(texts), as_truth(positives)
    offsets = check_offsets(offsets, texts.shape[0], positives.shape[0])
    check_widths(texts, positives, x.shape[0])
    dense, inverse = as_dense(dense, x.shape[0]), inverse_weights(weights, x.shape[0])
    before, soft = as_scores(scores, texts, offsets), (0.5 / costs[0], 0.5 / costs[1])  # positives, negatives
    keys = as_keys(keys, texts.shape[0])
    fast = _COMPILED.for_work(_work(texts, offsets, x.shape[1] + dense.shape[1]))
    if fast is None:
        data = x, texts, offsets, positives, dense, before, inverse
        parts = plain(*data, soft, bias, stop, prune_below, keys)
    else:
        problem = fast.Problem(float(bias), soft[1], soft[0], float(stop.tol), int(stop.max_iter))
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
    texts, positives = as_texts(texts), as_truth(positives)
    offsets = check_offsets(offsets, texts.shape[0], positives.shape[0])
    if children.step != 1 or not 0 <= children.start <= children.stop <= positives.shape[0]:
        raise SettingError(f"children = {children}", wanted=f"some of 0 to {positives.shape[0]}", where="children")
    dense = options.get("dense")
    fast = _COMPILED.for_work(_work(texts, offsets, x.shape[1] + (0 if dense is None else dense.shape[1])))
    keys = as_keys(keys, texts.shape[0])
    first = max(0, int(np.searchsorted(offsets, children.start, side="right")) - 1)
    last = max(first, int(np.searchsorted(offsets, children.stop)))
    own = np.clip(offsets[first : last + 1], children.start, children.stop) - children.start
    with use("plain" if fast is None else "cpu"):  # by the work of all children
        part = texts[first:last], own, positives[children.start : children.stop]
        return descend(x, *part, keys=keys[first:last], **options)


def _work(texts: sp.csr_matrix, offsets: np.ndarray, width: int) -> int:
    return int(np.diff(texts.indptr) @ np.diff(offsets)) * (1 + (width >> 10))
