"""Numba implementation of `sparse/sparse_rows.py`, which distributes blocks of rows over torch's threads."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from megalabel.kernels.core._cpu.compiling import compiled, helper
from megalabel.kernels.core._cpu.csr import tight
from megalabel.kernels.core._cpu.select import smallest
from megalabel.kernels.core.threads import parallel_for

_BLOCK = 1 << 10  # rows per task

_ONE = np.uint64(1)
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_BIT_INDEX = np.zeros(64, dtype=np.int64)
_BIT_INDEX[[((1 << position) * int(_DE_BRUIJN) & (1 << 64) - 1) >> 58 for position in range(64)]] = np.arange(64)


class Rows(NamedTuple):
    """The arrays of a CSR matrix."""

    indptr: np.ndarray
    columns: np.ndarray
    values: np.ndarray


class Scratch(NamedTuple):
    """A thread's memory for one row of a product with v columns.

    sums, seen and words are all zero before and after a row. seen has a bit per column, words a bit per word of
    seen: reading the set bits in order visits the columns of the row in order, without sorting.
    """

    sums: np.ndarray  # (v,)
    seen: np.ndarray
    words: np.ndarray
    touched: np.ndarray  # (v,), the columns of the row
    found: np.ndarray  # (2, v), their values, and a copy for the selection


def largest_of_rows(matrix: sp.csr_matrix, k: int) -> sp.csr_matrix:
    """The k largest entries of each row."""
    n = matrix.shape[0]
    indptr = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(np.minimum(np.diff(matrix.indptr), k), out=indptr[1:])
    columns = np.empty(indptr[-1], dtype=matrix.indices.dtype)
    values = np.empty(indptr[-1], dtype=matrix.dtype)

    def work(_: int, block: int) -> None:
        first, last = block * _BLOCK, min((block + 1) * _BLOCK, n)
        keep_rows(matrix.indptr, matrix.indices, matrix.data, first, last, k, indptr, columns, values)

    parallel_for(work, -(-n // _BLOCK))
    return sp.csr_matrix((values, columns, indptr), shape=matrix.shape)


def largest_of_product(a: sp.csr_matrix, x: sp.csr_matrix, k: int) -> sp.csr_matrix:
    """The k largest entries of each row of a · x."""
    n, v = a.shape[0], x.shape[1]
    # Room for the most entries that each row may keep; pages that are not written use no physical memory.
    indptr = np.zeros(n + 1, dtype=np.int64)
    most_of_rows(a.indptr, a.indices, x.indptr, min(k, v), indptr)
    columns = np.empty(indptr[-1], dtype=x.indices.dtype)
    values = np.empty(indptr[-1], dtype=x.dtype)
    counts = np.zeros(n, dtype=np.int64)
    scratch: dict[int, Scratch] = {}
    rows_of_a, rows_of_x = Rows(a.indptr, a.indices, a.data), Rows(x.indptr, x.indices, x.data)

    def work(worker: int, block: int) -> None:
        if worker not in scratch:
            scratch[worker] = Scratch(
                np.zeros(v, dtype=x.dtype),
                np.zeros((v >> 6) + 1, dtype=np.uint64),
                np.zeros((v >> 12) + 1, dtype=np.uint64),
                np.empty(v, dtype=x.indices.dtype),
                np.empty((2, v), dtype=x.dtype),
            )
        first, last = block * _BLOCK, min((block + 1) * _BLOCK, n)
        multiply_rows(rows_of_a, rows_of_x, first, last, k, scratch[worker], indptr, columns, values, counts)

    parallel_for(work, -(-n // _BLOCK))
    return tight(indptr, columns, values, counts, (n, v))


@compiled
def keep_rows(indptr, columns, values, first, last, k, new_indptr, new_columns, new_values):
    """The k largest entries of the rows first … last − 1."""
    ranked = np.empty(0, values.dtype)
    for row in range(first, last):
        start, size = indptr[row], indptr[row + 1] - indptr[row]
        position = new_indptr[row]
        if size <= k:
            for at in range(start, start + size):
                new_columns[position] = columns[at]
                new_values[position] = values[at]
                position += 1
            continue
        if len(ranked) < size:
            ranked = np.empty(2 * size, values.dtype)
        bar, ties = _bar(values[start : start + size], ranked[:size], k)
        for at in range(start, start + size):
            value = values[at]
            if value == bar:
                if ties == 0:
                    continue
                ties -= 1
            elif value < bar:
                continue
            new_columns[position] = columns[at]
            new_values[position] = value
            position += 1


@helper
def _bar(values, ranked, k):
    """The k-th largest value, and the number of values equal to it that are among the k largest."""
    ranked[:] = values
    bar = smallest(ranked, len(values) - k)
    ties = k
    for value in values:
        ties -= value > bar
    return bar, ties


@compiled
def most_of_rows(a_indptr, a_columns, x_indptr, k, indptr):
    """indptr of a matrix with room for k entries per row of a product, or for all if there are fewer."""
    for row in range(len(a_indptr) - 1):
        entries = 0
        for at in range(a_indptr[row], a_indptr[row + 1]):
            entries += x_indptr[a_columns[at] + 1] - x_indptr[a_columns[at]]
        indptr[row + 1] = indptr[row] + min(entries, k)


@compiled
def multiply_rows(a, x, first, last, k, scratch, indptr, columns, values, counts):
    """The k largest entries of the product's rows first … last − 1."""
    a_indptr, a_columns, a_values = a
    x_indptr, x_columns, x_values = x
    sums, seen, words, touched, found = scratch
    for row in range(first, last):
        for j in range(a_indptr[row], a_indptr[row + 1]):
            factor = a_values[j]
            for at in range(x_indptr[a_columns[j]], x_indptr[a_columns[j] + 1]):
                column = x_columns[at]
                sums[column] += factor * x_values[at]
                word = column >> 6
                seen[word] |= _ONE << np.uint64(column & 63)
                words[word >> 6] |= _ONE << np.uint64(word & 63)
        size = _collect(sums, seen, words, touched, found[0])
        bar, ties = -np.inf, 0
        if size > k:
            bar, ties = _bar(found[0, :size], found[1, :size], k)
        position = indptr[row]
        for i in range(size):
            value = found[0, i]
            if value == bar:
                if ties == 0:
                    continue
                ties -= 1
            elif value < bar:
                continue
            columns[position] = touched[i]
            values[position] = value
            position += 1
        counts[row] = position - indptr[row]


@helper
def _collect(sums, seen, words, touched, values):
    """Writes columns and values of the non-zero sums by column, resets them to zero, and returns their number."""
    size = 0
    for i in range(len(words)):
        while words[i] != 0:
            word = (i << 6) + _lowest(words[i])
            words[i] &= words[i] - _ONE
            bits = seen[word]
            seen[word] = 0
            while bits != 0:
                column = (word << 6) + _lowest(bits)
                bits &= bits - _ONE
                touched[size] = column
                values[size] = sums[column]
                size += sums[column] != 0
                sums[column] = 0
    return size


@helper
def _lowest(bits):
    """The index of the lowest set bit, by a de Bruijn sequence."""
    return _BIT_INDEX[((bits & (~bits + _ONE)) * _DE_BRUIJN) >> np.uint64(58)]
