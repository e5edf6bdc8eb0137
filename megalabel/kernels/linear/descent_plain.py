"""Reference implementation of `dual_descent.descend`: one classifier at a time, in float64."""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sp

from megalabel.kernels.core.random import below, stream_numbers


def plain(
    x: sp.csr_matrix,
    texts: sp.csr_matrix,
    offsets: np.ndarray,
    positives: sp.csr_matrix,
    dense: np.ndarray,
    scores: np.ndarray,
    inverse: np.ndarray,
    soft: tuple[float, float],
    bias: float,
    stop: tuple[float, int],
    prune_below: float,
    keys: np.ndarray,
) -> tuple[sp.csr_matrix, np.ndarray]:
    """`descend` for one classifier at a time.

    scores: of each child, the scores of its parent's texts before the descent, or empty; soft: 1/2C of the
    positives and of the negatives; inverse: 1 / weight of each text, or empty; stop: tol and max_iter.
    """
    n_features, n_children = x.shape[1], positives.shape[0]
    weights, place = np.zeros((n_children, n_features + dense.shape[1] + 1)), 0
    for parent in range(texts.shape[0]):
        rows = texts.indices[texts.indptr[parent] : texts.indptr[parent + 1]]
        values = np.hstack([x[rows].toarray(), dense[rows], np.full((len(rows), 1), bias)]).astype(np.float64)
        for child in range(offsets[parent], offsets[parent + 1]):
            y = np.where(np.isin(rows, positives[[child]].indices), 1.0, -1.0)
            before = scores[place : place + len(rows)].astype(np.float64) if len(scores) else None
            place += len(rows)
            if (y > 0).any() or before is not None:
                of_rows = inverse[rows].astype(np.float64) if len(inverse) else np.ones(len(rows))
                problem = values, y, np.where(y > 0, *soft), of_rows, before
                weights[child] = solve(*problem, *stop, keys[parent])
    weights = weights.astype(np.float32)
    kept = np.where(np.abs(weights[:, :n_features]) >= prune_below, weights[:, :n_features], 0)
    if bias:
        kept = np.hstack([kept, weights[:, -1:]])
    return sp.csr_matrix(kept), weights[:, n_features:-1]


def solve(
    x: np.ndarray,
    y: np.ndarray,
    soft: np.ndarray,
    inverse: np.ndarray,
    scores: np.ndarray | None,
    tol: float,
    max_iter: int,
    key: np.uint64,
) -> np.ndarray:
    """The weights (d,) of one classifier, float64; with scores before (n,), the change of its weights.

    x (n, d) with the bias feature, y (n,) ±1, soft (n,) 1/2C, inverse (n,) 1 / weight. The start is that without
    weights: with them, a single small weight would move it to 0.
    """
    alpha = two_alphas(x, y, soft) if scores is None else np.zeros(len(y))
    before = np.zeros(len(y)) if scores is None else scores
    soft = soft * inverse
    w: np.ndarray = (alpha * y) @ x
    scale = (x**2).sum(1) + soft
    order = np.arange(len(x))
    for number in range(max_iter):
        shuffle(order, key, number)
        low, high = math.inf, -math.inf
        for i in order:
            slope = y[i] * (before[i] + w @ x[i]) - 1 + soft[i] * alpha[i]
            projected = slope if alpha[i] > 0 else min(slope, 0.0)
            low, high = min(low, projected), max(high, projected)
            new = max(alpha[i] - slope / scale[i], 0.0)
            w += (new - alpha[i]) * y[i] * x[i]
            alpha[i] = new
        if high - low <= tol:
            break
    return w


def two_alphas(x: np.ndarray, y: np.ndarray, soft: np.ndarray) -> np.ndarray:
    """The best α (n,) ≥ 0 of the form p for positives and q for negatives.

    With s₊ and s₋ the sums of their rows, the dual is ½‖p·s₊ − q·s₋‖² + ½(p²Σ₊soft + q²Σ₋soft) − p·n₊ − q·n₋.
    """
    positive = y > 0
    up, down = x[positive].sum(0), x[~positive].sum(0)
    a, b = up @ up + soft[positive].sum(), down @ down + soft[~positive].sum()
    across, n_up, n_down = up @ down, positive.sum(), (~positive).sum()
    if n_down == 0:
        return np.full(len(y), n_up / a)
    p, q = (
        n_up * b + across * n_down,
        n_down * a + across * n_up,
    )  # both multiplied by a · b − across², which is above 0
    if p <= 0:
        p, q = 0.0, n_down / b
    elif q <= 0:
        p, q = n_up / a, 0.0
    else:
        p, q = p / (a * b - across**2), q / (a * b - across**2)
    gradient: np.ndarray = np.where(positive, p, q)
    return gradient


def shuffle(order: np.ndarray, key: np.uint64, number: int) -> None:
    """Makes the order (n,) of pass `number` from that of the previous one, in place, by a Fisher-Yates shuffle."""
    n = len(order)
    for i in range(n - 1, 0, -1):
        bits = stream_numbers(np.array([key], np.uint64), number * n + i) >> np.uint64(32)
        other = int(below(bits, np.array([i + 1]))[0])
        order[[i, other]] = order[[other, i]]
