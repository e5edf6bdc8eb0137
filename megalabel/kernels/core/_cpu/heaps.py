"""What beams share: heaps of the best so far with the worst on top, sorted ids, and the logarithm of a sigmoid."""

import math

import numpy as np

from megalabel.kernels.core._cpu.compiling import helper
from megalabel.kernels.core._cpu.search import lower_bound


@helper
def log_sigmoid(z):
    """In float64; never above min(z, 0), which the bounds of beams rely on."""
    wide = np.float64(z)
    if wide >= 0:
        return -math.log1p(math.exp(-wide))
    return wide - math.log1p(math.exp(wide))


@helper
def before(key, row, other_key, other_row):
    """Whether the first pair ranks before the other: the larger key, of equal ones the lower row."""
    return key > other_key or (key == other_key and row < other_row)


@helper
def sink(keys, rows, size, key, row):
    """Puts (key, row) at the root of a heap whose root is the last in rank, and restores it."""
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
    """Enters (key, row) if it is among the `room` first so far; gives the heap's new size."""
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
    """Whether the label is among rising ones, by binary search."""
    at = lower_bound(rising, 0, len(rising), label)
    return at < len(rising) and rising[at] == label
