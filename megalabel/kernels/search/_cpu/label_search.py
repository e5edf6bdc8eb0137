"""Numba implementation of `search/label_search.py`: scores chunks of sixteen rows, one or four texts at a time.

Only checked arrays may be passed: an index out of range would read memory outside of the arrays. The code is
serial; the caller distributes texts over threads, which may share a table.
"""

from __future__ import annotations

import numpy as np

from megalabel.kernels.core._cpu.compiling import compiled, helper
from megalabel.kernels.core._cpu.heaps import offer
from megalabel.kernels.core._cpu.lane_bits import lowest_bit
from megalabel.kernels.core._cpu.lanes import all_of, load, store, zeros
from megalabel.kernels.core._cpu.pointers import inlined, pointer, shifted
from megalabel.kernels.search._cpu.int_lanes import add_products, as_floats, bits_from, load_sums
from megalabel.kernels.search.arrays import Heaps

_TILE = 32  # groups of sixteen rows that all texts of a chunk pass before the next: 200 KB at a width of 384
_WIDTH = 16 * _TILE


@inlined
def _finish(z, at, sums, facts, group, traits, text):
    """Stores the scores of a group from its sums of products: see `label_search.py`."""
    like = zeros(16)
    where = 64 * group
    rate = load(facts, where, like) * all_of(traits[3 * text], like)
    found = as_floats(sums) * rate + load(facts, where + 16, like)
    found = found + load(facts, where + 32, like) * all_of(traits[3 * text + 1], like)
    store(z, at, found + load(facts, where + 48, like) * all_of(traits[3 * text + 2], like))


@inlined
def _score_one(z, codes, sums, facts, first, last, words, n_words, traits, text):
    """The scores of the groups first to last - 1 for one text."""
    size = 64 * n_words
    group = first
    while group + 4 <= last:
        a, b = load_sums(sums, 16 * group), load_sums(sums, 16 * group + 16)
        c, d = load_sums(sums, 16 * group + 32), load_sums(sums, 16 * group + 48)
        at = group * size
        for j in range(n_words):
            word, here = words[j], at + 64 * j
            a = add_products(a, codes, here, word)
            b = add_products(b, codes, here + size, word)
            c = add_products(c, codes, here + 2 * size, word)
            d = add_products(d, codes, here + 3 * size, word)
        place = 16 * (group - first)
        _finish(z, place, a, facts, group, traits, text)
        _finish(z, place + 16, b, facts, group + 1, traits, text)
        _finish(z, place + 32, c, facts, group + 2, traits, text)
        _finish(z, place + 48, d, facts, group + 3, traits, text)
        group += 4
    while group < last:
        a, at = load_sums(sums, 16 * group), group * size
        for j in range(n_words):
            a = add_products(a, codes, at + 64 * j, words[j])
        _finish(z, 16 * (group - first), a, facts, group, traits, text)
        group += 1


@inlined
def _score_four(z, codes, sums, facts, first, last, words, n_words, traits):
    """The same for four texts whose words and traits lie one after the other: the rows of z."""
    size = 64 * n_words
    for group in range(first, last - 3, 4):
        a00 = a10 = a20 = a30 = load_sums(sums, 16 * group)
        a01 = a11 = a21 = a31 = load_sums(sums, 16 * group + 16)
        a02 = a12 = a22 = a32 = load_sums(sums, 16 * group + 32)
        a03 = a13 = a23 = a33 = load_sums(sums, 16 * group + 48)
        for j in range(n_words):
            here = group * size + 64 * j
            w0, w1 = words[j], words[n_words + j]
            w2, w3 = words[2 * n_words + j], words[3 * n_words + j]
            a00 = add_products(a00, codes, here, w0)
            a10 = add_products(a10, codes, here, w1)
            a20 = add_products(a20, codes, here, w2)
            a30 = add_products(a30, codes, here, w3)
            a01 = add_products(a01, codes, here + size, w0)
            a11 = add_products(a11, codes, here + size, w1)
            a21 = add_products(a21, codes, here + size, w2)
            a31 = add_products(a31, codes, here + size, w3)
            a02 = add_products(a02, codes, here + 2 * size, w0)
            a12 = add_products(a12, codes, here + 2 * size, w1)
            a22 = add_products(a22, codes, here + 2 * size, w2)
            a32 = add_products(a32, codes, here + 2 * size, w3)
            a03 = add_products(a03, codes, here + 3 * size, w0)
            a13 = add_products(a13, codes, here + 3 * size, w1)
            a23 = add_products(a23, codes, here + 3 * size, w2)
            a33 = add_products(a33, codes, here + 3 * size, w3)
        place = 16 * (group - first)
        _finish(z, place, a00, facts, group, traits, 0)
        _finish(z, place + 16, a01, facts, group + 1, traits, 0)
        _finish(z, place + 32, a02, facts, group + 2, traits, 0)
        _finish(z, place + 48, a03, facts, group + 3, traits, 0)
        _finish(z, place + _WIDTH, a10, facts, group, traits, 1)
        _finish(z, place + 16 + _WIDTH, a11, facts, group + 1, traits, 1)
        _finish(z, place + 32 + _WIDTH, a12, facts, group + 2, traits, 1)
        _finish(z, place + 48 + _WIDTH, a13, facts, group + 3, traits, 1)
        _finish(z, place + 2 * _WIDTH, a20, facts, group, traits, 2)
        _finish(z, place + 16 + 2 * _WIDTH, a21, facts, group + 1, traits, 2)
        _finish(z, place + 32 + 2 * _WIDTH, a22, facts, group + 2, traits, 2)
        _finish(z, place + 48 + 2 * _WIDTH, a23, facts, group + 3, traits, 2)
        _finish(z, place + 3 * _WIDTH, a30, facts, group, traits, 3)
        _finish(z, place + 16 + 3 * _WIDTH, a31, facts, group + 1, traits, 3)
        _finish(z, place + 32 + 3 * _WIDTH, a32, facts, group + 2, traits, 3)
        _finish(z, place + 48 + 3 * _WIDTH, a33, facts, group + 3, traits, 3)
    for group in range(last - (last - first) % 4, last):
        a0 = a1 = a2 = a3 = load_sums(sums, 16 * group)
        for j in range(n_words):
            here = group * size + 64 * j
            a0 = add_products(a0, codes, here, words[j])
            a1 = add_products(a1, codes, here, words[n_words + j])
            a2 = add_products(a2, codes, here, words[2 * n_words + j])
            a3 = add_products(a3, codes, here, words[3 * n_words + j])
        place = 16 * (group - first)
        _finish(z, place, a0, facts, group, traits, 0)
        _finish(z, place + _WIDTH, a1, facts, group, traits, 1)
        _finish(z, place + 2 * _WIDTH, a2, facts, group, traits, 2)
        _finish(z, place + 3 * _WIDTH, a3, facts, group, traits, 3)


@helper
def _offer_scores(z, first, n_groups, ids, found, text):
    """Inserts the scores z of a tile that are among the best of a text into its heap."""
    data, like = pointer(z), zeros(16)
    keys, rows, size = found.keys[text], found.rows[text], found.sizes[text]
    room = len(keys)
    bar = keys[0] if size == room else np.float32(-np.inf)
    for group in range(n_groups):
        bits = bits_from(load(data, 16 * group, like), all_of(bar, like))
        while bits:
            place = lowest_bit(bits)
            bits &= bits - 1
            node = ids[16 * (first + group) + place]
            if node >= 0:
                size = offer(keys, rows, size, room, z[16 * group + place], np.int64(node))
                if size == room:
                    bar = keys[0]
    found.sizes[text] = size


@helper
def _pairs_by_chunk(rows, sizes, n_chunks):
    """All pairs (text, chunk that it enters), sorted by chunk, then by text; and where each chunk's pairs end."""
    ends = np.zeros(n_chunks + 1, np.int64)
    for text in range(len(sizes)):
        for place in range(sizes[text]):
            ends[rows[text, place] + 1] += 1
    ends = np.cumsum(ends)
    texts = np.empty(ends[-1], np.int64)
    for text in range(len(sizes)):
        for place in range(sizes[text]):
            chunk = rows[text, place]
            texts[ends[chunk]] = text
            ends[chunk] += 1
    return texts, ends  # ends[c] is now where the pairs of chunk c end


@helper
def _enter_level(queries, above, level, found):
    """Fills the heaps `found` with the best rows of the chunks in the heaps `above`."""
    n_words = queries.words.shape[1]
    codes, sums, facts = pointer(level.codes), pointer(level.sums), pointer(level.facts)
    words, traits = pointer(queries.words), pointer(queries.traits)
    scores = np.empty((4, _WIDTH), np.float32)
    z = pointer(scores)
    if len(above.sizes) == 1:
        for place in range(above.sizes[0]):
            chunk = above.rows[0, place]
            for first in range(level.starts[chunk], level.starts[chunk + 1], _TILE):
                last = min(first + _TILE, level.starts[chunk + 1])
                _score_one(z, codes, sums, facts, first, last, words, n_words, traits, 0)
                _offer_scores(scores[0], first, last - first, level.ids, found, 0)
        return
    texts, ends = _pairs_by_chunk(above.rows, above.sizes, len(level.starts) - 1)
    four_words, four_traits = np.empty((4, n_words), np.int32), np.empty((4, 3), np.float32)
    begin = 0
    for chunk in range(len(level.starts) - 1):
        end = ends[chunk]
        for first in range(level.starts[chunk], level.starts[chunk + 1] if end > begin else 0, _TILE):
            last = min(first + _TILE, level.starts[chunk + 1])
            at = begin
            while at < end:
                n = min(end - at, 4)
                if n < 3:
                    n, s = 1, texts[at]
                    _score_one(z, codes, sums, facts, first, last, shifted(words, s * n_words), n_words, traits, s)
                else:
                    for i in range(n):
                        four_words[i], four_traits[i] = queries.words[texts[at + i]], queries.traits[texts[at + i]]
                    one, two = pointer(four_words), pointer(four_traits)
                    _score_four(z, codes, sums, facts, first, last, one, n_words, two)
                for i in range(n):
                    _offer_scores(scores[i], first, last - first, level.ids, found, texts[at + i])
                at += n
        begin = end


@compiled
def descend(queries, levels, rooms, found):
    """Fills the heaps `found` with the best labels of the last level; arguments as in `label_search.py`."""
    n = len(found.sizes)
    above = Heaps(np.zeros((n, 1), np.float32), np.zeros((n, 1), np.int64), np.ones(n, np.int64))
    for i in range(len(levels) - 1):
        room = rooms[i]
        below = Heaps(np.empty((n, room), np.float32), np.empty((n, room), np.int64), np.zeros(n, np.int64))
        _enter_level(queries, above, levels[i], below)
        above = below
    _enter_level(queries, above, levels[len(levels) - 1], found)
