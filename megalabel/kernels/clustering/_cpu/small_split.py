"""Splits a small node down to its leaves in one thread, with copies of its rows in the order of the halves."""

import numpy as np

from megalabel.kernels.clustering._cpu.halving import dot, first_direction, halve, new_direction
from megalabel.kernels.core._cpu.compiling import compiled, helper

_NONE = np.uint32(0xFFFFFFFF)


@helper
def _renumber(columns, values, start, end, number, names, total):
    """Numbers the columns of entries start … end − 1 by their first use, and sums them; returns their number."""
    width = np.uint32(0)
    for at in range(start, end):
        new = number[columns[at]]
        if new == _NONE:
            new = width
            number[columns[at]] = new
            names[new] = columns[at]
            total[new] = 0
            width += np.uint32(1)
        columns[at] = new
        total[new] += values[at]
    for c in range(width):
        number[names[c]] = _NONE
    return np.int64(width)


@helper
def _deal(here, there, first, n, is_left):
    """Copies n rows from `here` to the same range of `there`, the left half first, in order within each half."""
    indptr, columns, values, labels = here
    new_indptr, new_columns, new_values, new_labels = there
    place, entry = first, indptr[first]
    for side in (True, False):
        for row in range(n):
            if is_left[row] != side:
                continue
            new_indptr[place] = entry
            new_labels[place] = labels[first + row]
            for at in range(indptr[first + row], indptr[first + row + 1]):
                new_columns[entry] = columns[at]
                new_values[entry] = values[at]
                entry += 1
            place += 1
    new_indptr[place] = entry


@helper
def _room(n, entries):
    """Allocates the arrays of a copy: indptr, columns, values, labels."""
    return (
        np.zeros(n + 1, dtype=np.int64),
        np.empty(entries, dtype=np.uint32),
        np.empty(entries, dtype=np.float32),
        np.empty(n, dtype=np.int64),
    )


@helper
def _rounds(rows, draw, tolerance, max_rounds, columns_scratch, rows_scratch):
    """Halves the rows of one node; the result is in is_left.

    rows: indptr, columns and values. columns_scratch: total, left_sum and direction, one number per column.
    rows_scratch: difference, ranked, is_left and change, one number per row.
    """
    indptr, columns, values = rows
    total, left_sum, direction = columns_scratch
    difference, ranked, is_left, change = rows_scratch
    n = len(difference)
    is_left[:] = False
    left_sum[:] = 0
    own = first_direction(indptr, columns, values, np.arange(n), draw, total, direction)
    before = -np.inf
    for _ in range(max_rounds):
        for i in range(n):
            difference[i] = dot(columns, values, indptr[i], indptr[i + 1], direction)
        moved, right_similarity = halve(difference, (n + 1) // 2, ranked, is_left, change)
        mean = (own + right_similarity) / n
        if mean - before < tolerance or moved == 0:
            break
        before = mean
        for i in range(n):
            if change[i] != 0:
                sign = np.float64(change[i])
                for at in range(indptr[i], indptr[i + 1]):
                    left_sum[columns[at]] += sign * values[at]
        own = new_direction(total, left_sum, direction)


@compiled
def split_small(indptr, columns, values, order, path, depth, draws, tolerance, max_rounds, n_columns):
    """Halves the labels `order` `depth` times, in place, in one thread.

    Nodes at even depth are stored in one copy, those at odd depth in the other, always in the range of their
    positions, so that splitting the left half does not overwrite the right half.
    """
    n = len(order)
    entries = 0
    for label in order:
        entries += indptr[label + 1] - indptr[label]
    even, odd = _room(n, entries), _room(n, entries)
    entry = 0
    for i in range(n):
        even[3][i] = order[i]
        for at in range(indptr[order[i]], indptr[order[i] + 1]):
            even[1][entry] = columns[at]
            even[2][entry] = values[at]
            entry += 1
        even[0][i + 1] = entry
    width = min(n_columns, entries)
    number, names = np.full(n_columns, _NONE, dtype=np.uint32), np.empty(width, dtype=np.uint32)
    total, left_sum = np.empty(width), np.empty(width)
    direction = np.empty(width, dtype=np.float32)
    difference, ranked = np.empty(n, dtype=np.float32), np.empty(n, dtype=np.float32)
    change, is_left = np.empty(n, dtype=np.int8), np.empty(n, dtype=np.bool_)
    stack = [(0, n, path, depth)]
    while len(stack) > 0:
        first, last, path, left = stack.pop()
        here, there = (even, odd) if (depth - left) % 2 == 0 else (odd, even)
        size = last - first
        if left == 0 or size == 1:
            order[first:last] = here[3][first:last]
            continue
        width = _renumber(here[1], here[2], here[0][first], here[0][last], number, names, total)
        _rounds(
            (here[0][first : last + 1], here[1], here[2]),
            draws[path],
            tolerance,
            max_rounds,
            (total[:width], left_sum[:width], direction[:width]),
            (difference[:size], ranked[:size], is_left[:size], change[:size]),
        )
        _deal(here, there, first, size, is_left)
        middle = first + (size + 1) // 2
        stack.append((middle, last, 2 * path + 1, left - 1))
        stack.append((first, middle, 2 * path, left - 1))
