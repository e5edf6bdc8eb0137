"""Dual coordinate descent for blocks of sixteen sibling classifiers.

Siblings are trained on the same rows in the same order and differ only in the signs, so the weights of a feature
for sixteen of them fill one cache line, and each row is read once for all. A converged classifier no longer
changes.
"""

from typing import Any, NamedTuple

import numpy as np

from megalabel.kernels.core._cpu.lanes import all_of, all_zero, load, store, where_below
from megalabel.kernels.core._cpu.pointers import called, inlined, pointer
from megalabel.kernels.core._cpu.streams import below, stream_number

LANES = 16  # float32 numbers in a cache line
STATE = 2 * LANES  # the state of a row: its α for each classifier, then its signs


class Rows(NamedTuple):
    """The rows of a parent; features that occur in a single row are replaced by `own`.

    The weight of such a feature is α·y·value of its row, so that its contribution to the score of the row is
    α·y·value².
    """

    starts: Any  # (n + 1,) int64, where each row begins in columns and values
    columns: Any  # int32, indices of shared features times LANES
    values: Any  # float32
    own: Any  # (n,) float32, Σ value² of the features that no other row has
    scales: Any  # (n, 2) float32: 1 / (‖x‖² + 1/2C_i) for a negative and for a positive row
    texts: Any  # (n,) int32, the rows of `dense`
    dense: Any  # (N, E) float32
    width: int  # E
    inverse: Any  # (N,) float32, 1 / weight of each of all texts; not read unless `weighted`
    weighted: bool
    start: Any  # (n, LANES) float32, scores that the block's classifiers give before; not read unless `started`
    started: bool


class Block(NamedTuple):
    """The state of sixteen classifiers."""

    weights: Any  # (shared features, LANES) float32
    dense: Any  # (E, LANES) float32
    state: Any  # (n, STATE) float32
    lanes: (
        Any  # (4, LANES) float32: weight of the bias, whether the classifier is still active, and two for scratch
    )


class Problem(NamedTuple):
    """The objective and the stopping criterion."""

    bias: float
    soft_negative: float  # 1 / 2C
    soft_positive: float
    eps: float
    rounds: int


@inlined
def rows_at(t):
    """`Rows` with pointers in place of arrays."""
    return Rows(
        pointer(t.starts), pointer(t.columns), pointer(t.values), pointer(t.own), pointer(t.scales),
        pointer(t.texts), pointer(t.dense), t.width, pointer(t.inverse), t.weighted, pointer(t.start), t.started,
    )  # fmt: skip


@inlined
def block_at(t):
    """`Block` with pointers in place of arrays."""
    return Block(pointer(t.weights), pointer(t.dense), pointer(t.state), pointer(t.lanes))


@called
def descend(rows, block, problem, order, n, key, like):
    """Makes passes until the projected gradients of each classifier are within eps, or max_iter is reached."""
    for i in range(n):
        order[i] = i
    running = load(block.lanes, LANES, like)
    bias = load(block.lanes, 0, like)
    eps = all_of(problem.eps, like)
    for number in range(problem.rounds):
        shuffle(order, n, key, number)
        bias, spread = _round(rows, block, problem, order, n, running, bias)
        running = where_below(eps, spread, running, like)
        if all_zero(running):
            break
    store(block.lanes, 0, bias)


@inlined
def shuffle(order, n, key, number):
    """Fisher-Yates shuffle of the order of the previous pass, for pass `number` of a parent."""
    for i in range(n - 1, 0, -1):
        other = below(stream_number(key, number * n + i) >> np.uint64(32), i + 1)
        order[i], order[other] = order[other], order[i]


@inlined
def _round(rows, block, problem, order, n, running, bias):
    """One coordinate step per row and active classifier; returns the biases and the range of the gradients."""
    zero, one, far = all_of(0.0, bias), all_of(1.0, bias), all_of(np.inf, bias)
    feature = all_of(problem.bias, bias)
    soft_negative, soft_positive = all_of(problem.soft_negative, bias), all_of(problem.soft_positive, bias)
    low, high = far, zero - far
    for k in range(n):
        i = np.int64(order[k])
        alpha, sign = load(block.state, i * STATE, bias), load(block.state, i * STATE + LANES, bias)
        start, end = rows.starts[i], rows.starts[i + 1]
        score = bias * feature + alpha * sign * all_of(rows.own[i], bias)
        score = score + _product(rows.columns, rows.values, start, end, block.weights, zero)
        if rows.width:
            score = score + _dense_product(rows.dense, rows.texts[i], rows.width, block.dense, zero)
        if rows.started:
            score = score + load(rows.start, i * LANES, bias)
        soft = where_below(sign, zero, soft_negative, soft_positive)
        if rows.weighted:
            soft = soft * all_of(rows.inverse[np.int64(rows.texts[i])], bias)
        slope = sign * score - one + soft * alpha
        projected = where_below(zero, alpha, slope, where_below(slope, zero, slope, zero))
        low, high = where_below(projected, low, projected, low), where_below(high, projected, projected, high)
        negative, positive = all_of(rows.scales[2 * i], bias), all_of(rows.scales[2 * i + 1], bias)
        new = alpha - slope * where_below(sign, zero, negative, positive)
        step = (where_below(new, zero, zero, new) - alpha) * running
        if all_zero(step):
            continue
        store(block.state, i * STATE, alpha + step)
        step = step * sign
        bias = bias + step * feature
        for at in range(start, end):
            column = rows.columns[at]
            store(block.weights, column, load(block.weights, column, bias) + step * all_of(rows.values[at], bias))
        if rows.width:
            at = np.int64(rows.texts[i]) * rows.width
            for j in range(rows.width):
                moved = load(block.dense, j * LANES, bias) + step * all_of(rows.dense[at + j], bias)
                store(block.dense, j * LANES, moved)
    return bias, high - low


@inlined
def _product(columns, values, start, end, weights, zero):
    """Σ values · weights over the shared features of a row, in two independent sums."""
    even, odd = zero, zero
    at = start
    while at + 1 < end:
        even = even + all_of(values[at], zero) * load(weights, columns[at], zero)
        odd = odd + all_of(values[at + 1], zero) * load(weights, columns[at + 1], zero)
        at += 2
    if at < end:
        even = even + all_of(values[at], zero) * load(weights, columns[at], zero)
    return even + odd


@inlined
def _dense_product(dense, text, width, weights, zero):
    """The same for a dense row, in four independent sums."""
    a, b, c, d = zero, zero, zero, zero
    at = np.int64(text) * width
    j = 0
    while j + 3 < width:
        a = a + all_of(dense[at + j], zero) * load(weights, j * LANES, zero)
        b = b + all_of(dense[at + j + 1], zero) * load(weights, (j + 1) * LANES, zero)
        c = c + all_of(dense[at + j + 2], zero) * load(weights, (j + 2) * LANES, zero)
        d = d + all_of(dense[at + j + 3], zero) * load(weights, (j + 3) * LANES, zero)
        j += 4
    while j < width:
        a = a + all_of(dense[at + j], zero) * load(weights, j * LANES, zero)
        j += 1
    return (a + b) + (c + d)
