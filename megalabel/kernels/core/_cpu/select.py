"""Updates the k best labels of each text with chunks of scores, skipping blocks without a better score.

A score enters if it is above the k-th best so far, or equal to it with a lower label. Labels may therefore come in
any order, and the result does not depend on the division into chunks. NaN and -inf never enter.
"""

import numba
import numpy as np

from megalabel.kernels.core._cpu.compiling import compiled, helper

_BLOCK = 64  # number of scores that one vectorized comparison checks


@numba.njit(inline="always")
def _enter(score: float, label: int, best: np.ndarray, labels: np.ndarray) -> None:
    """Inserts a score into best and labels (k,), sorted by descending score, equal scores by ascending label."""
    place = len(best) - 1
    while place > 0 and (best[place - 1] < score or (best[place - 1] == score and labels[place - 1] > label)):
        best[place] = best[place - 1]
        labels[place] = labels[place - 1]
        place -= 1
    best[place] = score
    labels[place] = label


@compiled
def merge_rows(z: np.ndarray, column_labels: np.ndarray, best: np.ndarray, labels: np.ndarray) -> None:
    """Merges scores z (B, n) float32 of labels column_labels (n,) int64 into best and labels (B, k), in place."""
    n = z.shape[1]
    k = best.shape[1]
    for b in range(z.shape[0]):
        row = z[b]
        bar = best[b, k - 1]
        for start in range(0, n, _BLOCK):
            block = row[start : start + _BLOCK]  # the comparison is vectorized only on a separate slice
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
    """The same for z (n, B), one row per label; vectorized over the texts."""
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
    """The value at position `rank` of the sorted values; reorders `values` (Hoare's quickselect)."""
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
