"""Numba implementation of `clustering/balanced_split.py`: all threads split a large node, one thread a small one.

Splitting a node reads its rows sequentially, but gathers from one dense vector, center1 − center0, at random.
Columns are therefore numbered by frequency first, and again within every small node in the order of their first
use by its rows, so that frequent ones are close together. A small node is copied in the order of its halves before
these are split, so that it soon fits into the caches of one core.

Whether a node is small depends on its size only, and sums of rows are exact in float64 (values are integer
multiples of 2⁻²⁴), so that threads may add rows in any order.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.kernels.clustering._cpu.halving import dot, first_direction, halve, new_direction
from megalabel.kernels.clustering._cpu.small_split import split_small
from megalabel.kernels.core._cpu.compiling import compiled
from megalabel.kernels.core.threads import cpu_threads, parallel_for

_SMALL = 1 << 21  # maximum number of entries of a small node: 16 MiB, and as much for its copy
_PIECE = 1 << 13  # rows of a large node that a thread processes at a time
_GRID = float(1 << 24)
_OWN, _RIGHT, _MOVED = range(3)  # positions of results of the compiled steps of a large node


def order_of_splits(
    features: sp.csr_matrix, depth: int, draws: np.ndarray, tolerance: float, max_rounds: int
) -> np.ndarray:
    """The label at each position after `depth` halvings: (L,) int64."""
    rows = _Rows(features)
    order = np.arange(features.shape[0], dtype=np.int64)
    small: list[tuple[int, int, int, int]] = []
    nodes = [(0, len(order), 1, depth)]
    while nodes:
        start, end, path, left = nodes.pop()
        labels = order[start:end]
        if left == 0 or len(labels) == 1:
            continue
        if rows.entries(labels) <= _SMALL:
            small.append((start, end, path, left))
            continue
        middle = start + _split_large(rows, labels, draws[path], tolerance, max_rounds)
        nodes += [(start, middle, 2 * path, left - 1), (middle, end, 2 * path + 1, left - 1)]

    def work(_: int, number: int) -> None:
        start, end, path, left = small[number]
        split_small(*rows.arrays, order[start:end], path, left, draws, tolerance, max_rounds, rows.n_columns)

    parallel_for(work, len(small))
    return order


class _Rows:
    """Rows of unit length, rounded to the grid, with columns numbered by frequency, and the number of threads."""

    def __init__(self, features: sp.csr_matrix) -> None:
        self.threads = cpu_threads()
        counts = np.zeros(features.shape[1], dtype=np.int64)
        count_columns(features.indices, counts)
        by_frequency = np.argsort(-counts, kind="stable")
        number = np.empty(len(counts), dtype=np.uint32)
        number[by_frequency] = np.arange(len(counts), dtype=np.uint32)
        self.n_columns = int((counts > 0).sum())
        n = features.shape[0]
        indptr = features.indptr.astype(np.int64)
        columns = np.empty(features.nnz, dtype=np.uint32)
        values = np.empty(features.nnz, dtype=np.float32)

        def work(_: int, piece: int) -> None:
            first, last = piece * _PIECE, min((piece + 1) * _PIECE, n)
            unit_rows(indptr, features.indices, features.data, number, first, last, columns, values)

        parallel_for(work, -(-n // _PIECE))
        self.arrays = indptr, columns, values
        self._sums = np.zeros((0, 0))

    def entries(self, labels: np.ndarray) -> int:
        indptr = self.arrays[0]
        return int((indptr[labels + 1] - indptr[labels]).sum())

    def differences(self, labels: np.ndarray, direction: np.ndarray, out: np.ndarray) -> None:
        def work(_: int, piece: int) -> None:
            part = slice(piece * _PIECE, (piece + 1) * _PIECE)
            row_differences(*self.arrays, labels[part], direction, out[part])

        parallel_for(work, -(-len(labels) // _PIECE))

    def add(self, labels: np.ndarray, signs: np.ndarray, total: np.ndarray) -> None:
        """total (n_columns,) float64 += Σ signs[i] · row of labels[i]."""
        n_pieces = -(-len(labels) // _PIECE)
        workers = max(1, min(self.threads, n_pieces))
        if self._sums.shape[0] < workers - 1:
            self._sums = np.zeros((workers - 1, self.n_columns))

        def work(worker: int, piece: int) -> None:
            part = slice(piece * _PIECE, (piece + 1) * _PIECE)
            into = self._sums[worker - 1] if worker else total
            add_rows(*self.arrays, labels[part], signs[part], into)

        parallel_for(work, n_pieces)
        for partial in self._sums[: workers - 1]:
            total += partial
            partial[:] = 0


def _split_large(rows: _Rows, labels: np.ndarray, draw: np.ndarray, tolerance: float, max_rounds: int) -> int:
    """Moves the left half of the labels to the front, each half in ascending order; returns its size."""
    n, half = len(labels), (len(labels) + 1) // 2
    total, left_sum = np.zeros(rows.n_columns), np.zeros(rows.n_columns)
    direction = np.empty(rows.n_columns, dtype=np.float32)
    rows.add(labels, np.ones(n, dtype=np.int8), total)
    state = np.zeros(3)
    start(*rows.arrays, labels, draw, total, direction, state)
    difference, ranked = np.empty(n, dtype=np.float32), np.empty(n, dtype=np.float32)
    change = np.zeros(n, dtype=np.int8)
    is_left = np.zeros(n, dtype=np.bool_)
    before = -np.inf
    for _ in range(max_rounds):
        rows.differences(labels, direction, difference)
        cut(difference, half, ranked, is_left, change, state)
        mean = (state[_OWN] + state[_RIGHT]) / n
        if mean - before < tolerance or state[_MOVED] == 0:
            break
        before = mean
        changed = np.flatnonzero(change)
        rows.add(labels[changed], change[changed], left_sum)
        turn(total, left_sum, direction, state)
    labels[:] = np.concatenate([labels[is_left], labels[~is_left]])
    return half


@compiled
def count_columns(indices, counts):
    """counts[c] += number of occurrences of column c."""
    for column in indices:
        counts[column] += 1


@compiled
def unit_rows(indptr, indices, data, number, first, last, columns, values):
    """Scales rows first … last − 1 to unit length, rounds them to the grid, and renumbers their columns."""
    for row in range(first, last):
        start, end = indptr[row], indptr[row + 1]
        square = 0.0
        for at in range(start, end):
            square += np.float64(data[at]) * np.float64(data[at])
        scale = 1 / np.sqrt(square) if square > 0 else 0.0
        for at in range(start, end):
            columns[at] = number[indices[at]]
            values[at] = np.float32(np.rint(data[at] * scale * _GRID) / _GRID)


@compiled
def row_differences(indptr, columns, values, labels, direction, out):
    """out[i] = row of labels[i] · direction."""
    for i in range(len(labels)):
        out[i] = dot(columns, values, indptr[labels[i]], indptr[labels[i] + 1], direction)


@compiled
def add_rows(indptr, columns, values, labels, signs, total):
    """total += Σ signs[i] · row of labels[i]."""
    for i in range(len(labels)):
        sign = np.float64(signs[i])
        for at in range(indptr[labels[i]], indptr[labels[i] + 1]):
            total[columns[at]] += sign * values[at]


@compiled
def start(indptr, columns, values, labels, draw, total, direction, state):
    """`first_direction`; writes the similarity to state[_OWN]."""
    state[_OWN] = first_direction(indptr, columns, values, labels, draw, total, direction)


@compiled
def turn(total, left_sum, direction, state):
    """`new_direction`; writes the similarity to state[_OWN]."""
    state[_OWN] = new_direction(total, left_sum, direction)


@compiled
def cut(difference, half, ranked, is_left, change, state):
    """`halve`; writes its two results to state[_MOVED] and state[_RIGHT]."""
    state[_MOVED], state[_RIGHT] = halve(difference, half, ranked, is_left, change)
