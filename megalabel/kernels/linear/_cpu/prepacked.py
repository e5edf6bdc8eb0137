"""Numba implementation of `linear/prepacked.py`: writes the records of a level, and reads those of a text.

A search takes most of its time waiting for weights, which lie at random places of the memory. So the records of
many features are fetched at the same time, before the first of them is read.
"""

from __future__ import annotations

import numpy as np

from megalabel.kernels.core._cpu.compiling import compiled, helper
from megalabel.kernels.core._cpu.pointers import inlined, pointer, prefetch, shifted
from megalabel.kernels.linear._cpu.chunk_rows import entries_of

LOOKED_UP = 64  # features whose records are fetched together; the first level of the cache holds so many
_LINE = 16  # words of a cache line
_FACTOR = 2654435761  # 2³² divided by the golden ratio (Knuth, The Art of Computer Programming 3, section 6.4)
_BITS = 0xFFFFFFFF


@inlined
def _bucket(feature, n_buckets):
    return (((feature * _FACTOR) & _BITS) * n_buckets) >> 32


@inlined
def _n_stored(n, width):
    """The number of weights in the record of a row with n entries, in a chunk of `width` children."""
    return width if 2 * n >= width else n


@inlined
def _n_words(n, width):
    """The length of a record with n weights."""
    return 1 + n if n == width else 1 + ((n + 3) >> 2) + n


@compiled
def count_words(level, first_buckets, sizes):
    """Adds to sizes[b + 1] the number of words of the records of each bucket b."""
    for chunk in range(len(first_buckets) - 1):
        first, n_buckets = first_buckets[chunk], first_buckets[chunk + 1] - first_buckets[chunk]
        width = level.offsets[chunk + 1] - level.offsets[chunk]
        for part in range(level.ranges):
            at = chunk * level.ranges + part
            for row in range(level.starts[at], level.starts[at + 1]):
                feature = (part << level.shift) + np.int64(level.features[row])
                start, stop = entries_of(row, level.entries, level.lengths)
                bucket = first + _bucket(feature, n_buckets)
                sizes[bucket + 1] += _n_words(_n_stored(stop - start, width), width)


@compiled
def write_records(level, first_buckets, places, words, children, weights):
    """Writes the records over zeros; places: where the next record of each bucket begins, which is changed.

    children, weights: the memory of `words` as uint8 and float32.
    """
    for chunk in range(len(first_buckets) - 1):
        first, n_buckets = first_buckets[chunk], first_buckets[chunk + 1] - first_buckets[chunk]
        width = level.offsets[chunk + 1] - level.offsets[chunk]
        for part in range(level.ranges):
            at = chunk * level.ranges + part
            for row in range(level.starts[at], level.starts[at + 1]):
                feature = (part << level.shift) + np.int64(level.features[row])
                start, stop = entries_of(row, level.entries, level.lengths)
                bucket, n = first + _bucket(feature, n_buckets), _n_stored(stop - start, width)
                place = np.int64(places[bucket])
                places[bucket] += _n_words(n, width)
                words[place] = (feature << 8) | (n - 1)
                weight = place + _n_words(n, width) - n
                for i in range(stop - start):
                    child = level.children[start + i]
                    if n == width:
                        weights[weight + child] = level.weights[start + i]
                    else:
                        weights[weight + i], children[4 * (place + 1) + i] = level.weights[start + i], child


@helper
def add_prepacked(z, columns, values, chunk, records, found):
    """Adds the features of a text to the scores of the children of a chunk; found: (2, LOOKED_UP) scratch."""
    first = records.first_buckets[chunk]
    n_buckets, buckets = records.first_buckets[chunk + 1] - first, shifted(pointer(records.buckets), first)
    words, children, weights = pointer(records.words), pointer(records.children), pointer(records.weights)
    scores, features, starts, stops = pointer(z), pointer(columns), pointer(found[0]), pointer(found[1])
    for begin in range(0, len(columns), LOOKED_UP):
        end = min(begin + LOOKED_UP, len(columns))
        for i in range(begin, end):
            bucket = _bucket(np.int64(features[i]), n_buckets)
            start, stop = np.int64(buckets[bucket]), np.int64(buckets[bucket + 1])
            starts[i - begin], stops[i - begin] = start, stop
            prefetch(words, start)
            prefetch(words, start + _LINE)
            prefetch(words, start + 2 * _LINE)
        for i in range(begin, end):
            place = _record_of(words, starts[i - begin], stops[i - begin], np.int64(features[i]), len(z))
            if place >= 0:
                n, x = np.int64(words[place] & 255) + 1, np.float64(values[i])
                own = shifted(weights, place + _n_words(n, len(z)) - n)
                if n == len(z):
                    for child in range(n):
                        scores[child] += np.float64(own[child]) * x
                else:
                    for j in range(n):
                        scores[children[4 * (place + 1) + j]] += np.float64(own[j]) * x


@inlined
def _record_of(words, place, stop, feature, width):
    """Where the record of a feature begins among those between two places; -1 if there is none."""
    while place < stop:
        header = np.int64(words[place])
        if header >> 8 == feature:
            return place
        place += _n_words((header & 255) + 1, width)
    return -1
