"""Adds the features of a text to the scores of the children of a chunk, whose rows are found in one of three ways.

All of them add in the order of the features, so that the scores have the same bits.
"""

from __future__ import annotations

import numpy as np
from numba.core import types
from numba.extending import overload

from megalabel.kernels.core._cpu.compiling import helper
from megalabel.kernels.core._cpu.search import lower_bound
from megalabel.kernels.linear.sparse_chunks import ROWS_PER_ENTRY

# A step of a binary search takes about as long as writing this many rows to the table and clearing them again.
_ROWS_A_STEP = 2


def decoded(weight):
    """A stored weight as float64, without its scale; uint16 holds the bits of a bfloat16."""


@overload(decoded, inline="always")
def _decoded_by_type(weight):
    if weight == types.uint16:
        return lambda weight: np.float64(np.uint32(np.uint32(weight) << np.uint32(16)).view(np.float32))
    return lambda weight: np.float64(weight)


@helper
def entries_of(row, entries, lengths):
    """Where the entries of a row begin and end."""
    if len(lengths) == 0:
        return np.int64(entries[row]), np.int64(entries[row + 1])
    start = np.int64(entries[row // ROWS_PER_ENTRY])
    for before in range(row - row % ROWS_PER_ENTRY, row):
        start += np.int64(lengths[before]) + 1
    return start, start + np.int64(lengths[row]) + 1


@helper
def _add(z, x, row, level):
    first, last = entries_of(row, level.entries, level.lengths)
    for at in range(first, last):
        z[level.children[at]] += decoded(level.weights[at]) * x


@helper
def add_found(z, columns, values, chunk, level):
    """Adds the features of a text, looked up by binary search in the rows of a chunk; both ascend."""
    current, first, last = -1, 0, 0
    for i in range(len(columns)):
        part = np.int64(columns[i]) >> level.shift
        if part != current:
            current = part
            first, last = level.starts[chunk * level.ranges + part], level.starts[chunk * level.ranges + part + 1]
        feature = np.int64(columns[i]) - (part << level.shift)
        first = lower_bound(level.features, first, last, feature)
        if first < last and level.features[first] == feature:
            _add(z, np.float64(values[i]), first, level)


@helper
def add_tabled(z, columns, values, first, table, level):
    """The same with a table of all features, which holds 1 + the row within the chunk, or 0."""
    for i in range(len(columns)):
        place = table[columns[i]]
        if place > 0:
            _add(z, np.float64(values[i]), first + place - 1, level)


@helper
def add_spread(z, spread, chunk, level):
    """The same with the values of a text by feature: looks up the rows of the chunk in the text."""
    for part in range(level.ranges):
        at, first = chunk * level.ranges + part, part << level.shift
        for row in range(level.starts[at], level.starts[at + 1]):
            value = spread[first + np.int64(level.features[row])]
            if value != 0:
                _add(z, np.float64(value), row, level)


@helper
def write_table(table, chunk, level, clear):
    """Writes 1 + the row within the chunk of each feature to the table, or zeros."""
    first = level.starts[chunk * level.ranges]
    for part in range(level.ranges):
        at = chunk * level.ranges + part
        for row in range(level.starts[at], level.starts[at + 1]):
            table[(part << level.shift) + np.int64(level.features[row])] = 0 if clear else row - first + 1


@helper
def rows_are_fewer(chunk, n_looked_up, level):
    """Whether passing all rows of a chunk takes less time than looking up so many features."""
    n_rows = level.starts[(chunk + 1) * level.ranges] - level.starts[chunk * level.ranges]
    steps = 1.0 if len(level.records.buckets) > 0 else np.log2(n_rows + 1.0)
    return n_rows < _ROWS_A_STEP * n_looked_up * steps
