"""Numba implementation of `sparse/pool_topk.py`.

The code is serial: a text with 50 chunks takes tens of microseconds, and ranking the chunks hundreds of times as
long.
"""

import math

import numpy as np

from megalabel.kernels.core._cpu.compiling import compiled, helper
from megalabel.kernels.core._cpu.heaps import offer, sink


@compiled
def pool(ids, scores, offsets, missing, alpha, odds, labels, values):
    """Rankings (C, d) of the parts of N texts; fills labels and values (N, k), which hold -1 and -inf."""
    n_texts, k = labels.shape
    depth = ids.shape[1]
    keys, rows = np.empty(k, np.float32), np.empty(k, np.int64)
    for n in range(n_texts):
        first, n_parts = offsets[n], offsets[n + 1] - offsets[n]
        found = np.empty(n_parts * depth, np.int64)
        given = np.empty(n_parts * depth, np.float64)
        count = 0
        for part in range(first, offsets[n + 1]):
            for j in range(depth):
                if ids[part, j] >= 0:
                    found[count], given[count] = ids[part, j], scores[part, j]
                    count += 1
        order = np.argsort(found[:count], kind="mergesort")
        size, start = 0, 0
        while start < count:
            label = found[order[start]]
            stop = start + 1
            while stop < count and found[order[stop]] == label:
                stop += 1
            own = order[start:stop]
            if alpha == np.inf:
                pooled = given[own].max()
            else:
                pooled = _weighted(given[own], n_parts, missing[n], alpha, odds)
            size = offer(keys, rows, size, k, np.float32(pooled), label)
            start = stop
        while size > 0:  # the root is the last in rank
            size -= 1
            labels[n, size], values[n, size] = rows[0], keys[0]
            if size > 0:
                sink(keys, rows, size, keys[size], rows[size])


@helper
def _weighted(scores, n_parts, missing, alpha, odds):
    """The softmax-weighted mean of the scores of a label in some of n parts."""
    highest = missing
    for score in scores:
        value = 1 / (1 + math.exp(-_clip(score))) if odds else score
        highest = max(highest, value)
    weights = (n_parts - len(scores)) * math.exp(alpha * (missing - highest))
    total, rest = weights * missing, weights
    for score in scores:
        value = 1 / (1 + math.exp(-_clip(score))) if odds else score
        weight = math.exp(alpha * (value - highest))
        weights += weight
        total += weight * value
        rest += weight / (1 + math.exp(_clip(score)))
    return math.log(total) - math.log(rest) if odds else total / weights


@helper
def _clip(score):
    return min(max(score, -700.0), 700.0)
