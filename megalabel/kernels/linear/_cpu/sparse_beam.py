"""Numba implementation of `linear/sparse_beam.py`: moves a block of texts down one level of the tree at a time.

Only checked arrays may be passed: an index out of range would read memory outside of the arrays. The code is
serial; the caller distributes texts over threads, which may share a tree. Scores are summed in float64 in the
order of a text's features, so that their bits depend neither on the kind of look-up nor on the other texts of the
batch.
"""

from __future__ import annotations

import numpy as np

from megalabel.kernels.core._cpu.compiling import compiled, helper, summing
from megalabel.kernels.core._cpu.heaps import holds, log_sigmoid, offer
from megalabel.kernels.core._cpu.search import lower_bound
from megalabel.kernels.linear._beam_arrays import Heaps, Hidden

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


@helper
def _add(z, x, row, entries, children, weights):
    for at in range(entries[row], entries[row + 1]):
        z[children[at]] += np.float64(weights[at]) * x


@helper
def _add_found(z, columns, values, first, last, features, entries, children, weights):
    """Adds the features of a text, looked up by binary search in rows first … last − 1 of a chunk; both ascend."""
    for i in range(len(columns)):
        first = lower_bound(features, first, last, columns[i])
        if first < last and features[first] == columns[i]:
            _add(z, np.float64(values[i]), first, entries, children, weights)


@helper
def _add_tabled(z, columns, values, first, table, entries, children, weights):
    """The same with a table of all features, which holds 1 + the row within the chunk, or 0."""
    for i in range(len(columns)):
        place = table[columns[i]]
        if place > 0:
            _add(z, np.float64(values[i]), first + place - 1, entries, children, weights)


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


@compiled
def descend(queries, levels, rooms, mode, excluded, found):
    """Fills the heaps `found` with the best nodes of the last level; the types are those of `_beam_arrays.py`.

    rooms: the number of nodes of each level that a text keeps. mode: the post-processor. excluded: the labels that
    are excluded for each text.
    """
    n = len(found.sizes)
    above = Heaps(np.zeros((n, 1)), np.zeros((n, 1), np.int64), np.ones(n, np.int64))
    nothing = Hidden(np.empty(0, np.int64), np.zeros(n + 1, np.int64))
    for i in range(len(levels) - 1):
        below = Heaps(np.empty((n, rooms[i])), np.empty((n, rooms[i]), np.int64), np.zeros(n, np.int64))
        _descend_level(queries, above, levels[i], mode, nothing, below)
        above = below
    _descend_level(queries, above, levels[len(levels) - 1], mode, excluded, found)


@helper
def _descend_level(queries, above, level, mode, excluded, found):
    """Fills the heaps `found` with the best children of the nodes `above`."""
    indptr, columns, values, table = queries.indptr, queries.columns, queries.values, queries.table
    nodes, beam_sizes = above.nodes, above.sizes
    offsets, starts, features, bias = level.offsets, level.starts, level.features, level.bias
    entries, children, weights, dense = level.entries, level.children, level.weights, level.dense
    keys, rows, sizes = found.keys, found.nodes, found.sizes
    room, z = keys.shape[1], np.empty(level.width, np.float64)
    if len(beam_sizes) == 1:
        texts, places = _pairs_of_one(beam_sizes[0])
    else:
        texts, places = _pairs_by_chunk(nodes, beam_sizes, len(offsets) - 1)
    end = 0
    for j in range(len(texts)):
        text, chunk = texts[j], nodes[texts[j], places[j]]
        first, last = starts[chunk], starts[chunk + 1]
        if j == end:
            end, n_looked_up = _run_of_chunk(texts, places, nodes, j, indptr)
            steps = n_looked_up * np.log2(last - first + 1.0)
            tabled = len(table) > 0 and last - first < _ROWS_A_STEP * steps
            if tabled:
                for row in range(first, last):
                    table[features[row]] = row - first + 1
        # A child's score is at most its parent's, so that a whole chunk may be skipped.
        total = above.keys[text, places[j]]
        if sizes[text] < room or total >= keys[text, 0]:
            scores = z[: offsets[chunk + 1] - offsets[chunk]]
            scores[:] = bias[offsets[chunk] : offsets[chunk + 1]]
            own = slice(indptr[text], indptr[text + 1])
            if tabled:
                _add_tabled(scores, columns[own], values[own], first, table, entries, children, weights)
            else:
                _add_found(scores, columns[own], values[own], first, last, features, entries, children, weights)
            if dense.shape[1] > 0:
                for child in range(len(scores)):
                    scores[child] += _dot(queries.dense[text], dense[offsets[chunk] + child])
            sizes[text] = _offer_children(
                scores, total, mode, offsets[chunk], level.ids,
                excluded.nodes[excluded.cuts[text] : excluded.cuts[text + 1]],
                keys[text], rows[text], sizes[text], room,
            )  # fmt: skip
        if tabled and j + 1 == end:
            for row in range(first, last):
                table[features[row]] = 0
