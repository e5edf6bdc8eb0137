"""Keeps the k best labels of each text while chunks of scores pass by, skipping blocks that cannot enter.

A score enters where it is above the k-th best so far, or equals it and its label is lower: so labels may come
in any order, and any way of cutting them into chunks gives the same answer. NaN and -inf never enter.
"""

import numba
import numpy as np

from megalabel.kernels.core._cpu.compiling import compiled, helper

_BLOCK = 64  # one vectorized comparison decides about this many scores


@numba.njit(inline="always")
def _enter(score: float, label: int, best: np.ndarray, labels: np.ndarray) -> None:
    """One score into best and labels (k,), falling, equal scores by rising label."""
    place = len(best) - 1
    while place > 0 and (best[place - 1] < score or (best[place - 1] == score and labels[place - 1] > label)):
        best[place] = best[place - 1]
        labels[place] = labels[place - 1]
        place -= 1
    best[place] = score
    labels[place] = label


@compiled
def merge_rows(z: np.ndarray, column_labels: np.ndarray, best: np.ndarray, labels: np.ndarray) -> None:
    """Scores z (B, n) float32 of labels column_labels (n,) int64 enter best and labels (B, k), in place."""
    n = z.shape[1]
    k = best.shape[1]
    for b in range(z.shape[0]):
        row = z[b]
        bar = best[b, k - 1]
        for start in range(0, n, _BLOCK):
            block = row[start : start + _BLOCK]  # a slice of its own: only so is the comparison vectorized
            near = np.int32(0)
            for i in range(len(block)):
                near |= np.int32(block[i] >= bar)
            if near == 0:
                continue
            for i in range(start, start + len(block)):
                if row[i] > bar or (row[i] == bar and column_labels[i] < labels[b, k - 1]):
                    _enter(row[i], column_labels[i], best[b], labels[b])
                    bar = best[b, k - 1]


@compiled
def merge_columns(z: np.ndarray, column_labels: np.ndarray, best: np.ndarray, labels: np.ndarray) -> None:
    """The same for z (n, B), a label's scores together: what is vectorized are the texts."""
    k = best.shape[1]
    bars = best[:, k - 1].copy()
    for i in range(z.shape[0]):
        row = z[i]
        for start in range(0, len(row), _BLOCK):
            block, limits = row[start : start + _BLOCK], bars[start : start + _BLOCK]
            near = np.int32(0)
            for b in range(len(block)):
                near |= np.int32(block[b] >= limits[b])
            if near == 0:
                continue
            for b in range(start, start + len(block)):
                if row[b] > bars[b] or (row[b] == bars[b] and column_labels[i] < labels[b, k - 1]):
                    _enter(row[b], column_labels[i], best[b], labels[b])
                    bars[b] = best[b, k - 1]


@helper
def smallest(values, rank):
    """The value that would stand at `rank` if `values` were sorted; reorders them (Hoare's quickselect)."""
    low, high = 0, len(values) - 1
    while low < high:
        a, b, c = values[low], values[(low + high) >> 1], values[high]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if rank <= j:
            high = j
        elif rank >= i:
            low = i
        else:
            break
    return values[rank]
