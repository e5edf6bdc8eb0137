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
from megalabel.kernels.linear._beam_arrays import Heaps, Hidden
from megalabel.kernels.linear._cpu.chunk_rows import add_found, add_spread, add_tabled, rows_are_fewer, write_table
from megalabel.kernels.linear._cpu.prepacked import LOOKED_UP, add_prepacked

CUBED, SQUARED, SIGMOID = range(3)


@helper
def _log_score(z, mode):
    """The logarithm of the post-processed score; at most 0."""
    if mode == SIGMOID:
        return log_sigmoid(z)
    short = 1.0 - z
    if short <= 0.0:
        return 0.0
    return -short * short * short if mode == CUBED else -short * short


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


@helper
def _score_children(text, chunk, queries, tabled, level, scores, found):
    """Computes the scores of the children of a chunk for a text; found: scratch of `add_prepacked`."""
    first_node, first = level.offsets[chunk], level.starts[chunk * level.ranges]
    own = slice(queries.indptr[text], queries.indptr[text + 1])
    scaled = len(level.scales) > 0
    scores[:] = 0.0
    if not scaled:
        scores[:] = level.bias[first_node : first_node + len(scores)]
    if tabled:
        add_tabled(scores, queries.columns[own], queries.values[own], first, queries.table, level)
    elif len(queries.spread) > 0 and rows_are_fewer(chunk, own.stop - own.start, level):
        add_spread(scores, queries.spread, chunk, level)
    elif len(level.records.buckets) > 0:
        add_prepacked(scores, queries.columns[own], queries.values[own], chunk, level.records, found)
    else:
        add_found(scores, queries.columns[own], queries.values[own], chunk, level)
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
    found_records = np.empty((2, LOOKED_UP), np.int64)
    if len(beam_sizes) == 1:
        texts, places = _pairs_of_one(beam_sizes[0])
    else:
        texts, places = _pairs_by_chunk(nodes, beam_sizes, len(level.offsets) - 1)
    end, tabled = 0, False
    for j in range(len(texts)):
        text, chunk = texts[j], nodes[texts[j], places[j]]
        if j == end:
            end, n_looked_up = _run_of_chunk(texts, places, nodes, j, indptr)
            tabled = (
                len(table) > 0 and len(level.records.buckets) == 0 and rows_are_fewer(chunk, n_looked_up, level)
            )
            if tabled:
                write_table(table, chunk, level, False)
        # A child's score is at most its parent's, so that a whole chunk may be skipped.
        total = above.keys[text, places[j]]
        if sizes[text] < room or total >= keys[text, 0]:
            scores = z[: level.offsets[chunk + 1] - level.offsets[chunk]]
            _score_children(text, chunk, queries, tabled, level, scores, found_records)
            sizes[text] = _offer_children(
                scores, total, mode, level.offsets[chunk], level.ids,
                excluded.nodes[excluded.cuts[text] : excluded.cuts[text + 1]],
                keys[text], rows[text], sizes[text], room,
            )  # fmt: skip
        if tabled and j + 1 == end:
            write_table(table, chunk, level, True)
