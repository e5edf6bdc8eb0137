"""Functions for beam search: heaps of the best entries with the worst at the root, sorted ids, and log sigmoid."""

import math

import numpy as np

from megalabel.kernels.core._cpu.compiling import helper
from megalabel.kernels.core._cpu.search import lower_bound


@helper
def log_sigmoid(z):
    """log σ(z) in float64; at most min(z, 0), on which the bounds of the beam searches rely."""
    wide = np.float64(z)
    if wide >= 0:
        return -math.log1p(math.exp(-wide))
    return wide - math.log1p(math.exp(wide))


@helper
def before(key, row, other_key, other_row):
    """Whether the first pair ranks before the second: the larger key, or the lower row for equal keys."""
    return key > other_key or (key == other_key and row < other_row)


@helper
def sink(keys, rows, size, key, row):
    """Replaces the root of a heap, whose root is the last in rank, by (key, row), and restores the heap."""
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and before(keys[child], rows[child], keys[child + 1], rows[child + 1]):
            child += 1
        if not before(key, row, keys[child], rows[child]):
            break
        keys[place], rows[place] = keys[child], rows[child]
        place = child
    keys[place], rows[place] = key, row


@helper
def offer(keys, rows, size, room, key, row):
    """Inserts (key, row) if it is among the `room` best so far; returns the new size of the heap."""
    if size == room:
        if before(key, row, keys[0], rows[0]):
            sink(keys, rows, size, key, row)
        return size
    place = size
    while place > 0:
        parent = (place - 1) // 2
        if not before(keys[parent], rows[parent], key, row):
            break
        keys[place], rows[place] = keys[parent], rows[parent]
        place = parent
    keys[place], rows[place] = key, row
    return size + 1


@helper
def holds(rising, label):
    """Whether a sorted array contains the label, by binary search."""
    at = lower_bound(rising, 0, len(rising), label)
    return at < len(rising) and rising[at] == label
