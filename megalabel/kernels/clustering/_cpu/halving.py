"""Compiled steps of splitting a node, shared by large and small nodes: differences, halves, centers.

They are called from compiled code only; the entry points for Python are in the files that import them.
"""

from __future__ import annotations

import numpy as np

from megalabel.kernels.core._cpu.compiling import helper, summing
from megalabel.kernels.core._cpu.select import smallest


@summing
def dot(columns, values, start, end, direction):
    """The dot product of entries start … end − 1 with a dense vector; unsigned columns allow vector gathers."""
    total = np.float32(0)
    for at in range(start, end):
        total += values[at] * direction[columns[at]]
    return total


@helper
def center_rows(draw, indptr, labels):
    """Two distinct rows with entries, as in `balanced_split.center_rows`."""
    n = len(labels)
    shift = np.uint64(32)
    first = np.int64(((draw[0] >> shift) * np.uint64(n)) >> shift)
    second = np.int64(((draw[1] >> shift) * np.uint64(n - 1)) >> shift)
    second += second >= first
    first = next_filled(indptr, labels, first, -1)
    second = next_filled(indptr, labels, second, first)
    if second == first:
        second = (second + 1) % n
    return first, second


@helper
def next_filled(indptr, labels, row, never):
    """The first row from `row` on, cyclically, that has entries and is not `never`; `row` if there is none."""
    n = len(labels)
    for step in range(n):
        found = (row + step) % n
        if found != never and indptr[labels[found]] < indptr[labels[found] + 1]:
            return found
    return row


@helper
def first_direction(indptr, columns, values, labels, draw, total, direction):
    """direction = second drawn row − first; returns the sum of the similarities of all rows to the first."""
    first, second = center_rows(draw, indptr, labels)
    direction[:] = 0
    for at in range(indptr[labels[second]], indptr[labels[second] + 1]):
        direction[columns[at]] += values[at]
    similarity = 0.0
    for at in range(indptr[labels[first]], indptr[labels[first] + 1]):
        direction[columns[at]] -= values[at]
        similarity += values[at] * total[columns[at]]
    return similarity


@summing
def moments(total, left_sum):
    """Σ left², Σ right² and Σ left · total, with right = total − left."""
    left_square, right_square, product = 0.0, 0.0, 0.0
    for c in range(len(total)):
        left, right = left_sum[c], total[c] - left_sum[c]
        left_square += left * left
        right_square += right * right
        product += left * total[c]
    return left_square, right_square, product


@helper
def new_direction(total, left_sum, direction):
    """direction = right center − left center; returns the summed similarity of all rows to the left center."""
    left_square, right_square, product = moments(total, left_sum)
    left_scale = 1 / np.sqrt(left_square) if left_square > 0 else 0.0
    right_scale = 1 / np.sqrt(right_square) if right_square > 0 else 0.0
    for c in range(len(total)):
        direction[c] = np.float32((total[c] - left_sum[c]) * right_scale - left_sum[c] * left_scale)
    return product * left_scale


@helper
def halve(difference, half, ranked, is_left, change):
    """Marks the `half` smallest differences as left, ties to the lower position.

    change[i] becomes 1 if row i moved to the left, -1 if it moved to the right, else 0. Returns the number of rows
    that moved and the sum of the differences on the right.
    """
    ranked[:] = difference
    bar = smallest(ranked, half - 1)
    equal = half
    for value in difference:
        equal -= value < bar
    moved, right = 0, 0.0
    for i in range(len(difference)):
        value = difference[i]
        left = value < bar
        if value == bar and equal > 0:
            equal -= 1
            left = True
        change[i] = np.int8(left) - np.int8(is_left[i])
        moved += left != is_left[i]
        is_left[i] = left
        if not left:
            right += value
    return moved, right
