"""Numba implementation of `linear/sparse_beam.py`: moves a block of texts down one level of the tree at a time.

Only checked arrays may be passed: an index out of range would read memory outside of the arrays. The code is
serial; the caller distributes texts over threads, which may share a tree. Scores are summed in float64 in the
order of a text's features, so that their bits depend neither on the kind of look-up nor on the other texts of the
batch.
"""

from __future__ import annotations

import numpy as np
from numba.core import types
from numba.extending import overload

from megalabel.kernels.core._cpu.compiling import compiled, helper, summing
from megalabel.kernels.core._cpu.heaps import holds, log_sigmoid, offer
from megalabel.kernels.core._cpu.search import lower_bound
from megalabel.kernels.linear._beam_arrays import Heaps, Hidden
from megalabel.kernels.linear.sparse_chunks import ROWS_PER_ENTRY

CUBED, SQUARED, SIGMOID = range(3)
# A step of a binary search takes about as long as writing this many rows to the table and clearing them again.
_ROWS_A_STEP = 2


@helper
def _log_score(z, mode):
    """The logarithm of the post-processed score; at most 0."""
    if mode == SIGMOID:
        return log_sigmoid(z)
    short = 1.0 - z
    if short <= 0.0:
        return 0.0
    return -short * short * short if mode == CUBED else -short * short


def _decoded(weight):
    """A stored weight as float64, without its scale; uint16 holds the bits of a bfloat16."""


@overload(_decoded, inline="always")
def _decoded_by_type(weight):
    if weight == types.uint16:
        return lambda weight: np.float64(np.uint32(np.uint32(weight) << np.uint32(16)).view(np.float32))
    return lambda weight: np.float64(weight)


@helper
def _entries_of(row, entries, lengths):
    """Where the entries of a row begin and end."""
    if len(lengths) == 0:
        return np.int64(entries[row]), np.int64(entries[row + 1])
    start = np.int64(entries[row // ROWS_PER_ENTRY])
    for before in range(row - row % ROWS_PER_ENTRY, row):
        start += np.int64(lengths[before]) + 1
    return start, start + np.int64(lengths[row]) + 1


@helper
def _add(z, x, row, level):
    first, last = _entries_of(row, level.entries, level.lengths)
    for at in range(first, last):
        z[level.children[at]] += _decoded(level.weights[at]) * x


@helper
def _add_found(z, columns, values, chunk, level):
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
def _add_tabled(z, columns, values, first, table, level):
    """The same with a table of all features, which holds 1 + the row within the chunk, or 0."""
    for i in range(len(columns)):
        place = table[columns[i]]
        if place > 0:
            _add(z, np.float64(values[i]), first + place - 1, level)


@helper
def _add_spread(z, spread, chunk, level):
    """The same with the values of a text by feature: looks up the rows of the chunk in the text."""
    for part in range(level.ranges):
        at, first = chunk * level.ranges + part, part << level.shift
        for row in range(level.starts[at], level.starts[at + 1]):
            value = spread[first + np.int64(level.features[row])]
            if value != 0:
                _add(z, np.float64(value), row, level)


@helper
def _write_table(table, chunk, level, clear):
    """Writes 1 + the row within the chunk of each feature to the table, or zeros."""
    first = level.starts[chunk * level.ranges]
    for part in range(level.ranges):
        at = chunk * level.ranges + part
        for row in range(level.starts[at], level.starts[at + 1]):
            table[(part << level.shift) + np.int64(level.features[row])] = 0 if clear else row - first + 1


@summing
def _dot(x, weights):
    total = np.float32(0)
    for i in range(len(x)):
        total += x[i] * weights[i]
    return total


@helper
def _pairs_by_chunk(nodes, sizes, n_chunks):
    """All pairs (text, position in its beam), sorted by the chunk below the node, then by text."""
    ends = np.zeros(n_chunks + 1, np.int64)
    for text in range(len(sizes)):
        for place in range(sizes[text]):
            ends[nodes[text, place] + 1] += 1
    ends = np.cumsum(ends)
    texts, places = np.empty(ends[-1], np.int64), np.empty(ends[-1], np.int64)
    for text in range(len(sizes)):
        for place in range(sizes[text]):
            at = ends[nodes[text, place]]
            texts[at], places[at] = text, place
            ends[nodes[text, place]] += 1
    return texts, places


@helper
def _pairs_of_one(size):
    """The positions of a single text's beam, reversed, since a heap has the worst first."""
    return np.zeros(size, np.int64), np.arange(size - 1, -1, -1)


@helper
def _run_of_chunk(texts, places, nodes, j, indptr):
    """Where the pairs with the chunk of pair j end, and the total number of features of their texts."""
    chunk, end, n_features = nodes[texts[j], places[j]], j, 0
    while end < len(texts) and nodes[texts[end], places[end]] == chunk:
        n_features += indptr[texts[end] + 1] - indptr[texts[end]]
        end += 1
    return end, n_features


@helper
def _rows_are_fewer(chunk, n_looked_up, level):
    """Whether passing all rows of a chunk takes less time than looking up so many features by binary search."""
    n_rows = level.starts[(chunk + 1) * level.ranges] - level.starts[chunk * level.ranges]
    return n_rows < _ROWS_A_STEP * n_looked_up * np.log2(n_rows + 1.0)


@helper
def _offer_children(z, above, mode, first, ids, excluded, keys, rows, size, room):
    for child in range(len(z)):
        # The logarithm is at most min(z, 0) or 0; if this bound is too low, the exact value is not needed.
        if mode == SIGMOID and size == room and above + min(z[child], 0.0) < keys[0]:
            continue
        key = above + _log_score(z[child], mode)
        if size == room and key < keys[0]:
            continue
        node = ids[first + child]
        if not holds(excluded, node):
            size = offer(keys, rows, size, room, key, node)
    return size


@helper
def _score_children(text, chunk, queries, tabled, level, scores):
    """Computes the scores of the children of a chunk for a text."""
    first_node, first = level.offsets[chunk], level.starts[chunk * level.ranges]
    own = slice(queries.indptr[text], queries.indptr[text + 1])
    scaled = len(level.scales) > 0
    scores[:] = 0.0
    if not scaled:
        scores[:] = level.bias[first_node : first_node + len(scores)]
    if tabled:
        _add_tabled(scores, queries.columns[own], queries.values[own], first, queries.table, level)
    elif len(queries.spread) > 0 and _rows_are_fewer(chunk, own.stop - own.start, level):
        _add_spread(scores, queries.spread, chunk, level)
    else:
        _add_found(scores, queries.columns[own], queries.values[own], chunk, level)
    if scaled:
        for child in range(len(scores)):
            node = first_node + child
            scores[child] = np.float64(level.bias[node]) + np.float64(level.scales[node]) * scores[child]
    if level.dense.shape[1] > 0:
        for child in range(len(scores)):
            scores[child] += _dot(queries.dense[text], level.dense[first_node + child])


@compiled
def descend(queries, levels, rooms, mode, excluded, found):
    """Fills the heaps `found` with the best nodes of the last level, where all levels have the same dtypes.

    The types of the arguments are those of `_beam_arrays.py`. rooms: the number of nodes of each level that a text
    keeps. mode: the post-processor. excluded: the labels that are excluded for each text.
    """
    n = len(found.sizes)
    above = Heaps(np.zeros((n, 1)), np.zeros((n, 1), np.int64), np.ones(n, np.int64))
    nothing = Hidden(np.empty(0, np.int64), np.zeros(n + 1, np.int64))
    for i in range(len(levels) - 1):
        below = Heaps(np.empty((n, rooms[i])), np.empty((n, rooms[i]), np.int64), np.zeros(n, np.int64))
        _descend_level(queries, above, levels[i], mode, nothing, below)
        above = below
    _descend_level(queries, above, levels[len(levels) - 1], mode, excluded, found)


@compiled
def descend_level(queries, above, level, mode, excluded, found):
    """Fills the heaps `found` with the best children of the nodes `above`; arguments as in `descend`."""
    _descend_level(queries, above, level, mode, excluded, found)


@helper
def _descend_level(queries, above, level, mode, excluded, found):
    indptr, table = queries.indptr, queries.table
    nodes, beam_sizes = above.nodes, above.sizes
    keys, rows, sizes = found.keys, found.nodes, found.sizes
    room, z = keys.shape[1], np.empty(level.width, np.float64)
    if len(beam_sizes) == 1:
        texts, places = _pairs_of_one(beam_sizes[0])
    else:
        texts, places = _pairs_by_chunk(nodes, beam_sizes, len(level.offsets) - 1)
    end, tabled = 0, False
    for j in range(len(texts)):
        text, chunk = texts[j], nodes[texts[j], places[j]]
        if j == end:
            end, n_looked_up = _run_of_chunk(texts, places, nodes, j, indptr)
            tabled = len(table) > 0 and _rows_are_fewer(chunk, n_looked_up, level)
            if tabled:
                _write_table(table, chunk, level, False)
        # A child's score is at most its parent's, so that a whole chunk may be skipped.
        total = above.keys[text, places[j]]
        if sizes[text] < room or total >= keys[text, 0]:
            scores = z[: level.offsets[chunk + 1] - level.offsets[chunk]]
            _score_children(text, chunk, queries, tabled, level, scores)
            sizes[text] = _offer_children(
                scores, total, mode, level.offsets[chunk], level.ids,
                excluded.nodes[excluded.cuts[text] : excluded.cuts[text + 1]],
                keys[text], rows[text], sizes[text], room,
            )  # fmt: skip
        if tabled and j + 1 == end:
            _write_table(table, chunk, level, True)
