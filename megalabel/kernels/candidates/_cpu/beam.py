"""Numba implementation of `candidates/beam.py`: searches the tree from the top to the labels, text by text.

Only checked arrays may be passed: an offset out of range would read memory outside of the arrays. The code is
serial; the caller distributes texts over threads. Scratch memory is allocated per call, so that threads may share
a tree.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from megalabel.kernels.candidates._beam_tables import BeamTree, NarrowRows
from megalabel.kernels.core._cpu.compiling import compiled, helper, summing
from megalabel.kernels.core._cpu.heaps import before, holds, log_sigmoid, offer, sink
from megalabel.kernels.core._cpu.pointers import pointer
from megalabel.kernels.rounding._cpu.row_codes import read8, read16

LABEL, TIMES_PARENT, PATH, FADING = range(4)
_LARGEST = np.finfo(np.float32).max


def _logits(weight, bias, x, start, end, z, at, line):
    """Writes the logits of rows start … end − 1 to z[at], z[at + 1], …; returns the position after the last.

    weight: (n, D) float32, or `NarrowRows`, of which a row at a time is read to `line` (D,).
    """
    raise NotImplementedError


@summing
def _wide_logits(weight, bias, x, start, end, z, at):
    for row in range(start, end):
        total = np.float32(0)
        for d in range(weight.shape[1]):
            total += weight[row, d] * x[d]
        z[at] = total + bias[row]
        at += 1
    return at


@summing
def _product(line, x):
    total = np.float32(0)
    for d in range(line.shape[0]):
        total += line[d] * x[d]
    return total


@helper
def _narrow_logits(weight, bias, x, start, end, z, at, line):
    dim, wide = line.shape[0], weight.codes16.shape[0] > 0
    codes16, codes8, out = pointer(weight.codes16), pointer(weight.codes8), pointer(line)
    for row in range(start, end):
        if wide:
            read16(codes16, row * dim, out, 0, dim)
        else:
            read8(codes8, row * dim, np.int64(weight.exponents[row]), out, 0, dim)
        z[at] = _product(line, x) + bias[row]
        at += 1
    return at


@overload(_logits, jit_options={"nogil": True}, strict=False)
def _logits_of(weight, *_):
    if isinstance(weight, types.Array):
        return lambda weight, bias, x, start, end, z, at, line: _wide_logits(weight, bias, x, start, end, z, at)
    return lambda weight, bias, x, start, end, z, at, line: _narrow_logits(
        weight, bias, x, start, end, z, at, line
    )


@helper
def _all_finite(z):
    finite = True
    for value in z:
        finite &= abs(value) <= _LARGEST
    return finite


@helper
def _finish(keys, rows, size, mode, labels, scores):
    """Writes the heap to one row of labels and scores, best first; fills the rest with -1 and -inf."""
    labels[size:] = -1
    scores[size:] = -np.inf
    while size > 0:
        size -= 1
        labels[size] = rows[0]
        scores[size] = math.exp(log_sigmoid(keys[0]) if mode == LABEL else np.float64(keys[0]))
        sink(keys, rows, size, keys[size], rows[size])


@helper
def _add_path(z, totals, at, end, above, keys, rows, size, room, first):
    """Replaces the logits z[at:end] of one block by log-probabilities of paths, and offers them to the heap."""
    for cell in range(at, end):
        bound = np.float32(above + min(np.float64(z[cell]), 0.0))
        if size == room and bound < keys[0]:
            z[cell] = bound  # below the worst score in the heap: the exact value is not needed
            continue
        totals[cell] = above + log_sigmoid(z[cell])
        z[cell] = np.float32(totals[cell])
        size = offer(keys, rows, size, room, z[cell], first + cell - at)
    return size


class Table(NamedTuple):
    """The rows of one level."""

    weight: np.ndarray | NarrowRows  # (n, D)
    bias: np.ndarray  # (n,)


class Scratch(NamedTuple):
    """Memory for one text: its candidates on a level, the heap of the best, and the blocks of the next level."""

    z: np.ndarray  # logits
    totals: np.ndarray  # log-probabilities of paths
    nodes: np.ndarray
    keys: np.ndarray
    rows: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    above: np.ndarray  # what the parent of a block adds to the scores of the block's rows
    line: np.ndarray  # (D,), a narrow row


@helper
def _descend(table, x, top, children, path, fade, room, blocks, scratch):
    """Replaces `blocks` blocks of candidates by the children of the best `room`; -1 if a logit is not finite."""
    z, totals, nodes, keys, rows, starts, ends, above, line = scratch
    n, size, finite = 0, 0, True
    for j in range(blocks):
        at = n
        if top.shape[0] > 0:
            n = top.shape[0]
            z[:n] = top
        else:
            n = _logits(table.weight, table.bias, x, starts[j], ends[j], z, at, line)
        finite = finite and _all_finite(z[at:n])
        for cell in range(at, n):
            nodes[cell] = starts[j] + cell - at
        if path:
            size = _add_path(z, totals, at, n, above[j], keys, rows, size, room, starts[j])
        else:
            for cell in range(at, n):
                if size == room and z[cell] <= keys[0]:  # rows are ascending, so a tie with the worst cannot enter
                    continue
                size = offer(keys, rows, size, room, z[cell], nodes[cell])
    if not finite:  # with NaN the heap is not ordered, and its root is not the worst score in it
        return -1
    blocks = 0
    for cell in range(n):  # in the order of the rows, so that the blocks of the next level are ascending as well
        if z[cell] > keys[0] or (z[cell] == keys[0] and nodes[cell] <= rows[0]):
            starts[blocks], ends[blocks] = children[nodes[cell]], children[nodes[cell] + 1]
            above[blocks] = fade * (totals[cell] if path else log_sigmoid(z[cell]))
            blocks += 1
    return blocks


@helper
def _arrive(table, x, order, alone, room, excluded, blocks, scratch):
    """Fills the heap with the best `room` labels of the blocks; returns its size, or -1 for a logit not finite."""
    z, _, _, keys, rows, starts, ends, above, line = scratch
    size, finite = 0, True
    for j in range(blocks):
        n = _logits(table.weight, table.bias, x, starts[j], ends[j], z, 0, line)
        finite = finite and _all_finite(z[:n])
        for cell in range(n):
            key = z[cell]
            if not alone:
                if size == room and np.float32(above[j] + min(np.float64(key), 0.0)) < keys[0]:
                    continue
                key = np.float32(above[j] + log_sigmoid(key))
            label = order[starts[j] + cell]
            if size == room and not before(key, label, keys[0], rows[0]):
                continue
            if not holds(excluded, label):
                size = offer(keys, rows, size, room, key, label)
    return size if finite else -1


@compiled
def walk(
    views: np.ndarray,
    top: np.ndarray,
    tree: BeamTree,
    excluded: np.ndarray,
    cuts: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    bad: np.ndarray,
) -> None:
    """Fills labels and scores (B, k); adds to bad[0] the number of texts with a logit that is not finite.

    views (B, V, D). top: the logits (B, n_0) of level 0, or (B, 0) to compute them here. The excluded labels of
    text b are excluded[cuts[b] : cuts[b + 1]], ascending.
    """
    weights, biases, offsets, order, beams, cells, mode = tree
    k, depth, most = labels.shape[1], len(offsets), beams.max()
    z, totals, nodes = np.empty(cells, np.float32), np.empty(cells, np.float64), np.empty(cells, np.int64)
    starts, ends, above = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.float64)
    keys, rows = np.empty(max(most, k), np.float32), np.empty(max(most, k), np.int64)
    scratch = Scratch(z, totals, nodes, keys, rows, starts, ends, above, np.empty(views.shape[2], np.float32))
    for b in range(views.shape[0]):
        blocks, starts[0], ends[0], above[0] = 1, 0, biases[0].shape[0], 0.0
        given = top[b]
        for level in range(depth):
            if blocks < 0:
                break
            blocks = _descend(
                Table(weights[level], biases[level]), views[b, min(level, views.shape[1] - 1)], given,
                offsets[level], mode >= PATH and level > 0, 0.5 if mode == FADING else 1.0, beams[level],
                blocks, scratch,
            )  # fmt: skip
            given = given[:0]
        size = -1
        if blocks >= 0:
            size = _arrive(
                Table(weights[depth], biases[depth]), views[b, views.shape[1] - 1], order, mode == LABEL, k,
                excluded[cuts[b] : cuts[b + 1]], blocks, scratch,
            )  # fmt: skip
        bad[0] += size < 0
        _finish(keys, rows, max(size, 0), mode, labels[b], scores[b])
